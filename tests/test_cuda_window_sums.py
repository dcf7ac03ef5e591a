"""Average pools with windows of many taps, on a GPU: the bits of the plain PyTorch form, in a few passes."""

from __future__ import annotations

import ctypes
from itertools import pairwise
from math import log2
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from cuda_host.shim import Shim
from napari_dsparse.ops import dispatch, reference
from napari_dsparse.ops.cuda import execution, launch, window_sums
from napari_dsparse.ops.cuda.arguments import MOST_DOUBLINGS
from napari_dsparse.ops.cuda.kernels import ELEMENTS, KERNELS_BY_NAME, Kernel
from napari_dsparse.ops.doubling import additions, doublings
from napari_dsparse.ops.shapes import layout_of
from window_sums import LAYOUT, LAYOUTS, TAPS, error_bound, exact

FORWARD, BACKWARD = "avg_pool2d", "avg_pool2d_backward"
OPERATOR = pytest.mark.parametrize("operator", [FORWARD, BACKWARD])

#: Windows that are summed by doubling, as they come: on both axes or one, in one pass or several.
KERNELS_SUMMED = ((9, 25), (31, 7), (193, 1), (1, 13), (15, 1), (1, 49), (64, 16))


def pooled(operator: str, x: Tensor, *rest: Any) -> Tensor:
    result: Tensor = getattr(launch, operator)(*dispatch._dense(operator, (x, *rest)))
    return result


def assert_same_bits(got: Tensor, wanted: Tensor) -> None:
    assert (got.dtype, got.shape, layout_of(got)) == (wanted.dtype, wanted.shape, layout_of(wanted))
    # As integers: also the sign of a zero.
    bits = {2: torch.int16, 4: torch.int32, 8: torch.int64}[got.element_size()]
    assert torch.equal(got.isnan(), wanted.isnan())
    known = ~got.isnan()
    assert torch.equal(got[known].view(bits), wanted[known].view(bits))


@st.composite
def wide_pools(draw: st.DrawFn) -> tuple[Tensor, Tensor, tuple[int, int], tuple[int, int], int]:
    kernel = (draw(TAPS), draw(TAPS))
    dilation = tuple(draw(st.integers(1, 2 if k > 31 else 5)) for k in kernel)
    out = [draw(st.integers(1, 12)) for _ in kernel]
    torch.manual_seed(draw(st.integers(0, 2**16)))
    dtype = draw(st.sampled_from(list(ELEMENTS)))
    layout = LAYOUTS[draw(st.sampled_from(list(LAYOUTS)))]
    planes = draw(st.integers(1, 2)), draw(st.integers(1, 3))
    inside = [n + (k - 1) * d for n, k, d in zip(out, kernel, dilation, strict=True)]
    x, grad = (
        torch.randn(*planes, *size).to(dtype).contiguous(memory_format=layout) for size in (inside, out)
    )
    return x, grad, kernel, dilation, draw(st.sampled_from([1, -3, kernel[0] * kernel[1]]))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(wide_pools(), st.sampled_from([1, 300, window_sums.PART]))
def test_sums_have_the_bits_of_the_plain_form(shim: Shim, case: Any, part: int) -> None:
    x, grad, kernel, dilation, divisor = case
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(window_sums, "PART", part)
        patch.setattr(window_sums, "doubling_pays", lambda kernel: max(kernel) > 1)
        for operator, given_map in ((FORWARD, x), (BACKWARD, grad)):
            args = (given_map, kernel, dilation, divisor)
            assert_same_bits(pooled(operator, *args), getattr(reference, operator)(*args))


@OPERATOR
@LAYOUT
@pytest.mark.parametrize("dtype", ELEMENTS, ids=str)
def test_windows_of_many_taps_are_summed_by_doubling(
    shim: Shim, operator: str, layout: torch.memory_format, dtype: torch.dtype
) -> None:
    torch.manual_seed(0)
    for kernel in KERNELS_SUMMED:
        shim.launched.clear()
        size = [5 + (k - 1) * 2 for k in kernel] if operator == FORWARD else (5, 40)
        x = (100 * torch.randn(2, 3, *size)).to(dtype).contiguous(memory_format=layout)
        args = (x, kernel, (2, 2), 7)
        assert_same_bits(pooled(operator, *args), getattr(reference, operator)(*args))
        assert all(name.startswith("window_sums_") for name in shim.launched)
        assert len(shim.launched) == sum(len(window_sums.passes(taps)) for taps in kernel)


def test_every_kernel_of_the_kind_has_a_use(shim: Shim) -> None:
    for dtype in ELEMENTS:
        for kernel in KERNELS_SUMMED:
            pooled(FORWARD, torch.ones(1, 1, *kernel, dtype=dtype), kernel, (1, 1), 1)
    assert set(shim.launched) == {name for name in KERNELS_BY_NAME if name.startswith("window_sums_")}


@LAYOUT
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("kernel", [(2, 3), (9, 13), (33, 49)], ids=str)
def test_a_tile_has_the_same_bits_as_the_whole(
    shim: Shim, kernel: tuple[int, int], dtype: torch.dtype, layout: torch.memory_format
) -> None:
    """In either form."""
    torch.manual_seed(0)
    span = [(k - 1) * 2 for k in kernel]
    x = (100 * torch.randn(1, 2, span[0] + 23, span[1] + 19)).to(dtype).contiguous(memory_format=layout)
    whole = pooled(FORWARD, x, kernel, (2, 2), 5)
    for top, bottom in pairwise((0, 1, 7, 23)):
        for left, right in pairwise((0, 5, 18, 19)):
            tile = x[:, :, top : bottom + span[0], left : right + span[1]]
            for order in LAYOUTS.values():
                part = pooled(FORWARD, tile.contiguous(memory_format=order), kernel, (2, 2), 5)
                assert torch.equal(part, whole[:, :, top:bottom, left:right])


@LAYOUT
@pytest.mark.parametrize("value", [3e38, torch.inf, torch.nan])
def test_a_pixel_is_felt_by_the_windows_that_hold_it_and_no_others(
    shim: Shim, value: float, layout: torch.memory_format
) -> None:
    torch.manual_seed(0)
    x = torch.randn(1, 2, 60, 70)
    kernel, dilation = (13, 9), (4, 3)
    calm = pooled(FORWARD, x.contiguous(memory_format=layout), kernel, dilation, 117)
    x[0, 1, 30, 40] = value
    hot = pooled(FORWARD, x.contiguous(memory_format=layout), kernel, dilation, 117)
    at = torch.zeros_like(x)
    at[0, 1, 30, 40] = 1
    holding = exact(at, kernel, dilation) > 0
    assert holding.any()
    assert torch.equal(hot[~holding], calm[~holding])
    assert (hot[holding] != calm[holding]).all()


def test_sums_do_not_drift_along_a_map_far_from_zero(shim: Shim) -> None:
    torch.manual_seed(0)
    x = 1e4 + torch.randn(1, 1, 700, 12)
    out = pooled(FORWARD, x, (49, 9), (1, 1), 441)
    wanted = exact(x, (49, 9), (1, 1)) / 441
    bound = error_bound(exact(x.abs(), (49, 9), (1, 1)) / 441, wanted, (49, 9), torch.float32)
    assert bool(((out.double() - wanted).abs() <= bound).all())


def taps_added(one: window_sums.Pass) -> list[list[int]]:
    """Taps of each window after each doubling, as places; what `window_at` adds."""
    window = list(range(one.window))
    found = []
    for number, odd in enumerate(one.odd):
        reach = one.windows[number]
        window = window + [reach + place for place in window] + ([2 * reach] if odd else [])
        found.append(window)
    return found


@pytest.mark.parametrize("taps", [*range(2, 70), 97, 193, 255, 256, 511, 1000, 4097])
def test_passes_make_the_window_and_cost_its_logarithm(taps: int) -> None:
    launches = window_sums.passes(taps)
    assert (launches[0].window, launches[-1].taps) == (1, taps)
    for before, after in pairwise(launches):
        assert before.taps == after.window
    for one in launches:
        assert 1 <= len(one.odd) <= MOST_DOUBLINGS
        assert one.loads <= min(taps, 2 ** (MOST_DOUBLINGS + 1) - 1)
        for window in taps_added(one):
            assert sorted(window) == list(range(len(window)))
    doubled = taps.bit_length() - 1
    assert sum(len(one.odd) for one in launches) == doubled
    assert sum(len(one.odd) + sum(one.odd) for one in launches) == additions(taps)
    # Cheaper than one doubling per pass.
    windows = [taps >> number for number in range(doubled, 0, -1)]
    single = [window_sums.Pass(window, (odd,)) for window, odd in zip(windows, doublings(taps), strict=True)]
    assert window_sums.cost(launches) <= window_sums.cost(single)
    assert window_sums.cost(launches) <= 31 + 13 * log2(taps)


def test_the_cheaper_form_is_taken_by_a_count_of_the_window_alone(shim: Shim) -> None:
    dram = window_sums.LOADS_PER_DRAM_VALUE
    by_doubling = {}
    for kernel in [(a, b) for a in range(1, 34) for b in (1, 2, 3, 5, 6, 8, 17)]:
        sums = sum(window_sums.cost(window_sums.passes(taps)) for taps in kernel)
        by_doubling[kernel] = window_sums.doubling_pays(kernel)
        assert by_doubling[kernel] == (kernel != (1, 1) and sums <= kernel[0] * kernel[1] + 2 * dram)
    assert not any(by_doubling[kernel] for kernel in ((1, 1), (2, 2), (3, 3), (5, 5), (2, 8)))
    assert all(by_doubling[kernel] for kernel in ((6, 6), (8, 8), (9, 1), (17, 5), (33, 17)))
    for size in ((8, 9), (40, 50)):
        shim.launched.clear()
        pooled(FORWARD, torch.rand(1, 1, *size), (2, 2), (1, 1), 4)
        pooled(BACKWARD, torch.rand(1, 1, *size), (2, 2), (1, 1), 4)
        pooled(FORWARD, torch.rand(1, 1, *size), (8, 8), (1, 1), 64)
        assert shim.launched == ["avg_pool_f32", "avg_pool_backward_f32", *["window_sums_f32_f32_f32"] * 2]


Launch = tuple[str, int, ctypes.Structure]


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[Launch]:
    """Launches that are made and not run: large maps are address space, not memory."""
    made: list[Launch] = []

    def run(
        kernel: Kernel, blocks: int, shared: int, arguments: ctypes.Structure, device: torch.device
    ) -> None:
        made.append((kernel.name, blocks, arguments))

    monkeypatch.setattr(execution, "run", run)
    return made


@LAYOUT
@OPERATOR
def test_launches_stay_within_the_grid_and_maps_between_them_small(
    counted: list[Launch], monkeypatch: pytest.MonkeyPatch, operator: str, layout: torch.memory_format
) -> None:
    taken: list[int] = []
    new_empty = Tensor.new_empty

    def remembered(tensor: Tensor, size: tuple[int, ...], **named: Any) -> Tensor:
        result = new_empty(tensor, size, **named)
        taken.append(result.numel())
        return result

    monkeypatch.setattr(Tensor, "new_empty", remembered)
    x = torch.empty((5, 12, 6000, 6001), dtype=torch.float16, memory_format=layout)
    assert x.numel() > 2**31
    out = pooled(operator, x, (193, 193), (2, 2), 193 * 193)
    plane = max(x.numel(), out.numel()) // (5 if layout == torch.channels_last else 60)
    assert max(taken) <= max(window_sums.PART, plane)
    for name, blocks, arguments in counted:
        assert 0 < blocks < 2**31
        assert (
            (blocks - 1) * KERNELS_BY_NAME[name].threads
            < arguments.total
            <= blocks * KERNELS_BY_NAME[name].threads
        )
    last = [arguments for name, _, arguments in counted if name.endswith("_f32_f32_f16")]
    assert sum(arguments.total for arguments in last) == out.numel()
    for before, after in pairwise(last):
        assert after.out == before.out + 2 * before.total


@pytest.mark.parametrize("kernel", [(1, 9), (9, 1)], ids=str)
@LAYOUT
def test_sums_reach_beyond_two_to_the_31_values(
    shim: Shim, monkeypatch: pytest.MonkeyPatch, kernel: tuple[int, int], layout: torch.memory_format
) -> None:
    """Of every launch with many blocks only the last is run."""

    def run(
        kernel: Kernel, blocks: int, shared: int, arguments: ctypes.Structure, device: torch.device
    ) -> None:
        shim.run_blocks(kernel, range(blocks - 1 if blocks > 100 else 0, blocks), shared, arguments)

    monkeypatch.setattr(execution, "run", run)
    size = (1, 1, 47000, 47001) if layout == torch.contiguous_format else (1, 3, 27000, 27001)
    x = torch.empty(size, dtype=torch.float16, memory_format=layout)
    assert x.numel() > 2**31
    rows, columns = ((k - 1) * 3 + 1 for k in kernel)
    corner = torch.randn(1, size[1], rows, columns).half()
    x[:, :, -rows:, -columns:] = corner
    out = pooled(FORWARD, x, kernel, (3, 3), 9)
    wanted = reference.avg_pool2d(corner.contiguous(memory_format=layout), kernel, (3, 3), 9)
    assert torch.equal(out[:, :, -1, -1], wanted[:, :, -1, -1])


def test_a_result_too_large_for_the_kernels_is_told(shim: Shim) -> None:
    grad = torch.ones(1, 1, 2, 2)
    reason = launch.can_run(BACKWARD, grad, (2, 1), (2**31 - 2, 1), 1)
    assert "is too wide" in (reason or "")
    assert launch.can_run(BACKWARD, grad, (2, 1), (2, 1), 1) is None
