"""Objects found and measured in threads of their own: one piece of work at a time, and looks at the view."""

from __future__ import annotations

import math
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from qtpy.QtCore import QObject, Qt, Signal

from napari_dsparse.errors import DsparseError
from napari_dsparse.machine.memory import free_memory
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
    """Runs jobs in a thread, and looks in others; of looks of one kind only the newest is answered.

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
        self._threads = ThreadPoolExecutor(3, thread_name_prefix="objects")
        self._job: Job | None = None
        self._looks: dict[str, Job] = {}
        self._next_looks: dict[str, tuple[Callable[[], Any], Callable[[Any], None]]] = {}
        self._closed = False
        # Queued: work that has ended before it is watched would be answered before its progress is told.
        told: Any = self._told  # the stubs of PyQt6 do not know how to say it
        ended: Any = self._ended
        told.connect(self._on_told, Qt.ConnectionType.QueuedConnection)
        ended.connect(self._on_ended, Qt.ConnectionType.QueuedConnection)

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

    def look(self, kind: str, work: Callable[[], Any], then: Callable[[Any], None]) -> None:
        """Run `work` as soon as the look before of this kind has ended, unless a newer one is asked for."""
        if kind in self._looks:
            self._next_looks[kind] = work, then
            return
        job = self._looks[kind] = Job(kind, then)
        self._submit(job, work)

    def looking(self, kind: str) -> bool:
        """True while a look of this kind has not ended."""
        return kind in self._looks

    def forget_looks(self, *kinds: str) -> None:
        """Nothing comes of looks of these kinds that were asked for."""
        for kind in kinds:
            self._next_looks.pop(kind, None)
            if kind in self._looks:
                self._looks[kind].stop.set()

    def shutdown(self) -> None:
        """Stop everything, without waiting for it."""
        self._closed = True
        self._next_looks.clear()
        self._looks.clear()
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
        kind = next((kind for kind, look in self._looks.items() if look is job), None)
        if kind is not None:
            del self._looks[kind]
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
        if kind is not None and kind in self._next_looks:
            self.look(kind, *self._next_looks.pop(kind))
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


#: Memory that finding objects takes: labels and their copy, numbers, distances and what they are cut with.
BYTES_PER_PIXEL = 24


def counted(count: int) -> str:
    """A number of objects in words."""
    return "1 object" if count == 1 else f"{count:,} objects"


def differ(labels: npt.NDArray[Any], found: FoundObjects) -> bool:
    """True if `labels` are others than those that the objects were made of."""
    return not np.array_equal(labels, found.labels)


def find(
    labels: npt.NDArray[Any],
    options: ObjectOptions,
    progress: Callable[[float], None],
    stop: Callable[[], bool],
) -> FoundObjects:
    """Find the objects of a copy of `labels`.

    Raises
    ------
    DsparseError
        If that takes more memory than is free.
    """
    from napari_dsparse.prediction.objects import find_objects

    if math.prod(labels.shape) * BYTES_PER_PIXEL > free_memory():
        size = " x ".join(map(str, labels.shape))
        raise DsparseError(
            f"Objects of all {size} pixels take more memory than is free; crop the image first."
        )
    copied = np.array(labels)
    numbers = find_objects(copied, options, progress=progress, stop=stop)
    return FoundObjects(copied, options, numbers, int(numbers.max(initial=0)))
