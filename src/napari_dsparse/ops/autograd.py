"""Derivatives of every operator, in terms of the operators.

Convolution, its input gradient and its weight gradient are one family: each is linear in two arguments, and
its derivatives are the other two. Pools and their backward parts are each other's transposes. So everything
can be differentiated any number of times, and every pass runs on the same kernels.

What `setup` saves is what `backward` names first: no more is kept alive until the backward pass.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

#: The overloads, one an operator; looked up when called, since they exist only once the library is loaded.
OPS: Any = torch.ops.dsparse

Gradients = tuple[Tensor | None, ...]
Setup = Callable[[Any, tuple[Any, ...], Any], None]
Backward = Callable[..., Any]


def _conv2d_setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, weight, _, ctx.dilation, ctx.groups, ctx.activation, ctx.slope = inputs
    ctx.save_for_backward(x, weight, None if ctx.activation == "none" else output)


def _conv2d_backward(ctx: Any, grad: Tensor) -> Gradients:
    x, weight, out = ctx.saved_tensors
    grad = before_activation(grad, out, ctx.activation, ctx.slope)
    wants_x, wants_weight, wants_bias = ctx.needs_input_grad[:3]
    to_x = OPS.conv2d_input_grad(grad, weight, ctx.dilation, ctx.groups) if wants_x else None
    to_weight = (
        OPS.conv2d_weight_grad(x, grad, weight.shape[2:], ctx.dilation, ctx.groups) if wants_weight else None
    )
    to_bias = grad.sum((0, 2, 3)) if wants_bias else None
    return to_x, to_weight, to_bias, None, None, None, None


def _conv2d_input_grad_setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    grad, weight, ctx.dilation, ctx.groups = inputs
    ctx.save_for_backward(grad, weight)


def _conv2d_input_grad_backward(ctx: Any, seed: Tensor) -> Gradients:
    grad, weight = ctx.saved_tensors
    wants_grad, wants_weight = ctx.needs_input_grad[:2]
    to_grad = OPS.conv2d(seed, weight, None, ctx.dilation, ctx.groups, "none", 0.0) if wants_grad else None
    to_weight = (
        OPS.conv2d_weight_grad(seed, grad, weight.shape[2:], ctx.dilation, ctx.groups)
        if wants_weight
        else None
    )
    return to_grad, to_weight, None, None


def _conv2d_weight_grad_setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, grad, _, ctx.dilation, ctx.groups = inputs
    ctx.save_for_backward(x, grad)


def _conv2d_weight_grad_backward(ctx: Any, seed: Tensor) -> Gradients:
    x, grad = ctx.saved_tensors
    wants_x, wants_grad = ctx.needs_input_grad[:2]
    to_x = OPS.conv2d_input_grad(grad, seed, ctx.dilation, ctx.groups) if wants_x else None
    to_grad = OPS.conv2d(x, seed, None, ctx.dilation, ctx.groups, "none", 0.0) if wants_grad else None
    return to_x, to_grad, None, None, None


def _max_pool2d_setup(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    _, ctx.kernel, ctx.dilation, ctx.record = inputs
    ctx.save_for_backward(output[1])


def _max_pool2d_backward(ctx: Any, grad: Tensor, _: Tensor | None) -> Gradients:
    _need_winners(ctx.record)
    (winners,) = ctx.saved_tensors
    return OPS.max_pool2d_backward(grad, winners, ctx.kernel, ctx.dilation), None, None, None


def _max_pool2d_backward_setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    _, winners, ctx.kernel, ctx.dilation = inputs
    ctx.save_for_backward(winners)


def _max_pool2d_backward_backward(ctx: Any, seed: Tensor) -> Gradients:
    (winners,) = ctx.saved_tensors
    return at_winners(seed, winners, ctx.kernel, ctx.dilation), None, None, None


def _avg_pool2d_setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    _, ctx.kernel, ctx.dilation, ctx.divisor = inputs


def _avg_pool2d_backward(ctx: Any, grad: Tensor) -> Gradients:
    return OPS.avg_pool2d_backward(grad, ctx.kernel, ctx.dilation, ctx.divisor), None, None, None


def _avg_pool2d_backward_backward(ctx: Any, seed: Tensor) -> Gradients:
    return OPS.avg_pool2d(seed, ctx.kernel, ctx.dilation, ctx.divisor), None, None, None


def _site_conv2d_setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, weight, _, rows, inverse, ctx.groups, ctx.activation, ctx.slope = inputs
    ctx.save_for_backward(x, weight, rows, inverse, None if ctx.activation == "none" else output)


def _site_conv2d_backward(ctx: Any, grad: Tensor) -> Gradients:
    x, weight, rows, inverse, out = ctx.saved_tensors
    grad = before_activation(grad, out, ctx.activation, ctx.slope)
    wants_x, wants_weight, wants_bias = ctx.needs_input_grad[:3]
    to_x = OPS.site_conv2d_input_grad(grad, weight, rows, inverse, ctx.groups) if wants_x else None
    to_weight = (
        OPS.site_conv2d_weight_grad(x, grad, rows, inverse, weight.shape[2:], ctx.groups)
        if wants_weight
        else None
    )
    to_bias = grad.sum(0) if wants_bias else None
    return to_x, to_weight, to_bias, None, None, None, None, None


def _site_conv2d_input_grad_setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    grad, weight, rows, inverse, ctx.groups = inputs
    ctx.save_for_backward(grad, weight, rows, inverse)


def _site_conv2d_input_grad_backward(ctx: Any, seed: Tensor) -> Gradients:
    grad, weight, rows, inverse = ctx.saved_tensors
    wants_grad, wants_weight = ctx.needs_input_grad[:2]
    to_grad = (
        OPS.site_conv2d(seed, weight, None, rows, inverse, ctx.groups, "none", 0.0) if wants_grad else None
    )
    to_weight = (
        OPS.site_conv2d_weight_grad(seed, grad, rows, inverse, weight.shape[2:], ctx.groups)
        if wants_weight
        else None
    )
    return to_grad, to_weight, None, None, None


def _site_conv2d_weight_grad_setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, grad, rows, inverse, _, ctx.groups = inputs
    ctx.save_for_backward(x, grad, rows, inverse)


def _site_conv2d_weight_grad_backward(ctx: Any, seed: Tensor) -> Gradients:
    x, grad, rows, inverse = ctx.saved_tensors
    wants_x, wants_grad = ctx.needs_input_grad[:2]
    to_x = OPS.site_conv2d_input_grad(grad, seed, rows, inverse, ctx.groups) if wants_x else None
    to_grad = OPS.site_conv2d(x, seed, None, rows, inverse, ctx.groups, "none", 0.0) if wants_grad else None
    return to_x, to_grad, None, None, None, None


def _site_max_pool2d_setup(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    _, rows, inverse, ctx.record = inputs
    ctx.save_for_backward(output[1], rows, inverse)


def _site_max_pool2d_backward(ctx: Any, grad: Tensor, _: Tensor | None) -> Gradients:
    _need_winners(ctx.record)
    return OPS.site_max_pool2d_backward(grad, *ctx.saved_tensors), None, None, None


def _site_max_pool2d_backward_setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    _, winners, rows, _ = inputs
    ctx.save_for_backward(winners, rows)


def _site_max_pool2d_backward_backward(ctx: Any, seed: Tensor) -> Gradients:
    winners, rows = ctx.saved_tensors
    return seed.gather(0, rows.long().gather(1, winners.long())), None, None, None


def _site_avg_pool2d_setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    _, rows, inverse, ctx.divisor = inputs
    ctx.save_for_backward(rows, inverse)


def _site_avg_pool2d_backward(ctx: Any, grad: Tensor) -> Gradients:
    return OPS.site_avg_pool2d_backward(grad, *ctx.saved_tensors, ctx.divisor), None, None, None


def _site_avg_pool2d_backward_backward(ctx: Any, seed: Tensor) -> Gradients:
    return OPS.site_avg_pool2d(seed, *ctx.saved_tensors, ctx.divisor), None, None, None


def before_activation(grad: Tensor, out: Tensor | None, activation: str, slope: float) -> Tensor:
    """Gradient to the sum that an activation was applied to, from the activation's output."""
    if out is None:
        return grad
    aten: Any = torch.ops.aten
    if activation == "tanh":
        passed: Tensor = aten.tanh_backward(grad, out)
    elif slope:
        passed = aten.leaky_relu_backward(grad, out, slope, True)
    else:
        passed = aten.threshold_backward(grad, out, 0)
    return passed


def _need_winners(record: bool) -> None:
    if not record:
        raise RuntimeError("This max-pool ran with record=False; differentiating it takes record=True.")


def at_winners(x: Tensor, winners: Tensor, kernel: Any, dilation: Any) -> Tensor:
    """Values of a map at each window's winner: what max-pool would give, had these taps won."""
    rows, columns = winners.shape[2:]
    tap = winners.long()
    y = torch.arange(rows, device=x.device)[:, None] + tap // kernel[1] * dilation[0]
    place = y * x.shape[3] + torch.arange(columns, device=x.device) + tap % kernel[1] * dilation[1]
    return x.flatten(2).gather(2, place.flatten(2)).view_as(winners)


#: What to save and how to go back, by operator.
RULES: Mapping[str, tuple[Setup, Backward]] = {
    "conv2d": (_conv2d_setup, _conv2d_backward),
    "conv2d_input_grad": (_conv2d_input_grad_setup, _conv2d_input_grad_backward),
    "conv2d_weight_grad": (_conv2d_weight_grad_setup, _conv2d_weight_grad_backward),
    "max_pool2d": (_max_pool2d_setup, _max_pool2d_backward),
    "max_pool2d_backward": (_max_pool2d_backward_setup, _max_pool2d_backward_backward),
    "avg_pool2d": (_avg_pool2d_setup, _avg_pool2d_backward),
    "avg_pool2d_backward": (_avg_pool2d_setup, _avg_pool2d_backward_backward),
    "site_conv2d": (_site_conv2d_setup, _site_conv2d_backward),
    "site_conv2d_input_grad": (_site_conv2d_input_grad_setup, _site_conv2d_input_grad_backward),
    "site_conv2d_weight_grad": (_site_conv2d_weight_grad_setup, _site_conv2d_weight_grad_backward),
    "site_max_pool2d": (_site_max_pool2d_setup, _site_max_pool2d_backward),
    "site_max_pool2d_backward": (_site_max_pool2d_backward_setup, _site_max_pool2d_backward_backward),
    "site_avg_pool2d": (_site_avg_pool2d_setup, _site_avg_pool2d_backward),
    "site_avg_pool2d_backward": (_site_avg_pool2d_setup, _site_avg_pool2d_backward_backward),
}
