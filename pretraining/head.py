"""The last layer in closed form, as `napari_dsparse.training.head` fits it, but open to gradients."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def fit_ridge(features: Tensor, targets: Tensor, weights: Tensor, ridge: Tensor) -> tuple[Tensor, Tensor]:
    """The class-balanced ridge classifier of `fit_head`, differentiable in features and ridge.

    Parameters
    ----------
    features : Tensor, shape (S, F)
    targets : Tensor of int64, shape (S,)
        Class, 0..K-1, each at least once.
    weights : Tensor, shape (S,)
        See `napari_dsparse.training.head.Coverage`.
    ridge : Tensor, shape ()
        Penalty in units of the mean variance of a feature; positive.

    Returns
    -------
    weight : Tensor, shape (K, F)
    bias : Tensor, shape (K,)
    """
    classes = F.one_hot(targets).to(features.dtype)
    share = (weights / (classes.shape[1] * (weights @ classes))[targets])[:, None]
    mean = (share * features).sum(0)
    # Centred before products are formed: float32 is enough then, where `fit_head` needs float64.
    centred = features - mean
    spread = centred.t() @ (share * centred)
    # With its gradient, and nothing added: else features shrink without end, for more ridge at no cost.
    variance = spread.diagonal().mean().clamp(min=torch.finfo(spread.dtype).tiny)
    penalty = torch.eye(len(spread), dtype=spread.dtype) * (ridge * variance)
    weight = torch.linalg.solve(spread + penalty, centred.t() @ (share * classes)).t()
    return weight, 1 / classes.shape[1] - weight @ mean


@dataclass(frozen=True, slots=True, eq=False)
class Paint:
    """`Coverage` of all classes of an episode.

    Parameters
    ----------
    cells : Tensor, shape (K,)
    weights : Tensor, shape (S,)
    """

    cells: Tensor
    weights: Tensor


class RidgeHead(nn.Module):
    """Fits a last layer to strokes and applies it to other pixels; what governs the fit is learned too.

    Parameters
    ----------
    ridge, scale, caution : float
        Where they begin: see `napari_dsparse.network.warm.WarmStart`. Positive.
    """

    def __init__(self, ridge: float = 1.0, scale: float = math.exp(2), caution: float = 1.0) -> None:
        super().__init__()
        self.log_ridge = nn.Parameter(torch.tensor(math.log(ridge)))
        self.log_scale = nn.Parameter(torch.tensor(math.log(scale)))
        self.log_caution = nn.Parameter(torch.tensor(math.log(caution)))

    @property
    def ridge(self) -> Tensor:
        """As `fit_ridge` takes it, shape ()."""
        return self.log_ridge.exp()

    @property
    def scale(self) -> Tensor:
        """What scores are multiplied by to be logits, shape ()."""
        return self.log_scale.exp()

    @property
    def caution(self) -> Tensor:
        """How much more it is held back where little was painted, shape (); see `fit_head`."""
        return self.log_caution.exp()

    def forward(self, features: Tensor, targets: Tensor, paint: Paint, queries: Tensor) -> Tensor:
        """Logits of `queries` (Q, F) after a look at `features` (S, F) of classes `targets` (S,): (Q, K).

        `paint` tells how widely each class was painted.
        """
        ridge = self.ridge * (1 + self.caution * (1 / paint.cells).mean())
        weight, bias = fit_ridge(features, targets, paint.weights, ridge)
        return F.linear(queries, weight, bias) * self.scale
