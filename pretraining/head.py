"""The last layer in closed form, as `napari_dsparse.training.head` fits it, but open to gradients."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def fit_ridge(
    features: Tensor, targets: Tensor, weights: Tensor, ridge: Tensor, groups: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The class-balanced ridge classifier of `Head`, differentiable in features and ridge.

    Parameters
    ----------
    features : Tensor, shape (S, F)
    targets : Tensor of int64, shape (S,)
        Class, 0..K-1, each at least once.
    weights : Tensor, shape (S,)
        Of each pixel; those of a class are scaled to sum to the same.
    ridge : Tensor, shape () or (G,)
        Penalty of each group in units of the mean variance of a feature of the first; positive.
    groups : Tensor of int64, shape (F,), optional
        Group of each feature, 0..G-1, the first at least once; all are in it by default.

    Returns
    -------
    weight : Tensor, shape (K, F)
    bias : Tensor, shape (K,)
    """
    classes = F.one_hot(targets).to(features.dtype)
    share = (weights / (classes.shape[1] * (weights @ classes))[targets])[:, None]
    mean = (share * features).sum(0)
    # Centred before products are formed: float32 is enough then.
    centred = features - mean
    spread = centred.t() @ (share * centred)
    if groups is None:
        groups = torch.zeros(len(spread), dtype=torch.int64)
    # With its gradient, and nothing added: else features shrink without limit, for more ridge at no cost.
    variance = spread.diagonal()[groups == 0].mean().clamp(min=torch.finfo(spread.dtype).tiny)
    penalty = ridge.reshape(-1)[groups] * variance
    weight = solve_ridge(spread, centred.t() @ (share * classes), penalty)
    return weight, 1 / classes.shape[1] - weight @ mean


def solve_ridge(spread: Tensor, cross: Tensor, penalty: Tensor) -> Tensor:
    """Weights (K, F) from covariances of features (F, F) and with classes (F, K), and penalties (F,)."""
    weight: Tensor = torch.linalg.solve(spread + penalty.diag(), cross).t()
    return weight


@dataclass(frozen=True, slots=True, eq=False)
class Paint:
    """Extent of the painted classes of an episode, as the package counts it.

    Parameters
    ----------
    cells : Tensor, shape (K,)
        Painted squares of each class.
    weights : Tensor, shape (S,)
        Of the pixels learned from: see `napari_dsparse.training.choice`.
    """

    cells: Tensor
    weights: Tensor


class RidgeHead(nn.Module):
    """Fits a last layer to strokes and applies it to other pixels; what governs the fit is learned too.

    Parameters
    ----------
    ridge, scale, small_sample_penalty : float
        Initial values: see `napari_dsparse.classifier.warm_start.WarmStart`. Positive.
    """

    def __init__(
        self, ridge: float = 1.0, scale: float = math.exp(2), small_sample_penalty: float = 1.0
    ) -> None:
        super().__init__()
        self.log_ridge = nn.Parameter(torch.tensor(math.log(ridge)))
        self.log_scale = nn.Parameter(torch.tensor(math.log(scale)))
        self.log_small_sample_penalty = nn.Parameter(torch.tensor(math.log(small_sample_penalty)))

    @property
    def ridge(self) -> Tensor:
        """As `fit_ridge` takes it, shape ()."""
        return self.log_ridge.exp()

    @property
    def scale(self) -> Tensor:
        """Factor from scores to logits, shape ()."""
        return self.log_scale.exp()

    @property
    def small_sample_penalty(self) -> Tensor:
        """Growth of the ridge where little was painted, shape (); see `classifier.warm_start`."""
        return self.log_small_sample_penalty.exp()

    def forward(self, features: Tensor, targets: Tensor, paint: Paint, queries: Tensor) -> Tensor:
        """Logits of `queries` (Q, F) after a look at `features` (S, F) of classes `targets` (S,): (Q, K).

        `paint` tells how widely each class was painted.
        """
        ridge = self.ridge * (1 + self.small_sample_penalty * (1 / paint.cells).mean())
        weight, bias = fit_ridge(features, targets, paint.weights, ridge)
        return F.linear(queries, weight, bias) * self.scale
