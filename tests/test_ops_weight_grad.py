"""The gradient to dilated kernels in bands of rows: PyTorch's own sums, whatever the band."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.grad import conv2d_weight

from napari_dsparse.ops.reference import weight_grad

TAPS = st.tuples(st.integers(1, 4), st.integers(1, 4))
SIDES = st.tuples(st.integers(1, 9), st.integers(1, 9))


@settings(max_examples=60, deadline=None)
@given(TAPS, TAPS, SIDES, st.integers(0, 2), st.integers(1, 3), st.sampled_from([1, 300, 4 << 20]))
def test_bands_of_any_height_add_up_to_the_gradient(kernel, dilation, out, count, groups, band_bytes):
    torch.manual_seed(0)
    size = [o + (k - 1) * d for o, k, d in zip(out, kernel, dilation, strict=True)]
    x = torch.randn(count, 2 * groups, *size, dtype=torch.float64)
    grad = torch.randn(count, 3 * groups, *out, dtype=torch.float64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(weight_grad, "BAND_BYTES", band_bytes)
        ours = weight_grad.weight_grad_in_bands(x, grad, kernel, dilation, groups)
    assert ours.is_contiguous()
    if count:
        wanted = conv2d_weight(x, (3 * groups, 2, *kernel), grad, dilation=dilation, groups=groups)
        torch.testing.assert_close(ours, wanted)
    else:
        assert not ours.any()


def test_a_pixel_that_is_not_a_number_spoils_the_taps_that_read_it_and_no_others():
    x, grad = torch.zeros(1, 1, 5, 5), torch.ones(1, 1, 1, 1)
    x[0, 0, 0, 4] = float("nan")
    spoilt = weight_grad.weight_grad_in_bands(x, grad, (3, 3), (2, 2), 1).isnan()
    assert spoilt.nonzero().tolist() == [[0, 0, 0, 2]]


@pytest.mark.parametrize(
    ("kernel", "dilation", "groups", "dtype", "serves"),
    [
        ((3, 3), (2, 2), 1, torch.float32, True),
        ((3, 1), (2, 1), 3, torch.float64, True),
        ((3, 3), (1, 1), 1, torch.float32, False),
        ((1, 1), (4, 4), 1, torch.float32, False),
        ((3, 3), (2, 2), 64, torch.float32, False),
        ((3, 3), (2, 2), 1, torch.bfloat16, False),
    ],
)
def test_taps_that_lie_apart_are_served_in_types_whose_sums_are_wide_enough(
    kernel, dilation, groups, dtype, serves
):
    assert weight_grad.in_bands(torch.zeros(1, groups, 9, 9, dtype=dtype), kernel, dilation, groups) == serves
