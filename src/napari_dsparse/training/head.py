"""The last layer in closed form: a class-balanced ridge classifier on what the layers before it say."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """Sums over the labelled pixels of one class; those of several strokes add up.

    Parameters
    ----------
    count : int
        Feature vectors summed: pixels times symmetries.
    total : Tensor of float64, shape (F,)
        Sum of features.
    square : Tensor of float64, shape (F, F)
        Sum of outer products.
    """

    count: int
    total: Tensor
    square: Tensor

    @classmethod
    def of(cls, features: Tensor) -> Moments:
        """Moments of features (S, F); kept on the CPU in float64, whatever computed them."""
        rows = features.detach().cpu().double()
        return cls(len(rows), rows.sum(0), rows.t() @ rows)

    def __add__(self, other: Moments) -> Moments:
        return Moments(self.count + other.count, self.total + other.total, self.square + other.square)


def fit_head(classes: Iterable[Moments], ridge: float) -> tuple[Tensor, Tensor]:
    """Weights and bias of the linear classifier whose scores come nearest to the one-hot classes.

    Every class weighs the same, however much of it was painted. The penalty on the weights is `ridge` times
    the mean variance of a feature, so that it means the same for features of any scale.

    Parameters
    ----------
    classes : iterable of Moments
        One a class, each with at least one pixel.
    ridge : float
        Positive.

    Returns
    -------
    weight : Tensor of float64, shape (K, F)
    bias : Tensor of float64, shape (K,)
    """
    known = list(classes)
    share = 1 / len(known)
    means = torch.stack([one.total / one.count for one in known])
    mean = means.mean(0)
    spread = share * sum((one.square / one.count for one in known), torch.zeros(())) - torch.outer(mean, mean)
    variance = spread.diagonal().mean().clamp(min=torch.finfo(spread.dtype).tiny)
    penalty = torch.eye(len(spread), dtype=spread.dtype) * (ridge * variance)
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
