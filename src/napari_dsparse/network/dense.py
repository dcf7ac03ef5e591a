"""The exact whole-image form of a patch classifier, and the same at a few pixels only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

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
from napari_dsparse.network.layers import (
    Activation,
    convolves,
    kernel,
    on_map,
    pointwise,
    with_activations,
)
from napari_dsparse.network.plan import Chooser, by_rule, run_planned
from napari_dsparse.sites import Closure, dependency_closure

#: Pixels of all patches that run side by side where outputs share nothing: some megabytes a map, so that
#: it stays in cache.
PATCH_PIXELS = 1 << 17


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

    Made by `densify`. `network` is the patch classifier itself, `geometry` its layers with dilations;
    `chooser` says the form of each layer on whole maps on a processor.
    """

    def __init__(self, network: nn.Module, geometry: Geometry) -> None:
        super().__init__()
        self.network = network
        self.geometry = geometry
        self.chooser: Chooser = by_rule

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
        return self._run(self.geometry.steps, x)

    def features(self, x: Tensor) -> Tensor:
        """What `scores` needs to know of every pixel: the layers up to the last that reads other pixels.

        Parameters
        ----------
        x : Tensor, shape (N, C, H, W)
            At least as large as the patch.

        Returns
        -------
        Tensor, shape (N, F, H - P + 1, W - P + 1)
        """
        return self._run(self.geometry.steps[: self._alone], x)

    def scores(self, features: Tensor) -> Tensor:
        """Class scores from `features`, pixel by pixel: `self(x)` is `self.scores(self.features(x))`."""
        return self._run(self.geometry.steps[self._alone :], features)

    @property
    def _alone(self) -> int:
        """How many steps come before those that act on every pixel by itself and have weights."""
        steps = self.geometry.steps
        behind = max((i + 1 for i, step in enumerate(steps) if reads_neighbours(step)), default=0)
        return next((i for i in range(behind, len(steps)) if convolves(steps[i])), len(steps))

    def _run(self, steps: Sequence[Step], x: Tensor) -> Tensor:
        check_modes(self.geometry)
        if x.device.type == "cpu" and not self._learns(x) and not torch.compiler.is_compiling():
            return run_planned(steps, x, self.chooser)
        for step, activation in with_activations(steps, convolves):
            if x.device.type == "cpu" and convolves(step):
                # With channels last in memory, oneDNN's gradients take half the time; pools keep that layout.
                # Asking for it by name is more than torch.func.vmap allows.
                x = x.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
            x = on_map(step, x, activation)
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
        if closure.alone and pixels.device.type == "cpu" and self._reads_all_of(closure):
            return self._on_patches(pixels)
        maps: Iterator[ops.KernelMap] = iter(closure.maps)
        x = pixels
        for step, activation in with_activations(self.geometry.steps, _convolves_neighbours):
            if reads_neighbours(step):
                x = _at_sites(step, x, next(maps), activation)
            else:
                x = _at_own_site(step, x)
        return x

    def _reads_all_of(self, closure: Closure) -> bool:
        """Whether no pixel of a patch is left out, as dilated kernels and strides beyond them leave some."""
        rows, columns = self.patch
        return len(closure.pixels) == closure.outputs * rows * columns

    def _on_patches(self, pixels: Tensor) -> Tensor:
        """The patch classifier itself on patches that follow one another: (S P P, C) -> (S, K).

        Where nothing is shared, gathering rows gains nothing over plain convolutions. Rows of pixels are maps
        with channels last, which oneDNN prefers.
        """
        rows, columns = self.patch
        patches = pixels.view(-1, rows, columns, pixels.shape[1]).permute(0, 3, 1, 2)
        hands = torch.split(patches, max(1, PATCH_PIXELS // (rows * columns)))
        return torch.cat([self.network(some).flatten(1) for some in hands])

    def _learns(self, x: Tensor) -> bool:
        """Whether a gradient may be asked for, which needs whole maps."""
        return torch.is_grad_enabled() and (
            x.requires_grad or any(p.requires_grad for p in self.network.parameters())
        )

    def _output_size(self, image: Tensor) -> tuple[int, int]:
        rows, columns = self.patch
        if image.ndim != 3 or image.shape[1] < rows or image.shape[2] < columns:
            raise ShapeError(
                f"The image is {tuple(image.shape)}; it must be (C, H, W) with H >= {rows} and "
                f"W >= {columns}, the patch of this network."
            )
        return image.shape[1] - rows + 1, image.shape[2] - columns + 1


def _convolves_neighbours(step: Step) -> bool:
    return convolves(step) and reads_neighbours(step)


def _at_sites(step: Step, x: Tensor, kernel_map: ops.KernelMap, activation: Activation) -> Tensor:
    layer = step.module
    if isinstance(layer, nn.MaxPool2d):
        return ops.site_max_pool2d(x, kernel_map)
    if isinstance(layer, nn.AvgPool2d):
        return ops.site_avg_pool2d(x, kernel_map, layer.divisor_override)
    weight, bias, groups = kernel(step)
    return ops.site_conv2d(x, weight, bias, kernel_map, groups, *activation)


def _at_own_site(step: Step, x: Tensor) -> Tensor:
    """Steps that read one pixel only: pointwise layers, 1 x 1 convolutions and pools of one tap."""
    layer = step.module
    if step.window is None:
        return pointwise(layer, x)
    if isinstance(layer, nn.MaxPool2d):
        return x
    if isinstance(layer, nn.AvgPool2d):
        return x / (layer.divisor_override or 1)
    weight, bias, groups = kernel(step)
    if groups == 1:
        return nn.functional.linear(x, weight[:, :, 0, 0], bias)
    return nn.functional.conv2d(x[:, :, None, None], weight, bias, groups=groups)[:, :, 0, 0]
