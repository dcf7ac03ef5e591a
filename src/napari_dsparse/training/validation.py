"""An honest figure for accuracy: every stroke is judged by a last layer that was not fitted to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from napari_dsparse.training.choice import ChosenPixels
from napari_dsparse.training.head import Head
from napari_dsparse.training.strokes import Stroke

#: A class is measured once it was painted in this many places: one to learn from, one to be judged.
FEWEST_PLACES = 2
#: Parts that the places of a class are dealt into; each is held out once.
FOLDS = 5
#: Strokes of a class nearer to each other than this, in pixels, count as one place.
NEAR = 32


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


def cross_validate(
    strokes: Sequence[Stroke],
    chosen: ChosenPixels,
    head: Head,
    penalties: Sequence[float],
    classes: int,
    seed: int,
) -> Accuracy:
    """Hold out some places at a time, fit the last layer to the rest and judge those.

    Whole places are held out, not pixels and not one of two strokes beside each other: neighbours look alike
    and have the same surroundings, and a figure resting on them would flatter. The classifier that is used is
    fitted to all strokes; paint that corrects an error always has its effect.

    Parameters
    ----------
    strokes : sequence of Stroke
    chosen : ChosenPixels
        Of these strokes.
    head : Head
        Made of rows of the chosen pixels, one view after another.
    penalties : sequence of float
        As `Head.fit` takes them.
    classes : int
        K; labels are 1..K.
    seed : int
        Deals the places.
    """
    confusion = np.zeros((classes, classes), np.int64)
    places = places_of(strokes, chosen)
    parts = _deal(strokes, places, seed)
    judged = np.unique(chosen.strokes[np.isin(chosen.strokes, np.concatenate(parts))]) if parts else []
    if len({strokes[i].label for i in judged}) < 2:
        return Accuracy(confusion, 0)  # one class alone says nothing
    known = np.unique(chosen.labels)
    for part in parts:
        held = np.flatnonzero(np.isin(chosen.strokes, part))
        if len(held):
            found = known[head.left_out(torch.from_numpy(held), penalties).argmax(1).numpy()]
            np.add.at(confusion, (chosen.labels[held] - 1, found - 1), 1)
    return Accuracy(confusion, len(judged))


def places_of(strokes: Sequence[Stroke], chosen: ChosenPixels) -> NDArray[np.int64]:
    """Number of the place that each stroke belongs to, shape (strokes,): near ones of a class share one."""
    place = np.arange(len(strokes))

    def root(stroke: int) -> int:
        while place[stroke] != stroke:
            stroke = int(place[stroke])
        return stroke

    seen: dict[tuple[object, ...], int] = {}
    blocks = np.unique(np.column_stack([chosen.strokes, chosen.yx // NEAR]), axis=0)
    for number, y, x in blocks.tolist():
        own = strokes[number]
        for dy in (-1, 0, 1):
            for dx in (-1, 0, 1):
                other = seen.get((own.image, own.plane, own.label, y + dy, x + dx))
                if other is not None:
                    place[root(other)] = root(number)
        seen[own.image, own.plane, own.label, y, x] = number
    return np.array([root(stroke) for stroke in range(len(strokes))])


def _deal(strokes: Sequence[Stroke], places: NDArray[np.int64], seed: int) -> list[NDArray[np.int64]]:
    """Strokes in parts by their places; no class loses all of its places to one part."""
    parts: list[list[int]] = [[] for _ in range(FOLDS)]
    labels = np.array([stroke.label for stroke in strokes])
    for label in np.unique(labels):
        own = np.unique(places[labels == label])
        if len(own) >= FEWEST_PLACES:
            for turn, drawn in enumerate(np.random.default_rng((seed, int(label))).permutation(len(own))):
                parts[turn % FOLDS] += np.flatnonzero(places == own[drawn]).tolist()
    return [np.array(part) for part in parts if part]
