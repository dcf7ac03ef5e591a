"""Search for the most uncertain place that is not painted yet, where a stroke would help most."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from napari_dsparse.images.painted import blocks as blocks_of

#: Side of the blocks, in pixels, whose mean uncertainty is kept: a spot is a region, not a pixel.
BLOCK = 8
#: Blocks this close to paint, or to a spot already shown, are not suggested (in blocks).
CLEARANCE = 3
#: Mean uncertainty below which no spot is suggested.
WORTH_A_STROKE = 0.05
#: Blocks along a side of the pieces that means are kept in.
PIECE = 256
#: Blocks around a piece that tell on it: as far as means are smoothed, and as marks reach.
_HALO = max(4, CLEARANCE)


def block_means(
    values: npt.NDArray[np.float32], rows: tuple[int, int], columns: tuple[int, int]
) -> npt.NDArray[np.float32]:
    """Means of a tile's values over the blocks of the image's grid that it touches.

    Parameters
    ----------
    values : ndarray, shape (h, w)
    rows, columns : (start, stop)
        Where the tile lies in the image.

    Returns
    -------
    ndarray of float32, shape (block rows, block columns)
        Blocks that the tile covers in part are averaged over that part.
    """
    row_starts, column_starts = _starts(*rows), _starts(*columns)
    sums = np.add.reduceat(np.add.reduceat(values, row_starts, axis=0), column_starts, axis=1)
    heights = np.diff(np.append(row_starts, values.shape[0]))
    widths = np.diff(np.append(column_starts, values.shape[1]))
    means: npt.NDArray[np.float32] = (sums / np.outer(heights, widths)).astype(np.float32)
    return means


def _starts(start: int, stop: int) -> npt.NDArray[np.intp]:
    """Starts of the grid's blocks in [start, stop), counted from `start`."""
    first_edge = (start // BLOCK + 1) * BLOCK
    edges = np.arange(first_edge, stop, BLOCK, dtype=np.intp) - start
    return np.concatenate([np.zeros(1, dtype=np.intp), edges])


class DoubtMap:
    """Block means of the uncertainty of an image, where they are known: only there they take memory.

    Parameters
    ----------
    shape : sequence of int
        Of the image, (..., Y, X).
    """

    def __init__(self, shape: Sequence[int]) -> None:
        self._shape = (*shape[:-2], *(math.ceil(n / BLOCK) for n in shape[-2:]))
        self._pieces: dict[tuple[int, ...], npt.NDArray[np.float32]] = {}  # by plane, and place in PIECEs

    def store(
        self,
        means: npt.NDArray[np.float32],
        plane: tuple[int, ...],
        rows: tuple[int, int],
        columns: tuple[int, int],
    ) -> None:
        """Put a tile's block means, 0..1, in their place."""
        first = rows[0] // BLOCK, columns[0] // BLOCK
        box = [(start, start + length) for start, length in zip(first, means.shape, strict=True)]
        for place, inner, outer in _pieces_of(box):
            piece = self._pieces.get((*plane, *place))
            if piece is None:
                piece = self._pieces[*plane, *place] = np.full((PIECE, PIECE), np.nan, np.float32)
            piece[inner] = means[outer]

    def read(self, plane: tuple[int, ...], box: Sequence[tuple[int, int]]) -> npt.NDArray[np.float32]:
        """Block means in a box of blocks, (start, stop) of rows and of columns; NaN where unknown."""
        found = np.full([stop - start for start, stop in box], np.nan, np.float32)
        for place, inner, outer in _pieces_of(box):
            piece = self._pieces.get((*plane, *place))
            if piece is not None:
                found[outer] = piece[inner]
        return found

    def find_spot(
        self, labels: Any = None, visited: Sequence[tuple[int, ...]] = ()
    ) -> tuple[int, ...] | None:
        """The pixel in the middle of the most uncertain blob away from paint and from spots already shown.

        Parameters
        ----------
        labels : array of int, shape (..., Y, X), optional
            Painted labels, 0 = none; dense or sparse.
        visited : sequence of pixel indices

        Returns
        -------
        tuple of int or None
            (..., row, column); None where nothing uncertain is left.
        """
        kept = _marked_blocks(labels, visited)
        best: tuple[float, int] = (-WORTH_A_STROKE, 0)  # the least of value and flat index, turned round
        found = None
        for *leading, row, column in self._pieces:
            plane = tuple(leading)
            core, box = [], []
            for number, length in zip((row, column), self._shape[-2:], strict=True):
                start, stop = number * PIECE, min((number + 1) * PIECE, length)
                core.append((start, stop))
                box.append((max(0, start - _HALO), min(stop + _HALO, length)))
            smooth = _smoothed(self.read(plane, box), kept.get(plane), box)
            inner = tuple(slice(a - c, b - c) for (a, b), (c, _) in zip(core, box, strict=True))
            values = smooth[inner]
            at = np.unravel_index(int(values.argmax()), values.shape)
            where = (*plane, *(int(n) + start for n, (start, _) in zip(at, core, strict=True)))
            rank = -float(values[at]), int(np.ravel_multi_index(where, self._shape))
            if rank < best or (found is None and rank[0] <= best[0]):
                best, found = rank, where
        if found is None:
            return None
        return (*found[:-2], *(n * BLOCK + BLOCK // 2 for n in found[-2:]))


def _smoothed(
    grid: npt.NDArray[np.float32], marks: npt.NDArray[np.int64] | None, box: Sequence[tuple[int, int]]
) -> npt.NDArray[np.float32]:
    """Uncertainty around every block of a box; -1 where it is unknown, or near a mark."""
    known = ~np.isnan(grid)
    weight = ndimage.gaussian_filter(known.astype(np.float32), 1.0)
    filled = np.where(known, grid, 0).astype(np.float32)
    smooth: npt.NDArray[np.float32] = ndimage.gaussian_filter(filled, 1.0) / np.maximum(weight, 1e-3)
    smooth[~known] = -1
    if marks is not None:
        near = np.zeros(grid.shape, np.uint8)
        places = marks - [start for start, _ in box]
        places = places[((places >= 0) & (places < grid.shape)).all(axis=1)]
        near[places[:, 0], places[:, 1]] = 1
        smooth[ndimage.maximum_filter(near, size=2 * CLEARANCE + 1) > 0] = -1
    return smooth


def _marked_blocks(
    labels: Any, visited: Sequence[tuple[int, ...]]
) -> dict[tuple[int, ...], npt.NDArray[np.int64]]:
    """Rows and columns of blocks with paint, or with a spot that was shown, by plane."""
    found: dict[tuple[int, ...], list[npt.NDArray[np.int64]]] = {}
    for (*plane, top, left), values in () if labels is None else blocks_of(labels):
        rows, columns = np.nonzero(values)
        if rows.size:
            places = np.stack([(rows + top) // BLOCK, (columns + left) // BLOCK], 1)
            found.setdefault(tuple(plane), []).append(np.unique(places, axis=0))
    for spot in visited:
        found.setdefault(spot[:-2], []).append(np.array([[n // BLOCK for n in spot[-2:]]], np.int64))
    return {plane: np.concatenate(places) for plane, places in found.items()}


def _pieces_of(
    box: Sequence[tuple[int, int]],
) -> Iterator[tuple[tuple[int, ...], tuple[slice, ...], tuple[slice, ...]]]:
    """Pieces that a box of blocks touches: place, part of the piece, and the same part of the box."""
    for place in product(*(range(start // PIECE, -(-stop // PIECE)) for start, stop in box)):
        parts = [
            (max(start, number * PIECE), min(stop, (number + 1) * PIECE))
            for number, (start, stop) in zip(place, box, strict=True)
        ]
        pairs = list(zip(parts, place, box, strict=True))
        inner = tuple(slice(a - number * PIECE, b - number * PIECE) for (a, b), number, _ in pairs)
        yield place, inner, tuple(slice(a - start, b - start) for (a, b), _, (start, _) in pairs)
