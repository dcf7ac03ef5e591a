"""Launches of the convolutions of whole maps; channels-last maps go to the gathering kernels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from napari_dsparse.ops.cuda import execution, gathers
from napari_dsparse.ops.cuda.arguments import ConvArguments, WeightGradArguments
from napari_dsparse.ops.cuda.kernels import ELEMENTS, KERNELS
from napari_dsparse.ops.cuda.weights import (
    ACTIVATION_CODES,
    STEP,
    PackedWeight,
    arithmetic,
    pack_weight,
    split_units,
    sum_parts,
    up,
)
from napari_dsparse.ops.shapes import layout_of

#: Pixels of a block (COLUMNS in conv.cuh).
COLUMNS = 128

#: Shared memory that four blocks of a multiprocessor may each take: a quarter of what sm_86 has, 100 KiB.
SHARED_BYTES = 24 << 10

#: Rows and columns of a block, and its depth in words (weight_grad.cuh).
SIDE, DEPTH = 64, 32


def conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    dilation: Sequence[int],
    groups: int,
    activation: str,
    slope: float,
) -> Tensor:
    """dsparse::conv2d"""
    kernel = weight.shape[2:]
    size = (
        x.shape[2] - (kernel[0] - 1) * dilation[0],
        x.shape[3] - (kernel[1] - 1) * dilation[1],
    )
    if layout_of(x) == torch.channels_last:
        return gathers.map_conv(x, weight, bias, dilation, (0, 0), size, groups, activation, slope)
    return _conv(x, weight, bias, dilation, (0, 0), size, groups, activation, slope)


def conv2d_input_grad(grad: Tensor, weight: Tensor, dilation: Sequence[int], groups: int) -> Tensor:
    """dsparse::conv2d_input_grad"""
    pad = (weight.shape[2] - 1) * dilation[0], (weight.shape[3] - 1) * dilation[1]
    size = grad.shape[2] + pad[0], grad.shape[3] + pad[1]
    if layout_of(grad) == torch.channels_last:
        return gathers.map_conv(grad, weight, None, dilation, pad, size, groups, "none", 0.0, gradient=True)
    return _conv(grad, weight, None, dilation, pad, size, groups, "none", 0.0, gradient=True)


def conv2d_weight_grad(
    x: Tensor, grad: Tensor, kernel: Sequence[int], dilation: Sequence[int], groups: int
) -> Tensor:
    """dsparse::conv2d_weight_grad"""
    if layout_of(x) == torch.channels_last:
        return gathers.map_weight_grad(x, grad, kernel, dilation, groups)
    images, channels, outputs = x.shape[0], x.shape[1] // groups, grad.shape[1] // groups
    math, taps = arithmetic(x), kernel[0] * kernel[1]
    row_tiles, column_tiles = up(outputs, SIDE) // SIDE, up(channels * taps, SIDE) // SIDE
    units_per_row = -(-grad.shape[3] // (DEPTH * math.per_word))
    units = images * grad.shape[2] * units_per_row
    tiles = groups * row_tiles * column_tiles
    values = grad.shape[1] * channels * taps
    splits, units_per_split = split_units(units, tiles, 4 * values)
    parts = x.new_empty((splits, values), dtype=torch.float32)
    arguments = WeightGradArguments(
        x=x.data_ptr(),
        grad=grad.data_ptr(),
        parts=parts.data_ptr(),
        channels=channels,
        height=x.shape[2],
        width=x.shape[3],
        outputs=outputs,
        out_height=grad.shape[2],
        out_width=grad.shape[3],
        groups=groups,
        taps=taps,
        taps_x=kernel[1],
        dilation_y=dilation[0],
        dilation_x=dilation[1],
        row_tiles=row_tiles,
        column_tiles=column_tiles,
        units_per_row=units_per_row,
        units=units,
        units_per_split=units_per_split,
    )
    run = KERNELS[f"weight_grad_{ELEMENTS[x.dtype][0]}_{math.name}"]
    shared = 4 * 2 * SIDE * (DEPTH + 4) + 8 * SIDE
    execution.run(run, tiles * splits, shared, arguments, x.device)
    return sum_parts(parts, x, (grad.shape[1], channels, kernel[0], kernel[1]), (channels * taps, taps, 1))


def _conv(
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
    """Convolve the plain map `x`, padded by `pad` on all sides, to maps of `size`."""
    math, kernel = arithmetic(x), (weight.shape[2], weight.shape[3])
    channels = x.shape[1] // groups
    flat = flattening_pays(channels, kernel[0] * kernel[1], math.per_word)
    packed = pack_weight(weight, groups, math, exchanged=gradient, turned=gradient, flat=flat)
    walked = (1, 1) if flat else kernel
    span, strip = span_and_strip(walked[1], dilation[1], packed)
    out = x.new_empty((x.shape[0], groups * packed.rows, *size))
    arguments = ConvArguments(
        x=x.data_ptr(),
        weight=packed.words.data_ptr(),
        bias=None if bias is None else bias.data_ptr(),
        out=out.data_ptr(),
        channels=channels,
        height=x.shape[2],
        width=x.shape[3],
        outputs=packed.rows,
        out_height=size[0],
        out_width=size[1],
        groups=groups,
        taps_y=walked[0],
        taps_x=walked[1],
        flat_x=kernel[1],
        dilation_y=dilation[0],
        dilation_x=dilation[1],
        pad_y=pad[0],
        pad_x=pad[1],
        elements=packed.elements,
        words=packed.depth,
        span=span,
        strip=strip,
        row_tiles=packed.row_tiles,
        column_tiles=up(size[1], COLUMNS) // COLUMNS,
        activation=ACTIVATION_CODES[activation],
        slope=slope,
    )
    run = KERNELS[f"conv_{ELEMENTS[x.dtype][0]}_{math.name}_{packed.tile}"]
    blocks = x.shape[0] * groups * size[0] * arguments.column_tiles * packed.row_tiles
    execution.run(run, blocks, _shared_bytes(span, strip, packed), arguments, x.device)
    return out


def flattening_pays(channels: int, taps: int, per_word: int) -> bool:
    """Whether taps in one line with few channels save a quarter of the words or more."""
    walked = taps * up(-(-channels // per_word), STEP)
    return 4 * up(-(-channels * taps // per_word), STEP) <= 3 * walked


def _strip(span: int, dilation: int) -> int:
    """Words of a strip for `span` taps, padded to 8 modulo 32: no bank conflicts between its lines."""
    return up(COLUMNS + (span - 1) * dilation - 8, 32) + 8


def _shared_bytes(span: int, strip: int, packed: PackedWeight) -> int:
    staged = 16 * (packed.tile // 32) * (COLUMNS + 8)  # results on their way out
    return 4 * max(STEP * strip + span * STEP * (packed.tile + 8), staged)


def span_and_strip(taps: int, dilation: int, packed: PackedWeight) -> tuple[int, int]:
    """Taps that share a strip, and its words: as many as fit, in turns of equal length."""
    span = 1
    while span < taps and _shared_bytes(span + 1, _strip(span + 1, dilation), packed) <= SHARED_BYTES:
        span += 1
    span = -(-taps // -(-taps // span))
    return span, _strip(span, dilation)
