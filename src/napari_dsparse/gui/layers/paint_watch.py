"""One signal for everything that changes a Labels layer: paint, fill, undo, redo, new data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, QTimer, Signal

from napari_dsparse.gui.layers.paint_history import history_mark

if TYPE_CHECKING:
    from napari import Viewer
    from napari.layers import Labels

#: The signal comes so long after the end of a stroke: napari tells of it once, when the button is released.
STROKE_MILLISECONDS = 20
#: And so long after any other change, such as the last of many while the brush moves.
DEBOUNCE_MILLISECONDS = 120

#: Together these cover painting, fill and polygons (`paint`), undo and redo (`set_data`) and ``data = x``
#: (`data`). Some of them are also emitted without a change; receivers compare strokes.
_EVENTS = ("paint", "set_data", "data")


class PaintWatch(QObject):
    """Signals, a moment after the last change, that the strokes of a Labels layer may have changed.

    That another plane is shown changes nothing: a stack is not looked through at every move of the slider.

    Parameters
    ----------
    viewer : Viewer
    parent : QObject
    """

    changed = Signal()

    def __init__(self, viewer: Viewer, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._layer: Labels | None = None
        self._seen: tuple[object, ...] = ()
        self._point: tuple[float, ...] = ()
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self.changed)

    @property
    def pending(self) -> bool:
        """True if something may have changed and the signal is still to come."""
        return bool(self._timer.isActive())

    def watch(self, layer: Labels | None) -> None:
        """Watch `layer` from now on, and no other."""
        for event in _EVENTS:
            if self._layer is not None:
                getattr(self._layer.events, event).disconnect(self._on_event)
            if layer is not None:
                getattr(layer.events, event).connect(self._on_event)
        self._timer.stop()
        self._layer = layer
        if layer is not None:
            self._seen, self._point = history_mark(layer), self._viewer.dims.point

    def _on_event(self, event: Any) -> None:
        seen, point = history_mark(event.source), self._viewer.dims.point
        other_plane = event.type == "set_data" and seen == self._seen and point != self._point
        self._seen, self._point = seen, point
        wait = STROKE_MILLISECONDS if event.type == "paint" else DEBOUNCE_MILLISECONDS
        if not other_plane and not (self.pending and self._timer.interval() < wait):
            self._timer.start(wait)
