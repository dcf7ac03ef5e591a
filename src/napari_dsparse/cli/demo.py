"""``napari-dsparse demo``: the whole job on a bundled image, and how close it comes to the truth."""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from napari_dsparse.batch.inputs import InputImage
from napari_dsparse.batch.outputs import Outputs, check_writable
from napari_dsparse.batch.results import write
from napari_dsparse.cli.display import why_no_window
from napari_dsparse.cli.learning import learning_line, say_record
from napari_dsparse.cli.overlay import draw_overlay
from napari_dsparse.cli.progress import Progress
from napari_dsparse.cli.report import Report
from napari_dsparse.files.atomic import complete_or_absent
from napari_dsparse.files.model import save_classifier
from napari_dsparse.images import resolve_image
from napari_dsparse.machine.devices import pick_device
from napari_dsparse.prediction import Predictor, predict_image
from napari_dsparse.samples import Sample, load
from napari_dsparse.samples.scores import class_iou
from napari_dsparse.training import train_classifier


@dataclass(frozen=True, slots=True)
class DemoFiles:
    """Paths of the demo's files."""

    model: Path
    labels: Path
    overlay: Path
    summary: Path

    @classmethod
    def inside(cls, folder: Path, sample: str) -> DemoFiles:
        """Names in `folder` for the sample of that name."""
        return cls(
            folder / f"{sample}_model.safetensors",
            folder / f"{sample}_segmentation.ome.tif",
            folder / f"{sample}_overlay.png",
            folder / f"{sample}_summary.json",
        )


def run(arguments: argparse.Namespace, report: Report) -> None:
    """Learn, segment, write, and show it where there is a screen."""
    started = time.perf_counter()
    sample = load(arguments.sample)
    folder = Path(arguments.output)
    files = DemoFiles.inside(folder, sample.name)
    check_writable(
        [files.model, files.labels, files.overlay, files.summary],
        [],
        overwrite=arguments.overwrite,
        make_parents=True,
    )
    device = str(pick_device(arguments.device))
    source = resolve_image(sample.image, labels_shape=sample.strokes.shape, name=sample.name)
    image = InputImage(Path(sample.name), source, sample.scale, sample.units)
    report.say(f"Learning from the strokes of {sample.name!r} on {device}")

    classifier = train_classifier(
        [source],
        [sample.strokes],
        classes=sample.classes,
        device=device,
        progress=lambda event: report.progress(learning_line(event)),
    )
    say_record(report, classifier)
    predicting = time.perf_counter()
    prediction = predict_image(
        Predictor(classifier, device), image.source, progress=Progress(report).of(image)
    )
    predict_seconds = time.perf_counter() - predicting
    scores = class_iou(prediction.labels, sample.truth, sample.strokes)
    report.say(
        f"Mean IoU against the manual annotation: {np.mean(list(scores.values())):.3f} ("
        + ", ".join(f"{sample.classes[k - 1].name} {score:.3f}" for k, score in scores.items())
        + ")"
    )

    folder.mkdir(parents=True, exist_ok=True)
    save_classifier(classifier, files.model, overwrite=arguments.overwrite)
    report.wrote(files.model, "Model")
    outputs = Outputs(files.labels, None, None)
    write(
        {"labels": prediction.labels},
        image,
        classifier.classes,
        outputs,
        report,
        overwrite=arguments.overwrite,
    )
    picture = draw_overlay(sample.image, prediction.labels, sample.strokes, sample.classes)
    with complete_or_absent(files.overlay, overwrite=arguments.overwrite) as unfinished:
        Image.fromarray(picture).save(unfinished)
    report.wrote(files.overlay, "Overlay")
    report.add(
        sample=sample.name,
        device=device,
        mean_iou=round(float(np.mean(list(scores.values()))), 4),
        class_iou={sample.classes[k - 1].name: round(score, 4) for k, score in scores.items()},
        predict_seconds=round(predict_seconds, 3),
        seconds=round(time.perf_counter() - started, 3),
        attribution=sample.attribution,
    )
    _write_summary(report.facts, files.summary, overwrite=arguments.overwrite)
    report.wrote(files.summary, "Summary")
    report.say(f"Done in {time.perf_counter() - started:.1f} s; see {files.overlay.resolve()}")

    if not arguments.headless:
        _show(sample, files.model, report)


def _write_summary(facts: dict[str, Any], path: Path, *, overwrite: bool) -> None:
    with complete_or_absent(path, overwrite=overwrite) as unfinished:
        unfinished.write_text(json.dumps(facts, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _show(sample: Sample, model: Path, report: Report) -> None:
    """Open napari at this state, or say why not."""
    reason = why_no_window()
    if reason is not None:
        report.say(f"No window: {reason}")
        return
    from napari_dsparse.gui.demo_window import show_demo

    report.say("Opening napari; close its window to end")
    show_demo(sample.name, model)
