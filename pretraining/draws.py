"""Independent random streams, and the draws that scenes are made of."""

from __future__ import annotations

import math
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

#: Default rows and columns of a scene, N.
SIZE = 160

#: A map of a scene, shape (N, N).
FloatMap = NDArray[np.float64]
IntMap = NDArray[np.int64]


class Stream(IntEnum):
    """Purpose of a random stream; streams are independent, whatever their seeds."""

    SCENES = 0
    EPISODES = 1
    HELD_SCENES = 2
    HELD_STROKES = 3
    WIDE_SCENES = 4
    WIDE_STROKES = 5


def generator(stream: Stream, seed: int, number: int) -> np.random.Generator:
    """Random numbers of scene or step `number`, independent of those of the others."""
    return np.random.default_rng((seed, int(stream), number))


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """A size drawn log-uniformly: halving is as likely as doubling."""
    return math.exp(rng.uniform(math.log(low), math.log(high)))


def many(rng: np.random.Generator, low: int, high: int, size: int) -> int:
    """A number of things: `low` to `high` - 1 in a scene of the usual size, as densely in any other."""
    return round(int(rng.integers(low, high)) * (size / SIZE) ** 2)


def smooth_field(rng: np.random.Generator, sigma: float | tuple[float, float], size: int = SIZE) -> FloatMap:
    """Blurred white noise of mean 0 and variance 1, shape (N, N).

    Parameters
    ----------
    rng : Generator
    sigma : float or pair of float
        Width of the Gaussian in pixels, of rows and columns where they differ.
    size : int
        Rows and columns, N.
    """
    field = ndimage.gaussian_filter(rng.standard_normal((size, size)), sigma, mode="wrap", truncate=3)
    return (field - field.mean()) / (field.std() + 1e-9)
