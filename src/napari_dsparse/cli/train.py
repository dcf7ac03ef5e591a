"""``napari-dsparse train``: images and painted labels in, a model file out."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from napari_dsparse.classifier import TrainedClassifier
from napari_dsparse.cli.inputs import read_input
from napari_dsparse.cli.outputs import check_writable
from napari_dsparse.cli.report import Report
from napari_dsparse.errors import ExportError, LabelsError
from napari_dsparse.files.model import save_classifier
from napari_dsparse.images.reading import read_labels
from napari_dsparse.machine.devices import pick_device
from napari_dsparse.training import TrainingProgress, train_classifier


def run(arguments: argparse.Namespace, report: Report) -> None:
    """Train and save."""
    output = Path(arguments.output)
    image_paths = [Path(name) for name in arguments.image]
    label_paths = [Path(name) for name in arguments.labels]
    _check_names(output, image_paths, label_paths, overwrite=arguments.overwrite)
    device = pick_device(arguments.device)

    labels = [read_labels(path) for path in label_paths]
    images = [
        read_input(path, arguments.channel_axis, labels_shape=painted.shape, series=arguments.series)
        for path, painted in zip(image_paths, labels, strict=True)
    ]
    remarks = [remark for image in images for remark in image.remarks]
    for remark in remarks:
        report.say(remark)
    report.say(f"Learning from {', '.join(path.name for path in image_paths)} on {device}")
    classifier = train_classifier(
        [image.source for image in images],
        labels,
        classes=arguments.classes,
        network=arguments.network,
        seconds=arguments.seconds,
        steps=arguments.steps,
        seed=arguments.seed,
        device=str(device),
        progress=lambda event: report.progress(learning_line(event)),
    )
    _save(classifier, output, overwrite=arguments.overwrite)
    say_record(report, classifier)
    report.add(device=str(device), remarks=remarks)
    report.wrote(output, "Model")


def _save(classifier: TrainedClassifier, output: Path, *, overwrite: bool) -> None:
    """Save what was learned; where that is no longer possible, somewhere else rather than not at all."""
    try:
        save_classifier(classifier, output, overwrite=overwrite)
    except ExportError as error:
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


def _check_names(output: Path, images: Sequence[Path], labels: Sequence[Path], *, overwrite: bool) -> None:
    if len(images) != len(labels):
        raise LabelsError(
            f"{len(images)} images and {len(labels)} label files were given; "
            "give one label file for every image, in the same order."
        )
    if output.suffix != ".safetensors":
        raise ExportError(f"Model name {output} must end in .safetensors; choose another name.")
    check_writable([output], [*images, *labels], overwrite=overwrite)
