"""Small made-up images with a known answer, and strokes on them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def stripes(
    shape: tuple[int, int] = (96, 120), seed: int = 0
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Two textures side by side in broad bands: the image, and the true class (1 or 2) of every pixel."""
    rng = np.random.default_rng(seed)
    truth = (np.arange(shape[1]) // 24 % 2 + 1).astype(np.uint8)[None].repeat(shape[0], 0)
    fine = (np.indices(shape).sum(0) % 2) * 2.0 - 1
    image = np.where(truth == 1, 0.0, fine) + rng.normal(0, 0.2, shape)
    return (100 + 40 * image).astype(np.float32), truth


def strokes_on(truth: NDArray[np.uint8], rows: tuple[int, ...] = (12, 40, 70)) -> NDArray[np.uint8]:
    """Short horizontal strokes, two pixels wide, well inside every band."""
    labels = np.zeros_like(truth)
    for row in rows:
        for start in range(6, truth.shape[1] - 14, 24):
            labels[row : row + 2, start : start + 12] = truth[row, start + 6]
    return labels


def iou(found: NDArray[np.unsignedinteger], truth: NDArray[np.uint8]) -> float:
    """Mean intersection over union of the classes of `truth`."""
    return float(
        np.mean(
            [
                ((found == k) & (truth == k)).sum() / ((found == k) | (truth == k)).sum()
                for k in np.unique(truth)
            ]
        )
    )


class CountedImage:
    """An array that remembers how many of its pixels were read."""

    def __init__(self, array):
        self.array, self.shape, self.dtype, self.read = array, array.shape, array.dtype, 0

    def __getitem__(self, index):
        block = self.array[index]
        self.read += block.size
        return block
