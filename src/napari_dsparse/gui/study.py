"""Images that one model learns from together, whether their layers are open or not."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
from qtpy.QtCore import QObject, Signal

from napari_dsparse.classifier import TrainedClassifier
from napari_dsparse.classifier.classes import ClassInfo
from napari_dsparse.errors import ImageError
from napari_dsparse.gui.layers.combining import CHANNEL_NAMES
from napari_dsparse.gui.layers.image_frame import ChannelChoice, ImageFrame, frame_of, is_sparse
from napari_dsparse.gui.layers.image_view import show_view, view_of
from napari_dsparse.gui.layers.marks import give_mark, is_marked, our_role
from napari_dsparse.gui.layers.paint_history import paint_of
from napari_dsparse.gui.layers.strokes_binding import copy_of
from napari_dsparse.gui.layers.viewer import in_viewer, unwrapped
from napari_dsparse.gui.study_files import layer_of
from napari_dsparse.gui.study_image import ChannelFiles, StudyImage
from napari_dsparse.images.painted import equal_paint, never_written
from napari_dsparse.images.reading import ImageFile
from napari_dsparse.images.source import ImageSource
from napari_dsparse.live.kept_images import MissingImage
from napari_dsparse.live.labelled_image import LabelledImage
from napari_dsparse.live.state import LiveState

if TYPE_CHECKING:
    from napari import Viewer
    from napari.layers import Image, Labels, Layer


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
    #: A `StudyImage` was taken out.
    removed = Signal(object)
    #: Another list took its place; a list of the `StudyImage` that were in it.
    replaced = Signal(object)

    def __init__(self, viewer: Viewer, parent: QObject) -> None:
        super().__init__(parent)
        self.images: list[StudyImage] = []
        #: Images of the project that were not found, and stay in it.
        self.missing: tuple[MissingImage, ...] = ()
        self._front: Any = None
        self._classifier: Any = None
        self._kept: tuple[Any, ...] = ()
        #: Files that layers were opened from by us, and those that layers are combined of.
        self.files: WeakKeyDictionary[Image, ImageFile] = WeakKeyDictionary()
        self.combined: WeakKeyDictionary[Image, ChannelFiles] = WeakKeyDictionary()
        #: The table of classes of a list that is being opened.
        self.opened_classes: tuple[ClassInfo, ...] = ()
        self._viewer = viewer

    @property
    def labelled(self) -> tuple[LabelledImage, ...]:
        """The images as the live loop takes them."""
        return tuple(LabelledImage(each.key, each.name, each.source, each.labels) for each in self.images)

    def classes(self, state: LiveState) -> tuple[ClassInfo, ...]:
        """The list's table of classes, also while an image beside it is in front."""
        return state.classes if state.studied else state.study_classes

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
        path = self.path_of(layer)
        self._check_new(layer.name, path)
        self._check_channels(layer.name, frame.source)
        entry = StudyImage(
            number,
            layer.name,
            frame.source,
            file=self.files.get(layer),
            path=path,
            channel_files=self.channel_files_of(layer),
        )
        entry.hold(layer)
        return self._append(entry)

    def add(self, entry: StudyImage) -> StudyImage:
        """Add an image as it is.

        Raises
        ------
        ImageError
            If it is in the list already, or has other channels than the others.
        """
        self._check_new(entry.name, entry.path, None if entry.file is None else entry.file.series)
        self._check_channels(entry.name, entry.source)
        return self._append(entry)

    def replace(
        self,
        images: list[StudyImage],
        classes: tuple[ClassInfo, ...],
        missing: tuple[MissingImage, ...] = (),
    ) -> None:
        """Make it another list, with another table of classes."""
        before, self.images, self.opened_classes = self.images, images, classes
        self.missing = missing
        self.replaced.emit(before)
        self.listed.emit()
        self.opened_classes = ()

    def know_model(self, classifier: TrainedClassifier) -> None:
        """The project holds this model already: taking it up is no change of the project."""
        self._classifier = classifier

    def forget_missing(self) -> None:
        """Images that were not found belong to it no more."""
        if self.missing:
            self.missing = ()
            self.counted.emit()

    def drop_missing(self, image: MissingImage) -> None:
        """An image that was not found belongs to it no more."""
        self.missing = tuple(each for each in self.missing if each is not image)
        self.counted.emit()
        self.edited.emit()

    def follow_paint(self, images: Sequence[StudyImage]) -> None:
        """Notice paint on the layers of images that another list followed so far."""
        for entry in images:
            layer = None if entry.strokes_layer is None else entry.strokes_layer()
            if layer is not None:
                layer.events.paint.connect(self._on_paint)

    def remove(self, entry: StudyImage) -> None:
        """Take an image out of the list; its layers and files stay."""
        self.images.remove(entry)
        self.removed.emit(entry)
        self.listed.emit()
        self.edited.emit()

    def _append(self, entry: StudyImage) -> StudyImage:
        self.images.append(entry)
        return entry

    def announce(self) -> None:
        """Tell that images were added."""
        self.listed.emit()
        self.edited.emit()

    def path_of(self, layer: Image) -> Path | None:
        """The file that a layer was opened from, by us or by napari, if that is known."""
        file = self.files.get(layer)
        path = layer.source.path if file is None else file.path
        combined = file is not None and bool(file.channel_files)
        return None if path is None or combined else Path(path).absolute()

    def channel_files_of(self, layer: Image) -> ChannelFiles:
        """File and series of each image that a layer is combined of; empty where one is not known."""
        file = self.files.get(layer)
        return self.combined.get(layer, ()) if file is None else file.channel_files

    def note_channels(self, layer: Image, channels: Sequence[Image]) -> None:
        """Remember the files of the layers that `layer` is combined of, if each was opened from one."""
        places = [(self.path_of(each), self.files.get(each)) for each in channels]
        found = [(path, None if file is None else file.series) for path, file in places if path is not None]
        if len(found) == len(places):
            self.combined[layer] = tuple(found)

    def holds(self, image: StudyImage) -> bool:
        """True if the image is in the list, perhaps with other strokes than `image` has."""
        layer = None if image.layer is None else image.layer()
        if layer is not None and self.of_layer(layer) is not None:
            return True
        return self._holds_file(image.path, None if image.file is None else image.file.series)

    def _holds_file(self, path: Path | None, series: int | None) -> bool:
        for each in self.images:
            both = path is not None and each.path is not None
            same = both and os.path.realpath(each.path or "") == os.path.realpath(path or "")
            if same and (series is None or each.file is None or each.file.series == series):
                return True
        return False

    def _check_new(self, name: str, path: Path | None, series: int | None = None) -> None:
        if self._holds_file(path, series):
            raise ImageError(f"Image {name!r} is in the list already.")

    def fits(self, source: ImageSource) -> bool:
        """True if an image has as many channels as those of the list."""
        return not self.images or self.images[0].source.channels == source.channels

    def _check_channels(self, name: str, source: ImageSource) -> None:
        if not self.fits(source):
            raise ImageError(
                f"Image {name!r} has {source.channels} channels and the others in the list have "
                f"{self.images[0].source.channels}; open it, choose its channels under Image, then add it."
            )

    # -- opening --------------------------------------------------------------------------------------------

    def open(self, entry: StudyImage, give_number: Callable[[Image, int], None]) -> Image:
        """The layer of an image, made now if there is none in the viewer, as it was seen last.

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
        left = self.of_key(self._front)
        if left is not None and left is not entry:
            left.view = view_of(self._viewer)
        layer = None if entry.layer is None else entry.layer()
        if layer is None or not in_viewer(self._viewer, layer):
            layer = self._new_layer(entry, give_number)
        show_view(self._viewer, entry.view, layer)
        return layer

    def _new_layer(self, entry: StudyImage, give_number: Callable[[Image, int], None]) -> Image:
        layer = layer_of(entry.name, entry.source, entry.file)
        frame = frame_of(layer, ChannelChoice(entry.source.channel_axis, "known"))
        entry.source = frame.source
        give_mark(layer, entry.mark)
        entry.hold(layer)
        if entry.file is not None:
            self.files[layer] = entry.file
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

    def bring_to_top(self, entry: StudyImage, strokes: Labels) -> None:
        """Put the layers of an image above all others, its strokes on top."""
        layers = [each for each in self.layers_of(entry) if each is not strokes]
        for layer in (*layers, strokes):
            if self._viewer.layers[-1] is not layer:
                self._viewer.layers.move(self._viewer.layers.index(layer), len(self._viewer.layers))

    def catch_up(self, front: Any) -> bool:
        """Take over what was painted on layers of images behind; True if something was.

        Parameters
        ----------
        front : hashable
            Key of the image in front.
        """
        changed = False
        for entry in self.images:
            layer = None if entry.strokes_layer is None else entry.strokes_layer()
            if layer is None or entry.key == front or layer.data.size != np.prod(entry.source.shape):
                continue
            now = paint_of(layer)
            if not is_sparse(layer):
                now = now.reshape(entry.source.shape)
            if not equal_paint(now, entry.labels):
                entry.labels = now if is_sparse(layer) else never_written(now.copy())
                changed = True
        if changed:
            self.listed.emit()
        return changed

    def show_layers(self, entry: StudyImage, *, only: bool) -> None:
        """Show the layers of an image; those of the others too, or only of this one."""
        for each in self.images:
            for layer in self.layers_of(each):
                shown = each is entry or not only
                if shown and CHANNEL_NAMES in layer.metadata:  # the layers that it is made of are shown
                    continue
                if layer.visible != shown:  # being set at all takes the tool out of the user's hand
                    layer.visible = shown

    def layers_of(self, entry: StudyImage) -> list[Layer]:
        """The image's layer, its strokes and its results, as far as they are open."""
        held = (None if each is None else each() for each in (entry.layer, entry.strokes_layer))
        layers: list[Layer] = [each for each in held if each is not None and in_viewer(self._viewer, each)]
        shown = (each for each in map(unwrapped, self._viewer.layers) if is_marked(each, entry.mark))
        return layers + [each for each in shown if our_role(each) != "strokes"]

    # -- following ------------------------------------------------------------------------------------------

    def follow(self, state: LiveState, strokes: Labels | None) -> None:
        """Take over strokes and figures of the image in front, and the figures of all."""
        changed = False
        for key, count, pixels in state.by_image:
            entry = self.of_key(key)
            if entry is not None and (entry.strokes, entry.pixels) != (count, pixels):
                entry.strokes, entry.pixels = count, pixels
                changed = True
        self._classifier = None if state.model is None else state.model.classifier
        finished = {each.key for each in state.finished}
        for each in self.images:
            if each.segmented != (each.key in finished):
                each.segmented, changed = not each.segmented, True
        key = None if state.chosen is None else state.chosen.key
        front = self.of_key(key)
        if front is not None and state.strokes_layer is not None:
            front.labels = state.strokes_layer.labels
            if strokes is not None and (front.strokes_layer is None or front.strokes_layer() is not strokes):
                front.strokes_layer = weakref.ref(strokes)
                strokes.events.paint.connect(self._on_paint)
        classes = self.classes(state)
        choices = state.depth, state.match_exposure
        kept = (*(each.labels for each in self.images), classes, self._classifier, *choices)
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

    def _on_paint(self, event: Any) -> None:
        """Paint on an image behind is kept, too."""
        entry = next(
            (e for e in self.images if e.strokes_layer is not None and e.strokes_layer() is event.source),
            None,
        )
        if entry is not None and entry.key != self._front:
            self.edited.emit()
