"""A project's folder: after a crash at any moment it holds the old or the new state, whole.

Files of strokes and models have names that tell their content, so a new state never touches a file of the old
one. The description, which names them, is replaced last and in one step; files it does not name are removed
after that.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Set
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from napari_dsparse.errors import ExportError, ProjectError
from napari_dsparse.files.atomic import complete_or_absent
from napari_dsparse.files.project_description import (
    MODEL_NAME,
    STROKES,
    STROKES_NAME,
    ProjectDescription,
    ProjectImage,
    describe_project,
    read_project_description,
)
from napari_dsparse.files.unfinished import PARTIAL, new_folder, remove

#: Name of the description in the folder.
DESCRIPTION = "project.json"

#: Folder within it of images that are in no file of their own.
IMAGES = "images"

#: What the name of a project's folder ends in.
SUFFIX = ".dsparse"

#: Bytes a description may have; real ones have some hundred per image.
_LONGEST = 64 * 2**20


def create_project(folder: Path, project: ProjectDescription) -> None:
    """Make a project's folder, with everything in it or not at all.

    Raises
    ------
    ProjectError
        If its name does not end in ``.dsparse``.
    ExportError
        If something of that name exists, but for an empty folder, or it cannot be written.
    """
    _check_new(folder)
    with complete_or_absent(folder) as partial:
        partial.mkdir()
        (partial / STROKES).mkdir()
        (partial / DESCRIPTION).write_bytes(describe_project(project))


def _check_new(folder: Path) -> None:
    if folder.suffix != SUFFIX or folder.name == SUFFIX:
        raise ProjectError(f"A project is a folder NAME{SUFFIX}, not {folder.name!r}; choose such a name.")
    with suppress(OSError):
        folder.rmdir()  # an empty one only: a program that was killed may have left it


def copy_project(folder: Path, target: Path) -> None:
    """Make a copy of a project, with all its strokes, its model and the pixels it holds, or none at all.

    Images stay where they are: their paths are those of the same files, relative to the copy.

    Raises
    ------
    ProjectError
        If it is none or damaged, or the name of the copy does not end in ``.dsparse``.
    ExportError
        If something has that name, or it cannot be written.
    """
    _check_new(target)
    project = read_project(folder)
    images = tuple(_moved(each, folder, target) for each in project.images)
    with complete_or_absent(target) as partial:
        partial.mkdir()
        (partial / STROKES).mkdir()
        for name in sorted(project.files):
            shutil.copyfile(file_within(folder, name), partial / name)
        if (folder / IMAGES).is_dir():
            shutil.copytree(file_within(folder, IMAGES), partial / IMAGES)
        description = replace(project, name=target.stem, images=images)
        (partial / DESCRIPTION).write_bytes(describe_project(description))


def _moved(image: ProjectImage, folder: Path, target: Path) -> ProjectImage:
    """The entry of the same file in a copy of its project."""
    channels = tuple(_moved(each, folder, target) for each in image.channels)
    if image.path is None:
        return replace(image, channels=channels)
    if image.path.startswith(f"{IMAGES}/"):  # the file is copied, too
        return replace(image, channels=channels, absolute_path=str(target.absolute() / image.path))
    there = os.path.normpath(folder.absolute() / image.path)
    try:
        relative = Path(os.path.relpath(there, target.absolute())).as_posix()
    except ValueError:  # on another drive
        return replace(image, channels=channels, path=None, absolute_path=there)
    return replace(image, channels=channels, path=relative)


def read_project(folder: Path) -> ProjectDescription:
    """The description of the project in a folder.

    Raises
    ------
    ProjectError
        If there is none, or it is damaged or written by a newer version.
    """
    path = folder / DESCRIPTION
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "does not exist"
        raise ProjectError(f"Project {str(folder)!r} {what}; give a folder NAME{SUFFIX}.")
    if not path.exists():
        raise ProjectError(
            f"Folder {str(folder)!r} is no project, it holds no {DESCRIPTION}; give a folder NAME{SUFFIX}."
        )
    if not path.is_file():  # a pipe would be waited for
        raise ProjectError(
            f"Project file {str(path)!r} cannot be read (it is no file); give it back, or restore it from a "
            "copy."
        )
    try:
        with path.open("rb") as file:
            content = file.read(_LONGEST + 1)
        if len(content) > _LONGEST:
            raise ProjectError(f"Project file {str(path)!r} is larger than any project's; give another one.")
        return read_project_description(content.decode(), str(path))
    except UnicodeDecodeError as error:
        raise ProjectError(
            f"Project file {str(path)!r} is no text in UTF-8; it is damaged, restore it from a copy."
        ) from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise ProjectError(
            f"Project file {str(path)!r} cannot be read ({reason}); give it back, or restore it from a copy."
        ) from error


def write_project(folder: Path, project: ProjectDescription) -> None:
    """Replace the description, once all files that it names are there; then remove those that none names.

    Raises
    ------
    ProjectError
        If a file is missing.
    ExportError
        If the description cannot be written.
    """
    missing = sorted(name for name in project.files if not (folder / name).is_file())
    if missing:
        raise ProjectError(
            f"Project {str(folder)!r} lacks its file {missing[0]!r}; restore it from a copy, or give the "
            "strokes or the model anew."
        )
    with complete_or_absent(folder / DESCRIPTION, overwrite=True) as partial:
        partial.write_bytes(describe_project(project))
    remove_unnamed(folder, project.files)


def remove_project(folder: Path) -> None:
    """Remove a project, with everything that is in its folder, for good.

    Raises
    ------
    ExportError
        If the system refuses that.
    """
    hidden = new_folder(folder, PARTIAL)
    try:
        hidden.mkdir()
        folder.rename(hidden / folder.name)  # in one step: no half of it is left under its name
    except OSError as error:
        raise ExportError(
            f"{str(folder)!r} could not be removed ({error.strerror or error}); remove it yourself."
        ) from error
    finally:
        remove(hidden)


def file_within(folder: Path, name: str) -> Path:
    """Path of a project's file or folder.

    Raises
    ------
    ProjectError
        If it is a link to somewhere else.
    """
    path = folder / name
    if not _is_within(folder, path):
        raise ProjectError(
            f"File {name!r} of project {str(folder)!r} is a link out of the project, which is not followed; "
            "put the file itself there."
        )
    return path


def remove_unnamed(folder: Path, named: Set[str]) -> None:
    """Remove strokes and models that are not among those named; what cannot be removed stays."""
    for pattern, place in ((STROKES_NAME, f"{STROKES}/"), (MODEL_NAME, "")):
        home = folder / place
        if not _is_within(folder, home):
            continue
        for path in home.glob("*"):
            name = place + path.name
            if pattern.fullmatch(name) and name not in named:
                with suppress(OSError):
                    path.unlink()


def _is_within(folder: Path, path: Path) -> bool:
    return path.resolve().is_relative_to(folder.resolve())
