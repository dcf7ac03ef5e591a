"""The plain implementations against PyTorch's own layers: values, ties, types, layouts, sizes."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_dsparse import ops
from napari_dsparse.errors import DsparseError, ShapeError
from napari_dsparse.ops import KernelMap
from napari_dsparse.ops.library import OPS
from napari_dsparse.ops.reference import maps as reference_maps
from operators import Case, arguments, kernel_map

PAIRS = st.tuples(st.integers(1, 4), st.integers(1, 4))
LAYOUTS = {"plain": torch.contiguous_format, "channels-last": torch.channels_last}
TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5, torch.float16: 4e-3, torch.bfloat16: 3e-2}
ACTIVATIONS = {
    ("none", 0.0): torch.clone,
    ("relu", 0.0): torch.relu,
    ("relu", 0.2): lambda y: F.leaky_relu(y, 0.2),
    ("tanh", 0.0): torch.tanh,
}


def window_of(x, kernel, dilation):
    """Every window of a map, taps last: (N, C, Ho, Wo, kh kw)."""
    rows, columns = (x.shape[2 + a] - (kernel[a] - 1) * dilation[a] for a in (0, 1))
    taps = [
        x[:, :, y * dilation[0] :, c * dilation[1] :][:, :, :rows, :columns]
        for y in range(kernel[0])
        for c in range(kernel[1])
    ]
    return torch.stack(taps, -1)


@st.composite
def maps(draw, ties=False):
    kernel, dilation = draw(PAIRS), draw(PAIRS)
    size = [(k - 1) * d + draw(st.integers(1, 4)) for k, d in zip(kernel, dilation, strict=True)]
    torch.manual_seed(draw(st.integers(0, 2**16)))
    x = torch.randn(draw(st.integers(0, 2)), draw(st.integers(1, 3)), *size, dtype=torch.float64)
    x = x.round() if ties else x
    return x.contiguous(memory_format=LAYOUTS[draw(st.sampled_from(list(LAYOUTS)))]), kernel, dilation


@settings(max_examples=60, deadline=None)
@given(maps(ties=True), st.integers(0, 2), st.booleans())
def test_max_pool_and_its_gradient_are_torch_s_with_its_ties_and_nans(case, nans, scattered):
    x, kernel, dilation = case
    for _ in range(nans if x.numel() else 0):
        x[tuple(torch.randint(length, ()) for length in x.shape)] = float("nan")
    ours, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    out = ops.max_pool2d(ours, kernel, dilation)
    plain = F.max_pool2d(theirs, kernel, stride=1, dilation=dilation) if x.numel() else out
    torch.testing.assert_close(out, plain, rtol=0, atol=0, equal_nan=True)
    if x.numel():
        seed = torch.randn_like(out)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(reference_maps, "SCATTERED_TAPS", 2 if scattered else 99)
            torch.testing.assert_close(
                *(torch.autograd.grad(o, i, seed)[0] for o, i in ((out, ours), (plain, theirs)))
            )


@settings(max_examples=40, deadline=None)
@given(maps(), st.sampled_from([None, 3, -2]))
def test_avg_pool_is_the_mean_of_its_window(case, divisor):
    x, kernel, dilation = case
    x.requires_grad_()
    taps = window_of(x, kernel, dilation)
    plain = taps.sum(-1) / (divisor or kernel[0] * kernel[1])
    out = ops.avg_pool2d(x, kernel, dilation, divisor)
    torch.testing.assert_close(out, plain)
    seed = torch.randn_like(out)
    torch.testing.assert_close(*(torch.autograd.grad(o, x, seed)[0] for o in (out, plain)))


@settings(max_examples=40, deadline=None)
@given(maps(), st.integers(1, 2), st.booleans(), st.sampled_from(list(ACTIVATIONS)))
def test_convolution_with_bias_and_activation_is_torch_s(case, groups, bias, activation):
    x, kernel, dilation = case
    x = torch.cat([x] * groups, 1).requires_grad_()
    weight = torch.randn(2 * groups, x.shape[1] // groups, *kernel, dtype=torch.float64, requires_grad=True)
    offset = torch.randn(2 * groups, dtype=torch.float64, requires_grad=True) if bias else None
    out = ops.conv2d(x, weight, offset, dilation, groups, *activation)
    plain = ACTIVATIONS[activation](F.conv2d(x, weight, offset, dilation=dilation, groups=groups))
    torch.testing.assert_close(out, plain)
    inputs = [x, weight, *([offset] if bias else [])]
    seed = torch.randn_like(out)
    for ours, theirs in zip(*(torch.autograd.grad(o, inputs, seed) for o in (out, plain)), strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    "operator", ["conv2d", "max_pool2d", "avg_pool2d", "site_conv2d", "site_max_pool2d", "site_avg_pool2d"]
)
def test_every_type_and_layout_gives_the_float64_result(operator, layout, dtype):
    case = Case("", (3, 2), size=(9, 8), channels=4, outputs=4, sites=20, channels_last="last" in layout)
    exact = arguments(operator, case, requires_grad=True)
    low = arguments(operator, replace(case, dtype=dtype), requires_grad=True)
    results = [_first(getattr(OPS, operator)(*args)) for args in (exact, low)]
    assert results[1].dtype == dtype
    if results[1].ndim == 4:
        assert results[1].is_contiguous(memory_format=LAYOUTS[layout])
    torch.testing.assert_close(results[1].double(), results[0], rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])
    if "max" in operator and dtype.itemsize == 2:
        return  # rounding makes ties, which move gradients
    for result in results:
        (result * result.detach()).sum().backward()
    for one, two in zip(exact, low, strict=True):
        if isinstance(one, torch.Tensor) and one.requires_grad:
            scale = one.grad.abs().max().item()
            torch.testing.assert_close(
                two.grad.double(), one.grad, rtol=4 * TOLERANCE[dtype], atol=4 * TOLERANCE[dtype] * scale
            )


@pytest.mark.parametrize("kernel", [(17, 16), (1, 300), (300, 1), (257, 2)], ids=str)
def test_windows_of_more_than_256_taps_settle_ties_alike(kernel):
    torch.manual_seed(0)
    size = (kernel[0] + 3, kernel[1] + 2)
    x = torch.randint(0, 4, (1, 2, *size), dtype=torch.float64)
    ours, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    out, plain = ops.max_pool2d(ours, kernel), F.max_pool2d(theirs, kernel, stride=1)
    assert torch.equal(out, plain)
    seed = torch.randn_like(out)
    torch.testing.assert_close(
        *(torch.autograd.grad(o, i, seed)[0] for o, i in ((out, ours), (plain, theirs)))
    )

    found = kernel_map(Case("large", kernel=kernel, dilation=(1, 1), size=size, sites=6))
    rows = torch.randint(0, 4, (found.inputs, 2), dtype=torch.float64, requires_grad=True)
    out = ops.site_max_pool2d(rows, found)
    values = rows.detach()[found.rows.long()].amax(1)
    assert torch.equal(out, values)
    seed = torch.randn_like(out)
    first = (rows.detach()[found.rows.long()] == values[:, None]).double().argmax(1)
    wanted = torch.zeros_like(rows).scatter_add_(0, found.rows.long().gather(1, first), seed)
    torch.testing.assert_close(torch.autograd.grad(out, rows, seed)[0], wanted)


def test_results_never_alias_their_arguments():
    for operator in ("max_pool2d", "avg_pool2d", "site_max_pool2d", "site_avg_pool2d"):
        args = arguments(operator, Case("one tap", kernel=(1, 1), divisor=1))
        out = _first(getattr(OPS, operator)(*args))
        assert out.data_ptr() != args[0].data_ptr()


@pytest.mark.parametrize("operator", ["conv2d", "site_conv2d"])
def test_training_repeats_bit_for_bit(operator):
    grads = []
    for _ in range(2):
        args = arguments(operator, Case("float32", dtype=torch.float32, size=(40, 30)), requires_grad=True)
        getattr(OPS, operator)(*args).square().sum().backward()
        grads.append([a.grad for a in args[:3]])
    assert all(torch.equal(a, b) for a, b in zip(*grads, strict=True))


BEYOND = 2**31


def test_maps_beyond_two_to_the_31_are_addressed_in_64_bits():
    # Memory that is never touched costs nothing: 20 pixels of a row of 2^31 + 10 are read.
    x = torch.empty(1, 1, 1, BEYOND + 10, dtype=torch.float16)
    x[..., :10], x[..., BEYOND:] = torch.arange(10), torch.arange(10, 0, -1)
    wanted = torch.maximum(torch.arange(10), torch.arange(10, 0, -1)).half()
    dilation = (1, BEYOND)
    assert torch.equal(OPS.max_pool2d(x, (1, 2), dilation, False)[0].flatten(), wanted)
    assert torch.equal(
        ops.avg_pool2d(x, (1, 2), dilation, 1).flatten(), torch.arange(10) + torch.arange(10, 0, -1)
    )


def test_rows_beyond_two_to_the_31_are_addressed_in_64_bits():
    x = torch.empty(BEYOND // 4 + 10, 4, dtype=torch.float16)
    x[:3], x[-3:] = 1, 2
    rows = torch.tensor([[0, len(x) - 1], [len(x) - 2, 1]])
    inverse = torch.empty(len(x), 2, dtype=torch.int64)  # read on the way back only
    found = KernelMap(rows, inverse)
    assert (ops.site_avg_pool2d(x, found, 1) == 3).all()
    assert (ops.site_max_pool2d(x, found) == 2).all()
    assert (ops.site_conv2d(x, torch.ones(2, 4, 1, 2, dtype=torch.float16), None, found) == 12).all()


@pytest.mark.parametrize("operator", ["conv2d", "max_pool2d", "avg_pool2d"])
def test_sizes_beyond_two_to_the_31_come_out_right(operator):
    args = arguments(operator, Case("huge", dtype=torch.float32))
    meta = [a.to("meta") if isinstance(a, torch.Tensor) else a for a in args]
    meta[0] = torch.empty(1, 2, 70_000, 70_000, device="meta")
    assert _first(getattr(OPS, operator)(*meta)).shape[2:] == (69_998, 69_998)


def test_what_does_not_fit_is_refused_in_a_sentence():
    x, weight = torch.zeros(1, 2, 5, 5), torch.zeros(1, 2, 3, 3)
    with pytest.raises(ShapeError, match="spans 7 x 7"):
        ops.conv2d(x, weight, dilation=3)
    with pytest.raises(ShapeError, match="2 channels; this convolution takes 4"):
        ops.conv2d(x, torch.zeros(2, 2, 1, 1), groups=2)
    with pytest.raises(DsparseError, match="none, relu, tanh"):
        ops.conv2d(x, weight, activation="gelu")
    with pytest.raises(DsparseError, match="at least 0"):
        ops.conv2d(x, weight, activation="relu", slope=-1)
    with pytest.raises(ShapeError, match="at least 1"):
        ops.max_pool2d(x, 0)
    found = kernel_map(Case("rectangular"))
    with pytest.raises(ShapeError, match="9 taps; the kernel map has 6"):
        ops.site_conv2d(torch.zeros(found.inputs, 2), weight, None, found)


def _first(output):
    return output[0] if isinstance(output, tuple) else output
