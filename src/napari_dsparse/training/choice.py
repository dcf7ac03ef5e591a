"""Choice of the painted pixels to learn from: a bounded number, weighted by what they add.

Neighbours in a stroke look alike. From every square of a lattice a few pixels are taken, fewer where much is
painted, so that a filled region costs no more than some strokes. The choice depends on where the paint lies
and on nothing else: the same paint gives the same pixels in whatever order it was painted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_dsparse.training.strokes import Stroke

#: Edge of a square in pixels, about as long as a short stroke.
SQUARE = 16
#: Most pixels of a class taken from a square, and of all classes together.
PIXELS_PER_SQUARE = 16
MOST_PIXELS = 4096
#: Of much paint, pixels at multiples of this come first, the stride of the built-in networks: their features
#: are computed for the surroundings of all others too.
LATTICE = 4


@dataclass(frozen=True, slots=True, eq=False)
class ChosenPixels:
    """Painted pixels to learn from, sorted by image, plane, row and column.

    Parameters
    ----------
    strokes : ndarray of int64, shape (S,)
        Index of the stroke of each pixel.
    labels : ndarray of int64, shape (S,)
        Class, from 1.
    yx : ndarray of int64, shape (S, 2)
    weights : ndarray of float64, shape (S,)
        Sum to 1. Every class weighs the same, and within it a square as the root of its painted pixels.
    squares : mapping of int to int
        Squares with paint by class: the amount of paint, independent of the width of the brush.
    """

    strokes: NDArray[np.int64]
    labels: NDArray[np.int64]
    yx: NDArray[np.int64]
    weights: NDArray[np.float64]
    squares: dict[int, int]

    @property
    def evidence(self) -> float:
        """Squares per class: the harmonic mean, since the class with the least paint is the limit."""
        return len(self.squares) / sum(1 / count for count in self.squares.values())


def choose_pixels(strokes: Sequence[Stroke]) -> ChosenPixels:
    """Choose the pixels to learn from: at most MOST_PIXELS, from as many squares as there are.

    Parameters
    ----------
    strokes : sequence of Stroke
        At least one.
    """
    planes = {key: i for i, key in enumerate(sorted({(stroke.image, stroke.plane) for stroke in strokes}))}
    order = sorted(range(len(strokes)), key=lambda i: planes[strokes[i].image, strokes[i].plane])
    sizes = [len(strokes[i].yx) for i in order]
    yx = np.concatenate([strokes[i].yx for i in order]).astype(np.int64)
    owner = np.repeat(order, sizes)
    label = np.repeat([strokes[i].label for i in order], sizes).astype(np.int64)
    plane = np.repeat([planes[strokes[i].image, strokes[i].plane] for i in order], sizes)
    square, counts = _squares(plane, label, yx)
    kept, weights = np.zeros(len(yx), bool), np.zeros(len(yx))
    squares: dict[int, int] = {}
    left, classes = MOST_PIXELS, sorted(np.unique(label), key=lambda k: len(np.unique(square[label == k])))
    for number, k in enumerate(classes):
        own = np.flatnonzero(label == k)
        chosen = own[_take(square[own], yx[own], left // (len(classes) - number))]
        left -= len(chosen)
        _, at, taken = np.unique(square[chosen], return_inverse=True, return_counts=True)
        weight = np.sqrt(counts[square[chosen]]) / taken[at]
        kept[chosen], weights[chosen] = True, weight / weight.sum() / len(classes)
        squares[int(k)] = len(np.unique(square[own]))
    found = np.flatnonzero(kept)
    found = found[np.lexsort((yx[found, 1], yx[found, 0], plane[found]))]
    return ChosenPixels(owner[found], label[found], yx[found], weights[found], squares)


def _squares(
    plane: NDArray[np.int64], label: NDArray[np.int64], yx: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Number of the square that each pixel lies in, by plane and class, and painted pixels per square."""
    y, x = (yx // SQUARE).T
    columns, rows = int(x.max()) + 1, int(y.max()) + 1
    place = ((plane * (int(label.max()) + 1) + label) * rows + y) * columns + x
    _, square, counts = np.unique(place, return_inverse=True, return_counts=True)
    return square, counts


def _rank_within(square: NDArray[np.int64], spread: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Place of each pixel among those of its square, in the order of `spread`, numbers below 2**40."""
    order = np.argsort((square.astype(np.uint64) << np.uint64(40)) | spread)  # one number to sort by
    starts = np.flatnonzero(np.diff(square[order], prepend=-1))
    rank = np.empty(len(square), np.int64)
    rank[order] = np.arange(len(square)) - np.repeat(starts, np.diff(starts, append=len(square)))
    return rank


def _take(square: NDArray[np.int64], yx: NDArray[np.int64], most: int) -> NDArray[np.bool_]:
    """Pixels of one class to keep, at most `most`: a few of every square, or of some squares.

    They are taken in an order that looks random and depends on places; of more than `most`, those on the
    lattice first.
    """
    most, per_square = max(1, most), PIXELS_PER_SQUARE
    spread = _mixed(yx) >> np.uint64(25)
    rank = _rank_within(square, spread)
    if np.count_nonzero(rank < per_square) > most:
        beside = (yx % LATTICE != 0).any(1).astype(np.uint64)
        rank = _rank_within(square, beside << np.uint64(39) | spread)
    while per_square > 1 and np.count_nonzero(rank < per_square) > most:
        per_square //= 2
    taken = rank < per_square
    if np.count_nonzero(taken) > most:
        numbers = np.unique(square)
        first = numbers[np.argsort(_mixed(np.stack([numbers, numbers], 1)), kind="stable")[:most]]
        taken &= np.isin(square, first)
    return taken


def _mixed(yx: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Rows and columns mixed to a number that shows no pattern (the finaliser of SplitMix64)."""
    z = (yx[:, 0].astype(np.uint64) << np.uint64(32)) ^ yx[:, 1].astype(np.uint64)
    with np.errstate(over="ignore"):
        z = z + np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
