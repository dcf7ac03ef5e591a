"""Standard output and error, either of which may be closed, or lead to a disk that is full."""

from __future__ import annotations

import os
import sys
from typing import TextIO


class Streams:
    """Places that a command prints to; it goes on where it can no longer print.

    `lost` is the reason once standard output could not be written, "" before. A reader that has gone, such
    as `head`, still raises BrokenPipeError: nobody waits for the rest.
    """

    def __init__(self) -> None:
        self.lost = ""

    def out(self, line: str) -> None:
        """Print a line to standard output."""
        if self.lost:
            return
        try:
            print(line, flush=True)
        except BrokenPipeError:
            raise
        except OSError as error:
            self.lost = error.strerror or str(error)
            _discard(sys.stdout)

    def err(self, text: str) -> None:
        """Write text to standard error."""
        if sys.stderr is None:  # closed before the program began
            return
        try:
            sys.stderr.write(text)
            sys.stderr.flush()
        except OSError:
            _discard(sys.stderr)  # there is nobody left to tell

    def is_terminal(self) -> bool:
        """True if standard error is one."""
        return sys.stderr is not None and sys.stderr.isatty()


def _discard(stream: TextIO) -> None:
    """Lead a stream to nowhere, or Python would fail to flush it at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
