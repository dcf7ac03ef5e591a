"""``napari-dsparse predict``: images and a model in, label images out."""

from __future__ import annotations

import argparse
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from napari_dsparse.batch.inputs import InputImage, WantedImage, read_input, told_apart
from napari_dsparse.batch.jobs import Notes, run_in_order
from napari_dsparse.batch.joined_table import join_tables
from napari_dsparse.batch.outputs import Outputs, check_writable, plan_outputs, used_folders
from napari_dsparse.batch.results import Listener
from napari_dsparse.batch.segmenter import FAULTS_OF_AN_IMAGE, Choices, PredictorMaker, Segmenter
from napari_dsparse.classifier import TrainedClassifier
from napari_dsparse.cli.object_arguments import object_options
from napari_dsparse.cli.progress import Progress, ProgressOfSeveral
from napari_dsparse.cli.projects import images_of, open_project
from napari_dsparse.cli.report import Report
from napari_dsparse.errors import ExportError, ImageError, ProjectError, sentence_of
from napari_dsparse.files.finished import Finished
from napari_dsparse.files.model import read_classifier
from napari_dsparse.images.reading import Expected
from napari_dsparse.machine.cores import CoreShare
from napari_dsparse.prediction import Predictor
from napari_dsparse.prediction.cluster import Cluster
from napari_dsparse.prediction.cluster_predictor import ClusterPredictor
from napari_dsparse.project import Project
from napari_dsparse.stopping import Stopped, stop_if


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
    held = {outputs.labels for outputs in planned if finished.owns(outputs.paths)}
    # Of several, one whose results have names that are too long is reported when it is its turn.
    tried = [one for one in planned if one.labels not in held and not (several and one.long_name)]
    every = [path for outputs in tried for path in outputs.paths]
    table = None if arguments.table is None else Path(arguments.table)
    if table is not None and table.resolve() in {path.resolve() for each in planned for path in each.paths}:
        raise ExportError(f"The table of one image would be called {table} too; give --table another name.")
    is_ours = table is not None and finished.owns([table])  # of an interrupted run, made anew
    every += [] if table is None or is_ours else [table]
    inputs = [*(one.path for one in wanted), model]
    check_writable(every, inputs, overwrite=arguments.overwrite, make_parents=True)
    classifier = read_model()
    report.add(classes=[info.name for info in classifier.classes])
    jobs = min(arguments.jobs, len(wanted))
    choices = _choices(arguments, classifier, jobs)
    facts: list[dict[str, Any]] = []
    failed: list[str] = []

    def take(done: _Done) -> None:
        done.notes.tell(report)
        if done.error is not None:
            failed.append(wanted[done.number].path.name)
            report.complain(str(done.facts["error"]))
        if not done.stopped:
            facts.append(done.facts)
            report.add(images=facts)

    with (
        used_folders([path for outputs in planned for path in outputs.paths]),
        _predictors(arguments, report) as predictor_of,
        _journal_kept(finished, report),
    ):
        batch = _Batch(wanted, planned, held, finished, classifier, predictor_of, choices, report)
        run_in_order(batch.segment, len(wanted), jobs, take, batch.stop)
    done = [outputs.measurements for outputs, fact in zip(planned, facts, strict=True) if fact["ok"]]
    if table is not None and done:
        with finished.writing({"table": table.name}, {}) if several else nullcontext():
            join_tables(
                [each for each in done if each is not None], table, overwrite=arguments.overwrite or is_ours
            )
        report.wrote(table, "Objects of all images")
    if several and not failed:
        finished.clear()
    if failed:
        raise ImageError(
            f"{len(failed)} of {len(wanted)} images could not be segmented ({', '.join(failed)}), for the "
            "reasons given above; the others are done."
        )


@dataclass(frozen=True, slots=True, eq=False)
class _Done:
    """An image that is through: facts for the summary, and what is to be told of it."""

    number: int
    facts: dict[str, Any]
    notes: Notes
    error: Exception | None = None
    stopped: bool = False


class _Batch:
    """Segments the images of a batch by their numbers, in one thread or in several."""

    def __init__(
        self,
        wanted: Sequence[WantedImage],
        planned: Sequence[Outputs],
        held: set[Path],
        finished: Finished,
        classifier: TrainedClassifier,
        predictor_of: PredictorMaker,
        choices: Choices,
        report: Report,
    ) -> None:
        self._wanted, self._planned, self._held, self._finished = wanted, planned, held, finished
        self._classifier, self._predictor_of, self._choices = classifier, predictor_of, choices
        self._report = report
        self._cores = CoreShare()
        self._own = threading.local()
        progress = Progress if choices.jobs == 1 else ProgressOfSeveral
        self._progress = progress(report, len(wanted))
        #: Set where the batch is to end.
        self.stop = threading.Event()
        self._resident: int | None = None
        self._resident = self._segmenter(report).resident

    def segment(self, number: int) -> _Done:
        """Segment an image; a fault of its own is returned where there are others."""
        alone = self._choices.jobs == 1
        if alone:
            return self._segment(number, self._report, Notes())
        notes = Notes()
        with self._cores.working():
            self._cores.apply_thread_limit()
            return self._segment(number, notes, notes)

    def _segment(self, number: int, listener: Listener, notes: Notes) -> _Done:
        one = self._wanted[number]
        try:
            stop_if(self.stop.is_set)
            return _Done(number, self._results(number, self._segmenter(listener), listener), notes)
        except Stopped:
            return _Done(number, {}, notes, stopped=True)
        except FAULTS_OF_AN_IMAGE as error:
            if len(self._wanted) == 1:
                raise
            facts = {"image": str(one.path), "ok": False, "error": sentence_of(error)}
            return _Done(number, facts, notes, error)

    def _results(self, number: int, segmenter: Segmenter, listener: Listener) -> dict[str, Any]:
        """Facts on an image's results, which are made unless a former run has."""
        outputs, finished, several = self._planned[number], self._finished, len(self._wanted) > 1
        opened = segmenter.open(self._wanted[number], outputs)
        path, key, held = str(opened.image.path), opened.results_key, outputs.labels in self._held
        known = finished.facts(outputs.labels, key) if held else None
        if known is not None and finished.holds(outputs.paths):
            for written in outputs.paths:
                listener.wrote(written, "Finished by a former run")
            return {"image": path, "ok": True, **known, "resumed": True}
        if held and known is None and not self._choices.overwrite:
            raise ExportError(
                f"Output {outputs.labels} exists, of another image, model, options or versions; "
                "choose another name or pass --overwrite."
            )
        tell = self._progress.of(opened.image, number)

        def progress(share: float) -> None:
            if self._choices.jobs > 1:
                self._cores.apply_thread_limit()
            tell(share)

        found = segmenter.segment(
            opened,
            progress,
            journal=partial(finished.writing, key) if several else None,
            overwrite=held,  # as far as there are files, they are ours, and incomplete
        )
        return {"image": path, "ok": True, **found}

    def _segmenter(self, listener: Listener) -> Segmenter:
        """The segmenter of the calling thread, which tells `listener` from now on."""
        found: Segmenter | None = getattr(self._own, "segmenter", None)
        if found is None:
            found = self._own.segmenter = Segmenter(
                self._classifier,
                self._predictor_of,
                self._choices,
                listener,
                self.stop.is_set,
                self._resident,
            )
        found.listener = listener
        return found


def _choices(arguments: argparse.Namespace, classifier: TrainedClassifier, jobs: int) -> Choices:
    return Choices(
        device=arguments.device,
        precision=arguments.precision,
        on_workers=arguments.scheduler is not None,
        normalise=arguments.normalise,
        memory=arguments.memory,
        jobs=jobs,
        resume=arguments.resume,
        overwrite=arguments.overwrite,
        finding=object_options(arguments, classifier.classes),
    )


def _plan(
    arguments: argparse.Namespace, report: Report
) -> tuple[list[WantedImage], Callable[[], TrainedClassifier], Path, str]:
    """Images, a function that reads the model, the model's file or folder, and the place of the results."""
    paths = [Path(image) for image in arguments.images]
    named = [
        WantedImage(path, name, partial(_read, path, arguments))
        for path, name in zip(paths, told_apart(paths), strict=True)
    ]
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
