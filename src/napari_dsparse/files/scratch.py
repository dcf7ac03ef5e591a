"""Arrays in files of their own, for results that do not fit into memory."""

from __future__ import annotations

import math
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

#: Rows are written and read together where this share of each is meant, and one by one below it.
_WIDE_SHARE = 0.5


class ScratchArray:
    """An array of zeros in a file, written and read window by window through the file: never mapped.

    A mapped file on a disk that fills up kills the process (SIGBUS); one that is written raises OSError.

    Parameters
    ----------
    path : Path
        Made if it does not exist; what an existing one holds is kept.
    shape : tuple of int, (..., Y, X)
    dtype : dtype
    """

    def __init__(self, path: Path, shape: tuple[int, ...], dtype: npt.DTypeLike) -> None:
        self.shape = tuple(int(n) for n in shape)
        self.dtype = np.dtype(dtype)
        self._file = path.open("r+b" if path.exists() else "w+b", buffering=0)
        try:
            self._file.truncate(math.prod(self.shape) * self.dtype.itemsize)
        except OSError:
            self._file.close()
            raise

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of values."""
        return math.prod(self.shape)

    def close(self) -> None:
        """Close the file; the array is not used after."""
        self._file.close()

    def __setitem__(self, index: tuple[int | slice, ...], values: npt.NDArray[Any]) -> None:
        """Write a window: integers and slices without steps, one per axis."""
        planes, rows, columns, shape = self._window(index)
        block = np.ascontiguousarray(np.broadcast_to(values, shape), self.dtype)
        width = self.shape[-1]
        for plane, part in zip(planes, block.reshape(-1, len(rows), len(columns)), strict=True):
            first = plane * self.shape[-2] + rows.start
            if len(columns) == width:
                self._write(first * width, part)
            else:
                for number, row in enumerate(part):
                    self._write((first + number) * width + columns.start, row)

    def __getitem__(self, index: Any) -> npt.NDArray[Any]:
        """Read a window: integers and slices, steps too; missing entries and Ellipsis mean all."""
        planes, rows, columns, shape = self._window(_completed(index, self.ndim))
        out = np.empty((len(planes), len(rows), len(columns)), self.dtype)
        width = self.shape[-1]
        if out.size:
            span = columns[-1] - columns[0] + 1
            together = rows.step == 1 and span >= _WIDE_SHARE * width
            for plane, part in zip(planes, out, strict=True):
                first = plane * self.shape[-2]
                if together:
                    block = self._read((first + rows[0]) * width, len(rows) * width)
                    part[...] = block.reshape(len(rows), width)[
                        :, columns.start : columns[-1] + 1 : columns.step
                    ]
                else:
                    for number, row in enumerate(rows):
                        line = self._read((first + row) * width + columns[0], span)
                        part[number] = line[:: columns.step]
        return out.reshape(shape)

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> npt.NDArray[Any]:
        values = self[...]
        return values if dtype is None else values.astype(dtype, copy=False)

    def _window(self, index: tuple[int | slice, ...]) -> tuple[list[int], range, range, tuple[int, ...]]:
        """Numbers of the planes of a window, its rows and columns, and its shape."""
        spans, shape = [], []
        for entry, n in zip(index, self.shape, strict=True):
            if isinstance(entry, slice):
                span = range(n)[entry]
                shape.append(len(span))
            else:
                at = range(n)[entry]
                span = range(at, at + 1)
            spans.append(span)
        planes = [
            int(np.ravel_multi_index(position, self.shape[:-2])) if position else 0
            for position in product(*spans[:-2])
        ]
        return planes, spans[-2], spans[-1], tuple(shape)

    def _write(self, place: int, values: npt.NDArray[Any]) -> None:
        self._file.seek(place * self.dtype.itemsize)
        left = values.reshape(-1).view(np.uint8).data
        while left:
            left = left[self._file.write(left) :]

    def _read(self, place: int, count: int) -> npt.NDArray[Any]:
        self._file.seek(place * self.dtype.itemsize)
        out = np.empty(count, self.dtype)
        left = out.view(np.uint8).data
        while left:
            number = self._file.readinto(left)
            if not number:
                raise OSError(f"{self._file.name} ends too early")
            left = left[number:]
        return out


def _completed(index: Any, axes: int) -> tuple[int | slice, ...]:
    """An index with an entry for every axis."""
    entries = list(index) if isinstance(index, tuple) else [index]
    if any(entry is Ellipsis for entry in entries):
        at = next(i for i, entry in enumerate(entries) if entry is Ellipsis)
        entries[at : at + 1] = [slice(None)] * (axes - len(entries) + 1)
    return (*entries, *[slice(None)] * (axes - len(entries)))
