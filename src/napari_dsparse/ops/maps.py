"""Layer operations on whole maps, taps `dilation` apart, at every position (stride 1).

These are the d-regularly sparse layers of Li, Zhao and Wang (arXiv:1412.4526, section 3): run one
after another, with the dilation multiplied by each layer's stride, they give at every pixel exactly
what the strided patch classifier gives on that pixel's patch.
"""

from __future__ import annotations

import torch
from torch import Tensor

from napari_dsparse.errors import ShapeError
from napari_dsparse.ops.library import OPS
from napari_dsparse.ops.schemas import MOST_WINNER_TAPS
from napari_dsparse.ops.shapes import Pair, as_pair, check_activation, check_map


def conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    dilation: Pair = 1,
    groups: int = 1,
    activation: str = "none",
    slope: float = 0.0,
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
    activation : {"none", "relu", "tanh"}
        Applied to the sum in the same pass.
    slope : float
        What "relu" multiplies negative sums by, >= 0: 0 is ReLU, 0.01 the usual LeakyReLU.

    Returns
    -------
    Tensor, shape (N, K, H - (kh - 1) d, W - (kw - 1) d)

    Raises
    ------
    ShapeError
        If the map is smaller than the kernel's extent, or channels do not fit.
    DsparseError
        If the activation is not one of these.
    """
    d = as_pair(dilation, "dilation")
    check_map(x, (weight.shape[2], weight.shape[3]), d)
    check_activation(activation, slope)
    if x.shape[1] != weight.shape[1] * groups:
        raise ShapeError(
            f"The map has {x.shape[1]} channels; this convolution takes {weight.shape[1] * groups}."
        )
    out: Tensor = OPS.conv2d(x, weight, bias, d, groups, activation, slope)
    return out


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
    if k[0] * k[1] > MOST_WINNER_TAPS:
        return _large_max_pool2d(x, k, d)
    # Without a gradient to come, the winners need not be found.
    record = torch.is_grad_enabled() and x.requires_grad
    out: Tensor = OPS.max_pool2d(x, k, d, record)[0]
    return out


def _large_max_pool2d(x: Tensor, k: tuple[int, int], d: tuple[int, int]) -> Tensor:
    """A window too large for one byte a winner, as two smaller ones; ties are settled alike.

    Columns before rows, as in `reference.max_pool2d`; one axis as two overlapping halves.
    """
    if min(k) > 1:
        return max_pool2d(max_pool2d(x, (1, k[1]), d), (k[0], 1), d)
    half = ((k[0] + 1) // 2, (k[1] + 1) // 2)
    shift = (max(1, k[0] - half[0]) * d[0], max(1, k[1] - half[1]) * d[1])
    return max_pool2d(max_pool2d(x, half, d), (min(k[0], 2), min(k[1], 2)), shift)


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
    out: Tensor = OPS.avg_pool2d(x, k, d, divisor or k[0] * k[1])
    return out


__all__ = ["avg_pool2d", "conv2d", "max_pool2d"]
