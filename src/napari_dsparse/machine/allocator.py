"""Memory that a worker process of dask gives back to the system too eagerly."""

from __future__ import annotations

import ctypes
import os
import sys
from functools import cache

#: Parameters of glibc's mallopt, and the values that it settles at by itself when a program takes large maps.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_VALUES = {_MMAP_THRESHOLD: 32 << 20, _TRIM_THRESHOLD: 64 << 20}


@cache
def keep_freed_memory() -> bool:
    """Let glibc keep freed maps for the next ones, for the rest of this process; True if that was to do.

    Nannies of dask.distributed set MALLOC_TRIM_THRESHOLD_ for their workers, which also keeps glibc from
    adapting to large maps: each one is then mapped, faulted in page by page and unmapped again,
    which costs much of the time of prediction.
    https://distributed.dask.org/en/stable/worker-memory.html#automatically-trim-memory
    """
    if sys.platform != "linux" or "MALLOC_TRIM_THRESHOLD_" not in os.environ:
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # other C libraries have none
    return mallopt is not None and all(mallopt(*pair) for pair in _VALUES.items())
