"""Pairs, extents and the size checks that every layer operation shares."""

from __future__ import annotations

import torch
from torch import Tensor

from napari_dsparse.errors import ShapeError

#: One number for both axes, or (rows, columns).
Pair = int | tuple[int, int]


def as_pair(value: Pair, what: str) -> tuple[int, int]:
    """`value` for rows and columns; raises ShapeError unless both are at least 1."""
    rows, columns = (value, value) if isinstance(value, int) else value
    if rows < 1 or columns < 1:
        raise ShapeError(f"{what} is {value}; it must be at least 1 on each axis.")
    return int(rows), int(columns)


def extent(kernel: tuple[int, int], dilation: tuple[int, int]) -> tuple[int, int]:
    """Pixels that a window of `kernel` taps, `dilation` apart, spans: (k - 1) d + 1."""
    return (kernel[0] - 1) * dilation[0] + 1, (kernel[1] - 1) * dilation[1] + 1


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


def layout_of(x: Tensor) -> torch.memory_format:
    """Layout of what an operator makes of the map `x`: channels-last if `x` is that and nothing else."""
    if x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous():
        return torch.channels_last
    return torch.contiguous_format
