"""Small arguments for every operator, to be checked in every way."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from napari_dsparse.ops import KernelMap
from napari_dsparse.ops.schemas import SCHEMAS, argument_names
from napari_dsparse.sites import TapWindow, dependency_closure


@dataclass(frozen=True)
class Case:
    """One layer on one map: what its operators take follows from it."""

    name: str
    kernel: tuple[int, int] = (3, 2)
    dilation: tuple[int, int] = (1, 2)
    size: tuple[int, int] = (5, 6)
    batch: int = 2
    channels: int = 2
    outputs: int = 3
    groups: int = 1
    bias: bool = True
    activation: str = "none"
    slope: float = 0.0
    divisor: int = 5
    channels_last: bool = False
    sites: int = 7
    indices: torch.dtype = torch.int32
    dtype: torch.dtype = torch.float64
    seed: int = field(default=0, compare=False)


CASES = (
    Case("rectangular"),
    Case("one tap", kernel=(1, 1), dilation=(3, 1)),
    Case("one output pixel", kernel=(3, 2), size=(3, 3)),
    Case("groups", channels=4, outputs=6, groups=2, activation="relu"),
    Case("depthwise", channels=3, outputs=3, groups=3, bias=False),
    Case("channels-last", channels=3, channels_last=True, activation="relu", slope=0.1),
    Case("one channel, channels-last", channels=1, channels_last=True, activation="tanh"),
    Case("64-bit maps", indices=torch.int64, activation="tanh"),
    Case("no image", batch=0, sites=0),
    Case("no image, channels-last", batch=0, sites=0, channels_last=True),
)


def kernel_map(case: Case) -> KernelMap:
    """Random distinct sites of a map of the case's size, or none."""
    rng = np.random.default_rng(case.seed)
    rows, columns = (
        length - (k - 1) * d for length, k, d in zip(case.size, case.kernel, case.dilation, strict=True)
    )
    chosen = np.sort(rng.permutation(rows * columns)[: case.sites])
    sites = chosen // columns * case.size[1] + chosen % columns
    (found,) = dependency_closure([TapWindow(case.kernel, case.dilation)], sites, case.size[1]).maps
    return KernelMap(found.rows.to(case.indices), found.inverse.to(case.indices))


def arguments(operator: str, case: Case, requires_grad: bool = False) -> tuple[Any, ...]:
    """Arguments of `operator` for `case`; values are distinct, so that no maximum is a tie."""
    generator = torch.Generator().manual_seed(case.seed)
    on_sites, backward = operator.startswith("site_"), "backward" in operator or "grad" in operator
    found = kernel_map(case)
    out_size = [
        length - (k - 1) * d for length, k, d in zip(case.size, case.kernel, case.dilation, strict=True)
    ]
    pool = "pool" in operator

    def tensor(*shape: int) -> Tensor:
        values = torch.randperm(int(np.prod(shape)), generator=generator).to(torch.float64)
        value = (values / max(1, len(values)) - 0.4).to(case.dtype).reshape(shape)
        if len(shape) == 4 and case.channels_last:
            value = value.contiguous(memory_format=torch.channels_last)
        return value.requires_grad_(requires_grad)

    def x() -> Tensor:
        return (
            tensor(found.inputs, case.channels) if on_sites else tensor(case.batch, case.channels, *case.size)
        )

    def grad() -> Tensor:
        channels = case.channels if pool else case.outputs
        return tensor(found.outputs, channels) if on_sites else tensor(case.batch, channels, *out_size)

    def winners() -> Tensor:
        taps = case.kernel[0] * case.kernel[1]
        forward = operator.removesuffix("_backward")
        recorded = getattr(torch.ops.dsparse, forward)(*arguments(forward, case))[1]
        assert recorded.numel() == 0 or int(recorded.max()) < taps
        return recorded

    def weight() -> Tensor:
        value = tensor(case.outputs, case.channels // case.groups, *case.kernel)
        return value.detach().contiguous().requires_grad_(requires_grad)

    def bias() -> Tensor | None:
        return tensor(case.outputs) if case.bias else None

    makers = {
        "x": x,
        "grad": grad,
        "winners": winners,
        "weight": weight,
        "bias": bias,
        "rows": lambda: found.rows,
        "inverse": lambda: found.inverse,
        "kernel": lambda: case.kernel,
        "dilation": lambda: case.dilation,
        "groups": lambda: case.groups,
        "activation": lambda: case.activation,
        "slope": lambda: case.slope,
        "divisor": lambda: case.divisor,
        "record": lambda: requires_grad or not backward,
    }
    return tuple(makers[name]() for name in argument_names(operator))


def every_case() -> Iterator[tuple[str, Case]]:
    for operator in SCHEMAS:
        for case in CASES:
            yield operator, case
