"""Paint on a scene as it grows, stroke by stroke."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_dsparse.training.choice import ChosenPixels, choose_pixels
from napari_dsparse.training.strokes import Stroke
from pretraining.episodes import walk

#: Number and most steps of the first strokes of each class, which are short.
FIRST_STROKES = 2
SHORT = 16

#: A class is painted to so much of itself at most.
MOST_PAINT = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class Painting:
    """Strokes on all classes of a scene, in the order in which they were painted.

    Parameters
    ----------
    strokes : tuple of ndarray of int64, shape (S,)
        Places in the flattened labels; a place is in one stroke only.
    classes : ndarray of int64, shape (number of strokes,)
    """

    strokes: tuple[NDArray[np.int64], ...]
    classes: NDArray[np.int64]

    def first(self, pixels: float) -> Painting:
        """As it was when about `pixels` were painted in all, two strokes on each class at the least."""
        kept, seen, painted = [], np.zeros(self.classes.max() + 1, int), 0
        for number, label in enumerate(self.classes):
            if seen[label] < FIRST_STROKES or painted + len(self.strokes[number]) / 2 < pixels:
                kept.append(number)
                painted += len(self.strokes[number])
            seen[label] += 1
        return Painting(tuple(self.strokes[number] for number in kept), self.classes[kept])


def paint(rng: np.random.Generator, labels: NDArray[np.int64], pixels: float) -> Painting:
    """Strokes on every class, about `pixels` in all, half to double of an equal share on each.

    Each class has two short strokes first, then long ones, where they fit; they lie as those of
    `draw_strokes`.

    Parameters
    ----------
    rng : Generator
    labels : ndarray of int64, shape (N, N)
    pixels : float
    """
    known = np.unique(labels)
    strokes, owners, dates = [], [], []
    for label in known:
        depth = ndimage.distance_transform_edt(labels == label)
        places = np.flatnonzero(depth)
        deep = np.flatnonzero(depth >= np.quantile(depth.ravel()[places], 0.6))
        wanted = min(pixels / len(known) * math.exp(rng.uniform(-0.7, 0.7)), MOST_PAINT * len(places))
        own: set[int] = set()
        count = 0
        while len(own) < wanted or count < FIRST_STROKES:
            begin = deep if rng.random() < 0.5 else places
            longest = SHORT if count < FIRST_STROKES else 50
            stroke = walk(rng, depth, int(begin[rng.integers(len(begin))]), longest) - own
            if len(stroke) < (8 if rng.random() < 0.9 else 1):
                continue
            own |= stroke
            strokes.append(np.array(sorted(stroke), np.int64))
            owners.append(label)
            # All classes grow alike: by the part of their paint that is there.
            dates.append(-1.0 if count < FIRST_STROKES else len(own) / wanted)
            count += 1
    order = np.argsort(dates, kind="stable")
    return Painting(tuple(strokes[number] for number in order), np.array(owners)[order])


def choose(
    places: NDArray[np.int64], classes: NDArray[np.int64], strokes: NDArray[np.int64]
) -> tuple[NDArray[np.int64], ChosenPixels]:
    """The painted pixels that the package would learn from.

    Parameters
    ----------
    places : ndarray of int64, shape (S, 2)
        Rows and columns, each once.
    classes, strokes : ndarray of int64, shape (S,)
        Class, from 0, and number of the stroke.

    Returns
    -------
    ndarray of int64, shape (T,)
        Which of the pixels, in the order of the other result.
    ChosenPixels
    """
    parts = [strokes == number for number in np.unique(strokes)]
    painted = [
        Stroke(0, (), int(classes[part][0]) + 1, places[part].astype(np.int32), number.to_bytes(8, "big"))
        for number, part in enumerate(parts)
    ]
    chosen = choose_pixels(painted)
    width = int(places.max()) + 1
    flat = places[:, 0] * width + places[:, 1]
    order = np.argsort(flat)
    found = np.searchsorted(flat[order], chosen.yx[:, 0] * width + chosen.yx[:, 1])
    return order[found], chosen
