"""Users who paint one stroke after another on an image whose truth is known."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from pretraining.episodes import walk
from scipy import ndimage

from napari_dsparse.prediction.next_spot import block_means, empty_grid, find_spot, store_blocks

#: From segmentation and uncertainty, both (Y, X), to the place of the next stroke.
Choice = Callable[["Canvas", NDArray[np.integer], NDArray[np.float32]], tuple[int, int]]


class Canvas:
    """An image's labels while they are painted.

    Parameters
    ----------
    truth : ndarray of uint8, shape (Y, X)
        Class 1..K of every pixel, 0 where unknown.
    seed : int
        Same seed, same choices: the same strokes.
    """

    def __init__(self, truth: NDArray[np.uint8], seed: int) -> None:
        self.truth = truth
        self.labels = np.zeros_like(truth)
        self.rng = np.random.default_rng((seed, 7))
        self.strokes = 0
        self.visited: list[tuple[int, ...]] = []
        self._depth = {
            int(number): ndimage.distance_transform_edt(truth == number)
            for number in np.unique(truth[truth > 0])
        }

    def begin(self) -> None:
        """One stroke of every class, somewhere deep inside it."""
        for number, depth in self._depth.items():
            deep = np.flatnonzero(depth >= np.quantile(depth[depth > 0], 0.6))
            self._paint(number, int(self.rng.choice(deep)))

    def stroke(self, y: int, x: int) -> None:
        """A stroke of the right class that begins at a pixel of known class."""
        self._paint(int(self.truth[y, x]), y * self.truth.shape[1] + x)

    def _paint(self, number: int, start: int) -> None:
        self.labels.ravel()[list(walk(self.rng, self._depth[number], start))] = number
        self.strokes += 1


def anywhere(canvas: Canvas, found: NDArray[np.integer], uncertainty: NDArray[np.float32]) -> tuple[int, int]:
    """A user who paints at random: every class as often, any place of it that carries no paint."""
    numbers = np.unique(canvas.truth[canvas.truth > 0])
    free = (canvas.truth == canvas.rng.choice(numbers)) & (canvas.labels == 0)
    return _pick(canvas, free)


def worst_error(
    canvas: Canvas, found: NDArray[np.integer], uncertainty: NDArray[np.float32]
) -> tuple[int, int]:
    """A user who looks for the largest connected error, and corrects it in its middle."""
    wrong = (canvas.truth > 0) & (found != canvas.truth) & (canvas.labels == 0)
    if not wrong.any():
        return anywhere(canvas, found, uncertainty)
    depth = ndimage.distance_transform_edt(wrong)
    regions, _ = ndimage.label(wrong)
    largest = np.bincount(regions[wrong]).argmax()
    depth[regions != largest] = 0
    y, x = np.unravel_index(int(depth.argmax()), depth.shape)
    return int(y), int(x)


def pointed_at(
    canvas: Canvas, found: NDArray[np.integer], uncertainty: NDArray[np.float32]
) -> tuple[int, int]:
    """A user who paints where the window's "next spot" points, at the nearest pixel of known class."""
    grid = empty_grid(uncertainty.shape)
    rows, columns = ((0, extent) for extent in uncertainty.shape)
    store_blocks(grid, block_means(uncertainty, rows, columns), (), rows, columns)
    spot = find_spot(grid, canvas.labels, canvas.visited)
    if spot is None:
        return anywhere(canvas, found, uncertainty)
    canvas.visited.append(spot)
    free = (canvas.truth > 0) & (canvas.labels == 0)
    y, x = np.argwhere(free)[((np.argwhere(free) - np.array(spot)) ** 2).sum(1).argmin()]
    return int(y), int(x)


def _pick(canvas: Canvas, free: NDArray[np.bool_]) -> tuple[int, int]:
    places = np.flatnonzero(free if free.any() else canvas.truth > 0)
    y, x = divmod(int(canvas.rng.choice(places)), canvas.truth.shape[1])
    return y, x
