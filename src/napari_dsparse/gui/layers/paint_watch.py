"""One signal for everything that changes a Labels layer: paint, fill, undo, redo, new data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, QTimer, Signal

if TYPE_CHECKING:
    from napari.layers import Labels

#: The signal comes this long after the last change.
DEBOUNCE_MILLISECONDS = 120

#: Together these cover painting, fill and polygons (`paint`), undo and redo (`set_data`) and ``data = x``
#: (`data`). Some of them are also emitted without a change, on slicing for one; receivers compare strokes.
_EVENTS = ("paint", "set_data", "data")


class PaintWatch(QObject):
    """Signals, a moment after the last change, that the strokes of a Labels layer may have changed.

    Parameters
    ----------
    parent : QObject
    """

    changed = Signal()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._layer: Labels | None = None
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(DEBOUNCE_MILLISECONDS)
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

    def _on_event(self, event: Any = None) -> None:
        self._timer.start()
