"""Class priors: the frequency of each class in the images, which strokes do not tell."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_dsparse.images import ImageSource
from napari_dsparse.images.windows import spread_windows
from napari_dsparse.training.surroundings import Surroundings

#: Windows looked at over all images, and their edge in cells of the trunk's lattice.
SCENES = 16
EDGE = 8
#: Smallest estimate, as a fraction of the equal prior.
LEAST = 0.5
#: Trust in the estimate: 0 means equal priors, 1 the estimate itself.
TRUST = 0.5


def class_priors(logits: Tensor) -> Tensor:
    """Prior of every class (K,), summing to 1, from logits (N, K) of pixels spread over the images."""
    means = logits.softmax(1).mean(0)
    raised = means.clamp(min=LEAST / len(means)) ** TRUST
    return raised / raised.sum()


class ClassPriors:
    """Estimate of class priors from the probabilities in windows spread over the images.

    Strokes give every class about the same paint, and the loss weighs classes alike, so a rare class would be
    predicted too often. One step of the estimate of Saerens, Latinne and Decaestecker (Neural Computation
    14, 2002) corrects that without any further label: the mean probability is taken as the prior. Further
    iterations trust the probabilities too much and lose rare classes. For the same reason no prior is taken
    for less than LEAST of the equal one, and all are raised to the power TRUST.

    Parameters
    ----------
    sources : sequence of ImageSource
    """

    def __init__(self, sources: Sequence[ImageSource]) -> None:
        self._sources = sources
        self._of: Surroundings | None = None
        self._features = torch.empty(0)

    def estimate(
        self,
        surroundings: Surroundings,
        weight: Tensor,
        bias: Tensor,
        present: Sequence[int],
        classes: int,
    ) -> tuple[float, ...]:
        """Prior of each of `classes` classes, summing to 1; 0 for those not `present`.

        Parameters
        ----------
        surroundings : Surroundings
            Of the same images; its features are kept until another is given.
        weight : Tensor, shape (present, F1 + F2 + ...)
            Of the last layer, by group of features: the pixel's own, then every window's.
        bias : Tensor, shape (present,)
        present : sequence of int
            Class indices that have paint.
        classes : int
        """
        known = class_priors(self.seen(surroundings) @ weight.t() + bias).tolist()
        priors = dict(zip(present, known, strict=True))
        return tuple(priors.get(i, 0.0) for i in range(classes))

    def seen(self, surroundings: Surroundings) -> Tensor:
        """Features (cells, F1 + F2 + ...) of windows spread evenly over all images, looked at once."""
        if surroundings is not self._of:
            self._of, self._features = surroundings, self._look(surroundings)
        return self._features

    def _look(self, surroundings: Surroundings) -> Tensor:
        seen = []
        for image, source in enumerate(self._sources):
            shape = (*source.shape[:-2], *(-(-n // surroundings.stride) for n in source.shape[-2:]))
            windows = spread_windows(shape, EDGE, max(1, SCENES // len(self._sources)))
            for plane, own in groupby(windows, key=lambda window: window[0]):
                cells = np.concatenate([_cells(rows, columns) for _, rows, columns in own])
                seen.append(surroundings.look(image, plane, cells).flatten(1))
        return torch.cat(seen)


def _cells(rows: tuple[int, int], columns: tuple[int, int]) -> NDArray[np.int64]:
    y, x = np.mgrid[slice(*rows), slice(*columns)]
    return np.stack([y.ravel(), x.ravel()], 1)
