"""The dependency closure and the input gradient: two ways each, chosen by counts, with one result."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_dsparse.ops.reference import sites as reference
from napari_dsparse.sites import Window, closure, dependency_closure

WINDOWS = (Window((3, 2), (1, 1)), Window((2, 2), (1, 2)), Window((3, 3), (2, 2)))
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


@pytest.mark.parametrize("groups", [1, 2])
def test_the_input_gradient_is_the_same_gathered_or_spread(
    groups: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    (found,) = dependency_closure([Window((3, 3), (2, 2))], np.array([0, 1, 5, 90, 91, 700]), WIDTH).maps
    grad = torch.randn(found.outputs, 6, dtype=torch.float64)
    weight = torch.randn(6, 4 // groups, 3, 3, dtype=torch.float64)
    results = []
    for threshold in (0, 1000):
        monkeypatch.setattr(reference, "SPARSE_INPUTS", threshold)
        results.append(reference.site_conv2d_input_grad(grad, weight, found.rows, found.inverse, groups))
    torch.testing.assert_close(*results, rtol=1e-12, atol=1e-12)
