"""A journal of the results that a batch has finished, so that an interrupted one goes on behind them."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from napari_dsparse.files.atomic import file_digest
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
        #: True if this run has added a result.
        self.grown = False
        if resume:
            self._read()

    def holds(self, paths: Sequence[Path]) -> bool:
        """True if results of these very names and no others are there as they were written."""
        entry = self._known.get(paths[0].name)
        return entry is not None and entry["digests"] == {path.name: _digest(path) for path in paths}

    def facts(self, path: Path, key: Mapping[str, str]) -> dict[str, Any] | None:
        """Facts on the result whose first path this is; None if it was made of anything but `key`."""
        entry = self._known.get(path.name)
        return None if entry is None or entry["key"] != dict(key) else dict(entry["facts"])

    def add(self, paths: Sequence[Path], key: Mapping[str, str], facts: Mapping[str, Any]) -> None:
        """Record a result that is whole under its final names.

        Raises
        ------
        OSError
            If the system refuses to write.
        """
        digests = {path.name: _digest(path) for path in paths}
        self._folder.mkdir(exist_ok=True)
        with self._journal.open("a", encoding="utf-8") as journal:
            journal.write(json.dumps({"key": dict(key), "digests": digests, "facts": dict(facts)}) + "\n")
        self.grown = True

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
