"""Rate of a batch, and the time that is left for it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pace:
    """Progress of a batch at one moment.

    Parameters
    ----------
    share : float
        Of the image that is done, 0..1.
    of_all : float
        Share of all images that is done, 0..1, each counted alike.
    megapixels_per_second, seconds_left : float or None
        Rate, and time left, of this image; None where it cannot be told yet.
    seconds_left_of_all : float or None
        Of all images; None during the first, which tells little of the others.
    """

    share: float
    of_all: float
    megapixels_per_second: float | None = None
    seconds_left: float | None = None
    seconds_left_of_all: float | None = None


class Stopwatch:
    """Works out the pace of one image after another.

    Parameters
    ----------
    images : int
        Number of images in all.
    now : float
        Time of the start, in seconds by any clock.
    """

    def __init__(self, images: int, now: float) -> None:
        self._images = images
        self._started = now
        self._number, self._megapixels = 0, 0.0
        self._first: tuple[float, float] | None = None

    def begin(self, number: int, megapixels: float) -> None:
        """Turn to image `number`, counted from 0."""
        self._number, self._megapixels = number, megapixels
        self._first = None

    def at(self, now: float, share: float) -> Pace:
        """The pace at a time, when that share of the image is done."""
        rate = None
        if self._first is None:  # opening the image and the first tile are no measure
            self._first = now, share
        elif share > self._first[1] and now > self._first[0]:
            rate = (share - self._first[1]) / (now - self._first[0])
        of_all = (self._number + share) / self._images
        return Pace(
            share,
            of_all,
            None if rate is None else self._megapixels * rate,
            None if rate is None else (1 - share) / rate,
            (now - self._started) * (1 - of_all) / of_all if self._number else None,
        )


def duration(seconds: float) -> str:
    """A length of time in words, such as "40 s" or "3 min"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
