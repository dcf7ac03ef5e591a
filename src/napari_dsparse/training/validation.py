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
from napari_dsparse.training.rounds import Round
from napari_dsparse.training.strokes import Stroke

#: Steps between two measurements on held-out strokes.
MEASURE_EVERY = 10


class Validation:
    """Learns after the result, from all but the held-out strokes, and is measured on those.

    The result itself learns from every stroke: paint that corrects an error always has its effect.
    """

    def __init__(self, spec: NetworkSpec, recipe: Recipe, seed: int, device: torch.device) -> None:
        self._recipe = recipe
        self._holdout = HoldOut(seed)
        self._learner = Learner(spec, recipe, seed, device)
        self._rng = np.random.default_rng((seed, 1))
        self._device = device
        self._learn: tuple[Batch, ...] = ()
        self._held: tuple[Batch, ...] = ()
        self._round: Round | None = None
        self.strokes = 0
        self.iou: Mapping[int, float] = {}

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
        self._round = None
        self.strokes = len(held)
        if not held:
            self.iou = {}

    @property
    def steps(self) -> int:
        """Steps taken so far."""
        return self._learner.steps

    @property
    def ready(self) -> bool:
        """Whether `iou` is as good as it gets until the strokes change."""
        return not self._held or (self._round is not None and self._round.done(self._learner.steps) >= 1)

    def step(self, present: Sequence[int], steps: int, newest: int) -> None:
        """One step after a result that has taken `steps`, `newest` of them in its last round.

        Now and then there is a new `iou` after it: by class number, on the held-out strokes, 0..1.
        """
        if self._round is None:
            self._round = self._catch_up(steps, newest)
        taken = self._learner.steps
        self._learner.step(self._learn[taken % len(self._learn)], present, self._round.rate(taken))
        if self._learner.steps % MEASURE_EVERY == 0 or self.ready:
            self.iou = self._measure(present)

    def _catch_up(self, steps: int, newest: int) -> Round:
        """Rounds that new paint broke off are made up for only as far as a first round reaches."""
        first = self._learner.steps == 0
        behind = steps - self._learner.steps
        return Round(
            self._learner.steps,
            max(1, min(behind, max(newest, self._recipe.steps))),
            None,
            self._recipe.peak_rate if first else self._recipe.refine_rate,
            self._recipe.warm_up,
        )

    def _measure(self, present: Sequence[int]) -> dict[int, float]:
        truth = torch.cat([batch.targets for batch in self._held]).cpu().numpy()
        found = torch.cat([self._learner.predict(batch, present) for batch in self._held]).cpu().numpy()
        return {int(label) + 1: _iou(truth == label, found == label) for label in np.unique(truth)}

    def _batches(self, strokes: Sequence[Stroke], pieces: Mapping[bytes, list[Piece]]) -> tuple[Batch, ...]:
        chosen = [piece for stroke in strokes for piece in pieces.get(stroke.key, ())]
        return make_batches(chosen, self._rng, self._device) if chosen else ()


def _iou(truth: NDArray[np.bool_], found: NDArray[np.bool_]) -> float:
    return float((truth & found).sum() / (truth | found).sum())
