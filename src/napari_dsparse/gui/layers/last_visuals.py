"""Visuals that an emptied canvas has drawn last, held until something else is drawn.

Mesa's software renderer (llvmpipe), as machines without a graphics driver and remote desktops have it, ends
the whole process where the visuals of all layers go at once and the empty canvas is drawn after them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from qtpy.QtCore import QObject
from qtpy.QtWidgets import QWidget

from napari_dsparse.gui.widgets.canvas_focus import canvas_of


class LastVisuals(QObject):
    """Holds the visuals of layers that are removed until a canvas with layers has been drawn.

    Parameters
    ----------
    docked : QWidget
        In the window with the canvas.
    viewer : Viewer
    """

    def __init__(self, docked: QWidget, viewer: Any) -> None:
        super().__init__(docked)
        self._docked, self._viewer = docked, viewer
        self._held: dict[int, Any] = {}
        self._watched: Any = None
        viewer.layers.events.removing.connect(self._on_removing)

    def _on_removing(self, event: Any = None) -> None:
        scene = getattr(canvas_of(self._docked), "_vispy_canvas", None)
        if scene is None:  # a window that draws in another way
            return
        if scene is not self._watched:
            self._watched = scene
            scene.events.draw.connect(self._on_drawn, position="last")
        self._held |= {id(node): node for node in _beneath(scene.scene)}

    def _on_drawn(self, event: Any = None) -> None:
        if len(self._viewer.layers):
            self._held.clear()


def _beneath(node: Any) -> Iterator[Any]:
    for child in node.children:
        yield child
        yield from _beneath(child)
