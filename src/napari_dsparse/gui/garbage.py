"""Python's garbage collector, kept short while the window must stay free."""

from __future__ import annotations

import gc

from qtpy.QtCore import QObject

from napari_dsparse.live.state import LiveState


class CollectorHold(QObject):
    """Spares the collector the objects that were there before, while a session is busy.

    napari, Qt and torch hold some hundred thousand objects; a full collection walks them all in a tenth of a
    second or more, in whichever thread sets it off, with all others waiting. While a model learns or
    segments, those that were there at its start are set aside (`gc.freeze`); afterwards they are collected
    as ever, so nothing is kept for good.
    """

    #: Holds in force over all docks of the program: the collector is one for all.
    _holds = 0

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._held = False

    def follow(self, state: LiveState) -> None:
        """Hold while `state` learns or segments."""
        busy = state.learning or state.busy
        if busy and not self._held:
            self._held = True
            CollectorHold._holds += 1
            gc.freeze()
        elif not busy:
            self.release()

    def release(self) -> None:
        """Let the collector see everything again, unless another dock still holds."""
        if self._held:
            self._held = False
            CollectorHold._holds -= 1
            if not CollectorHold._holds:
                gc.unfreeze()
