"""Runs share an image out to workers, whatever comes and goes, and compute little of it twice."""

from __future__ import annotations

import heapq
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_dsparse.classifier import NetworkSpec
from napari_dsparse.prediction import plan_tiles, runs
from napari_dsparse.prediction.blocks import BlockGrid
from napari_dsparse.prediction.runs import Runs
from napari_dsparse.prediction.tiles import Tile, in_bands


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(1, 3), max_size=2),
    st.integers(1, 6000),
    st.integers(1, 6000),
    st.sampled_from(["context", "compact"]),
    st.randoms(use_true_random=False),
)
def test_every_tile_is_taken_once_while_workers_come_and_go(leading, rows, columns, network, draw):
    plan = in_bands(plan_tiles((*leading, rows, columns), NetworkSpec(network, 1, 2)))
    shared, taken = Runs(plan), []
    while shared:
        threads = {name: draw.randint(1, 4) for name in draw.sample("abcdef", draw.randint(1, 6))}
        found = {worker: shared.take(worker, threads) for worker in threads if shared}
        assert any(found.values()), "somebody always gets something"
        for piece in filter(None, found.values()):
            assert len({tile.plane for tile in piece.tiles}) == 1
            assert len(piece.tiles) == 1 or piece.pixels <= runs.MOST_PIXELS
            taken += piece.tiles
    assert sorted(taken) == sorted(plan)


def taken_by_turns(tiles: tuple[Tile, ...], grid: BlockGrid, workers: int) -> tuple[Counter[int], float]:
    """Blocks that each of some equal workers computes, and of the busiest, if each keeps what it computed."""
    shared, threads = Runs(tiles), {str(number): 1 for number in range(workers)}
    known: dict[str, set[Tile]] = {name: set() for name in threads}
    free = [(0, name) for name in threads]
    while free:
        now, name = heapq.heappop(free)
        piece = shared.take(name, threads) if shared else None
        if piece is not None:
            new = piece.blocks(grid) - known[name]
            known[name] |= new
            heapq.heappush(free, (now + len(new), name))
    return Counter({int(name): len(own) for name, own in known.items()}), max(map(len, known.values()))


@pytest.mark.parametrize(("edge", "least"), [(2048, 0.9), (4096, 0.85), (8192, 0.9), (16_384, 0.9)])
def test_two_workers_compute_few_surroundings_twice(edge: int, least: float) -> None:
    spec = NetworkSpec("context", 1, 2)
    plan = in_bands(plan_tiles((edge, edge), spec))
    grid = BlockGrid.over(plan, spec.block_halo)
    _, alone = taken_by_turns(plan, grid, 1)
    _, busiest = taken_by_turns(plan, grid, 2)
    assert alone / 2 / busiest >= least


def test_one_who_is_through_takes_half_of_the_longest_run() -> None:
    plan = in_bands(plan_tiles((10_000, 3000), NetworkSpec("context", 1, 2)))
    shared, threads = Runs(plan), {"slow": 1, "fast": 1}
    first = shared.take("slow", threads)
    while shared:
        if (piece := shared.take("fast", threads)) is None:
            break
        last = piece
    assert first is not None
    assert first.tiles[0] == plan[0]
    assert 0 < len(shared) < runs.LEAST_SHARED, "the slow one keeps the little that is left of its run"
    assert last.tiles[-1].rows[0] < plan[len(plan) // 2].rows[0]


def test_what_a_lost_worker_leaves_is_taken_by_another() -> None:
    plan = in_bands(plan_tiles((3000, 3000), NetworkSpec("context", 1, 2)))
    shared = Runs(plan)
    taken = [shared.take(name, {"a": 1, "b": 1}) for name in "ab"]
    while (piece := shared.take("c", {"c": 1})) is not None:
        taken.append(piece)
        if not shared:
            break
    assert sorted(tile for piece in taken if piece is not None for tile in piece.tiles) == sorted(plan)
