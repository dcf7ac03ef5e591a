"""Weights laid out for the products: which kernel multiplies, and the tiles it reads."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from napari_dsparse.ops.cuda import execution
from napari_dsparse.ops.cuda.argument_groups import up
from napari_dsparse.ops.cuda.arguments import PackArguments
from napari_dsparse.ops.cuda.kernels import ELEMENTS, KERNELS_BY_NAME

#: Words that one product is deep (STEP in tile.cuh): packed words come in multiples of it.
STEP = 8


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """Kind of multiplication, and the number of values per word."""

    name: str
    per_word: int


def arithmetic(x: Tensor) -> Arithmetic:
    """Tensor cores where the device has them and precision allows; fp32 multiply-adds elsewhere.

    float32 goes to tensor cores as tf32 where PyTorch's own convolutions may (`torch.backends.cudnn`).
    """
    tensor_cores = execution.capability(x.device) >= (8, 0)
    if x.dtype == torch.float32:
        return Arithmetic("mma" if tensor_cores and _tf32_allowed() else "fma", 1)
    return Arithmetic("mma", 2) if tensor_cores else Arithmetic("fma", 1)


def _tf32_allowed() -> bool:
    # torch 2.9 renamed the switch; it refuses the old name once the new one was used, and the new one shows
    # what either was set to.
    conv = getattr(torch.backends.cudnn, "conv", None)
    if conv is not None:
        return bool(conv.fp32_precision == "tf32")
    return bool(torch.backends.cudnn.allow_tf32)


@dataclass(frozen=True, slots=True, eq=False)
class PackedWeight:
    """Weights as the products read them (pack.cuh).

    Parameters
    ----------
    words : Tensor of int32
    rows : int
        Output channels of a group (of the product, not of the layer: a gradient has them exchanged).
    tile, row_tiles : int
        Rows of a tile, and tiles of a group.
    elements, depth : int
        Of one walked tap: values, and words with padding.
    """

    words: Tensor
    rows: int
    tile: int
    row_tiles: int
    elements: int
    depth: int


def pack_weight(
    weight: Tensor, groups: int, math: Arithmetic, *, exchanged: bool, turned: bool, flat: bool
) -> PackedWeight:
    """Lay out `weight` (K, C / groups, kh, kw).

    Parameters
    ----------
    exchanged : bool
        Rows are input channels and elements are output channels: for input gradients.
    turned : bool
        Last tap first: for input gradients of maps.
    flat : bool
        Taps lie in one line with the channels, instead of being walked.
    """
    outputs, channels, taps = weight.shape[0] // groups, weight.shape[1], weight.shape[2] * weight.shape[3]
    rows, inner = (channels, outputs) if exchanged else (outputs, channels)
    tile = 64 if up(rows, 64) == up(rows, 32) else 32
    row_tiles = up(rows, tile) // tile
    walked, elements = (1, taps * inner) if flat else (taps, inner)
    depth = up(up(elements, math.per_word) // math.per_word, STEP)
    words = weight.new_empty(groups * row_tiles * walked * depth * tile, dtype=torch.int32)
    arguments = PackArguments(
        weight=weight.data_ptr(),
        packed=words.data_ptr(),
        total=words.numel(),
        group_stride=outputs * channels * taps,
        row_stride=taps if exchanged else channels * taps,
        channel_stride=channels * taps if exchanged else taps,
        rows=rows,
        row_tiles=row_tiles,
        tile=tile,
        walked=walked,
        words=depth,
        elements=elements,
        channels=inner,
        taps=taps,
        turned=int(turned),
    )
    kernel = KERNELS_BY_NAME[f"pack_{ELEMENTS[weight.dtype][0]}_{math.name}"]
    execution.run(kernel, up(words.numel(), kernel.threads) // kernel.threads, 0, arguments, weight.device)
    return PackedWeight(words, rows, tile, row_tiles, elements, depth)
