"""The operators under `torch.func`: grad, vjp, jvp, jacrev, jacfwd, vmap, and all of them nested.

What `torch.library.register_autograd` makes of a rule is a Function of the older kind, whose forward pass is
given the context, and `torch.func` refuses those. So while one of its transforms is active, an operator is a
Function of the newer kind, made of the same rule. A `vmap` runs the operator once an item of the batch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from napari_dsparse.ops.autograd import OPS, RULES
from napari_dsparse.ops.schemas import NAMESPACE, argument_names
from napari_dsparse.ops.tangents import as_rule, remember


def transformed(name: str) -> Callable[..., Any]:
    """The operator `name` for the dispatch key under which transforms look for one."""
    operator = getattr(OPS, name)
    setup, backward = RULES[name]

    def forward(*args: Any) -> Any:
        return operator(*args)

    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        setup(ctx, inputs, output)
        remember(ctx, inputs, output)

    def vmap(info: Any, in_dims: tuple[Any, ...], *args: Any) -> tuple[Any, Any]:
        if not info.batch_size:
            raise ValueError(f"{NAMESPACE}::{name} can't be mapped over a batch of no items; leave it out.")
        call: Callable[..., Any] = _max_pool(operator) if argument_names(name)[-1] == "record" else operator
        results = [call(*_item(args, in_dims, item)) for item in range(info.batch_size)]
        if isinstance(results[0], tuple):
            return tuple(torch.stack(parts) for parts in zip(*results, strict=True)), (0,) * len(results[0])
        return torch.stack(results), 0

    methods: dict[str, Callable[..., Any]] = {
        "forward": forward,
        "setup_context": setup_context,
        "backward": backward,
        "jvp": as_rule(name),
        "vmap": vmap,
    }
    function: Any = type(
        f"Transformed_{name}",
        (torch.autograd.Function,),
        {method: staticmethod(body) for method, body in methods.items()},
    )
    return lambda *args: function.apply(*args)


def _item(args: tuple[Any, ...], dims: tuple[Any, ...], item: int) -> tuple[Any, ...]:
    """One call of a batch: what has a batch axis without it, all else as it is."""
    return tuple(
        arg.select(dim, item) if isinstance(arg, Tensor) and dim is not None else arg
        for arg, dim in zip(args, dims, strict=True)
    )


def _max_pool(operator: Any) -> Callable[..., tuple[Tensor, Tensor]]:
    """A max-pool that finds its winners wherever a gradient may come: a batched tensor does not tell."""

    def run(x: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
        *places, record = rest
        out, winners = operator(x, *places, record or (torch.is_grad_enabled() and x.requires_grad))
        return out, winners if record else winners.new_empty(0)

    return run
