"""Hidden folders for results that are being written, and what dead processes left of them."""

from __future__ import annotations

import os
import shutil
import time
import uuid
from pathlib import Path

from napari_dsparse.files.processes import ProcessId

#: Beginnings of the folders' names: for what is being written, and for a store that is being replaced.
PARTIAL, FORMER = ".partial", ".former"

#: Whether a process of another computer is alive cannot be told; what it has not touched for so long is left.
_ABANDONED_SECONDS = 7 * 24 * 3600

#: Attempts to remove a folder that zarr's threads may still write into after an interrupt, and pauses.
_REMOVALS, _REMOVAL_SECONDS = 20, 0.05


def new_folder(beside: Path, kind: str) -> Path:
    """Path of a hidden folder beside `beside`, whose name says which process made it."""
    own = ProcessId.current()
    return beside.parent / f"{kind}-{own.host}-{own.pid}-{own.started}-{uuid.uuid4().hex[:8]}"


def clear_leftovers(folder: Path) -> None:
    """Remove from `folder` what processes that are no more left unfinished.

    A store that was moved away to be replaced returns to its name where the new one did not get there. What a
    live process writes, and whatever cannot be removed, is not touched.
    """
    for left in folder.glob(f"{PARTIAL}-*"):
        if _is_abandoned(left):
            remove(left)
    for left in folder.glob(f"{FORMER}-*"):
        if _is_abandoned(left):
            for store in left.iterdir():
                if not os.path.lexists(folder / store.name):
                    store.rename(folder / store.name)
            remove(left)


def remove(path: Path) -> None:
    """Remove a folder as far as the system lets us; threads may still be writing into it."""
    for _ in range(_REMOVALS):
        shutil.rmtree(path, ignore_errors=True)
        if not os.path.lexists(path):
            return
        time.sleep(_REMOVAL_SECONDS)


def _is_abandoned(left: Path) -> bool:
    """True if the process that made a folder, as its name says, is no more."""
    parts = left.name.split("-")
    if len(parts) != 5 or not (parts[2].isdecimal() and parts[3].isdecimal()):
        return False
    gone = ProcessId(parts[1], int(parts[2]), int(parts[3])).is_gone()
    return time.time() - _last_touched(left) > _ABANDONED_SECONDS if gone is None else gone


def _last_touched(left: Path) -> float:
    """Time of the last change below a folder; now, where it cannot be told."""
    try:
        return max(path.lstat().st_mtime for path in (left, *left.rglob("*")))
    except OSError:
        return time.time()
