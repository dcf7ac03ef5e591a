"""Painted wide scenes as the last layer meets them: from features to what a fit and its test need."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pretraining.context import WideFeatures
from pretraining.draws import Stream, generator
from pretraining.painting import choose, paint
from pretraining.scenes import wide_scene

#: Pixels of a scene that a fit is tested at.
QUERIES = 1000

#: Part of a scene's pixels that is painted in the end.
MOST = 0.01

#: Directions of a group in which features vary less than this part of their mean are left out: far below
#: every penalty, they cost time and tell nothing.
LEAST_VARIANCE = 2e-3


#: Contrasts are taken for no less and no more than these.
CONTRASTS = (1e-2, 1e4)


@dataclass(frozen=True, slots=True, eq=False)
class PaintedScene:
    """Features of a scene's painted and asked pixels.

    Parameters
    ----------
    features : Tensor of float32, shape (S, G, C * F)
        Of painted pixels, for each group: in detail, then windows.
    strokes : Tensor of int64, shape (S,)
        Number of the stroke, in the order of painting.
    classes : Tensor of int64, shape (S,)
    places : Tensor of int64, shape (S, 2)
        Rows and columns.
    asked : Tensor of float32, shape (Q, G, C * F)
    answers : Tensor of int64, shape (Q,)
    amounts : tuple of int
        Strokes painted at each amount of paint.
    channels : int
    regions : bool
        Whether classes are regions.
    """

    features: Tensor
    strokes: Tensor
    classes: Tensor
    places: Tensor
    asked: Tensor
    answers: Tensor
    amounts: tuple[int, ...]
    channels: int
    regions: bool


#: Painted pixels in all at each amount of paint; the first is two short strokes per class, the last `MOST`.
AMOUNTS = (0, 250, 500, 1000, 2600)


def painted_scene(features: WideFeatures, seed: int, number: int) -> PaintedScene:
    """Scene `number`, of regions where that is even, as it was painted and looked at."""
    regions = number % 2 == 0
    image, labels = wide_scene(generator(Stream.WIDE_SCENES, seed, number), regions)
    rng = generator(Stream.WIDE_STROKES, seed, number)
    whole = paint(rng, labels, MOST * labels.size)
    places = np.concatenate(whole.strokes)
    strokes = np.repeat(np.arange(len(whole.strokes)), [len(own) for own in whole.strokes])
    unpainted = np.setdiff1d(np.arange(labels.size), places)
    asked = rng.choice(unpainted, QUERIES, replace=False)
    seen = features.of(image, np.concatenate([places, asked]))
    amounts = tuple(len(whole.first(pixels).strokes) for pixels in AMOUNTS[:-1])
    return PaintedScene(
        seen[: len(places)],
        torch.from_numpy(strokes),
        torch.from_numpy(whole.classes[strokes]),
        torch.from_numpy(np.stack(np.divmod(places, len(labels)), 1)),
        seen[len(places) :],
        torch.from_numpy(labels.ravel()[asked]),
        (*amounts, len(whole.strokes)),
        len(image),
        regions,
    )


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """What a last layer is fitted to and tested at, every group turned to its own principal axes.

    A penalty that is the same for all features of a group means the same along its axes; most of them can be
    left out then.

    Parameters
    ----------
    spread : Tensor, shape (R, R)
        Class-balanced covariance of painted features.
    cross : Tensor, shape (R, K)
        Their covariance with the classes.
    group : Tensor of int64, shape (R,)
        Of each axis.
    variances : Tensor, shape (G,)
        Mean variance of a feature, of those of each group.
    asked : Tensor, shape (Q, R)
        From the mean of the painted ones.
    answers : Tensor of int64, shape (Q,)
    contrasts : Tensor, shape (G,)
        Of each group: see `contrasts`.
    evidence : float
        Painted squares per class: see `ChosenPixels`.
    amount : int
        Index of `AMOUNTS`.
    channels : int
    regions : bool
    """

    spread: Tensor
    cross: Tensor
    group: Tensor
    variances: Tensor
    asked: Tensor
    answers: Tensor
    contrasts: Tensor
    evidence: float
    amount: int
    channels: int
    regions: bool


def make_fit(scene: PaintedScene, amount: int, without: Sequence[int] = ()) -> Fit:
    """A fit to a scene at an amount of paint, some strokes left out."""
    painted = scene.strokes < scene.amounts[amount]
    for stroke in without:
        painted &= scene.strokes != stroke
    rows, chosen = choose(*(own[painted].numpy() for own in (scene.places, scene.classes, scene.strokes)))
    classes, strokes = scene.classes[painted][rows], scene.strokes[painted][rows]
    kinds = int(scene.answers.max().maximum(scene.classes.max())) + 1
    one_hot = torch.nn.functional.one_hot(classes, kinds).double()
    share = torch.from_numpy(chosen.weights)[:, None]
    features = scene.features[painted][rows]
    axes, asked, group, variances = [], [], [], []
    for number in range(features.shape[1]):
        seen = features[:, number]
        mean = (share.float() * seen).sum(0)
        weighted = share.sqrt().float() * (seen - mean)
        variances.append(weighted.square().sum(0).mean())
        kept = _axes(weighted, LEAST_VARIANCE * float(variances[-1]))
        axes.append(weighted @ kept)
        asked.append((scene.asked[:, number] - mean) @ kept)
        group += [number] * kept.shape[1]
    joined = torch.cat(axes, 1).double()
    return Fit(
        (joined.T @ joined).float(),
        (joined.T @ (share.sqrt() * one_hot)).float(),
        torch.tensor(group),
        torch.stack(variances),
        torch.cat(asked, 1),
        scene.answers,
        contrasts(features, share[:, 0], classes, strokes),
        chosen.evidence,
        amount,
        scene.channels,
        scene.regions,
    )


def contrasts(features: Tensor, share: Tensor, classes: Tensor, strokes: Tensor) -> Tensor:
    """How much further classes lie apart than strokes of one class would put them by chance.

    Variance of the class means, by the variance that a mean of so many strokes has where strokes of a class
    differ as they do: about 1 where a group of features does not tell the classes apart.

    Parameters
    ----------
    features : Tensor, shape (S, G, F)
        Of painted pixels.
    share : Tensor, shape (S,)
        Of each pixel in the whole; those of every class sum to the same, and all to 1.
    classes, strokes : Tensor of int64, shape (S,)

    Returns
    -------
    Tensor, shape (G,)
        1 where no class has two strokes.
    """
    kinds = int(classes.max()) + 1
    numbers, stroke = map(torch.from_numpy, np.unique(strokes, return_inverse=True))
    owner = torch.zeros(len(numbers), dtype=torch.int64).index_put_((stroke,), classes)
    part = torch.zeros(len(numbers), dtype=share.dtype).index_add_(0, stroke, share) * kinds
    sums = torch.zeros(len(numbers), *features.shape[1:], dtype=share.dtype)
    sums.index_add_(0, stroke, features * share[:, None, None] * kinds)
    middle = torch.zeros(kinds, *features.shape[1:], dtype=share.dtype).index_add_(0, owner, sums)
    apart = (middle - middle.mean(0)).square().sum(2).mean(0)
    off = (sums / part[:, None, None] - middle[owner]).square().sum(2) * part[:, None]
    many = 1 / torch.zeros(kinds, dtype=share.dtype).index_add_(0, owner, part.square())  # as many equal ones
    several = torch.bincount(owner, minlength=kinds) > 1
    if not several.any():
        return torch.ones(features.shape[1])
    chance = torch.zeros(kinds, features.shape[1], dtype=share.dtype).index_add_(0, owner, off)
    chance = (chance / (many - 1).clamp(min=0.5)[:, None])[several].mean(0) * (kinds - 1) / kinds
    return (apart / chance.clamp(min=1e-12)).clamp(*CONTRASTS).float()


def _axes(rows: Tensor, least: float) -> Tensor:
    """Principal axes of rows (S, F) along which they vary by more than `least`: (F, r)."""
    rows = rows.double()
    if len(rows) < rows.shape[1]:
        values, vectors = torch.linalg.eigh(rows @ rows.T)
        kept = values > least
        own: Tensor = rows.T @ (vectors[:, kept] / values[kept].sqrt())
        return own.float()
    values, vectors = torch.linalg.eigh(rows.T @ rows)
    axes: Tensor = vectors[:, values > least].float()
    return axes
