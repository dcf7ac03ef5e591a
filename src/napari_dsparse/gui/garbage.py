"""Short runs of Python's garbage collector while the window must stay responsive."""

from __future__ import annotations

import gc

from qtpy.QtCore import QObject

from napari_dsparse.live.state import LiveState


class CollectorHold(QObject):
    """Excludes existing objects from garbage collection while a session is busy.

    napari, Qt and torch hold some hundred thousand objects; a full collection takes a tenth of a second or
    more, in whichever thread triggers it, with all others waiting. While a model learns or segments, the
    objects that existed at its start are frozen (`gc.freeze`); afterwards they are collected as usual.
    """

    #: Active holds of all docks of the program, which share one collector.
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
        """Unfreeze all objects, unless another dock still holds."""
        if self._held:
            self._held = False
            CollectorHold._holds -= 1
            if not CollectorHold._holds:
                gc.unfreeze()
