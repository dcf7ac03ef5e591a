"""Average pools with windows of any number of taps: exact sums, without drift, wherever a tile is cut."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck, gradgradcheck
from torch.library import opcheck

from napari_dsparse import ops
from napari_dsparse.ops.library import OPS
from napari_dsparse.ops.reference import window_sums
from napari_dsparse.ops.shapes import layout_of
from operators import Case, arguments
from window_sums import LAYOUT, LAYOUTS, ROUNDOFF, TAPS, error_bound, exact


def spread(grad, kernel, dilation):
    """The transpose of `exact`."""
    total = grad.double()
    for axis, (k, d) in enumerate(zip(kernel, dilation, strict=True), start=2):
        size = list(total.shape)
        size[axis] += (k - 1) * d
        wide = total.new_zeros(size)
        for tap in range(k):
            wide.narrow(axis, tap * d, total.shape[axis]).add_(total)
        total = wide
    return total


@st.composite
def wide_pools(draw):
    kernel = (draw(TAPS), draw(TAPS))
    dilation = tuple(draw(st.integers(1, 2 if k > 31 else 5)) for k in kernel)
    size = [(k - 1) * d + draw(st.integers(1, 12)) for k, d in zip(kernel, dilation, strict=True)]
    torch.manual_seed(draw(st.integers(0, 2**16)))
    channels = draw(st.integers(1, 3))
    dtype = draw(st.sampled_from(list(ROUNDOFF)))
    layout = LAYOUTS[draw(st.sampled_from(list(LAYOUTS)))]
    x = torch.randn(draw(st.integers(1, 2)), channels, *size).to(dtype).contiguous(memory_format=layout)
    return x, kernel, dilation, draw(st.sampled_from([1, -3, kernel[0] * kernel[1]]))


@settings(max_examples=80, deadline=None)
@given(wide_pools(), st.sampled_from([40, 1000, 1 << 19]))
def test_pools_and_their_gradients_keep_to_the_stated_error(case, part):
    x, kernel, dilation, divisor = case
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(window_sums, "PART", part)
        patch.setattr(window_sums, "LEAST_RUN", 5)
        x.requires_grad_()
        out = ops.avg_pool2d(x, kernel, dilation, divisor)
        seed = torch.randn(out.shape).to(x.dtype)
        (back,) = torch.autograd.grad(out, x, seed)
    for got, given_map, sums in ((out, x.detach(), exact), (back, seed, spread)):
        wanted = sums(given_map, kernel, dilation) / divisor
        magnitudes = sums(given_map.abs(), kernel, dilation) / abs(divisor)
        off = (got.detach().double() - wanted).abs()
        assert bool((off <= error_bound(magnitudes, wanted, kernel, x.dtype)).all())
        assert got.dtype == x.dtype
    assert out.is_contiguous(memory_format=layout_of(x))


CASES = (
    Case("wide", kernel=(9, 25), dilation=(2, 1), size=(19, 27)),
    Case("wide, channels-last", kernel=(13, 6), dilation=(1, 3), size=(15, 18), channels_last=True),
    Case("windows that share no tap", kernel=(3, 11), dilation=(7, 4), size=(16, 43)),
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@pytest.mark.parametrize("operator", ["avg_pool2d", "avg_pool2d_backward"])
def test_wide_pools_pass_torch_s_checks_and_have_right_derivatives(operator, case):
    inputs = arguments(operator, case, requires_grad=True)
    run = getattr(OPS, operator)
    opcheck(run.default, inputs)
    assert gradcheck(run, inputs, fast_mode=True)
    assert gradgradcheck(run, inputs, fast_mode=True)


@LAYOUT
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize(("k", "d"), [(9, 4), (49, 4), (193, 1)])
def test_a_tile_has_the_same_bits_as_the_whole(k, d, dtype, layout):
    torch.manual_seed(0)
    x = (100 * torch.randn(1, 3, 211, 223)).to(dtype).contiguous(memory_format=layout)
    whole = ops.avg_pool2d(x, k, d)
    rows, columns = whole.shape[2:]
    for top, bottom in pairwise(sorted({0, 1, 7, rows // 2, rows})):
        for left, right in pairwise(sorted({0, 5, columns - 1, columns})):
            tile = x[:, :, top : bottom + (k - 1) * d, left : right + (k - 1) * d]
            for order in LAYOUTS.values():
                part = ops.avg_pool2d(tile.contiguous(memory_format=order), k, d)
                assert torch.equal(part, whole[:, :, top:bottom, left:right])


@LAYOUT
def test_sums_do_not_drift_along_a_map_far_from_zero(layout):
    torch.manual_seed(0)
    x = 1e4 + torch.randn(1, 2, 5000, 60)
    for turned in (x, x.transpose(2, 3).contiguous()):
        given_map = turned.contiguous(memory_format=layout)
        kernel = (49, 9) if turned is x else (9, 49)
        out = ops.avg_pool2d(given_map, kernel)
        wanted = exact(turned, kernel, (1, 1)) / 441
        off = (out.double() - wanted).abs()
        assert off.max() < 1e4 * 2.0**-24 * 8
        # The ends of the map are no worse than its beginning.
        axis = 2 if turned is x else 3
        assert off.narrow(axis, 4000, 900).mean() < 1.2 * off.narrow(axis, 0, 900).mean()


@LAYOUT
@pytest.mark.parametrize("value", [6e4, 3e38, torch.inf, torch.nan])
def test_a_pixel_is_felt_by_the_windows_that_hold_it_and_no_others(value, layout):
    torch.manual_seed(0)
    x = torch.randn(1, 2, 120, 130)
    calm = ops.avg_pool2d(x.contiguous(memory_format=layout), (25, 9), (4, 3))
    x[0, 1, 40, 50] = value
    hot = ops.avg_pool2d(x.contiguous(memory_format=layout), (25, 9), (4, 3))
    at = torch.zeros_like(x)
    at[0, 1, 40, 50] = 1
    holding = exact(at, (25, 9), (4, 3)) > 0
    assert holding.any()
    assert torch.equal(hot[~holding], calm[~holding])
    assert (hot[holding] != calm[holding]).all()
    assert bool(hot[holding].isnan().all()) == (value != value)


@LAYOUT
def test_the_gradient_of_a_pixel_comes_from_the_windows_that_hold_it(layout):
    grad = torch.zeros(1, 2, 9, 11)
    grad[0, 0, 4, 6] = torch.nan
    given_map = grad.contiguous(memory_format=layout)
    back = OPS.avg_pool2d_backward(given_map, (7, 5), (2, 3), 35)
    wanted = spread(grad, (7, 5), (2, 3))
    assert torch.equal(back.isnan(), wanted.isnan())
    assert (back[~wanted.isnan()] == 0).all()


def test_additions_grow_with_the_logarithm_of_the_window(monkeypatch):
    counted = []
    add = torch.add
    monkeypatch.setattr(torch, "add", lambda *args, **named: counted.append(1) or add(*args, **named))
    for taps, additions in ((1, 0), (2, 1), (3, 2), (9, 4), (25, 6), (49, 7), (193, 9)):
        counted.clear()
        ops.avg_pool2d(torch.zeros(1, 1, 200, 3), (taps, 1))
        assert len(counted) == additions
