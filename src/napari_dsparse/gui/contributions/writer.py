"""Labels layers through napari's own File > Save."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from napari_dsparse.classifier.classes import ClassInfo, default_classes, hex_color
from napari_dsparse.files.export import export_labels, takes_objects
from napari_dsparse.gui.layers.class_look import CLASS_COLUMN
from napari_dsparse.gui.layers.exporting import axis_letters
from napari_dsparse.images.painted import largest_label

#: A layer that names no classes and has more labels than this holds objects.
MOST_CLASSES = 255


def write_labels(path: str, data: Any, attributes: dict[str, Any]) -> list[str]:
    """Write one Labels layer in the format of the suffix of `path`.

    napari has asked before it lets a file be replaced, so an existing one is.

    Parameters
    ----------
    path : str
    data : array of int, shape (..., Y, X)
        Or a pyramid, of which the finest level is written.
    attributes : dict
        The layer's attributes as napari hands them to writers: scale, units, axis_labels, features, colormap.

    Returns
    -------
    list of str
        The path written.
    """
    if hasattr(data, "shapes"):  # a pyramid
        data = data[0]
    scale, units = attributes.get("scale"), attributes.get("units")
    names = [str(label) for label in attributes.get("axis_labels") or ()]
    written = export_labels(
        Path(path),
        data,
        classes=classes_of_attributes(attributes, data, named_only=takes_objects(path)),
        scale=None if scale is None else tuple(float(step) for step in scale),
        units=None if units is None else tuple(str(unit) for unit in units),
        axes=axis_letters(names),
        overwrite=True,
    )
    return [str(written)]


def classes_of_attributes(
    attributes: dict[str, Any], data: Any, *, named_only: bool = False
) -> tuple[ClassInfo, ...]:
    """Names from a layer's features, colours from its colormap, defaults for the rest.

    None at all where nothing is named and labels go beyond `MOST_CLASSES`: those are numbered objects. With
    `named_only`, for formats that tell objects from classes, so are all labels that are not named.
    """
    features, colormap = attributes.get("features", {}), attributes.get("colormap")
    names: dict[int, str] = {}
    if CLASS_COLUMN in features and "index" in features:
        pairs = zip(features["index"], features[CLASS_COLUMN], strict=True)
        names = {int(number): str(name) for number, name in pairs}
    colors = getattr(colormap, "color_dict", {})
    count = max([largest_label(data), *names]) if data.size else 0
    if not names and (named_only or count > MOST_CLASSES):
        return ()
    return tuple(
        ClassInfo(
            names.get(number, usual.name), hex_color(colors[number]) if number in colors else usual.color
        )
        for number, usual in enumerate(default_classes(count), start=1)
    )
