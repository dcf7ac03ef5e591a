"""The thread that learns: counts strokes, fits the model to them, judges it, posts snapshots."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable, Sequence
from typing import Any

from napari_dsparse.errors import LabelsError
from napari_dsparse.images.exposure import exposure_difference
from napari_dsparse.images.source import ImageSource
from napari_dsparse.live.labelled_image import LabelledImage
from napari_dsparse.live.messages import (
    ExposureDiffers,
    SnapshotTaken,
    StepTaken,
    StrokesCounted,
    TrainingEnded,
    TrainingJob,
    WorkerEvent,
)
from napari_dsparse.live.worker import Worker
from napari_dsparse.machine.cores import CoreShare
from napari_dsparse.training.strokes import Stroke, find_strokes
from napari_dsparse.training.trainer import Trainer

#: Seconds between the snapshots that the preview is made from.
SNAPSHOT_SECONDS = 2.0
#: Seconds between the progress events that the curves are drawn from: each redraws a part of the window.
PROGRESS_SECONDS = 0.4
#: The first steps of a round are slower than the rest and say little about the time that is left.
STEPS_TO_ESTIMATE = 3
#: Longest wait (seconds) of judging for the first preview of new paint.
GIVE_WAY_SECONDS = 2.0
#: More labels than this are an instance segmentation rather than classes.
MOST_CLASSES = 64


class TrainerThread(Worker[TrainingJob]):
    """Learns from the newest strokes; a newer job always wins.

    Parameters
    ----------
    post : callable
        Takes this thread's events.
    cores : CoreShare
    """

    def __init__(self, post: Callable[[WorkerEvent], None], cores: CoreShare) -> None:
        super().__init__("trainer", post)
        self._cores = cores
        self._stopped_job = -1
        self._may_step = threading.Event()
        self._may_step.set()
        self._released = threading.Event()
        self._waiting_job = 0
        self._trainer: Trainer | None = None
        self._trained_on: tuple[object, ...] | None = None
        self._sources: list[ImageSource] = []
        self._compared: list[ImageSource] = []  # images whose exposures were compared last
        self._scanned: dict[Hashable, tuple[int, Any, tuple[Stroke, ...]]] = {}

    # -- called by the window's thread ----------------------------------------------------------------------

    def stop(self, job: int) -> None:
        """End the training of `job` and all before it after the current step."""
        self._stopped_job = max(self._stopped_job, job)
        self._may_step.set()
        self._released.set()

    def release(self, job: int) -> None:
        """The preview that `job` waits for is done or not wanted."""
        if job >= self._waiting_job:
            self._released.set()

    def pause(self, paused: bool) -> None:
        """Pause a round of gradient steps after the current step, or resume it."""
        if paused:
            self._may_step.clear()
        else:
            self._may_step.set()

    def close(self) -> None:
        super().close()
        self._may_step.set()
        self._released.set()

    # -- the thread -----------------------------------------------------------------------------------------

    def _let_go(self) -> None:
        self._trainer = self._trained_on = None
        self._sources, self._compared, self._scanned = [], [], {}

    def _supersedes(self, job: TrainingJob, waiting: TrainingJob) -> bool:
        return True

    def _work(self, job: TrainingJob) -> None:
        found = self._find_strokes(job.images)
        strokes = [stroke for each in found for stroke in each]
        counts = _count(strokes, len(job.classes))
        by_image = tuple(
            (image.key, len(each), sum(len(stroke.yx) for stroke in each))
            for image, each in zip(job.images, found, strict=True)
        )
        named = len(counts) <= len(job.classes)  # else the window names the new classes and asks again
        enough = sum(pixels > 0 for _, pixels in counts) >= 2
        learning = job.learn and named and enough
        self._post(StrokesCounted(job.envelope, counts, learning, by_image))
        if learning:
            with self._cores.working():
                self._learn(job, strokes)
        elif job.learn and named:
            self._post(TrainingEnded(job.envelope, steady=False))

    def _find_strokes(self, images: Sequence[LabelledImage]) -> list[tuple[Stroke, ...]]:
        """Strokes on each image; painted images are numbered, those without paint have no part in learning.

        Labels that were scanned before, under the same number, are not scanned again.
        """
        found: list[tuple[Stroke, ...]] = []
        scanned: dict[Hashable, tuple[int, Any, tuple[Stroke, ...]]] = {}
        number = 0
        for image in images:
            before = self._scanned.get(image.key)
            if before is not None and before[0] == number and before[1] is image.labels:
                strokes = before[2]
            else:
                strokes = () if image.labels is None else find_strokes(image.labels, number)
            scanned[image.key] = number, image.labels, strokes
            found.append(strokes)
            number += bool(strokes)
        self._scanned = scanned
        return found

    def _learn(self, job: TrainingJob, strokes: Sequence[Stroke]) -> None:
        if self._is_over(job):
            if not self._is_waiting:
                self._post(TrainingEnded(job.envelope, steady=False))
            return
        self._cores.apply_thread_limit()
        trainer = self._trainer_for(job)
        if trainer.update(strokes, job.classes):
            self._post(StepTaken(job.envelope, trainer.progress()))
            self._released.clear()
            self._waiting_job = job.envelope.job
            self._post(SnapshotTaken(job.envelope, trainer.snapshot(), waits=True))
            self._give_way(job)
        elif job.asked and trainer.steady:
            trainer.train_more()
        if not self._is_over(job):
            self._cores.apply_thread_limit()
            self._post(StepTaken(job.envelope, trainer.judge(), judged=True))
            self._compare_exposures(job)
            self._take_steps(job, trainer)
        if not self._is_waiting:
            self._post(TrainingEnded(job.envelope, trainer.steady, trainer.record()))

    def _compare_exposures(self, job: TrainingJob) -> None:
        """Say, once for the same images, if they seem to differ in exposure, and that is not taken out."""
        if job.normalise == "together" and not _same(self._sources, self._compared):
            self._compared = self._sources
            difference = exposure_difference(self._sources)
            if difference is not None:
                self._post(ExposureDiffers(job.envelope, difference.sentence))

    def _take_steps(self, job: TrainingJob, trainer: Trainer) -> None:
        """Take the gradient steps of a round that was asked for, if there is one."""
        steps, seconds, next_progress, next_snapshot = 0, 0.0, 0.0, time.monotonic() + SNAPSHOT_SECONDS
        while not trainer.steady and not self._is_over(job):
            if not self._may_step.wait(timeout=0.05):
                continue
            self._cores.apply_thread_limit()
            started = time.monotonic()
            progress = trainer.step()
            now = time.monotonic()
            steps, seconds = steps + 1, seconds + now - started
            if now >= next_progress or progress.steady:
                left = (progress.planned_steps - progress.step) * seconds / steps
                self._post(
                    StepTaken(
                        job.envelope, progress, seconds_left=left if steps >= STEPS_TO_ESTIMATE else None
                    )
                )
                next_progress = now + PROGRESS_SECONDS
            if now >= next_snapshot and not progress.steady:
                self._post(SnapshotTaken(job.envelope, trainer.snapshot()))
                next_snapshot = time.monotonic() + SNAPSHOT_SECONDS
        if steps:
            self._post(SnapshotTaken(job.envelope, trainer.snapshot()))

    def _give_way(self, job: TrainingJob) -> None:
        """Let the first preview of new paint have all cores: the last layer knows the paint already."""
        with self._cores.resting():
            end = time.monotonic() + GIVE_WAY_SECONDS
            while not self._is_over(job) and time.monotonic() < end:
                if self._released.wait(timeout=0.02):
                    break

    def _is_over(self, job: TrainingJob) -> bool:
        return self._is_waiting or self._closing.is_set() or job.envelope.job <= self._stopped_job

    def _trainer_for(self, job: TrainingJob) -> Trainer:
        """The present trainer if it learns from these images, network and device; a new one otherwise."""
        sources = [image.source for image in job.images if self._scanned[image.key][2]]
        wanted = (job.network, job.depth, job.normalise, job.device, job.lineage)
        if self._trainer is None or self._trained_on != wanted or not _same(sources, self._sources):
            self._trainer = None  # free the old one first
            self._trainer = Trainer(
                sources,
                job.classes,
                network=job.network,
                depth=job.depth,
                normalise=job.normalise,
                device=job.device,
            )
            self._trained_on, self._sources = wanted, sources
        return self._trainer


def _same(sources: Sequence[ImageSource], others: Sequence[ImageSource]) -> bool:
    """True if both are the same pixels read in the same way, however often they were opened."""
    return len(sources) == len(others) and all(
        one.data is other.data and one.channel_axis == other.channel_axis
        for one, other in zip(sources, others, strict=True)
    )


def _count(strokes: Sequence[Stroke], classes: int) -> tuple[tuple[int, int], ...]:
    """(strokes, pixels) by class, for every class named or painted.

    Raises
    ------
    LabelsError
        If there are so many labels that they cannot be meant as classes.
    """
    highest = max((stroke.label for stroke in strokes), default=0)
    if highest > MOST_CLASSES:
        raise LabelsError(
            f"The labels go up to {highest}, which looks like an instance segmentation; "
            f"choose a layer with strokes of at most {MOST_CLASSES} classes."
        )
    counts = [[0, 0] for _ in range(max(classes, highest))]
    for stroke in strokes:
        counts[stroke.label - 1][0] += 1
        counts[stroke.label - 1][1] += len(stroke.yx)
    return tuple((strokes_of, pixels) for strokes_of, pixels in counts)
