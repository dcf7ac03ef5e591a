"""Things computed side by side, each by one thread.

Threads that share one operation wait for each other at its end, thousands of times per tile of an image. That
costs little on a quiet machine and a lot on a busy one, where a thread that has lost its core for a moment
keeps the others waiting. Threads with a tile each do not wait (bench/SPEED_LOG.md has how much that is).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

import torch

T = TypeVar("T")
R = TypeVar("R")


def lanes_of(device: torch.device) -> int:
    """Lanes for work on a device: a core each on the CPU, of those that the calling thread may use."""
    return torch.get_num_threads() if device.type == "cpu" else 1


def in_lanes(
    compute: Callable[[T], R],
    things: Iterable[T],
    lanes: int,
    share: Callable[[], int] | None = None,
    threads: int = 1,
) -> Iterator[R]:
    """Results of `compute` in the order of the things; those under way are finished when it is closed.

    Parameters
    ----------
    compute : callable
        Runs in several threads at once; with one lane, in the caller's own.
    things : iterable
        Asked for the next one when there is room for it.
    lanes : int
        Threads.
    share : callable, optional
        Asked for the number of lanes that may be busy now, 1 at least; without it, all may.
    threads : int
        Torch threads of each lane.

    Raises
    ------
    Exception
        As `compute` raises it.
    """
    if lanes <= 1:
        yield from map(compute, things)
        return
    coming = iter(things)
    underway: deque[Future[R]] = deque()
    with ThreadPoolExecutor(lanes, "lane", torch.set_num_threads, (threads,)) as pool:
        try:
            while True:
                busy = lanes if share is None else share()
                # Where all may be busy, as many more wait, so that none is idle while the first is not done.
                room = 2 * lanes if busy >= lanes else busy
                for thing in islice(coming, max(0, room - len(underway))):
                    underway.append(pool.submit(compute, thing))
                if not underway:
                    return
                yield underway.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)
