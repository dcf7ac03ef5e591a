"""A lock on a folder that says who holds it; the next program takes it over from one that is no more."""

from __future__ import annotations

import json
import os
import re
import time
import uuid
import weakref
from datetime import UTC, datetime
from pathlib import Path
from platform import node

import psutil

from napari_dsparse.errors import DsparseError, ExportError, ProjectError
from napari_dsparse.files.atomic import complete_or_absent
from napari_dsparse.files.fields import Document, Fields
from napari_dsparse.files.unfinished import PARTIAL, is_alive, new_folder, owner, remove

#: Name of the file that locks the folder it is in.
LOCK = "lock.json"

#: Attempts to lock a folder that others lock and unlock meanwhile, and pauses.
_ATTEMPTS, _PAUSE_SECONDS = 20, 0.05

#: A process as `owner` names it: its computer, its number, and when it began.
_OWNER = re.compile(r"[0-9a-f]+-[0-9]+-[0-9]+")

#: Bytes a lock may have; real ones have some hundred.
_LONGEST = 2**16


class FolderLock:
    """Sole right to change a folder, until it is released or this program ends.

    Parameters
    ----------
    folder : Path

    Raises
    ------
    ProjectError
        If another program holds the lock, or the folder cannot be written to.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / LOCK
        self._content = _describe_this_program()
        self._acquire()
        # Also when the last reference goes, and at exit. A forked child inherits this, but not the lock.
        self._release = weakref.finalize(self, _remove_own, self._path, self._content, os.getpid())

    @property
    def held(self) -> bool:
        """True until it is released."""
        return self._release.alive

    def check(self) -> None:
        """Refuse to go on where the lock is no longer held.

        Raises
        ------
        ProjectError
            If it was released, or somebody removed or replaced its file.
        """
        if not self.held or _read(self._path) != self._content:
            raise ProjectError(
                f"Project {str(self._path.parent)!r} is no longer open here, and another program may have "
                "changed it; open it again."
            )

    def release(self) -> None:
        """Give the lock up; without effect the second time."""
        self._release()

    def _acquire(self) -> None:
        why = "it is locked and unlocked by others"
        for attempt in range(_ATTEMPTS):
            if attempt:
                time.sleep(_PAUSE_SECONDS)
            try:
                with complete_or_absent(self._path) as partial:
                    partial.write_text(self._content, encoding="utf-8")
                return
            except ExportError as error:
                held = _read(self._path)
                if held is None:  # released meanwhile, or never there: the folder cannot be written to
                    why = str(error)
                    continue
            if is_alive(_owner_of(held, self._path)):
                raise ProjectError(_who_has_it(held, self._path))
            _set_aside(self._path, held)
        raise ProjectError(f"Project {str(self._path.parent)!r} cannot be locked: {why}")


def is_locked(folder: Path) -> bool:
    """True if a program that may still run holds the lock of a folder.

    Raises
    ------
    ProjectError
        If there is a lock that does not say whose it is.
    """
    path = folder / LOCK
    held = _read(path)
    return held is not None and is_alive(_owner_of(held, path))


def held_elsewhere(folder: Path) -> str | None:
    """A sentence about the program of another computer that holds a folder's lock; None if there is none.

    Nothing tells if that program is still alive; a computer that has got another name counts as another one.

    Raises
    ------
    ProjectError
        If there is a lock that does not say whose it is.
    """
    path = folder / LOCK
    held = _read(path)
    return None if held is None or _is_of_this_computer(_owner_of(held, path)) else _who_has_it(held, path)


def remove_held_elsewhere(folder: Path, held: str) -> None:
    """Remove the lock of another computer's program, if it is still the one that `held` tells of.

    For a user who knows that this program is no more.

    Raises
    ------
    ProjectError
        If there is a lock that does not say whose it is.
    """
    content = _read(folder / LOCK)
    if content is not None and held_elsewhere(folder) == held:
        _set_aside(folder / LOCK, content)


def _is_of_this_computer(named: str) -> bool:
    return named.split("-")[0] == owner().split("-")[0]


def _describe_this_program() -> str:
    return json.dumps(
        {
            "owner": owner(),
            "program": psutil.Process().name(),
            "computer": node(),
            "since": datetime.now(UTC).isoformat(timespec="seconds"),
            "token": uuid.uuid4().hex,
        }
    )


def _read(path: Path) -> str | None:
    """The lock's content; None if there is none."""
    try:
        with path.open("rb") as file:
            return file.read(_LONGEST).decode(errors="replace")
    except FileNotFoundError:
        return None
    except OSError:
        return ""


def _fields(held: str, path: Path) -> Fields:
    title = f"Project {str(path.parent)!r} is locked by {path.name}, which"
    remedy = "remove that file if no program has the project open"
    return Fields.parse(held, Document(title, ProjectError, remedy))


def _owner_of(held: str, path: Path) -> str:
    return _fields(held, path).matching("owner", _OWNER, "the name of a process")


def _who_has_it(held: str, path: Path) -> str:
    fields, named = _fields(held, path), _owner_of(held, path)
    title, since = f"Project {str(path.parent)!r}", f"since {fields.text('since')}"
    if named == owner():
        return f"{title} is open in this program already, {since}; close it there first."
    _, pid, _ = named.split("-")
    program = f"{fields.text('program')} (process {pid})"
    if not _is_of_this_computer(named):
        return (
            f"{title} is open in {program} on the computer {fields.text('computer')!r} {since}; close it "
            f"there, or remove the file {str(path)!r} if that computer no longer has it open."
        )
    return f"{title} is open in {program} {since}; close it there first."


def _set_aside(path: Path, held: str) -> None:
    """Remove the lock of a program that is no more, unless another program has taken it over already."""
    hidden = new_folder(path, PARTIAL)
    try:
        hidden.mkdir()
        aside = hidden / path.name
        path.rename(aside)  # of several programs that try, one gets this very file
        if _read(aside) != held:
            aside.rename(path)
    except OSError:
        pass  # gone already: the next attempt sees who has it
    finally:
        remove(hidden)


def _remove_own(path: Path, content: str, pid: int) -> None:
    if os.getpid() == pid:
        try:
            if _read(path) == content:
                path.unlink()
        except (OSError, DsparseError):
            pass  # a folder that is gone needs no lock
