"""Hidden folders for results that are being written, and what dead processes left of them."""

from __future__ import annotations

import hashlib
import math
import os
import platform
import shutil
import time
import uuid
from pathlib import Path

import psutil

#: Beginnings of the folders' names: for what is being written, for a store that is being replaced, and for
#: what is computed so far.
PARTIAL, FORMER, RESUMABLE = ".partial", ".former", ".resume"

#: Whether a process of another computer is alive cannot be told; what it has not touched for so long is left.
_ABANDONED_SECONDS = 7 * 24 * 3600

#: Attempts to remove a folder that zarr's threads may still write into after an interrupt, and pauses.
_REMOVALS, _REMOVAL_SECONDS = 20, 0.05

#: Seconds after which a folder that this process cleared is looked at again: listing it for every one of
#: thousands of results takes a time that grows with their square.
_CLEARED_SECONDS = 60.0

#: Folders that were cleared, and when by the monotonic clock; by process, since a child begins anew.
_cleared: dict[tuple[int, Path], float] = {}

#: Two start times of one process agree within so many seconds.
_CLOCK_SECONDS = 2


def owner() -> str:
    """This process, in a way that no other one has."""
    process = psutil.Process()
    return f"{_host()}-{process.pid}-{int(process.create_time())}"


def new_folder(beside: Path, kind: str) -> Path:
    """Path of a hidden folder beside `beside`, whose name says which process made it."""
    return beside.parent / f"{kind}-{owner()}-{uuid.uuid4().hex[:8]}"


def clear_leftovers(folder: Path) -> None:
    """Remove from `folder` what processes that are no more left unfinished.

    A store that was moved away to be replaced returns to its name where the new one did not get there. What
    is computed of a result is kept for a week, to go on from. What a live process writes, and whatever cannot
    be removed, is not touched.
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
    for left in folder.glob(f"{RESUMABLE}-*"):
        if time.time() - _last_touched(left) > _ABANDONED_SECONDS:
            remove(left)


def clear_leftovers_once(folder: Path) -> None:
    """`clear_leftovers`, where this process has not done so within the last minute."""
    key, now = (os.getpid(), folder.absolute()), time.monotonic()
    if now - _cleared.get(key, -math.inf) >= _CLEARED_SECONDS:
        clear_leftovers(folder)
        _cleared[key] = now


def remove(path: Path) -> None:
    """Remove a folder as far as the system lets us; threads may still be writing into it."""
    for _ in range(_REMOVALS):
        shutil.rmtree(path, ignore_errors=True)
        if not os.path.lexists(path):
            return
        time.sleep(_REMOVAL_SECONDS)


def _host() -> str:
    """This computer, in letters that say nothing about it."""
    name = f"{platform.node()} {uuid.getnode()}"
    return hashlib.blake2b(name.encode(), digest_size=4).hexdigest()


def is_alive(named: str) -> bool:
    """True if the process that `owner` named so may still run."""
    parts = named.split("-")
    if len(parts) != 3 or not (parts[1].isdecimal() and parts[2].isdecimal()):
        return False
    if parts[0] != _host():
        return True
    try:
        return bool(abs(psutil.Process(int(parts[1])).create_time() - int(parts[2])) <= _CLOCK_SECONDS)
    except psutil.NoSuchProcess:
        return False
    except psutil.Error:
        return True


def _is_abandoned(left: Path) -> bool:
    """True if the process that made a folder, as its name says, is no more."""
    _, *parts = left.name.split("-")
    if len(parts) != 4 or not (parts[1].isdecimal() and parts[2].isdecimal()):
        return False
    if parts[0] != _host():
        return time.time() - _last_touched(left) > _ABANDONED_SECONDS
    return not is_alive("-".join(parts[:3]))


def _last_touched(left: Path) -> float:
    """Time of the last change below a folder; now, where it cannot be told."""
    try:
        return max(path.lstat().st_mtime for path in (left, *left.rglob("*")))
    except OSError:
        return time.time()
