"""Units of length and time, under the names napari gives them and the symbols files use."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

#: Unit of an axis whose physical size is not known.
PIXEL = "pixel"


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit an axis can be measured in.

    Parameters
    ----------
    name : str
        As pint, napari and OME-Zarr spell it: "micrometer".
    symbol : str
        As OME-XML spells it: "µm".
    quantity : str
        "length" or "time".
    size : float
        In metres or seconds.
    """

    name: str
    symbol: str
    quantity: str
    size: float


_UNITS = (
    Unit("kilometer", "km", "length", 1e3),
    Unit("meter", "m", "length", 1.0),
    Unit("centimeter", "cm", "length", 1e-2),
    Unit("millimeter", "mm", "length", 1e-3),
    Unit("micrometer", "µm", "length", 1e-6),
    Unit("nanometer", "nm", "length", 1e-9),
    Unit("angstrom", "Å", "length", 1e-10),
    Unit("picometer", "pm", "length", 1e-12),
    Unit("inch", "in", "length", 0.0254),
    Unit("day", "d", "time", 86400.0),
    Unit("hour", "h", "time", 3600.0),
    Unit("minute", "min", "time", 60.0),
    Unit("second", "s", "time", 1.0),
    Unit("millisecond", "ms", "time", 1e-3),
    Unit("microsecond", "µs", "time", 1e-6),
    Unit("nanosecond", "ns", "time", 1e-9),
)

#: Other spellings met in files, ImageJ's first among them.
_SPELLINGS = {
    "micron": "micrometer",
    "microns": "micrometer",
    "um": "micrometer",
    "us": "microsecond",
    "ångström": "angstrom",
    "sec": "second",
    "secs": "second",
    "hr": "hour",
    '"': "inch",
}

_BY_NAME = {unit.name: unit for unit in _UNITS}
_BY_SYMBOL = {unit.symbol: unit for unit in _UNITS}

#: A stated resolution is a pixel size where that is below this, in micrometres; above, it is a screen's.
_COARSEST_PIXEL = 100.0

#: Resolutions of documents, in pixels per inch: printing programs write them into any picture.
_DOCUMENT_RESOLUTIONS = (300.0, 600.0, 1200.0)

#: The names `find_unit` gives, for messages.
UNIT_NAMES = (PIXEL, *_BY_NAME)


def is_pixel(text: str) -> bool:
    """True if `text` means that the physical size is not known."""
    return text.strip().lower() in ("", "pixel", "pixels", "px", "dimensionless")


def find_unit(text: str) -> Unit | None:
    """The unit that `text` means, by name, symbol or a common other spelling; None where it means none.

    >>> find_unit("um").name, find_unit("micrometre").symbol
    ('micrometer', 'µm')
    """
    # ImageJ escapes the micro sign, and Unicode has two of them: U+00B5, and Greek mu U+03BC.
    spelling = text.strip().replace("\\u00B5", "µ").replace("\u03bc", "µ")
    if spelling in _BY_SYMBOL:  # before lower-casing: the case of a symbol matters
        return _BY_SYMBOL[spelling]
    word = spelling.lower()
    word = _SPELLINGS.get(word, word)
    for candidate in (word, word.removesuffix("s"), word.removesuffix("s").replace("metre", "meter")):
        if candidate in _BY_NAME:
            return _BY_NAME[candidate]
    return None


def in_one_unit(scale: Sequence[float], units: Sequence[str]) -> tuple[tuple[float, ...], tuple[str, ...]]:
    """Pixel sizes and units, one entry per axis, brought to the unit of the last axis where they can be.

    >>> in_one_unit((500, 0.1, 0.1), ("nm", "micrometer", "micrometer"))
    ((0.5, 0.1, 0.1), ('micrometer', 'micrometer', 'micrometer'))
    """
    last = find_unit(units[-1]) if units else None
    sizes, names = [], []
    for size, name in zip(scale, units, strict=True):
        unit = find_unit(name)
        known = unit is not None and last is not None and unit.quantity == last.quantity
        differs = known and name != units[-1]
        sizes.append(float(size) * unit.size / last.size if differs and unit and last else size)
        names.append(units[-1] if known else name)
    return tuple(sizes), tuple(names)


def size_from_resolution(pixels: float, unit: Unit) -> tuple[float, str] | None:
    """Size of a pixel in micrometres, of `pixels` per `unit`; None where a document's resolution was stated.

    >>> size_from_resolution(20000, find_unit("cm"))
    (0.5, 'micrometer')
    """
    if not (pixels > 0 and math.isfinite(pixels)):
        return None
    size = unit.size / _BY_SYMBOL["µm"].size / pixels
    per_inch = _BY_SYMBOL["in"].size / _BY_SYMBOL["µm"].size / size
    if size >= _COARSEST_PIXEL or any(abs(per_inch - known) < 0.01 for known in _DOCUMENT_RESOLUTIONS):
        return None
    return float(f"{size:.12g}"), _BY_SYMBOL["µm"].name
