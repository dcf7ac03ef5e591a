"""Argument groups common to the launches of convolutions: taps, epilogue, and sums in parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from napari_dsparse.ops.cuda import execution
from napari_dsparse.ops.cuda.arguments import SumPartsArguments
from napari_dsparse.ops.cuda.kernels import ELEMENTS, KERNELS_BY_NAME
from napari_dsparse.ops.shapes import grown, shrunk

#: Codes of the activations in numbers.cuh.
ACTIVATION_CODES = {"none": 0, "relu": 1, "tanh": 2}

#: Rows and columns of a block of a weight gradient, and its depth in words (weight_grad.cuh,
#: site_weight_grad.cuh).
SIDE, DEPTH = 64, 32

#: Blocks that a weight gradient is split into, about: four waves on a large GPU. The same number on every
#: device, so that a sum has the same order everywhere.
SPLIT_BLOCKS = 2048

#: Bytes that the parts of one weight gradient may take.
SPLIT_BYTES = 64 << 20


def up(number: int, to: int) -> int:
    """The next multiple of `to`."""
    return -(-number // to) * to


@dataclass(frozen=True, slots=True)
class Taps:
    """Positions at which a window reads a map: pairs are (rows, columns).

    Parameters
    ----------
    kernel, dilation : (int, int)
    pad : (int, int)
        Zeros around the map, on each side.
    size : (int, int)
        Of the results.
    """

    kernel: tuple[int, int]
    dilation: tuple[int, int]
    pad: tuple[int, int]
    size: tuple[int, int]

    @classmethod
    def within(cls, x: Tensor, kernel: Sequence[int], dilation: Sequence[int]) -> Taps:
        """Every window that lies within the map `x`."""
        return cls(_pair(kernel), _pair(dilation), (0, 0), _pair(shrunk(x, kernel, dilation)))

    @classmethod
    def across(cls, grad: Tensor, kernel: Sequence[int], dilation: Sequence[int]) -> Taps:
        """Every window that meets the map `grad`: for gradients to what `within` reads."""
        pad = tuple((k - 1) * d for k, d in zip(kernel, dilation, strict=True))
        return cls(_pair(kernel), _pair(dilation), _pair(pad), _pair(grown(grad, kernel, dilation)))

    def arguments(self) -> dict[str, int]:
        """As the structures in `sources` name them."""
        return {
            "out_height": self.size[0],
            "out_width": self.size[1],
            "dilation_y": self.dilation[0],
            "dilation_x": self.dilation[1],
            "pad_y": self.pad[0],
            "pad_x": self.pad[1],
        }


def _pair(two: Sequence[int]) -> tuple[int, int]:
    return two[0], two[1]


@dataclass(frozen=True, slots=True, eq=False)
class Epilogue:
    """Operations on a sum before it is written: bias, then activation."""

    bias: Tensor | None = None
    activation: str = "none"
    slope: float = 0.0

    def arguments(self) -> dict[str, Any]:
        """As the structures in `sources` name them."""
        return {
            "bias": None if self.bias is None else self.bias.data_ptr(),
            "activation": ACTIVATION_CODES[self.activation],
            "slope": self.slope,
        }


@dataclass(frozen=True, slots=True, eq=False)
class Parts:
    """A sum over `units` in parts, one per split; made by `split`.

    Parameters
    ----------
    sums : Tensor of float32, shape (splits, values)
    units, units_per_split : int
    """

    sums: Tensor
    units: int
    units_per_split: int

    @property
    def splits(self) -> int:
        """Blocks that share the sum."""
        return self.sums.shape[0]

    def arguments(self) -> dict[str, int]:
        """As the structures in `sources` name them."""
        return {
            "parts": self.sums.data_ptr(),
            "units": self.units,
            "units_per_split": self.units_per_split,
        }

    def total(self, like: Tensor, shape: tuple[int, int, int, int], strides: tuple[int, int, int]) -> Tensor:
        """The weight gradient (K, C / groups, kh, kw): parts added first to last.

        `strides` are those of output channel, input channel and tap within a part.
        """
        out = like.new_empty(shape)
        arguments = SumPartsArguments(
            parts=self.sums.data_ptr(),
            out=out.data_ptr(),
            total=out.numel(),
            splits=self.splits,
            channels=shape[1],
            taps=shape[2] * shape[3],
            output_stride=strides[0],
            channel_stride=strides[1],
            tap_stride=strides[2],
        )
        kernel = KERNELS_BY_NAME[f"sum_parts_{ELEMENTS[like.dtype][0]}"]
        execution.run(kernel, up(out.numel(), kernel.threads) // kernel.threads, 0, arguments, like.device)
        return out


def split(x: Tensor, units: int, tiles: int, values: int) -> Parts:
    """Buffer for a sum of `values` over `units`, for `tiles` blocks per split: from sizes only, to repeat."""
    wanted = min(units, max(1, SPLIT_BLOCKS // tiles), max(1, SPLIT_BYTES // (4 * values)))
    per_split = -(-units // wanted)
    return Parts(x.new_empty((-(-units // per_split), values), dtype=torch.float32), units, per_split)
