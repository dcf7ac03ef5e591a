"""Penalties on each group of features by amount of paint, and their learning."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_dsparse.samples.scores import mean_iou
from pretraining.head import solve_ridge
from pretraining.learn import Recipe, log_priors
from pretraining.wide_fits import Fit

#: Where a schedule begins: penalties of detail and of the windows.
FIRST = (1.0, 0.3, 0.2, 0.2)

#: Powers of ten of evidence and of contrasts at which `Schedule.level` is what is taken.
MIDDLE = 1.0

#: What scores are multiplied by to be logits, at first.
FIRST_SCALE = 4.0

Classifier = Callable[[Fit], Tensor]


class Schedule(nn.Module):
    """Penalties that fall with what is known.

    log10 penalty = level - fall * (log10 evidence - 1) - own * (log10 contrast of the group - 1)
    - beside * (log10 contrast of the first group - 1), in units of the mean variance of a feature of the
    first group, the detail, and the same for all features of a group.

    Parameters
    ----------
    penalties : sequence of float
        Of each group, where learning begins; they do not fall at first.
    contrasts : bool
        True if contrasts count; otherwise `own` and `beside` stay 0.
    """

    def __init__(self, penalties: Sequence[float] = FIRST, contrasts: bool = True) -> None:
        super().__init__()
        nothing = torch.zeros(len(penalties))
        self.level = nn.Parameter(torch.tensor(penalties).log10())
        self.fall = nn.Parameter(nothing.clone())
        self.own = nn.Parameter(nothing.clone(), requires_grad=contrasts)
        self.beside = nn.Parameter(nothing.clone(), requires_grad=contrasts)
        self.log_scale = nn.Parameter(torch.tensor(math.log(FIRST_SCALE)))

    def penalties(self, evidence: float, contrasts: Tensor) -> Tensor:
        """Of each group (G,), after so much evidence of such `contrasts` (G,)."""
        powers = contrasts.log10() - MIDDLE
        fallen = self.fall * (math.log10(evidence) - MIDDLE) + self.own * powers + self.beside * powers[0]
        held: Tensor = 10 ** (self.level - fallen)
        return held

    def forward(self, fit: Fit) -> Tensor:
        """Logits (Q, K) of the pixels asked for."""
        penalties = self.penalties(fit.evidence, fit.contrasts) * fit.variances[0]
        return logits(fit, penalties, self.log_scale.exp())


def logits(fit: Fit, penalties: Tensor, scale: Tensor) -> Tensor:
    """Logits (Q, K) of the pixels asked for, under penalties (G,) in units of squared features."""
    weight = solve_ridge(fit.spread.double(), fit.cross.double(), penalties.double()[fit.group])
    said = F.linear(fit.asked, weight.float()) + 1 / fit.cross.shape[1]
    said = said * scale
    return said + log_priors(said.detach())


def learn_schedule(
    schedule: Schedule, fits: Sequence[Fit], steps: int, batch: int, rate: float
) -> list[float]:
    """Adam on the cross-entropy at the pixels asked for; the loss of every step.

    Every step looks at `batch` fits, and all are looked at before any is again.
    """
    rng, order = np.random.default_rng(0), np.zeros(0, np.int64)
    optimiser = torch.optim.Adam([own for own in schedule.parameters() if own.requires_grad], rate)
    losses = []
    for step in range(steps):
        while len(order) < batch:
            order = np.concatenate([order, rng.permutation(len(fits))])
        chosen, order = order[:batch], order[batch:]
        for group in optimiser.param_groups:
            group["lr"] = rate * min(1.0, 1.6 * (1 - step / steps))
        optimiser.zero_grad()
        loss = 0.0
        for number in chosen:
            own = cross_entropy(schedule(fits[number]), fits[number]) / batch
            torch.autograd.backward(own)
            loss += own.item()
        optimiser.step()
        losses.append(loss)
    return losses


def cross_entropy(said: Tensor, fit: Fit) -> Tensor:
    """In nats, no more than where a fit has gone wrong altogether: those would drown the others."""
    return F.cross_entropy(said, fit.answers).clamp(max=Recipe().most_loss)


@torch.no_grad()
def held_scores(classifier: Classifier, fits: Iterable[Fit]) -> dict[tuple[bool, int], tuple[float, float]]:
    """Mean IoU and mean cross-entropy of scenes of regions or not, at each amount of paint."""
    scores: dict[tuple[bool, int], list[tuple[float, float]]] = {}
    for fit in fits:
        said = classifier(fit)
        found, truth = (
            own.numpy() + 1 for own in (said.argmax(1), fit.answers)
        )  # of `mean_iou`, 0 is unknown
        score = (mean_iou(found, truth, np.zeros_like(truth)), cross_entropy(said, fit).item())
        scores.setdefault((fit.regions, fit.amount), []).append(score)
    means = {key: np.mean(own, 0) for key, own in scores.items()}
    return {key: (float(iou), float(loss)) for key, (iou, loss) in means.items()}
