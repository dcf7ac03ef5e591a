"""Fits of the last layer to some strokes, by the trust that they justify in each group of features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from napari_dsparse.classifier.warm_start import Opinion, WarmStart
from napari_dsparse.training.choice import ChosenPixels
from napari_dsparse.training.contrast import contrasts
from napari_dsparse.training.head import Head, Rows
from napari_dsparse.training.places import places_of, split_places
from napari_dsparse.training.strokes import Stroke

#: Penalty on features of neighbouring planes, in that of a pixel's own: the warm start learned none for them.
NEIGHBOURS_PENALTY = 3.0


def form_opinions(
    warm: WarmStart, strokes: Sequence[Stroke], chosen: ChosenPixels, rows: Rows, head: Head, seed: int
) -> tuple[Opinion, ...]:
    """A warm start's opinions, given the amount of paint and the contrast between classes.

    Parameters
    ----------
    warm : WarmStart
    strokes : sequence of Stroke
    chosen : ChosenPixels
        Of these strokes.
    rows : Rows
        Of the chosen pixels.
    head : Head
        Made of these rows.
    seed : int
        Seeds the choice of left-out strokes.
    """
    weights, owner = torch.from_numpy(chosen.weights), torch.from_numpy(chosen.strokes)
    apart = contrasts(rows.first_view(), weights, rows.targets, owner)
    learned = len(warm.ridge)
    more = len(apart) - learned  # groups that come with neighbouring planes
    opinions = _with_neighbours(warm.opinions(chosen.evidence, apart[:learned]), more)
    if len(opinions) == 1:
        return opinions
    error = left_out_error(strokes, chosen, head, [replace(opinions[-1], share=1.0)], seed)
    return _with_neighbours(warm.opinions(chosen.evidence, apart[:learned], error), more)


def _with_neighbours(opinions: Sequence[Opinion], more: int) -> tuple[Opinion, ...]:
    """The opinions with penalties on `more` groups of features of neighbouring planes.

    They are details as those of the pixel itself are, so they are held as these are, in every opinion.
    """
    return tuple(
        replace(each, penalties=each.penalties + (NEIGHBOURS_PENALTY * each.penalties[0],) * more)
        for each in opinions
    )


def left_out_error(
    strokes: Sequence[Stroke], chosen: ChosenPixels, head: Head, opinions: Sequence[Opinion], seed: int
) -> float:
    """Mean squared error of scores on places left out, by that of equal scores for all classes.

    About 0 where strokes tell how other strokes look, 1 where they do not, more where they mislead; 1 where
    no class was painted in two places.

    Parameters
    ----------
    strokes : sequence of Stroke
    chosen : ChosenPixels
        Of these strokes.
    head : Head
        Made of rows of the chosen pixels.
    opinions : sequence of Opinion
    seed : int
        Seeds the split of places.
    """
    parts, _ = split_places(chosen, places_of(strokes, chosen), 2, seed)
    classes = np.eye(len(chosen.squares))[np.searchsorted(np.unique(chosen.labels), chosen.labels)]
    off = unknown = 0.0
    for held in parts:
        scores = head.left_out(torch.from_numpy(held), opinions).clamp(0, 1).numpy()
        off += float(chosen.weights[held] @ np.square(classes[held] - scores).sum(1))
        unknown += float(chosen.weights[held].sum()) * (1 - 1 / classes.shape[1])
    return off / unknown if unknown else 1.0
