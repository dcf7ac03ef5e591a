"""One signal for everything that brings other pixels on screen: pan, zoom, sliders."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, QTimer, Signal

from napari_dsparse.gui.layers.viewer import camera_of

if TYPE_CHECKING:
    from napari import Viewer

#: The signal comes this long after the last movement.
DEBOUNCE_MILLISECONDS = 150


class ViewWatch(QObject):
    """Signals, a moment after the last movement, that other pixels may be on screen.

    Parameters
    ----------
    viewer : Viewer
    parent : QObject
    """

    changed = Signal()

    def __init__(self, viewer: Viewer, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(DEBOUNCE_MILLISECONDS)
        self._timer.timeout.connect(self.changed)
        camera, dims = camera_of(viewer).events, viewer.dims.events
        self._emitters = [camera.center, camera.zoom, dims.current_step, dims.order, dims.ndisplay]
        for emitter in self._emitters:
            emitter.connect(self._on_event)

    def close(self) -> None:
        """Stop listening."""
        self._timer.stop()
        for emitter in self._emitters:
            emitter.disconnect(self._on_event)
        self._emitters.clear()

    def _on_event(self, event: Any = None) -> None:
        self._timer.start()
