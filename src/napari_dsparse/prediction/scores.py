"""Probabilities from class scores, to the same digit whatever computes them on a processor."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def softmax(scores: Tensor) -> Tensor:
    """Probabilities of classes (K, h, w), float32, from their scores.

    On a processor by numpy: PyTorch computes the last few pixels of each thread's share by other
    instructions, and their last digit would depend on the number of threads.
    """
    if scores.device.type != "cpu":
        return scores.softmax(0, dtype=torch.float32)
    values = scores.float().numpy()
    values = values - values.max(0)
    np.exp(values, out=values)
    values /= values.sum(0)
    return torch.from_numpy(values)
