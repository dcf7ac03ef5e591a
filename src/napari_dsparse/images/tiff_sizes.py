"""Size of a pixel, by what a TIFF says: OME-XML, ImageJ's text, or its resolution tags."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from typing import Any

import tifffile

from napari_dsparse.images.units import PIXEL, find_unit, is_pixel, size_from_resolution

Sizes = dict[str, tuple[float, str]]

#: OME-XML's unit where an attribute of size has none.
_OME_DEFAULTS = {"X": "µm", "Y": "µm", "Z": "µm", "T": "s"}

#: An ampersand that does not begin an entity: programs that write names into OME-XML as they are leave them.
_BARE_AMPERSAND = re.compile(r"&(?!#\d+;|#x[0-9a-fA-F]+;|[A-Za-z]\w*;)")

#: Symbols of TIFF's resolution units, by their codes.
_RESOLUTION_UNITS = {2: "in", 3: "cm"}


def parse_ome(text: str) -> ET.Element | None:
    """The root of OME-XML, mended where only its ampersands are wrong; None where it is not well-formed."""
    for attempt in (text, _BARE_AMPERSAND.sub("&amp;", text)):
        try:
            return ET.fromstring(attempt)
        except ET.ParseError:
            continue
    return None


def find_sizes(tiff: tifffile.TiffFile, page: Any, series: int, shape: tuple[int, ...]) -> Sizes:
    """Scale and unit of the axes of a series, as far as the file says them.

    Parameters
    ----------
    tiff : tifffile.TiffFile
    page : tifffile.TiffPage
        Of the series.
    series : int
        Its number among the file's series.
    shape : tuple of int
        Its shape.
    """
    ome = tiff.ome_metadata
    sizes = {} if ome is None else _ome_sizes(ome, len(tiff.series), series, shape)
    return sizes or _imagej_sizes(tiff, page) or _resolution_sizes(page)


def _ome_sizes(text: str, count: int, series: int, shape: tuple[int, ...]) -> Sizes:
    root = parse_ome(text)
    every = [] if root is None else [e for e in root.iter() if e.tag.endswith("Pixels")]
    if len(every) != count:  # the reader left some out, or found others
        every = [e for e in every if {e.get("SizeX"), e.get("SizeY")} <= set(map(str, shape))]
        series = 0
    if series >= len(every):
        return {}
    pixels = every[series]
    sizes = {}
    for letter, default in _OME_DEFAULTS.items():
        name = "TimeIncrement" if letter == "T" else f"PhysicalSize{letter}"
        sizes[letter] = (pixels.get(name), pixels.get(f"{name}Unit", default))
    return _known(sizes)


def _imagej_sizes(tiff: tifffile.TiffFile, page: Any) -> Sizes:
    metadata = tiff.imagej_metadata
    if metadata is None:
        return {}
    unit = str(metadata.get("unit", ""))
    if unit.strip().lower() in ("inch", "in", '"') and _resolution_of(page, "X") is not None:
        return _resolution_sizes(page) or {}  # ImageJ writes this for pictures of documents, too
    units = {letter: str(metadata.get(f"{letter.lower()}unit", unit)) for letter in "YZ"}
    return _known(
        {
            "X": (_inverse(_resolution_of(page, "X")), unit),
            "Y": (_inverse(_resolution_of(page, "Y")), units["Y"]),
            "Z": (metadata.get("spacing"), units["Z"]),
            "T": (metadata.get("finterval"), str(metadata.get("tunit", "s"))),
        },
        sign=abs,  # the sign of ImageJ's spacing is the direction of the slices
    )


def _resolution_sizes(page: Any) -> Sizes:
    """Sizes by the resolution tags, where these are a microscope's and not a document's."""
    unit = find_unit(_RESOLUTION_UNITS.get(int(page.tags.valueof("ResolutionUnit", default=2)), ""))
    sizes = {}
    for letter in "XY":
        resolution = _resolution_of(page, letter)
        size = None if resolution is None or unit is None else size_from_resolution(resolution, unit)
        if size is None:
            return {}
        sizes[letter] = size
    return sizes


def _resolution_of(page: Any, letter: str) -> float | None:
    """Pixels per unit along an axis."""
    ratio = page.tags.valueof(f"{letter}Resolution")
    try:
        above, below = ratio
        return above / below if above > 0 and below > 0 else None
    except (TypeError, ValueError):
        return None


def _inverse(resolution: float | None) -> float | None:
    return None if resolution is None else 1 / resolution


def _known(sizes: dict[str, tuple[Any, str]], sign: Callable[[float], float] = float) -> Sizes:
    """Those sizes that are positive numbers, with their units by napari's names ("pixel" if not known)."""
    known = {}
    for letter, (text, symbol) in sizes.items():
        try:
            scale = sign(float(text))
        except (TypeError, ValueError):
            continue
        unit = None if is_pixel(symbol) else find_unit(symbol)
        if scale > 0 and math.isfinite(scale):
            known[letter] = (scale, PIXEL if unit is None else unit.name)
    return known
