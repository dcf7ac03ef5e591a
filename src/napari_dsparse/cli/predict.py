"""``napari-dsparse predict``: images and a model in, label images out."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from napari_dsparse.classifier import TrainedClassifier
from napari_dsparse.cli.inputs import InputImage, read_input
from napari_dsparse.cli.outputs import Outputs, check_room, check_writable, plan_outputs
from napari_dsparse.cli.report import Report, sentence_of
from napari_dsparse.cli.results import segment, write
from napari_dsparse.errors import ExportError, ImageError
from napari_dsparse.files.export import check_export
from napari_dsparse.files.model import read_classifier
from napari_dsparse.images.reading import Expected
from napari_dsparse.prediction import Prediction, Predictor, TilePredictor
from napari_dsparse.prediction.cluster import Cluster
from napari_dsparse.prediction.cluster_predictor import ClusterPredictor
from napari_dsparse.prediction.exposure import describe_ratio, is_notable, normalised_to, range_ratio

#: Faults of one image, after which the next one is segmented.
_SKIPPED = (ImageError, ExportError, OSError, MemoryError)


def run(arguments: argparse.Namespace, report: Report) -> None:
    """Segment every image; one that cannot be is reported, and the others are segmented all the same."""
    model = Path(arguments.model)
    paths = [Path(name) for name in arguments.images]
    planned = plan_outputs(
        paths,
        arguments.output,
        arguments.format,
        probabilities=arguments.probabilities,
        uncertainty=arguments.uncertainty,
    )
    every = [path for outputs in planned for path in outputs.paths]
    check_writable(every, [*paths, model], overwrite=arguments.overwrite, make_parents=True)
    classifier = read_classifier(model)
    report.add(classes=[info.name for info in classifier.classes])
    facts: list[dict[str, Any]] = []
    failed: list[str] = []
    with _predictors(arguments, report) as predictor_of:
        shared = predictor_of(classifier) if arguments.normalise == "model" else None
        for path, outputs in zip(paths, planned, strict=True):
            try:
                image = _open_image(path, outputs, classifier, arguments, report)
                if shared is not None:
                    _mention_exposure(classifier, image, report)
                predictor = shared or predictor_of(normalised_to(classifier, image.source))
                found = _segment_image(image, outputs, predictor, arguments, report)
                facts.append({"image": str(path), "ok": True, **found})
            except _SKIPPED as error:
                if len(paths) == 1:
                    raise
                sentence = sentence_of(error)
                facts.append({"image": str(path), "ok": False, "error": sentence})
                failed.append(path.name)
                report.complain(sentence)
            report.add(images=facts)
    if failed:
        raise ImageError(
            f"{len(failed)} of {len(paths)} images could not be segmented ({', '.join(failed)}), for the "
            "reasons given above; the others are done."
        )


def _open_image(
    path: Path,
    outputs: Outputs,
    classifier: TrainedClassifier,
    arguments: argparse.Namespace,
    report: Report,
) -> InputImage:
    """Read an image's description, and refuse results that could not be written."""
    expected = Expected(classifier.spec.channels, classifier.channel_axis, classifier.letters)
    image = read_input(path, arguments.channel_axis, expected=expected, series=arguments.series)
    place: dict[str, Any] = {"scale": image.scale, "units": image.units, "axes": image.axes}
    for output in outputs.paths:
        channels = 0 if output == outputs.labels else 1
        check_export(output, image.source.shape, channels=channels, **place)
    check_room(outputs, image.source.shape, len(classifier.classes))
    for remark in image.remarks:
        report.say(remark)
    return image


def _segment_image(
    image: InputImage,
    outputs: Outputs,
    predictor: TilePredictor,
    arguments: argparse.Namespace,
    report: Report,
) -> dict[str, Any]:
    """Segment an image and write the results."""
    started = time.perf_counter()
    prediction = segment(
        predictor,
        image,
        report,
        probabilities=arguments.probabilities,
        uncertainty=arguments.uncertainty,
    )
    seconds = time.perf_counter() - started
    write(prediction, image, predictor.classifier.classes, outputs, report, overwrite=arguments.overwrite)
    return _facts(image, prediction, outputs, seconds)


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


@contextmanager
def _predictors(
    arguments: argparse.Namespace, report: Report
) -> Iterator[Callable[[TrainedClassifier], TilePredictor]]:
    """Makes predictors of classifiers: in this process, or on one cluster for all of them."""
    where = {"device": arguments.device, "precision": arguments.precision}
    if arguments.scheduler is None:
        yield partial(Predictor, **where)
        return
    with Cluster(arguments.scheduler, arguments.wait, report.say) as cluster:
        yield lambda classifier: ClusterPredictor(classifier, cluster, **where)


def _facts(image: InputImage, prediction: Prediction, outputs: Outputs, seconds: float) -> dict[str, Any]:
    pixels = prediction.labels.size
    counts = np.bincount(prediction.labels.ravel())
    return {
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
