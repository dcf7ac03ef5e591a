"""Options of finding objects: one value for Python, the command line and the window."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any

from napari_dsparse import checks
from napari_dsparse.errors import DsparseError
from napari_dsparse.images.units import in_one_unit

#: A region is cut where its neck is narrower than this share of the narrower part's own width.
SPLITTING = 0.85


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectOptions:
    """The rules by which classes become objects.

    Parameters
    ----------
    classes : sequence of int, optional
        Classes that are objects, 1..K; without it, every class but `background`.
    background : int
        The class that is no object where `classes` does not say; 0 (unknown) never is one.
    min_size : int
        Objects of fewer pixels are left out, after they were cut apart.
    max_hole : int
        Holes of at most so many pixels, with one class all round, are filled before anything is cut apart.
    separate : bool
        False: touching objects of one class stay one, as with `splitting` 0.
    splitting : float
        Strength of cutting apart, 0 (never) to 1 (at every neck): two parts are distinct where the neck
        between them is narrower than this share of the narrower part's own width.
    border_objects : bool
        False leaves out objects that touch the image's edge (of a volume, any of its six faces).
    volume : bool
        True connects pixels over the last axis in front of rows and columns: objects in 3-D.
    z_step : float
        Distance of neighbouring planes in pixel widths, for cutting volumes apart.

    Raises
    ------
    DsparseError
        If a value is not of these.
    """

    classes: tuple[int, ...] | None = None
    background: int = 1
    min_size: int = 0
    max_hole: int = 0
    separate: bool = True
    splitting: float = SPLITTING
    border_objects: bool = True
    volume: bool = False
    z_step: float = 1.0

    def __post_init__(self) -> None:
        for name in ("background", "min_size", "max_hole"):
            object.__setattr__(self, name, checks.whole_number(name, getattr(self, name)))
        for name in ("separate", "border_objects", "volume"):
            object.__setattr__(self, name, checks.truth(name, getattr(self, name)))
        object.__setattr__(self, "classes", _numbers(self.classes))
        object.__setattr__(self, "splitting", _number("splitting", self.splitting))
        object.__setattr__(self, "z_step", _number("z_step", self.z_step))
        if self.splitting > 1:
            raise DsparseError(f"splitting is {self.splitting}; give a number from 0 (never) to 1 (often).")
        if self.z_step == 0:
            raise DsparseError("z_step is 0; give the distance of planes in pixel widths, above 0.")

    def at_scale(self, scale: Sequence[float], units: Sequence[str]) -> ObjectOptions:
        """These options for an image of this pixel size, one entry per axis, rows and columns last.

        Planes lie a pixel width apart where their distance is not known in the unit of the columns.
        """
        scale, units = in_one_unit(scale, [str(unit) for unit in units])
        known = len(scale) > 2 and units[-3] == units[-1] and scale[-1] != 0
        step = abs(float(scale[-3] / scale[-1])) if known else 1.0
        return replace(self, z_step=step if math.isfinite(step) and step > 0 else 1.0)

    @property
    def neck(self) -> float:
        """Share of a part's width below which a neck is cut; 0 cuts nothing."""
        return self.splitting if self.separate else 0.0


def _numbers(classes: Any) -> tuple[int, ...] | None:
    if classes is None:
        return None
    if isinstance(classes, str) or not isinstance(classes, Iterable):
        raise DsparseError(f"classes is {classes!r}; give the numbers of one class or more, such as (2, 3).")
    return tuple(checks.whole_number("classes", number, least=1) for number in classes)


def _number(name: str, value: Any) -> float:
    if isinstance(value, Real) and not isinstance(value, bool):
        number = float(value)
        if math.isfinite(number) and number >= 0:
            return number
    raise DsparseError(f"{name} is {value!r}; give a number from 0.")
