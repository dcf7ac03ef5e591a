"""Whether a classifier knows what it knows: calibration of its probabilities, uncertainty against error."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

#: Bins of confidence, equally wide.
BINS = 15


def calibration_error(confidence: NDArray[np.float32], right: NDArray[np.bool_]) -> float:
    """Expected calibration error (Guo et al., ICML 2017): mean gap between confidence and accuracy, 0..1.

    Parameters
    ----------
    confidence : ndarray, shape (S,)
        Probability of the class that was chosen.
    right : ndarray of bool, shape (S,)
        Whether it is the true one.
    """
    place = np.minimum((confidence * BINS).astype(int), BINS - 1)
    gaps = np.bincount(place, confidence.astype(float) - right, BINS)
    return float(np.abs(gaps).sum() / len(right))


def error_auroc(uncertainty: NDArray[np.float32], wrong: NDArray[np.bool_]) -> float:
    """How often a wrong pixel is more uncertain than a right one, ties counting half; nan without either."""
    errors = int(wrong.sum())
    if not 0 < errors < len(wrong):
        return float("nan")
    ranks = rankdata(uncertainty)
    return float((ranks[wrong].sum() - errors * (errors + 1) / 2) / (errors * (len(wrong) - errors)))
