"""Atomic writes: the final name holds either the complete result or the previous content."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from napari_dsparse.errors import ExportError, reason_of
from napari_dsparse.files.unfinished import FORMER, PARTIAL, clear_leftovers_once, new_folder, remove

#: To do about a failure, by the system's number for it.
_ADVICE = {errno.ENOSPC: "free space", errno.EFBIG: "raise that limit"}

#: Called with a complete file under its temporary name, and its final name, before it gets that; by thread.
_before: ContextVar[Callable[[Path, Path], None] | None] = ContextVar("before", default=None)


@contextmanager
def told_before_placing(tell: Callable[[Path, Path], None]) -> Iterator[None]:
    """Within, in this thread, call `tell` with each complete file and its final name, before it gets that."""
    token = _before.set(tell)
    try:
        yield
    finally:
        _before.reset(token)


@contextmanager
def complete_or_absent(path: str | os.PathLike[str], *, overwrite: bool = False) -> Iterator[Path]:
    """Write a file or folder under a temporary name that becomes `path` only when it is complete.

    Parameters
    ----------
    path : path-like
        The final name. Its folder must exist.
    overwrite : bool
        True if an existing file may be replaced, which happens only once everything is written.

    Yields
    ------
    Path
        The same name in a hidden folder beside it, to write to. It is removed if the block fails in any way,
        and by the next one that writes there if the process dies.

    Raises
    ------
    ExportError
        If `path` exists and may not be replaced (also if it appears while the block runs), is a folder to be
        replaced by a file or the reverse, its folder does not exist, or the system refuses to write.
    """
    final = Path(path)
    check_target(final, overwrite=overwrite)
    hidden = new_folder(final, PARTIAL)
    partial = hidden / final.name
    try:
        clear_leftovers_once(final.parent)
        hidden.mkdir()
        yield partial
        tell = _before.get()
        if tell is not None:
            tell(partial, final)
        if partial.is_dir():
            _place_folder(partial, final, overwrite)
        else:
            _place_file(partial, final, overwrite)
    except FileExistsError as error:
        raise _exists(final) from error
    except OSError as error:
        raise _unwritable(final, error) from error
    finally:
        remove(hidden)


def place_by_content(folder: Path, write: Callable[[Path], object], before: str, suffix: str) -> str:
    """Write a file whose name tells its content: an equal one that is there already is kept.

    Parameters
    ----------
    folder : Path
        It must exist.
    write : callable
        Called with the path to write to.
    before, suffix : str
        Parts of the name before and after the digest, 32 hexadecimal digits.

    Returns
    -------
    str
        The name in `folder`. It appears only when the file is complete.

    Raises
    ------
    ExportError
        If the system refuses to write.
    """
    hidden = new_folder(folder / f"{before}new{suffix}", PARTIAL)
    partial = hidden / f"new{suffix}"
    try:
        clear_leftovers_once(folder)
        hidden.mkdir()
        write(partial)
        final = folder / f"{before}{file_digest(partial)}{suffix}"
        if not final.is_file() or file_digest(final) != file_digest(partial):
            _place_file(partial, final, overwrite=True)
    except OSError as error:
        raise _unwritable(folder / f"{before}new{suffix}", error) from error
    finally:
        remove(hidden)
    return final.name


def file_digest(path: Path) -> str:
    """A digest of a file's bytes, 32 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def check_target(path: Path, *, overwrite: bool = False) -> None:
    """Refuse a final name that cannot be used, before any work is done for it.

    Raises
    ------
    ExportError
        If the folder does not exist, or something of that name does and may not be replaced.
    """
    if "\0" in str(path):
        raise ExportError(f"The name {str(path)!r} holds a NUL, which no file's may; choose another.")
    if not path.parent.is_dir():
        raise ExportError(f"The folder {str(path.parent)!r} does not exist; create it or choose another.")
    if os.path.lexists(path) and not overwrite:
        raise _exists(path)


def try_target(path: Path) -> None:
    """Try a final name, before any work is done for it: by an empty file of that name, removed at once.

    Folders on the way that do not exist yet are tried, too.

    Raises
    ------
    ExportError
        If the system refuses the name or the folder.
    """
    there = path.parent
    while not os.path.lexists(there) and there != there.parent:
        there = there.parent
    hidden = new_folder(there / path.name, PARTIAL)
    try:
        trial = hidden / path.relative_to(there)
        trial.parent.mkdir(parents=True)
        trial.touch()
    except OSError as error:
        raise _unwritable(path, error) from error
    finally:
        remove(hidden)


def _place_file(partial: Path, final: Path, overwrite: bool) -> None:
    with partial.open("r+b") as written:
        os.fsync(written.fileno())  # otherwise a power cut could leave an empty file under the final name
    if final.is_dir() and not final.is_symlink():
        raise ExportError(f"{str(final)!r} is a folder and is not replaced by a file; choose another name.")
    if overwrite:
        partial.replace(final)
        return
    try:
        os.link(partial, final)  # the one call that creates a complete file and refuses an existing name
    except FileExistsError:
        raise
    except OSError:
        # No hard links here (FAT, some network drives): claim the name first, then fill it in one step.
        final.open("x").close()
        try:
            partial.replace(final)
        except OSError:
            final.unlink()
            raise


def _place_folder(partial: Path, final: Path, overwrite: bool) -> None:
    if overwrite and os.path.lexists(final):
        if not final.is_dir() or final.is_symlink():
            raise ExportError(
                f"{str(final)!r} is not a folder and is not replaced by one; choose another name."
            )
        former = new_folder(final, FORMER)
        former.mkdir()
        try:
            final.rename(former / final.name)
            try:
                partial.rename(final)
            except OSError:
                (former / final.name).rename(final)
                raise
        finally:
            remove(former)
        return
    if os.name != "posix":
        partial.rename(final)  # refuses an existing name
        return
    final.mkdir()  # refuses an existing name; renaming alone would quietly replace an empty folder
    try:
        partial.rename(final)
    except OSError:
        final.rmdir()
        raise


def _unwritable(final: Path, error: OSError) -> ExportError:
    advice = _ADVICE.get(error.errno or 0, "choose another name")
    return ExportError(
        f"{str(final)!r} could not be written ({reason_of(error)}); {advice} or choose another folder."
    )


def _exists(final: Path) -> ExportError:
    return ExportError(
        f"{str(final)!r} already exists and was left as it is; choose another name or allow overwriting."
    )
