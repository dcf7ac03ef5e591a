"""Launches of the gathering kernels: convolutions at active sites, and of channels-last maps.

A channels-last map is rows (N H W, C) in memory, and each output pixel a site whose taps' rows follow from
its place; so the kernels for sites serve such maps, without a kernel map.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from napari_dsparse.ops.cuda import execution
from napari_dsparse.ops.cuda.arguments import GatherArguments, SiteConvArguments, SiteWeightGradArguments
from napari_dsparse.ops.cuda.kernels import ELEMENTS, KERNELS
from napari_dsparse.ops.cuda.weights import (
    ACTIVATION_CODES,
    PackedWeight,
    arithmetic,
    pack_weight,
    split_units,
    sum_parts,
    up,
)

#: Sites of a block, and its depth in words (site_conv.cuh).
SITES, SITE_DEPTH = 64, 32

#: Rows and columns of a block, and its depth in words (site_weight_grad.cuh).
SIDE, DEPTH = 64, 32

#: Words of shared memory a site that PixelRows keeps (gather.cuh).
ORIGIN_WORDS = 4


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
    """dsparse::site_conv2d"""
    out = x.new_empty(rows.shape[0], weight.shape[0])
    table = rows.to(torch.int32)
    _conv(x, weight, bias, _table(table, x), out, groups, activation, slope)
    return out


def site_conv2d_input_grad(
    grad: Tensor, weight: Tensor, rows: Tensor, inverse: Tensor, groups: int
) -> Tensor:
    """dsparse::site_conv2d_input_grad"""
    out = grad.new_empty(inverse.shape[0], weight.shape[1] * groups)
    table = inverse.to(torch.int32)
    _conv(grad, weight, None, _table(table, grad), out, groups, "none", 0.0, exchanged=True)
    return out


def site_conv2d_weight_grad(
    x: Tensor, grad: Tensor, rows: Tensor, inverse: Tensor, kernel: Sequence[int], groups: int
) -> Tensor:
    """dsparse::site_conv2d_weight_grad"""
    table = rows.to(torch.int32)
    return _weight_grad(x, grad, _table(table, x), x.shape[1], grad.shape[1], kernel, groups)


def map_conv(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    dilation: Sequence[int],
    pad: tuple[int, int],
    size: tuple[int, int],
    groups: int,
    activation: str,
    slope: float,
    gradient: bool = False,
) -> Tensor:
    """Convolve the channels-last map `x`, padded by `pad` on all sides, to maps of `size`."""
    outputs = weight.shape[1] * groups if gradient else weight.shape[0]
    out = torch.empty(
        (x.shape[0], outputs, *size), dtype=x.dtype, device=x.device, memory_format=torch.channels_last
    )
    gather = _pixels(x, size, (weight.shape[2], weight.shape[3]), dilation, pad)
    _conv(x, weight, bias, gather, out, groups, activation, slope, exchanged=gradient, turned=gradient)
    return out


def map_weight_grad(
    x: Tensor, grad: Tensor, kernel: Sequence[int], dilation: Sequence[int], groups: int
) -> Tensor:
    """Weight gradient from channels-last maps."""
    gather = _pixels(x, (grad.shape[2], grad.shape[3]), kernel, dilation, (0, 0))
    return _weight_grad(x, grad, gather, x.shape[1], grad.shape[1], kernel, groups)


def _table(rows: Tensor, x: Tensor) -> GatherArguments:
    return GatherArguments(rows=rows.data_ptr(), sites=rows.shape[0], inputs=x.shape[0], taps=rows.shape[1])


def _pixels(
    x: Tensor, size: tuple[int, int], kernel: Sequence[int], dilation: Sequence[int], pad: tuple[int, int]
) -> GatherArguments:
    return GatherArguments(
        sites=x.shape[0] * size[0] * size[1],
        inputs=x.shape[0] * x.shape[2] * x.shape[3],
        taps=kernel[0] * kernel[1],
        height=x.shape[2],
        width=x.shape[3],
        out_height=size[0],
        out_width=size[1],
        taps_x=kernel[1],
        dilation_y=dilation[0],
        dilation_x=dilation[1],
        pad_y=pad[0],
        pad_x=pad[1],
    )


def _conv(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    gather: GatherArguments,
    out: Tensor,
    groups: int,
    activation: str,
    slope: float,
    exchanged: bool = False,
    turned: bool = False,
) -> None:
    math = arithmetic(x)
    packed = pack_weight(weight, groups, math, exchanged=exchanged, turned=turned, flat=True)
    channels = x.shape[1] // groups
    arguments = SiteConvArguments(
        gather=gather,
        x=x.data_ptr(),
        weight=packed.words.data_ptr(),
        bias=None if bias is None else bias.data_ptr(),
        out=out.data_ptr(),
        channels=channels,
        outputs=packed.rows,
        groups=groups,
        elements=packed.elements,
        words=packed.depth,
        # A fetch of four words must neither leave its tap nor start off a multiple of 16 bytes.
        quads=int(channels % (4 * math.per_word) == 0 and x.data_ptr() % 16 == 0),
        column_tiles=packed.row_tiles,
        activation=ACTIVATION_CODES[activation],
        slope=slope,
    )
    run = KERNELS[f"{_source(gather)}_conv_{ELEMENTS[x.dtype][0]}_{math.name}_{packed.tile}"]
    blocks = up(gather.sites, SITES) // SITES * groups * packed.row_tiles
    execution.run(run, blocks, _shared_bytes(packed, gather), arguments, x.device)


def _weight_grad(
    x: Tensor,
    grad: Tensor,
    gather: GatherArguments,
    channels: int,
    outputs: int,
    kernel: Sequence[int],
    groups: int,
) -> Tensor:
    math = arithmetic(x)
    channels, width, outputs = channels // groups, outputs, outputs // groups
    row_tiles, column_tiles = up(gather.taps * channels, SIDE) // SIDE, up(outputs, SIDE) // SIDE
    run_length = DEPTH * math.per_word
    units = -(-gather.sites // run_length)
    tiles, values = groups * row_tiles * column_tiles, gather.taps * channels * width
    splits, units_per_split = split_units(units, tiles, 4 * values)
    parts = x.new_empty((splits, values), dtype=torch.float32)
    arguments = SiteWeightGradArguments(
        gather=gather,
        x=x.data_ptr(),
        grad=grad.data_ptr(),
        parts=parts.data_ptr(),
        channels=channels,
        outputs=outputs,
        groups=groups,
        row_tiles=row_tiles,
        column_tiles=column_tiles,
        units=units,
        units_per_split=units_per_split,
    )
    run = KERNELS[f"{_source(gather)}_weight_grad_{ELEMENTS[x.dtype][0]}_{math.name}"]
    origins = 0 if gather.rows else ORIGIN_WORDS * run_length
    execution.run(run, tiles * splits, 4 * (2 * DEPTH * (SIDE + 8) + origins), arguments, x.device)
    return sum_parts(parts, x, (width, channels, kernel[0], kernel[1]), (1, width, channels * width))


def _source(gather: GatherArguments) -> str:
    return "site" if gather.rows else "pixel"


def _shared_bytes(packed: PackedWeight, gather: GatherArguments) -> int:
    origins = 0 if gather.rows else ORIGIN_WORDS * SITES
    return 4 * (SITES * (SITE_DEPTH + 4) + SITE_DEPTH * (packed.tile + 8) + origins)
