"""Paint that was meant for the strokes and went to the segmentation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QObject, QTimer, Signal

if TYPE_CHECKING:
    from napari.layers import Labels

#: Tools that belong on the strokes. The bucket may be used on the segmentation: it fills what is one object
#: there, and one empty layer on the strokes.
STROKE_TOOLS = ("paint", "polygon", "erase")


class Corrections(QObject):
    """Watches one segmentation: tools taken on it, and paint put on it.

    Parameters
    ----------
    parent : QObject
    """

    #: The user takes this tool while the segmentation is selected.
    tool_taken = Signal(str)
    #: Flat indices of painted pixels, and the number of each; the segmentation is as it was before.
    painted = Signal(object, object)

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self._layer: Labels | None = None
        self._steps = 0
        # Later: the events come before napari is done with the change.
        self._later = QTimer(self)
        self._later.setSingleShot(True)
        self._later.setInterval(0)
        self._later.timeout.connect(self.flush)

    def watch(self, layer: Labels | None) -> None:
        """Watch `layer` from now on, and no other; what was painted is passed on first."""
        self.flush()
        if self._layer is not None:
            self._layer.events.paint.disconnect(self._on_paint)
            self._layer.events.mode.disconnect(self._on_mode)
        self._layer = layer
        if layer is not None:
            layer.events.paint.connect(self._on_paint)
            layer.events.mode.connect(self._on_mode)

    def flush(self) -> None:
        """Pass on what was painted, and the tool that was taken."""
        self._later.stop()
        layer, steps, self._steps = self._layer, self._steps, 0
        if layer is None:
            return
        if steps:
            painted = np.array(layer.data)
            for _ in range(steps):
                layer.undo()
            places = np.flatnonzero(painted != layer.data)
            if places.size:
                self.painted.emit(places, painted.flat[places])
        mode = str(layer.mode)
        if mode in STROKE_TOOLS:
            layer.mode = "pan_zoom"
        if mode in STROKE_TOOLS or mode == "fill":
            self.tool_taken.emit(mode)

    def _on_paint(self, event: Any = None) -> None:
        self._steps += 1
        self._later.start()

    def _on_mode(self, event: Any = None) -> None:
        self._later.start()
