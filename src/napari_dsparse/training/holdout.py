"""Which strokes are kept from training, so that accuracy is measured on paint a model has never seen."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from napari_dsparse.training.strokes import Stroke

#: A class lends strokes for measuring only when it has this many.
FEWEST_STROKES = 3
#: Share of a class's strokes that is held out, at least one.
SHARE = 0.2

#: Places (row and column in one number) by image and plane.
Places = dict[tuple[int, tuple[int, ...]], NDArray[np.int64]]


class HoldOut:
    """Splits strokes into those a validation model learns from and those it is measured on.

    Whole strokes are held out, not pixels: neighbours in a stroke look alike, and a figure resting on them
    would flatter. A stroke of which any pixel has been learned from is never held out afterwards, however
    the strokes grow or merge: new strokes are, so the measure is always of what comes next.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._learned: Places = {}
        self._held: Places = {}

    def split(self, strokes: Sequence[Stroke]) -> tuple[tuple[Stroke, ...], tuple[Stroke, ...]]:
        """(to learn from, held out); classes lend strokes one by one, as soon as they have enough."""
        held: list[Stroke] = []
        for label in sorted({stroke.label for stroke in strokes}):
            own = [stroke for stroke in strokes if stroke.label == label]
            if len(own) >= FEWEST_STROKES:
                held += self._choose(own)
        keys = {stroke.key for stroke in held}
        learn = tuple(stroke for stroke in strokes if stroke.key not in keys)
        self._held = _places(held)
        for where, places in _places(learn).items():
            self._learned[where] = np.union1d(self._learned.get(where, places), places)
        return learn, tuple(held)

    def _choose(self, own: list[Stroke]) -> list[Stroke]:
        clean = [stroke for stroke in own if not _overlaps(stroke, self._learned)]
        wanted = max(1, round(SHARE * len(own)))
        drawn = np.random.default_rng((self._seed, own[0].label)).permutation(len(clean))
        # Strokes held out before stay so, grown or not; only then are others drawn.
        fresh = sorted((clean[i] for i in drawn), key=lambda stroke: not _overlaps(stroke, self._held))
        return fresh[:wanted]


def _place(stroke: Stroke) -> NDArray[np.int64]:
    yx = stroke.yx.astype(np.int64)
    return (yx[:, 0] << 32) + yx[:, 1]


def _places(strokes: Sequence[Stroke]) -> Places:
    by_plane: dict[tuple[int, tuple[int, ...]], list[NDArray[np.int64]]] = {}
    for stroke in strokes:
        by_plane.setdefault((stroke.image, stroke.plane), []).append(_place(stroke))
    return {where: np.concatenate(places) for where, places in by_plane.items()}


def _overlaps(stroke: Stroke, places: Places) -> bool:
    there = places.get((stroke.image, stroke.plane))
    return there is not None and bool(np.isin(_place(stroke), there).any())
