"""Labels layers whose numbers are of objects rather than of classes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_dsparse.classifier.classes import default_classes
from napari_dsparse.gui.layers.class_look import CLASS_COLUMN
from napari_dsparse.gui.layers.marks import our_role
from napari_dsparse.gui.layers.strokes_layer import new_strokes_layer
from napari_dsparse.live.trainer_thread import MOST_CLASSES

if TYPE_CHECKING:
    from napari import Viewer
    from napari.layers import Labels
    from numpy.typing import NDArray

    from napari_dsparse.gui.layers.image_frame import ImageFrame
    from napari_dsparse.gui.widgets.numbers_dialog import NumberClasses

#: So many different numbers without names are more likely objects than classes.
FEW_NUMBERS = 8
#: Pixels looked at to tell kinds of layers apart.
LOOKED_AT = 1 << 20


def looks_like_instances(layer: Labels) -> bool:
    """True if the numbers of `layer`, which was not painted here, are likely of objects."""
    if our_role(layer) == "strokes" or layer.multiscale:
        return False
    found = np.unique(sample_of(layer))
    numbers = found[found > 0]
    if numbers.size and numbers[-1] > MOST_CLASSES:
        return True
    return numbers.size > FEW_NUMBERS and CLASS_COLUMN not in layer.features


def fit_as_classes(layer: Labels) -> bool:
    """True if there are so few numbers that each could be a class."""
    return int(np.max(np.asarray(layer.data), initial=0)) <= MOST_CLASSES


def pixels_of_numbers(layer: Labels) -> dict[int, int]:
    """Pixels of every number of `layer` above 0; none where there are more than could be classes."""
    numbers, counts = np.unique(np.asarray(layer.data), return_counts=True)
    counts, numbers = counts[numbers > 0], numbers[numbers > 0]
    if len(numbers) > MOST_CLASSES:
        return {}
    return dict(zip(numbers.tolist(), counts.tolist(), strict=True))


def as_mapped(viewer: Viewer, layer: Labels, frame: ImageFrame, chosen: NumberClasses) -> Labels:
    """A new strokes layer on which the numbers of `layer` are painted as the classes chosen for them."""
    numbers = np.array(sorted(chosen.numbers))
    painted = np.array([0, *(chosen.numbers[number] for number in numbers.tolist())], np.uint8)
    data = np.asarray(layer.data)
    at = np.searchsorted(numbers, data)
    known = numbers[np.minimum(at, len(numbers) - 1)] == data
    strokes = painted[np.where(known, at + 1, 0)]
    return new_strokes_layer(viewer, frame, chosen.classes, name=f"{layer.name} strokes", data=strokes)


def as_one_class(viewer: Viewer, layer: Labels, frame: ImageFrame) -> Labels:
    """A new strokes layer on which every object of `layer` is painted as the second class, "object"."""
    data = np.where(np.asarray(layer.data) > 0, 2, 0).astype(np.uint8)
    return new_strokes_layer(viewer, frame, default_classes(2), name=f"{layer.name} strokes", data=data)


def sample_of(layer: Labels) -> NDArray[np.integer]:
    """Labels of evenly spaced pixels: all of a small layer, about as many of a large one."""
    step = max(1, int(np.ceil((np.prod(layer.data.shape) / LOOKED_AT) ** (1 / layer.ndim))))
    return np.asarray(layer.data[(slice(None, None, step),) * layer.ndim])
