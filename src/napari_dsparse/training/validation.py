"""Estimates of accuracy by leaving out strokes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_dsparse.classifier.warm_start import Opinion
from napari_dsparse.training.choice import ChosenPixels
from napari_dsparse.training.head import Head, Unpainted
from napari_dsparse.training.places import places_of, split_places
from napari_dsparse.training.strokes import Stroke

#: A class is measured once it was painted in this many places, and only beside another such class.
FEWEST_PLACES = 3
#: Half of a range, in units of the log odds: on synthetic scenes, 80 % of true values lie within
#: (`python -m bench.trust --sets none --scenes 40`).
HALF_RANGE = 0.9
#: No more certain than this: an intersection over union is never taken for 0 or 1.
LEAST = 0.005


@dataclass(frozen=True, slots=True, eq=False)
class Accuracy:
    """Estimates for the whole image, and results on left-out strokes.

    Parameters
    ----------
    confusion : ndarray of int64, shape (K, K)
        Left-out pixels by class painted (row) and class found (column); classes that could not be left out
        have rows of zeros. It tells which classes are taken for one another, not how often: people paint
        where it is easy, and later where there were errors.
    strokes : int
        Number of strokes left out.
    iou : mapping of int to float
        Expected intersection over union on the whole image, 0..1, by number of every class measured.
    range : mapping of int to pair of float
        Probable range of the true one: it holds about four times out of five.
    """

    confusion: NDArray[np.int64]
    strokes: int
    iou: Mapping[int, float] = field(default_factory=dict)
    range: Mapping[int, tuple[float, float]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Pixels spread over the images, whether painted or not: what an estimate is about.

    Parameters
    ----------
    features : Tensor, shape (N, F1 + F2 + ...)
        As the last layer takes them.
    scores : Tensor, shape (N, K)
        Scores from the last layer fitted to all strokes.
    scale : float
        Factor from scores to logits.
    priors : Tensor, shape (K,)
        Prior of every class with paint; positive.
    """

    features: Tensor
    scores: Tensor
    scale: float
    priors: Tensor

    def probabilities(self, scores: Tensor) -> Tensor:
        """Of each class, (N, K): as prediction has them."""
        likely = (scores * self.scale).softmax(1) * self.priors
        return likely / likely.sum(1, keepdim=True)


def cross_validate(
    strokes: Sequence[Stroke],
    chosen: ChosenPixels,
    head: Head,
    opinions: Sequence[Opinion],
    sample: Sample,
    classes: int,
    seed: int,
    unpainted: Unpainted | None = None,
) -> Accuracy:
    """Leave out some places at a time, fit the last layer to the rest, and measure the change of the image.

    The paint itself makes a poor test. At first it lies where a class is easy to see; a stroke that corrects
    an error lies, by the user's choice, where all others mislead. So the estimate is made on pixels that
    nobody chose, in two ways: the intersection over union that the classifier's own probabilities lead to
    expect, which is mostly too low where classes are easily told apart; and that of the segmentation with
    those made without some places, which is mostly too high, since what all strokes have in common goes
    unnoticed. The estimate lies halfway between, in log odds. A corrected error counts by how much of the
    image the correction changes.

    Whole places are left out, not one of two strokes beside each other: neighbours look alike and have the
    same surroundings. The classifier that is used is fitted to all strokes.

    Parameters
    ----------
    strokes : sequence of Stroke
    chosen : ChosenPixels
        Of these strokes.
    head : Head
        Made of rows of the chosen pixels.
    opinions : sequence of Opinion
        As `Head.fit` takes them.
    sample : Sample
        Of the images that the strokes lie on.
    classes : int
        K; labels are 1..K.
    seed : int
        Seeds the split of places.
    unpainted : Unpainted, optional
        As `Head.fit` takes it. Without some places, it is guessed without them, too.
    """
    confusion = np.zeros((classes, classes), np.int64)
    places = places_of(strokes, chosen)
    parts, measured = split_places(chosen, places, FEWEST_PLACES, seed)
    if len(measured) < 2:
        return Accuracy(confusion, 0)  # a single class says nothing
    known = np.unique(chosen.labels)
    expected = sample.probabilities(sample.scores)
    found, steady = _one_hot(expected), []
    for held in parts:
        scores, others = head.without(torch.from_numpy(held), opinions, sample.features, unpainted)
        np.add.at(confusion, (chosen.labels[held] - 1, known[scores.argmax(1).numpy()] - 1), 1)
        steady.append(expected_iou(found, _one_hot(sample.probabilities(others))))
    middle = (_log_odds(expected_iou(found, expected)) + _log_odds(torch.stack(steady).mean(0))) / 2
    low, high = torch.sigmoid(middle - HALF_RANGE), torch.sigmoid(middle + HALF_RANGE)
    at = {int(label): int(np.searchsorted(known, label)) for label in measured}
    return Accuracy(
        confusion,
        len(np.unique(chosen.strokes[np.concatenate(parts)])),
        {label: float(torch.sigmoid(middle[i])) for label, i in at.items()},
        {label: (float(low[i]), float(high[i])) for label, i in at.items()},
    )


def expected_iou(found: Tensor, probabilities: Tensor) -> Tensor:
    """Intersection over union per class (K,) of classes found (N, K), one-hot, where others are but probable.

    The expected intersection by the expected union; 0 for a class that is neither found nor probable.
    """
    both = (found * probabilities).sum(0)
    union = found.sum(0) + probabilities.sum(0) - both
    return both / union.clamp(min=torch.finfo(union.dtype).tiny)


def _one_hot(probabilities: Tensor) -> Tensor:
    classes = probabilities.shape[1]
    return torch.nn.functional.one_hot(probabilities.argmax(1), classes).to(probabilities.dtype)


def _log_odds(share: Tensor) -> Tensor:
    return torch.logit(share, eps=LEAST)
