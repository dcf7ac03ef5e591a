"""The command line: the same jobs as the dock, without a window.

No heavy package is imported here, so that ``napari-dsparse --help`` answers at once: each command's module is
imported when it runs.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from types import FrameType, TracebackType
from typing import NoReturn

from napari_dsparse.cli.arguments import build_parser
from napari_dsparse.cli.report import Report
from napari_dsparse.errors import DsparseError, sentence_of

__all__ = ["main"]

# As in the window: waiting OpenMP threads sleep, since spinning ones take the very cores that they wait for
# as soon as another program is busy. Read once, when torch is first loaded; a value set by the user is kept.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

#: Exit codes as shells know them: 128 + the number of the signal.
INTERRUPTED = 128 + int(signal.SIGINT)
TERMINATED = 128 + int(signal.SIGTERM)

ExceptHook = Callable[[type[BaseException], BaseException, TracebackType | None], None]


class _Terminated(BaseException):
    """SIGTERM, raised in the main thread so that half-written files are removed on the way out."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments after the program's name; taken from the shell by default.

    Returns
    -------
    int
        Exit code: 0 = done, 1 = failed for a reason that was said in one line, 130 = Ctrl-C, 143 = SIGTERM.
        Wrong arguments exit with 2.
    """
    arguments = build_parser().parse_args(argv)
    report = Report(arguments.command, json_line=arguments.json)
    if argv is None and not arguments.traceback:
        sys.excepthook = _one_line_for_bugs(report)
    command = f"napari_dsparse.cli.{arguments.command}"
    try:
        with _sigterm_raises():
            import_module(command).run(arguments, report)
            report.finish()
    except BrokenPipeError:
        # The reader of our output is gone (`| head`); Python must not try to flush to it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (DsparseError, OSError, MemoryError) as error:
        if arguments.traceback:
            raise
        report.fail(sentence_of(error))
        return 1
    except KeyboardInterrupt:
        report.interrupted("Interrupted")
        return INTERRUPTED
    except _Terminated:
        report.interrupted("Terminated")
        return TERMINATED
    return 0


@contextmanager
def _sigterm_raises() -> Iterator[None]:
    """Within, SIGTERM unwinds the stack instead of ending the process on the spot."""

    def terminate(signum: int, frame: FrameType | None) -> NoReturn:
        raise _Terminated

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _one_line_for_bugs(report: Report) -> ExceptHook:
    """An exception hook: an unexpected error too is printed in one line, with a hint at the traceback."""

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        told = next((line.strip() for line in str(error).splitlines() if line.strip()), "no message")
        report.fail(
            f"Unexpected {kind.__name__}: {told} "
            "(a fault of the program: run it again with --traceback and report what it prints)."
        )

    return hook
