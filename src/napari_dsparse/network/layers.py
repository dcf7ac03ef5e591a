"""One layer of a patch classifier on whole maps, and which activations it can take along."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from torch import Tensor, nn

from napari_dsparse import ops
from napari_dsparse.network.geometry import Step

#: An activation and its slope, as `ops.conv2d` takes them.
Activation = tuple[str, float]
NO_ACTIVATION: Activation = ("none", 0.0)


def with_activations(
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


def convolves(step: Step) -> bool:
    """Whether a step multiplies with weights: a convolution, or a Linear layer, which is one."""
    return isinstance(step.module, (nn.Conv2d, nn.Linear))


def on_map(step: Step, x: Tensor, activation: Activation) -> Tensor:
    """A step on a whole map, (N, C, H, W) -> (N, K, H', W'), by this package's operators."""
    layer, window = step.module, step.window
    if window is None:
        return pointwise(layer, x)
    if isinstance(layer, nn.MaxPool2d):
        return ops.max_pool2d(x, window.kernel, window.dilation)
    if isinstance(layer, nn.AvgPool2d):
        return ops.avg_pool2d(x, window.kernel, window.dilation, layer.divisor_override)
    weight, bias, groups = kernel(step)
    return ops.conv2d(x, weight, bias, window.dilation, groups, *activation)


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
