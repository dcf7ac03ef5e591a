"""Layer operations on whole maps, taps `dilation` apart, at every position (stride 1).

These are the d-regularly sparse layers of Li, Zhao and Wang (arXiv:1412.4526, section 3): run one
after another, with the dilation multiplied by each layer's stride, they give at every pixel exactly
what the strided patch classifier gives on that pixel's patch.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from napari_dsparse.errors import ShapeError
from napari_dsparse.ops.shapes import Pair, as_pair, check_map


def conv2d(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, dilation: Pair = 1, groups: int = 1
) -> Tensor:
    """Cross-correlation with taps `dilation` apart, at every position.

    Parameters
    ----------
    x : Tensor, shape (N, C, H, W)
    weight : Tensor, shape (K, C / groups, kh, kw)
    bias : Tensor, shape (K,), optional
    dilation : int or (int, int)
        Distance between taps in pixels, d: the product of all earlier strides.
    groups : int
        Channel groups, as in `torch.nn.Conv2d`.

    Returns
    -------
    Tensor, shape (N, K, H - (kh - 1) d, W - (kw - 1) d)

    Raises
    ------
    ShapeError
        If the map is smaller than the kernel's extent, or channels do not fit.
    """
    d = as_pair(dilation, "dilation")
    check_map(x, (weight.shape[2], weight.shape[3]), d)
    if x.shape[1] != weight.shape[1] * groups:
        raise ShapeError(
            f"The map has {x.shape[1]} channels; this convolution takes {weight.shape[1] * groups}."
        )
    return F.conv2d(x, weight, bias, dilation=d, groups=groups)


def max_pool2d(x: Tensor, kernel_size: Pair, dilation: Pair = 1) -> Tensor:
    """Max over taps `dilation` apart, at every position (stride 1).

    The gradient goes to the first largest tap in row-major order, as in `torch.nn.MaxPool2d`, so that
    ties are settled as in the patch classifier.

    Parameters
    ----------
    x : Tensor, shape (N, C, H, W)
    kernel_size : int or (int, int)
        Taps an axis, k.
    dilation : int or (int, int)
        Distance between taps in pixels, d: the product of all earlier strides.

    Returns
    -------
    Tensor, shape (N, C, H - (k - 1) d, W - (k - 1) d)

    Raises
    ------
    ShapeError
        If the map is smaller than the kernel's extent, (k - 1) d + 1.
    """
    k, d = as_pair(kernel_size, "kernel_size"), as_pair(dilation, "dilation")
    check_map(x, k, d)
    if k == (1, 1):
        return x.clone()
    result: Tensor = _MaxPool.apply(x, k, d)  # type: ignore[no-untyped-call]
    return result


def avg_pool2d(x: Tensor, kernel_size: Pair, dilation: Pair = 1, divisor: int | None = None) -> Tensor:
    """Mean over taps `dilation` apart, at every position (stride 1).

    Parameters
    ----------
    x : Tensor, shape (N, C, H, W)
    kernel_size : int or (int, int)
        Taps an axis, k.
    dilation : int or (int, int)
        Distance between taps in pixels, d.
    divisor : int, optional
        What the sum is divided by, instead of the number of taps.

    Returns
    -------
    Tensor, shape (N, C, H - (k - 1) d, W - (k - 1) d)

    Raises
    ------
    ShapeError
        If the map is smaller than the kernel's extent, (k - 1) d + 1.
    """
    k, d = as_pair(kernel_size, "kernel_size"), as_pair(dilation, "dilation")
    check_map(x, k, d)
    total = _shifted_sum(_shifted_sum(x, k[0], d[0], 2), k[1], d[1], 3)
    return total / (divisor or k[0] * k[1])


def _shifted_sum(x: Tensor, taps: int, dilation: int, axis: int) -> Tensor:
    length = x.shape[axis] - (taps - 1) * dilation
    total = x.narrow(axis, 0, length)
    for tap in range(1, taps):
        total = total + x.narrow(axis, tap * dilation, length)
    return total


def _shifted_max(x: Tensor, taps: int, dilation: int, axis: int) -> Tensor:
    """Maxima of `taps` neighbours along one axis in about log2(taps) passes.

    A running window of w taps joined with itself, shifted by at most w taps, is a window of up to 2 w.
    """
    window = 1
    while window < taps:
        step = min(window, taps - window)
        length = x.shape[axis] - step * dilation
        x = torch.maximum(x.narrow(axis, 0, length), x.narrow(axis, step * dilation, length))
        window += step
    return x


class _MaxPool(torch.autograd.Function):
    """Maxima of shifted maps; the winners are found again in the backward pass."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, kernel: tuple[int, int], dilation: tuple[int, int]) -> Tensor:
        out = _shifted_max(_shifted_max(x, kernel[0], dilation[0], 2), kernel[1], dilation[1], 3)
        ctx.save_for_backward(x, out)
        ctx.window = kernel, dilation
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, None, None]:
        x, out = ctx.saved_tensors
        kernel, dilation = ctx.window
        rows, columns = out.shape[2:]
        grad_x = torch.zeros_like(x)
        rest = grad.clone()  # what no earlier tap has won
        for ty in range(kernel[0]):
            for tx in range(kernel[1]):
                y, column = ty * dilation[0], tx * dilation[1]
                at = (..., slice(y, y + rows), slice(column, column + columns))
                won = x[at] == out
                grad_x[at] += rest * won
                rest.masked_fill_(won, 0)
        return grad_x, None, None


__all__ = ["avg_pool2d", "conv2d", "max_pool2d"]
