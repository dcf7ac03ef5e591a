"""Images beside the list that were painted on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast
from weakref import WeakKeyDictionary

from qtpy.QtCore import QObject, Signal

from napari_dsparse.gui.layers.layer_choice import images_of
from napari_dsparse.gui.layers.marks import our_role
from napari_dsparse.gui.study import Study
from napari_dsparse.gui.study_image import StudyImage
from napari_dsparse.images.painted import equal_paint, is_painted
from napari_dsparse.live.chosen import ChosenImage
from napari_dsparse.live.state import LiveState

if TYPE_CHECKING:
    from napari.layers import Labels

    from napari_dsparse.gui.dock import SegmentationDock


class UnlistedStrokes(QObject):
    """Follows what is painted on images that are not in the list, so that it can be kept.

    A labels layer that was not made here counts only once it was painted on.

    Parameters
    ----------
    dock : SegmentationDock
    study : Study
        The list.
    parent : QObject
    """

    #: Something was painted, or an image was listed.
    edited = Signal()

    def __init__(self, dock: SegmentationDock, study: Study, parent: QObject) -> None:
        super().__init__(parent)
        self._dock, self._study = dock, study
        self._beside = Study(dock.viewer, self)
        self._beside.edited.connect(self.edited)
        #: Strokes on layers as they were found, or kept: only further paint counts.
        self.first: WeakKeyDictionary[Labels, Any] = WeakKeyDictionary()
        dock.controller.changed.connect(self._follow)

    @property
    def images(self) -> list[StudyImage]:
        """Images with strokes; one that has several layers of strokes is there with each of them."""
        return self._beside.images

    def catch_up(self) -> None:
        """Take over what was painted on layers of images that are not in front."""
        chosen = self._dock.controller.state.chosen
        if self._beside.catch_up(None if chosen is None else chosen.key):
            self.edited.emit()

    def adopt(self, image: StudyImage) -> None:
        """Keep the strokes of an image that was taken out of the list."""
        if is_painted(image.labels):
            self._beside.images.append(image)
            self._beside.follow_paint([image])
            self.edited.emit()

    def take_up(self, images: list[StudyImage], first: WeakKeyDictionary[Labels, Any]) -> None:
        """Go on with the images of a dock that was closed."""
        self._beside.images, self.first = images, first
        self._beside.follow_paint(images)

    def know(self, images: Sequence[StudyImage]) -> None:
        """Count strokes of a list that was kept, and replaced, only once they are painted on."""
        for each in images:
            layer = None if each.strokes_layer is None else each.strokes_layer()
            if layer is not None and each.labels is not None:
                self.first[layer] = each.labels

    def _follow(self, state: LiveState) -> None:
        strokes = self._dock.controller.strokes.layer
        if self._drop_listed():
            self.edited.emit()
        if state.strokes_layer is None or strokes is None or state.chosen is None or state.studied:
            return
        self._find(state.chosen, state.strokes_layer.labels, strokes)
        self._beside.follow(state, strokes)

    def _drop_listed(self) -> bool:
        """Leave to the list what is in it; True if something is."""
        layers = [e.strokes_layer() for e in self._study.images if e.strokes_layer is not None]
        listed = [
            each
            for each in self._beside.images
            if any(each is one for one in self._study.images)
            or (
                each.strokes_layer is not None
                and each.strokes_layer() is not None
                and any(each.strokes_layer() is one for one in layers)
            )
        ]
        for each in listed:
            self._beside.images.remove(each)
        return bool(listed)

    def _find(self, chosen: ChosenImage, labels: Any, strokes: Labels) -> None:
        """Let the strokes in front, if any were painted, and no others, stand for the image in front."""
        number, _ = cast("tuple[int, int | None]", chosen.key)
        images = self._beside.images
        entry = next((e for e in images if e.strokes_layer and e.strokes_layer() is strokes), None)
        for other in images:
            if other is not entry and other.key == chosen.key:
                other.number = self._dock.controller.number_of(None)
        if entry is None and self._painted(strokes, labels):
            entry = StudyImage(number, chosen.source.name, chosen.source)
            images.append(entry)
        if entry is not None and (entry.key != chosen.key or entry.layer is None):
            # (the layer that is picked in the dock may be the next one already)
            layers = images_of(self._dock.viewer)
            layer = next((e for e in layers if self._dock.controller.number_of(e) == number), None)
            entry.number, entry.source, entry.name = number, chosen.source, chosen.source.name
            entry.layer = None
            if layer is not None:
                entry.hold(layer)
            entry.path = None if layer is None else self._study.path_of(layer)
            entry.channel_files = () if layer is None else self._study.channel_files_of(layer)

    def _painted(self, strokes: Labels, labels: Any) -> bool:
        if our_role(strokes) == "strokes" and strokes not in self.first:
            return is_painted(labels)
        first = self.first.setdefault(strokes, labels)
        if not equal_paint(first, labels):
            return True
        self.first[strokes] = labels  # is known by identity next time, which takes no time
        return False
