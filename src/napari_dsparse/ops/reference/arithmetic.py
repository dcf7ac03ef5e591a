"""Arithmetic common to maps and sites: wide sums, activations, and winners told apart in byte arithmetic.

On a CPU, `torch.where`, `masked_fill` and products with a bool cost 5 to 15 times as much as an addition of
the same maps; arithmetic on uint8 costs a sixth of it. So winners are kept and compared as bytes, modulo 256.
"""

from __future__ import annotations

import torch
from torch import Tensor


def sum_dtype(dtype: torch.dtype) -> torch.dtype:
    """The type in which sums of `dtype` are kept: float32 for the 16-bit types."""
    return torch.float32 if dtype in (torch.float16, torch.bfloat16) else dtype


def activate_(total: Tensor, activation: str, slope: float) -> Tensor:
    """Apply an activation of `schemas.ACTIVATIONS` in place."""
    if activation == "tanh":
        return total.tanh_()
    if activation == "relu":
        return torch.nn.functional.leaky_relu_(total, slope) if slope else total.relu_()
    return total


def needs_care(x: Tensor) -> bool:
    """True if `x` may hold a NaN; exact on the CPU, where asking costs less than another comparison."""
    return x.device.type != "cpu" or bool(x.sum().isnan())


def takes_lead(later: Tensor, earlier: Tensor, careful: bool) -> Tensor:
    """1 (uint8) where the later of two taps wins: it is larger, or NaN; of equal taps the earlier wins."""
    wins = later > earlier
    if careful:
        wins |= later.isnan()
    return wins.view(torch.uint8)


def choose(wins: Tensor, later: Tensor, earlier: Tensor) -> Tensor:
    """`later` where `wins` is 1, else `earlier`; all uint8."""
    return (later - earlier).mul_(wins).add_(earlier)


def won_by(winners: Tensor, tap: int) -> Tensor:
    """1 (uint8) where `tap` is the winner."""
    return 1 - torch.bitwise_xor(winners, tap).clamp_(max=1)
