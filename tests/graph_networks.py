"""Random patch classifiers with branches: forks, slices, joins, pools over the whole map of the patch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from hypothesis import strategies as st
from torch import Tensor, nn

FUNCTIONS = {
    "relu": F.relu,
    "tanh": torch.tanh,
    "leaky": lambda x: F.leaky_relu(x, 0.2),
    "method": lambda x: x.sigmoid(),
    "mean": lambda x: x.mean((2, 3), keepdim=True),
    "mean behind": lambda x: torch.mean(x, (-2, -1), keepdim=True),
    "adaptive": lambda x: F.adaptive_avg_pool2d(x, 1),
    "largest": lambda x: F.adaptive_max_pool2d(x, 1),
    "flat mean": lambda x: x.mean((2, 3))[:, :, None, None],
    "flatten": lambda x: torch.flatten(x, 1),
    "pixel": lambda x: x[..., None, None],
}
GLOBAL = ("mean", "mean behind", "adaptive", "largest", "flat mean")
PLAIN = ("relu", "tanh", "leaky", "method")


class GraphNetwork(nn.Module):
    """Runs a program: each line is a kind, the numbers of earlier values, and what to do."""

    def __init__(
        self, layers: list[nn.Module], program: list[tuple[str, tuple[int, ...], Any]], channels: int
    ):
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.program = program
        self.in_channels = channels

    def forward(self, x: Tensor) -> Tensor:
        values = [x]
        for kind, inputs, what in self.program:
            given = [values[i] for i in inputs]
            if kind == "layer":
                values.append(self.layers[what](given[0]))
            elif kind == "slice":
                values.append(given[0][what])
            elif kind == "cat":
                values.append(torch.cat(given, what))
            elif kind == "sum":
                values.append(sum(given))
            else:
                values.append(FUNCTIONS[what](given[0]))
        return values[-1]


@dataclass(frozen=True)
class Value:
    channels: int
    size: tuple[int, int]
    dilation: tuple[int, int]


class _Builder:
    def __init__(self, draw: Any, channels: int, patch: tuple[int, int], exact: bool) -> None:
        self.draw = draw
        self.exact = exact
        self.layers: list[nn.Module] = []
        self.program: list[tuple[str, tuple[int, ...], Any]] = []
        self.values = [Value(channels, patch, (1, 1))]

    def add(self, kind: str, inputs: tuple[int, ...], what: Any, value: Value) -> int:
        self.program.append((kind, inputs, what))
        self.values.append(value)
        return len(self.values) - 1

    def layer(self, i: int, layer: nn.Module, value: Value) -> int:
        self.layers.append(layer)
        return self.add("layer", (i,), len(self.layers) - 1, value)

    def window(self, i: int) -> int:
        """A convolution or pool that fits, of any stride."""
        draw, own = self.draw, self.values[i]
        kernel = tuple(draw(st.integers(1, min(5, n))) for n in own.size)
        dilation = tuple(
            draw(st.integers(1, 2)) if 2 * (k - 1) < n else 1 for k, n in zip(kernel, own.size, strict=True)
        )
        stride = tuple(draw(st.integers(1, 2)) for _ in range(2))
        kind = draw(st.sampled_from(["conv", "grouped", "max", *([] if self.exact else ["avg", "avg"])]))
        if kind == "avg":
            dilation = (1, 1)
        size = tuple(
            (n - (k - 1) * d - 1) // s + 1
            for n, k, d, s in zip(own.size, kernel, dilation, stride, strict=True)
        )
        apart = tuple(d * s for d, s in zip(own.dilation, stride, strict=True))
        channels = own.channels
        if kind == "max":
            layer = nn.MaxPool2d(kernel, stride, dilation=dilation)
        elif kind == "avg":
            layer = nn.AvgPool2d(kernel, stride, divisor_override=draw(st.sampled_from([None, 3])))
        else:
            groups = channels if kind == "grouped" else 1
            channels = draw(st.integers(1, 2)) * groups
            layer = nn.Conv2d(own.channels, channels, kernel, stride, dilation=dilation, groups=groups)
        return self.layer(i, layer, Value(channels, size, apart))

    def pointwise(self, i: int) -> int:
        own = self.values[i]
        if self.exact:
            return self.add("function", (i,), "relu", own)
        kind = self.draw(st.sampled_from(["function", "norm", "slopes", "silu"]))
        if kind == "function":
            return self.add("function", (i,), self.draw(st.sampled_from(PLAIN)), own)
        if kind == "norm":
            norm = nn.BatchNorm2d(own.channels)
            nn.init.normal_(norm.running_mean), nn.init.uniform_(norm.running_var, 0.5, 2.0)
            return self.layer(i, norm, own)
        return self.layer(i, nn.PReLU(own.channels) if kind == "slopes" else nn.SiLU(), own)

    def slice(self, i: int) -> int:
        """Some channels, rows and columns."""
        draw, own = self.draw, self.values[i]
        lows = [draw(st.integers(0, (n - 1) // 2)) for n in own.size]
        highs = [draw(st.integers(0, n - 1 - low)) for n, low in zip(own.size, lows, strict=True)]
        first = draw(st.integers(0, own.channels - 1))
        last = draw(st.integers(first + 1, own.channels))
        rows, columns = (slice(low or None, -high or None) for low, high in zip(lows, highs, strict=True))
        key = (slice(None), slice(first, last), rows, columns)
        if (first, last) == (0, own.channels):
            key = (..., rows, columns)
        size = tuple(n - low - high for n, low, high in zip(own.size, lows, highs, strict=True))
        return self.add("slice", (i,), key, Value(last - first, size, own.dilation))

    def cut_to(self, i: int, size: tuple[int, int]) -> int:
        own = self.values[i]
        if own.size == size:
            return i
        parts = []
        for n, wanted in zip(own.size, size, strict=True):
            low = self.draw(st.integers(0, n - wanted))
            parts.append(slice(low or None, -(n - wanted - low) or None))
        return self.add("slice", (i,), (..., *parts), Value(own.channels, size, own.dilation))

    def join(self, i: int, j: int) -> int:
        one, two = self.values[i], self.values[j]
        size = tuple(min(n) for n in zip(one.size, two.size, strict=True))
        fits = all(n == 1 or d == e for n, d, e in zip(size, one.dilation, two.dilation, strict=True))
        if not fits:
            return self.window(i)
        i, j = self.cut_to(i, size), self.cut_to(j, size)
        if one.channels == two.channels and self.draw(st.booleans()):
            return self.add("sum", (i, j), None, Value(one.channels, size, one.dilation))
        axis = self.draw(st.sampled_from([1, -3]))
        return self.add("cat", (i, j), axis, Value(one.channels + two.channels, size, one.dilation))

    def to_one_pixel(self, i: int) -> int:
        own = self.values[i]
        if own.size == (1, 1):
            return i
        kind = self.draw(st.sampled_from(["conv", "linear", *(["largest"] if self.exact else GLOBAL)]))
        channels = self.draw(st.integers(1, 3))
        if kind == "conv":
            return self.layer(
                i, nn.Conv2d(own.channels, channels, own.size), Value(channels, (1, 1), own.dilation)
            )
        if kind == "linear":
            flat = self.add("function", (i,), "flatten", own)
            linear = nn.Linear(own.channels * own.size[0] * own.size[1], channels)
            pixel = Value(channels, (1, 1), (1, 1))
            return self.add("function", (self.layer(flat, linear, pixel),), "pixel", pixel)
        return self.add("function", (i,), kind, Value(own.channels, (1, 1), own.dilation))


@st.composite
def graph_networks(draw: Any, longest: int = 11, exact: bool = False) -> tuple[GraphNetwork, tuple[int, int]]:
    """A classifier of two classes in float64, and a patch that it takes.

    With `exact`, nothing is rounded before a maximum is taken, where the image holds whole numbers: what is
    equal on paper is equal in every form.
    """
    torch.manual_seed(draw(st.integers(0, 2**16)))
    patch = draw(st.integers(3, longest)), draw(st.integers(3, longest))
    builder = _Builder(draw, draw(st.integers(1, 3)), patch, exact)
    kinds = ["window", "window", "pointwise", "slice", "join", "join"]
    for _ in range(draw(st.integers(1, 7))):
        newest = len(builder.values) - 1
        i = draw(st.sampled_from([newest, newest, draw(st.integers(0, newest))]))
        kind = draw(st.sampled_from(kinds))
        if kind == "join":
            builder.join(i, draw(st.integers(0, newest)))
        else:
            getattr(builder, kind)(i)
    read = {i for _, inputs, _ in builder.program for i in inputs}
    ends = [i for i in range(len(builder.values)) if i not in read]
    last = [builder.to_one_pixel(i) for i in ends]
    channels = sum(builder.values[i].channels for i in last)
    value = Value(channels, (1, 1), (1, 1))
    end = builder.add("cat", tuple(last), 1, value) if len(last) > 1 else last[0]
    for norm in draw(st.sampled_from([[], ["layer"], ["group"]] if channels > 1 else [[]])):
        layer = nn.LayerNorm((channels, 1, 1)) if norm == "layer" else nn.GroupNorm(1, channels)
        nn.init.normal_(layer.weight), nn.init.normal_(layer.bias)
        end = builder.layer(end, layer, value)
    if draw(st.booleans()):
        end = builder.add("function", (end,), "flatten", value)
        end = builder.layer(end, nn.PReLU(channels), value)
        end = builder.layer(end, nn.LayerNorm(channels), value)
        builder.layer(end, nn.Linear(channels, 2), value)
    else:
        builder.layer(end, nn.Conv2d(channels, 2, 1), value)
    network = GraphNetwork(builder.layers, builder.program, builder.values[0].channels)
    if exact:
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.mul_(8).round_().div_(8)
    return network.double().eval(), patch
