"""Several images of a batch at a time, with what is said of each kept in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import TypeVar

from napari_dsparse.batch.results import Listener

T = TypeVar("T")


class Notes:
    """The news of one image, kept until it is its turn to be told: a `Listener`."""

    def __init__(self) -> None:
        self._said: list[Callable[[Listener], None]] = []

    def say(self, line: str) -> None:
        """Take a remark, one line."""
        self._said.append(lambda listener: listener.say(line))

    def wrote(self, path: Path, what: str) -> None:
        """Take note of a file that is complete under its final name."""
        self._said.append(lambda listener: listener.wrote(path, what))

    def keep(self) -> None:
        """Take note that something unfinished was kept, to go on from."""
        self._said.append(lambda listener: listener.keep())

    def tell(self, listener: Listener) -> None:
        """Tell all of it, in the order it came in, and forget it."""
        said, self._said = self._said, []
        for tell in said:
            tell(listener)


def run_in_order(
    work: Callable[[int], T], count: int, jobs: int, take: Callable[[T], None], stop: Event
) -> None:
    """Do a piece of work for each number, and take the results in the order of the numbers.

    Parameters
    ----------
    work : callable
        Called with 0 to `count` - 1, here, or in `jobs` threads if there are several.
    count, jobs : int
    take : callable
        Called here with what `work` returns.
    stop : Event
        Set where something ends it before its end, such as Ctrl-C: `work` is expected to heed it. What is
        whole by then is taken all the same.
    """
    if jobs == 1:
        for number in range(count):
            take(work(number))
        return
    with ThreadPoolExecutor(jobs, thread_name_prefix="image") as pool:
        waiting: deque[Future[T]] = deque(pool.submit(work, number) for number in range(count))
        ended = False
        try:
            while waiting:
                found = waiting[0].result()
                waiting.popleft()
                take(found)
            ended = True
        finally:
            if not ended:
                stop.set()
                pool.shutdown(cancel_futures=True)
                for future in waiting:
                    if not future.cancelled() and future.exception() is None:
                        take(future.result())
