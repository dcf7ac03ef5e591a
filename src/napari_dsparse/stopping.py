"""Signals that tell long work to stop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class StopFlag(Protocol):
    """Anything like `threading.Event`."""

    def is_set(self) -> bool:
        """True if work should stop before its next piece."""


def as_stop_callable(stop: StopFlag | Callable[[], bool] | None) -> Callable[[], bool]:
    """A function that returns True to stop, from a flag or function; None never stops."""
    if stop is None:
        return lambda: False
    return stop if callable(stop) else stop.is_set
