"""Forward-mode derivatives of every operator, in terms of the operators.

All operators are linear in each of their floating arguments, but for a convolution's activation and a
max-pool's choice of winners. So a tangent is the sum of the operator with one argument after another replaced
by its tangent; the activation's derivative is a function of the output, and a max-pool hands on what the
winners have.

`torch.library` knows no forward mode: where nothing requires a gradient it would drop tangents in silence. So
this is asked first, by `with_tangents`, whenever a level of forward mode is active.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from napari_dsparse.ops.autograd import OPS, at_winners, before_activation
from napari_dsparse.ops.schemas import argument_names

#: Arguments in which an operator is linear, one at a time; a bias is added, so it goes through alone.
LINEAR: Mapping[str, tuple[str, ...]] = {
    "conv2d": ("x", "weight"),
    "conv2d_input_grad": ("grad", "weight"),
    "conv2d_weight_grad": ("x", "grad"),
    "max_pool2d_backward": ("grad",),
    "avg_pool2d": ("x",),
    "avg_pool2d_backward": ("grad",),
    "site_conv2d": ("x", "weight"),
    "site_conv2d_input_grad": ("grad", "weight"),
    "site_conv2d_weight_grad": ("x", "grad"),
    "site_max_pool2d_backward": ("grad",),
    "site_avg_pool2d": ("x",),
    "site_avg_pool2d_backward": ("grad",),
}

Kernel = Callable[..., Any]
_unpack: Callable[..., Any] = forward_ad.unpack_dual
_make: Callable[..., Any] = forward_ad.make_dual


def with_tangents(name: str, kernel: Kernel) -> Kernel:
    """`kernel`, which differentiates operator `name` backward, for arguments that may have tangents too."""

    def run(keyset: Any, *args: Any) -> Any:
        if not in_forward_mode():
            return kernel(keyset, *args)
        pairs = [_unpack(arg) if isinstance(arg, Tensor) else (arg, None) for arg in args]
        primals, tangents = zip(*pairs, strict=True)
        if all(tangent is None for tangent in tangents):
            return kernel(keyset, *args)
        out = getattr(OPS, name)(*primals)
        tangent = tangent_of(name, primals, tangents, out)
        if tangent is None:
            return out
        if isinstance(out, tuple):
            return _make(out[0], tangent), *out[1:]
        return _make(out, tangent)

    return run


def in_forward_mode() -> bool:
    """True if tensors may have tangents now."""
    return forward_ad._current_level >= 0


def tangent_of(
    name: str, primals: Sequence[Any], tangents: Sequence[Tensor | None], out: Any
) -> Tensor | None:
    """Tangent of an operator's first result.

    Parameters
    ----------
    name : str
    primals : sequence
        All arguments.
    tangents : sequence of Tensor or None
        Theirs, in the same order.
    out : Tensor, or tuple of them
        What the operator gave for `primals`.

    Returns
    -------
    Tensor or None
        None where no argument that the result depends on smoothly has one.
    """
    names = argument_names(name)
    if name in ("max_pool2d", "site_max_pool2d"):
        return None if tangents[0] is None else _of_winners(name, primals, tangents[0], out)
    convolves = name in ("conv2d", "site_conv2d")
    plain = list(primals)
    if convolves:
        plain[names.index("bias")] = None
        plain[names.index("activation")], plain[names.index("slope")] = "none", 0.0
    total: Tensor | None = None
    for argument in LINEAR[name]:
        place = names.index(argument)
        tangent = tangents[place]
        if tangent is not None:
            term = getattr(OPS, name)(*plain[:place], tangent, *plain[place + 1 :])
            total = term if total is None else total + term
    if not convolves:
        return total
    bias = tangents[names.index("bias")]
    if bias is not None:
        # Along channels: axis 1 of maps and of rows.
        spread = bias.view(-1, 1, 1) if out.ndim == 4 else bias
        total = spread.expand_as(out) if total is None else total + spread
    activation, slope = (primals[names.index(what)] for what in ("activation", "slope"))
    if total is None or activation == "none":
        return total
    return before_activation(total, out, activation, slope)


def _of_winners(name: str, primals: Sequence[Any], tangent: Tensor, out: tuple[Tensor, Tensor]) -> Tensor:
    winners = out[1] if primals[-1] else getattr(OPS, name)(*primals[:-1], True)[1]
    if name == "max_pool2d":
        return at_winners(tangent, winners, *primals[1:3])
    rows: Tensor = primals[1]
    return tangent.gather(0, rows.long().gather(1, winners.long()))


def as_rule(name: str) -> Callable[..., Any]:
    """`tangent_of` as the `jvp` of a `torch.autograd.Function` that `remember` has prepared."""

    def jvp(ctx: Any, *tangents: Any) -> Any:
        saved = iter(ctx.saved_tensors)
        primals = [next(saved) if is_tensor else value for is_tensor, value in ctx.arguments]
        outputs = tuple(saved)
        out = outputs if len(outputs) > 1 else outputs[0]
        tangent = tangent_of(name, primals, tangents, out)
        if tangent is None:
            tangent = torch.zeros_like(outputs[0])
        return tangent if len(outputs) == 1 else (tangent, None)

    return jvp


def remember(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    """Keep what `as_rule` needs: all arguments and results."""
    ctx.arguments = [(isinstance(arg, Tensor), None if isinstance(arg, Tensor) else arg) for arg in inputs]
    outputs = output if isinstance(output, tuple) else (output,)
    ctx.save_for_forward(*(arg for arg in inputs if isinstance(arg, Tensor)), *outputs)
