"""Results as far as they are computed, kept beside their final name until they are whole."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_dsparse.errors import ExportError, reason_of
from napari_dsparse.files.scratch import ScratchArray
from napari_dsparse.files.unfinished import RESUMABLE, clear_leftovers_once, is_alive, owner, remove

Window = tuple[int | slice, ...]


class Parts:
    """Arrays in a hidden folder, written part by part, with a journal of what is in them.

    A process that ends at any moment leaves the folder; the next one with the same key goes on from it. Parts
    are believed only if their checksums agree.

    Parameters
    ----------
    final : Path
        The name that the result will have; the folder lies beside it.
    key : mapping of str to str
        Everything that decides what the parts hold: image, model, options, versions.
    arrays : mapping of str to (shape, dtype)
        Arrays by name. Parts are windows of their last axes; axes before, such as classes, are whole.
    resume : bool
        False to begin anew, whatever a former run left.

    Raises
    ------
    ExportError
        If another process is writing the same result, the disk is full, or a file would be too large.
    OSError
        If the system refuses to write for another reason. Nothing new is left then.
    """

    def __init__(
        self,
        final: Path,
        key: Mapping[str, str],
        arrays: Mapping[str, tuple[tuple[int, ...], npt.DTypeLike]],
        *,
        resume: bool,
    ) -> None:
        clear_leftovers_once(final.parent)
        self._final, self.folder = final, _folder_of(final)
        self._trial = self.folder / f"owner-{os.getpid()}"
        self._former_stays = self.folder.exists()
        self.arrays: dict[str, ScratchArray] = {}
        #: True if a former run left something of this result.
        self.left = False
        #: True if parts of a former run were found, of the same image, model and options.
        self.resumed = False
        try:
            self._claim(final)
            self._begin(key, arrays, resume)
        except OSError as error:
            self._let_go()
            raise self._told(error) from error

    def _begin(
        self,
        key: Mapping[str, str],
        arrays: Mapping[str, tuple[tuple[int, ...], npt.DTypeLike]],
        resume: bool,
    ) -> None:
        described = {name: [list(shape), np.dtype(dtype).str] for name, (shape, dtype) in arrays.items()}
        self._header = json.dumps({"key": dict(key), "arrays": described}, sort_keys=True)
        self._journal_path = self.folder / "journal"
        self.left = self._journal_path.exists()
        kept = self._read_journal() if resume else None
        self.resumed = bool(kept)
        if not kept:
            self._former_stays = False
            for name in arrays:
                (self.folder / name).unlink(missing_ok=True)
            self._journal_path.write_text(f"{self._header}\n", encoding="utf-8")
        self._former = kept or {}
        for name, (shape, dtype) in arrays.items():
            self.arrays[name] = ScratchArray(self.folder / name, shape, dtype)
        self._journal = self._journal_path.open("a", encoding="utf-8")

    def missing(self, windows: Sequence[Window]) -> list[int]:
        """Numbers of those windows that are not there yet, or not as they were written."""
        return [
            number
            for number, window in enumerate(windows)
            if number not in self._former
            or self._former[number] != [_digest(array[(..., *window)]) for array in self.arrays.values()]
        ]

    def put(self, number: int, window: Window, values: Mapping[str, npt.NDArray[Any]]) -> None:
        """Write window `number` of every array.

        Raises
        ------
        ExportError
            If the disk is full, or a file would be too large.
        OSError
            If the system refuses to write for another reason.
        """
        try:
            self._put(number, window, values)
        except OSError as error:
            raise self._told(error) from error

    def _put(self, number: int, window: Window, values: Mapping[str, npt.NDArray[Any]]) -> None:
        digests = []
        for name, array in self.arrays.items():
            block = np.ascontiguousarray(values[name], array.dtype)
            array[(*(slice(None),) * (array.ndim - len(window)), *window)] = block
            digests.append(_digest(block))
        self._journal.write(json.dumps([number, digests]) + "\n")
        self._journal.flush()

    def close(self, *, keep: bool) -> None:
        """Let go of the folder; remove it unless what it holds is to be kept for a later run."""
        with suppress(OSError):  # of a line that could not be written: its window is computed again
            self._journal.close()
        for array in self.arrays.values():
            array.close()
        if keep:
            (self.folder / "owner").unlink(missing_ok=True)
        else:
            remove(self.folder)

    def _told(self, error: OSError) -> OSError | ExportError:
        """The error as a sentence, where it can be helped."""
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return ExportError(
                f"There is no space left beside {str(self._final)!r} for what is computed of it; "
                "free space or choose another folder."
            )
        if error.errno == errno.EFBIG:
            return ExportError(
                f"What is computed of {str(self._final)!r} could not be written beside it "
                f"({reason_of(error)}); raise that limit or choose another folder."
            )
        return error

    def _let_go(self) -> None:
        """Undo what was begun; parts of a former run stay, unless this one has replaced them."""
        for array in self.arrays.values():
            array.close()
        if not self._former_stays:
            remove(self.folder)
            return
        self._trial.unlink(missing_ok=True)
        mark = self.folder / "owner"
        if mark.is_file() and mark.read_text(encoding="utf-8") == owner():
            mark.unlink()

    def _claim(self, final: Path) -> None:
        """Make the folder ours, or refuse where a living process has it."""
        self.folder.mkdir(exist_ok=True)
        mark = self.folder / "owner"
        try:
            other = mark.read_text(encoding="utf-8")
        except OSError:
            other = ""
        if other not in ("", owner()) and is_alive(other):
            raise ExportError(
                f"Another process is writing {str(final)!r}; wait for it, or choose another name."
            )
        self._trial.write_text(owner(), encoding="utf-8")
        self._trial.replace(mark)

    def _read_journal(self) -> dict[int, list[str]] | None:
        """Checksums of the windows of a former run by number; None where there was none with the same key."""
        try:
            header, *lines = self._journal_path.read_text(encoding="utf-8").split("\n")
        except (OSError, UnicodeDecodeError):
            return None
        if header != self._header:
            return None
        known: dict[int, list[str]] = {}
        for line in lines:
            try:
                number, digests = json.loads(line)
                known[int(number)] = list(digests)
            except (ValueError, TypeError):  # cut off, or not ours
                continue
        return known


def bytes_of_parts(final: Path) -> int:
    """Bytes on the disk that a former run left of the result of this name, which are used again or freed."""
    try:
        return sum(path.stat().st_blocks * 512 for path in _folder_of(final).iterdir())
    except (OSError, AttributeError):  # none left, or a system that does not tell blocks
        return 0


def _folder_of(final: Path) -> Path:
    digest = hashlib.blake2b(final.name.encode(errors="surrogateescape"), digest_size=8).hexdigest()
    return final.parent / f"{RESUMABLE}-{digest}"


def _digest(block: npt.NDArray[Any]) -> str:
    return hashlib.blake2b(np.ascontiguousarray(block).tobytes(), digest_size=16).hexdigest()
