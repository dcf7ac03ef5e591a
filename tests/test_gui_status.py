"""The status line always says what is going on and what to do next."""

from __future__ import annotations

from dataclasses import replace

import pytest

from napari_dsparse.gui.session import Session, Training, WholeImage, describe, progress_text
from napari_dsparse.network.trained import default_classes
from napari_dsparse.training.progress import TrainingProgress

STEP = TrainingProgress(140, 200, 0.2, {1: 0.9, 2: 0.72}, 5, 4.2, False)
READY = Session(image="nuclei", strokes="nuclei strokes", classes=default_classes(2))
PAINTED = replace(READY, counts=((3, 100), (2, 90)))


@pytest.mark.parametrize(
    ("session", "sentence"),
    [
        (Session(), "Open an image to start; File > Open Sample has some with strokes."),
        (Session(image="nuclei"), "Press New for a strokes layer, then paint."),
        (
            Session(image="nuclei", has_model=True),
            "The model is ready; segment, or press New for a strokes layer, then paint.",
        ),
        (READY, "Paint a stroke of 'background' (key 1) and one of 'object' (key 2)."),
        (
            replace(READY, counts=((1, 40), (0, 0))),
            "Now paint a stroke of 'object' (key 2): learning takes two classes.",
        ),
        (PAINTED, "Press Train to learn from 5 strokes, or switch on Live."),
        (replace(PAINTED, training=Training.LEARNING), "Learning: 0 steps."),
        (
            replace(PAINTED, training=Training.LEARNING, progress=STEP),
            "Learning: 140 steps, held-out IoU 0.81 from 5 strokes, steady in about 2 s.",
        ),
        (
            replace(PAINTED, training=Training.LEARNING, whole=WholeImage()),
            "Learning: 0 steps; then the whole image is segmented.",
        ),
        (
            replace(PAINTED, training=Training.STEADY, progress=replace(STEP, held_out_iou={})),
            "Steady after 140 steps. Paint where it is wrong.",
        ),
        (
            replace(PAINTED, training=Training.STOPPED, progress=replace(STEP, held_out_strokes=1)),
            "Stopped after 140 steps, held-out IoU 0.81 from 1 stroke; the model is kept.",
        ),
        (
            replace(PAINTED, problem="The disk is full; free some space."),
            "The disk is full; free some space.",
        ),
        (
            replace(PAINTED, training=Training.STEADY, progress=STEP, whole=WholeImage(0.2)),
            "Segmenting the whole image…",
        ),
        (replace(PAINTED, note="Model a saved as b."), "Model a saved as b."),
    ],
)
def test_the_sentence_fits_the_moment(session: Session, sentence: str) -> None:
    assert describe(session) == sentence


def test_the_progress_bar_says_share_speed_and_time_left() -> None:
    assert progress_text(WholeImage(0.41, 12.3e6, 7.4)) == "41 %  12 Mpx/s  0:07 left"
    assert progress_text(WholeImage(0.005, 0.43e6, 130)) == "0 %  0.43 Mpx/s  2:10 left"
    assert progress_text(WholeImage()) == "0 %"
