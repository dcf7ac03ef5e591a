"""A job for many images on its way: its thread, its news in the window's thread, napari's activity dock."""

from __future__ import annotations

from qtpy.QtCore import QObject, Signal

from napari_dsparse.gui.activity import Activity
from napari_dsparse.gui.controller import Controller
from napari_dsparse.gui.relay import EventRelay
from napari_dsparse.live.batch_thread import (
    BatchEnded,
    BatchEvent,
    BatchJob,
    BatchThread,
    ImageEnded,
    ImageProgress,
)


class BatchRun(QObject):
    """Runs one job at a time.

    Parameters
    ----------
    controller : Controller
    doing : str
        What is going on, for napari's activity dock.
    parent : QObject
    """

    #: `ImageProgress`, `ImageEnded` and, last of all, `BatchEnded` of the job.
    progressed = Signal(object)
    image_ended = Signal(object)
    finished = Signal(object)
    #: The user has asked to stop the job, here or in napari's activity dock.
    cancelling = Signal()

    def __init__(self, controller: Controller, doing: str, parent: QObject) -> None:
        super().__init__(parent)
        self._controller, self._doing = controller, doing
        self._thread: BatchThread | None = None
        self._activity = Activity(self)
        self._images = self._ended = 0
        #: True once the user has asked to stop the job.
        self.cancelled = False
        #: Share of the job that is done, 0..1.
        self.share = 0.0
        self._relay = EventRelay()
        self._relay.posted.connect(self._on_event)  # queued by Qt itself: it is emitted in another thread

    @property
    def running(self) -> bool:
        """True until the end of the job has been told."""
        return self._thread is not None

    def start(self, job: BatchJob) -> None:
        """Begin a job."""
        self._images, self._ended = len(job.images), 0
        self.cancelled, self.share = False, 0.0
        self._activity.begin(self._doing, self.cancel)
        self._thread = self._controller.start_batch(job, self._relay.posted.emit)

    def cancel(self) -> None:
        """Stop; what is done stays, and nothing is left half written."""
        if self._thread is not None and not self.cancelled:
            self._thread.close()
            self.cancelled = True
            self.cancelling.emit()

    def shutdown(self) -> None:
        """Stop and tell nothing more. The thread is waited for where all threads are."""
        self._relay.posted.disconnect(self._on_event)
        self.cancel()
        if self._thread is not None:
            self._thread.mute()
        self._thread = None
        self._activity.shutdown()

    def _on_event(self, event: BatchEvent) -> None:
        match event:
            case ImageProgress():
                if event.pace is not None:
                    self._show(event.pace.of_all)
                self.progressed.emit(event)
            case ImageEnded():
                self._ended += 1
                self._show(self._ended / self._images)
                self.image_ended.emit(event)
            case BatchEnded():
                self._thread = None
                self._activity.show(None)
                self.finished.emit(event)

    def _show(self, share: float) -> None:
        self.share = share
        self._activity.show(share)
