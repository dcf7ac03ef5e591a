"""Plan of a network on whole maps on a processor: the form of each layer, and how many rows run at once.

A plan is a value, made once for a network's weights and a number type, by rule (`by_rule`) or by what was
measured on this machine (`calibration`). The rule rests on these measurements (PyTorch 2.13 with oneDNN,
AVX-512 and AMX):

- In channels-last order oneDNN convolves with taps d apart in float32 about as fast as a matrix product of
  the same work runs, and so do fragments; but those must be split off and joined again. So: taps.
- In bfloat16 arithmetic is several times as fast, and taps 16 and more apart no longer keep up: fragments
  do, even with both copies. At 8 apart the copies cost what they save.
- The activation in the same pass as the convolution saves 20 % of the default network's time, and 35 % in
  bfloat16: maps of many channels are read and written once less. PyTorch has that for its compiler.
- Without it, a 1 x 1 convolution is faster as the matrix product of pixels and weights that it is.
- A larger kernel as one matrix product per tap takes 1.2 to 2 times as long as oneDNN's convolution. It is
  there for builds of PyTorch without oneDNN, which unfold maps in memory.
- Channels in groups that never meet, as those of an RGB image by the default network, take 0.8 of the time
  when each group goes through its layers alone.
- A map that the cache cannot hold, or that the allocator must fetch from the system anew at every layer,
  costs more than what is computed on it. So: bands of rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_dsparse.network.geometry import Step
from napari_dsparse.network.layer_operations import Activation, convolves, kernel, on_map, with_activations
from napari_dsparse.network.rows import RowLayer, stream_rows
from napari_dsparse.network.supported import AVG_POOLS, MAX_POOLS
from napari_dsparse.ops.fragments import join_phases, split_phases
from napari_dsparse.ops.reference.arithmetic import activate_

#: Bytes of a band in the layer with the most channels.
BAND_BYTES = 16 << 20
#: Fewest and most rows of a band: fewer cost calls, more cost cache.
BAND_ROWS = (8, 64)
#: Taps this far apart and farther are brought together in fragments, in the number types of `FRAGMENT_TYPES`.
FRAGMENT_DILATION = 16
FRAGMENT_TYPES = (torch.bfloat16, torch.float16)

#: Forms of a layer: taps d apart, in place; the same with a ReLU in one pass, by oneDNN; on fragments; pixels
#: times weights, one matrix product per tap; and as it stands, for pools and pointwise layers.
FORMS = ("taps", "fused", "fragments", "products", "whole")
#: In these types sums over taps lose nothing that a convolution keeps.
PRODUCT_TYPES = (torch.float32, torch.float64)
FUSED_TYPES = (torch.float32, torch.bfloat16)

#: Layers without weights that do the same to every channel.
BY_CHANNEL = (*MAX_POOLS, *AVG_POOLS, nn.ReLU, nn.LeakyReLU, nn.Tanh, nn.Sigmoid)
#: Groups of fewer channels in any layer stay together.
GROUP_CHANNELS = 8

#: Says the form of a layer with its activation for maps of a number type.
Chooser = Callable[[Step, Activation, torch.dtype], str]


@dataclass(frozen=True, slots=True, eq=False)
class LayerPlan:
    """One layer, the activation it takes along, and the form it runs in.

    Parameters
    ----------
    step : Step
    activation : (str, float)
    form : str
        One of `FORMS`.
    """

    step: Step
    activation: Activation
    form: str

    def __str__(self) -> str:
        window, activation = self.step.window, self.activation[0]
        size = ""
        if window is not None:
            rows, columns = window.dilation
            size = f" {window.kernel[0]} x {window.kernel[1]}, {rows} x {columns} apart"
        if convolves(self.step):
            weight, _, groups = kernel(self.step)
            size += f", {weight.shape[1] * groups} -> {weight.shape[0]}"
        taken = f", {activation} along" if activation != "none" else ""
        return f"{type(self.step.module).__name__}{size}{taken}: {self.form}"


@dataclass(frozen=True, slots=True, eq=False)
class MapPlan:
    """Layers in one line over maps of one number type on a processor, with their weights laid out for it.

    Made by `plan_layers`. It holds the weights that the network had then.

    Parameters
    ----------
    dtype : torch.dtype
        Of maps and weights.
    layers : tuple of LayerPlan
    runners : tuple of RowLayer
        One per layer.
    streams : tuple of tuple of RowLayer
        Where channels come in groups that never meet, the layers of each group alone; else empty.
    """

    dtype: torch.dtype
    layers: tuple[LayerPlan, ...]
    runners: tuple[RowLayer, ...]
    streams: tuple[tuple[RowLayer, ...], ...] = ()

    def part(self, steps: Sequence[Step]) -> MapPlan:
        """The plan of those layers alone whose step is one of `steps`."""
        numbers = {step.number for step in steps}
        kept = [i for i, layer in enumerate(self.layers) if layer.step.number in numbers]
        layers, runners = tuple(self.layers[i] for i in kept), tuple(self.runners[i] for i in kept)
        return MapPlan(self.dtype, layers, runners, _streams(layers))

    def run(self, x: Tensor) -> Tensor:
        """Run the layers over a map: (N, C, H, W) -> (N, K, H - P + 1, W - P + 1), P their own patch."""
        count = max(1, len(self.streams))
        band = band_rows(self.layers, x, count)
        if count == 1:
            return stream_rows(self.runners, x, band)
        parts = x.chunk(count, 1)
        return torch.cat([stream_rows(*each, band) for each in zip(self.streams, parts, strict=True)], 1)


def plan_layers(steps: Sequence[Step], dtype: torch.dtype, chooser: Chooser) -> MapPlan:
    """Choose the form of every layer for maps of `dtype`, and lay out its weights."""
    layers = tuple(
        LayerPlan(step, activation, chooser(step, activation, dtype))
        for step, activation in with_activations(steps, convolves)
    )
    return MapPlan(dtype, layers, tuple(_runner(layer) for layer in layers), _streams(layers))


def _streams(layers: Sequence[LayerPlan]) -> tuple[tuple[RowLayer, ...], ...]:
    """Runners of each group of channels, for several layers that all keep to the same groups.

    oneDNN convolves groups of a few channels one by one at a better rate than all of them at once.
    """
    kernels = [kernel(layer.step) for layer in layers if convolves(layer.step)]
    count = kernels[0][2] if kernels else 1
    fewest = min((weight.shape[0] // groups for weight, _, groups in kernels), default=0)
    same = all(groups == count for *_, groups in kernels)
    if count == 1 or not same or len(kernels) < 2 or fewest < GROUP_CHANNELS:
        return ()
    if not all(convolves(layer.step) or isinstance(layer.step.module, BY_CHANNEL) for layer in layers):
        return ()
    return tuple(tuple(_runner(layer, count, number) for layer in layers) for number in range(count))


def possible_forms(step: Step, activation: Activation, dtype: torch.dtype) -> tuple[str, ...]:
    """Forms that give a layer's numbers for maps of `dtype`; each has its runner."""
    if not convolves(step) or step.window is None:
        return ("whole",)
    forms = ["taps"]
    if activation[0] == "relu" and dtype in FUSED_TYPES and can_fuse(dtype):
        forms.append("fused")
    if step.window.dilation != (1, 1) and step.window.kernel != (1, 1):
        forms.append("fragments")
    if kernel(step)[2] == 1 and (step.window.kernel == (1, 1) or dtype in PRODUCT_TYPES):
        forms.append("products")
    return tuple(forms)


def by_rule(step: Step, activation: Activation, dtype: torch.dtype) -> str:
    """The form of a layer by number types and distances alone, and by what this PyTorch has."""
    forms = possible_forms(step, activation, dtype)
    if step.window is None or len(forms) == 1:
        return forms[0]
    far = max(step.window.dilation) >= FRAGMENT_DILATION
    if far and dtype in FRAGMENT_TYPES and "fragments" in forms:
        return "fragments"
    if "fused" in forms:
        return "fused"
    return forms[-1] if step.window.kernel == (1, 1) else "taps"


def band_rows(layers: Sequence[LayerPlan], x: Tensor, streams: int = 1) -> int:
    """Rows of the map `x` to run at once, by so many `streams` of its channels."""
    channels = max(x.shape[1], *(kernel(p.step)[0].shape[0] for p in layers if convolves(p.step)), 1)
    channels = max(1, channels // streams)
    one_row = x.shape[0] * x.shape[3] * channels * x.element_size()
    fewest, most = BAND_ROWS
    return max(fewest, min(most, BAND_BYTES // max(1, one_row)))


def _runner(plan: LayerPlan, count: int = 1, number: int = 0) -> RowLayer:
    """One layer; with a `count` of groups of channels, for the one of that `number`."""
    step = plan.step
    span = step.window.span[0] if step.window else 0
    if plan.form == "whole":
        return RowLayer(partial(on_map, step, activation=plan.activation), span)
    weight, bias, groups = kernel(step)
    if count > 1:
        weight, groups = weight.chunk(count)[number], groups // count
        bias = None if bias is None else bias.chunk(count)[number]
    assert step.window is not None
    dilation = step.window.dilation
    return RowLayer(convolution(plan.form, weight, bias, dilation, groups, plan.activation), span)


def convolution(
    form: str,
    weight: Tensor,
    bias: Tensor | None,
    dilation: tuple[int, int],
    groups: int,
    activation: Activation,
) -> Callable[[Tensor], Tensor]:
    """A convolution with its activation, in one form: (N, C, H, W) -> a map of its own, (N, K, H', W').

    Parameters
    ----------
    form : str
        One of `FORMS` but "whole"; "products" for one group only.
    weight : Tensor, shape (K, C / groups, kh, kw)
    bias : Tensor, shape (K,), optional
    dilation : (int, int)
    groups : int
    activation : (str, float)
        "relu" for the form "fused".
    """
    if form == "products":
        run = partial(_products, weight=weight, bias=bias, dilation=dilation)
        return lambda x: activate_(run(x), *activation)
    weight = weight.contiguous(memory_format=torch.channels_last)
    if form == "fused":
        slope = activation[1]
        return partial(_fused, weight=weight, bias=bias, dilation=dilation, groups=groups, slope=slope)
    taps = _on_fragments if form == "fragments" else F.conv2d
    convolve = partial(taps, weight=weight, bias=bias, dilation=dilation, groups=groups)
    return lambda x: activate_(convolve(x), *activation)


def _fused(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    dilation: tuple[int, int],
    groups: int,
    slope: float,
) -> Tensor:
    """The operator that PyTorch's own compiler puts in for a convolution and an activation."""
    fused: Tensor = torch.ops.mkldnn._convolution_pointwise(
        x, weight, bias, (0, 0), (1, 1), dilation, groups, "leaky_relu", [slope], ""
    )
    return fused


@cache
def can_fuse(dtype: torch.dtype) -> bool:
    """True if that operator, which PyTorch may change, exists and gives the expected numbers in `dtype`.

    In bfloat16 it takes a processor with AVX-512, which many a laptop lacks.
    """
    x, weight, bias = (
        torch.linspace(-1, 1, 32, dtype=dtype).view(1, 2, 4, 4),
        2 * torch.eye(2, dtype=dtype).view(2, 2, 1, 1),
        torch.zeros(2, dtype=dtype),
    )
    try:
        with torch.inference_mode():
            found = _fused(x, weight, bias, (1, 1), 1, 0.25)
    except (AttributeError, RuntimeError, TypeError, NotImplementedError):
        return False
    return torch.allclose(found, F.leaky_relu(2 * x, 0.25), atol=1e-5 if dtype == torch.float32 else 0.02)


def _products(x: Tensor, weight: Tensor, bias: Tensor | None, dilation: tuple[int, int]) -> Tensor:
    """One matrix product of pixels and weights per tap, on rows of pixels as they lie in memory.

    A tap is the same map from another pixel on. Rows keep their full width meanwhile: what wraps around at
    their ends is cut off afterwards.
    """
    taps = weight.permute(2, 3, 1, 0)
    if taps.shape[:2] == (1, 1):
        return F.linear(x.permute(0, 2, 3, 1), weight[:, :, 0, 0], bias).permute(0, 3, 1, 2)
    pixels = x.permute(0, 2, 3, 1).contiguous()
    count, height, width, channels = pixels.shape
    rows, columns = (n - (k - 1) * d for n, k, d in zip((height, width), taps.shape, dilation, strict=False))
    summed = pixels.new_zeros((count, rows * width, len(weight)))
    if bias is not None:
        summed += bias
    pixels, room = pixels.view(count, -1, channels), rows * width - (width - columns)
    for row, column in np.ndindex(*taps.shape[:2]):
        first = row * dilation[0] * width + column * dilation[1]
        summed[:, :room].baddbmm_(pixels[:, first : first + room], taps[row, column].expand(count, -1, -1))
    return summed.view(count, rows, width, -1)[:, :, :columns].permute(0, 3, 1, 2)


def _on_fragments(
    x: Tensor, weight: Tensor, bias: Tensor | None, dilation: tuple[int, int], groups: int
) -> Tensor:
    rows, columns = (x.shape[i] - (weight.shape[i] - 1) * dilation[i - 2] for i in (2, 3))
    fragments = F.conv2d(split_phases(x, dilation), weight, bias, groups=groups)
    return join_phases(fragments, dilation, (rows, columns))
