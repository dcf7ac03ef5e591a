"""OME-Zarr 0.5: chunked and pyramidal, for what is too large for one file."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from napari_dsparse.classifier.classes import ClassInfo
from napari_dsparse.errors import ExportError
from napari_dsparse.files.axes import Axis
from napari_dsparse.files.pixels import Pixels
from napari_dsparse.files.regions import LabelledImage
from napari_dsparse.images.zarr_extra import import_zarr

_VERSION = "0.5"

#: Names of label images: of classes, and of numbered objects.
SEGMENTATION, OBJECTS = "segmentation", "objects"

#: Says in the attributes of a label store whose it is.
CREATOR_KEY, CREATOR = "_creator", {"name": "napari-dsparse"}

#: Edge of a chunk in pixels.
_CHUNK = 1024

#: From so many chunks on, an array's chunks are put together into shards: so many small files are slow to
#: copy and list. Below, every reader of Zarr version 3 takes them.
_MANY_CHUNKS = 1024
#: Bytes of a shard, uncompressed, at most.
_SHARD_BYTES = 2**24

_TYPES = {"T": "time", "C": "channel", "Z": "space", "Y": "space", "X": "space"}


def write_label_zarr(path: Path, pixels: Pixels, axes: Sequence[Axis], classes: Sequence[ClassInfo]) -> None:
    """Write a label image with the names and colours of the classes, as a pyramid.

    It lies where OME-Zarr has label images, in the group ``labels``, and the image around it shows the same
    pixels. A label image at the root alone is no image to programs that look for one, and makes
    napari-ome-zarr 0.10 look for the image two folders above, where it leaves a ``zarr.json``.

    Parameters
    ----------
    path : Path
        A folder that does not exist yet.
    pixels : Pixels
        Unsigned integers, 0 where nothing is labelled.
    axes : sequence of Axis
        One per axis of `pixels`.
    classes : sequence of ClassInfo
        Class number i + 1 is entry i. If there are none, labels are numbered objects.
    """
    numbered = list(enumerate(classes, start=1))
    described = {
        "colors": [{"label-value": number, "rgba": [*info.rgb, 255]} for number, info in numbered],
        "properties": [{"label-value": number, "name": info.name} for number, info in numbered],
    }
    _write_labels(path, pixels, axes, SEGMENTATION if classes else OBJECTS, described if classes else {})


def write_object_zarr(path: Path, image: LabelledImage) -> None:
    """Write objects as a label image with the class of each; in what colours they show is left to readers.

    Parameters
    ----------
    path : Path
        A folder that does not exist yet.
    image : LabelledImage
        With objects. It is read plane by plane, and each plane is held in memory whole.
    """
    assert image.objects is not None
    classes: dict[int, str] = {}
    for plane in image.planes():
        for region in plane.regions:
            if region.info is not None:
                classes.setdefault(region.number, region.info.name)
    properties = [{"label-value": number, "class": name} for number, name in sorted(classes.items())]
    _write_labels(path, image.objects, image.axes, OBJECTS, {"properties": properties} if properties else {})


def _write_labels(
    path: Path, pixels: Pixels, axes: Sequence[Axis], name: str, described: Mapping[str, Any]
) -> None:
    root = check_zarr(axes).create_group(store=str(path), zarr_format=3)
    labels = root.create_group("labels")
    group = labels.create_group(name)
    highest = _write_levels(group, pixels, axes)
    levels = pixels.levels
    group.attrs["ome"] = {
        "version": _VERSION,
        **_multiscales(name, axes, levels),
        "image-label": {"version": _VERSION, **described, "source": {"image": "../../"}},
    }
    labels.attrs["ome"] = {"version": _VERSION, "labels": [name]}
    window = {"start": 0, "end": max(1, highest), "min": 0, "max": max(1, highest)}
    what = "class" if name == SEGMENTATION else "number"
    shown = {"label": what, "color": "FFFFFF", "active": True, "window": window}
    root.attrs[CREATOR_KEY] = CREATOR
    root.attrs["ome"] = {
        "version": _VERSION,
        **_multiscales(name, axes, levels, f"labels/{name}/"),
        "omero": {"channels": [shown]},
    }


def write_intensity_zarr(
    path: Path, pixels: Pixels, axes: Sequence[Axis], name: str, channels: Sequence[ClassInfo]
) -> None:
    """Write measured values from 0 to 1, such as probabilities with one channel per class.

    Parameters
    ----------
    path : Path
        A folder that does not exist yet.
    pixels : Pixels
    axes : sequence of Axis
        One per axis of `pixels`, with C among them if there are channels.
    name : str
        What the values are.
    channels : sequence of ClassInfo
        Names and colours of the channels; empty where there is no channel axis.
    """
    window = {"start": 0.0, "end": 1.0, "min": 0.0, "max": 1.0}
    shown = [
        {"label": info.name, "color": info.color.removeprefix("#").upper(), "active": True, "window": window}
        for info in channels or (ClassInfo(name, "#ffffff"),)
    ]
    root = check_zarr(axes).create_group(store=str(path), zarr_format=3)
    _write_levels(root, pixels, axes)
    root.attrs["ome"] = {
        "version": _VERSION,
        **_multiscales(name, axes, pixels.levels),
        "omero": {"channels": shown},
    }


def _write_levels(group: Any, pixels: Pixels, axes: Sequence[Axis]) -> int:
    """Write the arrays of a pyramid, called 0, 1 and so on; returns the highest value, in whole numbers."""
    letters = [axis.letter for axis in axes]
    source, highest = pixels, 0
    for level in range(pixels.levels):
        if level > 0:
            source = Pixels(group[str(level - 1)], pixels.dtype).every(2)
        leading = (1,) * (len(source.shape) - 2)
        chunk = tuple(min(_CHUNK, n) for n in source.shape[-2:])
        edge = _shard_edge(source)
        array = group.create_array(
            str(level),
            shape=source.shape,
            chunks=(*leading, *chunk),
            shards=(*leading, edge, edge) if edge > _CHUNK else None,
            dtype=pixels.dtype,
            dimension_names=[letter.lower() for letter in letters],
        )
        for window in source.windows(edge):
            block = source.read(window)
            array[window] = block
            if level == 0 and block.dtype.kind == "u":
                highest = max(highest, int(block.max()))
    return highest


def _multiscales(name: str, axes: Sequence[Axis], levels: int, folder: str = "") -> dict[str, Any]:
    """The entry of a pyramid whose arrays lie in `folder`, below the group that has the entry."""
    datasets = [
        {
            "path": f"{folder}{level}",
            "coordinateTransformations": [{"type": "scale", "scale": _scale(axes, 2**level)}],
        }
        for level in range(levels)
    ]
    axes_entry = [_describe(axis) for axis in axes]
    return {"multiscales": [{"name": name, "axes": axes_entry, "datasets": datasets}]}


def _shard_edge(pixels: Pixels) -> int:
    """Rows and columns of a shard; those of a chunk where there are none."""
    chunks = math.prod(pixels.shape[:-2]) * math.prod(-(-n // _CHUNK) for n in pixels.shape[-2:])
    if chunks < _MANY_CHUNKS or min(pixels.shape[-2:]) < _CHUNK:
        return _CHUNK
    return _CHUNK * max(1, math.isqrt(_SHARD_BYTES // pixels.dtype.itemsize) // _CHUNK)


def check_zarr(axes: Sequence[Axis]) -> ModuleType:
    """The zarr package, if it is installed and OME-Zarr can hold arrays of these axes.

    Raises
    ------
    ExportError
        If it is not, or cannot.
    """
    letters = [axis.letter for axis in axes]
    if "T" in letters[1:]:
        raise ExportError(
            f"Axes {''.join(letters)} cannot be written as OME-Zarr, which has time first; "
            "move that axis to the front or choose OME-TIFF."
        )
    return import_zarr(ExportError)


def _describe(axis: Axis) -> dict[str, str]:
    described = {"name": axis.letter.lower(), "type": _TYPES[axis.letter]}
    return described if axis.unit is None else {**described, "unit": axis.unit.name}


def _scale(axes: Sequence[Axis], factor: int) -> list[float]:
    return [axis.scale * factor if axis.letter in "YX" else axis.scale for axis in axes]
