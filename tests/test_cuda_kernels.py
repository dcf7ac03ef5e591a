"""The CUDA kernels, compiled for the host, compute what float64 PyTorch computes.

The sources are those that a GPU runs, launched by the code that launches them there; only threads, shared
memory and the matrix instructions are stood in for (tests/cuda_host).
"""

from __future__ import annotations

import ctypes
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from cuda_host.cases import CHANNELS, DILATIONS, EDGES, TAPS, sweep
from cuda_host.shim import Shim
from napari_dsparse.ops import dispatch, reference
from napari_dsparse.ops.cuda import argument_groups, execution, launch
from napari_dsparse.ops.cuda.kernels import PRODUCT_DTYPES, Kernel
from napari_dsparse.ops.schemas import SCHEMAS
from operators import Case, arguments

CONVOLUTIONS = [name for name in SCHEMAS if "conv" in name]
POOLS = [name for name in SCHEMAS if "pool" in name]

#: What rounding a result to its type may change, relative to the result.
ROUNDING = {
    torch.float32: 2.0**-24,
    torch.float16: 2.0**-11,
    torch.bfloat16: 2.0**-8,
    torch.float64: 2.0**-53,
}

TURING, HOPPER = (7, 5), (9, 0)

#: Number types, on multiply-adds and on tensor cores.
ARITHMETICS = [(dtype, place) for dtype in PRODUCT_DTYPES for place in (TURING, HOPPER)]

SWEEP = sweep()

LAYOUTS = pytest.mark.parametrize(
    "layout", [torch.contiguous_format, torch.channels_last], ids=["plain", "channels-last"]
)


def on_layout(operators: list[str], layout: torch.memory_format) -> list[str]:
    """Those that know the layout: rows of sites have one only."""
    return [o for o in operators if layout == torch.contiguous_format or not o.startswith("site_")]


def operators_and_layouts(operators: list[str]) -> pytest.MarkDecorator:
    layouts = (torch.contiguous_format, torch.channels_last)
    pairs = [(operator, layout) for layout in layouts for operator in on_layout(operators, layout)]
    return pytest.mark.parametrize(("operator", "layout"), pairs, ids=str)


def rounded_to_tf32(x: Tensor) -> Tensor:
    """Values that tf32 holds exactly, so that only the order of the sum differs."""
    bits = x.view(torch.int32)
    return ((bits + 0x1000) & ~0x1FFF).view(torch.float32)


def given(operator: str, case: Case, dtype: torch.dtype, tf32: bool = False) -> tuple[Any, ...]:
    """Arguments as the dispatcher passes them."""
    args = [
        arg.to(dtype) if isinstance(arg, Tensor) and arg.is_floating_point() else arg
        for arg in arguments(operator, case)
    ]
    if tf32:
        args = [rounded_to_tf32(a) if isinstance(a, Tensor) and a.dtype == torch.float32 else a for a in args]
    return dispatch._dense(operator, tuple(args))


def in_float64(operator: str, args: tuple[Any, ...]) -> Any:
    return getattr(reference, operator)(
        *(arg.double() if isinstance(arg, Tensor) and arg.is_floating_point() else arg for arg in args)
    )


def assert_same(got: Any, wanted: Any, dtype: torch.dtype, what: str) -> None:
    if isinstance(got, tuple):
        for one, other in zip(got, wanted, strict=True):
            assert_same(one, other, dtype, what)
        return
    assert got.shape == wanted.shape, what
    if got.dtype == torch.uint8:
        assert torch.equal(got, wanted), what
        return
    assert got.dtype == dtype, what
    if got.ndim == 4:
        for layout in (torch.contiguous_format, torch.channels_last):
            assert got.is_contiguous(memory_format=layout) == wanted.is_contiguous(memory_format=layout), what
    scale = 1 + wanted.abs().max().item()
    sum_rounding = 2e-15 if dtype == torch.float64 else 4e-6
    excess = (got.double() - wanted).abs() - ROUNDING[dtype] * 1.01 * wanted.abs() - sum_rounding * scale
    # A NaN is not less than anything: it fails.
    assert bool((excess <= 0).all()), (
        f"{what}: off by {(got.double() - wanted).abs().max():.2e} of {scale:.2e}"
    )


@pytest.mark.parametrize("case", EDGES, ids=lambda case: case.name)
@LAYOUTS
def test_convolutions_equal_float64_at_the_edges_of_tiles(
    shim: Shim, monkeypatch: pytest.MonkeyPatch, case: Case, layout: torch.memory_format
) -> None:
    for operator in on_layout(CONVOLUTIONS, layout):
        for dtype, capability, split_blocks in (
            (torch.float32, TURING, 3),  # many units a split
            (torch.float32, HOPPER, 2048),  # one
            (torch.bfloat16, HOPPER, 3),
        ):
            monkeypatch.setattr(argument_groups, "SPLIT_BLOCKS", split_blocks)
            check_convolution(shim, operator, case, layout, dtype, capability)


def test_the_sweep_takes_every_number_of_taps_dilation_and_channels() -> None:
    for axis in (0, 1):
        assert {case.kernel[axis] for case in SWEEP} == set(TAPS)
        assert {case.dilation[axis] for case in SWEEP} == set(DILATIONS)
    assert {case.channels for case in SWEEP} == {case.outputs for case in SWEEP} == set(CHANNELS)
    assert len({case.groups for case in SWEEP}) > 4
    assert sum(case.kernel[0] != case.kernel[1] for case in SWEEP) > 40
    assert sum(case.dilation[0] != case.dilation[1] for case in SWEEP) > 40


@operators_and_layouts(CONVOLUTIONS)
def test_convolutions_equal_float64_over_the_sweep(
    shim: Shim, monkeypatch: pytest.MonkeyPatch, operator: str, layout: torch.memory_format
) -> None:
    """Every shape once an operator and layout; number types and their arithmetic take turns."""
    for number, case in enumerate(SWEEP, start=CONVOLUTIONS.index(operator)):
        monkeypatch.setattr(argument_groups, "SPLIT_BLOCKS", (3, 2048)[number % 2])
        check_convolution(shim, operator, case, layout, *ARITHMETICS[number % len(ARITHMETICS)])


def check_convolution(
    shim: Shim,
    operator: str,
    case: Case,
    layout: torch.memory_format,
    dtype: torch.dtype,
    capability: tuple[int, int],
) -> None:
    shim.device_capability = capability
    case = replace(case, channels_last=layout == torch.channels_last)
    args = given(operator, case, dtype, tf32=capability == HOPPER)
    assert launch.can_run(operator, *args) is None
    got = getattr(launch, operator)(*args)
    assert_same(got, in_float64(operator, args), dtype, f"{operator} {case} {dtype} {shim.launched[-1]}")


@pytest.mark.parametrize("operator", CONVOLUTIONS)
@pytest.mark.parametrize(("dtype", "capability"), ARITHMETICS, ids=str)
def test_convolutions_take_every_type(
    shim: Shim, operator: str, dtype: torch.dtype, capability: tuple[int, int]
) -> None:
    for case in EDGES[10:14]:
        check_convolution(shim, operator, case, torch.contiguous_format, dtype, capability)


@operators_and_layouts(POOLS)
def test_pools_equal_float64(shim: Shim, operator: str, layout: torch.memory_format) -> None:
    """Edges in every type; in the sweep, types take turns."""
    types = list(ROUNDING)
    edges = [(case, dtype) for case in EDGES for dtype in types]
    swept = [(case, types[number % len(types)]) for number, case in enumerate(SWEEP)]
    for case, dtype in (*edges, *swept):
        args = given(operator, replace(case, channels_last=layout == torch.channels_last), dtype)
        assert launch.can_run(operator, *args) is None
        got, wanted = getattr(launch, operator)(*args), in_float64(operator, args)
        assert_same(got, wanted, dtype, f"{operator} {case} {dtype}")


def test_max_pool_tells_256_taps_apart(shim: Shim) -> None:
    x = torch.arange(16.0 * 17).reshape(1, 1, 16, 17)
    _, winners = launch.max_pool2d(x, (16, 16), (1, 1), True)
    assert winners.tolist() == [[[[255, 255]]]]
    grad = launch.max_pool2d_backward(torch.tensor([[[[1.0, 2.0]]]]), winners, (16, 16), (1, 1))
    assert grad[0, 0, -1, -2:].tolist() == [1.0, 2.0]
    assert grad.sum() == 3


def test_max_pool_settles_ties_and_nan_as_pytorch_does(shim: Shim) -> None:
    x = torch.randint(0, 3, (1, 2, 9, 11)).float()
    x[0, 0, 4, 5] = torch.nan
    x[0, 1, 2, 2:4] = torch.inf
    got, winners = launch.max_pool2d(x, (3, 2), (2, 3), True)
    wanted, indices = torch.nn.functional.max_pool2d(x, (3, 2), 1, 0, (2, 3), return_indices=True)
    torch.testing.assert_close(got, wanted, equal_nan=True, rtol=0, atol=0)
    place = torch.arange(got.shape[2])[:, None] * 11 + torch.arange(got.shape[3])
    tap = (indices - place) // 22 * 2 + (indices - place) % 22 // 3
    assert torch.equal(winners.long(), tap)


def test_products_carry_nan_and_infinity(shim: Shim) -> None:
    weight, bias = torch.ones(3, 2, 2, 2), torch.zeros(3)
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        x = torch.ones(1, 2, 5, 6, dtype=dtype)
        x[0, 0, 1, 1], x[0, 1, 3, 4] = torch.nan, torch.inf
        out = launch.conv2d(x, weight.to(dtype), bias.to(dtype), (1, 1), 1, "relu", 0.0)
        wanted = torch.nn.functional.conv2d(x.double(), weight.double()).relu()
        torch.testing.assert_close(out.double(), wanted, equal_nan=True)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("channels_last", [False, True], ids=["plain", "channels-last"])
def test_fragments_are_in_place(shim: Shim, dtype: torch.dtype, channels_last: bool) -> None:
    """Small integers multiply exactly in every type: one value in a wrong lane and the result differs."""
    draw = np.random.default_rng(0)
    x, weight = draw.integers(-3, 4, (1, 32, 2, 70)), draw.integers(-3, 4, (40, 32, 1, 1))
    layout = torch.channels_last if channels_last else torch.contiguous_format
    given = torch.from_numpy(x).to(dtype).contiguous(memory_format=layout)
    got = launch.conv2d(given, torch.from_numpy(weight).to(dtype), None, (1, 1), 1, "none", 0.0)
    exact = np.einsum("ncyx,kc->nkyx", x, weight[:, :, 0, 0])
    assert torch.equal(got, torch.from_numpy(exact).to(dtype))
    assert "mma" in shim.launched[-1]


def test_tf32_rounds_to_nearest(shim: Shim) -> None:
    """Truncation, which is what the hardware does to unrounded bits, would shrink every product."""
    generator = torch.Generator().manual_seed(0)
    x, weight = torch.rand(1, 64, 3, 40, generator=generator), torch.rand(8, 64, 1, 1, generator=generator)
    out = launch.conv2d(x, weight, None, (1, 1), 1, "none", 0.0)
    wanted = torch.nn.functional.conv2d(x.double(), weight.double())
    assert ((out.double() - wanted) / wanted).mean().abs() < 1e-5


@pytest.mark.parametrize("switch", ["allow_tf32", "conv.fp32_precision"])
def test_float32_keeps_its_digits_when_tf32_is_not_allowed(shim: Shim, switch: str) -> None:
    cudnn = torch.backends.cudnn
    if switch == "allow_tf32":
        before, cudnn.allow_tf32 = cudnn.allow_tf32, False
    elif hasattr(cudnn, "conv"):
        before, cudnn.conv.fp32_precision = cudnn.conv.fp32_precision, "ieee"
    else:
        pytest.skip("this PyTorch has only the other switch")
    try:
        launch.conv2d(torch.rand(1, 3, 4, 5), torch.rand(2, 3, 1, 1), None, (1, 1), 1, "none", 0.0)
    finally:
        if switch == "allow_tf32":
            cudnn.allow_tf32 = before
        else:
            cudnn.conv.fp32_precision = before
    assert shim.launched == ["pack_f32_fma", "conv_f32_fma_32"]


def test_results_repeat_bit_for_bit(shim: Shim) -> None:
    case = Case("drawn", channels=9, outputs=5, size=(9, 40), sites=90)
    for operator in CONVOLUTIONS:
        args = given(operator, case, torch.float32)
        assert torch.equal(getattr(launch, operator)(*args), getattr(launch, operator)(*args)), operator


@pytest.fixture
def last_block(shim: Shim, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of every launch with many blocks only the last is run: large maps are address space, not memory."""

    def run(
        kernel: Kernel, blocks: int, shared: int, arguments: ctypes.Structure, device: torch.device
    ) -> None:
        shim.run_blocks(kernel, range(blocks - 1 if blocks > 100 else 0, blocks), shared, arguments)

    monkeypatch.setattr(execution, "run", run)


@LAYOUTS
def test_pools_reach_beyond_two_to_the_31_values(last_block: None, layout: torch.memory_format) -> None:
    x = torch.empty((2, 3, 20000, 20001), dtype=torch.float16, memory_format=layout)
    assert x.numel() > 2**31
    x[-1, -1, -2:, -2:] = torch.tensor([[1.0, 4.0], [3.0, 2.0]])
    out, winners = launch.max_pool2d(x, (2, 2), (1, 1), True)
    assert out[-1, -1, -1, -1] == 4
    assert winners[-1, -1, -1, -1] == 1


@LAYOUTS
def test_convolutions_reach_beyond_two_to_the_31_values(
    last_block: None, layout: torch.memory_format
) -> None:
    x = torch.empty((1, 33, 8192, 8192), dtype=torch.float16, memory_format=layout)
    assert x.numel() > 2**31
    corner = torch.randn(1, 33, 3, 6).half()
    x[:, :, -3:, -6:] = corner
    weight = torch.randn(2, 33, 3, 2).half() / 8
    out = launch.conv2d(x, weight, None, (1, 1), 1, "none", 0.0)
    wanted = torch.nn.functional.conv2d(corner.double(), weight.double())[0, :, 0]
    # The last block of sites holds two pixels.
    torch.testing.assert_close(out[0, :, -1, -2:].double(), wanted[:, -2:], rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("operator", SCHEMAS)
def test_the_dispatcher_reaches_every_kernel(
    shim: Shim, monkeypatch: pytest.MonkeyPatch, operator: str
) -> None:
    """With whatever strides and index type a caller has."""
    monkeypatch.setattr(launch, "unavailable", lambda device: None)
    monkeypatch.setenv(dispatch.VARIABLE, "require")
    case = Case("strided", channels=4, outputs=6, groups=2, indices=torch.int64)
    args = [
        torch.stack([a, a], -1)[..., 0] if isinstance(a, Tensor) and a.is_floating_point() else a
        for a in given(operator, case, torch.float32, tf32=True)
    ]
    got = dispatch.run(operator, *args)
    assert shim.launched
    assert_same(got, in_float64(operator, tuple(args)), torch.float32, operator)


@pytest.mark.parametrize(
    ("operator", "args", "reason"),
    [
        ("conv2d", (torch.ones(1, 1, 2, 2, dtype=torch.float64),), "no kernel of conv2d for float64"),
        ("max_pool2d", (torch.ones(1, 1, 40, 40), (17, 16), (1, 1), True), "272 taps is too large"),
        ("avg_pool2d", (torch.ones(1, 1, 2, 2, dtype=torch.int32),), "no kernel of avg_pool2d for int32"),
        (
            "conv2d_input_grad",
            (torch.ones(1, 1, 2, 2), torch.ones(1, 1, 1, 1, dtype=torch.bfloat16), (1, 1), 1),
            "one number type a call",
        ),
    ],
)
def test_what_has_no_kernel_is_told_why(operator: str, args: tuple[Any, ...], reason: str) -> None:
    assert reason in (launch.can_run(operator, *args) or "")


def test_host_half_conversions_are_those_of_pytorch(shim: Shim) -> None:
    library = shim.library
    library.host_float_of_half.restype = ctypes.c_float
    library.host_half_of.argtypes = [ctypes.c_float]
    library.host_half_of.restype = ctypes.c_ushort
    bits = np.arange(0, 65536, 7, dtype=np.uint16)
    values = bits.view(np.float16).astype(np.float32)
    got = np.array([library.host_float_of_half(int(b)) for b in bits], np.float32)
    np.testing.assert_array_equal(got, values)
    between = np.concatenate(
        [values[np.isfinite(values)], np.float32([65519, 65520, 1e-8, 2.9e-8, 6e-5, 1 / 3])]
    )
    between = between * np.float32(1.00037)
    got = np.array([library.host_half_of(float(v)) for v in between], np.uint16)
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(got, between.astype(np.float16).view(np.uint16))
