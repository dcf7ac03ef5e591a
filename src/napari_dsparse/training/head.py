"""The last layer in closed form: a class-balanced ridge classifier on features in groups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor

from napari_dsparse.classifier.warm_start import Opinion
from napari_dsparse.training.priors import class_priors

#: Most principal axes of a group of features that the fit looks at. What lies along the others varies so
#: little over the painted pixels that the penalty leaves nothing of it; without them the cost of a fit is the
#: same for any number of image channels.
MOST_AXES = 128
#: Least variance of painted features by their mean square: less is but rounding in float32.
LEAST_VARIANCE = 1e-9
#: Lower bound on the part of unpainted pixels that a class has, where every class is to weigh the same.
LEAST_SHARE = 0.02
#: Weight of all unpainted pixels by that of the painted ones, where there is much paint; half of it at so
#: many painted squares per class (bench/QUALITY_LOG.md).
SELF_TRAINING, FEW_SQUARES = 0.5, 10.0


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Data for the fit of a last layer: feature vectors of painted pixels.

    Parameters
    ----------
    groups : tuple of Tensor of float32, each of shape (R, F)
        Features that share a penalty: the detail of a pixel, means over a window, over a larger one.
    targets : Tensor of int64, shape (R,)
        Class index, from 0 to K - 1; every class has rows.
    weights : Tensor of float64, shape (R,)
        Positive.
    """

    groups: tuple[Tensor, ...]
    targets: Tensor
    weights: Tensor

    def part(self, chosen: Tensor) -> Rows:
        """Rows where `chosen` (R,) is true, or those it numbers."""
        return Rows(tuple(g[chosen] for g in self.groups), self.targets[chosen], self.weights[chosen])


@dataclass(frozen=True, slots=True, eq=False)
class Unpainted:
    """Pixels spread over the images for a fit to learn from, by the classes that it gives them itself.

    Parameters
    ----------
    features : Tensor of float32, shape (N, F1 + F2 + ...)
        Of the pixels, the groups one after another.
    scale : float
        Factor from a classifier's scores to logits.
    weight : float
        All of these pixels together, by the painted ones.
    """

    features: Tensor
    scale: float
    weight: float

    def classes(self, scores: Tensor) -> Tensor:
        """Probability of every class (N, K) from scores, minus infinity where a class is not known."""
        logits = scores * self.scale
        return (logits + class_priors(logits).log()).softmax(1)


def self_training_weight(evidence: float) -> float:
    """Weight of unpainted pixels beside the painted ones: more, the more there is to guess by.

    Parameters
    ----------
    evidence : float
        Painted squares per class; see `training.choice`.
    """
    return SELF_TRAINING * evidence**2 / (evidence**2 + FEW_SQUARES**2)


class Head:
    """Fits of last layers to some rows, or to parts of them, for any opinion.

    Parameters
    ----------
    rows : Rows
    views : int
        Rows per pixel, all pixels of one view after another.
    """

    def __init__(self, rows: Rows, views: int = 1) -> None:
        self._views = views
        weights = balanced(rows.targets, rows.weights)
        axes, parts, bounds = [], [], [0]
        self._mean = [weights @ group.double() for group in rows.groups]
        for group, mean in zip(rows.groups, self._mean, strict=True):
            centred = group.double() - mean
            own = _principal_axes(centred, weights)
            parts.append(centred if own is None else centred @ own)
            axes.append(own)
            bounds.append(bounds[-1] + parts[-1].shape[1])
        self._axes, self._bounds = axes, bounds
        self._rows, self._targets, self._given = torch.cat(parts, 1), rows.targets, rows.weights
        # The penalty's unit is one feature's variance, so that it means the same for features of any scale;
        # but where all that is painted is even, no less than what rounding leaves of the features.
        first = rows.groups[0].double()
        variance = weights @ (first - self._mean[0]).square().mean(1)
        rounding = LEAST_VARIANCE * (weights @ first.square().mean(1))
        self._unit = torch.maximum(variance, rounding).clamp(min=torch.finfo(torch.float64).tiny)

    def fit(self, opinions: Sequence[Opinion], unpainted: Unpainted | None = None) -> tuple[Tensor, Tensor]:
        """The linear classifier whose scores come nearest to the one-hot classes, averaged over opinions.

        Every class weighs the same, however much of it was painted. With unpainted pixels, what comes out is
        taken for a teacher: the fit is made once more, to these pixels and the probabilities of their classes
        as well (one round of self-training).

        Parameters
        ----------
        opinions : sequence of Opinion
            With penalties in units of the mean variance of a feature of the first group.
        unpainted : Unpainted, optional

        Returns
        -------
        weight : Tensor of float64, shape (K, F1 + F2 + ...)
        bias : Tensor of float64, shape (K,)
        """
        everything = torch.arange(len(self._rows))
        return self._of_features(*self._learn(everything, opinions, unpainted))

    def left_out(self, held: Tensor, opinions: Sequence[Opinion]) -> Tensor:
        """Scores (H, K) that pixels `held` get in their first view from a classifier fitted to all others.

        Classes of which nothing else is left score minus infinity.
        """
        nothing = self._rows.new_empty((0, sum(len(mean) for mean in self._mean)))
        return self.without(held, opinions, nothing)[0]

    def without(
        self,
        held: Tensor,
        opinions: Sequence[Opinion],
        elsewhere: Tensor,
        unpainted: Unpainted | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Scores of `left_out`, and those (N, K) that features (N, F1 + F2 + ...) get from the same fit."""
        rest = torch.ones(len(self._rows), dtype=torch.bool)
        rest.view(self._views, -1)[:, held] = False
        weight, bias = self._learn(rest.nonzero()[:, 0], opinions, unpainted)
        absent = torch.bincount(self._targets[rest], minlength=len(bias)) == 0
        scores = self._rows[held] @ weight.t() + bias
        weight, bias = self._of_features(weight, bias)
        others = elsewhere @ weight.to(elsewhere.dtype).t() + bias.to(elsewhere.dtype)
        return scores.masked_fill(absent, -torch.inf), others.masked_fill(absent, -torch.inf)

    def _of_features(self, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """A classifier of rows as one of the features that they were made of."""
        parts = torch.split(weight, [b - a for a, b in pairwise(self._bounds)], 1)
        full = torch.cat(
            [part if own is None else part @ own.t() for part, own in zip(parts, self._axes, strict=True)], 1
        )
        return full, bias - full @ torch.cat(self._mean)

    def _learn(
        self, chosen: Tensor, opinions: Sequence[Opinion], unpainted: Unpainted | None
    ) -> tuple[Tensor, Tensor]:
        """Weights of the rows, and bias, from some painted rows and unpainted pixels."""
        held = torch.stack([self._held(opinion) for opinion in opinions])
        used = held.isfinite().any(0)
        targets = self._targets[chosen]
        classes = F.one_hot(targets, int(self._targets.max()) + 1).double()
        weights = balanced(targets, self._given[chosen])
        painted = _Moments.of(self._rows[chosen][:, used], classes, weights)
        shares = [opinion.share for opinion in opinions]
        weight, bias = _solve(painted, held[:, used], shares)
        if unpainted is None:
            return _spread_out(weight, used), bias
        others = self._as_rows(unpainted.features)[:, used]
        absent = classes.sum(0) == 0
        guessed = unpainted.classes((others @ weight.t() + bias).masked_fill(absent, -torch.inf))
        counts = (guessed / guessed.mean(0).clamp(min=LEAST_SHARE)).sum(1)
        taught = painted.beside(_Moments.of(others, guessed, counts / counts.sum()), unpainted.weight)
        weight, bias = _solve(taught, held[:, used], shares)
        return _spread_out(weight, used), bias

    def _held(self, opinion: Opinion) -> Tensor:
        """The penalty on the weight of every column of the rows."""
        sizes = torch.tensor([b - a for a, b in pairwise(self._bounds)])
        penalties = torch.tensor(opinion.penalties, dtype=torch.float64) * self._unit
        return penalties.repeat_interleave(sizes)

    def _as_rows(self, features: Tensor) -> Tensor:
        """Features (N, F1 + F2 + ...) about the mean of the painted ones and along their axes."""
        groups = torch.split(features, [len(mean) for mean in self._mean], 1)
        parts = []
        for group, mean, own in zip(groups, self._mean, self._axes, strict=True):
            centred = group.double() - mean
            parts.append(centred if own is None else centred @ own)
        return torch.cat(parts, 1)


@dataclass(frozen=True, slots=True, eq=False)
class _Moments:
    """All that least squares needs of rows (R, F) and classes (R, K): their weighted means.

    Parameters
    ----------
    mean : Tensor, shape (F,)
    second : Tensor, shape (F, F)
        Of products of features.
    cross : Tensor, shape (F, K)
        Of products of features and classes.
    share : Tensor, shape (K,)
        Of the classes.
    """

    mean: Tensor
    second: Tensor
    cross: Tensor
    share: Tensor

    @staticmethod
    def of(rows: Tensor, classes: Tensor, weights: Tensor) -> _Moments:
        """Of rows whose weights (R,) sum to 1."""
        weighted = (rows * weights[:, None]).t()
        return _Moments(weighted.sum(1), weighted @ rows, weighted @ classes, weights @ classes)

    def beside(self, others: _Moments, weight: float) -> _Moments:
        """Of these rows and others, which all together weigh `weight` times as much."""
        pairs = zip(self._all, others._all, strict=True)
        return _Moments(*((own + weight * other) / (1 + weight) for own, other in pairs))

    @property
    def _all(self) -> tuple[Tensor, ...]:
        return self.mean, self.second, self.cross, self.share


def balanced(targets: Tensor, weights: Tensor) -> Tensor:
    """Weights (R,) scaled so that those of every class that is there sum to the same, and all to 1."""
    totals = torch.zeros(int(targets.max()) + 1, dtype=weights.dtype).index_add_(0, targets, weights)
    return weights / totals[targets] / (totals > 0).sum()


def _principal_axes(centred: Tensor, weights: Tensor) -> Tensor | None:
    """Orthonormal axes (F, MOST_AXES) along which rows vary most; None where there are no more than that."""
    if centred.shape[1] <= MOST_AXES:
        return None
    spread = centred.t() @ (centred * weights[:, None])
    axes: Tensor = torch.linalg.eigh(spread).eigenvectors[:, -MOST_AXES:]
    return axes


def _solve(data: _Moments, held: Tensor, shares: Sequence[float]) -> tuple[Tensor, Tensor]:
    """Weights (K, F) and bias (K,) of least squares with penalties (N, F), averaged by shares."""
    spread = data.second - data.mean[:, None] * data.mean
    cross = data.cross - data.mean[:, None] * data.share
    weight = torch.zeros_like(cross)
    for penalties, share in zip(held, shares, strict=True):
        used = penalties.isfinite().nonzero()[:, 0]
        weight[used] += share * _solve_ridge(spread[used][:, used], cross[used], penalties[used])
    return weight.t(), data.share - data.mean @ weight


def _spread_out(weight: Tensor, used: Tensor) -> Tensor:
    """Weights (K, F) with zeros for features that were not used."""
    full = weight.new_zeros(len(weight), len(used))
    full[:, used] = weight
    return full


def _solve_ridge(spread: Tensor, cross: Tensor, held: Tensor) -> Tensor:
    """The weights (F, K) of least squares with penalties `held` (F,) on their squares."""
    root = held.sqrt()
    factor = torch.linalg.cholesky(spread / root / root[:, None] + torch.eye(len(root), dtype=root.dtype))
    return torch.cholesky_solve(cross / root[:, None], factor) / root[:, None]
