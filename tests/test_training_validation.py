"""Accuracy as users are shown it: nothing until it means something, then a range that holds the truth."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_dsparse.classifier import default_classes
from napari_dsparse.classifier.warm_start import Opinion
from napari_dsparse.images import resolve_image
from napari_dsparse.training import Trainer, find_strokes
from napari_dsparse.training.choice import choose_pixels
from napari_dsparse.training.head import Head, Rows
from napari_dsparse.training.places import NEAR, places_of
from napari_dsparse.training.validation import (
    FEWEST_PLACES,
    Accuracy,
    Sample,
    cross_validate,
    expected_iou,
)
from scenes import iou, stripes
from whole_images import predict_labels

OPINIONS = (Opinion(1.0, (1.0,)),)
SCALE = 4.0


def painted(spots, shape=(400, 400)):
    """Labels with a short stroke per (row, column, class)."""
    labels = np.zeros(shape, np.uint8)
    for y, x, label in spots:
        labels[y : y + 2, x : x + 6] = label
    return labels


def judged(labels, features, seed=0):
    """Accuracy of a last layer on `features` (Y, X, F), and what it is asked about: every fourth pixel."""
    strokes = find_strokes(labels)
    chosen = choose_pixels(strokes)
    known = np.unique(chosen.labels)
    rows = Rows(
        (torch.from_numpy(features[tuple(chosen.yx.T)]).float(),),
        torch.from_numpy(np.searchsorted(known, chosen.labels)),
        torch.from_numpy(chosen.weights),
    )
    head = Head(rows)
    seen = torch.from_numpy(features[::4, ::4].reshape(-1, features.shape[-1])).float()
    weight, bias = (own.float() for own in head.fit(OPINIONS))
    priors = torch.full((len(known),), 1 / len(known))
    sample = Sample(seen, seen @ weight.t() + bias, SCALE, priors)
    return cross_validate(strokes, chosen, head, OPINIONS, sample, int(labels.max()), seed), sample


def halves(noise, seed=0, features=4, shape=(400, 400)):
    """Truth and features: two classes that the first feature tells apart, under noise."""
    rng = np.random.default_rng(seed)
    truth = np.ones(shape, np.uint8)
    truth[(np.arange(shape[0]) // 50 % 2 == 1)] = 2
    made = rng.normal(size=(*shape, features)) * noise
    made[..., 0] += truth * 2.0 - 3.0
    return truth, made


def strokes_in(truth, count):
    """`count` strokes per class, at places of their own."""
    chosen: dict[int, list[tuple[int, int, int]]] = {}
    for y in range(4, truth.shape[0] - 8, 10):
        for x in range(8, 390, 2 * NEAR + 8):
            own = chosen.setdefault(int(truth[y, x]), [])
            apart = all(max(abs(y - v), abs(x - u)) > 2 * NEAR + 6 for v, u, _ in own)
            if apart and len(own) < count and len(np.unique(truth[y : y + 2])) == 1:
                own.append((y, x, int(truth[y, x])))
    assert all(len(own) == count for own in chosen.values())
    return painted([spot for own in chosen.values() for spot in own])


def places(labels):
    strokes = find_strokes(labels)
    chosen = choose_pixels(strokes)
    own = places_of(strokes, chosen)
    return {int(k): len(np.unique(own[chosen.labels == k])) for k in np.unique(chosen.labels)}


# -- when there is a figure ----------------------------------------------------------------------------------


def test_few_strokes_show_nothing():
    truth, features = halves(0.1)
    for count in range(1, FEWEST_PLACES):
        accuracy, _ = judged(strokes_in(truth, count), features)
        assert accuracy.iou == accuracy.range == {}
        assert accuracy.strokes == 0
        assert not accuracy.confusion.any()
    accuracy, _ = judged(strokes_in(truth, FEWEST_PLACES), features)
    assert set(accuracy.iou) == set(accuracy.range) == {1, 2}
    assert accuracy.strokes == 2 * FEWEST_PLACES


def test_strokes_near_one_another_count_once():
    one = painted([(100, 100, 1), (300, 300, 2)])
    near = painted([(100, 100, 1), (108, 104, 1), (100, 115, 1), (116, 110, 1), (300, 300, 2), (310, 300, 2)])
    assert places(one) == places(near) == {1: 1, 2: 1}
    apart = painted([(8, 8, 1), (8, 300, 1), (300, 8, 1), (300, 300, 2)])
    assert places(apart) == {1: 3, 2: 1}


def test_many_strokes_in_three_spots_of_one_class_and_one_of_another_show_nothing():
    truth, features = halves(0.1)
    labels = strokes_in(truth, 3)
    labels[labels == 2] = 0
    for column in range(10, 60, 10):
        labels[60:62, column : column + 6] = 2
    accuracy, _ = judged(labels, features)
    assert accuracy.iou == {}


def test_paint_all_over_the_image_does_not_become_one_place():
    labels = painted([(y, x, 1) for y in range(8, 390, 20) for x in range(8, 390, 20)])
    assert 20 <= places(labels)[1] <= 100


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 390), st.integers(0, 390), st.integers(1, 3)), min_size=1, max_size=40)
)
def test_places_are_of_one_class_and_no_more_than_squares(spots):
    labels = painted(spots)
    strokes = find_strokes(labels)
    chosen = choose_pixels(strokes)
    own = places_of(strokes, chosen)
    for place in np.unique(own):
        inside = own == place
        assert len(np.unique(chosen.labels[inside])) == 1
        extent = np.ptp(chosen.yx[inside], axis=0)
        assert (extent < 3 * NEAR).all()  # a place does not grow from stroke to stroke


# -- what it says --------------------------------------------------------------------------------------------


def test_expected_iou_of_certain_classes_is_their_iou():
    rng = np.random.default_rng(0)
    one, other = (torch.eye(3)[rng.integers(0, 3, 500)] for _ in range(2))
    both = (one * other).sum(0)
    wanted = both / ((one + other) > 0).sum(0)
    torch.testing.assert_close(expected_iou(one, other), wanted)
    torch.testing.assert_close(expected_iou(one, one), torch.ones(3))
    assert expected_iou(torch.eye(3)[[0, 0]], torch.eye(3)[[0, 0]]).tolist() == [1, 0, 0]


def test_expected_iou_of_uncertain_classes_is_what_draws_give_on_average():
    rng = np.random.default_rng(1)
    probabilities = rng.dirichlet((1, 1, 2), 4000)
    found = torch.eye(3, dtype=torch.float64)[probabilities.argmax(1)]
    drawn = []
    for _ in range(20):
        classes = (probabilities.cumsum(1) < rng.random((4000, 1))).sum(1).clip(max=2)
        drawn.append(expected_iou(found, torch.eye(3, dtype=torch.float64)[classes]))
    expected = expected_iou(found, torch.from_numpy(probabilities))
    torch.testing.assert_close(expected, torch.stack(drawn).mean(0), atol=5e-3, rtol=0)


def test_features_that_tell_all_have_a_high_low_end():
    truth, features = halves(0.02)
    accuracy, _ = judged(strokes_in(truth, 4), features)
    assert min(low for low, _ in accuracy.range.values()) > 0.9


@pytest.mark.parametrize("seed", range(6))
def test_features_that_tell_nothing_do_not_look_good(seed):
    """The estimate is on the high side there, but no range promises anything."""
    truth, features = halves(1.0, seed)
    features = np.random.default_rng(seed).normal(size=features.shape)
    accuracy, sample = judged(strokes_in(truth, 4), features, seed)
    found = sample.scores.argmax(1).numpy() + 1
    asked = truth[::4, ::4].ravel()
    for label, (low, high) in accuracy.range.items():
        true = ((found == label) & (asked == label)).sum() / ((found == label) | (asked == label)).sum()
        assert low - 0.15 <= true <= high
        assert low < 0.55
    assert max(accuracy.iou.values()) < 0.7


def test_in_simulation_the_truth_mostly_lies_in_the_range():
    """From classes that are told apart well to hardly at all; nominally four times out of five."""
    inside = []
    for noise in (0.6, 1.0, 1.5):
        for seed in range(4):
            truth, features = halves(noise, seed, features=16)
            accuracy, sample = judged(strokes_in(truth, 4), features, seed)
            found, asked = sample.scores.argmax(1).numpy() + 1, truth[::4, ::4].ravel()
            for label, (low, high) in accuracy.range.items():
                one, other = found == label, asked == label
                inside.append(low <= (one & other).sum() / (one | other).sum() <= high)
    assert len(inside) == 24
    assert np.mean(inside) >= 0.7


@settings(max_examples=20, deadline=None)
@given(st.floats(0.05, 3), st.integers(0, 99))
def test_a_figure_lies_within_its_range_and_both_within_0_and_1(noise, seed):
    truth, features = halves(noise, seed)
    accuracy, _ = judged(strokes_in(truth, 3), features, seed)
    for label, value in accuracy.iou.items():
        low, high = accuracy.range[label]
        assert 0 < low < value < high < 1


def test_less_noise_says_more():
    means = []
    for noise in (0.1, 0.7, 2.0):
        truth, features = halves(noise)
        accuracy, _ = judged(strokes_in(truth, 4), features)
        means.append(np.mean(list(accuracy.iou.values())))
    assert means[0] > means[1] + 0.03 > means[2] + 0.06


def test_a_stroke_on_an_error_does_not_read_as_failure():
    """A small spot that looks like the other class is corrected: on left-out paint that is one more error."""
    truth, features = halves(0.05)
    truth[60:64, 200:216] = 1  # inside class 2, and looking like it, but for the last feature
    features[60:64, 200:216, 3] += 2.0
    before = strokes_in(truth, 4)
    after = before.copy()
    after[61:63, 202:214] = 1
    first, second = judged(before, features)[0], judged(after, features)[0]
    plain = [_plain_iou(accuracy) for accuracy in (first, second)]
    assert plain[1] < plain[0] - 0.05
    for label in (1, 2):
        assert second.iou[label] > first.iou[label] - 0.02


def _plain_iou(accuracy: Accuracy) -> float:
    both = accuracy.confusion.diagonal()
    return float(np.min(both / (accuracy.confusion.sum(0) + accuracy.confusion.sum(1) - both)))


def test_a_further_stroke_on_separable_classes_lowers_nothing():
    truth, features = halves(0.02)
    labels = strokes_in(truth, 3)
    first, _ = judged(labels, features)
    labels[4:6, 380:386] = 1
    second, _ = judged(labels, features)
    for label in (1, 2):
        assert second.iou[label] >= first.iou[label] - 1e-3


def test_the_same_seed_gives_the_same_figures():
    truth, features = halves(0.8)
    labels = strokes_in(truth, 4)
    one, two = (judged(labels, features, seed=5)[0] for _ in range(2))
    assert one.iou == two.iou
    assert one.range == two.range
    np.testing.assert_array_equal(one.confusion, two.confusion)


# -- in the trainer ------------------------------------------------------------------------------------------


def test_a_trainer_shows_a_range_near_the_truth():
    """Strokes lie well inside of bands, so what happens at their borders is not known to it."""
    image, truth = stripes((256, 256))
    labels = np.zeros(truth.shape, np.uint8)
    for row in (20, 120, 220):
        for column in (30, 125, 220):
            middle = column // 24 * 24 + 12
            for at in (middle, middle + 24):
                if at < 250:
                    labels[row : row + 12, at - 1 : at + 2] = truth[row, at]
    trainer = Trainer([resolve_image(image)], default_classes(2))
    trainer.update(find_strokes(labels))
    progress = trainer.progress()
    assert progress.held_out_iou == progress.held_out_range == {}
    progress = trainer.judge()
    assert set(progress.held_out_range) == {1, 2}
    assert trainer.record().held_out_iou == tuple(progress.held_out_iou.values())
    assert progress.held_out_strokes > 0
    found = predict_labels(trainer.snapshot(), resolve_image(image))
    low, high = np.mean(list(progress.held_out_range.values()), 0)
    assert low - 0.1 <= iou(found, truth) <= high
