"""A project as scripts use it: images, the strokes on them, classes and a model, kept in one folder."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any, Self, Unpack

import numpy as np
from numpy.typing import NDArray

from napari_dsparse import checks
from napari_dsparse.classifier import DEPTHS, ClassInfo
from napari_dsparse.classifier.classes import more_classes, named_classes
from napari_dsparse.errors import ImageError, LabelsError, ProjectError
from napari_dsparse.files.atomic import place_by_content
from napari_dsparse.files.lock import FolderLock
from napari_dsparse.files.model import read_classifier, save_classifier
from napari_dsparse.files.project_description import ProjectDescription, ProjectImage
from napari_dsparse.files.project_entries import describe_added
from napari_dsparse.files.project_folder import (
    create_project,
    file_within,
    read_project,
    remove_unnamed,
    write_project,
)
from napari_dsparse.files.project_images import FoundImage, find_image, locate_image
from napari_dsparse.files.project_strokes import StoredStrokes, open_strokes, write_strokes
from napari_dsparse.images import NORMALISATIONS, ImageSource
from napari_dsparse.model import ChannelAxis, Model, PredictionOptions, TrainingOptions, train

Named = ProjectImage | str | PathLike[str]
Folders = str | PathLike[str] | Iterable[str | PathLike[str]]


class Project:
    """Images, the strokes painted on them, classes and a trained model, in a folder ``NAME.dsparse``.

    Made by `Project.create` and `Project.open`; a ``with`` block closes it. One program at a time has a
    project open. What is changed is there for the next one that opens it once `save` has returned: whatever
    happens before, even a crash, leaves the project as it was.

    An image is given to the methods below as an entry of `images`, or by the name of its file where no other
    has the same. Images stay where they are: the project keeps where that is, and a fingerprint of each, so
    that strokes never land on another image.
    """

    def __init__(self, folder: Path, lock: FolderLock | None, search: Sequence[Path]) -> None:
        self.folder = folder
        self._lock, self._search = lock, tuple(search)
        self._saved = self._now = read_project(folder)
        self._highest = max((each.number for each in self.images), default=0)  # no number is given twice
        self._model: Model | None = None

    @classmethod
    def create(cls, folder: str | PathLike[str], *, classes: Sequence[str | ClassInfo] | None = None) -> Self:
        """Make a new project.

        Parameters
        ----------
        folder : path-like
            ``NAME.dsparse``, which must not exist yet.
        classes : sequence of str or ClassInfo, optional
            Names of classes 1..K; default names of those that are painted otherwise.

        Raises
        ------
        ProjectError, ExportError
            If the folder exists, has another suffix, or cannot be made.
        """
        path = checks.path("folder", folder).absolute()
        create_project(
            path, ProjectDescription(path.stem, () if classes is None else named_classes(classes, new=True))
        )
        return cls(path, FolderLock(path), ())

    @classmethod
    def open(
        cls, folder: str | PathLike[str], *, image_folders: Folders = (), read_only: bool = False
    ) -> Self:
        """Open a project.

        Parameters
        ----------
        folder : path-like
        image_folders : path-like, or iterable of path-like
            Folders beneath which images are searched by name that are not where they were. The folder that
            the project is in is searched after them.
        read_only : bool
            True to leave it as it is: another program may have it open.

        Raises
        ------
        ProjectError
            If it is none, is damaged, comes from a newer version, or another program has it open.
        """
        path = checks.path("folder", folder).absolute()
        search = [each.absolute() for each in checks.paths("image_folders", image_folders)]
        for each in search:
            if not each.is_dir():
                raise ProjectError(f"There is no folder {str(each)!r} to search for images; check its name.")
        read_project(path)  # before a lock is put into what may be no project
        lock = None if checks.truth("read_only", read_only) else FolderLock(path)
        try:
            return cls(path, lock, search)
        except ProjectError:
            if lock is not None:
                lock.release()
            raise

    @property
    def name(self) -> str:
        """Name of the project."""
        return self._now.name

    @property
    def images(self) -> tuple[ProjectImage, ...]:
        """Its images, in the order they were added."""
        return self._now.images

    @property
    def classes(self) -> tuple[ClassInfo, ...]:
        """Names and colours; class i + 1 is entry i. Painting a further class adds it by its default name."""
        return self._now.classes

    @classes.setter
    def classes(self, classes: Sequence[str | ClassInfo]) -> None:
        self._change(classes=named_classes(classes))

    @property
    def depth(self) -> str:
        """The depth its model is trained with, as in `train`: "off", or "neighbours"."""
        return self._now.depth

    @depth.setter
    def depth(self, depth: str) -> None:
        self._change(depth=checks.one_of("depth", depth, DEPTHS))

    @property
    def normalise(self) -> str:
        """Normalisation that its model is trained with, as in `train`: "together", or "image"."""
        return self._now.normalise

    @normalise.setter
    def normalise(self, normalise: str) -> None:
        self._change(normalise=checks.one_of("normalise", normalise, NORMALISATIONS))

    def add(
        self,
        image: str | PathLike[str] | Sequence[str | PathLike[str]] | ImageSource,
        labels: Any = None,
        *,
        channel_axis: ChannelAxis = "auto",
        series: int | Sequence[int | None] | None = None,
    ) -> ProjectImage:
        """Add an image, which stays where it is.

        Parameters
        ----------
        image : path-like, sequence of path-like, or ImageSource
            A file that can be read as an image; several, each of which holds one channel of it, in that
            order; or pixels in no file, which `locate` may find in one.
        labels : integer array, optional
            Strokes on it: 0 = not painted, 1..K = classes, of the image's shape without the channel axis.
        channel_axis : int, None or "auto"
            Axis that holds the channels; by default what the labels, or else the file, say, and of several
            files a new first one.
        series : int, or sequence of int, optional
            Which image of a file with several; the largest by default. One for each of several files.

        Returns
        -------
        ProjectImage
            Its entry, to name it by.

        Raises
        ------
        ImageError, LabelsError
            If it cannot be read, or the labels do not fit it.
        ProjectError
            If it is in the project already.
        """
        self._check_open()
        what = image if isinstance(image, ImageSource) else checks.paths("image", image)
        chosen = (
            [] if isinstance(what, ImageSource) else checks.whole_number_each("series", series, len(what))
        )
        entry = describe_added(
            what, self.folder, self._highest + 1, chosen, labels=labels, channel_axis=channel_axis
        )
        if entry.has_file and entry.places in [each.places for each in self.images]:
            raise ProjectError(f"Image {str(image)!r} is in the project already; give its strokes there.")
        classes = self.classes
        if labels is not None:
            entry, classes = self._with_strokes(entry, labels)
        self._change(images=(*self.images, entry), classes=classes)
        self._highest = entry.number
        return entry

    def remove(self, image: Named) -> None:
        """Take an image and its strokes out of the project; the file of the image stays where it is."""
        number = self._entry(image).number
        self._change(images=tuple(each for each in self.images if each.number != number))

    def locate(self, image: Named, path: str | PathLike[str], *, channel: int | None = None) -> ProjectImage:
        """Say where an image is now; of one that is combined of several files, the file of one `channel`.

        Raises
        ------
        ImageError
            If the file cannot be read or does not hold that image.
        """
        moved = locate_image(self._entry(image), checks.path("path", path), self.folder, channel)
        self._now = self._now.with_image(moved)
        return moved

    def find(self, image: Named) -> FoundImage:
        """Open an image where it was, or where it was moved to: its `path`, and its pixels as `source`.

        Raises
        ------
        ImageError
            If it is not found, or another image is in its place.
        """
        return self._placed(find_image(self._entry(image), self.folder, self._search))

    def strokes(self, image: Named) -> NDArray[np.unsignedinteger]:
        """Strokes on an image, a new array (..., Y, X): 0 = not painted, 1..K = classes.

        Raises
        ------
        ProjectError
            If their file is missing or damaged.
        """
        entry = self._entry(image)
        if entry.strokes is None:
            return np.zeros(entry.shape, np.uint8)
        return open_strokes(self.folder, entry.strokes, entry.shape).load()

    def set_strokes(self, image: Named, labels: Any) -> ProjectImage:
        """Replace the strokes on an image.

        Parameters
        ----------
        image
        labels : integer array
            0 = not painted, 1..K = classes; the image's shape without the channel axis. Numpy, dask or zarr.

        Returns
        -------
        ProjectImage
            The image's new entry.

        Raises
        ------
        LabelsError
            If they are not integers from 0 to 1000, or have another shape.
        ExportError
            If they cannot be written.
        """
        self._check_open()
        entry, classes = self._with_strokes(self._entry(image), labels)
        self._now = self._now.with_image(entry)
        self._change(classes=classes)
        return entry

    def painted(self) -> tuple[list[ImageSource], list[StoredStrokes]]:
        """Images with strokes, and these strokes, as `train` takes them; neither is loaded into memory.

        Raises
        ------
        LabelsError
            If nothing is painted.
        ImageError, ProjectError
            If an image is not found, or its strokes are missing or damaged.
        """
        painted = [image for image in self.images if image.strokes is not None]
        if not painted:
            raise LabelsError(f"Project {str(self.folder)!r} has no strokes; give some to set_strokes.")
        strokes = [open_strokes(self.folder, str(image.strokes), image.shape) for image in painted]
        return [self.find(image).source for image in painted], strokes

    @property
    def model(self) -> Model | None:
        """The model that was trained last, or set; None at first."""
        if self._model is None and self._now.model is not None:
            self._model = Model(read_classifier(file_within(self.folder, self._now.model)))
        return self._model

    @model.setter
    def model(self, model: Model | None) -> None:
        self._check_open()
        name = None
        if model is not None:
            name = place_by_content(
                self.folder, lambda path: save_classifier(model.classifier, path), "model-", ".safetensors"
            )
        self._change(model=name)
        self._model = model

    def train(self, **options: Unpack[TrainingOptions]) -> Model:
        """Train a model on all images with strokes, and keep it as the project's.

        It is the model that `train` makes of these images and labels, in this order. Images without strokes
        have no part in it. Options are those of `train`; a depth or a normalisation that is given is kept,
        and is the project's own from then on.

        Raises
        ------
        LabelsError, ImageError, DsparseError
            As `train`, or `painted`.
        """
        self._check_open()
        sources, labels = self.painted()
        chosen: TrainingOptions = {"depth": self.depth, "normalise": self.normalise, **options}
        self.model = train(sources, labels, classes=self.classes, **chosen)
        self.depth, self.normalise = chosen["depth"], chosen["normalise"]
        return self.model

    def predict(self, image: Named, **options: Unpack[PredictionOptions]) -> NDArray[np.unsignedinteger]:
        """Most probable class of every pixel of one of its images; options as in `Model.predict`.

        Raises
        ------
        ProjectError
            If there is no model yet.
        ImageError
            If the model looks at neighbouring planes, and those of the image do not lie in depth.
        """
        if self.model is None:
            raise ProjectError(f"Project {str(self.folder)!r} has no model yet; train it.")
        source = self.find(image).source
        if self.model.classifier.spec.neighbours and source.depth_problem is not None:
            raise ImageError(f"This model looks at neighbouring planes. {source.depth_problem}")
        chosen: PredictionOptions = {"channel_axis": source.channel_axis, **options}
        return self.model.predict(source.data, **chosen)

    def save(self) -> None:
        """Keep all changes.

        Raises
        ------
        ProjectError, ExportError
            If the project is not open any more, or cannot be written: it stays as it was then.
        """
        self._check_open()
        write_project(self.folder, self._now)
        self._saved = self._now

    def close(self) -> None:
        """Let other programs open the project; what was not saved is lost."""
        if self._lock is None or not self._lock.held:
            return
        remove_unnamed(self.folder, self._saved.files)
        self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        names = ", ".join(info.name for info in self.classes) or "none"
        return f"Project({str(self.folder)!r}, {len(self.images)} images, classes: {names})"

    def _check_open(self) -> None:
        if self._lock is None:
            raise ProjectError(
                f"Project {str(self.folder)!r} was opened to be read only; open it to change it."
            )
        self._lock.check()

    def _change(self, **fields: Any) -> None:
        self._check_open()
        self._now = replace(self._now, **fields)

    def _with_strokes(self, image: ProjectImage, labels: Any) -> tuple[ProjectImage, tuple[ClassInfo, ...]]:
        """The image with strokes, which are written, and the classes with those that are new in them."""
        name, largest = write_strokes(self.folder, labels, image.shape, image.name)
        return replace(image, strokes=name), more_classes(self.classes, largest)

    def _placed(self, found: FoundImage) -> FoundImage:
        """Remember, for the next that opens the project, where an image is."""
        self._now = self._now.with_image(found.image)
        return found

    def _entry(self, image: Named) -> ProjectImage:
        """The image that is meant, as it is now."""
        return self._now.entry(
            image if isinstance(image, ProjectImage) else os.fspath(checks.path("image", image))
        )
