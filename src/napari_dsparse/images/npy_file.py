"""Pixels of a ``.npy`` file, read window by window: nothing is mapped.

A mapped file that is cut short meanwhile kills the process (SIGBUS); one that is read raises OSError.
"""

from __future__ import annotations

import math
from itertools import product
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from napari_dsparse.images.boxes import Box, box_of


class NpyArray:
    """The array in a file as one that is sliced with numpy's basic indices; several threads may read it.

    Parameters
    ----------
    path : Path

    Raises
    ------
    OSError
        If the file is gone; on reading, too, and where it ends too early.
    ValueError
        If it is no ``.npy`` file, or one of Python objects.
    """

    def __init__(self, path: Path) -> None:
        mapped = np.load(path, mmap_mode="r", allow_pickle=False)  # its head alone is looked at
        self._path, self._offset = path, int(mapped.offset)
        self.shape: tuple[int, ...] = mapped.shape
        self.dtype: np.dtype[Any] = mapped.dtype
        self._by_columns = mapped.flags.f_contiguous and not mapped.flags.c_contiguous

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> npt.NDArray[Any]:
        box, picks = box_of(index, self.shape)
        if self._by_columns:
            pixels = self._read(self.shape[::-1], box[::-1]).T
        else:
            pixels = self._read(self.shape, box)
        picked: npt.NDArray[Any] = pixels[picks]
        return picked

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> npt.NDArray[Any]:
        pixels = self[...]
        return pixels if dtype is None else pixels.astype(dtype, copy=False)

    def _read(self, shape: tuple[int, ...], box: Box) -> npt.NDArray[Any]:
        """A new array of the box, of an array that stands in the file row by row."""
        sizes = [stop - start for start, stop in box]
        out = np.empty(sizes, self.dtype)
        if not out.size:
            return out
        cut = len(shape)  # before these axes, which are wanted whole and so stand in one piece
        while cut and tuple(box[cut - 1]) == (0, shape[cut - 1]):
            cut -= 1
        outer = box[: max(0, cut - 1)]
        runs = out.reshape(math.prod(sizes[: len(outer)]), -1)
        steps = [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
        starts = product(*(range(start, stop) for start, stop in outer))
        with self._path.open("rb", buffering=0) as file:
            for run, position in zip(runs, starts, strict=True):
                corner = (*position, *(start for start, _ in box[len(outer) :]))
                first = sum(at * step for at, step in zip(corner, steps, strict=True))
                file.seek(self._offset + first * self.dtype.itemsize)
                _fill(file, run, self._path)
        return out


def _fill(file: BinaryIO, run: npt.NDArray[Any], path: Path) -> None:
    room = run.view(np.uint8).data
    while room:
        count = file.readinto(room)  # type: ignore[attr-defined]
        if not count:
            raise OSError(f"{path.name} ends too early: it was cut short since it was opened")
        room = room[count:]
