"""One layer of a patch classifier on whole maps, and the activations fused with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn

from napari_dsparse import ops
from napari_dsparse.network.geometry import Step
from napari_dsparse.network.graph import Join
from napari_dsparse.network.supported import AVG_POOLS, MAP_NORMS, MAX_POOLS

#: An activation and its slope, as `ops.conv2d` takes them.
Activation = tuple[str, float]
NO_ACTIVATION: Activation = ("none", 0.0)


def with_activations(
    steps: Sequence[Step], takes_one: Callable[[Step], bool]
) -> Iterator[tuple[Step, Activation]]:
    """Steps in order, each with the activation fused into it: only for steps that `takes_one` accepts.

    Then the map of sums before the activation is never stored, neither for the next layer nor for the
    gradient. A map that others read too stays as it is.
    """
    at = 0
    while at < len(steps):
        step = steps[at]
        at += 1
        activation = NO_ACTIVATION
        if takes_one(step) and step.readers == 1 and at < len(steps) and steps[at].inputs == (step.number,):
            activation = _fusible(steps[at].module)
            at += activation != NO_ACTIVATION
        yield step, activation


def gives(step: Step, activation: Activation) -> int:
    """Number of the step whose map comes out of `step` with its activation."""
    return step.number + (activation != NO_ACTIVATION)


def _fusible(layer: object) -> Activation:
    if isinstance(layer, nn.ReLU):
        return "relu", 0.0
    if isinstance(layer, nn.LeakyReLU) and layer.negative_slope >= 0:
        return "relu", layer.negative_slope
    if isinstance(layer, nn.Tanh):
        return "tanh", 0.0
    return NO_ACTIVATION


def convolves(step: Step) -> bool:
    """True if a step multiplies with weights: a convolution, or a Linear layer, which is one."""
    return isinstance(step.module, (nn.Conv2d, nn.Linear))


def on_map(step: Step, x: Tensor, activation: Activation) -> Tensor:
    """A step of one input on a whole map, (N, C, H, W) -> (N, K, H', W'), by this package's operators."""
    layer, window = step.module, step.window
    assert isinstance(layer, nn.Module)
    if window is None:
        return pointwise(layer, x)
    if isinstance(layer, MAX_POOLS):
        return ops.max_pool2d(x, window.kernel, window.dilation)
    if isinstance(layer, AVG_POOLS):
        return ops.avg_pool2d(x, window.kernel, window.dilation, divisor(layer))
    weight, bias, groups = kernel(step)
    return ops.conv2d(x, weight, bias, window.dilation, groups, *activation)


def joined(join: Join, parts: Sequence[Tensor]) -> Tensor:
    """Maps, or rows, of one size: side by side along channels, or summed."""
    if join.kind == "cat":
        return torch.cat(list(parts), 1)
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total


def divisor(layer: nn.Module) -> int | None:
    """Divisor of an average pool where it is not its number of taps."""
    own: int | None = getattr(layer, "divisor_override", None)
    return own


def kernel(step: Step) -> tuple[Tensor, Tensor | None, int]:
    """Weight (K, C / groups, kh, kw), bias and groups; a Linear layer is a convolution over its map."""
    layer, window = step.module, step.window
    assert window is not None
    if isinstance(layer, nn.Linear):
        return layer.weight.view(layer.out_features, -1, *window.kernel), layer.bias, 1
    assert isinstance(layer, nn.Conv2d)
    return layer.weight, layer.bias, layer.groups


def pointwise(layer: nn.Module, x: Tensor) -> Tensor:
    """A pointwise layer on a map (N, C, H, W) or on rows (S, C); never in place, since maps are shared."""
    if isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d)):
        # Eval mode is checked: a fixed affine map of each channel. The modules insist on their own rank.
        return nn.functional.batch_norm(
            x, layer.running_mean, layer.running_var, layer.weight, layer.bias, False, 0.0, layer.eps
        )
    if isinstance(layer, MAP_NORMS):
        return _normed(layer, x)
    if isinstance(layer, nn.Softmax):
        return x.softmax(1)
    if isinstance(layer, nn.LogSoftmax):
        return x.log_softmax(1)
    if isinstance(layer, nn.Dropout2d):
        return x  # only in eval mode, or with p = 0: checked
    if getattr(layer, "inplace", False):
        # An in-place activation would write into the caller's image, or into a map that is still needed.
        x = x.clone()
    result: Tensor = layer(x)
    return result


def _normed(layer: nn.Module, x: Tensor) -> Tensor:
    """A norm of maps that are one pixel in the patch classifier: over the channels of each pixel."""
    rows = x.movedim(1, -1).flatten(0, -2)
    if isinstance(layer, nn.GroupNorm):
        # Not nn.functional's, which refuses a single pixel in training.
        rows = torch.group_norm(rows, layer.num_groups, layer.weight, layer.bias, layer.eps)
    else:
        assert isinstance(layer, nn.LayerNorm)
        weight, bias = (None if p is None else p.flatten() for p in (layer.weight, layer.bias))
        rows = nn.functional.layer_norm(rows, rows.shape[1:], weight, bias, layer.eps)
    return rows.view(x.shape[0], *x.shape[2:], -1).movedim(-1, 1)
