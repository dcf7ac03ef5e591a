"""The next spot is uncertain, away from paint, and never the same twice."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from napari_dsparse.prediction.next_spot import (
    BLOCK,
    CLEARANCE,
    block_means,
    empty_grid,
    find_spot,
    store_blocks,
)

SIZE = 64 * BLOCK


def grid_with(*hot: tuple[int, int]) -> np.ndarray:
    grid = np.full((64, 64), 0.1, np.float32)
    for row, column in hot:
        grid[row : row + 3, column : column + 3] = 1.0
    return grid


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
    grid = empty_grid(image.shape)
    for rows in ((0, 13), (13, 40)):
        for columns in ((0, 30), (30, 56)):
            means = block_means(image[slice(*rows), slice(*columns)], rows, columns)
            store_blocks(grid, means, (), rows, columns)
    assert not np.isnan(grid).any()


def test_it_is_where_the_uncertainty_is() -> None:
    spot = find_spot(grid_with((20, 40)), np.zeros((SIZE, SIZE), np.uint8))
    assert spot is not None
    assert abs(spot[0] - 21.5 * BLOCK) <= BLOCK
    assert abs(spot[1] - 41.5 * BLOCK) <= BLOCK


def test_paint_is_kept_clear_of() -> None:
    labels = np.zeros((SIZE, SIZE), np.uint8)
    labels[21 * BLOCK, 41 * BLOCK] = 1
    spot = find_spot(grid_with((20, 40), (50, 10)), labels)
    assert spot is not None
    assert abs(spot[0] - 51.5 * BLOCK) <= BLOCK


def test_it_moves_on_and_comes_to_an_end() -> None:
    grid, visited = grid_with((5, 5), (30, 30)), []
    grid[grid < 1] = 0
    while (spot := find_spot(grid, None, visited)) is not None:
        assert all(
            max(abs(spot[0] - old[0]), abs(spot[1] - old[1])) > CLEARANCE * BLOCK - BLOCK for old in visited
        )
        visited.append(spot)
        assert len(visited) < 10
    assert len(visited) >= 2


def test_nothing_is_suggested_where_nothing_was_segmented() -> None:
    assert find_spot(empty_grid((100, 100)), None) is None


def test_a_stack_tells_the_slice_too() -> None:
    grid = np.stack([grid_with(), grid_with((7, 9)), grid_with()])
    spot = find_spot(grid, np.zeros((3, SIZE, SIZE), np.uint8))
    assert spot is not None
    assert spot[0] == 1
