"""Images as a window and a project hand them to each other: to be saved, and as they were found again."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np

from napari_dsparse.classifier import TrainedClassifier
from napari_dsparse.classifier.classes import ClassInfo
from napari_dsparse.errors import DsparseError, ImageError
from napari_dsparse.files.chunked import is_large
from napari_dsparse.files.project_description import ProjectImage
from napari_dsparse.files.project_folder import IMAGES
from napari_dsparse.files.project_images import MisplacedImageError
from napari_dsparse.files.project_strokes import open_strokes
from napari_dsparse.images.identity import shows
from napari_dsparse.images.painted import equal_paint
from napari_dsparse.images.reading import ImageFile
from napari_dsparse.images.source import ImageSource
from napari_dsparse.project import Project
from napari_dsparse.training.strokes import find_strokes

#: Files by the number of an image in a project and, of a combined one, the index of the channel.
Located: TypeAlias = Mapping[tuple[int, int | None], Path]


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
class OpenPixels:
    """Pixels that are open in a window.

    Parameters
    ----------
    data : array
    strokes : array of int or None
        What is painted on them, of the same number of pixels; None where nothing is.
    """

    data: Any
    strokes: Any = None


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
        Which of the images that are open holds the same pixels, and either no strokes or these very ones.
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


@dataclass(frozen=True, slots=True)
class MissingImage:
    """An image of a project that was not found; it stays in the project, with its strokes.

    Parameters
    ----------
    entry : int
        Its number in the project.
    name : str
    reason : str
        A sentence.
    changed : bool
        There is a file of that name, which holds other pixels or cannot be read.
    waits : bool
        It is in no file: its strokes come back when it is open.
    painted : bool
        There are strokes on it.
    channel : int or None
        Index of the first channel that was not found, of an image that is combined of several files.
    part : str
        Name of that channel's file.
    """

    entry: int
    name: str
    reason: str
    changed: bool = False
    waits: bool = False
    painted: bool = False
    channel: int | None = None
    part: str = ""

    @property
    def state(self) -> str:
        """Two words on it."""
        return "not open" if self.waits else "has changed" if self.changed else "not found"


@dataclass(frozen=True, slots=True, eq=False)
class OpenedProject:
    """A project that was opened.

    Parameters
    ----------
    folder : Path
    classes : tuple of ClassInfo
    images : tuple of OpenedImage
        Those that were found.
    missing : tuple of MissingImage
        Those that were not; they stay in the project.
    depth, normalise : str
        What its model is trained with, as in `train`.
    classifier : TrainedClassifier or None
        Its model.
    problem : str
        Reason why that cannot be read, a sentence; empty if it can, or there is none.
    """

    folder: Path
    classes: tuple[ClassInfo, ...]
    images: tuple[OpenedImage, ...]
    missing: tuple[MissingImage, ...]
    depth: str
    normalise: str
    classifier: TrainedClassifier | None = None
    problem: str = ""

    @property
    def misplaced(self) -> tuple[MissingImage, ...]:
        """Missing images that are in files."""
        return tuple(each for each in self.missing if not each.waits)


def read_opened(
    project: Project, layers: Sequence[OpenPixels], located: Located = MappingProxyType({})
) -> OpenedProject:
    """Everything of a project that a window shows.

    Parameters
    ----------
    project : Project
    layers : sequence of OpenPixels
        An image that is among them need not be opened anew.
    located : mapping, optional
        Files that the user says hold images, or channels of combined ones.
    """
    images: list[OpenedImage] = []
    missing: list[MissingImage] = []
    free = dict(enumerate(layers))
    for entry in sorted(project.images, key=lambda each: not each.has_file):
        layer, painted = _layer_of(project, entry, free), entry.strokes is not None
        twin = next((e for e in images if not entry.has_file and _same(project, e.entry, entry)), None)
        if layer is not None:
            del free[layer]
        if entry.has_file:
            try:
                for (number, channel), file in located.items():
                    if number == entry.number:
                        project.locate(entry, file, channel=channel)
                found = project.find(entry)
            except MisplacedImageError as error:
                lacks = MissingImage(entry.number, entry.name, f"{error.reason}.", error.changed)
                part = "" if error.channel is None else entry.channels[error.channel].name
                missing.append(replace(lacks, painted=painted, channel=error.channel, part=part))
                continue
            except ImageError as error:
                missing.append(
                    MissingImage(entry.number, entry.name, str(error), changed=True, painted=painted)
                )
                continue
            path = None if entry.channels else found.path
            images.append(_opened(project, entry, found.source, path, found.file, layer))
        elif layer is not None:
            source = ImageSource(layers[layer].data, entry.channel_axis, entry.name)
            images.append(_opened(project, entry, source, None, None, layer))
        elif twin is not None:  # other strokes on the same image
            images.append(_opened(project, entry, twin.source, None, twin.file, None))
        else:
            reason = f"Image {entry.name!r} is in no file; open it in napari, and its strokes come back."
            missing.append(MissingImage(entry.number, entry.name, reason, waits=True, painted=painted))
    order = {entry.number: place for place, entry in enumerate(project.images)}
    classifier, problem = model_of(project)
    images.sort(key=lambda each: order[each.entry])
    return OpenedProject(
        project.folder,
        project.classes,
        tuple(images),
        tuple(sorted(missing, key=lambda each: order[each.entry])),
        project.depth,
        project.normalise,
        classifier,
        problem,
    )


def model_of(project: Project) -> tuple[TrainedClassifier | None, str]:
    """The classifier of a project; None where there is none, or it cannot be read, and why."""
    try:
        return None if project.model is None else project.model.classifier, ""
    except DsparseError as error:
        return None, f"The model of {project.folder.name} cannot be used: {error}"


def read_from_layers(
    project: Project, present: Sequence[int], layers: Sequence[OpenPixels]
) -> list[OpenedImage]:
    """Images of a project that are in no file, and open by now; without those numbered `present`."""
    free = dict(enumerate(layers))
    return [
        _opened(project, entry, ImageSource(pixels.data, entry.channel_axis, entry.name), None, None, layer)
        for entry, layer, pixels in _waiting(project, present, free)
    ]


def _waiting(
    project: Project, present: Sequence[int], free: dict[int, OpenPixels]
) -> Iterator[tuple[ProjectImage, int, OpenPixels]]:
    for entry in project.images:
        layer = None if entry.has_file or entry.number in present else _layer_of(project, entry, free)
        if layer is not None:
            yield entry, layer, free.pop(layer)


def _layer_of(project: Project, entry: ProjectImage, layers: dict[int, OpenPixels]) -> int | None:
    """The image among those that are open: with its own strokes on it, or else with none."""
    shown = [
        number
        for number, each in layers.items()
        if (each.strokes is None or entry.strokes is not None)
        and shows(each.data, entry.channel_axis, entry.fingerprint)
    ]
    if any(layers[number].strokes is not None for number in shown):
        own = _painted(project, entry, str(entry.strokes))
        for number in shown:
            if are_same_strokes(layers[number].strokes, own):
                return number
    return next((number for number in shown if layers[number].strokes is None), None)


def are_same_strokes(one: Any, other: Any) -> bool:
    """True if both are painted alike, or neither is; None is painted nowhere."""
    if one is not None and other is not None:
        if type(one) is not type(other) or one.size != other.size:
            return False
        if isinstance(one, np.ndarray):
            other = other.reshape(one.shape)
    return equal_paint(one, other)


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
    name = path.name if path is not None and path.name != entry.name else name_of(entry)
    pixels = sum(len(each.yx) for each in strokes)
    return OpenedImage(entry.number, name, path, source, file, layer, labels, len(strokes), pixels)


def name_of(image: ProjectImage) -> str:
    """Name of an image; of a copy in the project, that of the layer it was made of."""
    if image.path is None or not image.path.startswith(f"{IMAGES}/"):
        return image.name
    return image.name.removesuffix(".ome.tif").removesuffix(".npy")


def _painted(project: Project, entry: ProjectImage, name: str) -> Any:
    stored = open_strokes(project.folder, name, entry.shape)
    if is_large(entry.shape):
        return stored.load_painted()
    labels = stored.load()
    labels.flags.writeable = False
    return labels
