"""Objects found and measured in threads of their own: one piece of work at a time, and looks at the view."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from qtpy.QtCore import QObject, Signal

from napari_dsparse.errors import DsparseError
from napari_dsparse.prediction.object_options import ObjectOptions


@dataclass(frozen=True, slots=True, eq=False)
class FoundObjects:
    """Objects of a whole image.

    Parameters
    ----------
    labels : ndarray, shape (..., Y, X)
        The classes they were made of, a copy.
    options : ObjectOptions
    numbers : ndarray of uint32, shape (..., Y, X)
    count : int
    """

    labels: npt.NDArray[Any]
    options: ObjectOptions
    numbers: npt.NDArray[np.uint32]
    count: int


@dataclass(eq=False)
class Job:
    """A piece of work; it can be stopped, and then nothing comes of it."""

    doing: str
    then: Callable[[Any], None]
    stop: threading.Event = field(default_factory=threading.Event)


class ObjectsWork(QObject):
    """Runs jobs in a thread, and looks in another, of which only the newest request is answered.

    Parameters
    ----------
    parent : QObject
    """

    #: A job has begun or ended.
    changed = Signal()
    #: The share done of the running job, 0..1.
    progressed = Signal(float)
    #: A sentence: the running job cannot be done.
    failed = Signal(str)

    _told = Signal(object, float)
    _ended = Signal(object, object)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="objects")
        self._job: Job | None = None
        self._look: Job | None = None
        self._next_look: tuple[Callable[[], Any], Callable[[Any], None]] | None = None
        self._closed = False
        self._told.connect(self._on_told)
        self._ended.connect(self._on_ended)

    @property
    def doing(self) -> str | None:
        """Description of the running job."""
        return None if self._job is None else self._job.doing

    def begin(
        self,
        doing: str,
        work: Callable[[Callable[[float], None], Callable[[], bool]], Any],
        then: Callable[[Any], None],
    ) -> None:
        """Run `work`, which takes a function for its progress and one that asks to stop; then call `then`."""
        self.stop()
        job = self._job = Job(doing, then)
        tell = partial(_tell, weakref.ref(self), job)
        self._submit(job, partial(work, tell, job.stop.is_set))
        self.changed.emit()

    def stop(self) -> None:
        """Forget the running job."""
        if self._job is not None:
            self._job.stop.set()
            self._job = None
            self.changed.emit()

    def look(self, work: Callable[[], Any], then: Callable[[Any], None]) -> None:
        """Run `work` as soon as the look before has ended, unless a newer one is asked for until then."""
        if self._look is not None:
            self._next_look = work, then
            return
        self._look = Job("", then)
        self._submit(self._look, work)

    def forget_looks(self) -> None:
        """Nothing comes of looks that were asked for."""
        self._next_look = None
        if self._look is not None:
            self._look.stop.set()

    def shutdown(self) -> None:
        """Stop everything, without waiting for it."""
        self._closed = True
        self._next_look = self._look = None
        if self._job is not None:
            self._job.stop.set()
            self._job = None
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _submit(self, job: Job, work: Callable[[], Any]) -> None:
        future = self._threads.submit(work)
        future.add_done_callback(partial(_report, weakref.ref(self), job))

    def _on_told(self, job: Job, share: float) -> None:
        if job is self._job:
            self.progressed.emit(share)

    def _on_ended(self, job: Job, future: Future[Any]) -> None:
        wanted = not job.stop.is_set() and not self._closed and not future.cancelled()
        if job is self._look:
            self._look = None
        elif job is self._job:
            self._job = None
        else:
            return
        try:
            result = future.result() if wanted else None
        except (DsparseError, OSError, RuntimeError, ValueError, MemoryError) as error:
            self.failed.emit(str(error) or type(error).__name__)
        else:
            if wanted:
                job.then(result)
        if self._look is None and self._next_look is not None:
            (work, then), self._next_look = self._next_look, None
            self.look(work, then)
        self.changed.emit()


def _tell(work: weakref.ref[ObjectsWork], job: Job, share: float) -> None:
    present = work()
    if present is not None and not present._closed:
        present._told.emit(job, share)


def _report(work: weakref.ref[ObjectsWork], job: Job, future: Future[Any]) -> None:
    """Pass a result on to the window's thread, if the window is still there."""
    present = work()
    if present is not None and not present._closed:
        present._ended.emit(job, future)


def find(
    labels: npt.NDArray[Any],
    options: ObjectOptions,
    progress: Callable[[float], None],
    stop: Callable[[], bool],
) -> FoundObjects:
    """Find the objects of a copy of `labels`."""
    from napari_dsparse.prediction.objects import find_objects

    copied = np.array(labels)
    numbers = find_objects(copied, options, progress=progress, stop=stop)
    return FoundObjects(copied, options, numbers, int(numbers.max(initial=0)))
