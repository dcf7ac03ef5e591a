"""The part of an image that is on screen, kept while another image is in front."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_dsparse.gui.layers.viewer import camera_of

if TYPE_CHECKING:
    from napari import Viewer
    from napari.layers import Image


#: Share of the canvas that is left blank around an image.
MARGIN = 0.05


@dataclass(frozen=True, slots=True)
class ImageView:
    """Camera and sliders, as the user left them.

    Parameters
    ----------
    center : tuple of float
        World coordinates in the middle of the canvas, of the axes on screen.
    zoom : float
        Canvas pixels per world unit.
    point : tuple of float
        World coordinates of the sliders, of all axes.
    """

    center: tuple[float, ...]
    zoom: float
    point: tuple[float, ...]


def view_of(viewer: Viewer) -> ImageView:
    """The view as it is now."""
    camera = camera_of(viewer)
    center, point = (tuple(map(float, each)) for each in (camera.center, viewer.dims.point))
    return ImageView(center, float(camera.zoom), point)


def show_view(viewer: Viewer, view: ImageView | None, layer: Image) -> None:
    """Bring back a view or, if there is none yet, fit `layer` into the canvas."""
    if view is not None:
        camera = camera_of(viewer)
        shared = min(len(view.point), viewer.dims.ndim)
        axes = range(viewer.dims.ndim - shared, viewer.dims.ndim)
        viewer.dims.set_point(list(axes), view.point[len(view.point) - shared :])
        camera.center, camera.zoom = view.center, view.zoom
    elif getattr(viewer, "scene", None) is None:  # before napari 0.9
        viewer.reset_view()
    elif viewer.dims.ndisplay == 2 and layer.ndim < viewer.dims.ndim:
        _fit_plane(viewer, layer)
    else:
        viewer.fit_to_view(layers=[layer])


def _fit_plane(viewer: Viewer, layer: Image) -> None:
    """Fit a layer with fewer axes than the viewer has, which napari's own function cannot do alone."""
    low, high = np.asarray(layer.extent.world)[:, -2:]
    size = np.maximum(high - low + np.abs(layer.scale[-2:]), np.finfo(float).tiny)
    camera = camera_of(viewer)
    camera.center = (*camera.center[:-2], *((low + high) / 2))
    camera.zoom = (1 - MARGIN) * float(np.min(np.asarray(viewer.canvas.viewbox_size(viewer.layers)) / size))
