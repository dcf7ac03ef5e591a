"""``napari-dsparse predict``: images and a model in, label images out."""

from __future__ import annotations

import argparse
import time
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from napari_dsparse.classifier import TrainedClassifier
from napari_dsparse.cli.inputs import InputImage, read_input
from napari_dsparse.cli.outputs import Outputs, check_writable, plan_outputs
from napari_dsparse.cli.report import Report
from napari_dsparse.cli.results import segment, write
from napari_dsparse.errors import ImageError
from napari_dsparse.files.model import read_classifier
from napari_dsparse.images.reading import Expected
from napari_dsparse.prediction import Prediction, Predictor, TilePredictor
from napari_dsparse.prediction.cluster import ClusterPredictor
from napari_dsparse.prediction.exposure import describe_ratio, is_notable, normalised_to, range_ratio


def run(arguments: argparse.Namespace, report: Report) -> None:
    """Segment every image."""
    model = Path(arguments.model)
    paths = [Path(name) for name in arguments.images]
    planned = plan_outputs(
        paths,
        Path(arguments.output),
        arguments.format,
        probabilities=arguments.probabilities,
        uncertainty=arguments.uncertainty,
    )
    every = [path for outputs in planned for path in outputs.paths]
    check_writable(every, [*paths, model], overwrite=arguments.overwrite, make_parents=True)
    classifier = read_classifier(model)
    expected = Expected(classifier.spec.channels, classifier.channel_axis, classifier.letters)
    images = [
        read_input(path, arguments.channel_axis, expected=expected, series=arguments.series) for path in paths
    ]
    for image in images:
        for remark in image.remarks:
            report.say(remark)
    where = arguments.device, arguments.precision, arguments.scheduler
    facts = []
    alike = arguments.normalise == "model"
    with _open_predictor(classifier, *where) if alike else nullcontext() as shared:
        for image, outputs in zip(images, planned, strict=True):
            started = time.perf_counter()
            if shared is not None:
                _mention_exposure(classifier, image, report)
                own: AbstractContextManager[TilePredictor] = nullcontext(shared)
            else:
                own = _open_predictor(normalised_to(classifier, image.source), *where)
            with own as predictor:
                prediction = segment(
                    predictor,
                    image,
                    report,
                    probabilities=arguments.probabilities,
                    uncertainty=arguments.uncertainty,
                )
            seconds = time.perf_counter() - started
            write(prediction, image, classifier.classes, outputs, report, overwrite=arguments.overwrite)
            facts.append(_facts(image, prediction, outputs, seconds))
    report.add(images=facts, classes=[info.name for info in classifier.classes])


def _mention_exposure(classifier: TrainedClassifier, image: InputImage, report: Report) -> None:
    try:
        ratio = range_ratio(classifier, image.source)
    except ImageError:  # no finite pixel to measure: nothing to say of its exposure
        return
    if is_notable(ratio):
        report.say(
            f"Grey values of {image.source.name} spread {describe_ratio(ratio)} where the model learned; "
            "if it was exposed otherwise, and is not just empty or overfull, "
            "--normalise image takes that out."
        )


def _open_predictor(
    classifier: TrainedClassifier, device: str, precision: str, scheduler: str | None
) -> AbstractContextManager[TilePredictor]:
    if scheduler is not None:
        return ClusterPredictor(classifier, scheduler, device, precision)
    return nullcontext(Predictor(classifier, device, precision=precision))


def _facts(image: InputImage, prediction: Prediction, outputs: Outputs, seconds: float) -> dict[str, Any]:
    pixels = prediction.labels.size
    counts = np.bincount(prediction.labels.ravel())
    return {
        "image": str(image.path),
        "labels": str(outputs.labels),
        "shape": list(prediction.labels.shape),
        "scale": list(image.scale),
        "units": list(image.units),
        "series": image.series,
        "remarks": list(image.remarks),
        "class_pixels": {str(number): int(n) for number, n in enumerate(counts) if n},
        "seconds": round(seconds, 3),
        "megapixels_per_second": round(pixels / 1e6 / max(seconds, 1e-9), 3),
    }
