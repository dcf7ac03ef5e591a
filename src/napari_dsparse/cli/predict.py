"""``napari-dsparse predict``: images and a model in, label images out."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from napari_dsparse.batch.inputs import InputImage, WantedImage, read_input
from napari_dsparse.batch.joined_table import join_tables
from napari_dsparse.batch.outputs import check_writable, plan_outputs
from napari_dsparse.batch.segmenter import FAULTS_OF_AN_IMAGE, Choices, PredictorMaker, Segmenter
from napari_dsparse.classifier import TrainedClassifier
from napari_dsparse.cli.object_arguments import object_options
from napari_dsparse.cli.progress import Progress
from napari_dsparse.cli.projects import images_of, open_project
from napari_dsparse.cli.report import Report
from napari_dsparse.errors import ExportError, ImageError, ProjectError, sentence_of
from napari_dsparse.files.finished import Finished
from napari_dsparse.files.model import read_classifier
from napari_dsparse.images.reading import Expected
from napari_dsparse.prediction import Predictor
from napari_dsparse.prediction.cluster import Cluster
from napari_dsparse.prediction.cluster_predictor import ClusterPredictor
from napari_dsparse.project import Project


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
        measurements=arguments.measurements or arguments.table is not None,
    )
    several = len(wanted) > 1
    finished = Finished(planned[0].labels.parent, resume=several and arguments.resume)
    held = {outputs.labels for outputs in planned if finished.holds(outputs.paths)}
    every = [path for outputs in planned if outputs.labels not in held for path in outputs.paths]
    table = None if arguments.table is None else Path(arguments.table)
    if table is not None and table in every:
        raise ExportError(f"The table of one image would be called {table} too; give --table another name.")
    every += [] if table is None else [table]
    inputs = [*(one.path for one in wanted), model]
    check_writable(every, inputs, overwrite=arguments.overwrite, make_parents=True)
    classifier = read_model()
    report.add(classes=[info.name for info in classifier.classes])
    choices = _choices(arguments, classifier)
    facts: list[dict[str, Any]] = []
    failed: list[str] = []
    with _predictors(arguments, report) as predictor_of, _journal_kept(finished, report):
        segmenter = Segmenter(classifier, predictor_of, choices, report)
        progress = Progress(report, len(wanted))
        for number, (one, outputs) in enumerate(zip(wanted, planned, strict=True)):
            try:
                opened = segmenter.open(one, outputs)
                path = str(opened.image.path)
                known = finished.facts(outputs.labels, opened.results_key) if outputs.labels in held else None
                if known is not None:
                    facts.append({"image": path, "ok": True, **known, "resumed": True})
                    report.add(images=facts)
                    for written in outputs.paths:
                        report.wrote(written, "Finished by a former run")
                    continue
                if outputs.labels in held and not arguments.overwrite:
                    raise ExportError(
                        f"Output {outputs.labels} exists, of another image, model, options or versions; "
                        "choose another name or pass --overwrite."
                    )
                found = segmenter.segment(opened, progress.of(opened.image, number))
                if several:
                    finished.add(outputs.paths, opened.results_key, found)
                facts.append({"image": path, "ok": True, **found})
            except FAULTS_OF_AN_IMAGE as error:
                if not several:
                    raise
                sentence = sentence_of(error)
                facts.append({"image": str(one.path), "ok": False, "error": sentence})
                failed.append(one.path.name)
                report.complain(sentence)
            report.add(images=facts)
    done = [outputs.measurements for outputs, fact in zip(planned, facts, strict=True) if fact["ok"]]
    if table is not None and done:
        join_tables([each for each in done if each is not None], table, overwrite=arguments.overwrite)
        report.wrote(table, "Objects of all images")
    if several and not failed:
        finished.clear()
    if failed:
        raise ImageError(
            f"{len(failed)} of {len(wanted)} images could not be segmented ({', '.join(failed)}), for the "
            "reasons given above; the others are done."
        )


def _choices(arguments: argparse.Namespace, classifier: TrainedClassifier) -> Choices:
    return Choices(
        device=arguments.device,
        precision=arguments.precision,
        on_workers=arguments.scheduler is not None,
        normalise=arguments.normalise,
        memory=arguments.memory,
        resume=arguments.resume,
        overwrite=arguments.overwrite,
        finding=object_options(arguments, classifier.classes),
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


@contextmanager
def _predictors(arguments: argparse.Namespace, report: Report) -> Iterator[PredictorMaker]:
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
