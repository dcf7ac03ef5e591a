"""A dask scheduler and its workers: found or started, waited for, and asked how many there are.

Workers come and go: jobs in a queue start late, and end when their time is over. So their number is asked for
again and again, and what they compute is told to whoever can start more of them.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any

from napari_dsparse.errors import DsparseError
from napari_dsparse.machine.cores import available_cores
from napari_dsparse.prediction.job_queue import SUFFIXES, job_queue
from napari_dsparse.prediction.pieces import installed_version
from napari_dsparse.prediction.sight import Sight

#: Seconds to wait for a first worker, and for one to come back when all are lost.
PATIENCE = 30.0
#: Seconds to wait for an answer of a scheduler at an address, unless it is said for how long, and the least.
FOUND_WITHIN, LEAST_TO_FIND = 10.0, 1.0
#: Seconds between two questions to the scheduler, and for an answer.
ASK_EVERY, ANSWER_WITHIN = 1.0, 5.0
#: Seconds for a result to arrive before it is asked for again.
FETCH_WITHIN = 30.0

#: Name of a cluster of this machine's cores, started for as long as it is needed.
LOCAL = "local"

#: Configuration of dask for workers and scheduler that share the cores they compute on. Otherwise each worker
#: takes 4 % of a core for looking at itself, and the scheduler 5 %; and a worker that was lost is given up
#: where its successor is not there within 15 seconds, too few for a new process on a busy machine.
SHARED_CORES = {
    "distributed.worker.profile.enabled": False,
    "distributed.admin.tick.interval": "1s",
    "distributed.admin.system-monitor.interval": "5s",
    "distributed.deploy.lost-worker-timeout": "10 minutes",
}

_ADDRESS = re.compile(r"\w+://.+|[^/\\]+:\d+")


class Cluster:
    """The connection to a scheduler; a context manager, open inside the `with` block.

    Parameters
    ----------
    scheduler : str
        Its address, such as ``tcp://host:8786``; the name of the file that it wrote, with its address in
        JSON; that of a YAML file by which dask-jobqueue starts workers as jobs (`job_queue`); or "local",
        which starts a process for every core of this machine. What is started is ended afterwards.
    wait : float, optional
        Seconds to wait for a first worker, `PATIENCE` by default. Should all be lost, one has the same time,
        or `PATIENCE` if that is longer, to come back. For a scheduler to answer, it is `FOUND_WITHIN` by
        default and `LEAST_TO_FIND` at least.
    say : callable, optional
        Called with a line on what is waited for, and with the dashboard's address where there is one.

    Raises
    ------
    DsparseError
        On entering: if dask.distributed is not installed, the scheduler is not found, has no workers, or they
        lack this version of the package.

    Notes
    -----
    "local" starts Python anew for each worker. As always then, a script may start work only under
    ``if __name__ == "__main__":``.
    """

    def __init__(
        self, scheduler: str, wait: float | None = None, say: Callable[[str], None] = lambda line: None
    ) -> None:
        self._scheduler = scheduler
        self._wait = PATIENCE if wait is None else wait
        self._find = FOUND_WITHIN if wait is None else max(LEAST_TO_FIND, wait)
        self._patience = max(PATIENCE, self._wait)
        self._say = say
        #: Knows which workers read images from files themselves.
        self.sight = Sight(say)
        self._client: Any = None
        self._threads: dict[str, int] = {}
        self._answers = True
        self._asked = 0.0
        self._without_since: float | None = None
        self._open = ExitStack()

    def __enter__(self) -> Cluster:
        with ExitStack() as until_ready:
            address, find = self._scheduler, self._find
            if self._scheduler == LOCAL:
                self._say(f"Starting {available_cores()} workers on this machine.")
                address = until_ready.enter_context(local_workers(available_cores()))
                find = PATIENCE  # it is there, however slow the machine
            elif self._scheduler.endswith(SUFFIXES):
                address = until_ready.enter_context(job_queue(Path(self._scheduler), self._say))
                find = PATIENCE
            elif not _ADDRESS.fullmatch(self._scheduler):
                address = _address_in(Path(self._scheduler))
            self._client = until_ready.enter_context(_connect(address, find))
            until_ready.enter_context(_unlogged())
            self._wait_for_first_worker(address)
            _check_versions(self._client, address)
            if self._client.run_on_scheduler(_shows_dashboard):
                self._say(f"Dashboard of the scheduler: {self._client.dashboard_link}")
            self._open = until_ready.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def submit(self, function: Callable[..., Any], argument: object, worker: str) -> Any:
        """A future of `function(argument)`, computed by a worker, or another if that is lost or busy."""
        with warnings.catch_warnings():
            # All that a task needs travels with it, so that it can be done again when a worker is lost.
            warnings.filterwarnings("ignore", "Sending large graph")
            return self._client.submit(
                function, argument, workers=[worker], allow_other_workers=True, pure=False
            )

    def fetch(self, future: Any) -> Future[Any]:
        """The result of a future that is done, on its way here; it fails where that takes too long.

        What is lost on the way, with the worker that had it, comes once another has computed it again.
        """

        async def gathered() -> Any:
            return await asyncio.wait_for(self._client.gather(future, asynchronous=True), FETCH_WITHIN)

        return asyncio.run_coroutine_threadsafe(gathered(), self._client.loop.asyncio_loop)

    def in_hand(self, futures: Iterable[Any]) -> list[bool]:
        """For each future, True if a worker has it, or it is done.

        A task that was meant for a worker is left by the scheduler when all are lost, whoever comes later.
        """
        futures = list(futures)
        try:
            known = self._client.sync(self._client.scheduler.processing, callback_timeout=ANSWER_WITHIN)
        except (OSError, TimeoutError):
            return [True for _ in futures]  # so far as can be told
        processing = {key for keys in known.values() for key in keys}
        return [future.key in processing or future.done() for future in futures]

    def threads(self) -> Mapping[str, int]:
        """Threads of each worker by its address, asked once per second; none while there are no workers.

        Raises
        ------
        DsparseError
            If the scheduler has ended, or all workers are gone and none came back in time.
        """
        if self._client.status in ("closing", "closed"):
            raise DsparseError(self._scheduler_ended())
        now = time.monotonic()
        if now - self._asked >= ASK_EVERY:
            self._ask()
            self._asked = now = time.monotonic()
        if self._threads:
            self._without_since = None
            return self._threads
        patience = self._patience if self._answers else PATIENCE
        if self._without_since is None:
            self._without_since = now
            what = "all its workers are gone" if self._answers else "it does not answer"
            self._say(f"Scheduler {self._scheduler!r}: {what}; waiting up to {patience:g} s.")
        elif now - self._without_since > patience:
            raise DsparseError(self._workers_gone() if self._answers else self._scheduler_ended())
        return self._threads

    def _ask(self) -> None:
        self._threads, self._answers = {}, self._client.status == "running"
        if self._answers:
            try:
                self._threads = dict(self._client.nthreads(callback_timeout=ANSWER_WITHIN))
            except (OSError, TimeoutError):
                self._answers = False

    def _wait_for_first_worker(self, address: str) -> None:
        started = time.monotonic()
        told = False
        while True:
            self._ask()
            if self._threads:
                return
            if self._client.status in ("closing", "closed"):
                raise DsparseError(self._scheduler_ended())
            if time.monotonic() - started > self._wait:
                raise DsparseError(
                    f"The scheduler at {address!r} has no workers after {self._wait:g} s; start some with: "
                    f"dask worker {address}, or wait longer for those in a queue with --wait SECONDS."
                )
            if not told:
                self._say(f"Waiting up to {self._wait:g} s for a first worker of {self._scheduler!r}.")
                told = True
            time.sleep(min(0.2, self._wait))

    def _scheduler_ended(self) -> str:
        return (
            f"The dask scheduler {self._scheduler!r} has ended, or cannot be reached any more; start it and "
            "its workers again (their logs say why they ended), then run this again."
        )

    def _workers_gone(self) -> str:
        return (
            f"All workers of the scheduler {self._scheduler!r} are gone, and none came back within "
            f"{self._patience:g} s; their logs say why. Start new ones, then run this again; --wait SECONDS "
            "waits longer for them."
        )


def _address_in(path: Path) -> str:
    """The address in a scheduler's file."""
    name = str(path)
    advice = (
        "give the address that the scheduler prints, such as tcp://host:8786, the file it wrote, or local."
    )
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        reason = error.strerror or str(error)
        raise DsparseError(
            f"Scheduler {name!r} is neither an address nor a file ({reason}); {advice}"
        ) from error
    except (ValueError, RecursionError) as error:
        raise DsparseError(
            f"File {name!r} was not written by a dask scheduler (it is no JSON); {advice}"
        ) from error
    address = content.get("address") if isinstance(content, dict) else None
    if not isinstance(address, str) or not _ADDRESS.fullmatch(address):
        raise DsparseError(
            f"File {name!r} was not written by a dask scheduler (it holds no address); {advice}"
        )
    return address


def _not_installed(error: ImportError) -> DsparseError:
    return DsparseError(
        'Computing on a cluster needs dask.distributed; run pip install "napari-dsparse[cluster]".'
    )


@contextmanager
def local_workers(number: int) -> Iterator[str]:
    """The address of a scheduler of this machine's own, with so many worker processes of one thread.

    Raises
    ------
    DsparseError
        If dask.distributed is not installed.
    """
    try:
        import dask
        from distributed import LocalCluster
    except ImportError as error:
        raise _not_installed(error) from error
    # Without limit, as when this process computes: a worker ended for its memory would come back to fail.
    with (
        dask.config.set(SHARED_CORES),
        LocalCluster(
            n_workers=number,
            threads_per_worker=1,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
            memory_limit=None,
            silence_logs=logging.CRITICAL,
        ) as local,
    ):
        yield str(local.scheduler_address)


@contextmanager
def _unlogged() -> Iterator[None]:
    """Within, the client logs nothing of what is said in a sentence: that the scheduler is lost."""
    log = logging.getLogger("distributed.client")
    before = log.level
    log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        log.setLevel(before)


def _connect(address: str, seconds: float, tries: int = 3) -> Any:
    try:
        from distributed import Client
    except ImportError as error:
        raise _not_installed(error) from error
    try:
        return Client(address, timeout=seconds, set_as_default=False)
    except (OSError, ValueError) as error:
        raise DsparseError(
            f"No dask scheduler answers at {address!r} within {seconds:g} s; give the address that it prints "
            "when it starts, such as tcp://host:8786, or wait longer for it with --wait SECONDS."
        ) from error
    except AssertionError:  # dask gives its own thread ten seconds to start, too few on a stalled machine
        if tries == 1:
            raise
    return _connect(address, seconds, tries - 1)


def _check_versions(client: Any, address: str) -> None:
    ours = installed_version()
    try:
        theirs = {client.run_on_scheduler(installed_version)}
        found = client.run(installed_version, on_error="return").values()
    except ImportError as error:
        raise lacks_package(f"The scheduler at {address!r}", error) from error
    for answer in found:
        if isinstance(answer, ImportError):
            raise lacks_package(f"A worker of {address!r}", answer) from answer
        if isinstance(answer, str):  # else it was lost meanwhile
            theirs.add(answer)
    if theirs != {ours}:
        raise DsparseError(
            f"The scheduler at {address!r} and its workers have napari-dsparse {', '.join(sorted(theirs))}, "
            f"but here is {ours}; install one version everywhere, or the tiles may differ."
        )


def _shows_dashboard() -> bool:
    """True if the scheduler that this runs on draws a dashboard: without bokeh, its page only asks for it."""
    return find_spec("bokeh") is not None


def lacks_package(who: str, error: BaseException) -> DsparseError:
    """An error for a machine that cannot load this package."""
    return DsparseError(
        f"{who} cannot load napari-dsparse ({error}); install version {installed_version()} everywhere."
    )
