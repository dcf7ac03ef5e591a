"""A patch classifier at active sites: a map is rows, one per site, (S, C)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import Tensor, nn

from napari_dsparse import ops
from napari_dsparse.network.geometry import Crop, Geometry, Step, reads_neighbours, runs_by_axis
from napari_dsparse.network.graph import PATCH, Join
from napari_dsparse.network.layer_operations import (
    Activation,
    convolves,
    divisor,
    gives,
    joined,
    kernel,
    pointwise,
    with_activations,
)
from napari_dsparse.network.supported import AVG_POOLS, MAX_POOLS
from napari_dsparse.ops import KernelMap


def run_at_sites(geometry: Geometry, pixels: Tensor, maps: Sequence[KernelMap]) -> Tensor:
    """Class scores of a closure's outputs: (M, C) pixel rows -> (S, K).

    Rows are freed as soon as their last reader has run.
    """
    following: Iterator[KernelMap] = iter(maps)
    rows, unread = {PATCH: pixels}, {step.number: step.readers for step in geometry.steps}
    for step, activation in with_activations(geometry.steps, _convolves_neighbours):
        given = [rows[i] for i in step.inputs]
        for i in step.inputs:
            if i != PATCH:
                unread[i] -= 1
                if not unread[i]:
                    rows.pop(i, None)
        if reads_neighbours(step):
            out = _at_neighbours(step, given[0], following, activation)
        else:
            (reader,) = geometry.reads[step.number]
            parts = [
                _picked(step, x, next(following) if mapped else None)
                for x, mapped in zip(given, reader.mapped, strict=True)
            ]
            out = (
                joined(step.module, parts) if isinstance(step.module, Join) else _at_own_site(step, parts[0])
            )
        rows[gives(step, activation)] = out
    return rows[len(geometry.steps) - 1]


def _convolves_neighbours(step: Step) -> bool:
    return convolves(step) and reads_neighbours(step)


def _picked(step: Step, x: Tensor, kernel_map: KernelMap | None) -> Tensor:
    """The rows of an input that a step has sites for, and the channels that it takes."""
    if isinstance(step.module, Crop):
        x = x[:, step.module.channels]
    return x if kernel_map is None else x.index_select(0, kernel_map.rows[:, 0])


def _at_neighbours(step: Step, x: Tensor, maps: Iterator[KernelMap], activation: Activation) -> Tensor:
    layer, window = step.module, step.window
    assert window is not None
    if isinstance(layer, MAX_POOLS):
        x = ops.site_max_pool2d(x, next(maps))
        return ops.site_max_pool2d(x, next(maps)) if runs_by_axis(step) else x
    if isinstance(layer, AVG_POOLS):
        whole = divisor(layer)
        if not runs_by_axis(step):
            return ops.site_avg_pool2d(x, next(maps), whole)
        rows, columns = window.kernel
        # Means of means; the second makes up for another divisor.
        x = ops.site_avg_pool2d(x, next(maps), columns if whole is None else 1)
        return ops.site_avg_pool2d(x, next(maps), rows if whole is None else whole)
    weight, bias, groups = kernel(step)
    return ops.site_conv2d(x, weight, bias, next(maps), groups, *activation)


def _at_own_site(step: Step, x: Tensor) -> Tensor:
    """Steps that read one pixel only: pointwise layers, crops, 1 x 1 convolutions and pools of one tap."""
    layer = step.module
    if isinstance(layer, Crop | Join):
        return x
    if step.window is None:
        return pointwise(layer, x)
    if isinstance(layer, MAX_POOLS):
        return x
    if isinstance(layer, AVG_POOLS):
        return x / (divisor(layer) or 1)
    weight, bias, groups = kernel(step)
    if groups == 1:
        return nn.functional.linear(x, weight[:, :, 0, 0], bias)
    return nn.functional.conv2d(x[:, :, None, None], weight, bias, groups=groups)[:, :, 0, 0]
