"""Search for the most uncertain place that is not painted yet, where a stroke would help most."""

from __future__ import annotations

import math
from collections.abc import Sequence
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


def empty_grid(shape: Sequence[int]) -> npt.NDArray[np.float32]:
    """A grid for an image of `shape` (..., Y, X) with nothing known yet."""
    blocks = (*shape[:-2], math.ceil(shape[-2] / BLOCK), math.ceil(shape[-1] / BLOCK))
    return np.full(blocks, np.nan, dtype=np.float32)


def store_blocks(
    grid: npt.NDArray[np.float32],
    means: npt.NDArray[np.float32],
    plane: tuple[int, ...],
    rows: tuple[int, int],
    columns: tuple[int, int],
) -> None:
    """Put a tile's block means in their place."""
    row, column = rows[0] // BLOCK, columns[0] // BLOCK
    grid[plane][row : row + means.shape[0], column : column + means.shape[1]] = means


def find_spot(
    grid: npt.NDArray[np.float32],
    labels: npt.NDArray[Any] | None,
    visited: Sequence[tuple[int, ...]] = (),
) -> tuple[int, ...] | None:
    """The pixel in the middle of the most uncertain blob away from paint and from spots already shown.

    Parameters
    ----------
    grid : ndarray of float32, shape (..., block rows, block columns)
        Block means of uncertainty in 0..1, NaN where unknown.
    labels : ndarray of int, shape (..., Y, X), optional
        Painted labels, 0 = none.
    visited : sequence of pixel indices

    Returns
    -------
    tuple of int or None
        (..., row, column); None where nothing uncertain is left.
    """
    flat = np.ones(grid.ndim, dtype=int)
    flat[:-2] = 0
    known = ~np.isnan(grid)
    filled = np.where(known, grid, 0).astype(np.float32)
    sigma = flat * 1.0
    weight = ndimage.gaussian_filter(known.astype(np.float32), sigma)
    smooth = ndimage.gaussian_filter(filled, sigma) / np.maximum(weight, 1e-3)
    blocked = ~known
    if labels is not None:
        blocked |= _near(_painted_blocks(labels, grid.shape))
    marks = np.zeros(grid.shape, dtype=bool)
    for spot in visited:
        marks[spot[:-2]][spot[-2] // BLOCK, spot[-1] // BLOCK] = True
    blocked |= _near(marks)
    smooth[blocked] = -1
    best = np.unravel_index(int(smooth.argmax()), grid.shape)
    if smooth[best] < WORTH_A_STROKE:
        return None
    *where, row, column = (int(i) for i in best)
    return (*where, row * BLOCK + BLOCK // 2, column * BLOCK + BLOCK // 2)


def _painted_blocks(labels: npt.NDArray[Any], blocks: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    painted = np.zeros(blocks, dtype=bool)
    for (*plane, top, left), values in blocks_of(labels):
        rows, columns = np.nonzero(values)
        painted[tuple(plane)][(rows + top) // BLOCK, (columns + left) // BLOCK] = True
    return painted


def _near(marks: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Blocks within CLEARANCE of a mark, plane by plane."""
    if not marks.any():
        return marks
    size = (1,) * (marks.ndim - 2) + (2 * CLEARANCE + 1,) * 2
    return np.asarray(ndimage.maximum_filter(marks.astype(np.uint8), size=size)) > 0
