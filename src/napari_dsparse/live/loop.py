"""The schedule run over the worker threads: the single entry point for a window, a benchmark or a test."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import fields

from napari_dsparse.live.actions import (
    Action,
    DismissThreads,
    Effect,
    FinishDrawing,
    GoTo,
    PauseTraining,
    ReadLabels,
    ReleaseTrainer,
    RenumberResults,
    ShowClasses,
    ShowTile,
    StopPredicting,
    StopTraining,
    Wake,
)
from napari_dsparse.live.messages import TileDone
from napari_dsparse.live.schedule import Event, advance
from napari_dsparse.live.state import LiveState
from napari_dsparse.live.workers import Workers


class LiveLoop:
    """Holds the state, takes events one at a time, and carries out the actions of the schedule.

    All methods belong to one thread, the window's. The threads' events come to `handle` in that thread too:
    the maker of `Workers` is responsible for that.

    Parameters
    ----------
    workers : Workers
    show : callable
        Takes effects: actions on layers and view.
    changed : callable
        Takes the state whenever it differs from the one before.
    state : LiveState, optional
        To begin with.
    """

    def __init__(
        self,
        workers: Workers,
        show: Callable[[Effect], None],
        changed: Callable[[LiveState], None],
        state: LiveState | None = None,
    ) -> None:
        self.state = state or LiveState()
        self._workers = workers
        self._show = show
        self._changed = changed
        self._events: deque[Event] = deque()
        self._running = False

    def handle(self, event: Event) -> None:
        """Process `event`, after those already being processed."""
        self._events.append(event)
        if self._running:
            return
        self._running = True
        try:
            while self._events:
                self._turn(self._events.popleft())
        finally:
            self._running = False

    def _turn(self, event: Event) -> None:
        before = self.state
        self.state, actions = advance(before, event)
        try:
            for action in actions:
                self._carry_out(action)
        finally:
            if isinstance(event, TileDone):  # in place or dropped: there is room for another
                self._workers.tile_taken(event)
        if differ(before, self.state):
            self._changed(self.state)

    def _carry_out(self, action: Action) -> None:
        match action:
            case ShowTile() | ShowClasses() | RenumberResults() | FinishDrawing():
                self._show(action)
            case GoTo() | ReadLabels() | Wake():
                self._show(action)
            case PauseTraining() | StopTraining() | ReleaseTrainer() | StopPredicting() | DismissThreads():
                self._workers.control(action)
            case _:
                self._workers.submit(action)


def differ(one: LiveState, other: LiveState) -> bool:
    """True if any field differs; values that hold arrays are the same only if they are identical."""
    for entry in fields(LiveState):
        before, after = getattr(one, entry.name), getattr(other, entry.name)
        if before is not after and before != after:
            return True
    return False
