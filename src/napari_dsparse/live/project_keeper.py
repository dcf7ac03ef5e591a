"""A project as a window keeps it: opened and saved from one thread beside the window's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_dsparse.classifier.classes import ClassInfo
from napari_dsparse.classifier.trained import TrainedClassifier
from napari_dsparse.errors import ImageError, ProjectError
from napari_dsparse.files.project_folder import DESCRIPTION
from napari_dsparse.images.reading import ImageFile, read_image
from napari_dsparse.images.source import ImageSource
from napari_dsparse.model import Model
from napari_dsparse.project import Project
from napari_dsparse.training.strokes import find_strokes


@dataclass(frozen=True, slots=True, eq=False)
class KeptImage:
    """An image as it is to be saved.

    Parameters
    ----------
    number : int
        Of the image in the window's list.
    name : str
    path : Path or None
        Its file.
    series : int or None
        Which image of the file; None for the usual one.
    channel_axis : int or None
    labels : array of int, shape (..., Y, X), or None
        Strokes; never written.
    """

    number: int
    name: str
    path: Path | None
    series: int | None
    channel_axis: int | None
    labels: Any


@dataclass(frozen=True, slots=True, eq=False)
class OpenedImage:
    """An image of a project that was opened.

    Parameters
    ----------
    entry : int
        Its number in the project.
    path : Path
    source : ImageSource
    file : ImageFile
        The same with its scale.
    labels : ndarray of int or None
        Strokes; None where nothing is painted.
    strokes, pixels : int
        Amount of paint.
    """

    entry: int
    path: Path
    source: ImageSource
    file: ImageFile
    labels: npt.NDArray[Any] | None
    strokes: int
    pixels: int


@dataclass(frozen=True, slots=True, eq=False)
class OpenedProject:
    """A project that was opened.

    Parameters
    ----------
    folder : Path
    classes : tuple of ClassInfo
    images : tuple of OpenedImage
        Those that were found.
    missing : tuple of str
        A sentence about each image that was not; it stays in the project.
    """

    folder: Path
    classes: tuple[ClassInfo, ...]
    images: tuple[OpenedImage, ...]
    missing: tuple[str, ...]


class ProjectKeeper:
    """Holds at most one project open, and writes into it what has changed.

    Every method belongs to one thread, but not to that of a window: they read and write files.
    """

    def __init__(self) -> None:
        self._project: Project | None = None
        self._next: Project | None = None  # read, while the window still shows the other
        self._entries: dict[int, int] = {}  # number in the project, by number in the window's list
        self._written: dict[int, Any] = {}  # labels in the project, by the same
        self._model: TrainedClassifier | None = None

    def read(self, folder: Path, image_folders: Sequence[Path] = ()) -> OpenedProject:
        """Open a project beside the present one, which stays until `switch`; the same one is closed first.

        Parameters
        ----------
        folder : Path
        image_folders : sequence of Path
            Where images are searched that are not where they were.

        Raises
        ------
        ProjectError
            If it is none, is damaged, or another program has it open.
        """
        self._drop_next()
        if self._project is not None and self._project.folder == folder.absolute():
            self.close()
        project = Project.open(folder, image_folders=image_folders)
        try:
            found = _read(project)
            self._next = project
        finally:
            if self._next is not project:
                project.close()
        return found

    def switch(self, entries: Mapping[int, int], labels: Mapping[int, Any]) -> None:
        """Close the present project, and go on with the one that was read.

        Parameters
        ----------
        entries, labels : mapping
            Number in the project, and strokes, of each image by its number in the window's list.
        """
        project, self._next = self._next, None
        self.close()
        self._project = project
        self._entries, self._written = dict(entries), dict(labels)

    def _drop_next(self) -> None:
        if self._next is not None:
            self._next.close()
            self._next = None

    def save(
        self,
        folder: Path,
        images: Sequence[KeptImage],
        classes: Sequence[ClassInfo],
        classifier: TrainedClassifier | None,
    ) -> Path:
        """Write what has changed into the project in `folder`, which is made if there is none; its path.

        Images that could not be found when the project was opened stay in it. Of images without a file the
        others are saved before it is said.

        Raises
        ------
        ProjectError
            If an image has no file, or the folder cannot be a project.
        ImageError, LabelsError, ExportError
            If an image cannot be read, or something cannot be written: the project stays as it was.
        """
        homeless = next((image.name for image in images if image.path is None), None)
        images = [image for image in images if image.path is not None]
        if homeless is not None and not images:
            raise _no_file(homeless)
        project = self._project_in(folder)
        kept = {image.number for image in images}
        for number in [each for each in self._entries if each not in kept]:
            project.remove(self._entry(project, number))
            del self._entries[number]
            self._written.pop(number, None)
        for image in images:
            self._write(project, image)
        if classes and tuple(classes) != project.classes:
            project.classes = tuple(classes)
        if classifier is not None and classifier is not self._model:
            project.model, self._model = Model(classifier), classifier
        project.save()
        if homeless is not None:
            raise _no_file(homeless)
        return project.folder

    def close(self) -> None:
        """Let other programs open the project."""
        self._drop_next()
        if self._project is not None:
            self._project.close()
        self._project, self._model = None, None
        self._entries, self._written = {}, {}

    def _project_in(self, folder: Path) -> Project:
        if self._project is not None and self._project.folder == folder.absolute():
            return self._project
        if (folder / DESCRIPTION).exists():
            raise ProjectError(f"{folder.name} is a project already; open it, or choose another name.")
        project = Project.create(folder)
        if self._project is not None:
            self._project.close()
        self._model, self._entries, self._written = None, {}, {}
        self._project = project
        return project

    def _write(self, project: Project, image: KeptImage) -> None:
        if image.number not in self._entries:
            assert image.path is not None
            entry = project.add(
                image.path, image.labels, channel_axis=image.channel_axis, series=image.series
            )
            self._entries[image.number] = entry.number
        elif self._written.get(image.number) is not image.labels:
            entry = self._entry(project, image.number)
            project.set_strokes(
                entry, np.zeros(entry.shape, np.uint8) if image.labels is None else image.labels
            )
        self._written[image.number] = image.labels

    def _entry(self, project: Project, number: int) -> Any:
        return next(each for each in project.images if each.number == self._entries[number])


def _no_file(name: str) -> ProjectError:
    return ProjectError(
        f"Image {name!r} has no file that a project could name; save its layer with File > Save Selected "
        "Layers, open that file, and add it instead."
    )


def _read(project: Project) -> OpenedProject:
    images: list[OpenedImage] = []
    missing: list[str] = []
    for entry in project.images:
        try:
            found = project.find(entry)
            file = read_image(found.path, series=entry.fingerprint.series)
        except ImageError as error:
            missing.append(str(error))
            continue
        labels = project.strokes(entry) if entry.strokes is not None else None
        strokes = () if labels is None else find_strokes(labels)
        if labels is not None:
            labels.flags.writeable = False
        pixels = sum(len(each.yx) for each in strokes)
        images.append(OpenedImage(entry.number, found.path, found.source, file, labels, len(strokes), pixels))
    return OpenedProject(project.folder, project.classes, tuple(images), tuple(missing))
