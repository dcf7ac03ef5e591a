"""Class names and colours of a Labels layer, kept in its features and its colormap."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_dsparse.classifier.classes import ClassInfo, default_class, distinct_class, hex_color

if TYPE_CHECKING:
    from napari.layers import Labels
    from napari.utils.colormaps import Colormap, DirectLabelColormap

#: Column of a Labels layer's features that names the class; napari shows it under the cursor.
CLASS_COLUMN = "class"

#: Opacity of probability maps at probability 1: the image below stays visible.
PROBABILITY_OPACITY = 0.5


def class_colormap(classes: Sequence[ClassInfo], hidden: Collection[int] = ()) -> DirectLabelColormap:
    """Label i + 1 in the colour of class i; everything else, and the labels in `hidden`, see-through."""
    from napari.utils.colormaps import DirectLabelColormap

    colors: dict[int | None, Any] = {None: np.zeros(4), 0: np.zeros(4)}
    colors |= {
        number: (*(part / 255 for part in info.rgb), 0.0 if number in hidden else 1.0)
        for number, info in enumerate(classes, start=1)
    }
    return DirectLabelColormap(color_dict=colors)


def probability_colormap(info: ClassInfo) -> Colormap:
    """From see-through at 0 to the class's colour at 1."""
    from napari.utils.colormaps import Colormap

    color = [part / 255 for part in info.rgb]
    return Colormap([[*color, 0.0], [*color, 1.0]], name=f"probability {info.color}")


def probability_look(info: ClassInfo) -> dict[str, Any]:
    """Attributes of a probability map: a tint of the class, on dark images as on bright ones."""
    return {
        "colormap": probability_colormap(info),
        "contrast_limits": (0, 1),
        "blending": "translucent",
        "opacity": PROBABILITY_OPACITY,
    }


def class_features(classes: Sequence[ClassInfo]) -> dict[str, list[Any]]:
    """A features table that names every label."""
    return {
        "index": list(range(len(classes) + 1)),
        CLASS_COLUMN: ["not painted", *(info.name for info in classes)],
    }


def show_classes(layer: Labels, classes: Sequence[ClassInfo], *, hidden: Collection[int] = ()) -> None:
    """Give `layer` the names and colours of `classes`; labels in `hidden` are see-through."""
    layer.features = class_features(classes)
    layer.colormap = class_colormap(classes, hidden)


def hidden_labels(layer: Labels) -> set[int]:
    """Labels that the layer's own colours leave see-through, but for 0."""
    colors = getattr(layer.colormap, "color_dict", {})
    return {int(number) for number, color in colors.items() if number and float(color[3]) == 0}


def classes_of(layer: Labels) -> tuple[ClassInfo, ...]:
    """The classes that `layer` names; two default ones, in the layer's own colours, where it names none."""
    names = _named_labels(layer)
    count = max([2, *names])
    return tuple(_class_on(layer, number, names.get(number)) for number in range(1, count + 1))


def more_classes(layer: Labels, classes: Sequence[ClassInfo], count: int) -> tuple[ClassInfo, ...]:
    """`classes` lengthened to `count`, the new ones as `layer` shows their labels."""
    longer = tuple(classes)
    while len(longer) < count:
        longer = (*longer, distinct_class(_class_on(layer, len(longer) + 1, None), longer))
    return longer


def _class_on(layer: Labels, number: int, name: str | None) -> ClassInfo:
    usual = default_class(number)
    color = layer.get_color(number)
    visible = color is not None and float(color[3]) > 0
    if not visible and name is not None:  # a class that is hidden keeps its colour
        color = getattr(layer.colormap, "color_dict", {}).get(number)
        visible = color is not None
    return ClassInfo(name or usual.name, hex_color(color) if visible else usual.color)


def _named_labels(layer: Labels) -> dict[int, str]:
    features = layer.features
    if CLASS_COLUMN not in features or "index" not in features:
        return {}
    pairs = zip(features["index"], features[CLASS_COLUMN], strict=True)
    return {int(number): str(name) for number, name in pairs if int(number) > 0}
