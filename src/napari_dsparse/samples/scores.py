"""Scores of a segmentation against the truth, over the pixels that nobody painted."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from napari_dsparse.errors import ShapeError

Labels = npt.NDArray[Any]


def class_iou(labels: Labels, truth: Labels, strokes: Labels) -> dict[int, float]:
    """Intersection over union of every class of the truth, 0..1.

    Parameters
    ----------
    labels, truth, strokes : integer ndarray, all of one shape
        The segmentation; the annotation, 0 = unknown; the painted pixels, which are left out since the
        segmentation has seen them.

    Returns
    -------
    dict of int to float
        By class number.

    Raises
    ------
    ShapeError
        If the shapes differ.
    """
    if not labels.shape == truth.shape == strokes.shape:
        raise ShapeError(
            f"Segmentation, truth and strokes have shapes {labels.shape}, {truth.shape} and {strokes.shape}; "
            "give arrays of one shape."
        )
    counted = (truth > 0) & (strokes == 0)
    scores = {}
    for number in np.unique(truth[counted]).tolist():
        ours, theirs = (labels == number) & counted, (truth == number) & counted
        scores[int(number)] = float((ours & theirs).sum() / (ours | theirs).sum())
    return scores


def mean_iou(labels: Labels, truth: Labels, strokes: Labels) -> float:
    """Mean of `class_iou` over the classes of the truth."""
    return float(np.mean(list(class_iou(labels, truth, strokes).values())))
