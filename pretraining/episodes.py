"""Episodes: parts of scenes under random changes, with a few strokes as a user would paint them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from napari_dsparse.network.symmetry import SYMMETRIES, turn
from pretraining.draws import log_uniform

#: Least pixels of a class in an episode.
FEWEST_PIXELS = 60
#: Pixels between strokes and a border, where a class is thick enough.
FROM_BORDER = 1.5


@dataclass(frozen=True, slots=True, eq=False)
class Episode:
    """One learning task: an image, strokes on it, and the true classes.

    Parameters
    ----------
    image : ndarray of float32, shape (H, W)
    labels : ndarray of int64, shape (H - P + 1, W - P + 1)
        Class, 0..K-1, of every pixel whose patch of P x P lies within the image.
    strokes : ndarray of int64, shape (S,)
        Painted pixels, as places in the flattened labels; every class has some.
    """

    image: NDArray[np.float32]
    labels: NDArray[np.int64]
    strokes: NDArray[np.int64]


def draw_episode(
    rng: np.random.Generator, image: NDArray[np.float32], labels: NDArray[np.uint8], crop: int, patch: int
) -> Episode | None:
    """A crop under a random symmetry, gain, offset and sign, with about 40 to 300 painted pixels per class.

    Parameters
    ----------
    rng : Generator
    image, labels : ndarray, shape (N, N)
        A scene.
    crop : int
        Rows and columns of the episode, at least `patch` and at most N.
    patch : int
        Rows and columns of the network's patch, P; odd.

    Returns
    -------
    Episode or None
        None where the crop does not hold enough of two classes.
    """
    symmetry = int(rng.integers(SYMMETRIES))
    row, column = rng.integers(0, len(image) - crop + 1, 2)
    window = np.s_[row : row + crop, column : column + crop]
    turned, answer = (turn(torch.from_numpy(own[window]), symmetry).numpy() for own in (image, labels))
    seen = (turned * math.exp(rng.normal(0, 0.2)) + rng.normal(0, 0.15)).astype(np.float32)
    if rng.random() < 0.4:  # bright on dark, dark on bright
        seen = -seen
    return painted_episode(rng, seen, answer, patch, log_uniform(rng, 40, 300))


def painted_episode(
    rng: np.random.Generator,
    image: NDArray[np.float32],
    labels: NDArray[np.uint8],
    patch: int,
    pixels: float,
) -> Episode | None:
    """An image as it is, with about `pixels` painted pixels per class; None as in `draw_episode`."""
    half = patch // 2
    inner = labels[half:-half, half:-half]
    classes, numbered, counts = np.unique(inner, return_inverse=True, return_counts=True)
    if len(classes) < 2 or counts.min() < FEWEST_PIXELS:
        return None
    answer = numbered.reshape(inner.shape)
    return Episode(np.ascontiguousarray(image), answer, draw_strokes(rng, answer, pixels))


def draw_strokes(rng: np.random.Generator, labels: NDArray[np.int64], pixels: float) -> NDArray[np.int64]:
    """Strokes on every class as people paint them: few, long, and off the borders where there is room.

    Half of the strokes begin deep inside a class, the others anywhere in it.

    Parameters
    ----------
    rng : Generator
    labels : ndarray of int64, shape (h, w)
    pixels : float
        Painted pixels per class: half to double of it, and never much more than half of the class.

    Returns
    -------
    ndarray of int64, shape (S,)
        Places in the flattened labels, each once, class by class.
    """
    painted = []
    for label in np.unique(labels):
        depth = ndimage.distance_transform_edt(labels == label)
        places = np.flatnonzero(depth)
        deep = np.flatnonzero(depth >= np.quantile(depth.ravel()[places], 0.6))
        wanted = min(int(pixels * math.exp(rng.uniform(-0.7, 0.7))), len(places) // 2)
        own: set[int] = set()
        while len(own) < wanted:
            begin = deep if rng.random() < 0.5 else places
            own |= walk(rng, depth, int(begin[rng.integers(len(begin))]))
        painted.append(sorted(own))
    return np.concatenate([np.array(own, np.int64) for own in painted])


def walk(rng: np.random.Generator, depth: NDArray[np.float64], start: int, longest: int = 50) -> set[int]:
    """A stroke: places on a walk from `start`, two pixels wide, of 8 to `longest` steps of one pixel.

    It turns little by little, keeps off the border if it began off it, and ends where it would meet it.

    Parameters
    ----------
    rng : Generator
    depth : ndarray of float64, shape (h, w)
        Pixels to the border of the class, 0 outside of it.
    start : int
        Place in the flattened map, inside.

    Returns
    -------
    set of int
        Places, `start` among them.
    """
    height, width = depth.shape
    y, x = map(float, divmod(start, width))
    margin = min(FROM_BORDER, depth.flat[start])
    heading = rng.uniform(0, 2 * math.pi)
    places = set()
    for _ in range(int(rng.integers(8, longest))):
        row, column = round(y), round(x)
        if not (0 <= row < height and 0 <= column < width and depth[row, column] >= margin):
            break
        places.add(row * width + column)
        if column + 1 < width and depth[row, column + 1] > 0:
            places.add(row * width + column + 1)
        heading = _heading_that_stays(depth, y, x, heading + rng.normal(0, 0.15), margin)
        y, x = y + math.sin(heading), x + math.cos(heading)
    return places


def _heading_that_stays(
    depth: NDArray[np.float64], y: float, x: float, heading: float, margin: float
) -> float:
    """The direction in radians nearest to `heading` whose next step keeps `margin` off the border."""
    for swerve in (0.0, 0.4, -0.4, 0.9, -0.9, 1.5, -1.5):
        row, column = round(y + math.sin(heading + swerve)), round(x + math.cos(heading + swerve))
        inside = 0 <= row < depth.shape[0] and 0 <= column < depth.shape[1]
        if inside and depth[row, column] >= margin:
            return heading + swerve
    return heading
