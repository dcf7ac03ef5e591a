"""Our own segmentations, strokes and objects come back to napari with names, colours and scale."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from napari.types import LayerDataTuple

from napari_dsparse.errors import ImageError
from napari_dsparse.files.label_classes import read_label_classes
from napari_dsparse.gui.contributions.layer_parts import named
from napari_dsparse.gui.layers.class_look import class_colormap, class_features
from napari_dsparse.images.reading import read_image, read_labels
from napari_dsparse.images.zarr_file import STORE_MARKS

LayerData = tuple[Any, dict[str, Any], str]


def get_reader(path: str | list[str]) -> Callable[[str | list[str]], list[LayerData]] | None:
    """The reader of one label image that this plugin has written, whatever it is called.

    napari asks for files whose names end as those of our exports do by themselves. It asks its user which
    reader to take before it asks a reader whether a file is its own, so that more names would mean that
    question for everybody's images.

    Parameters
    ----------
    path : str or list of str

    Returns
    -------
    callable or None
        None for files of other programs, and for several files as one stack.
    """
    if isinstance(path, list):
        if len(path) != 1:
            return None
        path = path[0]
    return None if read_label_classes(Path(path)) is None else read_layers


def read_layers(path: str | list[str]) -> list[LayerData]:
    """A Labels layer with the classes that the file or store names.

    Raises
    ------
    ImageError, LabelsError
        If it cannot be read.
    """
    file = Path(path[0] if isinstance(path, list) else path)
    described, labels = read_image(file), read_labels(file)
    name = file.name.split(".ome.")[0].removesuffix(file.suffix)
    attributes: dict[str, Any] = {"name": name}
    if labels.ndim == len(described.scale):
        attributes |= {"scale": described.scale, "units": described.units}
    classes = read_label_classes(file)
    if classes:
        attributes |= {"features": class_features(classes), "colormap": class_colormap(classes)}
    return [(labels, attributes, "labels")]


def open_labels(file: Path) -> list[LayerDataTuple]:
    """Open labels that were exported under any name, with names and colours of classes, and scale.

    Parameters
    ----------
    file : Path
        OME-TIFF, PNG, or an OME-Zarr folder or the zarr.json in it.

    Returns
    -------
    list of LayerDataTuple
        One labels layer.

    Raises
    ------
    ImageError, LabelsError
        If it was not exported by this plugin, or cannot be read.
    """
    path = named(file, "the labels")
    if path.name in STORE_MARKS:
        path = path.parent
    if not path.exists():
        raise ImageError(f"There is no file {str(path)!r}; check its name and folder.")
    if read_label_classes(path) is None:
        raise ImageError(
            f"{path.name!r} holds no labels that this plugin has exported as OME-TIFF, PNG or OME-Zarr; "
            "open it with File > Open Files."
        )
    return [LayerDataTuple(each) for each in read_layers(str(path))]
