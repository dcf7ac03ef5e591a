"""AdamW on one flat vector of parameters."""

from __future__ import annotations

import math

import torch
from torch import Tensor


class AdamW:
    """Adam with decoupled weight decay (Loshchilov and Hutter, arXiv:1711.05101).

    The same arithmetic as `torch.optim.AdamW`, which a test asserts. That class imports PyTorch's compiler
    when it is created, which adds two seconds to the first stroke, and updates tensor by tensor; here all
    parameters are one vector, so a step is six operations.

    Parameters
    ----------
    vector : Tensor, shape (P,)
        The parameters; changed in place.
    weight_decay : float
    betas : (float, float)
        Decay of the running means of the gradient and of its square.
    eps : float
    """

    def __init__(
        self,
        vector: Tensor,
        weight_decay: float,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
    ) -> None:
        self._vector = vector
        self._weight_decay = weight_decay
        self._betas = betas
        self._eps = eps
        self._mean = torch.zeros_like(vector, requires_grad=False)
        self._square = torch.zeros_like(vector, requires_grad=False)
        self._steps = 0

    @torch.no_grad()
    def step(self, gradient: Tensor, rate: float) -> None:
        """Move the parameters against `gradient` at learning rate `rate`."""
        self._steps += 1
        first, second = self._betas
        self._mean.lerp_(gradient, 1 - first)
        self._square.mul_(second).addcmul_(gradient, gradient, value=1 - second)
        spread = (self._square.sqrt() / math.sqrt(1 - second**self._steps)).add_(self._eps)
        self._vector.mul_(1 - rate * self._weight_decay)
        self._vector.addcdiv_(self._mean, spread, value=-rate / (1 - first**self._steps))
