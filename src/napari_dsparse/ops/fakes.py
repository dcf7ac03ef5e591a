"""Output sizes, types and layouts of every operator, without computing it.

Used under `torch.compile`, `torch.export` and on the meta device. Named as in `schemas.SCHEMAS`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from napari_dsparse.ops.shapes import Two, grown, layout_of, shrunk


def conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    dilation: Two,
    groups: int,
    activation: str,
    slope: float,
) -> Tensor:
    return _map(x, weight.shape[0], shrunk(x, weight.shape[2:], dilation))


def conv2d_input_grad(grad: Tensor, weight: Tensor, dilation: Two, groups: int) -> Tensor:
    return _map(grad, weight.shape[1] * groups, grown(grad, weight.shape[2:], dilation))


def conv2d_weight_grad(x: Tensor, grad: Tensor, kernel: Two, dilation: Two, groups: int) -> Tensor:
    return x.new_empty((grad.shape[1], x.shape[1] // groups, *kernel))


def max_pool2d(x: Tensor, kernel: Two, dilation: Two, record: bool) -> tuple[Tensor, Tensor]:
    out = _map(x, x.shape[1], shrunk(x, kernel, dilation))
    winners = torch.empty_like(out, dtype=torch.uint8) if record else x.new_empty(0, dtype=torch.uint8)
    return out, winners


def max_pool2d_backward(grad: Tensor, winners: Tensor, kernel: Two, dilation: Two) -> Tensor:
    return _map(grad, grad.shape[1], grown(grad, kernel, dilation))


def avg_pool2d(x: Tensor, kernel: Two, dilation: Two, divisor: int) -> Tensor:
    return _map(x, x.shape[1], shrunk(x, kernel, dilation))


def avg_pool2d_backward(grad: Tensor, kernel: Two, dilation: Two, divisor: int) -> Tensor:
    return _map(grad, grad.shape[1], grown(grad, kernel, dilation))


def site_conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    rows: Tensor,
    inverse: Tensor,
    groups: int,
    activation: str,
    slope: float,
) -> Tensor:
    return x.new_empty((rows.shape[0], weight.shape[0]))


def site_conv2d_input_grad(
    grad: Tensor, weight: Tensor, rows: Tensor, inverse: Tensor, groups: int
) -> Tensor:
    return grad.new_empty((inverse.shape[0], weight.shape[1] * groups))


def site_conv2d_weight_grad(
    x: Tensor, grad: Tensor, rows: Tensor, inverse: Tensor, kernel: Two, groups: int
) -> Tensor:
    return x.new_empty((grad.shape[1], x.shape[1] // groups, *kernel))


def site_max_pool2d(x: Tensor, rows: Tensor, inverse: Tensor, record: bool) -> tuple[Tensor, Tensor]:
    out = x.new_empty((rows.shape[0], x.shape[1]))
    return out, x.new_empty(out.shape if record else (0,), dtype=torch.uint8)


def site_max_pool2d_backward(grad: Tensor, winners: Tensor, rows: Tensor, inverse: Tensor) -> Tensor:
    return grad.new_empty((inverse.shape[0], grad.shape[1]))


def site_avg_pool2d(x: Tensor, rows: Tensor, inverse: Tensor, divisor: int) -> Tensor:
    return x.new_empty((rows.shape[0], x.shape[1]))


def site_avg_pool2d_backward(grad: Tensor, rows: Tensor, inverse: Tensor, divisor: int) -> Tensor:
    return grad.new_empty((inverse.shape[0], grad.shape[1]))


def _map(like: Tensor, channels: int, size: Sequence[int]) -> Tensor:
    """A map with the type, device and layout of `like`."""
    return torch.empty(
        (like.shape[0], channels, *size),
        dtype=like.dtype,
        device=like.device,
        memory_format=layout_of(like),
    )
