"""The two worker threads behind one door: started when needed, joined when the window goes."""

from __future__ import annotations

import atexit
import weakref
from collections.abc import Callable

from qtpy.QtCore import QObject, Signal

from napari_dsparse.gui.cores import CoreShare
from napari_dsparse.gui.messages import Event, ForgetImageJob, PredictorJob, TrainingJob
from napari_dsparse.gui.predictor_thread import PredictorThread
from napari_dsparse.gui.trainer_thread import TrainerThread
from napari_dsparse.gui.worker import warn_to_log

#: A thread that does not end in this time (seconds) is left to die with the program; it can do no harm.
JOIN_SECONDS = 5.0

_started: weakref.WeakSet[TrainerThread | PredictorThread] = weakref.WeakSet()


@atexit.register
def _end_all() -> None:
    """A program that ends must not tear torch down under a working thread, which aborts the process."""
    threads = list(_started)
    for thread in threads:
        thread.close()
    for thread in threads:
        thread.join(JOIN_SECONDS)


class _Mouth(QObject):
    """Speaks for the threads. It has no parent, so it lives as long as a thread that may still speak."""

    said = Signal(object)


class Workers(QObject):
    """One trainer and one predictor thread.

    Both live as long as the dock: they are started by their first job, and by the first after `shutdown` or
    after an unforeseen error ended them.

    Parameters
    ----------
    listen : callable
        Takes the threads' events, in the window's thread.
    parent : QObject
    """

    def __init__(self, listen: Callable[[Event], None], parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._listen = listen
        self._cores = CoreShare()
        self._mouth = _Mouth()
        self._mouth.said.connect(self._hear)  # queued by Qt itself: it is said in another thread
        self._trainer: TrainerThread | None = None
        self._predictor: PredictorThread | None = None
        self._ending: list[TrainerThread | PredictorThread] = []
        self._undo_warnings: Callable[[], None] | None = None
        self._paused = False
        self._generation = 0

    def next_generation(self) -> int:
        """A number for the next job, above all before it."""
        self._generation += 1
        return self._generation

    @property
    def generation(self) -> int:
        """The newest number given out."""
        return self._generation

    def train(self, job: TrainingJob) -> None:
        """Give the trainer `job`; it wins over all before it."""
        if self._trainer is None or not self._trainer.is_alive():
            self._trainer = TrainerThread(self._mouth.said.emit, self._cores)
            self._trainer.pause(self._paused)
            self._start(self._trainer)
        self._trainer.submit(job)

    def predict(self, job: PredictorJob) -> None:
        """Give the predictor `job`."""
        if self._predictor is None or not self._predictor.is_alive():
            self._predictor = PredictorThread(self._mouth.said.emit, self._cores)
            self._start(self._predictor)
        self._predictor.submit(job)

    def pause_training(self, paused: bool) -> None:
        """Hold the trainer, or let it go on."""
        self._paused = paused
        if self._trainer is not None:
            self._trainer.pause(paused)

    def stop_training(self) -> None:
        """End the training at hand; its last snapshot still comes."""
        if self._trainer is not None:
            self._trainer.stop(self._generation)

    def stop_predicting(self) -> None:
        """End the prediction at hand."""
        if self._predictor is not None:
            self._predictor.stop(self._generation)

    def forget_image(self) -> None:
        """Let the predictor free what it remembers of the image."""
        if self._predictor is not None:
            self._predictor.submit(ForgetImageJob())

    def tile_taken(self) -> None:
        """Tell the predictor that a tile is in place."""
        if self._predictor is not None:
            self._predictor.tile_taken()

    def dismiss(self) -> None:
        """Tell both threads to end, without waiting; the next job starts new ones."""
        for thread in (self._trainer, self._predictor):
            if thread is not None:
                thread.close()
                self._ending.append(thread)
        self._trainer = self._predictor = None

    def shutdown(self) -> None:
        """End both threads and wait for them."""
        self.dismiss()
        while self._ending:
            self._ending.pop().join(JOIN_SECONDS)
        if self._undo_warnings is not None:
            self._undo_warnings()
            self._undo_warnings = None

    def _start(self, thread: TrainerThread | PredictorThread) -> None:
        if self._undo_warnings is None:
            self._undo_warnings = warn_to_log()
        thread.start()
        _started.add(thread)

    def _hear(self, event: Event) -> None:
        self._listen(event)
