"""Queries of napari's layers and viewer that several modules of this subpackage need."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from napari_dsparse.gui.layers.marks import belongs, our_role
from napari_dsparse.prediction.tiles import FieldOfView

if TYPE_CHECKING:
    from napari import Viewer
    from napari.layers import Layer

    from napari_dsparse.gui.layers.image_frame import ImageFrame

T = TypeVar("T")


def unwrapped(thing: T) -> T:
    """The object behind a napari proxy: proxies have no identity to compare."""
    return getattr(thing, "__wrapped__", thing)


def layers_of(viewer: Viewer, kind: type[T]) -> list[T]:
    """The viewer's layers of exactly `kind`, or made here as a kind of it, topmost last."""
    layers = [unwrapped(layer) for layer in viewer.layers]
    return [one for one in layers if type(one) is kind or (isinstance(one, kind) and _is_made_here(one))]


def _is_made_here(layer: Any) -> bool:
    return type(layer).__module__.startswith("napari_dsparse.")


def in_viewer(viewer: Viewer, layer: Layer) -> bool:
    """True if `layer` is still one of the viewer's."""
    return any(unwrapped(other) is layer for other in viewer.layers)


def insert_above(viewer: Viewer, image: Layer, layer: Layer, over: Sequence[str] = ()) -> None:
    """Insert `layer` right above an image, leaving the brush where it is.

    Parameters
    ----------
    viewer : Viewer
    image : Layer
        Where it is not in the viewer, the topmost layer stands for it.
    layer : Layer
    over : sequence of str
        Roles of the image's own layers that `layer` goes above too, where they lie above the image.
    """
    layers = [unwrapped(one) for one in viewer.layers]
    selected = [unwrapped(one) for one in viewer.layers.selection]
    active = unwrapped(viewer.layers.selection.active)
    place = next((number for number, one in enumerate(layers) if one is image), len(layers) - 1)
    for number, one in enumerate(layers[place + 1 :], start=place + 1):
        if our_role(one) in over and belongs(one, image):
            place = number
    viewer.layers.insert(place + 1, layer)
    viewer.layers.selection = set(selected)
    viewer.layers.selection.active = active


def field_of_view(viewer: Viewer, frame: ImageFrame, on_pixels: Layer | None) -> FieldOfView:
    """The part of the image that is on screen.

    Parameters
    ----------
    viewer : Viewer
    frame : ImageFrame
    on_pixels : Layer or None
        A layer on the frame's pixels, which knows its visible corners; without one, or in 3-D, the whole
        plane counts as visible.

    Returns
    -------
    FieldOfView
    """
    shape = frame.source.shape
    if on_pixels is None:
        return FieldOfView((0,) * (len(shape) - 2), (0, shape[-2]), (0, shape[-1]))
    axes = frame.spatial_axes
    point = on_pixels.world_to_data(viewer.dims.point)
    plane = tuple(
        int(np.clip(round(float(point[axis])), 0, size - 1))
        for axis, size in zip(axes[:-2], shape[:-2], strict=True)
    )
    shown = {axis - viewer.dims.ndim + on_pixels.ndim for axis in viewer.dims.displayed}
    if viewer.dims.ndisplay != 2 or shown != set(axes[-2:]):
        return FieldOfView(plane, (0, shape[-2]), (0, shape[-1]))
    low, high = (np.asarray(corner) for corner in on_pixels.corner_pixels)
    if (seen := getattr(on_pixels, "on_screen", None)) is not None:
        low, high = seen
    elif on_pixels.multiscale:  # in pixels of the level that is shown
        factors = np.asarray(on_pixels.downsample_factors[on_pixels.data_level])
        low, high = np.floor(low * factors).astype(int), np.ceil((high + 1) * factors).astype(int) - 1
    ranges = [
        (int(np.clip(low[axis], 0, size - 1)), int(np.clip(high[axis] + 1, 1, size)))
        for axis, size in zip(axes[-2:], shape[-2:], strict=True)
    ]
    return FieldOfView(plane, ranges[0], ranges[1])


def center_on(viewer: Viewer, layer: Layer, index: tuple[float, ...]) -> None:
    """Bring the pixel `index` of `layer` to the middle of the view, without changing the zoom."""
    world = np.asarray(layer.data_to_world(index), dtype=float)
    ndim = viewer.dims.ndim
    for axis, position in zip(range(ndim - layer.ndim, ndim), world, strict=True):
        if axis not in viewer.dims.displayed:
            viewer.dims.set_point(axis, position)
    camera = camera_of(viewer)
    center = list(camera.center)
    for slot, axis in zip(range(-len(viewer.dims.displayed), 0), viewer.dims.displayed, strict=True):
        center[slot] = world[axis - ndim + layer.ndim]
    camera.center = tuple(center)


def camera_of(viewer: Viewer) -> Any:
    """The viewer's camera; it moved under `scene` in napari 0.9."""
    scene = getattr(viewer, "scene", None)
    return viewer.camera if scene is None else scene.camera
