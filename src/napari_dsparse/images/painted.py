"""Painted pixels of label arrays, of which those in chunks are looked at only where something was written.

A *sparse* array of labels says where it is painted (`SparseLabels`); any other one is scanned as a whole.
Both give the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol, Self, runtime_checkable

import numpy as np
import numpy.typing as npt

#: Pixels of a plane scanned at once: other threads run in between.
_SCAN_PIXELS = 1 << 20


@runtime_checkable
class SparseLabels(Protocol):
    """An array of labels, (..., Y, X), mostly 0, that says where it is not."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def painted(self) -> Iterator[tuple[tuple[int, ...], npt.NDArray[Any]]]:
        """Corners (..., row, column) and values of blocks, each in one plane; outside of them all is 0."""

    def copy(self) -> Self:
        """The array as it is now."""

    def apply(self, function: Callable[[npt.NDArray[Any]], npt.NDArray[Any]]) -> None:
        """Put every value through a function of values alone, which leaves 0 as it is."""


def blocks(labels: Any) -> Iterator[tuple[tuple[int, ...], npt.NDArray[Any]]]:
    """Corners (..., row, column) and values of blocks of an array (..., Y, X); outside of them all is 0.

    The blocks of one plane do not overlap, and come in no particular order.
    """
    if isinstance(labels, SparseLabels):
        yield from labels.painted()
        return
    shape = tuple(int(n) for n in labels.shape)
    rows = max(1, _SCAN_PIXELS // max(1, shape[-1]))
    for plane in np.ndindex(shape[:-2]):
        for top in range(0, shape[-2], rows):
            yield (*plane, top, 0), np.asarray(labels[(*plane, slice(top, top + rows))])


def is_painted(labels: Any) -> bool:
    """True if any label is not 0; None is nothing painted."""
    return labels is not None and any(values.any() for _, values in blocks(labels))


def largest_label(labels: Any) -> int:
    """The largest label; 0 where nothing is painted."""
    return max((int(values.max()) for _, values in blocks(labels) if values.size), default=0)


def count_label(labels: Any, number: int) -> int:
    """Number of pixels with that label, which is not 0."""
    return sum(int(np.count_nonzero(values == number)) for _, values in blocks(labels))


def places_of(labels: Any, number: int) -> npt.NDArray[np.int64]:
    """Flat indices, increasing, of the pixels with a label that is not 0."""
    if not isinstance(labels, SparseLabels):
        return np.flatnonzero(np.asarray(labels) == number).astype(np.int64)
    shape, found = labels.shape, [np.empty(0, np.int64)]
    for corner, values in labels.painted():
        rows, columns = np.nonzero(values == number)
        first = int(np.ravel_multi_index(corner, shape))
        found.append(first + rows.astype(np.int64) * shape[-1] + columns)
    return np.sort(np.concatenate(found))


def all_paint(labels: Any) -> tuple[npt.NDArray[np.int64], npt.NDArray[Any]]:
    """Flat indices of the pixels with a label that is not 0, in no particular order, and their labels."""
    places, found = [np.empty(0, np.int64)], [np.empty(0, labels.dtype)]
    for corner, values in blocks(labels):
        rows, columns = np.nonzero(values)
        first = int(np.ravel_multi_index(corner, labels.shape))
        places.append(first + rows.astype(np.int64) * labels.shape[-1] + columns)
        found.append(values[rows, columns])
    return np.concatenate(places), np.concatenate(found)


def mapped(labels: Any, function: Callable[[npt.NDArray[Any]], npt.NDArray[Any]]) -> Any:
    """A new array with every value put through a function of values alone, which leaves 0 as it is."""
    if not isinstance(labels, SparseLabels):
        return function(labels)
    after = labels.copy()
    after.apply(function)
    return after


def differing_places(before: Any, after: Any) -> npt.NDArray[np.int64]:
    """Flat indices, increasing, of the pixels in which two arrays of the same shape differ."""
    if hasattr(before, "differing") and type(before) is type(after):
        places: npt.NDArray[np.int64] = before.differing(after)
        return places
    return np.flatnonzero(np.asarray(before) != np.asarray(after))


def equal_paint(one: Any, other: Any) -> bool:
    """True if two arrays of the same shape have the same labels; None is nothing painted."""
    if one is None or other is None:
        return not is_painted(other if one is None else one)
    if one is other or (type(one) is type(other) and hasattr(one, "is_same") and one.is_same(other)):
        return True
    return tuple(one.shape) == tuple(other.shape) and not differing_places(one, other).size


def never_written(labels: Any) -> Any:
    """The same array, read-only where it can be."""
    if isinstance(labels, np.ndarray):
        labels.flags.writeable = False
    return labels


def values_at(labels: Any, places: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
    """Values of the pixels with these flat indices."""
    values: npt.NDArray[Any] = labels[np.unravel_index(places, labels.shape)]
    return values


def put_values(labels: Any, places: npt.NDArray[np.int64], values: Any) -> None:
    """Give pixels with these flat indices values."""
    labels[np.unravel_index(places, labels.shape)] = values
