"""Images of any size that the benchmarks paint on, with the same strokes on all, and isolated clicks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

#: Square at the image's corner that holds all strokes, so that they are the same on larger images.
PAINTED = 1024
CLASSES = 4


def noise(rows: int, columns: int) -> NDArray[np.float32]:
    """A random image: its content does not affect times."""
    return np.random.default_rng(0).standard_normal((rows, columns), np.float32)


def strokes(
    shape: tuple[int, int], count: int = 12, *, length: int = 60, seed: int = 0, within: int = PAINTED
) -> NDArray[np.uint8]:
    """Labels: gently curved brush strokes 5 pixels wide, in turn of classes 1 to 4.

    Parameters
    ----------
    shape : (int, int)
        Of the image.
    count, length : int
        Strokes, and pixels along each; 12 of 60 are about 3,800 labelled pixels.
    seed : int
    within : int
        Edge of the square that holds them.
    """
    rng = np.random.default_rng(seed)
    labels = np.zeros(shape, np.uint8)
    for number in range(count):
        spots = brush(rng.uniform(0.1 * within, 0.9 * within, 2), length, rng)
        y, x = spots.clip(0, within - 1).T
        labels[y, x] = number % CLASSES + 1
    return labels


def brush(start: NDArray[np.float64], length: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Pixels (n, 2) under a brush 5 pixels wide, drawn `length` pixels along a gentle curve."""
    turns = rng.uniform(0, 2 * np.pi) + np.cumsum(rng.normal(0, 0.08, length))
    line = np.round(start + np.cumsum(np.stack([np.sin(turns), np.cos(turns)], 1), 0)).astype(int)
    disc = np.argwhere(np.hypot(*np.mgrid[-3:4, -3:4]) <= 2.5) - 3
    return np.unique((line[:, None] + disc).reshape(-1, 2), axis=0)


def clicks(shape: tuple[int, int], apart: int = 80) -> NDArray[np.uint8]:
    """Labels: single pixels so far apart that their patches do not meet."""
    labels = np.zeros(shape, np.uint8)
    grid = labels[apart:-apart:apart, apart:-apart:apart]
    grid[...] = np.arange(grid.size, dtype=np.uint8).reshape(grid.shape) % CLASSES + 1
    return labels
