"""The exact whole-image form of a patch classifier, and the same at a few pixels only."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from napari_dsparse import ops
from napari_dsparse.errors import ShapeError
from napari_dsparse.network.geometry import (
    Geometry,
    Step,
    check_modes,
    reads_neighbours,
    trace,
)
from napari_dsparse.sites import Closure, dependency_closure


def densify(network: nn.Module, in_shape: tuple[int, ...] | None = None) -> DenseNetwork:
    """Turn an ordinary patch classifier into its exact whole-image form (arXiv:1412.4526).

    The result shares the network's parameters: train one and the other has learned.

    Parameters
    ----------
    network : nn.Module
        `nn.Sequential` (nested allowed) of Conv2d, MaxPool2d and AvgPool2d with any kernel, stride and
        dilation, pointwise activations, BatchNorm in eval mode, Dropout, and Flatten + Linear:
        (N, C, P, P) -> (N, K) or (N, K, 1, 1).
    in_shape : tuple of int, optional
        A patch the network takes, (rows, columns) or (C, rows, columns): needed only where a flattened map
        is not square.

    Returns
    -------
    DenseNetwork
        (N, C, H, W) -> (N, K, H - P + 1, W - P + 1).

    Raises
    ------
    ConversionError
        If a layer cannot be converted exactly; the message names it and the reason.
    """
    return DenseNetwork(network, trace(network, in_shape))


class DenseNetwork(nn.Module):
    """A patch classifier run on whole maps, or at chosen pixels through active sites.

    Made by `densify`. `network` is the patch classifier itself, `geometry` its layers with dilations.
    """

    def __init__(self, network: nn.Module, geometry: Geometry) -> None:
        super().__init__()
        self.network = network
        self.geometry = geometry

    @property
    def patch(self) -> tuple[int, int]:
        """Rows and columns of the patch."""
        return self.geometry.patch

    def forward(self, x: Tensor) -> Tensor:
        """Class scores at every pixel whose patch lies within `x`.

        Parameters
        ----------
        x : Tensor, shape (N, C, H, W)

        Returns
        -------
        Tensor, shape (N, K, H - P + 1, W - P + 1)

        Raises
        ------
        ShapeError
            If the image is smaller than the patch.
        """
        rows, columns = self.patch
        if x.ndim != 4 or x.shape[2] < rows or x.shape[3] < columns:
            raise ShapeError(
                f"The image is {tuple(x.shape)}; it must be (N, C, H, W) with H >= {rows} and "
                f"W >= {columns}, the patch of this network."
            )
        check_modes(self.geometry)
        for step, activation in _with_activations(self.geometry.steps, _convolves):
            x = _on_map(step, x, activation)
        return x

    def at(self, image: Tensor, yx: Tensor) -> Tensor:
        """Class scores at some output positions only, through active sites.

        Equal to `self(image[None])[0, :, y, x]`, with gradients to parameters and image, at a cost that
        follows the positions and not the image.

        Parameters
        ----------
        image : Tensor, shape (C, H, W)
        yx : Tensor of integers, shape (S, 2)
            Rows and columns of the dense output, in any order; repeats are allowed.

        Returns
        -------
        Tensor, shape (S, K)

        Raises
        ------
        ShapeError
            If shapes do not fit or a position lies outside the output.
        """
        height, width = self._output_size(image)
        if yx.ndim != 2 or yx.shape[1] != 2 or yx.is_floating_point() or yx.is_complex():
            raise ShapeError(
                f"Positions are {tuple(yx.shape)} of {yx.dtype}; give integers (S, 2): rows and columns."
            )
        places = yx.detach().cpu().numpy().astype(np.int64)
        if len(places) and ((places < 0).any() or (places >= (height, width)).any()):
            wrong = places[((places < 0) | (places >= (height, width))).any(1)][0]
            raise ShapeError(
                f"Position ({wrong[0]}, {wrong[1]}) lies outside the output of {height} x {width} "
                "(image minus patch plus 1)."
            )
        sites, back = np.unique(places[:, 0] * image.shape[2] + places[:, 1], return_inverse=True)
        closure = dependency_closure(self.geometry.windows, sites, image.shape[2]).to(image.device)
        pixels = image.reshape(image.shape[0], -1).index_select(1, closure.pixels).t()
        return self.on_sites(pixels, closure).index_select(0, torch.from_numpy(back).to(image.device))

    def on_sites(self, pixels: Tensor, closure: Closure) -> Tensor:
        """Class scores of a closure's outputs: (M, C) pixel rows -> (S, K)."""
        check_modes(self.geometry)
        maps: Iterator[ops.KernelMap] = iter(closure.maps)
        x = pixels
        for step, activation in _with_activations(self.geometry.steps, _convolves_neighbours):
            if reads_neighbours(step):
                x = _at_sites(step, x, next(maps), activation)
            else:
                x = _at_own_site(step, x)
        return x

    def _output_size(self, image: Tensor) -> tuple[int, int]:
        rows, columns = self.patch
        if image.ndim != 3 or image.shape[1] < rows or image.shape[2] < columns:
            raise ShapeError(
                f"The image is {tuple(image.shape)}; it must be (C, H, W) with H >= {rows} and "
                f"W >= {columns}, the patch of this network."
            )
        return image.shape[1] - rows + 1, image.shape[2] - columns + 1


#: An activation and its slope, as `ops.conv2d` takes them.
Activation = tuple[str, float]
NO_ACTIVATION: Activation = ("none", 0.0)


def _with_activations(
    steps: Sequence[Step], takes_one: Callable[[Step], bool]
) -> Iterator[tuple[Step, Activation]]:
    """Steps in order; one that `takes_one` has the activation after it as its own, where it can be fused.

    Then the map of sums before the activation is never stored, neither for the next layer nor for the
    gradient.
    """
    at = 0
    while at < len(steps):
        step = steps[at]
        at += 1
        activation = NO_ACTIVATION
        if takes_one(step) and at < len(steps):
            activation = _fusible(steps[at].module)
            at += activation != NO_ACTIVATION
        yield step, activation


def _fusible(layer: nn.Module) -> Activation:
    if isinstance(layer, nn.ReLU):
        return "relu", 0.0
    if isinstance(layer, nn.LeakyReLU) and layer.negative_slope >= 0:
        return "relu", layer.negative_slope
    if isinstance(layer, nn.Tanh):
        return "tanh", 0.0
    return NO_ACTIVATION


def _convolves(step: Step) -> bool:
    return isinstance(step.module, (nn.Conv2d, nn.Linear))


def _convolves_neighbours(step: Step) -> bool:
    return _convolves(step) and reads_neighbours(step)


def _on_map(step: Step, x: Tensor, activation: Activation) -> Tensor:
    layer, window = step.module, step.window
    if window is None:
        return _pointwise(layer, x)
    if isinstance(layer, nn.MaxPool2d):
        return ops.max_pool2d(x, window.kernel, window.dilation)
    if isinstance(layer, nn.AvgPool2d):
        return ops.avg_pool2d(x, window.kernel, window.dilation, layer.divisor_override)
    weight, bias, groups = _kernel(step)
    return ops.conv2d(x, weight, bias, window.dilation, groups, *activation)


def _at_sites(step: Step, x: Tensor, kernel_map: ops.KernelMap, activation: Activation) -> Tensor:
    layer = step.module
    if isinstance(layer, nn.MaxPool2d):
        return ops.site_max_pool2d(x, kernel_map)
    if isinstance(layer, nn.AvgPool2d):
        return ops.site_avg_pool2d(x, kernel_map, layer.divisor_override)
    weight, bias, groups = _kernel(step)
    return ops.site_conv2d(x, weight, bias, kernel_map, groups, *activation)


def _at_own_site(step: Step, x: Tensor) -> Tensor:
    """Steps that read one pixel only: pointwise layers, 1 x 1 convolutions and pools of one tap."""
    layer = step.module
    if step.window is None:
        return _pointwise(layer, x)
    if isinstance(layer, nn.MaxPool2d):
        return x
    if isinstance(layer, nn.AvgPool2d):
        return x / (layer.divisor_override or 1)
    weight, bias, groups = _kernel(step)
    if groups == 1:
        return nn.functional.linear(x, weight[:, :, 0, 0], bias)
    return nn.functional.conv2d(x[:, :, None, None], weight, bias, groups=groups)[:, :, 0, 0]


def _kernel(step: Step) -> tuple[Tensor, Tensor | None, int]:
    """Weight (K, C / groups, kh, kw), bias and groups; a Linear layer is a convolution over its map."""
    layer, window = step.module, step.window
    assert window is not None
    if isinstance(layer, nn.Linear):
        return layer.weight.view(layer.out_features, -1, *window.kernel), layer.bias, 1
    assert isinstance(layer, nn.Conv2d)
    return layer.weight, layer.bias, layer.groups


def _pointwise(layer: nn.Module, x: Tensor) -> Tensor:
    """A pointwise layer on a map (N, C, H, W) or on rows (S, C); never in place, since maps are shared."""
    if isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d)):
        # Eval mode is checked: a fixed affine map of each channel. The modules insist on their own rank.
        return nn.functional.batch_norm(
            x, layer.running_mean, layer.running_var, layer.weight, layer.bias, False, 0.0, layer.eps
        )
    if isinstance(layer, nn.Softmax):
        return x.softmax(1)
    if isinstance(layer, nn.LogSoftmax):
        return x.log_softmax(1)
    if isinstance(layer, nn.Dropout2d):
        return x  # only in eval mode, or with p = 0: checked
    if getattr(layer, "inplace", False):
        # An in-place activation would write into the caller's image, or into a map someone still needs.
        x = x.clone()
    result: Tensor = layer(x)
    return result
