"""The list, strokes and project of a dock that was closed, for the next dock in the same window."""

from __future__ import annotations

import itertools
import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from napari_dsparse.classifier.classes import ClassInfo
from napari_dsparse.gui.layers.viewer import in_viewer, unwrapped
from napari_dsparse.gui.study_image import StudyImage
from napari_dsparse.live import events as ev
from napari_dsparse.live.project_keeper import ClosedProject

if TYPE_CHECKING:
    from napari.layers import Image

    from napari_dsparse.gui.dock import SegmentationDock


@dataclass(slots=True)
class LeftBehind:
    """Everything that a dock knew of the layers of its viewer; nothing of it refers to the dock.

    Parameters
    ----------
    images, beside : list of StudyImage
        The list, and images with strokes that are not in it.
    classes, classes_beside : tuple of ClassInfo
    depth : str
    match_exposure : bool
    front : weakref to Image, or None
    layers : tuple
        By layer: files it was opened from, files it is combined of, choices, its number, strokes found on it.
    numbers : iterator
        Numbers of images still to be given.
    project : ClosedProject or None
    unsaved : tuple of (ClosedProject or None)
        Strokes that were kept aside: of the list, and of the others.
    """

    images: list[StudyImage]
    beside: list[StudyImage]
    classes: tuple[ClassInfo, ...]
    classes_beside: tuple[ClassInfo, ...]
    depth: str
    match_exposure: bool
    front: weakref.ref[Image] | None
    layers: tuple[WeakKeyDictionary[Any, Any], ...]
    numbers: itertools.count[int]
    project: ClosedProject | None = None
    unsaved: tuple[ClosedProject | None, ClosedProject | None] = (None, None)

    def keep(self, dock: SegmentationDock) -> None:
        """Keep it until the next dock opens, once all files of this one are closed."""
        self.project, self.unsaved = dock.projects.closed, dock.unsaved.closed
        if self.images or self.beside or self.project is not None:
            _LEFT[unwrapped(dock.viewer)] = self


#: By viewer.
_LEFT: WeakKeyDictionary[Any, LeftBehind] = WeakKeyDictionary()


def leave(dock: SegmentationDock) -> LeftBehind:
    """Knowledge of a dock that is being closed, to be kept once it is."""
    state, study, front = dock.controller.state, dock.study.study, dock.panel.image_combo.layer
    return LeftBehind(
        study.images,
        dock.unsaved.others.images,
        study.classes(state),
        dock.unsaved.classes,
        state.depth,
        state.match_exposure,
        None if front is None else weakref.ref(front),
        (study.files, study.combined, dock.remembered, dock.controller.keys, dock.unsaved.others.first),
        dock.controller.numbers,
    )


def take_up(dock: SegmentationDock) -> None:
    """Go on where the dock before was closed, if there was one in this viewer."""
    left = _LEFT.pop(unwrapped(dock.viewer), None)
    if left is not None:
        _take_up(dock, left)
    dock.unsaved.look()


def _take_up(dock: SegmentationDock, left: LeftBehind) -> None:
    study, controller = dock.study.study, dock.controller
    study.files, study.combined, dock.remembered, controller.keys, first = left.layers
    controller.numbers = left.numbers
    for each in (*left.images, *left.beside):
        each.segmented = False  # the model went with the dock
        each.steps.clear()
    dock.unsaved.take_up(left.unsaved)
    dock.unsaved.classes = left.classes_beside
    dock.unsaved.others.take_up(left.beside, first)
    if left.project is not None:
        dock.projects.take_up(left.project)
    if left.images or left.project is not None:
        study.follow_paint(left.images)
        study.replace(left.images, left.classes)
        controller.send(ev.DepthChosen(left.depth))
        controller.send(ev.ExposureMatched(left.match_exposure))
        dock.panel.images_section.expand(animate=False)
    front = None if left.front is None else left.front()
    choice = None if front is None else dock.remembered.get(front)
    if front is not None and choice is not None and in_viewer(dock.viewer, front):
        dock.show_image(front, choice.axis, dock.strokes_remembered(front))
