"""Work of a training step in multiply-adds, and its time by kind of work."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import nn

from napari_dsparse.network import DenseNetwork
from napari_dsparse.sites import Closure

#: Kinds of work, and the ATen operators that do it; all others are "all else".
KINDS: Mapping[str, tuple[str, ...]] = {
    "products": ("mm", "addmm", "addmm_", "bmm", "mkldnn_convolution", "convolution_backward", "linear"),
    "gathering rows": ("index_select",),
    "adding rows up": ("index_add_", "scatter_add_"),
    "maxima": ("maximum",),
    "copies and zeros": ("copy_", "cat", "fill_", "zero_"),
}
REST = "all else"


def on_map(network: DenseNetwork, rows: int, columns: int, *, backward: bool = False) -> float:
    """Multiply-adds of one pass in the whole-image form, on a map of that size.

    Backward, to the weights: each layer takes as many for its weights and for the map before it, but for the
    layers that read the image.
    """
    total = 0.0
    rows, columns = rows - network.patch[0] + 1, columns - network.patch[1] + 1
    for step in network.geometry.steps:
        passes = 2 if backward and -1 not in step.inputs else 1
        total += passes * _weights(step.module) * (rows + step.margin[0]) * (columns + step.margin[1])
    return total


def on_sites(network: DenseNetwork, closure: Closure) -> float:
    """Multiply-adds of one forward pass at active sites."""
    total, maps = 0.0, iter(closure.maps)
    sites, given = {-1: len(closure.pixels)}, 0
    for step, readers in zip(network.geometry.steps, network.geometry.reads, strict=True):
        for reader in readers:
            for i, mapped in zip(reader.inputs, reader.mapped, strict=True):
                given = next(maps).outputs if mapped else sites[i]
            sites[len(sites) - 1] = given
        total += _weights(step.module) * given
    return total


def on_a_patch(network: DenseNetwork, *, backward: bool = False) -> float:
    """Multiply-adds of one pass of the patch classifier itself, strides and all, on one patch."""
    total = 0.0
    image = torch.zeros(1, 1)

    def count(layer: nn.Module, given: tuple[torch.Tensor], result: torch.Tensor) -> None:
        nonlocal total
        passes = 2 if backward and given[0] is not image else 1
        total += passes * _weights(layer) * result.shape[2] * result.shape[3]

    convolutions = [module for module in network.network.modules() if isinstance(module, nn.Conv2d)]
    image = torch.zeros(1, convolutions[0].in_channels, *network.patch)
    hooks = [convolution.register_forward_hook(count) for convolution in convolutions]
    try:
        with torch.no_grad():
            network.network(image)
    finally:
        for hook in hooks:
            hook.remove()
    return total


def image_channels(network: DenseNetwork) -> int:
    """Channels of the image that a network reads."""
    return next(module.in_channels for module in network.modules() if isinstance(module, nn.Conv2d))


def _weights(layer: object) -> int:
    return layer.weight.numel() if isinstance(layer, nn.Conv2d) else 0


def shares(step: Callable[[], object]) -> dict[str, float]:
    """Share of each kind of work, 0..1, in the time of `step`, by PyTorch's profiler."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        step()
    kinds = {f"aten::{name}": kind for kind, names in KINDS.items() for name in names}
    kinds["mkldnn::_convolution_pointwise"] = "products"  # with the activation in the same pass
    spent = dict.fromkeys([*KINDS, REST], 0.0)
    for event in profile.key_averages():
        spent[kinds.get(event.key, REST)] += event.self_cpu_time_total
    total = sum(spent.values())
    return {kind: time / total for kind, time in spent.items()}
