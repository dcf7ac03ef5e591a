"""The bundled images match their description."""

from __future__ import annotations

import numpy as np
import pytest

from napari_dsparse import samples
from napari_dsparse.errors import DsparseError, ShapeError
from napari_dsparse.samples import scores


@pytest.mark.parametrize("name", samples.SAMPLES)
def test_strokes_and_truth_lie_on_the_image(name: str) -> None:
    sample = samples.load(name)
    assert sample.image.shape[: sample.strokes.ndim] == sample.strokes.shape == sample.truth.shape
    assert sample.strokes.dtype == sample.truth.dtype == np.uint8
    assert len(sample.scale) == len(sample.units) == sample.strokes.ndim


@pytest.mark.parametrize("name", samples.SAMPLES)
def test_strokes_tell_the_truth_about_every_class_sparsely(name: str) -> None:
    sample = samples.load(name)
    painted = sample.strokes > 0
    assert np.array_equal(sample.strokes[painted], sample.truth[painted])
    assert set(np.unique(sample.strokes[painted])) == set(range(1, len(sample.classes) + 1))
    assert painted.mean() < 0.01


@pytest.mark.parametrize("name", samples.SAMPLES)
def test_every_sample_names_its_source_and_licence(name: str) -> None:
    attribution = samples.load(name).attribution
    assert "source: " in attribution
    assert "licence: " in attribution


def test_samples_are_of_three_kinds() -> None:
    loaded = [samples.load(name) for name in samples.SAMPLES]
    assert {(sample.image.ndim, str(sample.image.dtype)) for sample in loaded} == {
        (2, "uint8"),
        (3, "uint8"),
        (2, "uint16"),
    }
    assert "micrometer" in {unit for sample in loaded for unit in sample.units}


def test_unknown_sample_is_refused_with_the_known_names() -> None:
    with pytest.raises(DsparseError, match="nuclei, tissue, phase"):
        samples.load("cells")


def test_iou_leaves_painted_and_unknown_pixels_out() -> None:
    truth = np.array([[1, 1, 2, 2, 0]])
    labels = np.array([[1, 2, 2, 1, 1]])
    strokes = np.array([[0, 0, 0, 2, 0]])
    assert scores.class_iou(labels, truth, strokes) == {1: 0.5, 2: 0.5}
    assert scores.mean_iou(labels, truth, strokes) == 0.5


def test_iou_of_different_shapes_is_refused() -> None:
    with pytest.raises(ShapeError, match="one shape"):
        scores.class_iou(np.ones((2, 2)), np.ones((2, 3)), np.ones((2, 2)))
