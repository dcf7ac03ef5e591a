"""Pixels to write, read one window at a time, so that an array larger than memory can be exported."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_dsparse.errors import ExportError

#: Default edge of a window in pixels.
_WINDOW = 4096

#: Edge of the coarsest level of a pyramid, at most.
_COARSEST = 512

ArrayIndex = tuple[int | slice, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Pixels:
    """An array and the dtype it is written as.

    Parameters
    ----------
    data : numpy, dask or zarr array
        Sliced, never loaded whole.
    dtype : dtype
        What `read` gives.
    """

    data: Any
    dtype: np.dtype[Any]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the whole array."""
        return tuple(int(n) for n in self.data.shape)

    @property
    def bytes(self) -> int:
        """Size of the whole array as written, uncompressed."""
        return int(np.prod(self.shape, dtype=object)) * self.dtype.itemsize

    @property
    def levels(self) -> int:
        """Number of levels of its pyramid, each half as large as the one before; 1 where it is small."""
        return 1 + max(0, math.ceil(math.log2(max(self.shape[-2:]) / _COARSEST)))

    def windows(self, edge: int = _WINDOW) -> Iterator[ArrayIndex]:
        """Indices of windows of at most `edge` x `edge` pixels, plane after plane, row after row."""
        *leading, rows, columns = self.shape
        for plane in np.ndindex(*leading):
            for top in range(0, rows, edge):
                for left in range(0, columns, edge):
                    bottom, right = min(top + edge, rows), min(left + edge, columns)
                    yield (*plane, slice(top, bottom), slice(left, right))

    def read(self, window: ArrayIndex) -> npt.NDArray[Any]:
        """The pixels of a window, contiguous and in the dtype they are written as."""
        return np.ascontiguousarray(np.asarray(self.data[window]), dtype=self.dtype)

    def is_blank(self, window: ArrayIndex) -> bool:
        """True if a window is known, without a look at it, to be 0."""
        known = getattr(self.data, "is_blank", None)
        return known is not None and bool(known(window))

    def every(self, step: int) -> Pixels:
        """A coarser level of a pyramid: every `step`-th row and column.

        Picked, not averaged: what comes of a label image is a label image, and the centres of its pixels are
        where they were, so that a scale alone places the level.
        """
        return Pixels(_Strided(self.data, step), self.dtype)

    def digest(self) -> str:
        """A hash of shape, dtype and every pixel, in hexadecimal; what is 0 for long costs little."""
        digest = hashlib.blake2b(f"{self.shape} {self.dtype}".encode(), digest_size=16)
        for number, window in enumerate(self.windows()):
            block = None if self.is_blank(window) else self.read(window)
            if block is not None and block.any():
                digest.update(str(number).encode())
                digest.update(block.data)
        return digest.hexdigest()


class _Strided:
    """Every `step`-th row and column of an array, sliced lazily."""

    def __init__(self, data: Any, step: int) -> None:
        self._data = data
        self._step = step
        self.shape = (*data.shape[:-2], *(-(-n // step) for n in data.shape[-2:]))

    def __getitem__(self, window: Any) -> Any:
        return self._data[self._wide(window)]

    def is_blank(self, window: Any) -> bool:
        known = getattr(self._data, "is_blank", None)
        return known is not None and bool(known(self._wide(window)))

    def _wide(self, window: Any) -> tuple[Any, ...]:
        *plane, rows, columns = window
        step = self._step
        return (*plane, *(slice(part.start * step, part.stop * step, step) for part in (rows, columns)))


def label_pixels(labels: Any) -> Pixels:
    """Labels as they are written: whole numbers from 0, the dtype kept wherever it is an unsigned one.

    Parameters
    ----------
    labels : numpy, dask or zarr array of booleans or integers
        uint8, uint16 and uint32 stay what they are, booleans become uint8, and others (int64, say) the
        smallest unsigned type that holds the largest label.

    Raises
    ------
    ExportError
        If the values are not whole numbers, or some are negative or larger than uint32.
    """
    shape, dtype = _shape_and_dtype(labels, "Labels")
    if dtype.kind not in "bui":
        raise ExportError(
            f"Labels of shape {shape} hold {dtype} values; they must be whole numbers, "
            "convert them to integers first."
        )
    if dtype.kind == "b":
        return Pixels(labels, np.dtype(np.uint8))
    if dtype.kind == "u" and dtype.itemsize <= 4:
        return Pixels(labels, dtype.newbyteorder("="))
    lowest, highest = value_range(Pixels(labels, dtype))
    if lowest < 0 or highest > np.iinfo(np.uint32).max:
        raise ExportError(
            f"Labels reach from {lowest} to {highest}; they must be 0 or more and fit into 32 bits, "
            "renumber them first."
        )
    return Pixels(labels, np.min_scalar_type(highest))


def intensity_pixels(array: Any) -> Pixels:
    """Probabilities and other measures as they are written: float32.

    Raises
    ------
    ExportError
        If the values are not real numbers.
    """
    shape, dtype = _shape_and_dtype(array, "An array")
    if dtype.kind not in "buif":
        raise ExportError(
            f"An array of shape {shape} holds {dtype} values; only real numbers can be written."
        )
    return Pixels(array, np.dtype(np.float32))


def value_range(pixels: Pixels) -> tuple[int, int]:
    """Lowest and highest label."""
    windows = (window for window in pixels.windows() if not pixels.is_blank(window))
    extremes = [(int(block.min()), int(block.max())) for block in map(pixels.read, windows)] or [(0, 0)]
    return min(low for low, _ in extremes), max(high for _, high in extremes)


def _shape_and_dtype(data: Any, what: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    if not isinstance(getattr(data, "dtype", None), np.dtype):
        raise ExportError(
            f"{what} came as a {type(data).__name__}, not an array; give a numpy, dask or zarr array."
        )
    shape = tuple(data.shape)
    if len(shape) < 2 or not all(n >= 1 for n in shape):
        raise ExportError(
            f"{what} of shape {shape} cannot be written; give rows and columns with at least one pixel."
        )
    return shape, data.dtype
