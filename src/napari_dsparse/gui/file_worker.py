"""A thread that works on files for a window, and hands the results back in the window's own."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any

from qtpy.QtCore import QEvent, QObject, Signal
from qtpy.QtWidgets import QApplication

from napari_dsparse.errors import DsparseError

_log = logging.getLogger(__name__)

#: Errors that say by themselves what is wrong; others are mistakes of the program.
_EXPECTED = (DsparseError, OSError, RuntimeError, ValueError, MemoryError)


class FileWorker(QObject):
    """One thread; what is given to it is done in that order.

    Parameters
    ----------
    name : str
        Of the thread.
    parent : QObject
    """

    #: Emitted in the thread: two callables, and the `Future` whose result or error the one or other takes.
    _finished = Signal(object, object, object)

    def __init__(self, name: str, parent: QObject) -> None:
        super().__init__(parent)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name)
        #: True once the window is gone, and nobody is left to tell anything.
        self.ended = False
        self._finished.connect(self._on_finished)

    def run(
        self,
        work: Callable[[], Any],
        then: Callable[[Any], None] | None = None,
        failed: Callable[[str], None] | None = None,
    ) -> None:
        """Do `work` in the thread, then call `then` with its result, or `failed` with a sentence.

        Nothing is done any more once it is closed: a timer may still run out then.
        """
        if self.ended:
            return
        future = self._thread.submit(work)
        future.add_done_callback(partial(_report, weakref.ref(self), then, failed))

    def wait(self) -> None:
        """Wait for what was given so far."""
        self._thread.submit(int).result()

    def wait_and_tell(self) -> None:
        """The same, and hand back the results."""
        self.wait()
        QApplication.sendPostedEvents(None, QEvent.Type.MetaCall.value)

    def close(self, *, cancel: bool = False) -> None:
        """Do what was given so far, or only what is being done, and nothing after that; nobody is told."""
        self.ended = True
        self._thread.shutdown(wait=True, cancel_futures=cancel)

    def _on_finished(
        self,
        then: Callable[[Any], None] | None,
        failed: Callable[[str], None] | None,
        future: Future[Any],
    ) -> None:
        if self.ended:  # it was ready when the window went
            return
        error = future.exception()
        if error is not None:
            if not isinstance(error, _EXPECTED):
                _log.error("Work on files failed unexpectedly", exc_info=error)
            if failed is not None:
                failed(_sentence(error))
        elif then is not None:
            then(future.result())


def _sentence(error: BaseException) -> str:
    if isinstance(error, _EXPECTED):
        return str(error) or type(error).__name__
    what = ": ".join(part for part in (type(error).__name__, str(error)) if part)
    return f"Work on files failed unexpectedly ({what}); try again, and report it if that does not help."


def _report(
    worker: weakref.ref[FileWorker],
    then: Callable[[Any], None] | None,
    failed: Callable[[str], None] | None,
    future: Future[Any],
) -> None:
    """Pass a result on to the window's thread, if the window is still there."""
    present = worker()
    if present is not None and not present.ended:
        with suppress(RuntimeError):  # Qt has deleted it with its window already
            present._finished.emit(then, failed, future)
            return
    if not future.cancelled() and (error := future.exception()) is not None:
        _log.error("Files were not read or written when the window closed: %s", error)
