"""The networks of the benchmarks, their layers in plain PyTorch, and one training step in two ways."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_dsparse.classifier import DEFAULT_NETWORK, NetworkSpec
from napari_dsparse.network import DenseNetwork, densify
from napari_dsparse.network.geometry import Crop, Step
from napari_dsparse.network.graph import Join
from napari_dsparse.sites import TapWindow, dependency_closure


def bench_network(classes: int) -> DenseNetwork:
    """conv5x32, pool2, conv5x48, pool2, conv3x64, pool2, conv5x128, 1x1: patch 60."""
    torch.manual_seed(0)
    return densify(
        nn.Sequential(
            nn.Conv2d(1, 32, 5), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(32, 48, 5), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(48, 64, 3), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(64, 128, 5), nn.ReLU(),
            nn.Conv2d(128, classes, 1),
        )
    )  # fmt: skip


def plain_cnn_1() -> DenseNetwork:
    """Plain CNN 1 of arXiv:1412.4526 as far as its released code shows it: patch 133."""
    torch.manual_seed(0)
    return densify(
        nn.Sequential(
            nn.Conv2d(3, 50, 6), nn.MaxPool2d(8), nn.Tanh(),
            nn.Conv2d(50, 50, 3), nn.MaxPool2d(2), nn.Tanh(),
            nn.Conv2d(50, 32, 7),
        )
    )  # fmt: skip


def default_network(classes: int, channels: int = 1) -> DenseNetwork:
    """The network that this package trains by default: patch 219."""
    torch.manual_seed(0)
    return densify(NetworkSpec(DEFAULT_NETWORK, channels, classes).build().eval())


def compact_network(classes: int) -> DenseNetwork:
    """The built-in network without surroundings: patch 27."""
    torch.manual_seed(0)
    return densify(NetworkSpec("compact", 1, classes).build().eval())


def plain_forward(network: DenseNetwork, x: Tensor) -> Tensor:
    """The same whole-image pass with PyTorch's own dilated layers, one map after another."""
    rows, columns = (x.shape[axis] - network.patch[axis - 2] + 1 for axis in (2, 3))
    maps, unread = {-1: x}, {step.number: step.readers for step in network.geometry.steps}
    for step in network.geometry.steps:
        given = [maps[i] for i in step.inputs]
        for i in step.inputs:
            if i in unread:
                unread[i] -= 1
                if not unread[i]:
                    del maps[i]
        maps[step.number] = _plain_layer(step, given)
        del given
    return maps[len(network.geometry.steps) - 1][:, :, :rows, :columns]


def _plain_layer(step: Step, maps: list[Tensor]) -> Tensor:
    layer, window, x = step.module, step.window, maps[0]
    if isinstance(layer, Crop):
        return x[:, layer.channels, layer.shift[0] :, layer.shift[1] :]
    if isinstance(layer, Join):
        rows, columns = (min(own.shape[axis] for own in maps) for axis in (2, 3))
        parts = [own[:, :, :rows, :columns] for own in maps]
        return torch.cat(parts, 1) if layer.kind == "cat" else sum(parts[1:], parts[0])
    if window is None:
        pointwise: Tensor = layer(x)
        return pointwise
    if isinstance(layer, nn.MaxPool2d):
        return F.max_pool2d(x, window.kernel, 1, 0, window.dilation)
    if isinstance(layer, nn.AvgPool2d):
        return _plain_means(x, window)
    assert isinstance(layer, nn.Conv2d)
    return F.conv2d(x, layer.weight, layer.bias, dilation=window.dilation, groups=layer.groups)


def _plain_means(x: Tensor, window: TapWindow) -> Tensor:
    """Means over a window: PyTorch has no dilated average pool, so channel by channel, axis by axis.

    In no less than float32: in bfloat16 PyTorch takes minutes for a window of 193 pixels.
    """
    dtype, x = x.dtype, x.to(torch.promote_types(x.dtype, torch.float32))
    (rows, columns), (down, across), channels = window.kernel, window.dilation, x.shape[1]
    weights = x.new_full((channels, 1, rows, 1), 1 / rows), x.new_full((channels, 1, 1, columns), 1 / columns)
    x = F.conv2d(x, weights[0], dilation=(down, 1), groups=channels)
    return F.conv2d(x, weights[1], dilation=(1, across), groups=channels).to(dtype)


def labelled_band(size: int, network: DenseNetwork) -> tuple[np.ndarray, Tensor]:
    """Strokes: positions (S, 2) of the output along a diagonal band about 4 pixels wide, and classes."""
    side = size - network.patch[0] + 1
    along = np.arange(side - 4)
    yx = np.concatenate([np.stack([along, along + shift], 1) for shift in range(4)])
    yx = yx[np.lexsort((yx[:, 1], yx[:, 0]))]
    return yx, torch.from_numpy(np.arange(len(yx)) * 4 // len(yx))


def step_on_sites(network: DenseNetwork, x: Tensor, yx: np.ndarray, targets: Tensor) -> Callable[[], None]:
    """Loss and gradients through active sites; the kernel maps are made once, as in training."""
    width = x.shape[3]
    closure = dependency_closure(network.geometry.windows, yx[:, 0] * width + yx[:, 1], width).to(x.device)
    pixels = x.reshape(x.shape[1], -1).index_select(1, closure.pixels).t().contiguous()
    targets = targets.to(x.device)

    def step() -> None:
        network.zero_grad(set_to_none=True)
        F.cross_entropy(network.on_sites(pixels, closure), targets).backward()

    return step


def step_on_map(network: DenseNetwork, x: Tensor, yx: np.ndarray, targets: Tensor) -> Callable[[], None]:
    """Loss and gradients of the same labels through the whole image, in plain PyTorch."""
    y, column = (torch.from_numpy(yx[:, axis]).to(x.device) for axis in (0, 1))
    targets = targets.to(x.device)

    def step() -> None:
        network.zero_grad(set_to_none=True)
        F.cross_entropy(plain_forward(network, x)[0][:, y, column].t(), targets).backward()

    return step
