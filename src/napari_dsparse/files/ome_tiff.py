"""OME-TIFF: the format Fiji, QuPath and napari all open with the right pixel size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy.typing as npt
import tifffile

from napari_dsparse.classifier.classes import ClassInfo
from napari_dsparse.files.axes import Axis
from napari_dsparse.files.ome_xml import Wording, ome_xml
from napari_dsparse.files.pixels import Pixels

#: Namespaces of the annotations that hold class names and colours, by label.
NAMES_NAMESPACE = "napari-dsparse/class-names"
COLORS_NAMESPACE = "napari-dsparse/class-colors"

#: Planes up to this edge are written in strips, which every reader takes (ImageJ itself reads no tiles);
#: larger ones in tiles, as a pyramid.
_LARGEST_STRIPPED = 4096
_TILE = 512

#: A TIFF of more bytes needs 64-bit offsets; the margin is for its tags.
_LARGEST_CLASSIC = 2**32 - 2**25

#: Pixels per centimetre that a plain TIFF can state, a fraction of two numbers of 32 bits, and their inverse.
_MOST_PER_CM = 2.0**31


def write_label_tiff(
    path: Path, pixels: Pixels, axes: Sequence[Axis], classes: Sequence[ClassInfo], *, sparse: bool = False
) -> None:
    """Write labels, with the names and colours of their classes as annotations and in the description.

    Parameters
    ----------
    path : Path
    pixels : Pixels
        Unsigned integers, 0 where nothing is labelled.
    axes : sequence of Axis
        One per axis of `pixels`.
    classes : sequence of ClassInfo
        Class number i + 1 is entry i.
    sparse : bool
        True to leave out tiles of large planes in which nothing is labelled, which not every program reads.
    """
    numbered = {str(number): info for number, info in enumerate(classes, start=1)}
    meanings = ("0 = none", *(f"{number} = {info.name}" for number, info in numbered.items()))
    wording = Wording(
        "segmentation",
        [ClassInfo("class", "#ffffff")],
        f"Class of every pixel: {', '.join(meanings)}",
        {
            NAMES_NAMESPACE: {number: info.name for number, info in numbered.items()},
            COLORS_NAMESPACE: {number: info.color for number, info in numbered.items()},
        },
    )
    _write(path, pixels, axes, wording, compression="zlib", sparse=sparse)


def write_intensity_tiff(
    path: Path, pixels: Pixels, axes: Sequence[Axis], name: str, channels: Sequence[ClassInfo]
) -> None:
    """Write measured values, such as probabilities with one channel per class.

    Parameters
    ----------
    path : Path
    pixels : Pixels
    axes : sequence of Axis
        One per axis of `pixels`, with C among them if there are channels.
    name : str
        What the values are.
    channels : sequence of ClassInfo
        Names and colours of the channels; empty where there is no channel axis.
    """
    shown = channels or [ClassInfo(name, "#ffffff")]
    _write(path, pixels, axes, Wording(name, shown), compression=None)


def _write(
    path: Path,
    pixels: Pixels,
    axes: Sequence[Axis],
    wording: Wording,
    compression: str | None,
    sparse: bool = False,
) -> None:
    large = max(pixels.shape[-2:]) > _LARGEST_STRIPPED
    levels = [pixels.every(2**level) for level in range(pixels.levels if large else 1)]
    stored = sum(level.bytes for level in levels)
    with tifffile.TiffWriter(path, bigtiff=stored > _LARGEST_CLASSIC, ome=False) as tiff:
        for number, level in enumerate(levels):
            tiff.write(
                _tiles(level, sparse) if large else map(level.read, level.windows(_LARGEST_STRIPPED)),
                shape=level.shape,
                dtype=level.dtype,
                tile=(_TILE, _TILE) if large else None,
                photometric="minisblack",
                compression=compression,
                # The coarser levels are sub-IFDs of the first: readers without pyramids do not see them.
                subifds=len(levels) - 1 if number == 0 else None,
                subfiletype=1 if number > 0 else None,
                # Our own OME-XML instead of tifffile's, which differs by version (and was once invalid).
                description=ome_xml(pixels, axes, wording) if number == 0 else None,
                metadata=None,
                **_resolution(axes, 2**number),
            )


def _tiles(level: Pixels, sparse: bool) -> Iterator[npt.NDArray[Any] | None]:
    """Tiles of a level; where it is written sparsely, None for one that is 0, but for the first."""
    for number, window in enumerate(level.windows(_TILE)):
        if sparse and number and level.is_blank(window):
            yield None
            continue
        tile = level.read(window)
        yield tile if not sparse or not number or tile.any() else None


def _resolution(axes: Sequence[Axis], step: int) -> dict[str, Any]:
    """The same in plain TIFF, pixels per centimetre, for readers that do not look at OME-XML; nothing where
    it has no numbers for it."""
    rows, columns = axes[-2:]
    if rows.unit is None or columns.unit is None:
        return {}
    sizes = [axis.scale * axis.unit.size * step for axis in (columns, rows) if axis.unit]
    per_cm = tuple(0.01 / max(size, 1e-300) for size in sizes)
    if not all(1 / _MOST_PER_CM <= n <= _MOST_PER_CM for n in per_cm):
        return {}
    return {"resolution": per_cm, "resolutionunit": "CENTIMETER"}
