"""Workers as jobs of a queue (Slurm, PBS, LSF, …), by dask-jobqueue and its configuration in a file."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from napari_dsparse.errors import DsparseError

#: What such a file is called, as opposed to the JSON that a scheduler writes.
SUFFIXES = (".yaml", ".yml")

#: Names of queues in dask-jobqueue's configuration, and its classes for them.
_CLASSES = {
    "slurm": "SLURMCluster",
    "pbs": "PBSCluster",
    "sge": "SGECluster",
    "lsf": "LSFCluster",
    "htcondor": "HTCondorCluster",
    "moab": "MoabCluster",
    "oar": "OARCluster",
    "local": "LocalCluster",
}

_EXAMPLE = "such as {jobs: 10, jobqueue: {slurm: {cores: 8, memory: 16GB, walltime: '01:00:00'}}}"


@contextmanager
def job_queue(path: Path, say: Callable[[str], None]) -> Iterator[str]:
    """The address of a scheduler in this process whose workers are jobs; within, as many as the file says.

    The file is YAML: `jobs`, a number (1 by default), and `jobqueue` as in dask-jobqueue's configuration,
    with one queue in it.

    Raises
    ------
    DsparseError
        If dask-jobqueue is not installed, the file is none of this kind, or this machine cannot submit jobs.
    """
    try:
        import dask
        import dask_jobqueue  # noqa: F401, brings its defaults into dask's configuration
    except ImportError as error:
        raise DsparseError(
            f"Workers from the file {str(path)!r} need dask-jobqueue; run pip install "
            '"napari-dsparse[cluster]".'
        ) from error
    jobs, queue, options = _described(path)
    kind: Any = getattr(import_module(f"dask_jobqueue.{queue}"), _CLASSES[queue])
    _check_options(path, queue, options, dask.config.get(f"jobqueue.{queue}"))
    submit = (kind.job_cls.submit_command or "").split()
    if queue != "local" and submit and shutil.which(submit[0]) is None:
        raise DsparseError(
            f"Jobs for {queue} are submitted by {submit[0]!r}, which is not found here; run this where it is."
        )
    with dask.config.set({f"jobqueue.{queue}.{name}": value for name, value in options.items()}):
        try:
            cluster = kind()
        except (ValueError, TypeError) as error:  # cores or memory left out, an interface that is not there
            reason = " ".join(str(error).split())
            raise DsparseError(f"dask-jobqueue refuses the file {str(path)!r}: {reason}") from error
        with cluster:
            cluster.scale(jobs=jobs)
            say(f"Submitted {jobs} jobs for {queue}." if jobs > 1 else f"Submitted a job for {queue}.")
            yield str(cluster.scheduler_address)


def _described(path: Path) -> tuple[int, str, Mapping[str, Any]]:
    """Number of jobs, name of the queue, and its options."""
    import yaml  # comes with dask

    name = str(path)
    try:
        content = yaml.safe_load(path.read_bytes())
    except OSError as error:
        reason = error.strerror or str(error)
        raise DsparseError(f"File {name!r} cannot be read ({reason}); name one that can.") from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise DsparseError(
            f"File {name!r} is no YAML; give a configuration of dask-jobqueue, {_EXAMPLE}."
        ) from error
    queues = content.get("jobqueue") if isinstance(content, dict) else None
    if not isinstance(queues, dict) or len(queues) != 1 or set(content) - {"jobs", "jobqueue"}:
        raise DsparseError(
            f"File {name!r} must hold 'jobqueue' with one queue, and 'jobs' if wanted, {_EXAMPLE}."
        )
    ((queue, options),) = queues.items()
    if queue not in _CLASSES or not isinstance(options, dict):
        raise DsparseError(
            f"File {name!r} names the queue {queue!r}; give the options of one of {', '.join(_CLASSES)}."
        )
    jobs = content.get("jobs", 1)
    if isinstance(jobs, bool) or not isinstance(jobs, int) or jobs < 1:
        raise DsparseError(f"File {name!r} says jobs: {jobs!r}; give a whole number of 1 or more.")
    return jobs, queue, options


def _check_options(path: Path, queue: str, options: Mapping[str, Any], known: Mapping[str, Any]) -> None:
    """Refuse options that dask-jobqueue would ignore."""
    allowed = {name.replace("_", "-") for name in known}
    unknown = sorted(str(name) for name in options if str(name).replace("_", "-") not in allowed)
    if unknown:
        raise DsparseError(
            f"File {str(path)!r} gives {queue} the options {', '.join(unknown)}, which dask-jobqueue does "
            f"not know; it knows {', '.join(sorted(allowed))}."
        )
