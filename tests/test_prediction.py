"""Prediction has no seams and covers every pixel, in any order and at any size."""

from __future__ import annotations

import threading

import dask.array as da
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

import napari_dsparse as nd
from classifiers import classifier_for
from napari_dsparse import samples
from napari_dsparse.classifier import NetworkSpec, TrainedClassifier
from napari_dsparse.errors import DsparseError, ImageError
from napari_dsparse.images import ImageSource, resolve_image
from napari_dsparse.network import densify
from napari_dsparse.network.symmetry import symmetries_for, turn_kernels
from napari_dsparse.prediction import (
    Predictor,
    label_dtype,
    nearest_first,
    plan_tiles,
    predict_image,
    tiles,
    tiles_of_view,
)
from whole_images import predict_labels, predict_probabilities

pytestmark = pytest.mark.alone


def untiled(classifier: TrainedClassifier, image: np.ndarray) -> np.ndarray:
    """Probabilities (K, Y, X) in the plainest way: pad the whole image once, run each symmetry, average."""
    half = classifier.spec.patch // 2
    x = classifier.normalisation.apply(image.astype(np.float32))
    x = np.pad(x, ((0, 0), (half, half), (half, half)), "reflect")
    total = 0
    for symmetry in symmetries_for(classifier.n_symmetries):
        network = classifier.spec.build()
        network.load_state_dict(turn_kernels(classifier.weights, symmetry))
        with torch.no_grad():
            total = total + densify(network.eval())(torch.from_numpy(x)[None])[0].softmax(0).numpy()
    total = total * np.array(classifier.priors)[:, None, None]
    return total / total.sum(0)


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 90), st.integers(1, 90), st.sampled_from([(1, 1), (1, 2), (2, 8)]), st.integers(30, 80))
def test_tiled_prediction_equals_whole_image(rows, columns, kind, tile):
    channels, n_symmetries = kind
    classifier = classifier_for(channels, n_symmetries=n_symmetries, priors=(0.2, 0.5, 0.3))
    image = np.random.default_rng(rows).normal(10, 3, (channels, rows, columns)).astype(np.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiles, "TILE_INPUT", tile)
        patch.setattr(tiles, "TILE_OVER_HALO", 0)
        assert len(plan_tiles((rows, columns), classifier.spec)) == (
            -(-rows // (tile - 26)) * -(-columns // (tile - 26))
        )
        probabilities = predict_probabilities(classifier, ImageSource(image, 0))
        labels = predict_labels(classifier, ImageSource(image, 0))
    whole = untiled(classifier, image)
    assert_allclose(probabilities, whole, atol=1e-5)
    best_two = np.sort(whole, axis=0)[-2:]
    clear = best_two[1] - best_two[0] > 1e-5
    assert_array_equal(labels[clear], whole.argmax(0)[clear] + 1)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 3), max_size=2), st.integers(1, 2000), st.integers(1, 2000))
def test_tiles_cover_every_pixel_once(leading, rows, columns):
    shape = (*leading, rows, columns)
    seen = np.zeros(shape, np.uint8)
    for tile in plan_tiles(shape, NetworkSpec("compact", 1, 2)):
        seen[tile.slices] += 1
    assert (seen == 1).all()


def test_the_order_of_tiles_does_not_change_a_byte():
    classifier = classifier_for()
    source = ImageSource(np.random.default_rng(0).normal(10, 3, (300, 520)).astype(np.float32))
    plan = plan_tiles(source.shape, classifier.spec)
    viewed = nearest_first(plan, (), (200, 260), (400, 500))
    assert set(viewed) == set(plan)
    assert viewed != plan
    outputs = []
    for order in (plan, viewed):
        out = np.zeros(source.shape, np.uint8)
        for done in Predictor(classifier).stream(source, order):
            out[done.tile.slices] = done.labels
        outputs.append(out)
    assert_array_equal(*outputs)
    assert_array_equal(outputs[0], predict_labels(classifier, source))


def test_what_is_on_screen_comes_first_from_its_middle():
    plan = plan_tiles((3, 1000, 1000), NetworkSpec("compact", 1, 2))
    order = nearest_first(plan, (1,), (480, 520), (480, 520))
    on_screen = [t for t in order if t.plane == (1,)]
    assert list(order[: len(on_screen)]) == on_screen
    first = order[0]
    assert first.rows[0] <= 500 < first.rows[1]
    assert first.columns[0] <= 500 < first.columns[1]


@settings(max_examples=60, deadline=None)
@given(
    st.tuples(st.integers(1, 1500), st.integers(1, 1500)),
    st.tuples(*[st.integers(-300, 1600)] * 4),
)
def test_tiles_of_a_view_cover_each_of_its_pixels_once_and_no_other(shape, edges):
    rows, columns = sorted(edges[:2]), sorted(edges[2:])
    seen, wanted = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
    for tile in tiles_of_view((3, *shape), (1,), tuple(rows), tuple(columns)):
        assert tile.plane == (1,)
        assert 0 < tile.rows[1] - tile.rows[0] <= 256
        assert 0 < tile.columns[1] - tile.columns[0] <= 512
        seen[tile.slices[1:]] += 1
    wanted[max(0, rows[0]) : max(0, rows[1]), max(0, columns[0]) : max(0, columns[1])] = 1
    np.testing.assert_array_equal(seen, wanted)


@pytest.mark.parametrize("lazy", [False, True])
def test_stacks_are_predicted_plane_by_plane(lazy):
    classifier = classifier_for()
    stack = np.random.default_rng(1).normal(10, 3, (2, 3, 40, 50)).astype(np.float32)
    labels = predict_labels(classifier, resolve_image(da.from_array(stack, chunks=16) if lazy else stack))
    assert labels.shape == stack.shape
    assert_array_equal(labels[1, 2], predict_labels(classifier, ImageSource(stack[1, 2])))


def test_uncertainty_is_one_at_a_tie_and_falls_with_the_margin():
    classifier = classifier_for()
    source = ImageSource(np.random.default_rng(2).normal(10, 3, (60, 60)).astype(np.float32))
    maps = predict_image(Predictor(classifier), source, probabilities=True, uncertainty=True)
    assert_array_equal(maps.labels, maps.probabilities.argmax(0) + 1)
    probabilities, uncertainty = np.sort(maps.probabilities, axis=0), maps.uncertainty
    assert_allclose(uncertainty, 1 - (probabilities[-1] - probabilities[-2]), atol=1e-6)
    assert uncertainty.min() >= 0
    assert uncertainty.max() <= 1


def test_labels_are_as_narrow_as_the_classes_allow():
    assert label_dtype(255) == np.uint8
    assert label_dtype(256) == np.uint16


def test_a_stop_between_tiles_leaves_the_rest_unpredicted():
    classifier = classifier_for()
    source = ImageSource(np.full((700, 700), 10, np.float32))
    stop = threading.Event()
    labels = predict_labels(classifier, source, stop=stop, progress=lambda done: stop.set())
    assert (labels > 0).any()
    assert (labels == 0).any()


def test_a_stop_is_heard_within_a_tile():
    classifier = classifier_for(n_symmetries=8)
    source = ImageSource(np.full((60, 60), 10, np.float32))
    (tile,) = plan_tiles(source.shape, classifier.spec)
    asked = []

    def stopped() -> bool:
        asked.append(True)
        return len(asked) == 3

    assert Predictor(classifier).tile(source, tile, stopped) is None
    assert len(asked) == 3


@settings(max_examples=15)
@given(rows=st.integers(1, 70), columns=st.integers(1, 70), top=st.integers(0, 40), left=st.integers(0, 40))
def test_a_sketch_is_exact_on_its_lattice_and_between_its_neighbours_elsewhere(rows, columns, top, left):
    image = np.random.default_rng(rows).normal(10, 3, (110, 110)).astype(np.float32)
    predictor = Predictor(classifier_for(priors=(0.5, 0.3, 0.2)), "cpu", n_symmetries=1)
    tile = tiles.Tile((), (top, top + rows), (left, left + columns))
    sketch = predictor.sketch(ImageSource(image), tile)
    exact = predictor.tile(ImageSource(image), tile)
    assert exact is not None
    assert sketch.probabilities.shape == exact.probabilities.shape
    assert predictor.stride == (4, 4)
    lattice = np.s_[:, ::4, ::4]
    assert_allclose(sketch.probabilities[lattice], exact.probabilities[lattice], atol=1e-5)
    assert_allclose(sketch.probabilities.sum(0), 1, atol=1e-5)
    assert_array_equal(sketch.labels, sketch.probabilities.argmax(0) + 1)


def test_bfloat16_differs_only_near_ties():
    classifier = classifier_for(n_symmetries=8)
    source = ImageSource(np.random.default_rng(4).normal(10, 3, (90, 80)).astype(np.float32))
    exact, rough = (predict_probabilities(classifier, source, precision=p) for p in ("float32", "bfloat16"))
    assert_allclose(rough, exact, atol=0.03)
    assert rough.dtype == np.float32
    labels = predict_labels(classifier, source, precision="bfloat16")
    best_two = np.sort(exact, axis=0)[-2:]
    clear = best_two[1] - best_two[0] > 0.06
    assert_array_equal(labels[clear], exact.argmax(0)[clear] + 1)
    with pytest.raises(DsparseError, match="float32, bfloat16"):
        Predictor(classifier, precision="float8")


def test_classes_without_paint_are_never_predicted():
    classifier = classifier_for(classes=4, priors=(0.0, 0.3, 0.0, 0.7))
    source = ImageSource(np.random.default_rng(5).normal(10, 3, (60, 60)).astype(np.float32))
    probabilities = predict_probabilities(classifier, source)
    assert not probabilities[[0, 2]].any()
    assert_allclose(probabilities.sum(0), 1, atol=1e-5)
    labels = predict_labels(classifier, source)
    assert_array_equal(labels, probabilities.argmax(0) + 1)
    assert set(np.unique(labels)) <= {2, 4}


def test_an_image_with_other_channels_is_refused():
    with pytest.raises(ImageError, match="3 channels"):
        predict_labels(classifier_for(1), ImageSource(np.zeros((40, 40, 3)), 2))


def test_symmetries_of_the_kernels_are_symmetries_of_the_image():
    classifier = classifier_for(n_symmetries=8)
    image = np.random.default_rng(3).normal(10, 3, (47, 61)).astype(np.float32)
    straight = predict_probabilities(classifier, ImageSource(image))
    turned = predict_probabilities(classifier, ImageSource(np.ascontiguousarray(np.rot90(image)[:, ::-1])))
    assert_allclose(np.rot90(straight, axes=(1, 2))[:, :, ::-1], turned, atol=1e-5)


@pytest.mark.parametrize("shape", [(60, 70), (301, 77), (33, 1)])
def test_the_number_of_threads_changes_no_bit(shape: tuple[int, int]) -> None:
    sample = samples.load("tissue")
    model = nd.train(sample.image, sample.strokes, classes=sample.classes)
    before = torch.get_num_threads()
    found = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            found.append(model.predict_maps(sample.image[: shape[0], : shape[1]]))
    finally:
        torch.set_num_threads(before)
    for other in found[1:]:
        for name in ("labels", "probabilities", "uncertainty"):
            np.testing.assert_array_equal(getattr(found[0], name), getattr(other, name))
