"""``napari-dsparse predict``: images and a model in, label images out."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from napari_dsparse.classifier import TrainedClassifier
from napari_dsparse.cli.inputs import InputImage, read_input
from napari_dsparse.cli.outputs import Outputs, check_writable, plan_outputs
from napari_dsparse.cli.report import Report
from napari_dsparse.errors import ImageError
from napari_dsparse.files.export import export_array, export_labels
from napari_dsparse.files.model import read_classifier
from napari_dsparse.images import ImageSource
from napari_dsparse.prediction.cluster import ClusterPredictor
from napari_dsparse.prediction.exposure import describe_ratio, is_notable, normalised_to, range_ratio
from napari_dsparse.prediction.predictor import Predictor, TilePrediction, label_dtype
from napari_dsparse.prediction.tiles import Tile, plan_tiles


class TilePredictor(Protocol):
    """What segments tiles: this process, or the workers of a cluster."""

    def stream(self, source: ImageSource, tiles: Sequence[Tile]) -> Iterator[TilePrediction]:
        """Predictions of the tiles, in any order."""


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """A whole image's results; None = not asked for."""

    labels: npt.NDArray[Any]
    probabilities: npt.NDArray[np.float32] | None
    uncertainty: npt.NDArray[np.float32] | None


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
    images = [read_input(path, arguments.channel_axis, channels=classifier.spec.channels) for path in paths]
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
                prediction = predict_image(
                    classifier,
                    predictor,
                    image,
                    report,
                    probabilities=arguments.probabilities,
                    uncertainty=arguments.uncertainty,
                )
            seconds = time.perf_counter() - started
            write(prediction, image, classifier, outputs, report, overwrite=arguments.overwrite)
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


def predict_image(
    classifier: TrainedClassifier,
    predictor: TilePredictor,
    image: InputImage,
    report: Report,
    *,
    probabilities: bool = False,
    uncertainty: bool = False,
) -> Prediction:
    """All tiles of one image, in one pass for everything that is wanted."""
    source = image.source
    tiles = plan_tiles(source.shape, classifier.spec)
    classes = len(classifier.classes)
    result = Prediction(
        np.zeros(source.shape, label_dtype(classes)),
        np.zeros((classes, *source.shape), np.float32) if probabilities else None,
        np.zeros(source.shape, np.float32) if uncertainty else None,
    )
    for done, prediction in enumerate(predictor.stream(source, tiles), start=1):
        region = prediction.tile.slices
        result.labels[region] = prediction.labels
        if result.probabilities is not None:
            result.probabilities[(slice(None), *region)] = prediction.probabilities
        if result.uncertainty is not None:
            result.uncertainty[region] = prediction.uncertainty
        report.progress(f"Segmenting {source.name}: {100 * done // len(tiles)} %")
    return result


def write(
    prediction: Prediction,
    image: InputImage,
    classifier: TrainedClassifier,
    outputs: Outputs,
    report: Report,
    *,
    overwrite: bool,
) -> None:
    """Write what was predicted, with the image's pixel size."""
    place: dict[str, Any] = {
        "scale": image.scale,
        "units": image.units,
        "axes": image.axes,
        "overwrite": overwrite,
    }
    outputs.labels.parent.mkdir(parents=True, exist_ok=True)
    export_labels(outputs.labels, prediction.labels, classes=classifier.classes, **place)
    report.wrote(outputs.labels, "Labels")
    if outputs.probabilities is not None and prediction.probabilities is not None:
        export_array(
            outputs.probabilities,
            prediction.probabilities,
            name="probability",
            channels=classifier.classes,
            **place,
        )
        report.wrote(outputs.probabilities, "Probabilities")
    if outputs.uncertainty is not None and prediction.uncertainty is not None:
        export_array(outputs.uncertainty, prediction.uncertainty, name="uncertainty", **place)
        report.wrote(outputs.uncertainty, "Uncertainty")


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
        "class_pixels": {str(number): int(n) for number, n in enumerate(counts) if n},
        "seconds": round(seconds, 3),
        "megapixels_per_second": round(pixels / 1e6 / max(seconds, 1e-9), 3),
    }
