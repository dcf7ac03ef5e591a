"""Contrast of each group of features between painted classes, beyond that of strokes by chance."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

#: Contrasts are taken for no less and no more than these.
CONTRASTS = (1e-2, 1e4)


def contrasts(
    groups: Sequence[Tensor], weights: Tensor, classes: Tensor, strokes: Tensor
) -> tuple[float, ...]:
    """Distance between classes relative to the distance that strokes of one class would have by chance.

    Variance of the class means, over the variance expected from the number of strokes and their differences
    within a class: about 1 where a group of features does not tell the classes apart. A kind of analysis
    of variance, with the strokes of a class as its repetitions.

    Parameters
    ----------
    groups : sequence of Tensor, each of shape (S, F)
        Features of painted pixels; a sum over a group's features counts.
    weights : Tensor of float64, shape (S,)
        Of each pixel; those of every class sum to the same, and all to 1.
    classes : Tensor of int64, shape (S,)
        From 0; every class has pixels.
    strokes : Tensor of int64, shape (S,)
        Any numbers that tell strokes apart.

    Returns
    -------
    tuple of float
        One per group, within CONTRASTS; 1 where no class has two strokes.
    """
    kinds = int(classes.max()) + 1
    _, stroke = torch.unique(strokes, return_inverse=True)
    count = int(stroke.max()) + 1
    owner = torch.zeros(count, dtype=torch.int64).index_put_((stroke,), classes)
    several = torch.bincount(owner, minlength=kinds) > 1
    if not several.any():
        return (1.0,) * len(groups)
    within = weights * kinds
    part = within.new_zeros(count).index_add_(0, stroke, within)
    equal = 1 / within.new_zeros(kinds).index_add_(0, owner, part.square())  # equivalent number of equal ones
    return tuple(
        _contrast(group, within, stroke, part, owner, equal, several).clamp(*CONTRASTS).item()
        for group in groups
    )


def _contrast(
    features: Tensor,
    within: Tensor,
    stroke: Tensor,
    part: Tensor,
    owner: Tensor,
    equal: Tensor,
    several: Tensor,
) -> Tensor:
    """Of one group; pixels and strokes (`part`) weigh 1 in all within their class."""
    kinds = len(equal)
    sums = within.new_zeros(len(part), features.shape[1])
    sums.index_add_(0, stroke, features.double() * within[:, None])
    middle = within.new_zeros(kinds, features.shape[1]).index_add_(0, owner, sums)
    apart = (middle - middle.mean(0)).square().sum(1).mean()
    off = (sums / part[:, None] - middle[owner]).square().sum(1) * part
    chance = within.new_zeros(kinds).index_add_(0, owner, off) / (equal - 1).clamp(min=0.5)
    return apart / (chance[several].mean() * (kinds - 1) / kinds).clamp(min=1e-12)
