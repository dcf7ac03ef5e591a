"""Lines and facts on what was learned, and saving it, as `train` and `demo` do."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from napari_dsparse.classifier import TrainedClassifier
from napari_dsparse.cli.report import Report
from napari_dsparse.errors import ExportError, ProjectError
from napari_dsparse.files.model import save_classifier
from napari_dsparse.training import TrainingProgress


def save_or_rescue(classifier: TrainedClassifier, save: Callable[[], object]) -> None:
    """Save what was learned; where that is no longer possible, somewhere else rather than not at all."""
    try:
        save()
    except (ExportError, ProjectError) as error:
        rescue = Path(tempfile.mkdtemp(prefix="napari-dsparse-")) / "model.safetensors"
        save_classifier(classifier, rescue)
        raise ExportError(f"{error} What was learned is kept in {rescue}.") from error


def learning_line(event: TrainingProgress) -> str:
    """One line on the progress of learning."""
    scores = list(event.held_out_iou.values())
    held_out = f", expected IoU {np.mean(scores):.2f}" if scores else ""
    return f"Learning: step {event.step} of {event.planned_steps}, loss {event.loss:.3f}{held_out}"


def say_record(report: Report, classifier: TrainedClassifier) -> None:
    """Print the training record, and keep it for the closing JSON."""
    record = classifier.record
    known = [score for score in record.held_out_iou if score is not None]
    held_out = (
        f"expected IoU {np.mean(known):.2f}, by leaving out {record.held_out_strokes} strokes"
        if known
        else "too few places painted to tell how good it is"
    )
    report.say(
        f"Learned from {record.strokes} strokes ({record.pixels} pixels) in {record.seconds:.1f} s, "
        f"{record.steps} steps; {held_out}"
    )
    report.add(
        network=classifier.spec.name,
        channels=classifier.spec.channels,
        classes=[info.name for info in classifier.classes],
        painted=list(classifier.present),
        seed=record.seed,
        steps=record.steps,
        train_seconds=round(record.seconds, 3),
        strokes=record.strokes,
        pixels=record.pixels,
        held_out_iou=list(record.held_out_iou),
        held_out_strokes=record.held_out_strokes,
        versions=dict(record.versions),
    )
