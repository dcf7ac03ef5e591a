"""Launches of the pools: whole maps and active sites."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from napari_dsparse.ops.cuda import execution, window_sums
from napari_dsparse.ops.cuda.arguments import PoolArguments, SitePoolArguments
from napari_dsparse.ops.cuda.kernels import ELEMENTS, KERNELS_BY_NAME
from napari_dsparse.ops.shapes import grown, layout_of, shrunk


def max_pool2d(
    x: Tensor, kernel: Sequence[int], dilation: Sequence[int], record: bool
) -> tuple[Tensor, Tensor]:
    """dsparse::max_pool2d"""
    out = _empty_map(x, shrunk(x, kernel, dilation))
    winners = torch.empty_like(out, dtype=torch.uint8) if record else x.new_empty(0, dtype=torch.uint8)
    _pool("max_pool", x, out, winners if record else None, kernel, dilation, 1)
    return out, winners


def max_pool2d_backward(
    grad: Tensor, winners: Tensor, kernel: Sequence[int], dilation: Sequence[int]
) -> Tensor:
    """dsparse::max_pool2d_backward"""
    out = _empty_map(grad, grown(grad, kernel, dilation))
    _pool("max_pool_backward", grad, out, winners, kernel, dilation, 1)
    return out


def avg_pool2d(x: Tensor, kernel: Sequence[int], dilation: Sequence[int], divisor: int) -> Tensor:
    """dsparse::avg_pool2d"""
    return _avg_pool("avg_pool", x, shrunk(x, kernel, dilation), kernel, dilation, divisor)


def avg_pool2d_backward(grad: Tensor, kernel: Sequence[int], dilation: Sequence[int], divisor: int) -> Tensor:
    """dsparse::avg_pool2d_backward"""
    return _avg_pool("avg_pool_backward", grad, grown(grad, kernel, dilation), kernel, dilation, divisor)


def site_max_pool2d(x: Tensor, rows: Tensor, inverse: Tensor, record: bool) -> tuple[Tensor, Tensor]:
    """dsparse::site_max_pool2d"""
    out = x.new_empty(rows.shape[0], x.shape[1])
    winners = torch.empty_like(out, dtype=torch.uint8) if record else x.new_empty(0, dtype=torch.uint8)
    _site_pool("site_max_pool", x, rows, out, winners if record else None, 1)
    return out, winners


def site_max_pool2d_backward(grad: Tensor, winners: Tensor, rows: Tensor, inverse: Tensor) -> Tensor:
    """dsparse::site_max_pool2d_backward"""
    out = grad.new_empty(inverse.shape[0], grad.shape[1])
    _site_pool("site_max_pool_backward", grad, inverse, out, winners, 1)
    return out


def site_avg_pool2d(x: Tensor, rows: Tensor, inverse: Tensor, divisor: int) -> Tensor:
    """dsparse::site_avg_pool2d"""
    out = x.new_empty(rows.shape[0], x.shape[1])
    _site_pool("site_avg_pool", x, rows, out, None, divisor)
    return out


def site_avg_pool2d_backward(grad: Tensor, rows: Tensor, inverse: Tensor, divisor: int) -> Tensor:
    """dsparse::site_avg_pool2d_backward"""
    out = grad.new_empty(inverse.shape[0], grad.shape[1])
    _site_pool("site_avg_pool", grad, inverse, out, None, divisor)
    return out


def _empty_map(like: Tensor, size: Sequence[int]) -> Tensor:
    """A map of `size` with channels, type, device and layout of `like`."""
    return torch.empty(
        (*like.shape[:2], *size), dtype=like.dtype, device=like.device, memory_format=layout_of(like)
    )


def _avg_pool(
    name: str,
    x: Tensor,
    size: Sequence[int],
    kernel: Sequence[int],
    dilation: Sequence[int],
    divisor: int,
) -> Tensor:
    out = _empty_map(x, size)
    if window_sums.doubling_pays(kernel):
        window_sums.pool(x, out, kernel, dilation, divisor)
    else:
        _pool(name, x, out, None, kernel, dilation, divisor)
    return out


def _pool(
    name: str,
    x: Tensor,
    out: Tensor,
    winners: Tensor | None,
    kernel: Sequence[int],
    dilation: Sequence[int],
    divisor: int,
) -> None:
    larger, smaller = (x, out) if x.shape[2] * x.shape[3] >= out.shape[2] * out.shape[3] else (out, x)
    # In channels-last order a row is one line of width x channels values, and a plane a whole image.
    n, c = x.shape[:2]
    planes, inner = (n, c) if layout_of(x) == torch.channels_last else (n * c, 1)
    run = KERNELS_BY_NAME[f"{name}_{ELEMENTS[x.dtype][0]}"]
    blocks_per_plane = -(-out.shape[2] * out.shape[3] * inner // run.threads)
    arguments = PoolArguments(
        x=x.data_ptr(),
        out=out.data_ptr(),
        winners=None if winners is None else winners.data_ptr(),
        planes=planes,
        height=larger.shape[2],
        width=larger.shape[3] * inner,
        out_height=smaller.shape[2],
        out_width=smaller.shape[3] * inner,
        taps_y=kernel[0],
        taps_x=kernel[1],
        dilation_y=dilation[0],
        dilation_x=dilation[1] * inner,
        divisor=divisor,
        blocks_per_plane=blocks_per_plane,
    )
    execution.run(run, planes * blocks_per_plane, 0, arguments, x.device)


def _site_pool(name: str, x: Tensor, rows: Tensor, out: Tensor, winners: Tensor | None, divisor: int) -> None:
    run = KERNELS_BY_NAME[f"{name}_{ELEMENTS[x.dtype][0]}"]
    rows = rows.to(torch.int32)
    arguments = SitePoolArguments(
        x=x.data_ptr(),
        rows=rows.data_ptr(),
        out=out.data_ptr(),
        winners=None if winners is None else winners.data_ptr(),
        sites=out.shape[0],
        inputs=x.shape[0],
        taps=rows.shape[1],
        channels=x.shape[1],
        divisor=divisor,
    )
    execution.run(run, -(-out.numel() // run.threads), 0, arguments, x.device)
