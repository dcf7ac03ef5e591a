"""A project as a window keeps it: opened and saved from one thread beside the window's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from napari_dsparse.classifier.classes import ClassInfo
from napari_dsparse.classifier.trained import TrainedClassifier
from napari_dsparse.errors import DsparseError, ExportError, ImageError, LabelsError, ProjectError
from napari_dsparse.files.chunked import nothing_painted
from napari_dsparse.files.pixel_copy import copy_pixels
from napari_dsparse.files.project_description import ProjectImage
from napari_dsparse.files.project_folder import DESCRIPTION, IMAGES, copy_project, file_within
from napari_dsparse.images.identity import shows
from napari_dsparse.live.kept_images import (
    KeptImage,
    Located,
    OpenedImage,
    OpenedProject,
    OpenPixels,
    model_of,
    read_from_layers,
    read_opened,
)
from napari_dsparse.model import Model
from napari_dsparse.project import Project


@dataclass(frozen=True, slots=True, eq=False)
class ClosedProject:
    """A project as a keeper had it open last, for another one that goes on with it.

    Parameters
    ----------
    folder : Path
    images : tuple of ProjectImage
        Those that were in it.
    entries, written : mapping
        Number in the project, and strokes, of each image by its number in the window's list.
    """

    folder: Path
    images: tuple[ProjectImage, ...]
    entries: Mapping[int, int]
    written: Mapping[int, Any]


class ProjectKeeper:
    """Holds at most one project open, and writes into it what has changed.

    Every method belongs to one thread, but not to that of a window: they read and write files.
    """

    def __init__(self) -> None:
        self._folder: Path | None = None  # of the present project, also where it could not be read again
        self._project: Project | None = None
        self._next: Project | None = None  # read, while the window still shows the other
        self._next_model: TrainedClassifier | None = None
        self._entries: dict[int, int] = {}  # number in the project, by number in the window's list
        self._claimed: set[int] = set()  # numbers in the project that the window is about to list
        self._written: dict[int, Any] = {}  # labels in the project, by the same
        self._model: TrainedClassifier | None = None
        #: What `close` closed; None if nothing was open.
        self.closed: ClosedProject | None = None

    def read(
        self,
        folder: Path,
        image_folders: Sequence[Path] = (),
        layers: Sequence[OpenPixels] = (),
        located: Located = MappingProxyType({}),
    ) -> OpenedProject:
        """Open a project beside the present one, which stays until `switch`; the same one is closed first.

        Parameters
        ----------
        folder : Path
        image_folders : sequence of Path
            Where images are searched that are not where they were.
        layers : sequence of OpenPixels
            Images that are among them need not be opened anew.
        located : mapping, optional
            Files that the user says hold images, or channels of combined ones.

        Raises
        ------
        ProjectError
            If it is none, is damaged, or another program has it open. The present project stays then, even if
            it is the same one: the next `save` opens it again.
        """
        self._drop_next()
        if self._project is not None and self._project.folder == folder.absolute():
            self._project.close()
            self._project = None
        project = Project.open(folder, image_folders=image_folders)
        try:
            found = read_opened(project, layers, located)
            self._next, self._next_model = project, found.classifier
        finally:
            if self._next is not project:
                project.close()
        return found

    def find_open(self, layers: Sequence[OpenPixels]) -> list[OpenedImage]:
        """Images of the present project that are in no file, were not found so far, and are open by now.

        None is found a second time, unless `take` says that it was of no use.

        Parameters
        ----------
        layers : sequence of OpenPixels
        """
        if self._project is None:
            return []
        found = read_from_layers(self._project, (*self._entries.values(), *self._claimed), layers)
        self._claimed |= {each.entry for each in found}
        return found

    def take(self, entries: Mapping[int, int], labels: Mapping[int, Any], unused: Sequence[int] = ()) -> None:
        """Know further images of the present project.

        Parameters
        ----------
        entries, labels : mapping
            As of `switch`.
        unused : sequence of int
            Numbers in the project of images that were found, but not listed.
        """
        self._entries.update(entries)
        self._written.update(labels)
        self._claimed -= {*entries.values(), *unused}

    def drop(self, entry: int) -> None:
        """Take an image that was not found out of the present project, with its strokes; `save` writes that.

        Parameters
        ----------
        entry : int
            Its number in the project.
        """
        if self._project is not None:
            for image in [each for each in self._project.images if each.number == entry]:
                self._project.remove(image)

    def switch(self, entries: Mapping[int, int], labels: Mapping[int, Any]) -> None:
        """Close the present project, and go on with the one that was read.

        Parameters
        ----------
        entries, labels : mapping
            Number in the project, and strokes, of each image by its number in the window's list.
        """
        project, self._next = self._next, None
        self.close()
        self._project, self._folder = project, None if project is None else project.folder
        self._entries, self._written = dict(entries), dict(labels)
        self._model = self._next_model

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
        depth: str = "off",
        normalise: str = "together",
    ) -> Path:
        """Write what has changed into the project in `folder`, which is made if there is none; its path.

        Images that could not be found when the project was opened stay in it. Of an image that fails, the
        others are saved before it is said. Pixels that are copied are written after everything else is saved.

        Raises
        ------
        ProjectError
            If the folder cannot be a project, or the present one is damaged or no longer ours.
        ImageError, LabelsError, ExportError
            If an image cannot be read, or something cannot be written.
        """
        project, failures = self._project_in(folder), list[DsparseError]()
        kept = {image.number for image in images}
        for number in [each for each in self._entries if each not in kept]:
            entry = self._entry(project, number)
            del self._entries[number]
            self._written.pop(number, None)
            if entry.number not in self._entries.values():
                project.remove(entry)
        for image in images:
            try:
                self._write(project, image)
            except (ImageError, LabelsError, ExportError) as error:
                failures.append(error)
        if classes and tuple(classes) != project.classes:
            project.classes = tuple(classes)
        if depth != project.depth:
            project.depth = depth
        if normalise != project.normalise:
            project.normalise = normalise
        if classifier is not None and classifier is not self._model:
            project.model, self._model = Model(classifier), classifier
        project.save()
        if failures:
            raise failures[0]
        for image in images:
            if image.copied and not self._entry(project, image.number).has_file:
                self._copy(project, image)
                project.save()
        return project.folder

    def holds(self, number: int) -> bool:
        """True if the image of that number in the window's list is in the present project."""
        return number in self._entries

    @property
    def folder(self) -> Path | None:
        """Folder of the present project."""
        return self._folder

    @property
    def images(self) -> tuple[ProjectImage, ...]:
        """Those of the present project, also the ones that were not found."""
        return () if self._project is None else self._project.images

    def close(self) -> None:
        """Let other programs open the project."""
        self._drop_next()
        self.closed = None
        if self._project is not None:
            self.closed = ClosedProject(
                self._project.folder, self._project.images, dict(self._entries), dict(self._written)
            )
            self._project.close()
        self._project, self._folder, self._model = None, None, None
        self._entries, self._written, self._claimed = {}, {}, set()

    def copy_to(self, folder: Path) -> Path:
        """Go on with a copy of the present project, which stays as it was saved last; the copy's path.

        Raises
        ------
        ProjectError, ExportError
            As `copy_project`.
        """
        if self._project is None:
            raise ProjectError("There is no project open to be copied; save the list first.")
        copy_project(self._project.folder, folder.absolute())
        copy = Project.open(folder)
        self._project.close()
        self._project, self._folder = copy, copy.folder
        return copy.folder

    def resume(self, closed: ClosedProject) -> bool:
        """Go on with a project that another keeper closed; False if its images or strokes are others now.

        Raises
        ------
        ProjectError
            If it is damaged or gone, or another program has it open.
        """
        project = Project.open(closed.folder)
        if project.images != closed.images:
            project.close()
            return False
        self.close()
        self._project, self._folder = project, project.folder
        self._entries, self._written = dict(closed.entries), dict(closed.written)
        self._model = self._kept_model()
        return True

    @property
    def classifier(self) -> TrainedClassifier | None:
        """The present project's model as it was saved or read last."""
        return self._model

    def _kept_model(self) -> TrainedClassifier | None:
        return None if self._project is None else model_of(self._project)[0]

    def _project_in(self, folder: Path) -> Project:
        folder = folder.absolute()
        if folder == self._folder:
            return self._project or self._open_again(folder)
        if (folder / DESCRIPTION).exists():
            raise ProjectError(f"{folder.name} is a project already; open it, or choose another name.")
        project = Project.create(folder)
        if self._project is not None:
            self._project.close()
        self._model, self._entries, self._written, self._claimed = None, {}, {}, set()
        self._project, self._folder = project, project.folder
        return project

    def _open_again(self, folder: Path) -> Project:
        """The present project, which was closed to be read anew."""
        if self._next is not None and self._next.folder == folder:
            return self._next
        self._project = Project.open(folder)
        numbers = {each.number for each in self._project.images}
        self._entries = {ours: number for ours, number in self._entries.items() if number in numbers}
        self._written.clear()
        return self._project

    def _write(self, project: Project, image: KeptImage) -> None:
        if image.number not in self._entries:
            self._entries[image.number] = _added(project, image).number
        elif image.number not in self._written or self._written[image.number] is not image.labels:
            entry = self._entry(project, image.number)
            labels = nothing_painted(entry.shape) if image.labels is None else image.labels
            project.set_strokes(entry, labels)
        self._written[image.number] = image.labels

    def _copy(self, project: Project, image: KeptImage) -> None:
        """Write the pixels into the project, and let it find them there."""
        path = copy_pixels(file_within(project.folder, IMAGES), image.source, image.scale, image.units)
        try:
            project.locate(self._entry(project, image.number), path)
        except ImageError:
            path.unlink()  # they changed meanwhile: it would be a copy of another image
            raise

    def _entry(self, project: Project, number: int) -> ProjectImage:
        return next(each for each in project.images if each.number == self._entries[number])


def _added(project: Project, image: KeptImage) -> ProjectImage:
    """The image's new entry: by its files or, where another program read these otherwise, by its pixels."""
    if image.channel_files:
        paths, series = zip(*image.channel_files, strict=True)
        try:
            entry = project.add(paths, image.labels, series=series)
            if shows(image.source.data, image.source.channel_axis, entry.fingerprint):
                return entry
            project.remove(entry)
        except (ImageError, LabelsError, ProjectError):
            if image.from_file:
                raise
    if image.path is not None:
        axis = image.source.channel_axis
        try:
            return project.add(image.path, image.labels, channel_axis=axis, series=image.series)
        except (ImageError, LabelsError, ProjectError):
            if image.from_file:
                raise
    return project.add(image.source, image.labels)
