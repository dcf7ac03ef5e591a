"""Painted wide scenes as the last layer meets them: from features to what a fit and its test need."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from napari_dsparse.training.contrast import contrasts
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
        True if classes are regions.
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
    """Data that a last layer is fitted to and tested on, every group in its own principal axes.

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
        torch.tensor(contrasts(list(features.unbind(1)), share[:, 0], classes, strokes)),
        chosen.evidence,
        amount,
        scene.channels,
        scene.regions,
    )


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
