"""Launches of the convolutions of whole maps; channels-last maps go to the gathering kernels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from napari_dsparse.ops.cuda import execution, gathers
from napari_dsparse.ops.cuda.argument_groups import DEPTH, SIDE, Epilogue, Taps, split, up
from napari_dsparse.ops.cuda.arguments import ConvArguments, WeightGradArguments
from napari_dsparse.ops.cuda.kernels import ELEMENTS, KERNELS_BY_NAME
from napari_dsparse.ops.cuda.weights import STEP, PackedWeight, arithmetic, pack_weight
from napari_dsparse.ops.shapes import layout_of

#: Pixels of a block (COLUMNS in conv.cuh).
COLUMNS = 128

#: Shared memory that four blocks of a multiprocessor may each take: a quarter of what sm_86 has, 100 KiB.
SHARED_BYTES = 24 << 10


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
    taps = Taps.within(x, weight.shape[2:], dilation)
    return _conv(x, weight, taps, groups, Epilogue(bias, activation, slope))


def conv2d_input_grad(grad: Tensor, weight: Tensor, dilation: Sequence[int], groups: int) -> Tensor:
    """dsparse::conv2d_input_grad"""
    taps = Taps.across(grad, weight.shape[2:], dilation)
    return _conv(grad, weight, taps, groups, Epilogue(), gradient=True)


def conv2d_weight_grad(
    x: Tensor, grad: Tensor, kernel: Sequence[int], dilation: Sequence[int], groups: int
) -> Tensor:
    """dsparse::conv2d_weight_grad"""
    places = Taps.within(x, kernel, dilation)
    if layout_of(x) == torch.channels_last:
        return gathers.map_weight_grad(x, grad, places, groups)
    images, channels, outputs = x.shape[0], x.shape[1] // groups, grad.shape[1] // groups
    math, taps = arithmetic(x), kernel[0] * kernel[1]
    row_tiles, column_tiles = up(outputs, SIDE) // SIDE, up(channels * taps, SIDE) // SIDE
    tiles, values = groups * row_tiles * column_tiles, grad.shape[1] * channels * taps
    units_per_row = -(-places.size[1] // (DEPTH * math.per_word))
    parts = split(x, images * places.size[0] * units_per_row, tiles, values)
    where = places.arguments()
    arguments = WeightGradArguments(
        x=x.data_ptr(),
        grad=grad.data_ptr(),
        channels=channels,
        height=x.shape[2],
        width=x.shape[3],
        outputs=outputs,
        groups=groups,
        taps=taps,
        taps_x=kernel[1],
        row_tiles=row_tiles,
        column_tiles=column_tiles,
        units_per_row=units_per_row,
        **{name: where[name] for name in ("out_height", "out_width", "dilation_y", "dilation_x")},
        **parts.arguments(),
    )
    run = KERNELS_BY_NAME[f"weight_grad_{ELEMENTS[x.dtype][0]}_{math.name}"]
    shared = 4 * 2 * SIDE * (DEPTH + 4) + 8 * SIDE
    execution.run(run, tiles * parts.splits, shared, arguments, x.device)
    return parts.total(x, (grad.shape[1], channels, *places.kernel), (channels * taps, taps, 1))


def _conv(
    x: Tensor, weight: Tensor, taps: Taps, groups: int, epilogue: Epilogue, *, gradient: bool = False
) -> Tensor:
    """Convolve the map `x`; with the weights of its input gradient, or as they are."""
    if layout_of(x) == torch.channels_last:
        return gathers.map_conv(x, weight, taps, groups, epilogue, gradient=gradient)
    math, channels = arithmetic(x), x.shape[1] // groups
    flat = flattening_pays(channels, taps.kernel[0] * taps.kernel[1], math.per_word)
    packed = pack_weight(weight, groups, math, exchanged=gradient, turned=gradient, flat=flat)
    walked = (1, 1) if flat else taps.kernel
    span, strip = span_and_strip(walked[1], taps.dilation[1], packed)
    out = x.new_empty((x.shape[0], groups * packed.rows, *taps.size))
    arguments = ConvArguments(
        x=x.data_ptr(),
        weight=packed.words.data_ptr(),
        out=out.data_ptr(),
        channels=channels,
        height=x.shape[2],
        width=x.shape[3],
        outputs=packed.rows,
        groups=groups,
        taps_y=walked[0],
        taps_x=walked[1],
        flat_x=taps.kernel[1],
        elements=packed.elements,
        words=packed.depth,
        span=span,
        strip=strip,
        row_tiles=packed.row_tiles,
        column_tiles=up(taps.size[1], COLUMNS) // COLUMNS,
        **taps.arguments(),
        **epilogue.arguments(),
    )
    run = KERNELS_BY_NAME[f"conv_{ELEMENTS[x.dtype][0]}_{math.name}_{packed.tile}"]
    blocks = x.shape[0] * groups * taps.size[0] * arguments.column_tiles * packed.row_tiles
    execution.run(run, blocks, _shared_bytes(span, strip, packed), arguments, x.device)
    return out


def flattening_pays(channels: int, taps: int, per_word: int) -> bool:
    """True if taps in one line with few channels save a quarter of the words or more."""
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
