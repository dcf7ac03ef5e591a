"""Signals that tell long work to stop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from napari_dsparse.errors import DsparseError


class StopFlag(Protocol):
    """Anything like `threading.Event`."""

    def is_set(self) -> bool:
        """True if work should stop before its next piece."""


class Stopped(Exception):  # noqa: N818 (no error: it was asked for)
    """Work was told to stop, and has."""


def never() -> bool:
    """Never stops."""
    return False


def stop_if(stop: Callable[[], bool]) -> None:
    """Raise `Stopped` if `stop` says so."""
    if stop():
        raise Stopped


def as_stop_callable(stop: StopFlag | Callable[[], bool] | None) -> Callable[[], bool]:
    """A function that returns True to stop, from a flag or function; None never stops.

    Raises
    ------
    DsparseError
        If it is neither.
    """
    if stop is None:
        return never
    if callable(stop):
        return stop
    if not callable(getattr(stop, "is_set", None)):
        raise DsparseError(f"stop is {stop!r}; give a threading.Event, a function, or None.")
    return stop.is_set
