"""Trace of a network on one patch, as a `torch.fx` graph.

`torch.fx.symbolic_trace` replaces `nn.Module.__call__` for the whole process while it runs, so that layers in
other threads would end up in its graph. Here the network's own modules are stood in for by shallow copies
whose layers write themselves down: nothing outside of them changes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor, fx, nn

from napari_dsparse.errors import ConversionError
from napari_dsparse.network.supported import check_hooks, is_supported, refusal

#: Modules of PyTorch that hold others and may be walked into; all others are layers.
CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
#: What a `forward` may raise when it is given a symbol instead of a patch.
UNTRACEABLE = (
    fx.proxy.TraceError, TypeError, ValueError, AttributeError, RuntimeError, LookupError,
)  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Traced:
    """A network's operations in the order in which they run.

    Parameters
    ----------
    patch, result : fx.Node
        The first and what is returned.
    layers : dict of str to nn.Module
        The layers by dotted name: targets of `call_module` nodes.
    owners : dict of fx.Node to (str, nn.Module)
        Whose `forward` holds an operation.
    """

    patch: fx.Node
    result: fx.Node
    layers: dict[str, nn.Module]
    owners: dict[fx.Node, tuple[str, nn.Module]]


def trace_operations(network: nn.Module) -> Traced:
    """Run `network` on a symbol.

    Raises
    ------
    ConversionError
        If its forward pass depends on values, or returns anything but one tensor.
    """
    writer = _Writer()
    patch = writer.create_proxy("placeholder", "patch", (), {})
    try:
        result = writer.stand_in(network, "")(patch)
    except ConversionError:
        raise
    except UNTRACEABLE as error:
        name, owner = writer.owner or ("network", network)
        raise ConversionError(
            f"Layer {name!r} ({type(owner).__name__}) cannot be traced by torch.fx: {error}. Its forward "
            "must be the same operations whatever the patch."
        ) from error
    if not isinstance(result, fx.Proxy):
        raise ConversionError(
            f"The network returns {type(result).__name__}; it must return one tensor of class scores."
        )
    return Traced(patch.node, result.node, writer.layers, writer.owners)


class _Symbol(fx.Proxy):
    """A value in the trace. `x += y` writes into `x`, which a plain Proxy does not tell."""

    def __iadd__(self, other: object) -> Any:
        return self.tracer.create_proxy("call_method", "add_", (self, other), {})


class _Mode:
    """Stands for `self.training`: what is written down once must not depend on it."""

    def __init__(self, name: str, module: nn.Module) -> None:
        self._whose = name, module

    def __bool__(self) -> bool:
        raise refusal(
            *self._whose,
            "its forward depends on self.training, which may change after conversion; use layers that follow "
            "train() and eval() themselves, as Dropout does",
        )

    def __eq__(self, other: object) -> bool:
        return bool(self)

    __hash__ = None  # type: ignore[assignment]


class _Writer(fx.proxy.GraphAppendingTracer):
    def __init__(self) -> None:
        super().__init__(fx.Graph())
        self.layers: dict[str, nn.Module] = {}
        self.owners: dict[fx.Node, tuple[str, nn.Module]] = {}
        self._within: list[tuple[str, nn.Module]] = []
        self._stand_ins: dict[nn.Module, nn.Module] = {}

    @property
    def owner(self) -> tuple[str, nn.Module] | None:
        return self._within[-1] if self._within else None

    def stand_in(self, module: nn.Module, name: str) -> nn.Module:
        """A copy of `module`, parameters shared, that writes down what it is asked to do."""
        if module in self._stand_ins:
            return self._stand_ins[module]
        copy = module.__class__.__new__(module.__class__)
        self._stand_ins[module] = copy
        fields = copy.__dict__
        fields.update(module.__dict__)
        # Hooks are refused by name, here or with the layer; meanwhile they must not run.
        fields.update({hooks: {} for hooks in HOOKS})
        if _is_layer(module):
            fields["forward"] = partial(self._write, module, name or "network")
            return copy
        prefix = f"{name}." if name else ""
        fields["_modules"] = {
            key: None if child is None else self.stand_in(child, prefix + key)
            for key, child in module._modules.items()
        }
        fields["training"] = _Mode(name or "network", module)
        if "forward" not in module.__dict__:
            fields["forward"] = partial(self._walk_in, module, name or "network", copy)
        return copy

    def create_arg(self, a: Any) -> Any:
        # Arguments that no layer has: the operation is refused by name, if its result is needed at all.
        return a if isinstance(a, Tensor | _Mode) else super().create_arg(a)

    def create_node(self, *args: Any, **kwargs: Any) -> fx.Node:
        node = super().create_node(*args, **kwargs)
        if self.owner:
            self.owners[node] = self.owner
        return node

    def proxy(self, node: fx.Node) -> fx.Proxy:
        return _Symbol(node, self)

    def _write(self, layer: nn.Module, name: str, *args: Any, **kwargs: Any) -> fx.Proxy:
        self.layers[name] = layer
        return self.create_proxy("call_module", name, args, kwargs)

    def _walk_in(self, module: nn.Module, name: str, copy: nn.Module, *args: Any, **kwargs: Any) -> Any:
        check_hooks(name, module)
        forward: Callable[..., Any] = type(module).forward
        with self._inside(name, module):
            return forward(copy, *args, **kwargs)

    @contextmanager
    def _inside(self, name: str, module: nn.Module) -> Iterator[None]:
        self._within.append((name, module))
        yield
        # Left in place by an error, which names the innermost.
        self._within.pop()


def _is_layer(module: nn.Module) -> bool:
    if is_supported(module):
        return True
    return type(module).__module__.startswith("torch.nn") and not isinstance(module, CONTAINERS)
