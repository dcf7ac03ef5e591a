"""The worker threads behind one interface: started when needed, numbered, and released when they end."""

from __future__ import annotations

import atexit
import weakref
from collections.abc import Callable
from typing import Any

from napari_dsparse.live import messages as msg
from napari_dsparse.live.actions import (
    Control,
    DismissThreads,
    PauseTraining,
    ReleaseTrainer,
    StopPredicting,
    StopTraining,
)
from napari_dsparse.live.batch_thread import BatchEvent, BatchJob, BatchThread
from napari_dsparse.live.file_thread import FileThread
from napari_dsparse.live.predictor_thread import PredictorThread
from napari_dsparse.live.trainer_thread import TrainerThread
from napari_dsparse.live.worker import Worker, warn_to_log
from napari_dsparse.machine.cores import CoreShare
from napari_dsparse.prediction.view_memory import default_view_bytes

#: A thread that does not end within this time (seconds) is abandoned as a daemon until the program ends.
JOIN_SECONDS = 5.0
#: The thread that writes files gets this long (seconds), since a user waits for the file.
FILE_JOIN_SECONDS = 120.0

_started: weakref.WeakSet[Worker[Any] | BatchThread] = weakref.WeakSet()


@atexit.register
def _end_all() -> None:
    """End all threads at exit: tearing torch down under a working thread would abort the process."""
    threads = list(_started)
    for thread in threads:
        thread.close()
    for thread in threads:
        _join(thread)


class Workers:
    """One thread that trains, one that predicts, one that reads and writes files.

    Each is started by its first job, and again by the next job after it was dismissed or failed unexpectedly.

    Parameters
    ----------
    post : callable
        Takes the threads' events, in those threads: it must be safe to call there.
    """

    def __init__(self, post: Callable[[msg.WorkerEvent], None]) -> None:
        self._post = post
        self._cores = CoreShare()
        self._trainer: TrainerThread | None = None
        self._predictor: PredictorThread | None = None
        self._files: FileThread | None = None
        self._predictor_number = 0
        self._batches: weakref.WeakSet[BatchThread] = weakref.WeakSet()
        self._ending: list[Worker[Any] | BatchThread] = []
        self._undo_warnings: Callable[[], None] | None = None
        self._paused = False
        self._view_bytes = default_view_bytes()

    def submit(self, job: msg.Job) -> None:
        """Queue `job` with the thread for its kind."""
        match job:
            case msg.TrainingJob():
                if self._trainer is None or not self._trainer.is_alive():
                    self._trainer = TrainerThread(self._post, self._cores)
                    self._trainer.pause(self._paused)
                    self._start(self._trainer)
                self._trainer.submit(job)
            case msg.ForgetImageJob():
                if self._predictor is not None:
                    self._predictor.submit(job)
            case msg.ExportJob() | msg.SaveModelJob() | msg.LoadModelJob():
                if self._files is None or not self._files.is_alive():
                    self._files = FileThread(self._post)
                    self._start(self._files)
                self._files.submit(job)
            case _:
                if self._predictor is None or not self._predictor.is_alive():
                    self._predictor = PredictorThread(self._post, self._cores, self._view_bytes)
                    self._start(self._predictor)
                self._predictor_number = job.envelope.worker
                self._predictor.submit(job)

    def control(self, action: Control) -> None:
        """Carry out an action that concerns threads."""
        match action:
            case PauseTraining():
                self._paused = action.paused
                if self._trainer is not None:
                    self._trainer.pause(action.paused)
            case StopTraining():
                if self._trainer is not None:
                    self._trainer.stop(action.job)
            case ReleaseTrainer():
                if self._trainer is not None:
                    self._trainer.release(action.job)
            case StopPredicting():
                if self._predictor is not None:
                    self._predictor.stop(action.job)
            case DismissThreads():
                self._dismiss()

    def start_batch(self, job: BatchJob, post: Callable[[BatchEvent], None]) -> BatchThread:
        """Segment many images, or export, in a thread of its own, which shares the cores with the others.

        Parameters
        ----------
        job : BatchJob
        post : callable
            Takes the thread's events, in that thread.
        """
        thread = BatchThread(job, post, self._cores)
        self._start(thread)
        self._batches.add(thread)
        return thread

    def end_batches(self) -> None:
        """Stop batches and wait for their ends."""
        threads = [thread for thread in self._batches if thread.is_alive()]
        for thread in threads:
            thread.close()
        for thread in threads:
            _join(thread)

    def tile_taken(self, tile: msg.TileDone) -> None:
        """Tell the predictor that made `tile`, if it still exists, that it may post another."""
        if self._predictor is not None and tile.envelope.worker == self._predictor_number:
            self._predictor.tile_taken()

    def limit_view_memory(self, most_bytes: int) -> None:
        """Keep at most so many bytes of features of the view, now and in predictors to come."""
        self._view_bytes = most_bytes
        if self._predictor is not None:
            self._predictor.limit_memory(most_bytes)

    def join(self) -> None:
        """Wait for the threads that were dismissed."""
        while self._ending:
            _join(self._ending.pop())

    def shutdown(self) -> None:
        """End all threads and wait for them; queued files are written first."""
        self._dismiss()
        if self._files is not None:
            self._files.close()
            self._ending.append(self._files)
            self._files = None
        self.end_batches()
        self.join()
        if self._undo_warnings is not None:
            self._undo_warnings()
            self._undo_warnings = None

    def _dismiss(self) -> None:
        self._ending = [thread for thread in self._ending if thread.is_alive()]
        for thread in (self._trainer, self._predictor):
            if thread is not None:
                thread.close()
                self._ending.append(thread)
        self._trainer = self._predictor = None

    def _start(self, thread: Worker[Any] | BatchThread) -> None:
        if self._undo_warnings is None:
            self._undo_warnings = warn_to_log()
        thread.start()
        _started.add(thread)


def _join(thread: Worker[Any] | BatchThread) -> None:
    thread.join(FILE_JOIN_SECONDS if isinstance(thread, FileThread) else JOIN_SECONDS)
