"""Pieces of an image, and the jobs that workers do, give what one machine gives."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from classifiers import classifier_for
from napari_dsparse.classifier import NetworkSpec
from napari_dsparse.errors import DsparseError
from napari_dsparse.images import ImageSource
from napari_dsparse.prediction import Predictor, blocks, pieces, plan_tiles, runs, tiles
from napari_dsparse.prediction.blocks import BlockGrid
from napari_dsparse.prediction.pieces import Piece, Setting, do_job, make_job
from napari_dsparse.prediction.runs import Runs
from napari_dsparse.prediction.tiles import in_bands


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
    monkeypatch.setattr(runs, "PER_THREAD", 1)
    classifier = classifier_for(channels=2, n_symmetries=2, network=network)
    image = np.random.default_rng(0).normal(10, 3, (2, 2, 130, 100)).astype(dtype)
    source = ImageSource(image, 1)
    plan = plan_tiles(source.shape, classifier.spec)
    here = {found.tile: found for found in Predictor(classifier).stream(source, plan)}
    setting = Setting.of(classifier, "cpu", "float32")
    grid = BlockGrid.over(plan, classifier.spec.block_halo)
    given = Runs(in_bands(plan))
    some = [given.take("worker", {"worker": 2}) for _ in range(3)]
    assert all(len(piece.tiles) > 1 for piece in some)
    for piece in some:
        job = make_job(setting, source, piece, grid, image=f"{network} {dtype}")
        assert job.pixels.dtype == travels
        for tile, found in zip(piece.tiles, do_job(pickle.loads(pickle.dumps(job))), strict=True):
            for name in ("labels", "probabilities", "uncertainty"):
                assert found.value(name).tobytes() == here[tile].value(name).tobytes()


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
        image="one",
    )
    assert job.pixels.dtype == np.float32
    assert np.isnan(job.pixels).any()


def test_a_worker_with_another_version_refuses_a_job(monkeypatch):
    classifier, source = classifier_for(), ImageSource(np.zeros((40, 40), np.float32))
    plan = plan_tiles(source.shape, classifier.spec)
    setting = Setting.of(classifier, "cpu", "float32")
    job = make_job(setting, source, Piece(plan), BlockGrid.over(plan, 0), image="one")
    monkeypatch.setattr(pieces, "version", lambda name: "0.0.1")
    with pytest.raises(DsparseError, match=rf"has napari-dsparse 0\.0\.1, but .* is {setting.version}"):
        do_job(job)


def test_a_piece_says_where_it_is():
    piece = Piece((tiles.Tile((2, 0), (0, 50), (40, 80)), tiles.Tile((2, 0), (0, 50), (80, 120))))
    assert str(piece) == "plane 2, 0, rows 0 to 50, columns 40 to 120"


def test_a_worker_computes_blocks_once_over_the_pieces_of_its_run_and_sends_what_is_wanted(monkeypatch):
    monkeypatch.setattr(tiles, "TILE_OVER_HALO", 0)
    monkeypatch.setattr(tiles, "TILE_INPUT", NetworkSpec("context", 1, 2).patch - 1 + 40)
    monkeypatch.setattr(blocks, "BLOCK", 70)
    computed, features = [], Predictor._features
    monkeypatch.setattr(Predictor, "_features", lambda self, *a: computed.append(a[2]) or features(self, *a))
    classifier = classifier_for(network="context")
    source = ImageSource(np.random.default_rng(0).normal(10, 3, (200, 120)).astype(np.float32))
    plan = plan_tiles(source.shape, classifier.spec)
    grid = BlockGrid.over(plan, classifier.spec.block_halo)
    setting = Setting.of(classifier, "cpu", "float32")
    for image in ("one", "another"):
        given, several = Runs(in_bands(plan)), 0
        while piece := given.take("worker", {"worker": 1}):
            several += 1
            for found in do_job(make_job(setting, source, piece, grid, image=image, maps=["uncertainty"])):
                assert found.values.keys() == {"labels", "uncertainty"}
        assert several > 3
    assert len(computed) == 2 * len({block for tile in plan for block in grid.of(tile)})
