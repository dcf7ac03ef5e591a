"""Layers of numbered objects: those of an image, and a look at those of the view."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from qtpy.QtCore import QObject

from napari_dsparse.gui.layers.image_frame import ImageFrame
from napari_dsparse.gui.layers.marks import belongs, disown, is_called, mark_ours, our_role
from napari_dsparse.gui.layers.viewer import in_viewer, insert_above, layers_of, unwrapped

if TYPE_CHECKING:
    from napari import Viewer
    from napari.layers import Image, Labels

    from napari_dsparse.prediction.objects_in_view import ObjectsInView

#: Roles of layers made here.
OBJECTS, PREVIEW = "objects", "objects preview"
#: Objects let the image shine through.
OPACITY = 0.6


class ObjectsLayers(QObject):
    """The objects of one image, and a preview of those in view.

    Parameters
    ----------
    viewer : Viewer
    image : Image
        Names the layers, which go above it and its segmentation.
    frame : ImageFrame
    parent : QObject
    """

    def __init__(
        self, viewer: Viewer, image: Image, frame: ImageFrame, parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self._viewer, self._image, self.frame = viewer, image, frame
        self._objects: Labels | None = None
        self._preview: Labels | None = None
        self._hidden = False  # the objects, while there is a preview

    @property
    def objects(self) -> Labels | None:
        """The layer of objects, if there is one in the viewer."""
        layer = self._objects
        return layer if layer is not None and in_viewer(self._viewer, layer) else None

    @property
    def edited(self) -> bool:
        """True if the user has painted on the objects, which are theirs since."""
        layer = self.objects
        return layer is not None and our_role(layer) != OBJECTS

    # -- objects --------------------------------------------------------------------------------------------

    def show(self, numbers: npt.NDArray[np.uint32]) -> Labels:
        """Show the objects of the whole image, in the layer of before unless its user has changed it."""
        from napari.layers import Labels

        data = numbers.reshape(self.frame.layer_shape)
        name = f"{self._image.name} objects"
        layer = self.objects
        if layer is None:
            fitting = (one for one in layers_of(self._viewer, Labels) if self._is_ours(one))
            layer = next(fitting, None)
        elif self.edited:
            layer = None  # it is kept as it is
        if layer is None:
            layer = Labels(data, name=name, opacity=OPACITY, **self.frame.placement)
            mark_ours(layer, OBJECTS, self._image)
            # For good: it may be painted on when this is long closed. The one event comes at the end of a
            # stroke, the other amid it.
            layer.events.paint.connect(_on_paint)
            layer.events.labels_update.connect(_on_paint)
            insert_above(self._viewer, self._image, layer, over=("segmentation",))
        else:
            layer.data = data
            layer.features = {}  # they were measured of other objects
        layer.visible = True
        self._objects = layer
        return layer

    def _is_ours(self, layer: Labels) -> bool:
        if our_role(layer) != OBJECTS or not belongs(layer, self._image) or not is_called(layer, "objects"):
            return False
        return tuple(layer.data.shape) == self.frame.layer_shape

    def place(self, image: Image, frame: ImageFrame) -> bool:
        """Go on where the image is now, if this is it: True then. The preview is of another place."""
        if image is self._image:
            self.frame = frame
            self.end_preview()
        return image is self._image

    def take(self, layer: Labels) -> None:
        """Go on with a layer of this image's objects that was made earlier."""
        self._objects = layer

    # -- preview --------------------------------------------------------------------------------------------

    def show_preview(self, found: ObjectsInView) -> None:
        """Show the objects of the view in a small layer of their own, in place of those found before."""
        from napari.layers import Labels

        first = (*found.plane, *found.corner)
        index = self.frame.layer_index(first)
        start = [where.start if isinstance(where, slice) else where for where in index]
        shape = [1] * len(start)
        for axis, length in zip(self.frame.spatial_axes[-2:], found.numbers.shape, strict=True):
            shape[axis] = length
        data = found.numbers.reshape(shape)
        translate = moved(self.frame.placement, start)
        if self._preview is not None and in_viewer(self._viewer, self._preview):
            self._preview.data = data
            self._preview.translate = translate
            return
        placement = {**self.frame.placement, "translate": translate}
        layer = Labels(data, name=f"{self._image.name} objects (preview)", opacity=OPACITY, **placement)
        mark_ours(layer, PREVIEW, self._image)
        insert_above(self._viewer, self._image, layer, over=("segmentation", OBJECTS))
        self._preview = layer
        objects = self.objects
        if objects is not None and objects.visible:
            objects.visible, self._hidden = False, True

    def end_preview(self) -> None:
        """Remove the preview; the objects found before are shown again."""
        layer, self._preview = self._preview, None
        if layer is not None and in_viewer(self._viewer, layer):
            self._viewer.layers.remove(layer)
        if self._hidden and self.objects is not None:
            self.objects.visible = True
        self._hidden = False

    def close(self) -> None:
        """Remove the preview; the layer of objects stays."""
        self.end_preview()
        self._objects = None


def _on_paint(event: Any) -> None:
    """Objects that were corrected by hand belong to the user."""
    if our_role(event.source) is not None:
        disown(event.source)


def moved(placement: Mapping[str, Any], pixels: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """`translate` of a layer whose first pixel is that of `pixels` of a layer of this placement."""
    linear = placement["rotate"] @ placement["shear"] @ np.diag(placement["scale"])
    return np.asarray(placement["translate"] + linear @ np.asarray(pixels, float))


def number_at(layer: Labels, event: Any) -> int:
    """Number under the mouse in a layer of labels; 0 where there is none."""
    value = layer.get_value(
        event.position,
        view_direction=event.view_direction,
        dims_displayed=list(event.dims_displayed),
        world=True,
    )
    return 0 if value is None else int(value)


def is_brush_in_hand(viewer: Viewer) -> bool:
    """True if a click on the canvas does something other than move the view."""
    active = unwrapped(viewer.layers.selection.active)
    mode = getattr(active, "mode", "pan_zoom")
    return str(mode) != "pan_zoom"
