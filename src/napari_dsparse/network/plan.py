"""How a network runs over a whole map on a processor: the form of each layer, and how many rows at once.

A rule of counted bytes and number types, not of measured times: the same image and model give the same bytes
in every process of a machine. It rests on these measurements (PyTorch 2.13 with oneDNN, AVX-512 and AMX):

- In channels-last order oneDNN convolves with taps d apart in float32 about as fast as a matrix product of
  the same work runs, and so do fragments; but those must be split off and joined again. So: taps.
- In bfloat16 arithmetic is several times as fast, and taps 16 and more apart no longer keep up: fragments
  do, even with both copies. At 8 apart the copies cost what they save.
- A 1 x 1 convolution is a matrix product of pixels and weights, and PyTorch runs it faster as one.
- A map that the cache cannot hold, or that the allocator must fetch from the system anew at every layer,
  costs more than what is computed on it. So: bands of rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from napari_dsparse.network.geometry import Geometry, Step
from napari_dsparse.network.layers import Activation, convolves, kernel, on_map, with_activations
from napari_dsparse.network.rows import RowLayer, stream_rows
from napari_dsparse.ops.fragments import join_phases, split_phases
from napari_dsparse.ops.reference.arithmetic import activate_

#: Bytes of a band in the layer with the most channels.
BAND_BYTES = 16 << 20
#: Fewest and most rows of a band: fewer cost calls, more cost cache.
BAND_ROWS = (8, 64)
#: Taps this far apart and farther are brought together in fragments, in the number types of `FRAGMENT_TYPES`.
FRAGMENT_DILATION = 16
FRAGMENT_TYPES = (torch.bfloat16, torch.float16)


@dataclass(frozen=True, slots=True, eq=False)
class LayerPlan:
    """One layer, the activation it takes along, and the form it runs in.

    Parameters
    ----------
    step : Step
    activation : (str, float)
    form : str
        "taps" (d apart, in place), "fragments", "product" (pixels times weights), or "whole" (as it stands:
        pools and pointwise layers).
    """

    step: Step
    activation: Activation
    form: str

    def __str__(self) -> str:
        window, activation = self.step.window, self.activation[0]
        size = ""
        if window is not None:
            size = (
                f" {window.kernel[0]} x {window.kernel[1]}, {window.dilation[0]} x {window.dilation[1]} apart"
            )
        taken = f", {activation} along" if activation != "none" else ""
        return f"{type(self.step.module).__name__}{size}{taken}: {self.form}"


def plan_layers(geometry: Geometry, dtype: torch.dtype) -> tuple[LayerPlan, ...]:
    """The form of every layer for maps of `dtype`."""
    return tuple(
        LayerPlan(step, activation, _form(step, dtype))
        for step, activation in with_activations(geometry.steps, convolves)
    )


def _form(step: Step, dtype: torch.dtype) -> str:
    if not convolves(step) or step.window is None:
        return "whole"
    if step.window.kernel == (1, 1):
        return "product" if kernel(step)[2] == 1 else "taps"
    far = max(step.window.dilation) >= FRAGMENT_DILATION
    return "fragments" if far and dtype in FRAGMENT_TYPES else "taps"


def band_rows(layers: Sequence[LayerPlan], x: Tensor) -> int:
    """Rows of the map `x` to run at once."""
    channels = max(x.shape[1], *(kernel(p.step)[0].shape[0] for p in layers if convolves(p.step)), 1)
    one_row = x.shape[0] * x.shape[3] * channels * x.element_size()
    fewest, most = BAND_ROWS
    return max(fewest, min(most, BAND_BYTES // max(1, one_row)))


def run_planned(geometry: Geometry, x: Tensor) -> Tensor:
    """Class scores at every pixel of a map on a processor: (N, C, H, W) -> (N, K, H - P + 1, W - P + 1)."""
    layers = plan_layers(geometry, x.dtype)
    streamed = [RowLayer(_runner(p), p.step.window.span[0] if p.step.window else 0) for p in layers]
    return stream_rows(streamed, x, band_rows(layers, x))


def _runner(plan: LayerPlan) -> Callable[[Tensor], Tensor]:
    step = plan.step
    if plan.form == "whole":
        return partial(on_map, step, activation=plan.activation)
    weight, bias, groups = kernel(step)
    assert step.window is not None
    if plan.form == "product":
        return partial(_product, weight=weight[:, :, 0, 0], bias=bias, activation=plan.activation)
    return partial(
        _convolution if plan.form == "taps" else _on_fragments,
        weight=weight.contiguous(memory_format=torch.channels_last),
        bias=bias,
        dilation=step.window.dilation,
        groups=groups,
        activation=plan.activation,
    )


def _product(x: Tensor, weight: Tensor, bias: Tensor | None, activation: Activation) -> Tensor:
    return activate_(F.linear(x.permute(0, 2, 3, 1), weight, bias), *activation).permute(0, 3, 1, 2)


def _convolution(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    dilation: tuple[int, int],
    groups: int,
    activation: Activation,
) -> Tensor:
    return activate_(F.conv2d(x, weight, bias, dilation=dilation, groups=groups), *activation)


def _on_fragments(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    dilation: tuple[int, int],
    groups: int,
    activation: Activation,
) -> Tensor:
    rows, columns = (x.shape[i] - (weight.shape[i] - 1) * dilation[i - 2] for i in (2, 3))
    fragments = _convolution(split_phases(x, dilation), weight, bias, (1, 1), groups, activation)
    return join_phases(fragments, dilation, (rows, columns))
