"""The dependency closure and the input gradient: two ways each, chosen by counts, with one result."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_dsparse import ops
from napari_dsparse.errors import ShapeError
from napari_dsparse.ops.reference import sites as reference
from napari_dsparse.sites import Closure, MapBuffers, TapWindow, closure, dependency_closure, join

WINDOWS = (TapWindow((3, 2), (1, 1)), TapWindow((2, 2), (1, 2)), TapWindow((3, 3), (2, 2)))
WIDTH = 40


@settings(max_examples=30, deadline=None)
@given(st.sets(st.integers(0, 20 * WIDTH), max_size=30))
def test_a_table_of_places_finds_what_a_sorted_list_finds(wanted: set[int]) -> None:
    sites = np.array(sorted(wanted), np.int64)
    by_table = dependency_closure(WINDOWS, sites, WIDTH)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(closure, "TABLE_PLACES", 0)
        patch.setattr(closure, "PLACES_A_SITE", 0)
        by_list = dependency_closure(WINDOWS, sites, WIDTH)
    assert torch.equal(by_table.pixels, by_list.pixels)
    for one, other in zip(by_table.maps, by_list.maps, strict=True):
        assert one.rows.dtype == other.rows.dtype == torch.int32
        assert torch.equal(one.rows, other.rows)
        assert torch.equal(one.inverse, other.inverse)


def test_pixels_strewn_over_a_huge_image_cost_no_table() -> None:
    width = 1 << 20
    found = dependency_closure(WINDOWS, np.array([0, width * (width - 9)]), width)
    assert len(found.pixels) == 2 * len(dependency_closure(WINDOWS, np.array([0]), width).pixels)


site_lists = st.lists(st.sets(st.integers(0, 6 * WIDTH), min_size=1, max_size=9), min_size=1, max_size=4)


@settings(max_examples=30, deadline=None)
@given(st.lists(site_lists, min_size=2, max_size=3))
def test_joined_closures_compute_each_its_own_whatever_room_held_before(
    batches: list[list[set[int]]],
) -> None:
    torch.manual_seed(0)
    buffers = MapBuffers()
    weights = [torch.randn(2, 2, *window.kernel, dtype=torch.float64) for window in WINDOWS]

    def run(found: Closure, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x = pixels.clone().requires_grad_()
        out = x
        for weight, kernel_map in zip(weights, found.maps, strict=True):
            out = ops.site_conv2d(out, weight, None, kernel_map)
        (grad,) = torch.autograd.grad(out.square().sum(), x)
        return out.detach(), grad

    for batch in batches:
        own = [dependency_closure(WINDOWS, np.array(sorted(sites), np.int64), WIDTH) for sites in batch]
        pixels = [torch.randn(len(found.pixels), 2, dtype=torch.float64) for found in own]
        apart = [run(found, x) for found, x in zip(own, pixels, strict=True)]
        together = run(join(own, buffers), torch.cat(pixels))
        for joined, parts in zip(together, zip(*apart, strict=True), strict=True):
            torch.testing.assert_close(joined, torch.cat(parts), rtol=1e-12, atol=1e-12)


def test_more_sites_than_maps_can_count_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(closure, "NO_SITE", 30)
    one = dependency_closure(WINDOWS[:1], np.array([0, 1, 2]), WIDTH)
    with pytest.raises(ShapeError, match="fewer than 30 are allowed"):
        join([one] * 4)


@pytest.mark.parametrize("groups", [1, 2])
def test_the_input_gradient_is_the_same_gathered_or_spread(
    groups: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    (found,) = dependency_closure([TapWindow((3, 3), (2, 2))], np.array([0, 1, 5, 90, 91, 700]), WIDTH).maps
    grad = torch.randn(found.outputs, 6, dtype=torch.float64)
    weight = torch.randn(6, 4 // groups, 3, 3, dtype=torch.float64)
    results = []
    for threshold in (0, 1000):
        monkeypatch.setattr(reference, "SPARSE_INPUTS", threshold)
        results.append(reference.site_conv2d_input_grad(grad, weight, found.rows, found.inverse, groups))
    torch.testing.assert_close(*results, rtol=1e-12, atol=1e-12)
