"""An honest figure for accuracy: a second model that never sees the held-out strokes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from napari_dsparse.network import NetworkSpec
from napari_dsparse.training.batch import Batch, Piece, make_batches
from napari_dsparse.training.holdout import HoldOut
from napari_dsparse.training.learner import Learner, Recipe
from napari_dsparse.training.strokes import Stroke


class Validation:
    """Learns beside the result, from all but the held-out strokes, and is measured on those.

    The result itself learns from every stroke: paint that corrects an error always has its effect.
    """

    def __init__(self, spec: NetworkSpec, recipe: Recipe, seed: int, device: torch.device) -> None:
        self._holdout = HoldOut(seed)
        self._learner = Learner(spec, recipe, seed, device)
        self._rng = np.random.default_rng((seed, 1))
        self._device = device
        self._learn: tuple[Batch, ...] = ()
        self._held: tuple[Batch, ...] = ()
        self.strokes = 0

    def update(
        self, spec: NetworkSpec, strokes: Sequence[Stroke], pieces: Mapping[bytes, list[Piece]]
    ) -> None:
        """Take over changed strokes; `pieces` holds theirs by key."""
        if spec != self._learner.spec:
            self._learner = self._learner.grown(spec)
        learn, held = self._holdout.split(strokes)
        if len({stroke.label for stroke in held}) < 2:
            held = ()  # one class alone says nothing; what it lends stays unseen until another lends too
        self._learn = self._batches(learn, pieces) if held else ()
        self._held = self._batches(held, pieces)
        self.strokes = len(held)

    def step(self, present: Sequence[int], rate: float) -> None:
        """One step of the validation model; nothing while there is nothing held out."""
        if self._learn:
            self._learner.step(self._learn[self._learner.steps % len(self._learn)], present, rate)

    def measure(self, present: Sequence[int]) -> dict[int, float]:
        """Intersection over union by class number on the held-out strokes; empty without any."""
        if not self._held:
            return {}
        truth = torch.cat([batch.targets for batch in self._held]).cpu().numpy()
        found = torch.cat([self._learner.predict(batch, present) for batch in self._held]).cpu().numpy()
        return {int(label) + 1: _iou(truth == label, found == label) for label in np.unique(truth)}

    def _batches(self, strokes: Sequence[Stroke], pieces: Mapping[bytes, list[Piece]]) -> tuple[Batch, ...]:
        chosen = [piece for stroke in strokes for piece in pieces.get(stroke.key, ())]
        return make_batches(chosen, self._rng, self._device) if chosen else ()


def _iou(truth: NDArray[np.bool_], found: NDArray[np.bool_]) -> float:
    return float((truth & found).sum() / (truth | found).sum())
