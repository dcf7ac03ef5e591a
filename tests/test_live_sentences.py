"""The status line always states what is going on and what to do next."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from napari_dsparse.classifier.classes import default_classes
from napari_dsparse.images.source import ImageSource
from napari_dsparse.live.chosen import ChosenImage, ChosenStrokes, CurrentModel
from napari_dsparse.live.expected_iou import mean_range, range_text
from napari_dsparse.live.labelled_image import LabelledImage
from napari_dsparse.live.sentences import describe, describe_model, progress_text
from napari_dsparse.live.state import LiveState, Training, WholeImage
from napari_dsparse.prediction.view_memory import warm_start_classifier
from napari_dsparse.training.progress import TrainingProgress

FIT = TrainingProgress(0, 0, float("nan"), {}, 0, 0.42, True, 5)
RANGE = {1: (0.86, 0.94), 2: (0.5, 0.7)}
JUDGED = TrainingProgress(0, 0, float("nan"), {1: 0.9, 2: 0.6}, 5, 0.9, True, 5, held_out_range=RANGE)
STEP = TrainingProgress(12, 30, 0.2, {1: 0.9, 2: 0.72}, 5, 4.2, False, 5)
END = TrainingProgress(30, 30, 0.2, {1: 0.9, 2: 0.72}, 5, 9.2, True, 5)
PIXELS = np.zeros((8, 8), np.uint8)
OPEN = LiveState(chosen=ChosenImage(1, 1, "nuclei", ImageSource(PIXELS)))
STROKES = ChosenStrokes("nuclei strokes", PIXELS, default_classes(9))
READY = replace(OPEN, strokes_layer=STROKES, classes=default_classes(2))
CLASSIFIER = warm_start_classifier(ImageSource(np.eye(8, dtype=np.uint8)))
MINE = CurrentModel(CLASSIFIER, "nuclei", frozenset({1}))
OTHERS = CurrentModel(CLASSIFIER, "worms", frozenset({2}))
PAINTED = replace(READY, counts=((3, 100), (2, 90)))
FITTED = replace(PAINTED, training=Training.LEARNING, progress=FIT, fit_seconds=0.42)
STEADY = replace(FITTED, training=Training.STEADY, progress=JUDGED, judged=JUDGED)
STEPPING = replace(STEADY, training=Training.LEARNING, progress=STEP)


@pytest.mark.parametrize(
    ("state", "sentence"),
    [
        (LiveState(), "Open an image to start; File > Open Sample has some with strokes."),
        (OPEN, "Press New for a strokes layer, then paint."),
        (
            replace(OPEN, model=MINE, applied=True),
            "The model is ready; segment, or press New for a strokes layer, then paint.",
        ),
        (
            replace(OPEN, model=OTHERS),
            "Segment whole image applies the model from worms; or press New for a strokes layer, then paint.",
        ),
        (READY, "Paint a stroke of 'background' (key 1) and one of 'object' (key 2)."),
        (replace(READY, strokes_layer=ChosenStrokes("s", PIXELS + 1, ())), "Counting the strokes…"),
        (replace(READY, study=(LabelledImage(1, "", OPEN.chosen.source, PIXELS),)), "Counting the strokes…"),
        (
            replace(READY, counts=((1, 40), (0, 0))),
            "Now paint a stroke of 'object' (key 2): learning takes two classes.",
        ),
        (PAINTED, "Press Train to learn from 5 strokes, or paint on."),
        (replace(PAINTED, live=False), "Press Train to learn from 5 strokes, or switch on Live."),
        (replace(PAINTED, training=Training.FITTING), "Learning from 5 strokes…"),
        (
            replace(PAINTED, training=Training.FITTING, whole=WholeImage()),
            "Learning from 5 strokes… The whole image is next.",
        ),
        (replace(STEADY, training=Training.FITTING), "Learning from 5 strokes…"),
        (FITTED, "Learned from 5 strokes in 0.4 s. Paint where it is wrong."),
        (
            replace(FITTED, whole=WholeImage()),
            "Learned from 5 strokes in 0.4 s. The whole image is next.",
        ),
        (STEADY, "Learned from 5 strokes in 0.4 s; expected IoU 0.68–0.82. Paint where it is wrong."),
        (
            replace(STEADY, judged=replace(JUDGED, held_out_range={2: (0.5, 0.7)})),
            "Learned from 5 strokes in 0.4 s; expected IoU 0.5–0.7 for 1 of 2 classes. "
            "Paint where it is wrong.",
        ),
        (
            replace(STEADY, judged=replace(JUDGED, held_out_range={})),
            "Learned from 5 strokes in 0.4 s. Paint where it is wrong.",
        ),
        (replace(STEADY, training=Training.IDLE), "Press Train to learn from 5 strokes, or paint on."),
        (STEPPING, "Refining: gradient step 12 of 30."),
        (replace(STEPPING, seconds_left=4.4), "Refining: gradient step 12 of 30, about 4 s left."),
        (
            replace(STEPPING, training=Training.PAUSED),
            "Paused after gradient step 12 of 30; press Pause again to go on.",
        ),
        (
            replace(STEPPING, training=Training.STOPPED),
            "Stopped after gradient step 12 of 30; the model is kept.",
        ),
        (
            replace(STEADY, progress=END),
            "Learned from 5 strokes, then took 30 gradient steps. Paint where it is wrong.",
        ),
        (
            replace(PAINTED, problem="The disk is full; free some space."),
            "The disk is full; free some space.",
        ),
        (
            replace(STEADY, whole=WholeImage(0.2)),
            "Segmenting the whole image…",
        ),
        (replace(PAINTED, note="Model a saved as b."), "Model a saved as b."),
    ],
)
def test_the_sentence_fits_the_moment(state: LiveState, sentence: str) -> None:
    assert describe(state) == sentence


def test_judging_adds_to_the_sentence_and_takes_nothing_away() -> None:
    first = describe(FITTED)
    judged = describe(replace(FITTED, progress=JUDGED, judged=JUDGED))
    assert judged == describe(STEADY)
    assert judged.replace("; expected IoU 0.68–0.82", "") == first
    again = replace(STEADY, training=Training.LEARNING, progress=replace(FIT, strokes=6))
    assert "expected IoU 0.68–0.82" in describe(again), "the figure stays until there is a new one"


def test_nothing_is_expected_of_a_model_that_gradient_steps_have_changed() -> None:
    assert STEADY.expected == RANGE
    assert not STEPPING.expected
    assert not replace(STEADY, progress=END).expected


def test_nothing_is_expected_of_a_class_whose_paint_is_gone() -> None:
    three = replace(STEADY, counts=((3, 100), (2, 90), (1, 5)))
    assert three.expected == RANGE
    assert replace(three, counts=((3, 100), (0, 0), (1, 5))).expected == {1: RANGE[1]}
    assert not replace(three, counts=((3, 100), (0, 0), (0, 0))).expected


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [
        (0.6, 0.8, "0.6–0.8"),
        (0.551, 0.749, "0.6–0.7"),
        (0.92, 0.951, "0.92–0.95"),
        (0.64, 0.75, "0.64–0.75"),
        (0.0, 1.0, "0.0–1.0"),
        (1.0, 1.0, "1.00"),
    ],
)
def test_a_range_has_as_many_decimals_as_tell_its_ends_apart(low: float, high: float, text: str) -> None:
    assert range_text(low, high) == text


def test_the_mean_of_ranges_is_none_without_any() -> None:
    assert mean_range({}) is None
    assert mean_range({1: (0.2, 0.4), 3: (0.6, 1.0)}) == pytest.approx((0.4, 0.7))


def test_pause_and_stop_are_for_gradient_steps() -> None:
    assert STEPPING.stepping
    assert STEPPING.busy
    assert replace(STEPPING, training=Training.PAUSED).stepping
    for state in (FITTED, STEADY, replace(PAINTED, training=Training.FITTING)):
        assert not state.stepping
        assert not state.busy


def test_the_progress_bar_says_share_speed_and_time_left() -> None:
    assert progress_text(WholeImage(0.41, 12.3e6, 7.4)) == "41 %  12 Mpx/s  0:07 left"
    assert progress_text(WholeImage(0.005, 0.43e6, 130)) == "0 %  0.43 Mpx/s  2:10 left"
    assert progress_text(WholeImage()) == "0 %"


def test_the_model_at_hand_is_named() -> None:
    assert describe_model(OPEN) == "No model yet"
    assert describe_model(replace(OPEN, model=MINE, applied=True)) == "Model: strokes on nuclei"
    assert describe_model(replace(OPEN, model=OTHERS)) == "Not applied: strokes on worms"
    loaded = CurrentModel(CLASSIFIER, "worms.safetensors")
    assert describe_model(replace(OPEN, model=loaded, applied=True)) == "Model: file worms.safetensors"
