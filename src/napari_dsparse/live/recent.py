"""Projects that were open last, kept in the user's folder; a list that cannot be read is an empty one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from napari_dsparse.errors import ExportError
from napari_dsparse.files.atomic import complete_or_absent
from napari_dsparse.files.project_folder import DESCRIPTION
from napari_dsparse.machine.user_folder import user_folder

#: Projects that are remembered.
MOST_RECENT = 10
#: Bytes the list may have; a real one has some hundred.
_LONGEST = 2**20


@dataclass(frozen=True, slots=True)
class RecentProject:
    """A project that was open.

    Parameters
    ----------
    folder : Path
    missing : bool
        True if there is none any more, or its drive is not there now.
    """

    folder: Path
    missing: bool


def recent_projects() -> tuple[RecentProject, ...]:
    """Projects that were open, the last one first."""
    return tuple(RecentProject(folder, not (folder / DESCRIPTION).exists()) for folder in _read())


def remember_project(folder: Path) -> tuple[RecentProject, ...]:
    """Put a project first in the list; the list after that.

    Raises
    ------
    ExportError
        If the list cannot be written.
    """
    _write([folder, *(each for each in _read() if each != folder)])
    return recent_projects()


def forget_project(folder: Path) -> tuple[RecentProject, ...]:
    """Take a project off the list, and leave it where it is; the list after that.

    Raises
    ------
    ExportError
        If the list cannot be written.
    """
    _write([each for each in _read() if each != folder])
    return recent_projects()


def _path() -> Path:
    return user_folder() / "recent.json"


def _read() -> list[Path]:
    try:
        with _path().open("rb") as file:
            found = json.loads(file.read(_LONGEST))
    except (OSError, ValueError, RecursionError):
        return []
    named = found if isinstance(found, list) else []
    return [Path(each) for each in named if isinstance(each, str) and each and "\0" not in each][:MOST_RECENT]


def _write(folders: Sequence[Path]) -> None:
    path = _path()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ExportError(
            f"The list of recent projects cannot be kept in {str(path.parent)!r} "
            f"({error.strerror or error}); make that folder writable."
        ) from error
    with complete_or_absent(path, overwrite=True) as partial:
        partial.write_text(json.dumps([str(each) for each in folders[:MOST_RECENT]]), encoding="utf-8")
