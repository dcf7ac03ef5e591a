"""Pieces of an image, and the jobs that workers do, give what one machine gives."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from classifiers import classifier_for
from napari_dsparse.classifier import NetworkSpec
from napari_dsparse.errors import DsparseError
from napari_dsparse.images import ImageSource
from napari_dsparse.prediction import Predictor, blocks, pieces, plan_tiles, tiles
from napari_dsparse.prediction.blocks import BlockGrid
from napari_dsparse.prediction.pieces import Piece, Setting, do_job, make_job, plan_pieces, share_out


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.integers(1, 3), max_size=2),
    st.integers(1, 5000),
    st.integers(1, 5000),
    st.sampled_from(["context", "compact"]),
)
def test_pieces_hold_every_tile_once_and_are_bounded(leading, rows, columns, network):
    plan = plan_tiles((*leading, rows, columns), NetworkSpec(network, 1, 2))
    found = plan_pieces(plan)
    assert sorted(tile for piece in found for tile in piece.tiles) == sorted(plan)
    assert all(len({tile.plane for tile in piece.tiles}) == 1 for piece in found)
    assert all(piece.pixels <= pieces.PIECE**2 for piece in found)
    assert [piece.pixels for piece in found] == sorted((piece.pixels for piece in found), reverse=True)


@pytest.mark.parametrize("edge", [4096, 10_000])
def test_two_workers_compute_few_surroundings_twice(edge: int) -> None:
    spec = NetworkSpec("context", 1, 2)
    plan = plan_tiles((edge, edge), spec)
    grid = BlockGrid.over(plan, spec.block_halo)
    found = share_out(plan_pieces(plan), 2, grid)
    costs = {piece: len(piece.blocks(grid)) for piece in found}
    assert sum(costs.values()) <= 1.35 * len({block for tile in plan for block in grid.of(tile)})
    assert pieces._longest(found, 2, costs) <= 0.55 * sum(costs.values()), (
        "both are done at about the same time"
    )


@given(st.integers(1, 6), st.integers(1, 6))
def test_halves_share_a_pieces_tiles_until_each_is_one(rows, columns):
    piece = Piece(
        tuple(
            tiles.Tile((3,), (50 * y, 50 * y + 50), (40 * x, 40 * x + 40))
            for y in range(rows)
            for x in range(columns)
        )
    )
    parts = [piece]
    while any(len(part.tiles) > 1 for part in parts):
        before = len(parts)
        parts = [half for part in parts for half in part.halves()]
        assert len(parts) > before
        assert sorted(tile for part in parts for tile in part.tiles) == sorted(piece.tiles)


@pytest.mark.parametrize(
    ("network", "dtype", "travels"),
    [
        ("context", np.uint8, np.uint8),
        ("compact", np.int16, np.int16),
        ("compact", np.float64, np.float32),
        ("compact", np.int64, np.float32),
    ],
)
def test_jobs_give_the_bytes_of_one_machine(monkeypatch, network, dtype, travels):
    monkeypatch.setattr(tiles, "TILE_OVER_HALO", 0)
    monkeypatch.setattr(tiles, "TILE_INPUT", NetworkSpec(network, 1, 2).patch - 1 + 40)
    monkeypatch.setattr(blocks, "BLOCK", 70)
    monkeypatch.setattr(pieces, "PIECE", 80)
    classifier = classifier_for(channels=2, n_symmetries=2, network=network)
    image = np.random.default_rng(0).normal(10, 3, (2, 2, 130, 100)).astype(dtype)
    source = ImageSource(image, 1)
    plan = plan_tiles(source.shape, classifier.spec)
    here = {found.tile: found for found in Predictor(classifier).stream(source, plan)}
    setting = Setting.of(classifier, "cpu", "float32")
    grid = BlockGrid.over(plan, classifier.spec.block_halo)
    some = plan_pieces(plan)[:3]
    assert all(len(piece.tiles) > 1 for piece in some)
    for piece in some:
        job = make_job(setting, source, piece, grid, classifier.spec.local_patch)
        assert job.pixels.dtype == travels
        for tile, found in zip(piece.tiles, do_job(pickle.loads(pickle.dumps(job))), strict=True):
            assert found.labels.tobytes() == here[tile].labels.tobytes()
            assert found.painted.tobytes() == here[tile].painted.tobytes()


def test_pixels_that_integers_cannot_hold_travel_as_floats():
    masked = np.ma.masked_equal(np.arange(3600, dtype=np.uint16).reshape(60, 60), 7)
    source = ImageSource(masked)
    classifier = classifier_for()
    plan = plan_tiles(source.shape, classifier.spec)
    job = make_job(
        Setting.of(classifier, "cpu", "float32"),
        source,
        Piece(plan),
        BlockGrid.over(plan, classifier.spec.block_halo),
        classifier.spec.local_patch,
    )
    assert job.pixels.dtype == np.float32
    assert np.isnan(job.pixels).any()


def test_a_worker_with_another_version_refuses_a_job(monkeypatch):
    classifier, source = classifier_for(), ImageSource(np.zeros((40, 40), np.float32))
    plan = plan_tiles(source.shape, classifier.spec)
    setting = Setting.of(classifier, "cpu", "float32")
    job = make_job(setting, source, Piece(plan), BlockGrid.over(plan, 0), classifier.spec.local_patch)
    monkeypatch.setattr(pieces, "version", lambda name: "0.0.1")
    with pytest.raises(DsparseError, match=rf"has napari-dsparse 0\.0\.1, but .* is {setting.version}"):
        do_job(job)


def test_a_piece_says_where_it_is():
    piece = Piece((tiles.Tile((2, 0), (0, 50), (40, 80)), tiles.Tile((2, 0), (0, 50), (80, 120))))
    assert str(piece) == "plane 2, 0, rows 0 to 50, columns 40 to 120"


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 4000), st.integers(1, 4000), st.integers(1, 9))
def test_shared_out_pieces_hold_the_same_tiles(rows, columns, threads):
    spec = NetworkSpec("context", 1, 2)
    plan = plan_tiles((rows, columns), spec)
    shared = share_out(plan_pieces(plan), threads, BlockGrid.over(plan, spec.block_halo))
    assert sorted(tile for piece in shared for tile in piece.tiles) == sorted(plan)


@pytest.mark.parametrize(
    ("shape", "threads", "number"),
    [((1024, 1024), 1, 1), ((1024, 1024), 2, 2), ((2048, 2048), 2, 2), ((2048, 2048), 16, 16)],
)
def test_pieces_are_as_large_as_threads_allow(shape, threads, number):
    spec = NetworkSpec("context", 1, 2)
    plan = plan_tiles(shape, spec)
    shared = share_out(plan_pieces(plan), threads, BlockGrid.over(plan, spec.block_halo))
    assert len(shared) == number
    assert len({piece.pixels for piece in shared}) == 1


def test_nothing_is_shared_out_to_anyone():
    assert share_out([], 3, BlockGrid((), (), 0)) == []
