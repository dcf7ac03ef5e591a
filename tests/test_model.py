"""The model that scripts use: every map in one pass, with progress and a way to stop."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from napari_dsparse import DsparseError, Model, train
from napari_dsparse.prediction import Predictor


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return np.random.default_rng(0).normal(10, 3, (2, 300, 520)).astype(np.float32)


@pytest.fixture(scope="module")
def model(image: np.ndarray) -> Model:
    labels = np.zeros(image.shape, np.uint8)
    labels[0, 20, 20:30], labels[1, 60, 20:30], labels[1, 90, 40:50] = 1, 2, 3
    return train(image, labels, steps=0, device="cpu", channel_axis=None)


def test_one_pass_gives_what_each_method_gives_alone(
    model: Model, image: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiles = []
    plain = Predictor.tile
    monkeypatch.setattr(Predictor, "tile", lambda self, *given: tiles.append(given[1]) or plain(self, *given))
    maps = model.predict_maps(image, device="cpu", channel_axis=None)
    assert len(tiles) == len(set(tiles)) > 1
    options = {"device": "cpu", "channel_axis": None}
    assert_array_equal(maps.labels, model.predict(image, **options))
    assert_array_equal(maps.probabilities, model.predict_proba(image, **options))
    assert_array_equal(maps.uncertainty, model.uncertainty(image, **options))
    assert maps.labels.shape == maps.uncertainty.shape == image.shape
    assert maps.probabilities.shape == (3, *image.shape)


def test_maps_that_are_not_wanted_are_not_kept(model: Model, image: np.ndarray) -> None:
    maps = model.predict_maps(image[0], probabilities=False, uncertainty=False, device="cpu")
    assert maps.probabilities is None
    assert maps.uncertainty is None


@pytest.mark.parametrize("method", ["predict", "predict_proba", "uncertainty", "predict_maps"])
def test_every_method_tells_its_progress_and_stops(model: Model, image: np.ndarray, method: str) -> None:
    shares: list[float] = []
    options = {"device": "cpu", "channel_axis": None}
    getattr(model, method)(image, progress=shares.append, **options)
    assert shares == sorted(set(shares))
    assert len(shares) > 1
    assert shares[-1] == 1

    stop, heard = threading.Event(), []
    getattr(model, method)(
        image, progress=lambda share: (heard.append(share), stop.set()), stop=stop, **options
    )
    assert heard == shares[:1]


def test_stopped_before_it_began_everything_is_zero(model: Model, image: np.ndarray) -> None:
    maps = model.predict_maps(image[0], device="cpu", stop=lambda: True)
    assert not maps.labels.any()
    assert not maps.probabilities.any()
    assert not maps.uncertainty.any()


def test_unknown_devices_and_precisions_are_refused(model: Model, image: np.ndarray) -> None:
    with pytest.raises(DsparseError, match="abacus"):
        model.predict(image[0], device="abacus")
    with pytest.raises(DsparseError, match="float8"):
        model.predict_maps(image[0], precision="float8")
