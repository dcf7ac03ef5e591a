"""The next spot is uncertain, away from paint, and never the same twice."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from napari_dsparse.files.chunked import nothing_painted
from napari_dsparse.prediction import next_spot
from napari_dsparse.prediction.next_spot import BLOCK, CLEARANCE, WORTH_A_STROKE, DoubtMap, block_means

SIZE = 64 * BLOCK


def grid_with(*hot: tuple[int, int]) -> np.ndarray:
    grid = np.full((64, 64), 0.1, np.float32)
    for row, column in hot:
        grid[row : row + 3, column : column + 3] = 1.0
    return grid


def doubts(grid: np.ndarray) -> DoubtMap:
    """A map with these block means; NaN is unknown."""
    found = DoubtMap((*grid.shape[:-2], *(n * BLOCK for n in grid.shape[-2:])))
    for plane in np.ndindex(grid.shape[:-2]):
        found.store(grid[plane], plane, *((0, n * BLOCK) for n in grid.shape[-2:]))
    return found


@given(st.integers(0, 40), st.integers(0, 40), st.integers(1, 50), st.integers(1, 50))
def test_block_means_follow_the_grid_of_the_image(top: int, left: int, height: int, width: int) -> None:
    rng = np.random.default_rng(0)
    image = rng.random((96, 96)).astype(np.float32)
    rows, columns = (top, top + height), (left, left + width)
    means = block_means(image[slice(*rows), slice(*columns)], rows, columns)
    for i, row in enumerate(range(top // BLOCK, (top + height - 1) // BLOCK + 1)):
        for j, column in enumerate(range(left // BLOCK, (left + width - 1) // BLOCK + 1)):
            part = image[
                max(top, row * BLOCK) : min(top + height, (row + 1) * BLOCK),
                max(left, column * BLOCK) : min(left + width, (column + 1) * BLOCK),
            ]
            np.testing.assert_allclose(means[i, j], part.mean(), rtol=1e-5)


@given(hnp.arrays(np.float32, (40, 56), elements=st.floats(0, 1, width=32)))
def test_tiles_that_cover_an_image_leave_no_block_unknown(image: np.ndarray) -> None:
    found = DoubtMap(image.shape)
    for rows in ((0, 13), (13, 40)):
        for columns in ((0, 30), (30, 56)):
            means = block_means(image[slice(*rows), slice(*columns)], rows, columns)
            found.store(means, (), rows, columns)
    assert not np.isnan(found.read((), ((0, 5), (0, 7)))).any()


def test_it_is_where_the_uncertainty_is() -> None:
    spot = doubts(grid_with((20, 40))).find_spot(np.zeros((SIZE, SIZE), np.uint8))
    assert spot is not None
    assert abs(spot[0] - 21.5 * BLOCK) <= BLOCK
    assert abs(spot[1] - 41.5 * BLOCK) <= BLOCK


def test_paint_is_kept_clear_of() -> None:
    labels = np.zeros((SIZE, SIZE), np.uint8)
    labels[21 * BLOCK, 41 * BLOCK] = 1
    spot = doubts(grid_with((20, 40), (50, 10))).find_spot(labels)
    assert spot is not None
    assert abs(spot[0] - 51.5 * BLOCK) <= BLOCK


def test_it_moves_on_and_comes_to_an_end() -> None:
    grid, visited = grid_with((5, 5), (30, 30)), []
    grid[grid < 1] = 0
    while (spot := doubts(grid).find_spot(None, visited)) is not None:
        assert all(
            max(abs(spot[0] - old[0]), abs(spot[1] - old[1])) > CLEARANCE * BLOCK - BLOCK for old in visited
        )
        visited.append(spot)
        assert len(visited) < 10
    assert len(visited) >= 2


def test_nothing_is_suggested_where_nothing_was_segmented() -> None:
    assert DoubtMap((100, 100)).find_spot() is None


def test_a_stack_tells_the_slice_too() -> None:
    grid = np.stack([grid_with(), grid_with((7, 9)), grid_with()])
    spot = doubts(grid).find_spot(np.zeros((3, SIZE, SIZE), np.uint8))
    assert spot is not None
    assert spot[0] == 1


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(st.integers(0, 10**6), st.booleans())
def test_pieces_find_what_the_whole_grid_does(
    monkeypatch: pytest.MonkeyPatch, seed: int, rounded: bool
) -> None:
    monkeypatch.setattr(next_spot, "PIECE", 9)
    rng = np.random.default_rng(seed)
    grid = rng.random((2, 20, 31)).astype(np.float32)
    if rounded:  # there are many equal ones
        grid = (grid > 0.5).astype(np.float32)
    grid[rng.random(grid.shape) < 0.4] = np.nan
    labels = (rng.random((2, 20 * BLOCK, 31 * BLOCK)) < 1e-4).astype(np.uint8)
    known = ~np.isnan(grid)
    weight, smooth = (
        ndimage.gaussian_filter(each.astype(np.float32), (0, 1, 1))
        for each in (known, np.where(known, grid, 0))
    )
    smooth /= np.maximum(weight, 1e-3)
    marks = labels.reshape(2, 20, BLOCK, 31, BLOCK).max((2, 4))
    near = ndimage.maximum_filter(marks, size=(1, 2 * CLEARANCE + 1, 2 * CLEARANCE + 1)) > 0
    smooth[near | ~known] = -1
    best = np.unravel_index(int(smooth.argmax()), grid.shape)
    wanted = (
        (best[0], *(n * BLOCK + BLOCK // 2 for n in best[1:])) if smooth[best] >= WORTH_A_STROKE else None
    )
    assert doubts(grid).find_spot(labels) == wanted


def test_a_huge_image_takes_the_memory_of_what_is_known() -> None:
    tracemalloc.start()
    try:
        found = DoubtMap((100_000, 100_000))
        found.store(np.full((256, 256), 0.3, np.float32), (), (50_000, 52_048), (90_000, 92_048))
        labels = nothing_painted((100_000, 100_000))
        labels[50_000:50_100, 90_000:91_000] = 1
        spot = found.find_spot(labels)
        assert tracemalloc.get_traced_memory()[1] < 20e6
    finally:
        tracemalloc.stop()
    assert spot is not None
    assert 50_000 <= spot[0] < 52_048
    assert labels[spot] == 0
