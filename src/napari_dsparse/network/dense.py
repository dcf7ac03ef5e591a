"""The exact whole-image form of a patch classifier, and the same at a few pixels only."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from napari_dsparse.errors import ShapeError
from napari_dsparse.network.geometry import Crop, Geometry, Step, check_modes, reads_neighbours, trace
from napari_dsparse.network.graph import Join
from napari_dsparse.network.layer_operations import (
    Activation,
    convolves,
    gives,
    joined,
    kernel,
    on_map,
    with_activations,
)
from napari_dsparse.network.plan import Chooser, MapPlan, by_rule, plan_layers
from napari_dsparse.network.site_form import run_at_sites
from napari_dsparse.network.work import positions_work
from napari_dsparse.ops.tangents import in_forward_mode
from napari_dsparse.sites import Closure, active_sites, link_sites

#: Pixels of all patches that run side by side where outputs share nothing: some megabytes a map, so that
#: it stays in cache.
PATCH_PIXELS = 1 << 17


def densify(network: nn.Module, in_shape: tuple[int, ...] | None = None) -> DenseNetwork:
    """Turn an ordinary patch classifier into its exact whole-image form (arXiv:1412.4526).

    The result shares the network's parameters: train one and the other has learned.

    Parameters
    ----------
    network : nn.Module
        Any that `torch.fx` traces into known layers: Conv2d, MaxPool2d and AvgPool2d with any kernel, stride
        and dilation, pointwise activations, BatchNorm in eval mode, Dropout, and Flatten + Linear; branches
        that meet in `torch.cat` along channels or in a sum; slices of maps, `x[..., 3:-3, 3:-3]`, and of
        channels; pools and means over the whole map of the patch; LayerNorm and GroupNorm where that is one
        pixel.
        (N, C, P, P) -> (N, K) or (N, K, 1, 1).
    in_shape : tuple of int, optional
        A patch the network takes, (rows, columns) or (C, rows, columns): needed only where a flattened map
        is not square, and where a pool over the whole map would take patches of any size.

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
    Without a `plan`, whole maps on a processor are planned at every call, since the network may have
    learned meanwhile; `planned` gives the same network with a plan that is made once.

    On whole maps it runs in three stages: `features`, the layers in one line from the image on, up to the
    last that reads other pixels; `local_scores`, the rest of that line, pixel by pixel; and `gathered`, all
    from the first fork or slice on, which does nothing where there is none.
    """

    def __init__(self, network: nn.Module, geometry: Geometry, plan: MapPlan | None = None) -> None:
        super().__init__()
        self.network = network
        self.geometry = geometry
        self.plan = plan

    def planned(self, dtype: torch.dtype, chooser: Chooser = by_rule) -> DenseNetwork:
        """The same network for prediction: forms chosen and weights laid out now, not at every call.

        Parameters
        ----------
        dtype : torch.dtype
            Of the maps that will come, and of the weights. Maps of another type are planned at every call.
        chooser : callable
            Gives the form of a layer: `plan.by_rule`, or `calibration.measured`.

        Returns
        -------
        DenseNetwork
            On whole maps on a processor, where no gradient is asked for, it keeps the weights of now.
        """
        return DenseNetwork(self.network, self.geometry, plan_layers(self._trunk, dtype, chooser))

    @property
    def patch(self) -> tuple[int, int]:
        """Rows and columns of the patch."""
        return self.geometry.patch

    @property
    def trunk_patch(self) -> tuple[int, int]:
        """Rows and columns that one pixel of `features` looks at."""
        return self.geometry.trunk_patch

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
        return self.gathered(self._run(self._trunk, x))

    def features(self, x: Tensor) -> Tensor:
        """Features of every pixel, the input of `scores`: the layers up to the last that reads other pixels.

        Of a network with branches, the layers before the first fork or slice.

        Parameters
        ----------
        x : Tensor, shape (N, C, H, W)
            At least as large as `trunk_patch`.

        Returns
        -------
        Tensor, shape (N, F, H - p + 1, W - p + 1)
            p is `trunk_patch`, which is the patch itself where there are no branches.
        """
        return self._run(self._trunk[: self._first_pointwise_step], x)

    def local_scores(self, features: Tensor) -> Tensor:
        """Scores from each pixel's own features: the layers before the first fork that read one pixel only.

        Parameters
        ----------
        features : Tensor, shape (N, F, h, w)

        Returns
        -------
        Tensor, shape (N, L, h, w)
        """
        return self._run(self._trunk[self._first_pointwise_step :], features)

    def deep_features(self, features: Tensor) -> Tensor:
        """From `features`, the input of the last layer of `local_scores`: (N, F, h, w) -> (N, D, h, w)."""
        return self._run(self._trunk[self._first_pointwise_step : self._last_pointwise_step], features)

    def last_scores(self, deep: Tensor) -> Tensor:
        """The last layer of `local_scores`, with the same bits, from `deep_features`."""
        return self._run(self._trunk[self._last_pointwise_step :], deep)

    @property
    def deep_growth(self) -> float:
        """Size of `deep_features` as a multiple of that of `features`; 1 if they are the same."""
        steps = self._trunk[self._first_pointwise_step :]
        inputs = [kernel(step) for step in steps if convolves(step)]
        if len(inputs) < 2:
            return 1.0
        first, last = (weight.shape[1] * groups for weight, _, groups in (inputs[0], inputs[-1]))
        return last / first

    def gathered(self, local: Tensor) -> Tensor:
        """Class scores from `local_scores`: all layers from the first fork or slice on.

        Parameters
        ----------
        local : Tensor, shape (N, L, H - p + 1, W - p + 1)
            p is `trunk_patch`.

        Returns
        -------
        Tensor, shape (N, K, H - P + 1, W - P + 1)
        """
        steps, first = self.geometry.steps, self.geometry.trunk
        if first == len(steps):
            return local
        check_modes(self.geometry)
        rows = local.shape[2] - self.patch[0] + self.trunk_patch[0]
        columns = local.shape[3] - self.patch[1] + self.trunk_patch[1]
        if rows < 1 or columns < 1:
            raise ShapeError(
                f"The local scores are {tuple(local.shape)}; an image of {self.patch[0]} x {self.patch[1]}, "
                f"the patch, gives {self.patch[0] - self.trunk_patch[0] + 1} x "
                f"{self.patch[1] - self.trunk_patch[1] + 1}, and they must be at least that."
            )
        maps, unread = {first - 1: local}, {step.number: step.readers for step in steps}
        unread[-1] = sum(step.inputs.count(-1) for step in steps)
        del local  # let go with the last branch that reads it
        for step, activation in with_activations(steps[first:], convolves):
            given = [maps[i] for i in step.inputs]
            for i in step.inputs:
                unread[i] -= 1
                if not unread[i]:
                    maps.pop(i, None)
            size = rows + step.margin[0], columns + step.margin[1]
            maps[gives(step, activation)] = self._run_branch(step, given, activation, size)
            del given
        return maps[len(steps) - 1]

    def scores(self, features: Tensor) -> Tensor:
        """Class scores from `features`: `self(x)` is `self.scores(self.features(x))`."""
        return self.gathered(self.local_scores(features))

    @property
    def _trunk(self) -> tuple[Step, ...]:
        return self.geometry.steps[: self.geometry.trunk]

    @property
    def _first_pointwise_step(self) -> int:
        """Number of steps of the trunk before those with weights that read one pixel only."""
        steps = self._trunk
        behind = max((i + 1 for i, step in enumerate(steps) if reads_neighbours(step)), default=0)
        return next((i for i in range(behind, len(steps)) if convolves(steps[i])), len(steps))

    @property
    def _last_pointwise_step(self) -> int:
        """Number of steps of the trunk before the last of those layers with what follows it."""
        steps, first = self._trunk, self._first_pointwise_step
        return next((i for i in range(len(steps) - 1, first, -1) if convolves(steps[i])), first)

    def _run(self, steps: Sequence[Step], x: Tensor) -> Tensor:
        check_modes(self.geometry)
        if x.device.type == "cpu" and not self._learns(x) and not torch.compiler.is_compiling():
            if self.plan is not None and self.plan.dtype == x.dtype:
                return self.plan.part(steps).run(x)
            return plan_layers(steps, x.dtype, by_rule).run(x)
        for step, activation in with_activations(steps, convolves):
            x = _on_own_map(step, x, activation)
        return x

    @staticmethod
    def _run_branch(
        step: Step, maps: Sequence[Tensor], activation: Activation, size: tuple[int, int]
    ) -> Tensor:
        """A step behind the trunk: what is read of its inputs alone, (N, C, ..., ...) -> (N, K, *size)."""
        crop = step.module if isinstance(step.module, Crop) else None
        top, left = crop.shift if crop else (0, 0)
        span = step.window.span if step.window else (0, 0)
        bottom, right = top + size[0] + span[0], left + size[1] + span[1]
        parts = [x[:, :, top:bottom, left:right] for x in maps]
        if isinstance(step.module, Join):
            return joined(step.module, parts)
        if crop:
            return parts[0][:, crop.channels]
        return _on_own_map(step, parts[0], activation)

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
        if not len(places):
            return self._at_box(image, places)
        sites, back = np.unique(places[:, 0] * image.shape[2] + places[:, 1], return_inverse=True)
        active = active_sites(self.geometry.windows, sites, image.shape[2])
        rows, columns = (int(extent) + 1 for extent in places.max(0) - places.min(0))
        if not positions_work(self.geometry, active, rows, columns).at_sites:
            return self._at_box(image, places)
        closure = link_sites(self.geometry.windows, active, image.shape[2]).to(image.device)
        pixels = image.reshape(image.shape[0], -1).index_select(1, closure.pixels.to(image.device)).t()
        return self.on_sites(pixels, closure).index_select(0, torch.from_numpy(back).to(image.device))

    def _at_box(self, image: Tensor, places: NDArray[np.int64]) -> Tensor:
        """Scores at `places` from the whole-image form on the rectangle that holds them all."""
        top, left = places.min(0).tolist() if len(places) else (0, 0)
        height, width = (places.max(0) - (top, left)).tolist() if len(places) else (0, 0)
        rows, columns = self.patch
        part = image[None, :, top : top + height + rows, left : left + width + columns]
        own = torch.from_numpy(places - (top, left)).to(image.device)
        scores: Tensor = self(part)[0]
        return scores[:, own[:, 0], own[:, 1]].t()

    def on_sites(self, pixels: Tensor, closure: Closure) -> Tensor:
        """Class scores of a closure's outputs: (M, C) pixel rows -> (S, K)."""
        check_modes(self.geometry)
        if closure.is_disjoint and pixels.device.type == "cpu" and self._reads_all_of(closure):
            return self._on_patches(pixels)
        return run_at_sites(self.geometry, pixels, closure.maps)

    def _reads_all_of(self, closure: Closure) -> bool:
        """True if the closure holds every pixel of each patch; dilation and large strides skip some."""
        rows, columns = self.patch
        return len(closure.pixels) == closure.outputs * rows * columns

    def _on_patches(self, pixels: Tensor) -> Tensor:
        """The patch classifier itself on patches that follow one another: (S P P, C) -> (S, K).

        Where nothing is shared, gathering rows gains nothing over plain convolutions. Rows of pixels are maps
        with channels last, which oneDNN prefers.
        """
        rows, columns = self.patch
        patches = pixels.view(-1, rows, columns, pixels.shape[1]).permute(0, 3, 1, 2)
        groups = torch.split(patches, max(1, PATCH_PIXELS // (rows * columns)))
        return torch.cat([self.network(some).flatten(1) for some in groups])

    def _learns(self, x: Tensor) -> bool:
        """True if a derivative may be requested, which needs whole maps."""
        if in_forward_mode():
            return True
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


def _on_own_map(step: Step, x: Tensor, activation: Activation) -> Tensor:
    """A step by this package's operators, which have gradients."""
    if x.device.type == "cpu" and convolves(step):
        # With channels last in memory, oneDNN's gradients take half the time; pools keep that layout.
        # Asking for it by name is more than torch.func.vmap allows.
        x = x.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
    return on_map(step, x, activation)
