"""The last layer in closed form: a class-balanced ridge classifier on features in groups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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
    groups : tuple of Tensor of float32, each of shape (P, F), or (V, P, F)
        Features that share a penalty: the detail of a pixel, means over a window, over a larger one. Those
        of shape (V, P, F) differ between a pixel's V views; the others are the same in every view.
    targets : Tensor of int64, shape (P,)
        Class index, from 0 to K - 1; every class has pixels.
    weights : Tensor of float64, shape (P,)
        Positive; all views of a pixel together weigh as much.
    """

    groups: tuple[Tensor, ...]
    targets: Tensor
    weights: Tensor

    def first_view(self) -> tuple[Tensor, ...]:
        """The groups as every pixel's first view has them, each of shape (P, F)."""
        return tuple(_by_view(group)[0] for group in self.groups)


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
    """Fits of last layers to some pixels, or to parts of them, for any opinion.

    Parameters
    ----------
    rows : Rows
    """

    def __init__(self, rows: Rows) -> None:
        self._targets, self._given = rows.targets, rows.weights
        weights = balanced(rows.targets, rows.weights)
        self._mean: list[Tensor] = []
        self._axes: list[Tensor | None] = []
        parts = []
        for number, group in enumerate(rows.groups):
            views = _by_view(group)
            mean = weights @ views.mean(0, dtype=torch.float64)
            centred = views - mean
            if not number:
                self._unit = _unit(centred, mean, weights)
            own = _principal_axes(centred, weights)
            parts.append(centred if own is None else centred @ own)
            self._mean.append(mean)
            self._axes.append(own)
        self._sizes = [part.shape[2] for part in parts]
        self._seen = _Seen.of(parts)
        self._unpainted: tuple[Tensor, _Seen] | None = None

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
        everything = torch.arange(len(self._targets))
        return self._of_features(*self._learn(everything, opinions, unpainted))

    def left_out(self, held: Tensor, opinions: Sequence[Opinion]) -> Tensor:
        """Scores (H, K) that pixels `held` get in their first view from a classifier fitted to all others.

        Classes of which nothing else is left score minus infinity.
        """
        nothing = self._unit.new_empty((0, sum(len(mean) for mean in self._mean)))
        return self.without(held, opinions, nothing)[0]

    def without(
        self,
        held: Tensor,
        opinions: Sequence[Opinion],
        elsewhere: Tensor,
        unpainted: Unpainted | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Scores of `left_out`, and those (N, K) that features (N, F1 + F2 + ...) get from the same fit."""
        rest = torch.ones(len(self._targets), dtype=torch.bool)
        rest[held] = False
        weight, bias = self._learn(rest.nonzero()[:, 0], opinions, unpainted)
        absent = torch.bincount(self._targets[rest], minlength=len(bias)) == 0
        scores = self._seen.first_view(held) @ weight.t() + bias
        weight, bias = self._of_features(weight, bias)
        others = elsewhere @ weight.to(elsewhere.dtype).t() + bias.to(elsewhere.dtype)
        return scores.masked_fill(absent, -torch.inf), others.masked_fill(absent, -torch.inf)

    def _of_features(self, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """A classifier of columns as one of the features that they were made of."""
        parts = torch.split(weight, self._sizes, 1)
        full = torch.cat(
            [part if own is None else part @ own.t() for part, own in zip(parts, self._axes, strict=True)], 1
        )
        return full, bias - full @ torch.cat(self._mean)

    def _learn(
        self, chosen: Tensor, opinions: Sequence[Opinion], unpainted: Unpainted | None
    ) -> tuple[Tensor, Tensor]:
        """Weights of the columns, and bias, from some painted pixels and unpainted ones."""
        held = torch.stack([self._held(opinion) for opinion in opinions])
        used = held.isfinite().any(0)
        targets = self._targets[chosen]
        classes = F.one_hot(targets, int(self._targets.max()) + 1).double()
        weights = balanced(targets, self._given[chosen])
        painted = _Moments.of(self._seen.columns(used).pixels(chosen), classes, weights)
        shares = [opinion.share for opinion in opinions]
        weight, bias = _solve(painted, held[:, used], shares)
        if unpainted is None:
            return _spread_out(weight, used), bias
        others = self._see(unpainted.features).columns(used)
        absent = classes.sum(0) == 0
        guessed = unpainted.classes((others.middles @ weight.t() + bias).masked_fill(absent, -torch.inf))
        counts = (guessed / guessed.mean(0).clamp(min=LEAST_SHARE)).sum(1)
        taught = painted.beside(_Moments.of(others, guessed, counts / counts.sum()), unpainted.weight)
        weight, bias = _solve(taught, held[:, used], shares)
        return _spread_out(weight, used), bias

    def _held(self, opinion: Opinion) -> Tensor:
        """The penalty on the weight of every column."""
        penalties = torch.tensor(opinion.penalties, dtype=torch.float64) * self._unit
        return penalties.repeat_interleave(torch.tensor(self._sizes))

    def _see(self, features: Tensor) -> _Seen:
        """Features (N, F1 + F2 + ...) about the mean of the painted ones and along their axes.

        Those of the last call are kept: every fit without some places takes the same.
        """
        if self._unpainted is not None and self._unpainted[0] is features:
            return self._unpainted[1]
        groups = torch.split(features, [len(mean) for mean in self._mean], 1)
        parts = []
        for group, mean, own in zip(groups, self._mean, self._axes, strict=True):
            centred = _by_view(group) - mean
            parts.append(centred if own is None else centred @ own)
        self._unpainted = features, _Seen.of(parts)
        return self._unpainted[1]


@dataclass(frozen=True, slots=True, eq=False)
class _Seen:
    """Columns of features of P pixels in V views: their means over the views, and the rest.

    Second moments of all views are those of the means and those of the rest, so that columns that are the
    same in every view, which most are, take one row per pixel.

    Parameters
    ----------
    middles : Tensor of float64, shape (P, F)
        Means over a pixel's views.
    offsets : Tensor of float64, shape (V, P, D)
        Each view less the mean, in those columns where views differ.
    differing : Tensor of int64, shape (D,)
        Numbers of these columns.
    """

    middles: Tensor
    offsets: Tensor
    differing: Tensor

    @staticmethod
    def of(parts: Sequence[Tensor]) -> _Seen:
        """Of columns one after another, each part (V, P, F), or (1, P, F) if the same in every view."""
        middles = [part.mean(0) for part in parts]
        differ = [len(part) > 1 for part in parts]
        offsets = [part - own for part, own, several in zip(parts, middles, differ, strict=True) if several]
        sizes = torch.tensor([part.shape[2] for part in parts])
        return _Seen(
            torch.cat(middles, 1),
            torch.cat(offsets, 2) if offsets else parts[0][..., :0],
            torch.tensor(differ).repeat_interleave(sizes).nonzero()[:, 0],
        )

    def pixels(self, chosen: Tensor) -> _Seen:
        """Of the pixels that `chosen` numbers."""
        return _Seen(self.middles[chosen], self.offsets[:, chosen], self.differing)

    def columns(self, used: Tensor) -> _Seen:
        """The columns where `used` (F,) is true."""
        if used.all():
            return self
        kept, number = used[self.differing], used.cumsum(0) - 1
        offsets = self.offsets if kept.all() else self.offsets[..., kept]
        return _Seen(self.middles[:, used], offsets, number[self.differing[kept]])

    def first_view(self, chosen: Tensor) -> Tensor:
        """Columns (C, F) of some pixels in their first view."""
        return self.middles[chosen].index_add_(1, self.differing, self.offsets[0, chosen])


@dataclass(frozen=True, slots=True, eq=False)
class _Moments:
    """All that least squares needs of pixels' features and classes (P, K): their weighted means.

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
    def of(seen: _Seen, classes: Tensor, weights: Tensor) -> _Moments:
        """Of pixels whose weights (P,) sum to 1, all views of one weighing the same."""
        weighted = (seen.middles * weights[:, None]).t()
        second = weighted @ seen.middles
        second[seen.differing[:, None], seen.differing] += _spread(seen.offsets, weights)
        return _Moments(weighted.sum(1), second, weighted @ classes, weights @ classes)

    def beside(self, others: _Moments, weight: float) -> _Moments:
        """Of these pixels and others, which all together weigh `weight` times as much."""
        pairs = zip(self._all, others._all, strict=True)
        return _Moments(*((own + weight * other) / (1 + weight) for own, other in pairs))

    @property
    def _all(self) -> tuple[Tensor, ...]:
        return self.mean, self.second, self.cross, self.share


def balanced(targets: Tensor, weights: Tensor) -> Tensor:
    """Weights (P,) scaled so that those of every class that is there sum to the same, and all to 1."""
    totals = torch.zeros(int(targets.max()) + 1, dtype=weights.dtype).index_add_(0, targets, weights)
    return weights / totals[targets] / (totals > 0).sum()


def _by_view(group: Tensor) -> Tensor:
    """A group (P, F) or (V, P, F) as (1, P, F) or (V, P, F)."""
    return group if group.ndim == 3 else group[None]


def _unit(centred: Tensor, mean: Tensor, weights: Tensor) -> Tensor:
    """Unit of penalties: the variance of one of the features (V, P, F), given about their mean (F,).

    So a penalty means the same for features of any scale; but where all that is painted is even, the unit is
    no less than what rounding leaves of the features.
    """
    squares = torch.linalg.vector_norm(centred, dim=(0, 2)).square()
    variance = weights @ squares / (centred.shape[0] * centred.shape[2])
    rounding = LEAST_VARIANCE * (variance + mean.square().mean())
    return torch.maximum(variance, rounding).clamp(min=torch.finfo(torch.float64).tiny)


def _spread(views: Tensor, weights: Tensor) -> Tensor:
    """Weighted mean (F, F) of products of features (V, P, F), all views of a pixel weighing the same."""
    weighted = views * (weights / len(views))[:, None]
    return weighted.flatten(0, 1).t() @ views.flatten(0, 1)


def _principal_axes(centred: Tensor, weights: Tensor) -> Tensor | None:
    """Orthonormal axes (F, MOST_AXES) along which features (V, P, F) vary most; None where F is no more."""
    if centred.shape[2] <= MOST_AXES:
        return None
    axes: Tensor = torch.linalg.eigh(_spread(centred, weights)).eigenvectors[:, -MOST_AXES:]
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
