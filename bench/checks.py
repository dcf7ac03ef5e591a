"""Correctness checks that precede the timings: every operator, on the device that is timed."""

from __future__ import annotations

import math
import secrets
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from napari_dsparse.ops import reference
from napari_dsparse.ops.library import OPS
from napari_dsparse.ops.schemas import SCHEMAS, argument_names
from napari_dsparse.sites import TapWindow, dependency_closure

#: Largest error against float64 that rounding explains, relative to the largest value of the result.
TOLERANCE = {torch.float32: 2e-3, torch.float16: 4e-3, torch.bfloat16: 2e-2, torch.float64: 1e-12}

DTYPES = (torch.float32, torch.float16, torch.bfloat16)


def arguments(
    operator: str, draw: np.random.Generator, device: torch.device, dtype: torch.dtype
) -> list[Any]:
    """Random arguments of a random small shape."""
    kernel = int(draw.integers(1, 6)), int(draw.integers(1, 6))
    dilation = int(draw.integers(1, 9)), int(draw.integers(1, 9))
    out = int(draw.integers(1, 40)), int(draw.integers(1, 150))
    size = tuple(o + (k - 1) * d for o, k, d in zip(out, kernel, dilation, strict=True))
    channels, outputs = int(draw.integers(1, 71)), int(draw.integers(1, 71))
    wanted = np.sort(draw.permutation(out[0] * out[1])[:500])
    frame = wanted // out[1] * size[1] + wanted % out[1]
    (found,) = dependency_closure([TapWindow(kernel, dilation)], frame, size[1]).maps
    found = found.to(device)
    on_sites, pool = operator.startswith("site_"), "pool" in operator

    def tensor(*shape: int) -> Tensor:
        return torch.from_numpy(draw.standard_normal(shape)).to(device, dtype)

    x = tensor(found.inputs, channels) if on_sites else tensor(2, channels, *size)
    width = channels if pool else outputs
    grad = tensor(found.outputs, width) if on_sites else tensor(2, width, *out)
    winners = torch.from_numpy(draw.integers(0, kernel[0] * kernel[1], tuple(grad.shape), dtype=np.uint8))
    makers: dict[str, Callable[[], Any]] = {
        "x": lambda: x,
        "grad": lambda: grad,
        "weight": lambda: tensor(outputs, channels, *kernel),
        "bias": lambda: tensor(outputs),
        "winners": lambda: winners.to(device),
        "rows": lambda: found.rows,
        "inverse": lambda: found.inverse,
        "kernel": lambda: kernel,
        "dilation": lambda: dilation,
        "groups": lambda: 1,
        "activation": lambda: "relu",
        "slope": lambda: 0.1,
        "divisor": lambda: 3,
        "record": lambda: True,
    }
    return [makers[name]() for name in argument_names(operator)]


def wide(args: list[Any]) -> list[Any]:
    """The same in float64, on the CPU."""
    return [
        (a.cpu().double() if a.is_floating_point() else a.cpu()) if isinstance(a, Tensor) else a for a in args
    ]


def error(got: Any, wanted: Any) -> float:
    """Largest difference, relative to the largest value; infinite if winners differ or anything is NaN."""
    if isinstance(got, tuple):
        return error(got[0], wanted[0]) if torch.equal(got[1].cpu(), wanted[1]) else math.inf
    largest = float((got.cpu().double() - wanted).abs().max() / wanted.abs().max().clamp_min(1e-30))
    return math.inf if math.isnan(largest) else largest


def operators_equal_float64(device: torch.device, rounds: int = 5) -> Iterator[tuple[str, bool, str]]:
    """(what, holds, detail) for every operator and type, on random shapes."""
    seed = secrets.randbits(32)
    for dtype in DTYPES:
        for operator in SCHEMAS:
            draw = np.random.default_rng([seed, len(operator)])
            worst = 0.0
            for _ in range(rounds):
                args = arguments(operator, draw, device, dtype)
                wanted = getattr(reference, operator)(*wide(args))
                worst = max(worst, error(getattr(OPS, operator)(*args), wanted))
            short = str(dtype).removeprefix("torch.")
            yield f"{operator} {short}", worst <= TOLERANCE[dtype], f"error {worst:.1e}, seed {seed}"


def wide_pools_have_the_bits_of_a_processor(device: torch.device) -> Iterator[tuple[str, bool, str]]:
    """Sums by doubling add in one order everywhere, so a device's results are those of the processor."""
    generator = torch.Generator().manual_seed(5)
    for dtype in DTYPES:
        for kernel in ((9, 25), (193, 64), (1, 49)):
            holds = True
            for layout in (torch.contiguous_format, torch.channels_last):
                size = [(k - 1) * 2 + 70 for k in kernel]
                x = torch.randn(2, 3, *size, generator=generator).to(dtype).contiguous(memory_format=layout)
                for operator in (OPS.avg_pool2d, OPS.avg_pool2d_backward):
                    args = kernel, (2, 2), kernel[0] * kernel[1]
                    holds &= torch.equal(operator(x.to(device), *args).cpu(), operator(x, *args))
            short = str(dtype).removeprefix("torch.")
            yield f"average pool {kernel[0]} x {kernel[1]} {short}", holds, "bits of the processor"


def fragments_are_in_place(device: torch.device) -> Iterator[tuple[str, bool, str]]:
    """Small integers multiply exactly in every type: one value in a wrong lane and the result differs."""
    draw = np.random.default_rng(0)
    x = torch.from_numpy(draw.integers(-8, 9, (1, 64, 3, 130)))
    weight = torch.from_numpy(draw.integers(-8, 9, (64, 64, 1, 1)))
    wanted = torch.einsum("ncyx,kc->nkyx", x, weight[:, :, 0, 0])
    for dtype in DTYPES:
        # Values and sums are exact in every type the products use, so only the result is rounded, once.
        exact = (wanted.double() / 8).to(dtype)
        for layout in (torch.contiguous_format, torch.channels_last):
            given = (x.double() / 8).to(device, dtype).contiguous(memory_format=layout)
            got = OPS.conv2d(given, weight.to(device, dtype), None, (1, 1), 1, "none", 0.0)
            yield (
                f"golden product {str(dtype).removeprefix('torch.')}, {str(layout).removeprefix('torch.')}",
                bool(torch.equal(got.cpu(), exact)),
                "bit for bit",
            )


def runs_repeat(device: torch.device) -> Iterator[tuple[str, bool, str]]:
    """Every operator gives the same bits twice."""
    for operator in SCHEMAS:
        args = arguments(operator, np.random.default_rng(1), device, torch.float32)
        one, other = getattr(OPS, operator)(*args), getattr(OPS, operator)(*args)
        pairs = zip(one, other, strict=True) if isinstance(one, tuple) else [(one, other)]
        yield f"{operator} repeats", all(torch.equal(a, b) for a, b in pairs), "bit for bit"


def works_from_a_fresh_thread(device: torch.device) -> Iterator[tuple[str, bool, str]]:
    """A worker's first call, before anything has touched CUDA there."""
    args = arguments("conv2d", np.random.default_rng(2), device, torch.float32)
    results: list[Tensor] = []
    thread = threading.Thread(target=lambda: results.append(OPS.conv2d(*args)))
    thread.start()
    thread.join()
    yield "launch from a fresh thread", bool(results) and torch.equal(results[0], OPS.conv2d(*args)), ""


def can_be_captured(device: torch.device) -> Iterator[tuple[str, bool, str]]:
    """A CUDA graph replays every operator on new values."""
    for operator in SCHEMAS:
        args = arguments(operator, np.random.default_rng(3), device, torch.float32)
        call = getattr(OPS, operator)
        call(*args)  # compiled and loaded before the capture
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            captured = call(*args)
        args[0].mul_(-1.5)
        graph.replay()
        wanted, got = call(*args), captured
        pairs = zip(got, wanted, strict=True) if isinstance(got, tuple) else [(got, wanted)]
        yield f"{operator} in a CUDA graph", all(torch.equal(a, b) for a, b in pairs), "replayed"
