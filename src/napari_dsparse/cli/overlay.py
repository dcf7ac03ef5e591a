"""A picture of the result: the image, the segmentation over it, and the strokes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from skimage.segmentation import find_boundaries

from napari_dsparse.classifier import ClassInfo

#: Opacity of the class colour over the image.
OPACITY = 0.3

#: Share of the darkest and of the brightest pixels that are clipped for display.
CLIPPED = 0.005


def draw_overlay(
    image: npt.NDArray[Any],
    labels: npt.NDArray[Any],
    strokes: npt.NDArray[Any],
    classes: Sequence[ClassInfo],
) -> npt.NDArray[np.uint8]:
    """Tint every pixel with its class, draw borders of classes and strokes in full colour.

    Parameters
    ----------
    image : ndarray, shape (Y, X) or (Y, X, 3)
    labels, strokes : integer ndarray, shape (Y, X)
        0 = none, 1..K = classes.
    classes : sequence of ClassInfo

    Returns
    -------
    ndarray of uint8, shape (Y, X, 3)
    """
    colors = np.array([(0, 0, 0), *(info.rgb for info in classes)], np.float32)
    grey = image if image.ndim == 3 else np.repeat(image[..., np.newaxis], 3, axis=-1)
    low, high = np.quantile(grey, [CLIPPED, 1 - CLIPPED])
    picture = np.clip((grey.astype(np.float32) - low) / max(high - low, 1e-9), 0, 1) * 255
    picture = (1 - OPACITY) * picture + OPACITY * colors[labels]
    # The border belongs to the later class: on "background, nucleus" it is drawn in the nucleus' colour.
    border = find_boundaries(labels, mode="inner") & (labels > 1)
    picture[border] = colors[labels[border]]
    picture[strokes > 0] = colors[strokes[strokes > 0]]
    drawn: npt.NDArray[np.uint8] = picture.round().astype(np.uint8)
    return drawn
