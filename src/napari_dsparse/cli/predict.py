"""``napari-dsparse predict``: images and a model in, label images out."""

from __future__ import annotations

import argparse
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache, partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from napari_dsparse.classifier import TrainedClassifier
from napari_dsparse.cli.inputs import InputImage, WantedImage, read_input
from napari_dsparse.cli.object_arguments import object_options
from napari_dsparse.cli.outputs import Outputs, check_room, check_writable, plan_outputs
from napari_dsparse.cli.progress import Progress
from napari_dsparse.cli.projects import images_of, open_project
from napari_dsparse.cli.report import Report, sentence_of
from napari_dsparse.cli.results import segmented, write
from napari_dsparse.errors import DsparseError, ExportError, ImageError, ProjectError
from napari_dsparse.files.export import check_export
from napari_dsparse.files.finished import Finished
from napari_dsparse.files.model import checksum, read_classifier
from napari_dsparse.files.pixels import Pixels
from napari_dsparse.images.fingerprint import fingerprint
from napari_dsparse.images.reading import Expected
from napari_dsparse.images.tiff_array import TiffArray
from napari_dsparse.machine.devices import pick_device
from napari_dsparse.machine.memory import MOST_BAND, MemoryNeeds, plan_memory, resident_memory
from napari_dsparse.prediction import Predictor, TilePredictor
from napari_dsparse.prediction.cluster import Cluster
from napari_dsparse.prediction.cluster_predictor import ClusterPredictor
from napari_dsparse.prediction.exposure import describe_ratio, is_notable, normalised_to, range_ratio
from napari_dsparse.prediction.object_options import ObjectOptions
from napari_dsparse.project import Project

#: Faults of one image, after which the next one is segmented.
_SKIPPED = (ImageError, ExportError, OSError, MemoryError)


def run(arguments: argparse.Namespace, report: Report) -> None:
    """Segment every image; one that cannot be is reported, and the others are segmented all the same."""
    wanted, read_model, model, output = _plan(arguments, report)
    planned = plan_outputs(
        [one.name for one in wanted],
        output,
        arguments.format,
        probabilities=arguments.probabilities,
        uncertainty=arguments.uncertainty,
        objects=arguments.objects,
        measurements=arguments.measurements,
    )
    several = len(wanted) > 1
    finished = Finished(planned[0].labels.parent, resume=several and arguments.resume)
    held = {outputs.labels for outputs in planned if finished.holds(outputs.paths)}
    every = [path for outputs in planned if outputs.labels not in held for path in outputs.paths]
    inputs = [*(one.path for one in wanted), model]
    check_writable(every, inputs, overwrite=arguments.overwrite, make_parents=True)
    classifier = read_model()
    report.add(classes=[info.name for info in classifier.classes])
    finding = object_options(arguments, classifier.classes)
    facts: list[dict[str, Any]] = []
    failed: list[str] = []
    with _predictors(arguments, report) as predictor_of, _journal_kept(finished, report):
        resident = resident_memory()  # of the program and the model, before any image
        shared = predictor_of(classifier) if arguments.normalise == "model" else None
        progress = Progress(report, len(wanted))
        for number, (one, outputs) in enumerate(zip(wanted, planned, strict=True)):
            try:
                image = _open_image(one, outputs, classifier, report, volume=finding.volume)
                if shared is not None:
                    _mention_exposure(classifier, image, report)
                predictor = shared or predictor_of(normalised_to(classifier, image.source))
                key = _key(predictor.classifier, image, arguments)
                results_key = {**key, "objects": repr(finding)}
                known = finished.facts(outputs.labels, results_key) if outputs.labels in held else None
                if known is not None:
                    facts.append({"image": str(image.path), "ok": True, **known, "resumed": True})
                    report.add(images=facts)
                    for path in outputs.paths:
                        report.wrote(path, "Finished by a former run")
                    continue
                if outputs.labels in held and not arguments.overwrite:
                    raise ExportError(
                        f"Output {outputs.labels} exists, of another image, model, options or versions; "
                        "choose another name or pass --overwrite."
                    )
                band = _share_memory(predictor, image, outputs, arguments.memory, resident)
                show = progress.of(image, number)
                found = _segment_image(image, outputs, predictor, arguments, report, key, band, show, finding)
                if several:
                    finished.add(outputs.paths, results_key, found)
                facts.append({"image": str(image.path), "ok": True, **found})
            except _SKIPPED as error:
                if not several:
                    raise
                sentence = sentence_of(error)
                facts.append({"image": str(one.path), "ok": False, "error": sentence})
                failed.append(one.path.name)
                report.complain(sentence)
            report.add(images=facts)
    if several:
        finished.clear()
    if failed:
        raise ImageError(
            f"{len(failed)} of {len(wanted)} images could not be segmented ({', '.join(failed)}), for the "
            "reasons given above; the others are done."
        )


def _plan(
    arguments: argparse.Namespace, report: Report
) -> tuple[list[WantedImage], Callable[[], TrainedClassifier], Path, str]:
    """Images, a function that reads the model, the model's file or folder, and the place of the results."""
    named = [WantedImage(path, path, partial(_read, path, arguments)) for path in map(Path, arguments.images)]
    if arguments.project is None:
        model = Path(arguments.model)
        return named, partial(read_classifier, model), model, arguments.output
    project = open_project(arguments, read_only=True)
    report.add(project=str(project.folder))
    beside = project.folder.absolute().with_name(f"{project.folder.stem}_segmentation")
    wanted = named or images_of(project)
    if not wanted:
        raise ImageError(f"Project {str(project.folder)!r} has no images; name some to segment.")
    return wanted, partial(_model_of, project), project.folder, arguments.output or f"{beside}{os.sep}"


def _read(path: Path, arguments: argparse.Namespace, expected: Expected) -> InputImage:
    return read_input(path, arguments.channel_axis, expected=expected, series=arguments.series)


def _model_of(project: Project) -> TrainedClassifier:
    if project.model is None:
        folder = str(project.folder)
        raise ProjectError(f"Project {folder!r} has no model yet; run train --project {folder} first.")
    return project.model.classifier


def _open_image(
    wanted: WantedImage,
    outputs: Outputs,
    classifier: TrainedClassifier,
    report: Report,
    *,
    volume: bool,
) -> InputImage:
    """Read an image's description, and refuse results that could not be written."""
    image = wanted.open(Expected(classifier.spec.channels, classifier.channel_axis, classifier.letters))
    if volume and len(image.source.shape) < 3:
        raise ImageError(f"Image {image.source.name!r} is one plane; drop --volume, which connects planes.")
    place: dict[str, Any] = {"scale": image.scale, "units": image.units, "axes": image.axes}
    for name, output in outputs.images.items():
        channels = 0 if name in ("labels", "objects") else 1
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
    key: Mapping[str, str],
    band: int,
    progress: Callable[[float], None],
    finding: ObjectOptions,
) -> dict[str, Any]:
    """Segment an image and write the results."""
    started = time.perf_counter()
    outputs.labels.parent.mkdir(parents=True, exist_ok=True)
    classifier = predictor.classifier
    with segmented(
        predictor, image, outputs, key, report, resume=arguments.resume, band=band, progress=progress
    ) as results:
        seconds = time.perf_counter() - started
        write(
            results,
            image,
            classifier.classes,
            outputs,
            report,
            overwrite=arguments.overwrite,
            finding=finding,
        )
        return _facts(image, results["labels"], outputs, seconds)


def _share_memory(
    predictor: TilePredictor, image: InputImage, outputs: Outputs, limit: int | None, resident: int
) -> int:
    """Say how much of an image may be kept for later; returns the width of the bands that it allows.

    Raises
    ------
    ImageError
        If the limit is less than the image needs in any case.
    """
    if not isinstance(predictor, Predictor):
        return MOST_BAND  # tiles are computed elsewhere
    classifier, source = predictor.classifier, image.source
    plane = _whole_bytes(source.data)
    if outputs.labels.suffix.lower() == ".png":
        plane += 2 * math.prod(source.shape)  # the labels, and Pillow's copy
    needs = MemoryNeeds(source.channels, len(classifier.classes), classifier.n_symmetries, plane)
    try:
        plan = plan_memory(limit, resident, needs)
    except DsparseError as error:
        raise ImageError(f"Image {source.name!r} cannot be segmented: {error}") from None
    predictor.keep_at_most(plan.scores)
    if isinstance(source.data, TiffArray):
        source.data.keep_at_most(plan.segments)
    return plan.band


def _whole_bytes(data: Any) -> int:
    """Bytes of an image that are in memory in one piece: all of it, or a part that is decoded, twice."""
    if isinstance(data, np.ndarray):
        return 0 if isinstance(data, np.memmap) else int(data.nbytes)
    if isinstance(data, TiffArray):
        return 2 * data.part_bytes
    part = getattr(data, "shards", None) or getattr(data, "chunks", None) or ()
    return 2 * math.prod(part) * int(np.dtype(data.dtype).itemsize)


def _key(classifier: TrainedClassifier, image: InputImage, arguments: argparse.Namespace) -> dict[str, str]:
    """All that decides the results of an image."""
    stated = image.path.stat()
    return {
        **_versions(),
        "model": checksum(classifier),
        "image": fingerprint(image.source),
        "file": f"{stated.st_size} {stated.st_mtime_ns}",
        "device": "workers" if arguments.scheduler else pick_device(arguments.device).type,
        "precision": arguments.precision,
    }


@cache  # reading a package's description takes milliseconds
def _versions() -> dict[str, str]:
    return {"version": version("napari-dsparse"), "torch": version("torch")}


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


@contextmanager
def _journal_kept(finished: Finished, report: Report) -> Iterator[None]:
    """Within, an end before the end of the batch says that finished results need not be computed again."""
    ended = False
    try:
        yield
        ended = True
    finally:
        if finished.grown and not ended:
            report.keep()


def _facts(image: InputImage, labels: Any, outputs: Outputs, seconds: float) -> dict[str, Any]:
    counts = np.zeros(np.iinfo(labels.dtype).max + 1, np.int64)
    for window in Pixels(labels, labels.dtype).windows():
        found = np.bincount(labels[window].ravel())
        counts[: len(found)] += found
    pixels = int(counts.sum())
    return {
        "labels": str(outputs.labels),
        "shape": list(labels.shape),
        "scale": list(image.scale),
        "units": list(image.units),
        "series": image.series,
        "remarks": list(image.remarks),
        "class_pixels": {str(number): int(n) for number, n in enumerate(counts) if n},
        "seconds": round(seconds, 3),
        "megapixels_per_second": round(pixels / 1e6 / max(seconds, 1e-9), 3),
    }
