"""OME-TIFF: the format Fiji, QuPath and napari all open with the right pixel size."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from napari_dsparse.files.axes import Axis
from napari_dsparse.files.pixels import Pixels
from napari_dsparse.network.trained import ClassInfo

#: Namespaces of the annotations that hold class names and colours, by label.
NAMES_NAMESPACE = "napari-dsparse/class-names"
COLORS_NAMESPACE = "napari-dsparse/class-colors"

#: Planes up to this edge are written in strips, which every reader takes (ImageJ itself reads no tiles);
#: larger ones in tiles, as a pyramid.
_LARGEST_STRIPPED = 4096
_TILE = 512

#: A TIFF of more bytes needs 64-bit offsets; the margin is for its tags.
_LARGEST_CLASSIC = 2**32 - 2**25

#: One UUID for equal pixels, so that the same job writes the same bytes everywhere.
_UUID_SPACE = uuid.UUID("6f0c7f2e-6a1b-5f0e-9d5e-1412452600d5")


def write_label_tiff(path: Path, pixels: Pixels, axes: Sequence[Axis], classes: Sequence[ClassInfo]) -> None:
    """Write labels, with the names and colours of their classes as annotations and in the description.

    Parameters
    ----------
    path : Path
    pixels : Pixels
        Unsigned integers, 0 where nothing is labelled.
    axes : sequence of Axis
        One an axis of `pixels`.
    classes : sequence of ClassInfo
        Class number i + 1 is entry i.
    """
    numbered = list(enumerate(classes, start=1))
    listed = ", ".join(f"{number} = {info.name}" for number, info in numbered)
    metadata = {
        "Name": "segmentation",
        "Description": f"Class of every pixel: 0 = none{', ' if listed else ''}{listed}",
        "Channel": {"Name": ["class"]},
        "MapAnnotation": [
            {"Namespace": NAMES_NAMESPACE, "Value": {str(number): info.name for number, info in numbered}},
            {"Namespace": COLORS_NAMESPACE, "Value": {str(number): info.color for number, info in numbered}},
        ],
    }
    _write(path, pixels, axes, metadata, compression="zlib")


def write_intensity_tiff(
    path: Path, pixels: Pixels, axes: Sequence[Axis], name: str, channels: Sequence[ClassInfo]
) -> None:
    """Write measured values, such as probabilities with a channel a class.

    Parameters
    ----------
    path : Path
    pixels : Pixels
    axes : sequence of Axis
        One an axis of `pixels`; the first is C if there are channels.
    name : str
        What the values are.
    channels : sequence of ClassInfo
        Names and colours of the channels; empty where there is no channel axis.
    """
    labels = {
        "Name": [info.name for info in channels] or [name],
        "Color": [_ome_color(info.color) for info in channels] or [-1],
    }
    _write(path, pixels, axes, {"Name": name, "Channel": labels}, compression=None)


def _write(
    path: Path, pixels: Pixels, axes: Sequence[Axis], metadata: Mapping[str, Any], compression: str | None
) -> None:
    large = max(pixels.shape[-2:]) > _LARGEST_STRIPPED
    ome = {
        "axes": "".join(axis.letter for axis in axes),
        "UUID": str(uuid.uuid5(_UUID_SPACE, pixels.digest())),
        **_physical_sizes(axes),
        **metadata,
    }
    levels = [pixels.every(2**level) for level in range(pixels.levels if large else 1)]
    stored = sum(level.bytes for level in levels)
    with tifffile.TiffWriter(path, bigtiff=stored > _LARGEST_CLASSIC, ome=True) as tiff:
        for number, level in enumerate(levels):
            tiff.write(
                (level.read(window) for window in level.windows(_TILE if large else _LARGEST_STRIPPED)),
                shape=level.shape,
                dtype=level.dtype,
                tile=(_TILE, _TILE) if large else None,
                photometric="minisblack",
                compression=compression,
                # The coarser levels hang below the pages of the first, unseen where pyramids are not known.
                subifds=len(levels) - 1 if number == 0 else None,
                subfiletype=1 if number > 0 else None,
                metadata=ome if number == 0 else None,
                **_resolution(axes, 2**number),
            )


def _physical_sizes(axes: Sequence[Axis]) -> dict[str, Any]:
    """OME's attributes of pixel size.

    A scale without a unit is written in pixels, which keeps the ratio of axes, and left out where it is 1.
    """
    sizes: dict[str, Any] = {}
    for axis in axes:
        if axis.letter == "T" and axis.unit is not None:
            sizes |= {"TimeIncrement": axis.scale, "TimeIncrementUnit": axis.unit.symbol}
        elif axis.letter in "ZYX" and (axis.unit is not None or axis.scale != 1.0):
            symbol = "pixel" if axis.unit is None else axis.unit.symbol
            sizes |= {f"PhysicalSize{axis.letter}": axis.scale, f"PhysicalSize{axis.letter}Unit": symbol}
    return sizes


def _resolution(axes: Sequence[Axis], step: int) -> dict[str, Any]:
    """The same in plain TIFF, pixels per centimetre, for readers that do not look at OME-XML."""
    rows, columns = axes[-2:]
    if rows.unit is None or columns.unit is None:
        return {}
    per_cm = tuple(0.01 / (axis.scale * axis.unit.size * step) for axis in (columns, rows) if axis.unit)
    return {"resolution": per_cm, "resolutionunit": "CENTIMETER"}


def _ome_color(color: str) -> int:
    """``#rrggbb`` as OME counts colours: a signed 32-bit RGBA."""
    rgba = int(f"{color.removeprefix('#')}ff", 16)
    return int(np.array(rgba, dtype=np.uint32).view(np.int32))
