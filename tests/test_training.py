"""Training: exact gradients at the strokes only, reproducible weights, honest figures."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.testing import assert_array_equal
from skimage.measure import label as connected

from napari_dsparse.classifier import NETWORKS, NetworkSpec, default_classes
from napari_dsparse.errors import DsparseError, LabelsError
from napari_dsparse.images import ImageSource, Normalisation, resolve_image
from napari_dsparse.network import densify, trace
from napari_dsparse.training import Trainer, find_strokes, train_classifier
from napari_dsparse.training.adamw import AdamW
from napari_dsparse.training.batch import make_batches
from napari_dsparse.training.learner import class_balanced_loss
from napari_dsparse.training.rounds import Round
from scenes import CountedImage, iou, stripes, strokes_on
from whole_images import predict_labels, predict_probabilities

pytestmark = pytest.mark.alone

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


@pytest.mark.parametrize("name", NETWORKS)
def test_a_step_at_the_strokes_has_the_gradient_of_the_masked_whole_image(name):
    """The loss over all pieces equals the whole-image loss masked to the labels, mirrored border included."""
    torch.manual_seed(0)
    image = np.random.default_rng(0).normal(size=(2, 50, 61)).astype(np.float32)
    labels = np.zeros((50, 61), np.uint8)
    labels[0:2, 0:5], labels[30:33, 58:61], labels[49, 20:24], labels[10:12, 10:12] = 1, 2, 2, 1
    network = NetworkSpec(name, 2, 2).build().double().eval()
    dense, half = densify(network), trace(network).patch[0] // 2
    normalisation = Normalisation((0.1, -0.2), (1.5, 0.5))
    batches = make_batches(
        [ImageSource(image, 0)], [normalisation], dense.geometry, find_strokes(labels), CPU
    )
    source = ImageSource(image, 0)
    padded = normalisation.apply(source.read((), (-half, 50 + half), (-half, 61 + half)))
    scores = dense(torch.from_numpy(padded).double()[None])[0]
    if name == "compact":  # of a wide network, whole strides apart are enough
        assert sum(len(batch.targets) for batch in batches) == (labels > 0).sum()
    for batch in batches:
        logits = dense.on_sites(batch.pixels.double(), batch.closure)
        ours = class_balanced_loss(logits, batch.targets, batch.weights.double(), (0, 1))
        y, x = np.nonzero(labels)
        everywhere = scores[:, y, x].t()
        # Which of the painted pixels each row is: their scores are the same.
        places = (logits[:, None] - everywhere[None]).abs().sum(2).argmin(1)
        assert len(places.unique()) == len(places)
        assert torch.equal(batch.targets, torch.from_numpy(labels[y, x].astype(np.int64) - 1)[places])
        whole = class_balanced_loss(everywhere[places], batch.targets, batch.weights.double(), (0, 1))
        torch.testing.assert_close(ours, whole, rtol=1e-10, atol=1e-12)
        parameters = list(network.parameters())
        for a, b in zip(
            torch.autograd.grad(ours, parameters),
            torch.autograd.grad(whole, parameters, retain_graph=True),
            strict=True,
        ):
            torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-11)


def test_training_reads_around_strokes_and_some_windows_and_nothing_again():
    image = CountedImage(np.random.default_rng(0).integers(0, 256, (5000, 5000), np.uint8))
    labels = np.zeros(image.shape, np.uint8)
    labels[100:103, 100:140], labels[1800:1803, 1500:1540] = 1, 2
    trainer = Trainer([ImageSource(image)], default_classes(2), hold_out=False)
    image.read = 0
    assert trainer.update(find_strokes(labels))
    assert 0 < image.read < 6_000_000  # of 25 million: what surroundings of strokes and of 16 windows touch
    image.read = 0
    assert not trainer.update(find_strokes(labels))
    assert image.read == 0
    labels[120:123, 100:120] = 2
    assert trainer.update(find_strokes(labels))
    assert 0 < image.read < 10_000  # its surroundings were known


def test_it_learns_a_texture_that_brightness_cannot_tell():
    image, truth = stripes()
    classifier = train_classifier(image, strokes_on(truth), steps=60, seed=1)
    found = predict_labels(classifier, resolve_image(image))
    well_inside = np.abs(np.arange(truth.shape[1]) % 24 - 12) < 6  # no stroke says where bands end
    assert iou(found[:, well_inside], truth[:, well_inside]) > 0.95
    assert classifier.record.steps == 60


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


def test_seconds_hold_for_everything_and_the_time_told_is_the_time_taken():
    image, truth = stripes()
    train_classifier(image, strokes_on(truth))  # what is loaded once is not counted
    seen, started = [], time.perf_counter()
    classifier = train_classifier(image, strokes_on(truth), steps=10_000, seconds=3.0, progress=seen.append)
    taken = time.perf_counter() - started
    assert all(state.seconds < 3.0 for state in seen[:-1])
    assert seen[-1].steady
    assert classifier.record.steps == len(seen) < 10_000
    assert 0.9 * taken < classifier.record.seconds <= taken
    without = train_classifier(image, strokes_on(truth), seconds=1e-3)
    assert without.record.steps == 0
    assert without.record.held_out_iou == (None, None)  # no time was left to judge


def test_no_steps_are_taken_unless_asked_for():
    image, truth = stripes()
    seen = []
    assert train_classifier(image, strokes_on(truth), progress=seen.append).record.steps == 0
    assert not seen


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
    assert classifier.priors[1] < 0.45
    assert sum(classifier.priors) == pytest.approx(1)
    balanced = replace(classifier, priors=(0.5, 0.5))
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
    class_balanced_loss(logits, targets, torch.ones(10), (0, 1)).backward()
    torch.testing.assert_close(logits.grad.sum(0), torch.zeros(2, dtype=torch.float64))
