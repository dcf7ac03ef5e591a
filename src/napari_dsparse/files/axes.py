"""Axes of written arrays: letters, pixel sizes and units, in the terms of the formats."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from napari_dsparse.errors import ExportError
from napari_dsparse.images.units import PIXEL, UNIT_NAMES, Unit, find_unit, is_pixel

#: Time and depth before the plane; an array of fewer axes has the last of these.
DEFAULT_AXES = "TZYX"

_QUANTITIES = {"T": "time", "Z": "length", "Y": "length", "X": "length"}


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis of an array that is written.

    Parameters
    ----------
    letter : str
        T, Z, Y, X, or C for channels.
    scale : float
        Distance between neighbours along it, in `unit`.
    unit : Unit, optional
        None where the physical size is not known.
    """

    letter: str
    scale: float = 1.0
    unit: Unit | None = None


def resolve_axes(
    shape: Sequence[int],
    *,
    axes: str | None = None,
    scale: Sequence[float] | None = None,
    units: Sequence[str] | None = None,
) -> tuple[Axis, ...]:
    """Check the given description of an array's axes and fill in the rest.

    Parameters
    ----------
    shape : sequence of int
    axes : str, optional
        A letter per axis, ending in YX with T and Z before it. By default (Y, X), (Z, Y, X) and (T, Z, Y, X);
        the first of three axes is T if its unit is one of time.
    scale : sequence of float, optional
        Size of a pixel along each axis; 1 by default. A sign, with which napari turns the view over, is no
        part of a size and is left out.
    units : sequence of str, optional
        Unit of each axis, as napari and pint spell them, or "pixel" (the default) where it is not known. A
        length for T, or a time for space, counts as not known: napari gives one unit to all axes of a layer.

    Raises
    ------
    ExportError
        If there is not one entry per axis, an axis or unit is not known, or a scale is 0 or not finite.
    """
    count = len(shape)
    scales = (1.0,) * count if scale is None else tuple(abs(float(value)) for value in scale)
    names = (PIXEL,) * count if units is None else tuple(str(unit) for unit in units)
    for what, entries in (("scale", scales), ("units", names)):
        if len(entries) != count:
            raise ExportError(
                f"An array of {count} axes {tuple(shape)} came with {len(entries)} entries of {what}; "
                "give one per axis."
            )
    for value in scales:
        if not (math.isfinite(value) and value > 0):
            raise ExportError(f"A pixel size of {value} is not possible; give positive numbers as scale.")
    known = tuple(_resolve_unit(name) for name in names)
    letters = _resolve_letters(count, axes, known)
    return tuple(
        Axis(letter, value, unit if unit is not None and unit.quantity == _QUANTITIES[letter] else None)
        for letter, value, unit in zip(letters, scales, known, strict=True)
    )


def _resolve_unit(name: str) -> Unit | None:
    if is_pixel(name):
        return None
    unit = find_unit(name)
    if unit is None:
        raise ExportError(f"Unit {name!r} is not known; use one of {', '.join(UNIT_NAMES)}.")
    return unit


def _resolve_letters(count: int, axes: str | None, units: Sequence[Unit | None]) -> str:
    if axes is None and 2 <= count <= len(DEFAULT_AXES):
        first = units[0]
        starts_with_time = count == 3 and first is not None and first.quantity == "time"
        return "TYX" if starts_with_time else DEFAULT_AXES[-count:]
    letters = (axes or "").upper()
    if len(letters) != count or letters[-2:] != "YX" or not set(letters[:-2]) <= set("TZ") or count > 4:
        raise ExportError(
            f"An array of {count} axes named {axes!r} cannot be written; "
            "give planes YX, or stacks of them along T, Z or both, with one letter per axis."
        )
    if len(set(letters)) != count:
        raise ExportError(f"Axes {axes!r} name one axis twice; give each of T, Z, Y, X at most once.")
    return letters
