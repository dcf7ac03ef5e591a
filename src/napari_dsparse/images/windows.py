"""Windows spread evenly over an image: a sample where reading everything would take too long."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

#: The R2 sequence (multiples of 1/g and 1/g**2, g**3 = g + 1) spreads any number of points evenly over a
#: square without ever lining up with the rows and columns of the image.
_PLASTIC = 1.3247179572447460

PlaneWindow = tuple[tuple[int, ...], tuple[int, int], tuple[int, int]]


def spread_windows(shape: Sequence[int], edge: int, count: int) -> Iterator[PlaneWindow]:
    """`count` windows of at most `edge` x `edge` pixels within an image, the same ones every time.

    Parameters
    ----------
    shape : sequence of int
        Spatial shape, (..., Y, X).
    edge : int
        Rows and columns of a window, less where the image is smaller.
    count : int

    Yields
    ------
    plane, rows, columns
        As `ImageSource.read` takes them; planes in order.
    """
    height, width = min(edge, shape[-2]), min(edge, shape[-1])
    planes = math.prod(shape[:-2])
    for i in range(count):
        number = int((i + 0.5) / count * planes)
        plane = tuple(int(n) for n in np.unravel_index(number, tuple(shape[:-2])))
        top = _place(i / _PLASTIC, shape[-2] - height)
        left = _place(i / _PLASTIC**2, shape[-1] - width)
        yield plane, (top, top + height), (left, left + width)


def _place(position: float, most: int) -> int:
    """A start from 0 to `most`, by the fractional part of `position`."""
    return int((0.5 + position) % 1.0 * (most + 1))
