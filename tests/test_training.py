"""What training promises: exact gradients at the strokes alone, the same weights again, honest figures."""

from __future__ import annotations

import subprocess
import sys
import threading
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.testing import assert_array_equal
from skimage.measure import label as connected

from napari_dsparse.errors import DsparseError, LabelsError
from napari_dsparse.images import ImageSource, Normalisation, resolve_image
from napari_dsparse.network import NetworkSpec, default_classes, densify, trace
from napari_dsparse.prediction import predict_labels, predict_probabilities
from napari_dsparse.training import Trainer, find_strokes, train_classifier
from napari_dsparse.training.adamw import AdamW
from napari_dsparse.training.batch import PIXELS_KEPT, PIXELS_PER_STEP, Pieces, make_batches
from napari_dsparse.training.features import SeenStroke
from napari_dsparse.training.head import CELL, Coverage, Moments, by_class, fit_head
from napari_dsparse.training.learner import class_balanced_loss
from napari_dsparse.training.rounds import Round
from napari_dsparse.training.validation import FOLDS, cross_validate
from scenes import iou, stripes, strokes_on

RIDGE = partial(fit_head, ridge=0.1)
CPU = torch.device("cpu")


@settings(max_examples=60, deadline=None)
@given(hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=3, max_side=9), elements=st.integers(0, 3)))
def test_strokes_are_the_connected_components_of_each_class_and_plane(labels):
    strokes = find_strokes(labels)
    painted = np.zeros_like(labels)
    for stroke in strokes:
        at = (*stroke.plane, stroke.yx[:, 0], stroke.yx[:, 1])
        assert (labels[at] == stroke.label).all()
        painted[at] += 1
    assert_array_equal(painted, labels > 0)
    planes = labels[None] if labels.ndim == 2 else labels
    assert len(strokes) == sum(connected(plane, connectivity=2, return_num=True)[1] for plane in planes)
    assert len({stroke.key for stroke in strokes}) == len(strokes)


def test_a_stroke_keeps_its_key_until_it_changes():
    labels = np.zeros((30, 30), np.uint8)
    labels[3:5, 3:9], labels[20:22, 3:9] = 1, 2
    before = {s.key for s in find_strokes(labels)}
    labels[20:22, 9] = 2
    after = {s.key for s in find_strokes(labels)}
    assert len(before & after) == 1


@pytest.mark.parametrize(
    ("labels", "sentence"),
    [
        (np.zeros((4, 4)), "must be integers"),
        (np.full((4, 4), -1), "numbered from 1"),
        (np.zeros(4, int), "rows and columns"),
    ],
)
def test_labels_that_are_no_labels_are_refused(labels, sentence):
    with pytest.raises(LabelsError, match=sentence):
        find_strokes(labels)


def test_a_step_at_the_strokes_has_the_gradient_of_the_masked_whole_image():
    """The loss over all pieces equals the whole-image loss masked to the labels, mirrored border included."""
    torch.manual_seed(0)
    image = np.random.default_rng(0).normal(size=(2, 50, 61)).astype(np.float32)
    labels = np.zeros((50, 61), np.uint8)
    labels[0:2, 0:30], labels[30:33, 55:61], labels[49, 20:28], labels[10:14, 10:14] = 1, 2, 2, 1
    network = NetworkSpec("compact", 2, 2).build().double().eval()
    dense, half = densify(network), trace(network).patch[0] // 2
    normalisation = Normalisation((0.1, -0.2), (1.5, 0.5))
    pieces = Pieces([ImageSource(image, 0)], normalisation, dense.geometry)
    made = pieces.of(find_strokes(labels), np.random.default_rng(0))
    (batch,) = make_batches([p for own in made.values() for p in own], np.random.default_rng(0), CPU)
    ours = class_balanced_loss(
        dense.on_sites(batch.pixels.double(), batch.closure), batch.targets, (0, 1), 0.05
    )

    padded = np.pad(normalisation.apply(image), ((0, 0), (half, half), (half, half)), "reflect")
    scores = dense(torch.from_numpy(padded).double()[None])[0]
    y, x = np.nonzero(labels)
    whole = class_balanced_loss(
        scores[:, y, x].t(), torch.from_numpy(labels[y, x].astype(np.int64) - 1), (0, 1), 0.05
    )
    torch.testing.assert_close(ours, whole, rtol=1e-10, atol=1e-12)
    parameters = list(network.parameters())
    for a, b in zip(
        torch.autograd.grad(ours, parameters), torch.autograd.grad(whole, parameters), strict=True
    ):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-11)


class CountedImage:
    """An array that remembers how many of its pixels were read."""

    def __init__(self, array):
        self.array, self.shape, self.dtype, self.read = array, array.shape, array.dtype, 0

    def __getitem__(self, index):
        block = self.array[index]
        self.read += block.size
        return block


def test_training_reads_around_the_strokes_only_and_unchanged_strokes_not_again():
    image = CountedImage(np.random.default_rng(0).normal(size=(2000, 2000)).astype(np.float32))
    labels = np.zeros(image.shape, np.uint8)
    labels[100:103, 100:140], labels[1800:1803, 1500:1540] = 1, 2
    trainer = Trainer([ImageSource(image)], default_classes(2), hold_out=False)
    image.read = 0
    assert trainer.update(find_strokes(labels))
    assert 0 < image.read < 40_000
    image.read = 0
    assert not trainer.update(find_strokes(labels))
    assert image.read == 0
    labels[500:503, 500:520] = 2
    assert trainer.update(find_strokes(labels))
    assert 0 < image.read < 10_000


def test_it_learns_a_texture_that_brightness_cannot_tell():
    image, truth = stripes()
    classifier = train_classifier(image, strokes_on(truth), steps=60, seed=1)
    found = predict_labels(classifier, resolve_image(image))
    well_inside = np.abs(np.arange(truth.shape[1]) % 24 - 12) < 6  # no stroke says where bands end
    assert iou(found[:, well_inside], truth[:, well_inside]) > 0.95
    assert classifier.record.steps == 60
    assert classifier.record.held_out_strokes >= 2
    assert all(value > 0.7 for value in classifier.record.held_out_iou)


def test_the_same_seed_gives_the_same_weights_bit_for_bit():
    image, truth = stripes()
    one, two, other = (train_classifier(image, strokes_on(truth), steps=8, seed=s) for s in (3, 3, 4))
    for name, weight in one.weights.items():
        assert torch.equal(weight, two.weights[name]), name
    assert any(not torch.equal(w, other.weights[name]) for name, w in one.weights.items())


def test_training_leaves_the_callers_random_state_alone():
    image, truth = stripes()
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    train_classifier(image, strokes_on(truth), steps=2)
    assert torch.equal(torch.rand(3), expected)


def test_held_out_figures_do_not_change_the_result():
    image, truth = stripes()
    with_figures, without = (
        train_classifier(image, strokes_on(truth), steps=12, hold_out=hold_out) for hold_out in (True, False)
    )
    assert without.record.held_out_iou == (None, None)
    for name, weight in with_figures.weights.items():
        assert torch.equal(weight, without.weights[name])


def test_a_stop_flag_ends_training_between_steps_and_keeps_what_was_learned():
    image, truth = stripes()
    stop, seen = threading.Event(), []

    def progress(state):
        seen.append(state.step)
        if state.step == 5:
            stop.set()

    classifier = train_classifier(image, strokes_on(truth), steps=500, progress=progress, stop=stop)
    assert seen == [1, 2, 3, 4, 5]
    assert classifier.record.steps == 5


def test_seconds_end_a_round():
    image, truth = stripes()
    seen = []
    classifier = train_classifier(image, strokes_on(truth), seconds=0.5, progress=seen.append)
    assert all(state.seconds < 0.5 for state in seen[:-1])
    assert seen[-1].seconds >= 0.5
    assert seen[-1].steady
    assert classifier.record.steps == len(seen)


def test_a_long_round_moves_no_further_than_the_recipes():
    def moved(steps):
        limits = Round(0, steps, None, 1e-3, 0.15, 60)
        return sum(limits.rate(step) for step in range(steps))

    assert moved(600) == pytest.approx(moved(60), rel=0.02)
    assert moved(30) == pytest.approx(moved(60) / 2, rel=0.05)


def test_classes_without_paint_are_never_predicted():
    image, truth = stripes()
    labels = np.where(strokes_on(truth) == 2, 3, strokes_on(truth))
    classifier = train_classifier(image, labels, classes=["sky", "unused", "sea"], steps=5)
    probabilities = predict_probabilities(classifier, resolve_image(image))
    assert classifier.present == (True, False, True)
    assert (probabilities[1] == 0).all()
    np.testing.assert_allclose(probabilities.sum(0), 1, atol=1e-5)


def test_a_rare_class_is_predicted_as_rarely_as_it_is():
    """Balanced training alone would call every second doubtful pixel the rare class."""
    rng = np.random.default_rng(0)
    truth = np.ones((160, 160), np.uint8)
    truth[70:80, 30:130] = 2
    image = (truth + rng.normal(0, 2.0, truth.shape)).astype(np.float32)
    labels = np.zeros_like(truth)
    labels[20:23, 20:80], labels[73:76, 40:110] = 1, 2
    classifier = train_classifier(image, labels, steps=60)
    assert classifier.shares[1] < 0.45
    assert sum(classifier.shares) == pytest.approx(1)
    balanced = replace(classifier, shares=(0.5, 0.5))
    found, plain = (predict_labels(c, resolve_image(image)) for c in (classifier, balanced))
    assert iou(found, truth) > iou(plain, truth)


def test_a_class_added_while_training_is_learned_with_the_others():
    image, truth = stripes()
    trainer = Trainer([resolve_image(image)], default_classes(2))
    labels = strokes_on(truth)
    trainer.update(find_strokes(labels), steps=30)
    while not trainer.steady:
        before = trainer.step()
    labels[90:92, 100:110] = 3
    assert trainer.update(find_strokes(labels), default_classes(3))
    after = trainer.step()
    assert trainer.snapshot().spec.classes == 3
    assert after.step == 1 < before.step
    assert all(trainer.snapshot().present)
    for _ in range(3):
        trainer.step()


def test_several_images_learn_together_and_must_share_their_channels():
    image, truth = stripes()
    other, other_truth = stripes((50, 80), seed=9)
    classifier = train_classifier(
        [image, other], [strokes_on(truth), strokes_on(other_truth, (20,))], steps=3
    )
    assert (
        classifier.record.pixels == (strokes_on(truth) > 0).sum() + (strokes_on(other_truth, (20,)) > 0).sum()
    )
    with pytest.raises(DsparseError, match="1 and 3 channels"):
        train_classifier([image, np.stack([other] * 3)], [strokes_on(truth), strokes_on(other_truth, (20,))])
    with pytest.raises(LabelsError, match="equal length"):
        train_classifier([image, other], [strokes_on(truth)])


@pytest.mark.parametrize(
    ("labels", "classes", "sentence"),
    [
        (np.zeros((96, 120), np.uint8), None, "no class is painted"),
        (np.ones((96, 120), np.uint8), None, "only class 1 is painted"),
        (strokes_on(stripes()[1]) * 2, ["a", "b"], "Class 4 is painted, but there are 2 classes"),
    ],
)
def test_labels_with_nothing_to_tell_apart_are_refused(labels, classes, sentence):
    with pytest.raises(LabelsError, match=sentence):
        train_classifier(stripes()[0], labels, classes=classes)


def test_unknown_pixels_are_read_as_the_median():
    image, truth = stripes()
    image[30:34] = np.nan
    classifier = train_classifier(image, strokes_on(truth), steps=5)
    assert all(torch.isfinite(weight).all() for weight in classifier.weights.values())


def test_a_filled_region_is_dealt_into_batches_of_bounded_size():
    labels = np.ones((600, 600), np.uint8)
    labels[:, 300:] = 2
    labels[:40, :40] = 3
    image = ImageSource(np.zeros(labels.shape, np.float32))
    pieces = Pieces(
        [image], Normalisation((0.0,), (1.0,)), trace(NetworkSpec("compact", 1, 3).build().eval())
    )
    rng = np.random.default_rng(0)
    made = [p for own in pieces.of(find_strokes(labels), rng).values() for p in own]
    assert sum(p.count for p in made) <= PIXELS_KEPT
    assert {p.label for p in made} == {1, 2, 3}
    batches = make_batches(made[:40], rng, CPU)
    assert len(batches) > 1
    assert max(len(b.targets) for b in batches) <= 2 * PIXELS_PER_STEP


def seen_strokes(rng, labels, features=5, pixels=12):
    """Strokes of random features, shifted by their class."""
    strokes = []
    for label in labels:
        rows = torch.from_numpy(rng.normal(0, 1, (pixels, features)) + 2 * label * np.eye(features)[label])
        apart = np.arange(pixels)[:, None] * [[0, CELL]]
        strokes.append(SeenStroke(label, Moments.of(rows[None], Coverage.of(apart)), rows.float()))
    return strokes


def test_the_last_layer_is_the_class_balanced_ridge_classifier():
    rng = np.random.default_rng(0)
    strokes = seen_strokes(rng, (1, 2, 2, 3, 2))
    weight, bias = fit_head(by_class(strokes).values(), 0.3)
    rows = torch.cat([stroke.features.double() for stroke in strokes]).numpy()
    target = np.repeat([stroke.label - 1 for stroke in strokes], 12)
    share = (1 / np.bincount(target))[target] / 3
    mean = share @ rows
    variance = (share @ (rows - mean) ** 2).mean()
    # The same as least squares with a row more for every feature, which pulls its weight to 0.
    tall = np.vstack([np.sqrt(share)[:, None] * (rows - mean), np.sqrt(0.3 * variance) * np.eye(5)])
    wanted = np.vstack([np.sqrt(share)[:, None] * (np.eye(3)[target] - 1 / 3), np.zeros((5, 3))])
    expected = np.linalg.lstsq(tall, wanted, rcond=None)[0].T
    np.testing.assert_allclose(weight.numpy(), expected, atol=1e-6)
    np.testing.assert_allclose(bias.numpy(), 1 / 3 - expected @ mean, atol=1e-6)


def test_neighbours_count_for_little_more_than_one_of_them():
    line = np.stack([np.zeros(40, int), np.arange(40)], 1)
    spread = Coverage.of(line)
    assert spread.cells == 3
    np.testing.assert_allclose(spread.weights, [16**-0.5] * 32 + [8**-0.5] * 8)
    alone = Coverage.of(line[:1])
    assert alone.cells == 1
    assert alone.weights == 1
    rows = torch.randn(2, 40, 4)
    moments = Moments.of(rows, spread)
    assert moments.weight == pytest.approx(2 * spread.weights.sum())
    weights = torch.from_numpy(spread.weights)
    torch.testing.assert_close(moments.total, (rows.double() * weights[:, None]).sum((0, 1)))
    both = moments + Moments.of(rows[:, :1], alone)
    assert both.cells == 4
    assert both.weight == pytest.approx(moments.weight + 2)


def test_the_last_layer_is_held_back_where_little_is_painted():
    rng = np.random.default_rng(0)
    little, much = (by_class(seen_strokes(rng, (1, 2), pixels=pixels)).values() for pixels in (2, 60))
    sizes = [
        [float(fit_head(classes, 0.1, caution)[0].norm()) for caution in (0.0, 5.0)]
        for classes in (little, much)
    ]
    lost = [1 - held / free for free, held in sizes]
    assert lost[0] > 3 * lost[1] > 0


def test_the_same_strokes_make_the_same_model_however_they_were_painted():
    image, truth = stripes()
    labels = strokes_on(truth)
    strokes = find_strokes(labels)
    at_once, one_by_one = (Trainer([resolve_image(image)], default_classes(2)) for _ in range(2))
    for count in range(2, len(strokes)):
        if len({stroke.label for stroke in strokes[:count]}) == 2:
            one_by_one.update(strokes[:count], steps=3)
            one_by_one.step()
    for trainer in (at_once, one_by_one):
        trainer.update(strokes, steps=3)
        while not trainer.steady:
            trainer.step()
    for (name, one), other in zip(
        at_once.snapshot().weights.items(), one_by_one.snapshot().weights.values(), strict=True
    ):
        torch.testing.assert_close(one, other, msg=name)


def test_a_model_is_useful_before_its_first_step():
    image, truth = stripes()
    trainer = Trainer([resolve_image(image)], default_classes(2))
    trainer.update(find_strokes(strokes_on(truth)))
    found = predict_labels(trainer.snapshot(), resolve_image(image))
    well_inside = np.abs(np.arange(truth.shape[1]) % 24 - 12) < 6
    assert iou(found[:, well_inside], truth[:, well_inside]) > 0.95


def test_no_stroke_is_judged_by_a_layer_that_was_fitted_to_it():
    """Features that only tell strokes apart say all about strokes that were seen, and nothing of others."""
    labels = [1, 2] * 6
    strokes = [
        SeenStroke(label, Moments.of(rows[None], Coverage.of(np.zeros((9, 2), int))), rows)
        for label, rows in zip(labels, torch.eye(len(labels))[:, None].expand(-1, 9, -1), strict=True)
    ]
    weight, bias = fit_head(by_class(strokes).values(), 1e-6)
    fitted = [int((s.features[0].double() @ weight.t() + bias).argmax()) + 1 for s in strokes]
    assert fitted == labels
    accuracy = cross_validate(strokes, 2, partial(fit_head, ridge=1e-6), 0)
    assert accuracy.strokes == len(strokes)
    assert accuracy.confusion.sum() == 9 * len(strokes)
    assert accuracy.confusion.diagonal().sum() < 9 * len(strokes)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 4), min_size=1, max_size=20), st.integers(0, 9))
def test_classes_with_two_strokes_are_measured_all_of_them(labels, seed):
    accuracy = cross_validate(seen_strokes(np.random.default_rng(seed), labels), 5, RIDGE, seed)
    measured = [label for label in set(labels) if labels.count(label) >= 2]
    if len(measured) < 2:
        assert accuracy.strokes == 0
        assert accuracy.iou == {}
    else:
        assert accuracy.strokes == sum(labels.count(label) for label in measured)
        assert sorted(accuracy.iou) == sorted(measured)
        assert all(0 <= value <= 1 for value in accuracy.iou.values())
        assert FOLDS >= 2


def test_the_optimiser_is_pytorchs_adamw():
    torch.manual_seed(0)
    start, gradients = torch.randn(50, dtype=torch.float64), torch.randn(12, 50, dtype=torch.float64)
    theirs = torch.nn.Parameter(start.clone())
    plain = torch.optim.AdamW([theirs], weight_decay=0.05)
    ours = start.clone()
    own = AdamW(ours, weight_decay=0.05)
    for step, gradient in enumerate(gradients):
        rate = 1e-2 / (1 + step)
        plain.param_groups[0]["lr"] = rate
        theirs.grad = gradient
        plain.step()
        own.step(gradient, rate)
        torch.testing.assert_close(ours, theirs.detach(), rtol=1e-12, atol=1e-14)


def test_learning_does_not_load_pytorchs_compiler():
    """It takes seconds, which a first stroke would wait for."""
    program = (
        "import sys, numpy as np; from napari_dsparse.training import train_classifier;"
        "labels = np.zeros((40, 40), int); labels[5, 5:9] = 1; labels[30, 5:9] = 2;"
        "train_classifier(np.random.rand(40, 40), labels, steps=1);"
        "sys.exit('torch._dynamo' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_every_class_weighs_the_same_however_much_was_painted():
    logits = torch.zeros(10, 2, dtype=torch.float64, requires_grad=True)
    targets = torch.tensor([0] * 9 + [1])
    class_balanced_loss(logits, targets, (0, 1), 0.0).backward()
    torch.testing.assert_close(logits.grad.sum(0), torch.zeros(2, dtype=torch.float64))
