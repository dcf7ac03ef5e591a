"""Images as a window and a project hand them to each other: to be saved, and as they were found again."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from napari_dsparse.classifier.classes import ClassInfo
from napari_dsparse.errors import ImageError
from napari_dsparse.files.chunked import is_large
from napari_dsparse.files.project_description import ProjectImage
from napari_dsparse.files.project_strokes import open_strokes
from napari_dsparse.images.identity import shows
from napari_dsparse.images.reading import ImageFile
from napari_dsparse.images.source import ImageSource
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
    source : ImageSource
        Its pixels, by which it is known where it is in no file.
    labels : array of int, shape (..., Y, X), or None
        Strokes; never written.
    from_file : bool
        The pixels were read from the file by us, not by another program.
    copied : bool
        If it is in no file, its pixels are written into the project.
    scale, units : tuple or None
        Size of a pixel, and its unit, along each axis of the labels, for that.
    channel_files : tuple of (Path, int or None)
        Path and series of each image that it is combined of, where all are known.
    """

    number: int
    name: str
    path: Path | None
    series: int | None
    source: ImageSource
    labels: Any
    from_file: bool = False
    copied: bool = False
    scale: tuple[float, ...] | None = None
    units: tuple[str, ...] | None = None
    channel_files: tuple[tuple[Path, int | None], ...] = ()

    @property
    def bytes(self) -> int:
        """Size of its pixels."""
        data = self.source.data
        return math.prod(int(n) for n in data.shape) * int(np.dtype(data.dtype).itemsize)


@dataclass(frozen=True, slots=True, eq=False)
class OpenedImage:
    """An image of a project that was opened.

    Parameters
    ----------
    entry : int
        Its number in the project.
    name : str
    path : Path or None
        Its file.
    source : ImageSource
    file : ImageFile or None
        The same with its scale.
    layer : int or None
        Which of the arrays that are open holds the same pixels.
    labels : array of int or None
        Strokes, never written, sparse on a large image; None where nothing is painted.
    strokes, pixels : int
        Amount of paint.
    """

    entry: int
    name: str
    path: Path | None
    source: ImageSource
    file: ImageFile | None
    layer: int | None
    labels: Any
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
    moved, waiting : bool
        True if files, or images that are in no file, are among those.
    depth, normalise : str
        What its model is trained with, as in `train`.
    """

    folder: Path
    classes: tuple[ClassInfo, ...]
    images: tuple[OpenedImage, ...]
    missing: tuple[str, ...]
    moved: bool
    waiting: bool
    depth: str
    normalise: str


def read_opened(project: Project, layers: Sequence[Any]) -> OpenedProject:
    """Everything of a project that a window shows.

    Parameters
    ----------
    project : Project
    layers : sequence of arrays
        Pixels that are open: an image that is among them need not be opened anew.
    """
    images: list[OpenedImage] = []
    missing: list[str] = []
    moved = waiting = False
    free = dict(enumerate(layers))
    for entry in sorted(project.images, key=lambda each: not each.has_file):
        layer = _layer_of(entry, free)
        twin = next((e for e in images if not entry.has_file and _same(project, e.entry, entry)), None)
        if layer is not None:
            del free[layer]
        if entry.has_file:
            try:
                found = project.find(entry)
            except ImageError as error:
                missing.append(str(error))
                moved = True
                continue
            path = None if entry.channels else found.path
            images.append(_opened(project, entry, found.source, path, found.file, layer))
        elif layer is not None:
            source = ImageSource(layers[layer], entry.channel_axis, entry.name)
            images.append(_opened(project, entry, source, None, None, layer))
        elif twin is not None:  # other strokes on the same image
            images.append(_opened(project, entry, twin.source, None, twin.file, None))
        else:
            waiting = True
            missing.append(
                f"Image {entry.name!r} is in no file; open it in napari, and its strokes come back."
            )
    order = {entry.number: place for place, entry in enumerate(project.images)}
    images.sort(key=lambda each: order[each.entry])
    return OpenedProject(
        project.folder,
        project.classes,
        tuple(images),
        tuple(missing),
        moved,
        waiting,
        project.depth,
        project.normalise,
    )


def read_from_layers(project: Project, present: Sequence[int], layers: Sequence[Any]) -> list[OpenedImage]:
    """Images of a project that are in no file, and open by now; without those numbered `present`."""
    free = dict(enumerate(layers))
    return [
        _opened(project, entry, ImageSource(layers[layer], entry.channel_axis, entry.name), None, None, layer)
        for entry, layer in _waiting(project, present, free)
    ]


def _waiting(
    project: Project, present: Sequence[int], free: dict[int, Any]
) -> Iterator[tuple[ProjectImage, int]]:
    for entry in project.images:
        layer = None if entry.has_file or entry.number in present else _layer_of(entry, free)
        if layer is not None:
            del free[layer]
            yield entry, layer


def _layer_of(entry: ProjectImage, layers: dict[int, Any]) -> int | None:
    shown = (n for n, data in layers.items() if shows(data, entry.channel_axis, entry.fingerprint))
    return next(shown, None)


def _same(project: Project, number: int, entry: ProjectImage) -> bool:
    other = next(each for each in project.images if each.number == number)
    return other.fingerprint.sample == entry.fingerprint.sample and other.shape == entry.shape


def _opened(
    project: Project,
    entry: ProjectImage,
    source: ImageSource,
    path: Path | None,
    file: ImageFile | None,
    layer: int | None,
) -> OpenedImage:
    labels = None if entry.strokes is None else _painted(project, entry, entry.strokes)
    strokes = () if labels is None else find_strokes(labels)
    name, pixels = entry.name if path is None else path.name, sum(len(each.yx) for each in strokes)
    return OpenedImage(entry.number, name, path, source, file, layer, labels, len(strokes), pixels)


def _painted(project: Project, entry: ProjectImage, name: str) -> Any:
    stored = open_strokes(project.folder, name, entry.shape)
    if is_large(entry.shape):
        return stored.load_painted()
    labels = stored.load()
    labels.flags.writeable = False
    return labels
