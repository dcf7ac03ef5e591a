"""Exposure of images, told by their grey values: which differ so far that it is worth a message."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from napari_dsparse.errors import ImageError
from napari_dsparse.images.normalisation import Normalisation
from napari_dsparse.images.source import ImageSource

#: Ratio between ranges of grey values from which another exposure is likely.
NOTABLE = 3.0
#: Distance between medians, in half the wider range, from which grey values hardly overlap.
APART = 2.0


def spread_ratio(one: Normalisation, other: Normalisation) -> float:
    """Spread of grey values of `one`, relative to that of `other`.

    Of several channels, the ratio furthest from 1 in either direction.
    """
    ratios = (a / b for a, b in zip(one.scale, other.scale, strict=True))
    return max(ratios, key=lambda ratio: max(ratio, 1 / ratio))


def describe_ratio(ratio: float) -> str:
    """A `spread_ratio` as "2.5 times as widely as"."""
    return f"{ratio:.1f} times as widely as" if ratio >= 1 else f"{1 / ratio:.1f} times less widely than"


def is_notable(ratio: float) -> bool:
    """True if a `spread_ratio` is worth a message."""
    return max(ratio, 1 / ratio) >= NOTABLE


@dataclass(frozen=True, slots=True)
class ExposureDifference:
    """Two images whose exposures seem to differ.

    Parameters
    ----------
    one, other : str
        Names of the images; grey values of `one` spread more widely, or lie higher.
    ratio : float or None
        Spread of grey values of `one`, relative to that of `other`; None if it is the medians that differ.
    """

    one: str
    other: str
    ratio: float | None

    @property
    def sentence(self) -> str:
        """The difference in words."""
        if self.ratio is None:
            return f"Grey values of {self.one} lie far above those of {self.other}."
        return f"Grey values of {self.one} spread {describe_ratio(self.ratio)} those of {self.other}."


def exposure_difference(sources: Sequence[ImageSource]) -> ExposureDifference | None:
    """The two of some images whose grey values differ most; None if no difference is notable.

    An image with a channel without finite pixels tells nothing.

    Parameters
    ----------
    sources : sequence of ImageSource
        At most about a million pixels are read in all; those with other numbers of channels are not compared.
    """
    known: list[tuple[str, Normalisation]] = []
    for source in sources:
        try:
            known.append((source.name, Normalisation.measure([source], among=len(sources))))
        except ImageError:
            continue
    found: list[tuple[float, ExposureDifference]] = []
    for (name, one), (other_name, other) in combinations(known, 2):
        if len(one.scale) != len(other.scale):
            continue
        ratio = spread_ratio(one, other)
        names = (name, other_name) if ratio >= 1 else (other_name, name)
        ratio = max(ratio, 1 / ratio)
        found.append((ratio / NOTABLE, ExposureDifference(*names, ratio)))
        shift = _shift(one, other)
        names = (name, other_name) if shift >= 0 else (other_name, name)
        found.append((abs(shift) / APART, ExposureDifference(*names, None)))
    strongest = max(found, key=lambda each: each[0], default=None)
    return strongest[1] if strongest is not None and strongest[0] >= 1 else None


def _shift(one: Normalisation, other: Normalisation) -> float:
    """Distance from the median of `other` to that of `one`, in half the wider range, where it is largest."""
    both = zip(one.offset, other.offset, one.scale, other.scale, strict=True)
    return max(((a - b) / max(u, v) for a, b, u, v in both), key=abs)
