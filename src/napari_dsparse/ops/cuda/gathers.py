"""Launches of the gathering kernels: convolutions at active sites, and of channels-last maps.

A channels-last map is rows (N H W, C) in memory, and each output pixel a site whose taps' rows follow from
its place; so the kernels for sites serve such maps, without a kernel map.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from napari_dsparse.ops.cuda import execution
from napari_dsparse.ops.cuda.argument_groups import DEPTH, SIDE, Epilogue, Taps, split, up
from napari_dsparse.ops.cuda.arguments import GatherArguments, SiteConvArguments, SiteWeightGradArguments
from napari_dsparse.ops.cuda.kernels import ELEMENTS, KERNELS_BY_NAME
from napari_dsparse.ops.cuda.weights import PackedWeight, arithmetic, pack_weight

#: Sites of a block, and its depth in words (site_conv.cuh).
SITES, SITE_DEPTH = 64, 32

#: Words of shared memory per site that PixelRows keeps (gather.cuh).
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
    _conv(x, weight, _table(table, x), out, groups, Epilogue(bias, activation, slope))
    return out


def site_conv2d_input_grad(
    grad: Tensor, weight: Tensor, rows: Tensor, inverse: Tensor, groups: int
) -> Tensor:
    """dsparse::site_conv2d_input_grad"""
    out = grad.new_empty(inverse.shape[0], weight.shape[1] * groups)
    table = inverse.to(torch.int32)
    _conv(grad, weight, _table(table, grad), out, groups, Epilogue(), exchanged=True)
    return out


def site_conv2d_weight_grad(
    x: Tensor, grad: Tensor, rows: Tensor, inverse: Tensor, kernel: Sequence[int], groups: int
) -> Tensor:
    """dsparse::site_conv2d_weight_grad"""
    table = rows.to(torch.int32)
    return _weight_grad(x, grad, _table(table, x), kernel, groups)


def map_conv(
    x: Tensor, weight: Tensor, taps: Taps, groups: int, epilogue: Epilogue, *, gradient: bool
) -> Tensor:
    """Convolve the channels-last map `x`; with the weights of its input gradient, or as they are."""
    outputs = weight.shape[1] * groups if gradient else weight.shape[0]
    out = torch.empty(
        (x.shape[0], outputs, *taps.size), dtype=x.dtype, device=x.device, memory_format=torch.channels_last
    )
    _conv(x, weight, _pixels(x, taps), out, groups, epilogue, exchanged=gradient, turned=gradient)
    return out


def map_weight_grad(x: Tensor, grad: Tensor, taps: Taps, groups: int) -> Tensor:
    """Weight gradient from channels-last maps."""
    return _weight_grad(x, grad, _pixels(x, taps), taps.kernel, groups)


def _table(rows: Tensor, x: Tensor) -> GatherArguments:
    return GatherArguments(rows=rows.data_ptr(), sites=rows.shape[0], inputs=x.shape[0], taps=rows.shape[1])


def _pixels(x: Tensor, taps: Taps) -> GatherArguments:
    return GatherArguments(
        sites=x.shape[0] * taps.size[0] * taps.size[1],
        inputs=x.shape[0] * x.shape[2] * x.shape[3],
        taps=taps.kernel[0] * taps.kernel[1],
        height=x.shape[2],
        width=x.shape[3],
        taps_x=taps.kernel[1],
        **taps.arguments(),
    )


def _conv(
    x: Tensor,
    weight: Tensor,
    gather: GatherArguments,
    out: Tensor,
    groups: int,
    epilogue: Epilogue,
    *,
    exchanged: bool = False,
    turned: bool = False,
) -> None:
    math, channels = arithmetic(x), x.shape[1] // groups
    packed = pack_weight(weight, groups, math, exchanged=exchanged, turned=turned, flat=True)
    arguments = SiteConvArguments(
        gather=gather,
        x=x.data_ptr(),
        weight=packed.words.data_ptr(),
        out=out.data_ptr(),
        channels=channels,
        outputs=packed.rows,
        groups=groups,
        elements=packed.elements,
        words=packed.depth,
        # A fetch of four words must neither leave its tap nor start off a multiple of 16 bytes.
        quads=int(channels % (4 * math.per_word) == 0 and x.data_ptr() % 16 == 0),
        column_tiles=packed.row_tiles,
        **epilogue.arguments(),
    )
    run = KERNELS_BY_NAME[f"{_source(gather)}_conv_{ELEMENTS[x.dtype][0]}_{math.name}_{packed.tile}"]
    blocks = up(gather.sites, SITES) // SITES * groups * packed.row_tiles
    execution.run(run, blocks, _shared_bytes(packed, gather), arguments, x.device)


def _weight_grad(
    x: Tensor, grad: Tensor, gather: GatherArguments, kernel: Sequence[int], groups: int
) -> Tensor:
    math, channels, width = arithmetic(x), x.shape[1] // groups, grad.shape[1]
    outputs, run_length = width // groups, DEPTH * math.per_word
    row_tiles, column_tiles = up(gather.taps * channels, SIDE) // SIDE, up(outputs, SIDE) // SIDE
    tiles = groups * row_tiles * column_tiles
    parts = split(x, -(-gather.sites // run_length), tiles, gather.taps * channels * width)
    arguments = SiteWeightGradArguments(
        gather=gather,
        x=x.data_ptr(),
        grad=grad.data_ptr(),
        channels=channels,
        outputs=outputs,
        groups=groups,
        row_tiles=row_tiles,
        column_tiles=column_tiles,
        **parts.arguments(),
    )
    run = KERNELS_BY_NAME[f"{_source(gather)}_weight_grad_{ELEMENTS[x.dtype][0]}_{math.name}"]
    origins = 0 if gather.rows else ORIGIN_WORDS * run_length
    execution.run(run, tiles * parts.splits, 4 * (2 * DEPTH * (SIDE + 8) + origins), arguments, x.device)
    return parts.total(x, (width, channels, kernel[0], kernel[1]), (1, width, channels * width))


def _source(gather: GatherArguments) -> str:
    return "site" if gather.rows else "pixel"


def _shared_bytes(packed: PackedWeight, gather: GatherArguments) -> int:
    origins = 0 if gather.rows else ORIGIN_WORDS * SITES
    return 4 * (SITES * (SITE_DEPTH + 4) + SITE_DEPTH * (packed.tile + 8) + origins)
