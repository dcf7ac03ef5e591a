"""Our own segmentations and strokes through napari's File > Open, with names, colours and scale."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from napari_dsparse.errors import LabelsError
from napari_dsparse.files.label_classes import read_label_classes
from napari_dsparse.gui.layers.class_look import class_colormap, class_features
from napari_dsparse.images.reading import read_image, read_labels

LayerData = tuple[Any, dict[str, Any], str]


def get_reader(path: str | list[str]) -> Callable[[str | list[str]], list[LayerData]] | None:
    """The reader of one label file; napari asks for files whose names end as those of our exports do.

    Parameters
    ----------
    path : str or list of str

    Returns
    -------
    callable or None
        None for several files as one stack.
    """
    if isinstance(path, list):
        if len(path) != 1:
            return None
        path = path[0]
    return read_layers if Path(path).is_file() else None


def read_layers(path: str | list[str]) -> list[LayerData]:
    """A Labels layer with the classes that the file names; an image where it holds no labels.

    Raises
    ------
    ImageError
        If the file cannot be read.
    """
    file = Path(path[0] if isinstance(path, list) else path)
    described = read_image(file)
    name = file.name.split(".ome.")[0]
    try:
        labels = read_labels(file)
    except LabelsError:  # another program's file of such a name
        return [(described.data[...], {"name": name}, "image")]
    attributes: dict[str, Any] = {"name": name}
    if labels.ndim == len(described.scale):
        attributes |= {"scale": described.scale, "units": described.units}
    classes = read_label_classes(file)
    if classes:
        attributes |= {"features": class_features(classes), "colormap": class_colormap(classes)}
    return [(labels, attributes, "labels")]
