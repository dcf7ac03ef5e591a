"""Times of alternatives: measured once per machine, kept beside compiled kernels, the same ever after.

A choice between implementations may change a result in its last digits. So times serve from disk only, and
results change neither from call to call nor from run to run until somebody deletes that folder. Where nothing
can be kept, nothing is chosen by time.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from napari_dsparse.machine import cache

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

#: Seconds by alternative.
Seconds = Mapping[str, float]

WorkT = TypeVar("WorkT", bound="DataclassInstance")


def fastest(seconds: Seconds | None, usual: str, clearly: float) -> str:
    """Returns the fastest alternative where it takes less than `clearly` times as long as the usual one.

    Noise must not decide; without times, or without a clear winner, the usual one stays.
    """
    if not seconds or usual not in seconds:
        return usual
    best = min(seconds, key=lambda name: seconds[name])
    return best if seconds[best] < clearly * seconds[usual] else usual


class MeasuredTimes(Generic[WorkT]):
    """Times of one kind of work; safe to use from several threads.

    Parameters
    ----------
    suffix : str
        Of the entries' file names, one per kind.
    """

    def __init__(self, suffix: str) -> None:
        self._suffix = suffix
        self._known: dict[WorkT, Seconds] = {}
        self._unkept: set[WorkT] = set()
        self._measuring = threading.Lock()

    def find(self, work: WorkT) -> Seconds | None:
        """Returns what was measured of `work`, here or on a machine that shares the folder; else None."""
        if work not in self._known:
            content = cache.load(cache.cache_folder(), self._entry(work))
            entry = None if content is None else _parsed(content)
            if entry is None:
                return None
            self._known[work] = entry[1]
        return self._known[work]

    def find_or_measure(self, work: WorkT, measure: Callable[[], Seconds]) -> Seconds | None:
        """Returns what was measured of `work`, now if never before; None where times cannot be kept."""
        with self._measuring:  # one at a time, and the first stays
            if self.find(work) is None and work not in self._unkept:
                text = json.dumps({"work": asdict(work), "seconds": dict(measure())}, indent=1)
                cache.store(cache.cache_folder(), self._entry(work), text.encode())
                if self.find(work) is None:
                    self._unkept.add(work)
            return self.find(work)

    def kept(self) -> Iterator[tuple[dict[str, Any], Seconds]]:
        """Yields the fields of every work on disk, with its times."""
        folder = cache.cache_folder()
        for path in folder.glob(f"*{self._suffix}") if folder else ():
            content = cache.load(folder, path.name)
            entry = None if content is None else _parsed(content)
            if entry is not None:
                yield entry

    def forget(self) -> None:
        """Forget what is in memory: the next call reads the disk, as in a new process."""
        self._known, self._unkept = {}, set()

    def _entry(self, work: WorkT) -> str:
        # Of the fields only, so that entries stay valid if their class is renamed.
        text = "Work" + repr(work).removeprefix(type(work).__qualname__)
        return f"{hashlib.sha256(text.encode()).hexdigest()}{self._suffix}"


def _parsed(content: bytes) -> tuple[dict[str, Any], Seconds] | None:
    """Work and times of an entry; None where it is none of ours, or of a version that kept others."""
    try:
        entry = json.loads(content)
        work, seconds = entry["work"], entry["seconds"]
        times = {str(name): float(value) for name, value in seconds.items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return (work, times) if isinstance(work, dict) and all(value > 0 for value in times.values()) else None
