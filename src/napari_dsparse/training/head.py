"""The last layer in closed form: a class-balanced ridge classifier on what the layers before it say."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

#: Edge of a lattice's squares in pixels, about as long as a short stroke; see `Coverage`.
CELL = 16


@dataclass(frozen=True, slots=True, eq=False)
class Coverage:
    """How much some painted pixels of one class tell: neighbours hardly more than one of them.

    Parameters
    ----------
    cells : int
        Squares of a lattice, `CELL` pixels wide, that hold some of the pixels.
    weights : ndarray of float64, shape (S,)
        Of each pixel, such that a square's weigh as much as the root of their number.
    """

    cells: int
    weights: NDArray[np.float64]

    @classmethod
    def of(cls, yx: NDArray[np.integer]) -> Coverage:
        """Of pixels in one plane, rows and columns (S, 2)."""
        _, cell, counts = np.unique(yx // CELL, axis=0, return_inverse=True, return_counts=True)
        return cls(len(counts), counts[cell.ravel()] ** -0.5)


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """Weighted sums over the labelled pixels of one class; those of several strokes add up.

    Parameters
    ----------
    cells : int
        See `Coverage`.
    weight : float
        Of all feature vectors together.
    total : Tensor of float64, shape (F,)
        Sum of features.
    square : Tensor of float64, shape (F, F)
        Sum of outer products.
    """

    cells: int
    weight: float
    total: Tensor
    square: Tensor

    @classmethod
    def of(cls, features: Tensor, coverage: Coverage) -> Moments:
        """Moments of features (V, S, F), of S pixels seen V times; on the CPU, whatever computed them."""
        rows = features.detach().cpu().double().flatten(0, 1)
        weights = torch.from_numpy(coverage.weights).repeat(len(features))
        weighted = rows * weights[:, None]
        return cls(coverage.cells, float(weights.sum()), weighted.sum(0), weighted.t() @ rows)

    def __add__(self, other: Moments) -> Moments:
        return Moments(
            self.cells + other.cells,
            self.weight + other.weight,
            self.total + other.total,
            self.square + other.square,
        )


def fit_head(classes: Iterable[Moments], ridge: float, caution: float = 0.0) -> tuple[Tensor, Tensor]:
    """Weights and bias of the linear classifier whose scores come nearest to the one-hot classes.

    Every class weighs the same, however much of it was painted. The penalty on the weights is `ridge` times
    the mean variance of a feature, so that it means the same for features of any scale; and more where little
    was painted, by the part `caution` / cells, a mean over classes: from two strokes all that they happen to
    differ in looks like a difference of the classes.

    Parameters
    ----------
    classes : iterable of Moments
        One a class, each with at least one pixel.
    ridge : float
        Positive.
    caution : float
        Not negative.

    Returns
    -------
    weight : Tensor of float64, shape (K, F)
    bias : Tensor of float64, shape (K,)
    """
    known = list(classes)
    share = 1 / len(known)
    means = torch.stack([one.total / one.weight for one in known])
    mean = means.mean(0)
    squares = sum((one.square / one.weight for one in known), torch.zeros(()))
    spread = share * squares - torch.outer(mean, mean)
    held = ridge * (1 + caution * share * sum(1 / one.cells for one in known))
    variance = spread.diagonal().mean().clamp(min=torch.finfo(spread.dtype).tiny)
    penalty = torch.eye(len(spread), dtype=spread.dtype) * (held * variance)
    weight = torch.linalg.solve(spread + penalty, share * (means - mean).t()).t()
    return weight, share - weight @ mean


class HasMoments(Protocol):
    """Part of a class: a stroke, say."""

    @property
    def label(self) -> int:
        """Class, from 1."""

    @property
    def moments(self) -> Moments:
        """Its own."""


def by_class(strokes: Iterable[HasMoments]) -> dict[int, Moments]:
    """Sums of moments by class index, from 0."""
    summed: dict[int, Moments] = {}
    for stroke in strokes:
        index = stroke.label - 1
        summed[index] = summed[index] + stroke.moments if index in summed else stroke.moments
    return summed
