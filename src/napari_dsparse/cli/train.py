"""``napari-dsparse train``: images and painted labels, or a project, in; a model out."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from napari_dsparse.batch.inputs import read_input
from napari_dsparse.batch.outputs import check_writable
from napari_dsparse.classifier import ClassInfo, TrainedClassifier
from napari_dsparse.classifier.classes import named_classes
from napari_dsparse.cli.learning import learning_line, save_or_rescue, say_record
from napari_dsparse.cli.projects import open_project, remarks_on_moves
from napari_dsparse.cli.report import Report
from napari_dsparse.errors import ExportError, LabelsError
from napari_dsparse.files.model import save_classifier
from napari_dsparse.images import ImageSource
from napari_dsparse.images.exposure import exposure_difference
from napari_dsparse.images.reading import read_labels
from napari_dsparse.machine.devices import pick_device
from napari_dsparse.model import Model
from napari_dsparse.training import train_classifier


def run(arguments: argparse.Namespace, report: Report) -> None:
    """Train and save."""
    if arguments.project is None:
        _learn_from_files(arguments, report)
    else:
        _learn_from_project(arguments, report)


def _learn_from_files(arguments: argparse.Namespace, report: Report) -> None:
    output = Path(arguments.output)
    image_paths = [Path(name) for name in arguments.image]
    label_paths = [Path(name) for name in arguments.labels]
    if len(image_paths) != len(label_paths):
        raise LabelsError(
            f"{len(image_paths)} images and {len(label_paths)} label files were given; "
            "give one label file for every image, in the same order."
        )
    _check_output(output, [*image_paths, *label_paths], overwrite=arguments.overwrite)
    device = pick_device(arguments.device)
    classes = None if arguments.classes is None else named_classes(arguments.classes)

    labels = [read_labels(path) for path in label_paths]
    images = [
        read_input(path, arguments.channel_axis, labels_shape=painted.shape, series=arguments.series)
        for path, painted in zip(image_paths, labels, strict=True)
    ]
    remarks = [remark for image in images for remark in image.remarks]
    sources = [image.source for image in images]
    classifier = _learn(
        sources,
        labels,
        classes,
        device,
        remarks,
        arguments,
        report,
        depth=arguments.depth or "off",
        normalise=arguments.normalise or "together",
    )
    save_or_rescue(classifier, lambda: save_classifier(classifier, output, overwrite=arguments.overwrite))
    say_record(report, classifier)
    report.wrote(output, "Model")


def _learn_from_project(arguments: argparse.Namespace, report: Report) -> None:
    """Learn from all images of a project with strokes; the model replaces the one it had."""
    output = None if arguments.output is None else Path(arguments.output)
    device = pick_device(arguments.device)
    with open_project(arguments) as project:
        if output is not None:
            inputs = [Path(path) for image in project.images for path, _ in image.places]
            _check_output(output, inputs, overwrite=arguments.overwrite)
        before = project.images
        sources, labels = project.painted()
        report.add(project=str(project.folder), images=[source.name for source in sources])
        remarks = remarks_on_moves(before, project.images)
        project.depth = arguments.depth or project.depth
        project.normalise = arguments.normalise or project.normalise
        classifier = _learn(
            sources,
            labels,
            project.classes,
            device,
            remarks,
            arguments,
            report,
            depth=project.depth,
            normalise=project.normalise,
        )

        def save() -> None:
            project.model = Model(classifier)
            project.save()
            if output is not None:
                save_classifier(classifier, output, overwrite=arguments.overwrite)

        save_or_rescue(classifier, save)
    say_record(report, classifier)
    report.wrote(project.folder, "Project, with its model")
    if output is not None:
        report.wrote(output, "Model")


def _learn(
    sources: Sequence[ImageSource],
    labels: Sequence[Any],
    classes: Sequence[ClassInfo] | None,
    device: torch.device,
    remarks: Sequence[str],
    arguments: argparse.Namespace,
    report: Report,
    *,
    depth: str,
    normalise: str,
) -> TrainedClassifier:
    differ = exposure_difference(sources) if normalise == "together" else None
    if differ is not None:
        remedy = "If only the exposure differs, --normalise image takes that out."
        remarks = [*remarks, f"{differ.sentence} {remedy}"]
    for remark in remarks:
        report.say(remark)
    report.add(device=str(device), remarks=list(remarks))
    report.say(f"Learning from {', '.join(source.name for source in sources)} on {device}")
    return train_classifier(
        list(sources),
        list(labels),
        classes=classes,
        network=arguments.network,
        depth=depth,
        normalise=normalise,
        seconds=arguments.seconds,
        steps=arguments.steps,
        seed=arguments.seed,
        device=str(device),
        progress=lambda event: report.progress(learning_line(event)),
    )


def _check_output(output: Path, inputs: Sequence[Path], *, overwrite: bool) -> None:
    if output.suffix != ".safetensors":
        raise ExportError(f"Model name {output} must end in .safetensors; choose another name.")
    check_writable([output], inputs, overwrite=overwrite)
