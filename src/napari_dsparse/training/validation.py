"""An honest figure for accuracy: every stroke is judged by a last layer that was not fitted to it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from napari_dsparse.training.features import SeenStroke
from napari_dsparse.training.head import Moments, by_class

#: A class is measured once it has this many strokes: one to learn from, one to be judged.
FEWEST_STROKES = 2
#: Parts that the strokes of a class are dealt into; each is held out once.
FOLDS = 5

#: Fits a last layer to what is known of each class.
Fit = Callable[[Iterable[Moments]], tuple[Tensor, Tensor]]


@dataclass(frozen=True, slots=True, eq=False)
class Accuracy:
    """What was found on held-out strokes.

    Parameters
    ----------
    confusion : ndarray of int64, shape (K, K)
        Held-out pixels by class painted (row) and class found (column); classes that could not be held out
        have rows of zeros.
    strokes : int
        How many strokes it rests on.
    """

    confusion: NDArray[np.int64]
    strokes: int

    @property
    def iou(self) -> Mapping[int, float]:
        """Intersection over union, 0..1, by number of every class that was held out."""
        painted, found, agreed = self.confusion.sum(1), self.confusion.sum(0), self.confusion.diagonal()
        union = painted + found - agreed
        return {int(i) + 1: float(agreed[i] / union[i]) for i in np.flatnonzero(painted)}


def cross_validate(strokes: Sequence[SeenStroke], classes: int, fit: Fit, seed: int) -> Accuracy:
    """Hold out a part of the strokes at a time, fit the last layer to the rest and judge that part.

    Whole strokes are held out, not pixels: neighbours in a stroke look alike, and a figure resting on them
    would flatter. The classifier that is used is fitted to all strokes; paint that corrects an error always
    has its effect.

    Parameters
    ----------
    strokes : sequence of SeenStroke
    classes : int
        K; labels are 1..K.
    fit : callable
        Weights (K, F) and bias (K,) of a last layer, as `fit_head` gives them.
    seed : int
        Deals the strokes.
    """
    confusion = np.zeros((classes, classes), np.int64)
    parts = _deal(strokes, seed)
    if len({stroke.label for part in parts for stroke in part}) < 2:
        return Accuracy(confusion, 0)  # one class alone says nothing
    for part in parts:
        held = set(map(id, part))
        rest = by_class(stroke for stroke in strokes if id(stroke) not in held)
        known = np.array(sorted(rest))
        weight, bias = fit(rest[i] for i in known)
        for stroke in part:
            scores = stroke.features.double() @ weight.t() + bias
            found = np.bincount(known[scores.argmax(1).numpy()], minlength=classes)
            confusion[stroke.label - 1] += found
    return Accuracy(confusion, sum(map(len, parts)))


def _deal(strokes: Sequence[SeenStroke], seed: int) -> list[list[SeenStroke]]:
    """Parts of nearly equal size; no class loses all of its strokes to one of them."""
    parts: list[list[SeenStroke]] = [[] for _ in range(FOLDS)]
    for label in sorted({stroke.label for stroke in strokes}):
        own = [stroke for stroke in strokes if stroke.label == label]
        if len(own) >= FEWEST_STROKES:
            for turn, drawn in enumerate(np.random.default_rng((seed, label)).permutation(len(own))):
                parts[turn % FOLDS].append(own[drawn])
    return [part for part in parts if part]
