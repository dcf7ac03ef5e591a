"""Output of a command: lines for a person, one line of JSON for a program."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any

from napari_dsparse.cli.streams import Streams
from napari_dsparse.errors import DsparseError


class Report:
    """Collects the results of a command while printing them for the person at the terminal.

    Lines and the closing JSON go to standard output; progress and errors to standard error. On a terminal one
    line of progress replaces the other; elsewhere, as in the log of a job, each is kept, and there are few.

    Parameters
    ----------
    command : str
    json_line : bool
        True to end with one line of JSON.
    """

    #: Seconds between two redraws of the progress line.
    REDRAW = 0.1
    #: Without a terminal: fewest seconds between two lines, parts of the work after each of which there is
    #: one, and seconds after which there is one in any case.
    LINE, LINE_SHARES, LINE_AT_LEAST = 10.0, 10, 30.0

    def __init__(self, command: str, *, json_line: bool = False) -> None:
        self._command = command
        self._json_line = json_line
        self._facts: dict[str, Any] = {}
        self._kept = False
        self._outputs: list[str] = []
        self._streams = Streams()
        self._lock = threading.RLock()  # progress is told by the threads that make it
        self._shows_progress = self._streams.is_terminal()
        self._drawn = 0.0
        self._width = 0
        self._printed, self._printed_parts, self._printed_share = time.monotonic(), 0, 0.0

    def say(self, line: str) -> None:
        """Print one line for the person."""
        with self._lock:
            self._clear()
            self._streams.out(_printable(line))

    def complain(self, sentence: str) -> None:
        """Print one line on something that failed, though the command goes on."""
        with self._lock:
            self._clear()
            self._streams.err(_printable(f"napari-dsparse {self._command}: {sentence}") + "\n")

    def add(self, **facts: Any) -> None:
        """Facts for the closing JSON."""
        self._facts.update(facts)

    @property
    def facts(self) -> dict[str, Any]:
        """Facts so far, with the files that are complete."""
        return {**self._facts, "outputs": list(self._outputs)}

    def keep(self) -> None:
        """Record that something unfinished was kept, to go on from."""
        self._kept = True

    def wrote(self, path: Path, what: str) -> None:
        """Record a file that is complete under its final name."""
        self._outputs.append(str(path))
        self.say(f"{what}: {path}")

    def progress(self, line: str, share: float = 0.0) -> None:
        """Replace the progress line, at most ten times per second; without a terminal, print a few of them.

        Parameters
        ----------
        line : str
        share : float
            Of the work that is done, 0..1, if it is known.
        """
        now = time.monotonic()
        with self._lock:
            if not self._shows_progress:
                self._print_progress(line, share, now)
                return
            if now - self._drawn < self.REDRAW:
                return
            self._drawn = now
            line = _printable(line)
            self._streams.err(f"\r{line:<{self._width}}")
            self._width = len(line)

    def finish(self) -> None:
        """End with success.

        Raises
        ------
        DsparseError
            If something could not be printed: a program that waits for it would wait in vain.
        """
        self._clear()
        if self._json_line:
            self._streams.out(_line({"command": self._command, "ok": True, **self.facts}))
        if self._streams.lost:
            raise DsparseError(
                f"Standard output cannot be written ({self._streams.lost}); files that were asked for are "
                "complete, what was to be printed is lost."
            )

    def interrupted(self, how: str) -> None:
        """End by a signal; `how` is a word for it."""
        self.fail(f"{how}." if self._kept else f"{how}; no unfinished file was left behind.")

    def fail(self, sentence: str) -> None:
        """End with failure; `sentence` is the reason."""
        if self._kept:
            sentence += " What was computed is kept: the same command with --resume goes on from it."
        self.complain(sentence)
        if self._json_line:
            facts = {"command": self._command, "ok": False, "error": sentence, **self.facts}
            self._streams.out(_line(facts))

    def _print_progress(self, line: str, share: float, now: float) -> None:
        parts = int(share * self.LINE_SHARES + 1e-6)
        further = parts > self._printed_parts or share < self._printed_share  # of the next image
        if now - self._printed >= (self.LINE if further else self.LINE_AT_LEAST):
            self._printed, self._printed_parts, self._printed_share = now, parts, share
            self._streams.err(_printable(line) + "\n")

    def _clear(self) -> None:
        if self._width:
            self._streams.err("\r" + " " * self._width + "\r")
            self._width = 0


def failure_line(command: str | None, sentence: str) -> str:
    """The closing JSON of a command that failed before it began."""
    return _line({"command": command, "ok": False, "error": sentence, "outputs": []})


def _line(facts: dict[str, Any]) -> str:
    line = json.dumps(facts, ensure_ascii=False, allow_nan=False)
    # File names that are no text, and control characters, are escaped.
    return line if line.isprintable() else json.dumps(facts, allow_nan=False)


def _printable(line: str) -> str:
    """A line without what would steer a terminal: names in files may hold anything."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in line)
