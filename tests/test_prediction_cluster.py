"""A cluster computes the same tiles to the same bytes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from napari_dsparse import samples
from napari_dsparse.classifier import TrainedClassifier
from napari_dsparse.errors import DsparseError, ImageError
from napari_dsparse.images import resolve_image
from napari_dsparse.prediction import Predictor, cluster, plan_tiles, predict_image
from napari_dsparse.prediction.cluster import ClusterPredictor
from napari_dsparse.training import train_classifier

distributed = pytest.importorskip("distributed", reason="dask.distributed (extra `cluster`) is not installed")


@pytest.fixture(scope="module")
def scheduler() -> Iterator[str]:
    """Address of a scheduler with two workers in this process, reached over TCP."""
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=False, protocol="tcp://", dashboard_address=None
    ) as local:
        yield local.scheduler_address


@pytest.fixture(scope="module")
def classifier() -> TrainedClassifier:
    sample = samples.load("tissue")
    return train_classifier([sample.image], [sample.strokes], steps=3, hold_out=False)


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    """Two colour planes of four tiles each."""
    tissue = samples.load("tissue").image[:240, :250]
    return np.stack([tissue, tissue[::-1]])


def test_labels_are_byte_for_byte_those_of_one_machine(
    scheduler: str, classifier: TrainedClassifier, image: np.ndarray
) -> None:
    source = resolve_image(image, channels=3)
    shares: list[float] = []
    with ClusterPredictor(classifier, scheduler) as cluster_predictor:
        there = predict_image(
            cluster_predictor, source, probabilities=True, uncertainty=True, progress=shares.append
        )
    here = predict_image(Predictor(classifier), source, probabilities=True, uncertainty=True)
    for name in ("labels", "probabilities", "uncertainty"):
        theirs, ours = getattr(there, name), getattr(here, name)
        assert theirs.dtype == ours.dtype
        assert theirs.tobytes() == ours.tobytes()
    assert shares == sorted(shares)
    assert shares[-1] == 1


def test_probabilities_come_back_too_and_in_the_order_of_the_tiles(
    scheduler: str, classifier: TrainedClassifier, image: np.ndarray
) -> None:
    source = resolve_image(image, channels=3)
    here = Predictor(classifier)
    tiles = plan_tiles(source.shape, classifier.spec)[::-1]
    with ClusterPredictor(classifier, scheduler) as there:
        for tile, prediction in zip(tiles, there.stream(source, tiles), strict=True):
            assert prediction.tile == tile
            np.testing.assert_array_equal(prediction.probabilities, here.tile(source, tile).probabilities)


def test_only_a_bounded_number_of_tiles_is_read_ahead(
    scheduler: str, classifier: TrainedClassifier, image: np.ndarray
) -> None:
    source = resolve_image(np.concatenate([image] * 4), channels=3)
    tiles = plan_tiles(source.shape, classifier.spec)
    read = 0

    def counted() -> Iterator[object]:
        nonlocal read
        for tile in tiles:
            read += 1
            yield tile

    with ClusterPredictor(classifier, scheduler) as there:
        next(there.stream(source, counted()))
    assert read == cluster.TILES_PER_THREAD * 2 < len(tiles)


def test_stop_ends_between_tiles(scheduler: str, classifier: TrainedClassifier, image: np.ndarray) -> None:
    class AfterThree:
        asked = 0

        def is_set(self) -> bool:
            self.asked += 1
            return self.asked > 3

    with ClusterPredictor(classifier, scheduler) as there:
        found = predict_image(there, resolve_image(image, channels=3), stop=AfterThree())
    assert 0 in found.labels


def test_wrong_channels_are_refused_as_on_one_machine(scheduler: str, classifier: TrainedClassifier) -> None:
    with (
        pytest.raises(ImageError, match="channels"),
        ClusterPredictor(classifier, scheduler) as there,
    ):
        predict_image(there, resolve_image(np.zeros((30, 30))))


def test_missing_scheduler_is_named(classifier: TrainedClassifier, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "PATIENCE", 0.5)
    with (
        pytest.raises(DsparseError, match=r"No dask scheduler answers at 'tcp://127\.0\.0\.1:9'"),
        ClusterPredictor(classifier, "tcp://127.0.0.1:9"),
    ):
        pass


def test_other_versions_on_the_workers_are_refused(
    scheduler: str, classifier: TrainedClassifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    versions = iter(["0.0.1", "0.0.2", "0.0.2"])  # here, then each worker
    monkeypatch.setattr(cluster, "version", lambda name: next(versions))
    with (
        pytest.raises(DsparseError, match=r"have napari-dsparse 0\.0\.2, but here is 0\.0\.1"),
        ClusterPredictor(classifier, scheduler),
    ):
        pass
