"""Images that one model learns from together, whether their layers are open or not."""

from __future__ import annotations

import re
import weakref
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil
from qtpy.QtCore import QObject, Signal

from napari_dsparse.classifier.class_edits import ClassEdit, DoneEdit, done
from napari_dsparse.classifier.classes import ClassInfo
from napari_dsparse.errors import DsparseError, ImageError
from napari_dsparse.gui.layers.image_frame import ChannelChoice, ImageFrame, are_few_planes, frame_of
from napari_dsparse.gui.layers.paint_history import repaint
from napari_dsparse.gui.layers.strokes_binding import copy_of
from napari_dsparse.gui.layers.viewer import in_viewer, our_role
from napari_dsparse.images.reading import ImageFile, read_image
from napari_dsparse.images.source import ImageSource
from napari_dsparse.live.labelled_image import LabelledImage
from napari_dsparse.live.state import LiveState

if TYPE_CHECKING:
    import numpy.typing as npt
    from napari import Viewer
    from napari.layers import Image, Labels, Layer

#: Share of the free memory up to which an image is loaded when its layer is opened; larger ones are read
#: from their file plane by plane.
_LOADED_SHARE = 0.25
#: Edits of the table of classes that can be taken back on images behind.
_MOST_STEPS = 20
#: Suffixes of the files that are taken from a folder.
IMAGE_SUFFIXES = (".tif", ".tiff", ".png", ".jpg", ".jpeg", ".bmp", ".npy", ".zarr")


@dataclass(slots=True, eq=False)
class StudyImage:
    """An image of the list.

    Parameters
    ----------
    number : int
        Of its layer or, before it has one, of the layer it will get; see `Controller.number_of`.
    name : str
    source : ImageSource
    file : ImageFile or None
        Where it was read from; None for a layer that was open already.
    path : Path or None
        Its file, where that is known.
    layer : weakref to Image, or None
    labels : array of int, shape of the source, or None
        Strokes as they were when it was in front last; None where nothing is painted.
    strokes, pixels : int
        Paint on it.
    steps : list of (edit as it was made on the image in front, the same on this one)
        Edits of the table of classes, for taking them back.
    segmented : bool
        The newest model has segmented all of it.
    """

    number: int
    name: str
    source: ImageSource
    file: ImageFile | None = None
    path: Path | None = None
    layer: weakref.ref[Image] | None = None
    labels: Any = None
    strokes: int = 0
    pixels: int = 0
    segmented: bool = False
    strokes_layer: weakref.ref[Labels] | None = None
    steps: list[tuple[DoneEdit, DoneEdit]] = field(default_factory=list)

    @property
    def key(self) -> tuple[int, int | None]:
        """Key of the image in the live loop."""
        return self.number, self.source.channel_axis


class Study(QObject):
    """The list of images; it follows the live loop and is told of what is added and removed.

    Parameters
    ----------
    viewer : Viewer
    parent : QObject
    """

    #: Images were added or removed, or another one is open.
    listed = Signal()
    #: Something that a project keeps has changed: images, strokes, classes, or the model.
    edited = Signal()
    #: Figures of an image changed.
    counted = Signal()

    def __init__(self, viewer: Viewer, parent: QObject) -> None:
        super().__init__(parent)
        self.images: list[StudyImage] = []
        self._front: Any = None
        self._classifier: Any = None
        self._kept: tuple[Any, ...] = ()
        #: The table of classes of a list that is being opened.
        self.opened_classes: tuple[ClassInfo, ...] = ()
        self._viewer = viewer

    @property
    def labelled(self) -> tuple[LabelledImage, ...]:
        """The images as the live loop takes them."""
        return tuple(LabelledImage(each.key, each.name, each.source, each.labels) for each in self.images)

    def of_key(self, key: Any) -> StudyImage | None:
        """The image of that key; None if it is not in the list."""
        return next((each for each in self.images if each.key == key), None)

    def of_layer(self, layer: Image) -> StudyImage | None:
        """The image that is open as `layer`."""
        return next((each for each in self.images if each.layer is not None and each.layer() is layer), None)

    # -- adding and removing --------------------------------------------------------------------------------

    def add_layer(self, number: int, layer: Image, frame: ImageFrame) -> StudyImage:
        """Add an image that is open.

        Raises
        ------
        ImageError
            If it is in the list already, or has other channels than the others.
        """
        if self.of_layer(layer) is not None:
            raise ImageError(f"Image {layer.name!r} is in the list already.")
        self._check_channels(layer.name, frame.source)
        path = layer.source.path
        entry = StudyImage(
            number,
            layer.name,
            frame.source,
            path=None if path is None else Path(path),
            layer=weakref.ref(layer),
        )
        return self._append(entry)

    def add_file(self, number: int, path: Path) -> StudyImage:
        """Add an image that is read once it is needed.

        Raises
        ------
        ImageError
            If it cannot be read, is in the list already, or has other channels than the others.
        """
        there = path.absolute()
        if any(each.path is not None and each.path.absolute() == there for each in self.images):
            raise ImageError(f"Image {path.name!r} is in the list already.")
        file = read_image(path)
        source = _likely_source(file)
        self._check_channels(path.name, source)
        return self._append(StudyImage(number, path.name, source, file=file, path=path))

    def replace(self, images: list[StudyImage], classes: tuple[ClassInfo, ...]) -> None:
        """Make it another list, with another table of classes."""
        self.images, self.opened_classes = images, classes
        self.listed.emit()
        self.opened_classes = ()

    def remove(self, entry: StudyImage) -> None:
        """Take an image out of the list; its layers and files stay."""
        self.images.remove(entry)
        self.listed.emit()
        self.edited.emit()

    def _append(self, entry: StudyImage) -> StudyImage:
        self.images.append(entry)
        self.listed.emit()
        self.edited.emit()
        return entry

    def _check_channels(self, name: str, source: ImageSource) -> None:
        if self.images and self.images[0].source.channels != source.channels:
            raise ImageError(
                f"Image {name!r} has {source.channels} channels and the others in the list have "
                f"{self.images[0].source.channels}; open it, choose its channels under Image, then add it."
            )

    # -- opening --------------------------------------------------------------------------------------------

    def open(self, entry: StudyImage, give_number: Callable[[Image, int], None]) -> Image:
        """The layer of an image, made now if there is none in the viewer.

        Parameters
        ----------
        entry : StudyImage
        give_number : callable
            Takes a new layer, before it is in the viewer, and the number of the image it stands for.

        Raises
        ------
        ImageError
            If its file cannot be read any more.
        """
        layer = None if entry.layer is None else entry.layer()
        if layer is not None and in_viewer(self._viewer, layer):
            return layer
        layer = _layer_of(entry)
        frame = frame_of(layer, ChannelChoice(entry.source.channel_axis, "known"))
        entry.source, entry.layer = frame.source, weakref.ref(layer)
        give_number(layer, entry.number)
        self._viewer.add_layer(layer)
        return layer

    def take_strokes(self, entry: StudyImage, layer: Labels) -> None:
        """Learn from the strokes on a layer for an image that is not in front."""
        image = None if entry.layer is None else entry.layer()
        if image is not None:
            frame = frame_of(image, ChannelChoice(entry.source.channel_axis, "known"))
            if tuple(layer.data.shape) == frame.layer_shape:
                entry.labels, entry.strokes_layer = copy_of(frame, layer), weakref.ref(layer)

    @staticmethod
    def painted(entry: StudyImage) -> npt.NDArray[Any]:
        """The strokes on an image, a new array."""
        return np.array(entry.labels)

    def show_layers(self, entry: StudyImage, *, only: bool) -> None:
        """Show the layers of an image; those of the others too, or only of this one."""
        for each in self.images:
            for layer in self._layers_of(each):
                shown = each is entry or not only
                if layer.visible != shown:  # being set at all takes the tool out of the user's hand
                    layer.visible = shown

    def _layers_of(self, entry: StudyImage) -> list[Layer]:
        """The image's layer, its strokes and its results, as far as they are open."""
        held = (None if each is None else each() for each in (entry.layer, entry.strokes_layer))
        layers: list[Layer] = [each for each in held if each is not None and in_viewer(self._viewer, each)]
        if layers:
            ours = re.compile(
                re.escape(layers[0].name) + r" (segmentation|uncertainty|probability .*)( \[\d+\])?"
            )
            layers += [each for each in self._viewer.layers if our_role(each) and ours.fullmatch(each.name)]
        return layers

    def renumber(
        self, state: LiveState, edit: ClassEdit, step: DoneEdit, made: bool
    ) -> tuple[list[Labels], tuple[LabelledImage, ...]] | None:
        """Let the strokes on the images behind follow an edit of the table of classes.

        Parameters
        ----------
        state : LiveState
            Before the edit.
        edit : ClassEdit
        step : DoneEdit
            The edit as it was made on the image in front, whether it is made now or taken back.
        made : bool
            False if it is taken back.

        Returns
        -------
        (list of Labels, tuple of LabelledImage) or None
            Layers that were painted anew, and the list; None if the image in front is beside the list.
        """
        if state.chosen is None or not state.studied:
            return None
        layers = []
        for entry in self.images:
            if entry.labels is None or entry.key == state.chosen.key:
                continue
            before = entry.labels
            own = next((own for front, own in entry.steps if front is step), None)
            if made or own is None:
                entry.steps = [each for each in entry.steps if each[0] is not step][1 - _MOST_STEPS :]
                entry.steps.append((step, done(state.classes, edit, before)))
                entry.labels = edit.apply(before)
            else:
                entry.labels = own.restore(before, state.classes)
            entry.labels.flags.writeable = False
            layer = None if entry.strokes_layer is None else entry.strokes_layer()
            if layer is not None and in_viewer(self._viewer, layer):
                repaint(layer, entry.labels.reshape(layer.data.shape))
                layers.append(layer)
        return layers, self.labelled

    # -- following ------------------------------------------------------------------------------------------

    def follow(self, state: LiveState, strokes: Labels | None) -> None:
        """Take over strokes and figures of the image in front, and the figures of all."""
        changed = False
        for key, count, pixels in state.by_image:
            entry = self.of_key(key)
            if entry is not None and (entry.strokes, entry.pixels) != (count, pixels):
                entry.strokes, entry.pixels = count, pixels
                changed = True
        classifier = None if state.model is None else state.model.classifier
        if classifier is not self._classifier:
            self._classifier = classifier
            changed = changed or any(each.segmented for each in self.images)
            for each in self.images:
                each.segmented = False
        key = None if state.chosen is None else state.chosen.key
        front = self.of_key(key)
        if front is not None and state.strokes_layer is not None:
            front.labels = state.strokes_layer.labels
            if strokes is not None:
                front.strokes_layer = weakref.ref(strokes)
        if front is not None and state.complete and not front.segmented:
            front.segmented = changed = True
        classes = state.classes if state.studied else state.study_classes
        kept = (*(each.labels for each in self.images), classes, self._classifier)
        if len(kept) != len(self._kept) or any(a is not b for a, b in zip(kept, self._kept, strict=True)):
            self._kept = kept
            if front is not None:
                self.edited.emit()
        if key != self._front:  # what was painted on the image before is on one behind now
            self._front = key
            if self.images:
                self.listed.emit()
        elif changed:
            self.counted.emit()


def image_files(paths: Iterable[Path]) -> list[Path]:
    """The files among `paths` and, of folders that are no image themselves, the images in them, by name."""
    found: list[Path] = []
    for path in paths:
        if path.is_dir() and path.suffix.lower() != ".zarr":
            inside = sorted(path.iterdir(), key=lambda each: each.name)
            found += [
                each
                for each in inside
                if each.suffix.lower() in IMAGE_SUFFIXES and not each.name.startswith(".")
            ]
        else:
            found.append(path)
    return found


def _likely_source(file: ImageFile) -> ImageSource:
    """The image with channels where its file says, or as is likely where it says nothing."""
    source = file.source()
    unsaid = file.channel_axis is None and file.letters[0] == "?" and file.scale[0] == 1
    if unsaid and are_few_planes(file.data.shape):
        return ImageSource(file.data, 0, source.name, source.letters)
    return source


def _layer_of(entry: StudyImage) -> Image:
    """A new layer of an image, with the scale that its file tells."""
    from napari.layers import Image

    file, axis = entry.file, entry.source.channel_axis
    data = _loaded(entry.source)
    color = axis == len(data.shape) - 1 and data.shape[axis] in (3, 4) and data.dtype.kind in "uf"
    scale, units = [1.0] * len(data.shape), ["pixel"] * len(data.shape)
    if file is not None:
        spatial = [each for each in range(len(data.shape)) if each != axis]
        known = len(spatial)  # of axes that the file calls slices, but channels are likelier, none is used
        for place, size, unit in zip(spatial, file.scale[-known:], file.units[-known:], strict=True):
            scale[place], units[place] = size, unit
    if color:
        scale, units = scale[:-1], units[:-1]
    return Image(data, name=entry.name, rgb=color, scale=scale, units=units)


def _loaded(source: ImageSource) -> npt.NDArray[Any] | Any:
    """Pixels in memory, or read from the file by need where they are too many."""
    data = source.data
    if isinstance(data, np.ndarray) and not isinstance(data, np.memmap):
        return data
    size = int(np.prod([int(n) for n in data.shape])) * np.dtype(data.dtype).itemsize
    try:
        if size <= _LOADED_SHARE * psutil.virtual_memory().available:
            return np.asarray(data[(slice(None),) * len(data.shape)])
    except DsparseError:
        raise
    except (OSError, ValueError, RuntimeError) as error:
        raise ImageError(
            f"Image {source.name!r} cannot be read any more ({error}); is its file there?"
        ) from error
    import dask.array

    rows = max(1, (1 << 24) // max(1, int(data.shape[-1])))
    chunks = (*(1 for _ in data.shape[:-2]), min(rows, int(data.shape[-2])), int(data.shape[-1]))
    return dask.array.from_array(data, chunks=chunks, asarray=True)
