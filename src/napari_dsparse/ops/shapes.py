"""Pairs, extents and the size checks that every layer operation shares."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from napari_dsparse.errors import DsparseError, ShapeError
from napari_dsparse.ops.schemas import ACTIVATIONS

#: One number for both axes, or (rows, columns).
Pair = int | tuple[int, int]

#: (rows, columns), as an operator takes them.
Two = Sequence[int]


def as_pair(value: Pair, what: str) -> tuple[int, int]:
    """`value` for rows and columns; raises ShapeError unless both are at least 1."""
    rows, columns = (value, value) if isinstance(value, int) else value
    if rows < 1 or columns < 1:
        raise ShapeError(f"{what} is {value}; it must be at least 1 on each axis.")
    return int(rows), int(columns)


def extent(kernel: tuple[int, int], dilation: tuple[int, int]) -> tuple[int, int]:
    """Pixels that a window of `kernel` taps, `dilation` apart, spans: (k - 1) d + 1."""
    return (kernel[0] - 1) * dilation[0] + 1, (kernel[1] - 1) * dilation[1] + 1


def shrunk(x: Tensor, kernel: Two, dilation: Two) -> list[int]:
    """Rows and columns of what windows within the map `x` give."""
    return [x.shape[2 + a] - (kernel[a] - 1) * dilation[a] for a in (0, 1)]


def grown(grad: Tensor, kernel: Two, dilation: Two) -> list[int]:
    """Rows and columns of the map whose windows give one like `grad`."""
    return [grad.shape[2 + a] + (kernel[a] - 1) * dilation[a] for a in (0, 1)]


def check_map(x: Tensor, kernel: tuple[int, int], dilation: tuple[int, int]) -> None:
    """Raise ShapeError unless `x` is a map (N, C, H, W) that holds the window at least once."""
    if x.ndim != 4:
        raise ShapeError(f"The map has {x.ndim} axes {tuple(x.shape)}; it must be (N, C, H, W).")
    rows, columns = extent(kernel, dilation)
    if x.shape[2] < rows or x.shape[3] < columns:
        raise ShapeError(
            f"The map is {x.shape[2]} x {x.shape[3]}, but a {kernel[0]} x {kernel[1]} window with taps "
            f"{dilation[0]} x {dilation[1]} apart spans {rows} x {columns}; give a map at least that large."
        )


def check_activation(activation: str, slope: float) -> None:
    """Raise DsparseError unless a convolution can apply `activation` to its sum."""
    if activation not in ACTIVATIONS:
        raise DsparseError(
            f"Activation {activation!r} can't be fused; choose one of {', '.join(ACTIVATIONS)}, or apply it "
            "to the result."
        )
    if slope < 0:
        raise DsparseError(f"The slope below zero is {slope}; it must be at least 0 for a gradient to exist.")


def layout_of(x: Tensor) -> torch.memory_format:
    """Layout of what an operator makes of the map `x`: channels-last if `x` is that and nothing else."""
    if x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous():
        return torch.channels_last
    return torch.contiguous_format
