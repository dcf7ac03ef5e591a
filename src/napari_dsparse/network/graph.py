"""A patch classifier as a graph of layers, before the size of the patch is known.

Functions and methods become the layers that do the same: `F.relu(x)` is `nn.ReLU()`, `x.mean((2, 3))` is
`nn.AdaptiveAvgPool2d(1)` and a Flatten. The result has layers, slices and joins only.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from types import EllipsisType
from typing import Any

from torch import fx, nn

from napari_dsparse.errors import ConversionError
from napari_dsparse.network.functions import (
    ACTIVATIONS,
    CATS,
    FLATTENS,
    IN_PLACE,
    MAXIMA,
    MEANS,
    RESHAPES,
    SUMS,
)
from napari_dsparse.network.supported import (
    GLOBAL_POOLS,
    MAP_NORMS,
    POOLS,
    check_layer,
    known_layers,
    pair,
    refusal,
)
from napari_dsparse.network.tracing import Traced, trace_operations

#: The patch itself, as the input of a layer.
PATCH = -1


@dataclass(frozen=True, slots=True)
class Slices:
    """Part of a map by slicing: `x[:, channels, rows, columns]`."""

    channels: slice
    rows: slice
    columns: slice


@dataclass(frozen=True, slots=True)
class Join:
    """Several maps made one: "cat" along channels, or their "sum"."""

    kind: str


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """One layer of the graph.

    Parameters
    ----------
    name : str
        Dotted name in the network, for messages.
    what : nn.Module, Slices or Join
    inputs : tuple of int
        Numbers of the layers it reads; PATCH is the patch itself.
    channels : int or None
        Of its output; None where the network does not determine it.
    one_pixel : str
        Why it is exact only where the map of the patch is one pixel; "" if it is anyway.
    taps : three pairs of int, or None
        Kernel, own dilation and stride of a convolution or pool.
    """

    name: str
    what: nn.Module | Slices | Join
    inputs: tuple[int, ...]
    channels: int | None = None
    one_pixel: str = ""
    taps: tuple[tuple[int, int], tuple[int, int], tuple[int, int]] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class _Value:
    """Output of a node of the trace: that of layer `number`, flattened to (N, features) or a map."""

    number: int
    channels: int | None
    flat: bool


def read_graph(network: nn.Module) -> tuple[tuple[Layer, ...], bool]:
    """The layers of `network` that its result needs, in order, and whether it is flattened at the end.

    Raises
    ------
    ConversionError
        If something in it is no layer with a whole-image form; the message names it.
    """
    reader = _Reader(trace_operations(network))
    return tuple(reader.layers), reader.result.flat


class _Reader:
    """Walks through a trace and records its layers."""

    def __init__(self, traced: Traced) -> None:
        self._traced = traced
        self.layers: list[Layer] = []
        self._values: dict[fx.Node, _Value] = {traced.patch: _Value(PATCH, None, False)}
        needed = _needed(traced)
        self._order = [node for node in traced.patch.graph.nodes if node in needed]
        self._uses = {
            node: sum(other in needed and not _is_size(other) for other in node.users) for node in needed
        }
        self._uses[traced.result] = self._uses.get(traced.result, 0) + 1
        for node in self._order:
            if node is not traced.patch and not _is_size(node):
                self._values[node] = self._read(node)
        self.result = self._values[traced.result]

    def _read(self, node: fx.Node) -> _Value:
        if node.op == "call_module":
            layer = self._traced.layers[str(node.target)]
            check_layer(str(node.target), layer)
            if len(node.args) != 1 or node.kwargs:
                raise refusal(str(node.target), layer, "it is called with more than one map")
            return self._layer(node, str(node.target), layer, self._value(node, node.args[0]))
        target: Any = node.target
        if target in CATS:
            return self._cat(node)
        if target in SUMS:
            return self._sum(node)
        if target is operator.getitem:
            return self._slices(node)
        if target in FLATTENS or target in RESHAPES:
            return self._flatten(node)
        if target in MEANS or target in MAXIMA:
            return self._mean(node)
        if target in IN_PLACE or target in ACTIVATIONS:
            return self._function(node)
        raise self._refused(node, known_layers())

    def _layer(self, node: fx.Node, name: str, layer: nn.Module, x: _Value) -> _Value:
        if getattr(layer, "inplace", False) and not isinstance(layer, nn.Dropout2d):
            self._check_overwriting(node)
        if isinstance(layer, nn.Flatten):
            return _Value(x.number, x.channels, True)
        if isinstance(layer, nn.Identity):
            return x
        one_pixel = _check_place(name, layer, x)
        return self._add(name, layer, [x], _channels_after(layer, x.channels), x.flat, one_pixel)

    def _function(self, node: fx.Node) -> _Value:
        target: Any = node.target
        kind = IN_PLACE.get(target) or ACTIVATIONS[target]
        options = dict(node.kwargs)
        first = node.args[0] if node.args else options.pop("input", None)
        options.pop("_stacklevel", None)
        if options.get("dtype", 0) is None:
            del options["dtype"]
        if target in IN_PLACE or options.pop("inplace", False):
            self._check_overwriting(node)
        try:
            layer = kind(*node.args[1:], **options)
        except TypeError as error:
            raise self._refused(node, f"its arguments are not those of {kind.__name__} ({error})") from error
        layer.eval()
        name = self._name(node)
        check_layer(name, layer)
        return self._layer(node, name, layer, self._value(node, first))

    def _cat(self, node: fx.Node) -> _Value:
        parts = node.args[0] if node.args else node.kwargs.get("tensors")
        axis = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim", node.kwargs.get("axis", 0))
        if not isinstance(parts, list | tuple):
            raise self._refused(node, "what it puts side by side cannot be told")
        values = [self._value(node, part) for part in parts]
        flat = self._all_flat(node, values)
        if axis not in ((1, -1) if flat else (1, -3)):
            raise self._refused(node, f"it joins along axis {axis}; only the channels, dim=1, are exact")
        each = [value.channels for value in values]
        channels = None if None in each else sum(c for c in each if c is not None)
        reason = "it puts flattened maps side by side, which a Linear layer would tell apart by place"
        return self._add(self._name(node), Join("cat"), values, channels, flat, reason if flat else "")

    def _sum(self, node: fx.Node) -> _Value:
        terms = (*node.args, *(node.kwargs[key] for key in ("input", "other") if key in node.kwargs))
        if node.kwargs.get("alpha", 1) != 1:
            raise self._refused(node, "its terms have factors (alpha)")
        if 0 in [term for term in terms if isinstance(term, int | float)]:  # as sum() begins
            return self._value(node, next(term for term in terms if isinstance(term, fx.Node)))
        values = [self._value(node, term) for term in terms]
        if node.target in (operator.iadd, "add_"):
            self._check_overwriting(node)
        flat = self._all_flat(node, values)
        known = [value.channels for value in values if value.channels is not None]
        channels = max(known) if len(known) == len(values) else None
        return self._add(self._name(node), Join("sum"), values, channels, flat)

    def _slices(self, node: fx.Node) -> _Value:
        x, key = self._value(node, node.args[0]), node.args[1]
        wanted = list(key) if isinstance(key, tuple) else [key]
        axes = 2 if x.flat else 4
        flat = x.flat
        if flat and wanted[-2:] == [None, None]:  # (N, features) -> (N, features, 1, 1)
            flat, wanted = False, wanted[:-2]
        for at, one in enumerate(wanted):
            if isinstance(one, EllipsisType):
                wanted[at : at + 1] = [slice(None)] * (axes - len(wanted) + 1)
                break
        wanted += [slice(None)] * (axes - len(wanted))
        plain = all(
            isinstance(one, slice) and all(v is None or isinstance(v, int) for v in _bounds(one))
            for one in wanted
        )
        if not plain or len(wanted) > axes:
            raise self._refused(node, f"it is indexed by {key}; only slices with fixed bounds are exact")
        parts: list[Any] = wanted
        batch, channels, *window = parts
        if batch != slice(None):
            raise self._refused(
                node, "it takes some of the patches; only channels, rows and columns may be cut"
            )
        rows, columns = window or (slice(None), slice(None))
        left = None if x.channels is None else len(range(*channels.indices(x.channels)))
        reason = "it cuts a flattened map, whose features are places and channels at once" if x.flat else ""
        return self._add(self._name(node), Slices(channels, rows, columns), [x], left, flat, reason)

    def _flatten(self, node: fx.Node) -> _Value:
        x, rest = self._value(node, node.args[0]), node.args[1:]
        start = rest[0] if rest else node.kwargs.get("start_dim", 0)
        end = rest[1] if len(rest) > 1 else node.kwargs.get("end_dim", -1)
        if node.target in RESHAPES:
            shape = rest[0] if len(rest) == 1 and isinstance(rest[0], list | tuple) else rest
            whole = len(shape) == 2 and _is_batch_size(shape[0]) and shape[1] == -1
        else:
            whole = start == 1 and end in ((-1, 1) if x.flat else (-1, 3))
        if not whole:
            raise self._refused(node, "only flatten(1), which leaves (N, features), can be converted")
        return _Value(x.number, x.channels, True)

    def _mean(self, node: fx.Node) -> _Value:
        x, rest = self._value(node, node.args[0]), node.args[1:]
        axes = rest[0] if rest else node.kwargs.get("dim")
        keep = rest[1] if len(rest) > 1 else node.kwargs.get("keepdim", False)
        if x.flat or not isinstance(axes, list | tuple) or sorted(axis % 4 for axis in axes) != [2, 3]:
            raise self._refused(
                node, f"it is taken over axes {axes}; only rows and columns, (2, 3), are exact"
            )
        if node.kwargs.get("dtype") is not None:
            raise self._refused(node, "it changes the number type")
        pool = nn.AdaptiveAvgPool2d(1) if node.target in MEANS else nn.AdaptiveMaxPool2d(1)
        pooled = self._layer(node, self._name(node), pool, x)
        return pooled if keep else _Value(pooled.number, pooled.channels, True)

    def _add(
        self,
        name: str,
        what: nn.Module | Slices | Join,
        inputs: Sequence[_Value],
        channels: int | None,
        flat: bool,
        one_pixel: str = "",
    ) -> _Value:
        numbers = tuple(value.number for value in inputs)
        self.layers.append(Layer(name, what, numbers, channels, one_pixel, _taps(what)))
        return _Value(len(self.layers) - 1, channels, flat)

    def _value(self, node: fx.Node, argument: object) -> _Value:
        if isinstance(argument, fx.Node) and argument in self._values:
            return self._values[argument]
        raise self._refused(node, f"{argument} is no map of the patch")

    def _all_flat(self, node: fx.Node, values: Sequence[_Value]) -> bool:
        flat = {value.flat for value in values}
        if len(flat) != 1:
            raise self._refused(node, "it joins maps with what has been flattened; flatten all or none")
        return flat.pop()

    def _check_overwriting(self, node: fx.Node) -> None:
        """Refuse in-place writes to a map that is read elsewhere: by a branch, or through a slice of it."""
        source: Any = node.all_input_nodes[0]
        while True:
            if self._uses[source] > 1:
                raise self._refused(node, "it writes into a map that another branch reads; set inplace=False")
            if source is self._traced.patch or not self._is_view(source):
                return
            source = source.all_input_nodes[0]

    def _is_view(self, node: fx.Node) -> bool:
        layer = self._traced.layers.get(str(node.target)) if node.op == "call_module" else None
        views = (operator.getitem, *FLATTENS, *RESHAPES, "contiguous")
        passing = isinstance(layer, (nn.Identity, nn.Flatten, nn.Dropout, nn.AlphaDropout, nn.Dropout2d))
        return passing or getattr(layer, "inplace", False) or node.target in views

    def _name(self, node: fx.Node) -> str:
        owner = self._traced.owners.get(node)
        within = owner[0] + "." if owner and owner[0] != "network" else ""
        return within + node.name

    def _refused(self, node: fx.Node, reason: str) -> ConversionError:
        if node.op == "call_module":
            return refusal(str(node.target), self._traced.layers[str(node.target)], reason)
        name, owner = self._traced.owners.get(node, ("network", None))
        what = getattr(node.target, "__name__", str(node.target))
        return ConversionError(
            f"Layer {name!r} ({type(owner).__name__}) cannot be converted exactly: its operation {what} "
            f"({node.name!r}): {reason}."
        )


def _needed(traced: Traced) -> set[fx.Node]:
    """Nodes that the result depends on."""
    found, waiting = {traced.patch}, [traced.result]
    while waiting:
        node = waiting.pop()
        if node not in found:
            found.add(node)
            waiting += node.all_input_nodes
    return found


def _is_size(node: fx.Node) -> bool:
    """True if a node asks for a size, `x.size(0)` or `x.shape[0]`: evaluated where it is used."""
    if node.target is operator.getitem:
        return isinstance(node.args[0], fx.Node) and _is_size(node.args[0])
    return node.target == "size" or (node.target is getattr and node.args[1] == "shape")


def _is_batch_size(size: object) -> bool:
    """True if `size` is the number of patches."""
    if not isinstance(size, fx.Node) or not _is_size(size):
        return False
    if size.target == "size":
        return size.args[1:] == (0,)
    return bool(size.target is operator.getitem and size.args[1] == 0)


def _bounds(one: slice) -> tuple[Any, Any, Any]:
    return one.start, one.stop, one.step


def _taps(what: object) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]] | None:
    """Kernel, own dilation and stride of a convolution or pool."""
    if not isinstance(what, (nn.Conv2d, *POOLS)):
        return None
    kernel = pair(what.kernel_size)
    return kernel, pair(getattr(what, "dilation", 1)), pair(what.stride or kernel)


def _channels_after(layer: nn.Module, before: int | None) -> int | None:
    if isinstance(layer, nn.Conv2d):
        return layer.out_channels
    if isinstance(layer, nn.Linear):
        return layer.out_features
    return layer.num_features if isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d)) else before


def _check_place(name: str, layer: nn.Module, x: _Value) -> str:
    """Refuse a layer that cannot stand where it does; else why the map must be one pixel there, or ""."""
    if isinstance(layer, nn.Linear) and not x.flat:
        raise refusal(name, layer, "it has no Flatten before it, so it would act on image columns")
    if x.flat and isinstance(layer, (nn.Conv2d, *POOLS, *GLOBAL_POOLS)):
        raise refusal(name, layer, "it comes after a Flatten; use Linear layers there")
    if isinstance(layer, nn.BatchNorm1d) and not x.flat:
        raise refusal(name, layer, "it has no Flatten before it; use BatchNorm2d on maps")
    if isinstance(layer, nn.BatchNorm2d) and x.flat:
        raise refusal(name, layer, "it comes after a Flatten; use BatchNorm1d there")
    if isinstance(layer, (nn.Softmax, nn.LogSoftmax)) and layer.dim not in ((1, -1) if x.flat else (1, -3)):
        raise refusal(name, layer, f"it acts on axis {layer.dim}; only the channels, dim=1, are exact")
    if isinstance(layer, nn.LayerNorm):
        axes = 1 if x.flat else 3
        if len(layer.normalized_shape) != axes or any(n != 1 for n in layer.normalized_shape[1:]):
            raise refusal(
                name,
                layer,
                f"it normalises {tuple(layer.normalized_shape)}; exact is "
                + ("(channels,)" if x.flat else "(channels, 1, 1), where the map is one pixel"),
            )
    if isinstance(layer, MAP_NORMS):
        return "it normalises a whole map, which patches do not share; put it where the map is one pixel"
    per_channel = isinstance(layer, (nn.BatchNorm1d, nn.Softmax, nn.LogSoftmax)) or (
        isinstance(layer, nn.PReLU) and layer.num_parameters > 1
    )
    if x.flat and per_channel:
        return "it acts on a flattened map as a whole; put it after the first Linear"
    return ""
