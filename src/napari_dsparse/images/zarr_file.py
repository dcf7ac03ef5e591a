"""Zarr arrays and OME-Zarr images, read lazily."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from napari_dsparse.errors import ImageError
from napari_dsparse.images.file_content import UNNAMED, Choices, FileContent, choose_series, several
from napari_dsparse.images.units import PIXEL, find_unit
from napari_dsparse.images.zarr_codecs import codecs_are_lossy
from napari_dsparse.images.zarr_extra import import_zarr

#: Axes of versions 0.1 and 0.2, which do not name them.
_UNWRITTEN_AXES = ("t", "c", "z", "y", "x")

#: Axes of arrays whose names are believed, channels aside.
_PLANES = ("YX", "ZYX", "TYX", "TZYX")

#: Files that mark a folder as a Zarr array or group, of version 3 or 2.
STORE_MARKS = ("zarr.json", ".zarray", ".zgroup")


def is_store(folder: Path) -> bool:
    """True of a Zarr array or group, whatever its name."""
    return any((folder / mark).is_file() for mark in STORE_MARKS)


def read_zarr(path: Path, series: int | None = None) -> FileContent:
    """A Zarr array, or the largest level of an OME-Zarr image (version 0.1 to 0.5).

    Parameters
    ----------
    path : Path
    series : int, optional
        Of a file converted with all its images (bioformats2raw), or of a well of a plate, which image, from
        0; the largest otherwise.

    Raises
    ------
    ImageError
        If zarr is not installed, the group is not an OME-Zarr image, or there is no such series.
    OSError, ValueError, KeyError, TypeError
        If the store or its metadata is damaged.
    """
    zarr = import_zarr(ImageError)
    node = zarr.open(store=str(path), mode="r")
    if isinstance(node, zarr.Array):
        return FileContent(node, _dimension_letters(node), {}, lossy=_is_lossy(node))
    attributes = ome_attributes(node)
    number, remarks = 0, tuple[str, ...]()
    choices: Choices = ()
    if "bioformats2raw.layout" in attributes and "0" in node:
        images = [node[str(i)] for i in range(_count_images(node))]
        shapes = [_largest_level(image, path)[0].shape for image in images]
        number, remarks = choose_series(path, shapes, series)
        node, choices = images[number], several(shapes)
    elif "well" in attributes:
        images = [_image_of(node, str(image["path"]), path) for image in attributes["well"]["images"]]
        shapes = [_largest_level(image, path)[0].shape for image in images]
        number, remarks = choose_series(path, shapes, series)
        node, choices = images[number], several(shapes)
    data, multiscale, level = _largest_level(node, path)
    axes = multiscale.get("axes", _UNWRITTEN_AXES[-data.ndim :])
    scales = [_scale(level, data.ndim)[i] * _scale(multiscale, data.ndim)[i] for i in range(data.ndim)]
    letters = "".join(_letter(axis) for axis in axes)
    sizes = {
        letter: (scale, _unit_name(axis))
        for letter, axis, scale in zip(letters, axes, scales, strict=True)
        if scale > 0 and math.isfinite(scale)
    }
    return FileContent(data, letters, sizes, number, remarks, lossy=_is_lossy(data), choices=choices)


def _image_of(well: Any, name: str, path: Path) -> Any:
    if name not in well:
        raise ImageError(
            f"Well {str(path)!r} names the image {name!r}, which is missing; copy the plate anew, or give "
            "another image of it by its own path."
        )
    return well[name]


def _is_lossy(array: Any) -> bool:
    return codecs_are_lossy(array.metadata.to_dict())


def _dimension_letters(array: Any) -> str:
    """Letters of an array's axes where it names all of them, as those of planes of rows and columns."""
    names = getattr(array.metadata, "dimension_names", None) or array.attrs.get("_ARRAY_DIMENSIONS") or ()
    letters = "".join("C" if name == "channel" else str(name).upper() for name in names)
    spatial = letters.replace("C", "", 1)
    return letters if len(letters) == array.ndim and spatial in _PLANES else UNNAMED * array.ndim


def _largest_level(node: Any, path: Path) -> tuple[Any, Mapping[str, Any], Mapping[str, Any]]:
    """The first array of an OME-Zarr image, with the metadata of the image and of this level."""
    attributes = ome_attributes(node)
    if "multiscales" not in attributes:
        if attributes.get("plate", {}).get("wells"):
            wells = [str(well["path"]) for well in attributes["plate"]["wells"]]
            raise ImageError(
                f"Zarr group {str(path)!r} is a plate of {len(wells)} wells; choose a well or one of its "
                f"images, such as {str(path / wells[0])!r}."
            )
        raise ImageError(
            f"Zarr group {str(path)!r} is not an OME-Zarr image; choose the group of one image, "
            "the one whose attributes have 'multiscales'."
        )
    multiscale = attributes["multiscales"][0]
    level = multiscale["datasets"][0]
    return node[level["path"]], multiscale, level


def _count_images(node: Any) -> int:
    """Number of images in a file converted with all of them: groups named 0, 1, 2 and so on."""
    count = 0
    while str(count) in node:
        count += 1
    return count


def ome_attributes(group: Any) -> Mapping[str, Any]:
    """OME's attributes, which moved under a key of their own with version 0.5."""
    attributes = group.attrs.asdict()
    ome = attributes.get("ome", attributes)
    return ome if isinstance(ome, Mapping) else {}


def _letter(axis: Mapping[str, str] | str) -> str:
    """An axis as one letter; version 0.3 gave names alone."""
    name = axis if isinstance(axis, str) else axis["name"]
    if not isinstance(axis, str) and axis.get("type") == "channel":
        return "C"
    return name.upper() if name.upper() in ("T", "C", "Z", "Y", "X") else UNNAMED


def _unit_name(axis: Mapping[str, str] | str) -> str:
    unit = find_unit("" if isinstance(axis, str) else axis.get("unit", ""))
    return PIXEL if unit is None else unit.name


def _scale(described: Mapping[str, Any], axes: int) -> Sequence[float]:
    """The scale among an entry's coordinate transformations, ones if it has none."""
    for transformation in described.get("coordinateTransformations", ()):
        if transformation["type"] == "scale":
            return [float(value) for value in transformation["scale"]]
    return [1.0] * axes
