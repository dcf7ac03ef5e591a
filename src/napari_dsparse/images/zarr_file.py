"""Zarr arrays and OME-Zarr images, read lazily."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from napari_dsparse.errors import ImageError
from napari_dsparse.images.file_content import UNNAMED, FileContent
from napari_dsparse.images.units import PIXEL, find_unit
from napari_dsparse.images.zarr_extra import import_zarr

#: Files that mark a folder as a Zarr array or group, of version 3 or 2.
STORE_MARKS = ("zarr.json", ".zarray", ".zgroup")


def read_zarr(path: Path) -> FileContent:
    """A Zarr array, or the largest level of an OME-Zarr image (version 0.4 or 0.5).

    Raises
    ------
    ImageError
        If zarr is not installed, or the group is not an OME-Zarr image.
    OSError, ValueError, KeyError, TypeError
        If the store or its metadata is damaged.
    """
    zarr = import_zarr(ImageError)
    node = zarr.open(store=str(path), mode="r")
    if isinstance(node, zarr.Array):
        return FileContent(node, UNNAMED * node.ndim, {})
    attributes = _ome_attributes(node)
    if "bioformats2raw.layout" in attributes and "0" in node:
        node = node["0"]  # the first image of a file converted with all its images
        attributes = _ome_attributes(node)
    if "multiscales" not in attributes:
        raise ImageError(
            f"Zarr group {str(path)!r} is not an OME-Zarr image; choose the group of one image, "
            "the one whose attributes have 'multiscales'."
        )
    multiscale = attributes["multiscales"][0]
    level = multiscale["datasets"][0]
    data = node[level["path"]]
    axes = multiscale["axes"]
    scales = [_scale(level, data.ndim)[i] * _scale(multiscale, data.ndim)[i] for i in range(data.ndim)]
    letters = "".join(_letter(axis) for axis in axes)
    return FileContent(
        data,
        letters,
        {
            letter: (scale, _unit_name(axis))
            for letter, axis, scale in zip(letters, axes, scales, strict=True)
            if scale > 0 and math.isfinite(scale)
        },
    )


def _ome_attributes(group: Any) -> Mapping[str, Any]:
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
