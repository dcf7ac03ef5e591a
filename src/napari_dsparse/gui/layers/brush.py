"""The size of the brush: visible on screen at any zoom, until the user chooses one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import WeakSet

import numpy as np
from qtpy.QtCore import QObject

from napari_dsparse.gui.layers.viewer import camera_of

if TYPE_CHECKING:
    from napari import Viewer
    from napari.layers import Labels

    from napari_dsparse.gui.layers.image_frame import ImageFrame

#: Pixels of the screen that a brush covers at least.
LEAST_ON_SCREEN = 8
#: And pixels of the image at most, where one of them is far smaller than the screen tells.
MOST_PIXELS = 2**16
#: Size that napari gives every layer: nobody has chosen it.
NAPARI_SIZE = 10


def brush_size_for(frame: ImageFrame) -> int:
    """A brush of about half a percent of the image, in pixels: thin strokes say more than blots."""
    return int(np.clip(round(min(frame.source.shape[-2:]) / 200), 3, 10))


class BrushSize(QObject):
    """Keeps the brush of the strokes layer as wide as can be seen, and leaves a size that the user chose.

    Parameters
    ----------
    viewer : Viewer
    parent : QObject
    """

    def __init__(self, viewer: Viewer, parent: QObject) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._layer: Labels | None = None
        self._usual = NAPARI_SIZE
        self._choosing = False
        self._by_us: WeakSet[Labels] = WeakSet()
        self._by_user: WeakSet[Labels] = WeakSet()

    def watch(self, layer: Labels | None, frame: ImageFrame | None) -> None:
        """Fit the brush of `layer`, on the pixels of `frame`, from now on, and no other."""
        if self._layer is not None:
            self._layer.events.brush_size.disconnect(self._on_size)
        self._layer = layer
        if layer is None or frame is None:
            return
        self._usual = brush_size_for(frame)
        if layer.brush_size not in (NAPARI_SIZE, self._usual) and layer not in self._by_us:
            self._by_user.add(layer)
        layer.events.brush_size.connect(self._on_size)
        self.fit()

    def fit(self) -> None:
        """Choose the size for the present zoom."""
        layer = self._layer
        if layer is None or layer in self._by_user or self._viewer.dims.ndisplay != 2:
            return
        on_screen = float(camera_of(self._viewer).zoom) * float(np.min(np.abs(layer.scale[-2:])))
        least = min(LEAST_ON_SCREEN / on_screen, MOST_PIXELS) if on_screen > 0 else 0
        size = max(self._usual, int(np.ceil(least)))
        self._by_us.add(layer)
        if layer.brush_size != size:
            self._choosing = True
            layer.brush_size = size
            self._choosing = False

    def _on_size(self, event: Any = None) -> None:
        if not self._choosing and self._layer is not None:
            self._by_user.add(self._layer)
