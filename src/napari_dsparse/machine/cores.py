"""Division of the processor's cores between the trainer and the predictor."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch


class CoreShare:
    """Division of the cores among the worker threads that are computing.

    Two threads that each open as many torch threads as there are cores slow each other down; one alone should
    have them all. A thread joins with `working` and calls `apply_thread_limit` before each piece of work.
    """

    def __init__(self, cores: int | None = None) -> None:
        self._cores = cores or _usable_cores()
        self._lock = threading.Lock()
        self._working = 0
        self._mine = threading.local()

    @contextmanager
    def working(self) -> Iterator[None]:
        """Count the calling thread among those that compute."""
        with self._lock:
            self._working += 1
        try:
            yield
        finally:
            with self._lock:
                self._working -= 1

    @contextmanager
    def resting(self) -> Iterator[None]:
        """Leave the share of the calling thread, within `working`, to the others for a while."""
        with self._lock:
            self._working -= 1
        try:
            yield
        finally:
            with self._lock:
                self._working += 1

    @property
    def busy(self) -> bool:
        """True if any thread computes that is not resting."""
        return self._working > 0

    @property
    def share(self) -> int:
        """Cores for each of the threads that compute."""
        return max(1, self._cores // max(1, self._working))

    def apply_thread_limit(self) -> None:
        """Set torch's threads for the calling thread to its present share."""
        share = self.share
        if getattr(self._mine, "share", None) != share:  # OpenMP's setting is the thread's own
            torch.set_num_threads(share)
            self._mine.share = share


def available_cores() -> int:
    """Returns the number of cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _usable_cores() -> int:
    """Returns `available_cores`, or fewer where OMP_NUM_THREADS says so."""
    limit = os.environ.get("OMP_NUM_THREADS", "")
    available = available_cores()
    return min(available, int(limit)) if limit.isdigit() and int(limit) > 0 else available
