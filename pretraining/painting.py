"""Paint on a scene as it grows, stroke by stroke."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pretraining.episodes import walk

#: The first strokes of each class are short: so many, of so many steps at most.
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
