"""Whatever form a network runs in, row by row or whole, the numbers are the patch classifier's."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from napari_dsparse.network import densify, plan
from napari_dsparse.ops.fragments import join_phases, split_phases
from networks import every_patch, gradients, patch_networks

CLOSE = {"rtol": 1e-9, "atol": 1e-10}
seeds = st.integers(0, 2**16)
pairs = st.tuples(st.integers(1, 5), st.integers(1, 5))


@settings(max_examples=60, deadline=None)
@given(patch_networks(), seeds, st.integers(1, 9), st.integers(1, 2), st.booleans())
def test_streamed_rows_equal_patch_by_patch(network, seed, band, images, fragments):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan, "BAND_ROWS", (band, band))
        if fragments:
            patch.setattr(plan, "FRAGMENT_TYPES", (torch.float64,))
            patch.setattr(plan, "FRAGMENT_DILATION", 2)
        dense = densify(network)
        torch.manual_seed(seed)
        rows, columns = dense.patch
        batch = torch.randn(images, network.in_channels, rows + 6, columns + 3, dtype=torch.float64)
        with torch.no_grad():
            streamed = dense(batch)
            patches = torch.stack([every_patch(network, image, dense.patch) for image in batch])
    torch.testing.assert_close(streamed, patches, **CLOSE)


@settings(max_examples=60, deadline=None)
@given(seeds, pairs, pairs, st.integers(0, 7), st.integers(0, 7), st.sampled_from([1, 2]))
def test_fragments_equal_taps_apart_with_their_gradients(
    seed, taps, dilation, more_rows, more_columns, groups
):
    torch.manual_seed(seed)
    size = [(taps[i] - 1) * dilation[i] + 1 + more for i, more in enumerate((more_rows, more_columns))]
    x = torch.randn(2, 2, *size, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(4, 2 // groups, *taps, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(4, dtype=torch.float64, requires_grad=True)
    apart = nn.functional.conv2d(x, weight, bias, dilation=dilation, groups=groups)
    fragments = nn.functional.conv2d(split_phases(x, dilation), weight, bias, groups=groups)
    joined = join_phases(fragments, dilation, apart.shape[2:])
    torch.testing.assert_close(joined, apart, **CLOSE)
    seed_gradient, inputs = torch.randn_like(apart), [x, weight, bias]
    for ours, plain in zip(
        gradients(joined, seed_gradient, inputs), gradients(apart, seed_gradient, inputs), strict=True
    ):
        torch.testing.assert_close(ours, plain, **CLOSE)


@given(pairs, st.integers(1, 13), st.integers(1, 13))
def test_phases_come_together_again(dilation, rows, columns):
    x = torch.arange(3.0 * rows * columns).reshape(1, 3, rows, columns)
    assert torch.equal(join_phases(split_phases(x, dilation), dilation, (rows, columns)), x)


def test_maps_may_be_narrow_wide_empty_of_batch_or_just_one_patch():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 3, 3), nn.LeakyReLU(0.1), nn.MaxPool2d(3, 2), nn.Conv2d(3, 2, 2))
    dense = densify(network)
    learning = densify(network.requires_grad_())
    for size in ((7, 7), (7, 200), (130, 7), (33, 34)):
        x = torch.randn(1, 1, *size)
        with torch.no_grad():
            streamed = dense(x)
        torch.testing.assert_close(streamed, learning(x).detach())
    with torch.no_grad():
        assert dense(torch.zeros(0, 1, 9, 9)).shape == (0, 2, 3, 3)
