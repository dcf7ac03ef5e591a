"""Objects that were found in an image, kept with their layer while other images are in front."""

from __future__ import annotations

import weakref
from collections.abc import Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from napari_dsparse.gui.layers.image_frame import ImageFrame
from napari_dsparse.gui.layers.result_pixels import whole_of
from napari_dsparse.gui.layers.viewer import in_viewer
from napari_dsparse.gui.objects_work import FoundObjects

if TYPE_CHECKING:
    from napari import Viewer
    from napari.layers import Labels

    from napari_dsparse.classifier import ClassInfo


@dataclass(slots=True, eq=False)
class KeptObjects:
    """Objects in a layer, and the segmentation that they were found in.

    Parameters
    ----------
    found : FoundObjects
    key : hashable
        The image's, in the live loop.
    frame : ImageFrame
    segmentation : weakref to Labels
    classes : tuple of ClassInfo
        Those there were then.
    outdated : bool or None
        True if the segmentation is another one since; None while that is being looked at.
    """

    found: FoundObjects
    key: Hashable
    frame: ImageFrame
    segmentation: weakref.ref[Labels]
    classes: tuple[ClassInfo, ...]
    outdated: bool | None = False

    def labels(self, viewer: Viewer) -> Any:
        """The segmentation as it is now, shape (..., Y, X); None if its layer was removed."""
        layer = self.segmentation()
        return None if layer is None or not in_viewer(viewer, layer) else whole_of(layer, self.frame)


class ObjectsByLayer:
    """Objects that were found, by the layer that shows them, for as long as there is that layer."""

    def __init__(self) -> None:
        self._kept: WeakKeyDictionary[Labels, KeptObjects] = WeakKeyDictionary()

    def keep(self, layer: Labels, objects: KeptObjects) -> None:
        """Keep what `layer` shows now."""
        self._kept[layer] = objects

    def of_image(self, key: Hashable, frame: ImageFrame, viewer: Viewer) -> tuple[Labels, KeptObjects] | None:
        """The topmost layer of objects found in the image of that key, and these."""
        for layer in reversed([getattr(each, "__wrapped__", each) for each in viewer.layers]):
            objects = self._kept.get(layer)
            if objects is not None and objects.key == key and tuple(layer.data.shape) == frame.layer_shape:
                return layer, objects
        return None
