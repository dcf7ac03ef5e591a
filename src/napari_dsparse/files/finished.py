"""A journal of the results that a batch has finished, so that an interrupted one goes on behind them."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from napari_dsparse.files.atomic import file_digest, told_before_placing
from napari_dsparse.files.unfinished import RESUMABLE, remove


class Finished:
    """Results in one folder that are whole, with digests of their bytes: believed only while these agree.

    Parameters
    ----------
    folder : Path
        The results' folder; the journal lies in a hidden folder in it, until `clear`.
    resume : bool
        False to believe nothing of a former run.
    """

    def __init__(self, folder: Path, *, resume: bool) -> None:
        self._folder = folder / f"{RESUMABLE}-finished"
        self._journal = self._folder / "journal"
        self._known: dict[str, dict[str, Any]] = {}
        self._lock = threading.Lock()
        #: True if this run has recorded a result.
        self.grown = False
        if resume:
            self._read()

    def holds(self, paths: Sequence[Path]) -> bool:
        """True if results of these very names and no others are there as they were written."""
        entry = self._known.get(paths[0].name)
        return entry is not None and entry["digests"] == {path.name: _digest(path) for path in paths}

    def owns(self, paths: Sequence[Path]) -> bool:
        """True if results of these names are there, perhaps not all, and each as a former run wrote it."""
        entry = self._known.get(paths[0].name)
        there = [path for path in paths if os.path.lexists(path)]
        return entry is not None and bool(there) and all(_is_as_in(entry, path) for path in there)

    def facts(self, path: Path, key: Mapping[str, str]) -> dict[str, Any] | None:
        """Facts on the result whose first path this is; None if it was made of anything but `key`."""
        entry = self._known.get(path.name)
        return None if entry is None or entry["key"] != dict(key) else dict(entry["facts"])

    @contextmanager
    def writing(self, key: Mapping[str, str], facts: Mapping[str, Any]) -> Iterator[None]:
        """Within, in this thread, each file of one result is recorded just before it gets its final name.

        So a process that is killed at any moment leaves no file that the next one would not know.

        Raises
        ------
        OSError
            If the system refuses to write.
        """
        digests: dict[str, str | None] = {}
        known = self._known

        def record(partial: Path, final: Path) -> None:
            before = None if digests else known.get(final.name)
            if before is not None and before["key"] == dict(key):
                digests.update(before["digests"])  # of files that a former run wrote, perhaps still there
            digests[final.name] = _digest(partial)
            entry = {"key": dict(key), "digests": digests, "facts": dict(facts)}
            with self._lock:
                self._folder.mkdir(exist_ok=True)
                with self._journal.open("a", encoding="utf-8") as journal:
                    journal.write(json.dumps(entry) + "\n")
                self.grown = True

        with told_before_placing(record):
            yield

    def clear(self) -> None:
        """Remove the journal: nothing is left to go on with."""
        remove(self._folder)

    def _read(self) -> None:
        try:
            lines = self._journal.read_text(encoding="utf-8").split("\n")
        except (OSError, UnicodeDecodeError):
            return
        for line in lines:
            with contextlib.suppress(ValueError, TypeError, KeyError, StopIteration):  # cut off, or not ours
                entry = json.loads(line)
                entry["key"], dict(entry["facts"])
                self._known[next(iter(entry["digests"]))] = entry


def _is_as_in(entry: Mapping[str, Any], path: Path) -> bool:
    digest = entry["digests"].get(path.name)
    return digest is not None and digest == _digest(path)


def _digest(path: Path) -> str | None:
    """A digest of a file, or of all files below a folder with their names; None where there is nothing."""
    try:
        if not path.is_dir():
            return file_digest(path)
        digest = hashlib.blake2b(digest_size=16)
        for file in sorted(one for one in path.rglob("*") if one.is_file()):
            digest.update(f"{file.relative_to(path).as_posix()} {file_digest(file)}\n".encode())
        return digest.hexdigest()
    except OSError:
        return None
