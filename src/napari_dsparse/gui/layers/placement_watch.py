"""Pixel size and place of images that change while they are open: what was made of them follows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary, WeakSet

import numpy as np
from qtpy.QtCore import QObject, QTimer, Signal

from napari_dsparse.errors import DsparseError
from napari_dsparse.gui.layers.image_frame import ChannelChoice, ImageFrame, frame_of, placement_of
from napari_dsparse.gui.layers.marks import belongs
from napari_dsparse.gui.layers.viewer import unwrapped

if TYPE_CHECKING:
    from napari import Viewer
    from napari.layers import Image, Layer

#: What a user, or a program, sets on a layer.
_ATTRIBUTES = ("scale", "translate", "rotate", "shear", "affine", "units", "axis_labels")


class PlacementWatch(QObject):
    """Moves strokes and results along with the images that were worked on.

    A layer that lies elsewhere than its image did was put there by its user, and stays.

    Parameters
    ----------
    viewer : Viewer
    parent : QObject
    """

    #: An image layer, and its frame as it is now.
    moved = Signal(object, object)

    def __init__(self, viewer: Viewer, parent: QObject) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._frames: WeakKeyDictionary[Image, ImageFrame] = WeakKeyDictionary()
        self._due: WeakSet[Image] = WeakSet()
        self._soon = QTimer(self)  # scale and units are set one after the other
        self._soon.setSingleShot(True)
        self._soon.setInterval(0)
        self._soon.timeout.connect(self._follow)

    def watch(self, image: Image, frame: ImageFrame) -> None:
        """Follow an image from now on, as `frame` reads it."""
        if image not in self._frames:
            for name in _ATTRIBUTES:
                getattr(image.events, name).connect(self._on_event)
        self._frames[image] = frame

    def close(self) -> None:
        """Follow no image any more."""
        self._soon.stop()
        for image in list(self._frames):
            for name in _ATTRIBUTES:
                getattr(image.events, name).disconnect(self._on_event)
        self._frames.clear()

    def _on_event(self, event: Any) -> None:
        self._due.add(unwrapped(event.source))
        self._soon.start()

    def _follow(self) -> None:
        due, self._due = list(self._due), WeakSet()
        for image in due:
            before = self._frames.get(image)
            if before is None:
                continue
            try:
                now = frame_of(image, ChannelChoice(before.source.channel_axis, "known"))
            except DsparseError:  # its pixels were replaced, too: it is read anew when it is chosen
                continue
            if _alike(before.placement, now.placement) or now.layer_shape != before.layer_shape:
                continue
            self._frames[image] = frame = replace(before, placement=now.placement)
            for layer in map(unwrapped, self._viewer.layers):
                if belongs(layer, image) and _lies_on(layer, before):
                    _place(layer, frame.placement)
            self.moved.emit(image, frame)


def _lies_on(layer: Layer, frame: ImageFrame) -> bool:
    data: Any = layer.data
    return tuple(getattr(data, "shape", ())) == frame.layer_shape and _alike(
        placement_of(layer), frame.placement
    )


def _alike(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    for name in _ATTRIBUTES:
        if name in ("units", "axis_labels"):
            if [str(each) for each in one[name]] != [str(each) for each in other[name]]:
                return False
        elif not np.allclose(one[name], other[name]):
            return False
    return True


def _place(layer: Layer, placement: Mapping[str, Any]) -> None:
    for name in _ATTRIBUTES:
        setattr(layer, name, placement[name])
