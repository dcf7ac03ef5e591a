"""Times of every operator and of a whole network, beside what a user would write today."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from bench.networks import bench_network, labelled_band, plain_forward, step_on_map, step_on_sites
from bench.roofline import Counts, Layer, SiteLayer
from bench.timing import median_seconds
from napari_dsparse.ops.library import OPS
from napari_dsparse.sites import TapWindow, dependency_closure

Call = Callable[[], Any]

#: (taps per axis, dilation)
POOLS = ((2, 2), (2, 8), (3, 4))
#: The same for average pools with wide windows, where the map is large enough.
WIDE_POOLS = ((33, 1), (33, 4), (193, 1))
#: (input channels, output channels, taps per axis, dilation): the layers of the benchmark's network.
CONVOLUTIONS = ((1, 32, 5, 1), (32, 48, 5, 2), (48, 64, 3, 4), (64, 128, 5, 8))
POOL_CHANNELS = 32


@dataclass(frozen=True, slots=True)
class KernelRow:
    """One call on one shape: our time, others' by name, and our share of the device's peak.

    Where another failed (cuDNN has no such algorithm, or no memory for it) its time is None.
    """

    name: str
    arithmetic: str
    seconds: float
    others: dict[str, float | None]
    bandwidth_share: float | None
    rate_share: float | None


@dataclass(frozen=True, slots=True)
class Bench:
    """Device, sizes and duration of the timings.

    Parameters
    ----------
    device : torch.device
    size : int
        Pixels per side of a map.
    rates : dict
        Of this device: "copy" in bytes/s, number types in FLOP/s.
    seconds : float
        Spent on each time.
    """

    device: torch.device
    size: int
    rates: dict[str, float]
    seconds: float

    def row(
        self, name: str, dtype: torch.dtype, call: Call, counts: Counts | None, others: dict[str, Call]
    ) -> KernelRow:
        """Time `call` and the others; `counts` is None where shares are meaningless."""
        seconds = median_seconds(call, self.device, self.seconds)
        arithmetic = str(dtype).removeprefix("torch.")
        if "tf32" in self.rates and dtype == torch.float32 and "pool" not in name:
            arithmetic = "tf32"
        times = {label: self._seconds(other) for label, other in others.items()}
        if counts is None:
            return KernelRow(name, arithmetic, seconds, times, None, None)
        copied, multiplied = counts.bytes / self.rates["copy"], counts.flops / self.rates[arithmetic]
        return KernelRow(name, arithmetic, seconds, times, copied / seconds, multiplied / seconds)

    def _seconds(self, other: Call) -> float | None:
        try:
            return median_seconds(other, self.device, self.seconds)
        except RuntimeError:
            return None

    def random(self, *shape: int, dtype: torch.dtype) -> torch.Tensor:
        """Normal values on the device."""
        return torch.randn(*shape, device=self.device, dtype=dtype)


def measure(device: torch.device, size: int, rates: dict[str, float], seconds: float) -> Iterator[KernelRow]:
    """Times of everything."""
    bench = Bench(device, size, rates, seconds)
    for dtype in (torch.float32, torch.bfloat16) if device.type == "cuda" else (torch.float32,):
        for taps, dilation in POOLS:
            yield from _pools(bench, dtype, taps, dilation)
        for taps, dilation in WIDE_POOLS:
            if size > (taps - 1) * dilation:
                yield from _wide_pools(bench, dtype, taps, dilation)
        for shape in CONVOLUTIONS:
            yield from _convolutions(bench, dtype, *shape)
        yield from _sites(bench, dtype)
    yield from _network(bench)


def _pools(bench: Bench, dtype: torch.dtype, taps: int, dilation: int) -> Iterator[KernelRow]:
    k, d, channels = (taps, taps), (dilation, dilation), POOL_CHANNELS
    layer = Layer("", channels, channels, bench.size - (taps - 1) * dilation, taps, dilation, dtype.itemsize)
    x = bench.random(1, channels, bench.size, bench.size, dtype=dtype)
    last = x.to(memory_format=torch.channels_last)
    aten = torch.ops.aten
    out, winners = OPS.max_pool2d(x, k, d, True)
    indices = aten.max_pool2d_with_indices(x, k, (1, 1), (0, 0), d)[1]
    grad = torch.randn_like(out)
    name = f"{taps}x{taps}, d {dilation}"
    yield bench.row(
        f"max-pool {name}",
        dtype,
        lambda: OPS.max_pool2d(x, k, d, True),
        layer.pool(winners=True),
        {
            "ATen": lambda: F.max_pool2d(x, k, 1, 0, d, return_indices=True),
            "ATen channels-last": lambda: F.max_pool2d(last, k, 1, 0, d, return_indices=True),
        },
    )
    yield bench.row(
        f"max-pool {name}, backward",
        dtype,
        lambda: OPS.max_pool2d_backward(grad, winners, k, d),
        layer.pool(winners=True),
        {
            "ATen": lambda: aten.max_pool2d_with_indices_backward(
                grad, x, k, (1, 1), (0, 0), d, False, indices
            )
        },
    )
    means = torch.full((channels, 1, *k), 1 / taps**2, device=bench.device, dtype=dtype)
    yield bench.row(
        f"avg-pool {name}",
        dtype,
        lambda: OPS.avg_pool2d(x, k, d, taps**2),
        layer.pool(winners=False),
        {"depthwise convolution": lambda: F.conv2d(x, means, dilation=d, groups=channels)},
    )
    yield bench.row(
        f"avg-pool {name}, backward",
        dtype,
        lambda: OPS.avg_pool2d_backward(grad, k, d, taps**2),
        layer.pool(winners=False),
        {"depthwise convolution": lambda: F.conv_transpose2d(grad, means, dilation=d, groups=channels)},
    )


def _wide_pools(bench: Bench, dtype: torch.dtype, taps: int, dilation: int) -> Iterator[KernelRow]:
    channels, size = POOL_CHANNELS, bench.size - (taps - 1) * dilation
    counts = Layer("", channels, channels, size, taps, dilation, dtype.itemsize).wide_pool()
    x = bench.random(1, channels, bench.size, bench.size, dtype=dtype)
    grad = bench.random(1, channels, size, size, dtype=dtype)
    window = (taps, taps), (dilation, dilation), taps**2
    means = torch.full((channels, 1, taps, 1), 1 / taps, device=bench.device, dtype=dtype)

    def by_axis() -> torch.Tensor:
        rows = F.conv2d(x, means, dilation=dilation, groups=channels)
        return F.conv2d(rows, means.transpose(2, 3), dilation=dilation, groups=channels)

    name = f"wide avg-pool {taps}x{taps}, d {dilation}"
    yield bench.row(
        name,
        dtype,
        lambda: OPS.avg_pool2d(x, *window),
        counts,
        {"depthwise convolutions, axis by axis": by_axis},
    )
    yield bench.row(f"{name}, backward", dtype, lambda: OPS.avg_pool2d_backward(grad, *window), counts, {})


def _convolutions(
    bench: Bench, dtype: torch.dtype, channels: int, outputs: int, taps: int, dilation: int
) -> Iterator[KernelRow]:
    k, d = (taps, taps), (dilation, dilation)
    side = bench.size - (taps - 1) * dilation
    arithmetic = _arithmetic(bench, dtype)
    layer = Layer("", channels, outputs, side, taps, dilation, dtype.itemsize, arithmetic)
    x = bench.random(1, channels, bench.size, bench.size, dtype=dtype)
    weight = bench.random(outputs, channels, *k, dtype=dtype) / (channels * taps**2) ** 0.5
    grad = bench.random(1, outputs, side, side, dtype=dtype)
    plain = (x, weight, grad)
    last = (*(tensor.to(memory_format=torch.channels_last) for tensor in plain),)
    on_gpu = bench.device.type == "cuda"
    library = "cuDNN" if on_gpu else "PyTorch"
    parts: tuple[tuple[str, Call], ...] = (
        ("", lambda: OPS.conv2d(x, weight, None, d, 1, "none", 0.0)),
        (", input gradient", lambda: OPS.conv2d_input_grad(grad, weight, d, 1)),
        (", weight gradient", lambda: OPS.conv2d_weight_grad(x, grad, k, d, 1)),
    )
    for part, (what, call) in enumerate(parts):
        others = {
            library: _their_convolution(part, plain, d, deterministic=False),
            f"{library} channels-last": _their_convolution(part, last, d, deterministic=False),
        }
        if on_gpu:
            others[f"{library} deterministic"] = _their_convolution(part, plain, d, deterministic=True)
        name = f"conv {taps}x{taps}, {channels} -> {outputs}, d {dilation}{what}"
        yield bench.row(name, dtype, call, layer.conv(), others)


def _their_convolution(
    part: int, tensors: tuple[torch.Tensor, ...], dilation: tuple[int, int], *, deterministic: bool
) -> Call:
    """PyTorch's forward (part 0), input gradient (1) or weight gradient (2)."""
    x, weight, grad = tensors

    def call() -> Any:
        torch.backends.cudnn.deterministic = deterministic
        try:
            if part == 0:
                return F.conv2d(x, weight, dilation=dilation)
            return torch.ops.aten.convolution_backward(
                grad,
                x,
                weight,
                None,
                (1, 1),
                (0, 0),
                dilation,
                False,
                (0, 0),
                1,
                [part == 1, part == 2, False],
            )
        finally:
            torch.backends.cudnn.deterministic = False

    return call


def _arithmetic(bench: Bench, dtype: torch.dtype) -> str:
    if dtype.itemsize == 2:
        return "16"
    return "tf32" if "tf32" in bench.rates else "fma"


def _sites(bench: Bench, dtype: torch.dtype) -> Iterator[KernelRow]:
    """Sites of one stroke: a diagonal band across the map, 12 pixels wide."""
    size, channels, outputs = bench.size, 32, 48
    along = np.arange(size - 8)[:, None]
    band = np.unique((along * size + np.minimum(along + np.arange(12), size - 9)).ravel())
    (found,) = dependency_closure([TapWindow((5, 5), (2, 2))], band, size).maps
    found = found.to(bench.device)
    rows, inverse = found.rows, found.inverse
    x = bench.random(found.inputs, channels, dtype=dtype)
    weight = bench.random(outputs, channels, 5, 5, dtype=dtype) / 28
    grad = bench.random(found.outputs, outputs, dtype=dtype)
    matrix = weight.permute(2, 3, 1, 0).reshape(-1, outputs)
    layer = SiteLayer(
        "", channels, outputs, found.outputs, found.inputs, 25, dtype.itemsize, _arithmetic(bench, dtype)
    )

    def gathered() -> torch.Tensor:
        return x[rows].reshape(len(rows), -1)

    name = f"{found.outputs:,} sites"
    yield bench.row(
        f"{name}, conv 5x5, 32 -> 48",
        dtype,
        lambda: OPS.site_conv2d(x, weight, None, rows, inverse, 1, "none", 0.0),
        layer.conv(),
        {"gather and mm": lambda: gathered() @ matrix},
    )
    yield bench.row(
        f"{name}, conv, input gradient",
        dtype,
        lambda: OPS.site_conv2d_input_grad(grad, weight, rows, inverse, 1),
        layer.conv(),
        {
            "mm and index_add": lambda: torch.zeros_like(x).index_add_(
                0, rows.flatten(), (grad @ matrix.t()).reshape(-1, channels)
            )
        },
    )
    yield bench.row(
        f"{name}, conv, weight gradient",
        dtype,
        lambda: OPS.site_conv2d_weight_grad(x, grad, rows, inverse, (5, 5), 1),
        layer.weight_grad(),
        {"gather and mm": lambda: gathered().t() @ grad},
    )
    yield bench.row(
        f"{name}, max-pool 5x5",
        dtype,
        lambda: OPS.site_max_pool2d(x, rows, inverse, True),
        layer.pool(),
        {"gather and max": lambda: x[rows].max(1)},
    )


def _network(bench: Bench) -> Iterator[KernelRow]:
    """A whole patch classifier (patch 60): forward, and one training step with a stroke's labels."""
    network = bench_network(4).to(bench.device)
    x = bench.random(1, 1, bench.size, bench.size, dtype=torch.float32)
    yx, targets = labelled_band(bench.size, network)
    with torch.no_grad():
        yield bench.row(
            f"network forward, {bench.size} x {bench.size}",
            torch.float32,
            lambda: network(x),
            None,
            {"plain PyTorch": lambda: plain_forward(network, x)},
        )
    yield bench.row(
        f"training step, {len(yx):,} labels",
        torch.float32,
        step_on_sites(network, x, yx, targets),
        None,
        {"masked whole image": step_on_map(network, x, yx, targets)},
    )
