"""Boxes of pixels: what numpy's basic indices mean, and where a box and a part of an array overlap."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

#: A range, (start, stop), along each axis.
Box: TypeAlias = Sequence[tuple[int, int]]


def box_of(index: Any, shape: tuple[int, ...]) -> tuple[list[tuple[int, int]], tuple[Any, ...]]:
    """Range to read along each axis, and what to pick of it: the steps of slices, and dropped axes."""
    entries = list(index) if isinstance(index, tuple) else [index]
    if Ellipsis in [entry for entry in entries if entry is Ellipsis]:
        at = next(i for i, entry in enumerate(entries) if entry is Ellipsis)
        entries[at : at + 1] = [slice(None)] * (len(shape) - len(entries) + 1)
    if len(entries) > len(shape):
        raise IndexError(f"An array of {len(shape)} axes has no {len(entries)} indices.")
    entries += [slice(None)] * (len(shape) - len(entries))
    box: list[tuple[int, int]] = []
    picks: list[int | slice] = []
    for entry, n in zip(entries, shape, strict=True):
        if isinstance(entry, slice):
            steps = range(n)[entry]
            first, last = sorted((steps[0], steps[-1])) if steps else (0, -1)
            box.append((first, last + 1))
            picks.append(slice(None, None, steps.step) if steps else slice(None))
        else:
            at = range(n)[int(entry)]  # IndexError outside
            box.append((at, at + 1))
            picks.append(0)
    return box, tuple(picks)


def overlap(
    box: Box, corner: Sequence[int], shape: Sequence[int]
) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Slices of a box that a part of an array fills, and those of the part that fill them.

    Parameters
    ----------
    box : ranges
    corner, shape : sequence of int
        First pixel of the part along each axis, and its size.

    Returns
    -------
    tuple of slices
        Into an array of the box.
    tuple of slices
        Into one of the part.
    """
    there, here = [], []
    for (start, stop), first, n in zip(box, corner, shape, strict=True):
        low, high = max(start, first), min(stop, first + n)
        there.append(slice(low - start, high - start))
        here.append(slice(low - first, high - first))
    return tuple(there), tuple(here)
