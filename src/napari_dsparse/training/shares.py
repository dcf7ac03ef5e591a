"""How frequent each class is in the images, which strokes do not tell."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from napari_dsparse.images import ImageSource, Normalisation
from napari_dsparse.images.windows import spread_windows
from napari_dsparse.training.learner import Learner

#: Windows looked at over all images, and their edge in pixels.
SCENES = 16
EDGE = 32
#: Smallest estimate, as part of an equal share.
LEAST = 0.5
#: How far the estimate is trusted: 0 means equal shares, 1 the estimate itself.
TRUST = 0.5


class ClassShares:
    """Estimates class shares from what a learner says of windows spread over its images.

    Strokes give every class about the same paint, and the loss weighs classes alike, so a rare class would be
    predicted too often. One step of the estimate of Saerens, Latinne and Decaestecker (Neural Computation
    14, 2002) repairs that without any further label: the mean probability is taken as the prior. Going on
    with their iteration trusts the probabilities too much and loses rare classes. For the same reason no
    share is taken for less than LEAST of an equal one, and all to the power TRUST.
    """

    def __init__(self, sources: Sequence[ImageSource], normalisation: Normalisation, patch: int) -> None:
        self._sources = sources
        self._normalisation = normalisation
        self._patch = patch
        self._scenes: list[Tensor] = []

    def estimate(
        self, learner: Learner, present: Sequence[int], classes: int, *, quick: bool = False
    ) -> tuple[float, ...]:
        """Share of each of `classes` classes, summing to 1; 0 for those not `present`.

        `quick` looks at a quarter of the windows.
        """
        if not self._scenes:
            self._scenes = [scene for source in self._sources for scene in self._look_at(source)]
        scenes = self._scenes[::4] if quick else self._scenes
        means = learner.mean_probabilities(scenes, present)
        shares = {i: max(mean, LEAST / len(present)) ** TRUST for i, mean in zip(present, means, strict=True)}
        total = sum(shares.values())
        return tuple(shares.get(i, 0.0) / total for i in range(classes))

    def _look_at(self, source: ImageSource) -> list[Tensor]:
        before, behind = self._patch // 2, self._patch - 1 - self._patch // 2
        scenes = []
        for plane, rows, columns in spread_windows(source.shape, EDGE, max(1, SCENES // len(self._sources))):
            block = source.read(
                plane, (rows[0] - before, rows[1] + behind), (columns[0] - before, columns[1] + behind)
            )
            scenes.append(torch.from_numpy(self._normalisation.apply(block)))
        return scenes
