"""The thread that segments many images into files, beside the live loop and by the steps of `predict`."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from napari_dsparse.batch.inputs import WantedImage
from napari_dsparse.batch.outputs import Outputs, check_writable, used_folders
from napari_dsparse.batch.pace import Pace, Stopwatch
from napari_dsparse.batch.results import write
from napari_dsparse.batch.segmenter import FAULTS_OF_AN_IMAGE, Choices, Segmenter, check_volume
from napari_dsparse.classifier.classes import ClassInfo
from napari_dsparse.classifier.trained import TrainedClassifier
from napari_dsparse.errors import DsparseError, ModelFileError, sentence_of
from napari_dsparse.files.model import read_classifier
from napari_dsparse.images.reading import Expected
from napari_dsparse.live.worker import as_sentence, quiet
from napari_dsparse.machine.cores import CoreShare
from napari_dsparse.prediction import Predictor
from napari_dsparse.stopping import Stopped, stop_if

_log = logging.getLogger(__name__)

#: Seconds between two messages on the progress of an image.
TOLD_EVERY = 0.1


@dataclass(frozen=True, slots=True, eq=False)
class BatchImage:
    """An image of a batch.

    Parameters
    ----------
    wanted : WantedImage
    outputs : Outputs
        The results to write.
    given : mapping of str to array, shape of the image
        "labels" and "objects" that are there already; never written to. Where they are all that is asked
        for, no model is needed.
    """

    wanted: WantedImage
    outputs: Outputs
    given: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_given(self) -> bool:
        """True if nothing is to be computed by a model."""
        outputs = self.outputs
        of_objects = outputs.objects is not None or outputs.measurements is not None
        return (
            outputs.probabilities is None
            and outputs.uncertainty is None
            and ("labels" in self.given or not outputs.with_labels)
            and ("objects" in self.given or not of_objects)
        )


@dataclass(frozen=True, slots=True, eq=False)
class BatchJob:
    """Images to segment by one model.

    Parameters
    ----------
    images : tuple of BatchImage
    model : TrainedClassifier, Path of a model, or None
        None where no image needs one.
    choices : Choices
    classes : tuple of ClassInfo
        What given labels stand for.
    """

    images: tuple[BatchImage, ...]
    model: TrainedClassifier | Path | None
    choices: Choices
    classes: tuple[ClassInfo, ...] = ()


@dataclass(frozen=True, slots=True)
class ImageProgress:
    """An image is under way; without a pace it is being opened."""

    number: int
    pace: Pace | None = None


@dataclass(frozen=True, slots=True)
class ImageEnded:
    """The end of an image.

    Parameters
    ----------
    number : int
        From 0, in the order of the job.
    written : tuple of Path
        What is complete under its final name.
    problem : str or None
        The reason why there is no more; None if all is written.
    remarks : tuple of str
        What the user should know, a sentence each.
    stopped : bool
        The user did not want it any more.
    kept : bool
        What was computed of it is kept, to go on from when it is segmented again.
    seconds : float
    """

    number: int
    written: tuple[Path, ...]
    problem: str | None
    remarks: tuple[str, ...]
    stopped: bool
    kept: bool
    seconds: float


@dataclass(frozen=True, slots=True)
class BatchEnded:
    """There is no more to come; `problem` is the reason if the batch as a whole failed."""

    problem: str | None = None
    stopped: bool = False


BatchEvent: TypeAlias = ImageProgress | ImageEnded | BatchEnded


class BatchThread(threading.Thread):
    """Segments the images of one job, and ends.

    Parameters
    ----------
    job : BatchJob
    post : callable
        Takes this thread's events; called in this thread.
    cores : CoreShare
    """

    def __init__(self, job: BatchJob, post: Callable[[BatchEvent], None], cores: CoreShare) -> None:
        super().__init__(name="batch", daemon=True)
        self._job, self._post, self._cores = job, post, cores
        self._stop_asked = threading.Event()
        self._remarks: list[str] = []
        self._written: list[Path] = []
        self._kept = False

    def close(self) -> None:
        """Ask the thread to end: it leaves nothing half written."""
        self._stop_asked.set()

    def mute(self) -> None:
        """Post no more events: nobody is left to take them, and it may take a while to end."""
        self._post = _ignore

    # -- listening to the segmenter -------------------------------------------------------------------------

    def say(self, line: str) -> None:
        """Take a remark on the image under way."""
        self._remarks.append(line)

    def wrote(self, path: Path, what: str) -> None:
        """Take note of a complete file."""
        self._written.append(path)

    def keep(self) -> None:
        """Take note that something unfinished was kept."""
        self._kept = True

    # -- the thread -----------------------------------------------------------------------------------------

    def run(self) -> None:
        """Segment all images."""
        ended = BatchEnded("An unexpected fault ended it; see the log.")
        with quiet(), self._cores.working():
            try:
                self._cores.apply_thread_limit()
                with used_folders([path for one in self._job.images for path in one.outputs.paths]):
                    self._segment_all()
                ended = BatchEnded()
            except Stopped:
                ended = BatchEnded(stopped=True)
            except (DsparseError, OSError, MemoryError) as error:
                ended = BatchEnded(sentence_of(error))
            except (RuntimeError, ValueError, ArithmeticError) as error:
                _log.exception("A batch failed")
                ended = BatchEnded(as_sentence(error))
            finally:
                self._post(ended)

    def _segment_all(self) -> None:
        job, stop = self._job, self._stop_asked.is_set
        check_writable(
            [path for one in job.images if not one.outputs.long_name for path in one.outputs.paths],
            [one.wanted.path for one in job.images if one.wanted.in_file],
            overwrite=job.choices.overwrite,
            make_parents=True,
            allow="allow overwriting",
        )
        segmenter = self._segmenter()
        watch = Stopwatch(len(job.images), time.monotonic())
        for number, one in enumerate(job.images):
            stop_if(stop)
            self._remarks, self._written, self._kept = [], [], False
            started = time.monotonic()
            problem, stopped = None, False
            self._post(ImageProgress(number))
            try:
                if segmenter is None or one.is_given:
                    self._write_given(one)
                else:
                    opened = segmenter.open(one.wanted, one.outputs)
                    watch.begin(number, math.prod(opened.image.source.shape) / 1e6)
                    segmenter.segment(opened, self._progress_of(number, watch), given=one.given)
            except Stopped:
                stopped = True
            except FAULTS_OF_AN_IMAGE as error:
                problem = sentence_of(error)
            self._post(
                ImageEnded(
                    number,
                    tuple(self._written),
                    problem,
                    tuple(self._remarks),
                    stopped,
                    self._kept,
                    time.monotonic() - started,
                )
            )
            if stopped:
                raise Stopped

    def _segmenter(self) -> Segmenter | None:
        """None where every result is given."""
        job = self._job
        if all(one.is_given for one in job.images):
            return None
        if job.model is None:
            raise ModelFileError("There is no model yet; paint strokes and train, or choose a saved model.")
        classifier = read_classifier(job.model) if isinstance(job.model, Path) else job.model
        predictor_of = partial(Predictor, device=job.choices.device, precision=job.choices.precision)
        return Segmenter(classifier, predictor_of, job.choices, self, self._stop_asked.is_set)

    def _write_given(self, one: BatchImage) -> None:
        image = one.wanted.open(Expected(channels=0))  # no model expects anything of it
        choices = self._job.choices
        check_volume(image, choices.finding)
        write(
            one.given,
            image,
            self._job.classes,
            one.outputs,
            self,
            overwrite=choices.overwrite,
            finding=choices.finding,
            stop=self._stop_asked.is_set,
        )

    def _progress_of(self, number: int, watch: Stopwatch) -> Callable[[float], None]:
        told = -math.inf

        def tell(share: float) -> None:
            nonlocal told
            self._cores.apply_thread_limit()
            now = time.monotonic()
            pace = watch.at(now, share)
            if now - told >= TOLD_EVERY or share == 1:
                told = now
                self._post(ImageProgress(number, pace))

        return tell


def _ignore(event: BatchEvent) -> None:
    """Take an event that nobody waits for."""
