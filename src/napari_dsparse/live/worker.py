"""A long-lived thread that processes jobs, and reports failures as one sentence."""

from __future__ import annotations

import logging
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

from napari_dsparse.errors import DsparseError
from napari_dsparse.live.messages import Job, JobFailed, WorkerEvent

_log = logging.getLogger(__name__)

J = TypeVar("J", bound=Job)


class Worker(threading.Thread, Generic[J]):
    """Processes jobs one at a time, in order; subclasses define the jobs.

    A plain thread and not napari's `thread_worker`: it ends when told to, not at a yield, and leaves nothing
    to the garbage collector of the window's thread.

    Parameters
    ----------
    name : str
    post : callable
        Takes an event from this thread to the window; must be safe to call here.
    """

    #: True if waiting jobs are still done when the thread is asked to end.
    finishes_jobs = False

    def __init__(self, name: str, post: Callable[[WorkerEvent], None]) -> None:
        super().__init__(name=name, daemon=True)
        self._post = post
        self._jobs: deque[J] = deque()
        self._changed = threading.Condition()
        self._closing = threading.Event()

    # -- called by the window's thread ----------------------------------------------------------------------

    def submit(self, job: J) -> None:
        """Queue `job`; `_supersedes` decides which waiting jobs it makes pointless."""
        with self._changed:
            self._jobs = deque(waiting for waiting in self._jobs if not self._supersedes(job, waiting))
            self._jobs.append(job)
            self._changed.notify_all()

    def close(self) -> None:
        """Ask the thread to end; `join` to wait for it."""
        with self._changed:
            self._closing.set()
            if not self.finishes_jobs:
                self._jobs.clear()
            self._changed.notify_all()

    # -- the thread -----------------------------------------------------------------------------------------

    def run(self) -> None:
        """Work until closed."""
        with quiet():
            try:
                while (job := self._next()) is not None:
                    self._attempt(job)
            finally:
                self._let_go()

    def _next(self) -> J | None:
        with self._changed:
            self._changed.wait_for(lambda: self._jobs or self._closing.is_set())
            return self._jobs.popleft() if self._jobs else None

    def _attempt(self, job: J) -> None:
        try:
            self._work(job)
        except DsparseError as error:
            self._post(JobFailed(job.envelope, self.name, str(error)))
        except (OSError, RuntimeError, ValueError, ArithmeticError) as error:
            _log.exception("A job of the %s failed", self.name)
            self._post(JobFailed(job.envelope, self.name, as_sentence(error)))
        except MemoryError:
            self._post(
                JobFailed(job.envelope, self.name, "There is not enough memory for this; crop the image.")
            )
        except BaseException as error:
            self._post(JobFailed(job.envelope, self.name, as_sentence(error)))
            raise  # a bug: the thread ends with its traceback, the next job gets a new one

    @property
    def _is_waiting(self) -> bool:
        """True if another job waits."""
        return bool(self._jobs)

    # -- for subclasses -------------------------------------------------------------------------------------

    def _let_go(self) -> None:
        """Release resources: nothing will be computed any more."""

    def _work(self, job: J) -> None:
        raise NotImplementedError

    def _supersedes(self, job: J, waiting: J) -> bool:
        """True if `waiting` need not be done once `job` is queued."""
        raise NotImplementedError


def as_sentence(error: BaseException) -> str:
    """Type and first line of an error from elsewhere, without its traceback."""
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0] if text else 'no further explanation'}"


_quiet_threads: set[int] = set()


@contextmanager
def quiet() -> Iterator[None]:
    """Within, warnings of the calling thread go to the log wherever `warn_to_log` is in force."""
    _quiet_threads.add(threading.get_ident())
    try:
        yield
    finally:
        _quiet_threads.discard(threading.get_ident())


def warn_to_log() -> Callable[[], None]:
    """Send warnings raised in worker threads to the log; returns what undoes it.

    napari shows warnings as Qt notifications; from a thread that is not Qt's that is unwanted at best.
    """
    shown_before = warnings.showwarning

    def show(*args: Any, **kwargs: Any) -> None:
        if threading.get_ident() in _quiet_threads:
            message, category = args[0], args[1]
            _log.warning("%s: %s", category.__name__, message)
        else:
            shown_before(*args, **kwargs)

    def undo() -> None:
        if warnings.showwarning is show:
            warnings.showwarning = shown_before

    warnings.showwarning = show
    return undo
