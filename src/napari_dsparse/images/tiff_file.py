"""TIFF as microscopes, Fiji and OME write it: axes, and the size of a pixel."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import tifffile

from napari_dsparse.images.file_content import UNNAMED, FileContent
from napari_dsparse.images.units import find_unit

#: tifffile's letters that mean the same here; it has more, for positions, lifetimes, angles and axes unnamed.
_NAMED_LETTERS = "TCZYXS"

#: TIFF's codes for a last sample that is transparency: associated and unassociated alpha.
_ALPHA = (1, 2)

#: OME-XML's unit where an attribute of size has none.
_OME_DEFAULTS = {"X": "µm", "Y": "µm", "Z": "µm", "T": "s"}


def read_tiff(path: Path) -> FileContent:
    """The first series of a TIFF, at full resolution; memory-mapped where it is stored in one piece.

    Raises
    ------
    tifffile.TiffFileError, ValueError, OSError, zlib.error
        If it is not a TIFF, damaged, or compressed in a way that is not installed.
    """
    with tifffile.TiffFile(path) as tiff:
        series = tiff.series[0]
        letters = "".join(letter if letter in _NAMED_LETTERS else UNNAMED for letter in series.axes)
        data: Any = tifffile.memmap(path, mode="r") if _is_one_piece(series) else series.asarray()
        if letters.endswith("S") and any(code in _ALPHA for code in series.keyframe.extrasamples):
            data = data[..., :-1]
        return FileContent(data, letters, _ome_sizes(tiff) or _imagej_sizes(tiff))


def _is_one_piece(series: tifffile.TiffPageSeries) -> bool:
    return series.dataoffset is not None and series.keyframe.is_memmappable


def _ome_sizes(tiff: tifffile.TiffFile) -> dict[str, tuple[float, str]]:
    if tiff.ome_metadata is None:
        return {}
    root = ET.fromstring(tiff.ome_metadata)
    pixels = next((element for element in root.iter() if element.tag.endswith("}Pixels")), None)
    if pixels is None:
        return {}
    sizes = {}
    for letter, default in _OME_DEFAULTS.items():
        name = "TimeIncrement" if letter == "T" else f"PhysicalSize{letter}"
        sizes[letter] = (pixels.get(name), pixels.get(f"{name}Unit", default))
    return _known(sizes)


def _imagej_sizes(tiff: tifffile.TiffFile) -> dict[str, tuple[float, str]]:
    metadata = tiff.imagej_metadata
    if metadata is None:
        return {}
    unit = str(metadata.get("unit", ""))
    tags = tiff.pages.first.tags
    return _known(
        {
            "X": (_inverse(tags.valueof("XResolution")), unit),
            "Y": (_inverse(tags.valueof("YResolution")), unit),
            "Z": (metadata.get("spacing"), unit),
            "T": (metadata.get("finterval"), "s"),
        }
    )


def _inverse(ratio: tuple[int, int] | None) -> float | None:
    """Pixel size from a resolution tag, pixels per unit as numerator and denominator."""
    return ratio[1] / ratio[0] if ratio is not None and ratio[0] > 0 else None


def _known(sizes: dict[str, tuple[Any, str]]) -> dict[str, tuple[float, str]]:
    """Those sizes that are positive numbers, with their units by napari's names ("pixel" if not known)."""
    known = {}
    for letter, (text, symbol) in sizes.items():
        try:
            scale = float(text)
        except (TypeError, ValueError):
            continue
        unit = find_unit(symbol)
        if scale > 0 and math.isfinite(scale):
            known[letter] = (scale, "pixel" if unit is None else unit.name)
    return known
