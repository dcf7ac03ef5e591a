"""One turn of the schedule while it is computed: the state so far, and the actions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from napari_dsparse.live.actions import Action
from napari_dsparse.live.envelope import Envelope
from napari_dsparse.live.state import LiveState


class Turn:
    """Collects the changes that one event makes; lives for that event only."""

    def __init__(self, state: LiveState) -> None:
        self.state = state
        self.actions: list[Action] = []

    def set(self, **changes: Any) -> None:
        """Replace fields of the state."""
        self.state = replace(self.state, **changes)

    def do(self, *actions: Action) -> None:
        """Append `actions`, in order."""
        self.actions.extend(actions)

    def number_job(self) -> int:
        """Number the next job."""
        self.set(jobs=self.state.jobs + 1)
        return self.state.jobs

    def envelope(self, *, of_image: bool = True) -> Envelope:
        """Number the next job and address it."""
        state = self.state
        image = state.chosen.number if of_image and state.chosen is not None else 0
        return Envelope(image, self.number_job(), state.worker)
