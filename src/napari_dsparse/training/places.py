"""Places where a class was painted: the units of cross-validation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from napari_dsparse.training.choice import ChosenPixels
from napari_dsparse.training.strokes import Stroke

#: Parts that the places of a class are split into; each is left out once.
FOLDS = 5
#: Paint of a class with less than this between, in pixels, counts as one place.
NEAR = 32


def places_of(strokes: Sequence[Stroke], chosen: ChosenPixels) -> NDArray[np.int64]:
    """Number of the place that each chosen pixel belongs to, shape (S,).

    Squares of `NEAR` pixels are visited in order; one that touches an earlier place's first square, in
    the same plane and class, belongs to that place. So places do not grow together where much is painted.
    """
    keys = [(strokes[i].image, strokes[i].plane, strokes[i].label) for i in range(len(strokes))]
    kinds = {key: number for number, key in enumerate(sorted(set(keys)))}
    kind = np.array([kinds[key] for key in keys])[chosen.strokes]
    squares, at = np.unique(np.column_stack([kind, chosen.yx // NEAR]), axis=0, return_inverse=True)
    first: dict[tuple[int, int, int], int] = {}
    place = np.empty(len(squares), np.int64)
    for number, (own, y, x) in enumerate(squares.tolist()):
        around = [(own, y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
        near = [first[square] for square in around if square in first]
        place[number] = near[0] if near else first.setdefault((own, y, x), number)
    return place[at.ravel()]


def split_places(
    chosen: ChosenPixels, places: NDArray[np.int64], fewest: int, seed: int
) -> tuple[list[NDArray[np.int64]], list[int]]:
    """Parts of the chosen pixels, to be left out one after another; no class loses all of its places to one.

    Parameters
    ----------
    chosen : ChosenPixels
    places : ndarray of int64, shape (S,)
        See `places_of`.
    fewest : int
        Places that a class must have to be split; at least 2.
    seed : int

    Returns
    -------
    parts : list of ndarray of int64
        Numbers of pixels, at most FOLDS parts.
    labels : list of int
        Classes that were split.
    """
    part = np.full(len(places), -1)
    measured = []
    for label in np.unique(chosen.labels):
        own = np.unique(places[chosen.labels == label])
        if len(own) >= fewest:
            measured.append(int(label))
            order = np.random.default_rng((seed, int(label))).permutation(len(own))
            inside = np.flatnonzero(chosen.labels == label)
            part[inside] = order[np.searchsorted(own, places[inside])] % FOLDS
    return [np.flatnonzero(part == number) for number in range(FOLDS) if (part == number).any()], measured
