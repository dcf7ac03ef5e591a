"""Layers that can be chosen as image and as strokes, and the likely ones among them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from napari_dsparse.gui.layers.image_frame import is_sparse
from napari_dsparse.gui.layers.instances import looks_like_instances, sample_of
from napari_dsparse.gui.layers.marks import belongs, our_role
from napari_dsparse.gui.layers.viewer import layers_of

if TYPE_CHECKING:
    from napari import Viewer
    from napari.layers import Image, Labels

    from napari_dsparse.gui.layers.image_frame import ImageFrame

#: Strokes cover less of an image than this; a layer with more is a finished annotation.
MOST_PAINT = 0.2


def images_of(viewer: Viewer) -> list[Image]:
    """Image layers, without those that show our results."""
    from napari.layers import Image

    return [layer for layer in layers_of(viewer, Image) if our_role(layer) is None]


def strokes_of(viewer: Viewer) -> list[Labels]:
    """Labels layers that could hold strokes: all but our segmentations."""
    from napari.layers import Labels

    return [layer for layer in layers_of(viewer, Labels) if our_role(layer) in (None, "strokes")]


def likely_strokes(layers: Sequence[Labels], frame: ImageFrame, image: Image) -> Labels | None:
    """The layer that is likely meant for strokes on the image; None rather than a bad guess.

    A layer made for strokes on it comes first, then one made for strokes on no image that is known, by the
    image's name if there are several; then the topmost one that fits and is neither a finished annotation nor
    one of numbered objects: training would start unasked.
    """
    fitting = [layer for layer in layers if _fits(layer, frame) and belongs(layer, image) is not False]
    if own := [layer for layer in fitting if belongs(layer, image)]:
        return own[-1]
    made = [layer for layer in fitting if our_role(layer) == "strokes"]
    named = [layer for layer in made if layer.name.startswith(frame.source.name)]
    if named or made:
        return (named or made)[-1]
    likely = (layer for layer in reversed(fitting) if _is_sparse(layer) and not looks_like_instances(layer))
    return next(likely, None)


def _fits(layer: Labels, frame: ImageFrame) -> bool:
    return (is_sparse(layer) or not layer.multiscale) and tuple(layer.data.shape) == frame.layer_shape


def _is_sparse(layer: Labels) -> bool:
    sample = sample_of(layer)
    return bool(np.count_nonzero(sample) < MOST_PAINT * sample.size)
