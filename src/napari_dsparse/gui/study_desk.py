"""The dock's list of images: its buttons, and the layers that are opened for them."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from qtpy.QtCore import QObject, QTimer, Signal
from qtpy.QtWidgets import QMenu

from napari_dsparse.classifier.class_edits import ClassEdit, DoneEdit
from napari_dsparse.errors import DsparseError
from napari_dsparse.gui.added_files import AddedFiles
from napari_dsparse.gui.layers.image_frame import channel_choices, frame_of
from napari_dsparse.gui.layers.layer_choice import images_of
from napari_dsparse.gui.layers.strokes_layer import take_brush
from napari_dsparse.gui.layers.viewer import in_viewer
from napari_dsparse.gui.removing import remove_asking, remove_missing_asking
from napari_dsparse.gui.renumbering_behind import renumber_behind
from napari_dsparse.gui.study import Study
from napari_dsparse.gui.study_files import load_pixels, takes_long
from napari_dsparse.gui.study_image import StudyImage
from napari_dsparse.gui.widgets.dialogs import IMAGE_FILTER, ask_folder, ask_open_paths
from napari_dsparse.gui.widgets.images_list import ImageRow
from napari_dsparse.live import events as ev
from napari_dsparse.live.labelled_image import LabelledImage
from napari_dsparse.live.state import LiveState

if TYPE_CHECKING:
    from napari.layers import Image, Labels

    from napari_dsparse.gui.dock import SegmentationDock

T = TypeVar("T")


class StudyDesk(QObject):
    """Connects the list of images with the dock and the live loop.

    Parameters
    ----------
    dock : SegmentationDock
    """

    #: The row of an image that was not found was picked: a `MissingImage`.
    missing_picked = Signal(object)

    def __init__(self, dock: SegmentationDock) -> None:
        super().__init__(dock)
        self.dock, self.viewer, self.controller = dock, dock.viewer, dock.controller
        self._panel = dock.panel
        self.study = Study(self.viewer, self)
        self._files = AddedFiles(self)
        self._opening: StudyImage | None = None  # its pixels are being read
        self._soon = QTimer(self)  # not while napari removes a layer, and perhaps all of them
        self._soon.setSingleShot(True)
        self._soon.timeout.connect(self._open_front)
        self._picked: tuple[int, Hashable] | None = None  # an image that was not found; key of that in front
        self.study.listed.connect(self._on_listed)
        self.study.counted.connect(self._draw)
        self._files.changed.connect(self._draw)
        self._files.listed.connect(self._on_file_listed)
        self._files.refused.connect(self._complain_of)
        self.controller.changed.connect(self._on_state)
        panel = self._panel
        panel.images_list.picked.connect(self.pick)
        panel.images_list.dropped.connect(self.add_files)
        panel.add_image_button.setMenu(self._sources_menu())
        panel.remove_image_button.clicked.connect(self._remove)
        panel.only_this_check.toggled.connect(self._show_only)
        self.controller.editor.renumber_others = partial(_renumber_others, weakref.ref(self))
        self._draw()

    def renumber(self, edit: ClassEdit, step: DoneEdit, made: bool) -> tuple[LabelledImage, ...] | None:
        """Let strokes on images behind follow an edit of the table of classes; returns the list after it."""
        self.controller.flush_corrections()
        state, forget = self.controller.state, self.controller.editor.forget
        return renumber_behind(self.viewer, self.study, state, edit, step, made, forget)

    @property
    def front_folder(self) -> Path | None:
        """Folder of the file that the image in front is in, or its first channel, if it is there."""
        layer = self._panel.image_combo.layer
        file = None if layer is None else self.study.path_of(layer)
        if layer is not None and file is None:
            file = next((path.absolute() for path, _ in self.study.channel_files_of(layer)), None)
        return file.parent if file is not None and file.parent.is_dir() else None

    # -- adding and removing --------------------------------------------------------------------------------

    def add_layers(self, layers: Sequence[Image]) -> None:
        """Add images that are open, each read as it was when it was in front, or as is likely."""
        self._add(layers, self.add_layer)

    def add_files(self, paths: Sequence[Path]) -> None:
        """Add images of files and folders, which are opened when they are chosen."""
        self._add(paths, self._files.add)

    def add_entries(self, images: Sequence[StudyImage]) -> None:
        """Add images with their strokes."""
        self._add(tuple(images), self.study.add)
        self.study.follow_paint([each for each in images if each in self.study.images])

    def _add(self, things: Sequence[T], add: Callable[[T], object]) -> None:
        refused: list[str] = []
        for thing in things:
            try:
                add(thing)
            except DsparseError as error:
                refused.append(str(error))
        if refused:
            self._complain_of(refused)
        if len(refused) < len(things):
            self.study.announce()
            self._panel.images_section.expand(animate=False)

    def add_layer(self, layer: Image) -> None:
        """Add an image that is open, and tell nobody yet.

        Raises
        ------
        ImageError
            If it is in the list already, or has other channels than the others.
        """
        state, frame = self.controller.state, self.controller.frame
        front = self._panel.image_combo.layer
        if layer is front and frame is not None and state.chosen is not None:
            entry = self.study.add_layer(self.controller.number_of(layer), layer, frame)
            self.study.follow(state, self.controller.strokes.layer)
        else:
            choice = self.dock.choice_for(layer) or channel_choices(layer)[0]
            entry = self.study.add_layer(self.controller.number_of(layer), layer, frame_of(layer, choice))
            strokes = self.dock.strokes_remembered(layer)
            if strokes is not None:
                self.study.take_strokes(entry, strokes)

    def _on_file_listed(self) -> None:
        self.study.announce()
        if self.controller.state.chosen is None:  # there is nothing to paint on yet
            self.pick(len(self.study.images) - 1)

    @property
    def unread(self) -> list[str]:
        """Names of files that will be listed once they are read."""
        return self._files.names

    def wait(self, seconds: float = math.inf) -> None:
        """Wait for what is being read, and list it; for that many seconds, and until one file ends."""
        self._files.wait(seconds)

    def shutdown(self) -> None:
        """Read no more files, and open nothing."""
        self._soon.stop()
        self._files.shutdown()

    def _sources_menu(self) -> QMenu:
        """Menu of the Add button."""
        # Bound methods, which Qt's signals hold weakly: a function that closes over `self` would keep the
        # dock alive after its window.
        menu = QMenu(self._panel.add_image_button)
        self._this, self._every = menu.addAction("This image"), menu.addAction("All open images")
        self._this.triggered.connect(self._add_front)
        self._every.triggered.connect(self._add_open)
        menu.addAction("Files…").triggered.connect(self._add_files)
        menu.addAction("Folder…").triggered.connect(self._add_folder)
        menu.aboutToShow.connect(self._on_menu)
        return menu

    def _on_menu(self) -> None:
        self._this.setEnabled(bool(self._front()))
        self._every.setEnabled(bool(self._not_listed()))

    def _add_front(self) -> None:
        self.add_layers(self._front())

    def _add_open(self) -> None:
        self.add_layers(self._not_listed())

    def _add_files(self) -> None:
        self.add_files(ask_open_paths(self.dock, "Add images", IMAGE_FILTER))

    def _add_folder(self) -> None:
        self.add_files(ask_folder(self.dock, "Add the images of a folder"))

    def _not_listed(self) -> list[Image]:
        """Open images that are not in the list, in the order of their layers."""
        return [one for one in images_of(self.viewer) if self.study.of_layer(one) is None]

    def _front(self) -> list[Image]:
        """The image in front, if it is not in the list."""
        front = self._panel.image_combo.layer
        return [one for one in self._not_listed() if one is front]

    def _remove(self) -> None:
        row = self._panel.images_list.currentRow()
        if 0 <= row < len(self.study.images):
            remove_asking(self.dock, self.study.images[row])
        elif 0 <= row - len(self.study.images) < len(self._files):
            self._files.take_out(row - len(self.study.images))
        elif row >= 0:
            missing = row - len(self.study.images) - len(self._files)
            remove_missing_asking(self.dock, self.study.missing[missing])

    # -- opening --------------------------------------------------------------------------------------------

    def pick(self, row: int) -> None:
        """Open the image of that row, and bring it to the front."""
        missing = row - len(self.study.images) - len(self._files)
        self._picked = None
        if row >= len(self.study.images):  # it is still being read, or missing
            if missing >= 0:
                self.mark_missing(self.study.missing[missing].entry)
                self.missing_picked.emit(self.study.missing[missing])
            else:
                self._draw()
            return
        entry = self.study.images[row]
        self._opening = entry
        layer = None if entry.layer is None else entry.layer()
        if (layer is None or not in_viewer(self.viewer, layer)) and takes_long(entry.source):
            self.controller.send(ev.Noted(f"Reading {entry.name}…"))
            load = partial(load_pixels, entry.source)
            self._files.worker.run(load, partial(self._on_loaded, entry), self._complain)
        else:
            self._open(entry)

    def mark_missing(self, entry: int) -> None:
        """Select the row of an image that was not found, so that it can be removed."""
        self._picked = entry, self._front_key
        self._draw()

    def bring_to_front(self, key: Hashable) -> None:
        """Bring the image of that key to the front, in the list or open beside it, unless it is there."""
        chosen = self.controller.state.chosen
        entry = self.study.of_key(key)
        if chosen is not None and chosen.key == key:
            return
        if entry is not None:
            self.pick(self.study.images.index(entry))
            return
        for layer in images_of(self.viewer):
            for choice in channel_choices(layer):
                if (self.controller.keys.get(layer), choice.axis) == key:
                    self.dock.show_image(layer, choice.axis, self.dock.strokes_remembered(layer))
                    return

    def _on_loaded(self, entry: StudyImage, pixels: Any) -> None:
        if entry is self._opening and entry in self.study.images:
            entry.source = replace(entry.source, data=pixels, origin=None)
            self._open(entry)

    def _open(self, entry: StudyImage) -> None:
        state = self.controller.state
        try:
            if state.chosen is None or state.chosen.key != entry.key:
                layer = self.study.open(entry, self.controller.give_number)
                self.dock.show_image(layer, entry.source.channel_axis, self._strokes_layer(entry))
            if self.controller.strokes.layer is None:
                self.dock.new_strokes(self.kept_strokes())
        except DsparseError as error:
            self._complain(str(error))
        strokes = self.controller.strokes.layer
        if strokes is not None:
            self.study.bring_to_top(entry, strokes)
            take_brush(self.viewer, strokes)
        self._show_only()
        self._draw()

    def open_front_soon(self) -> None:
        """Open the image that came to the front as another one's layer was removed, as a click would."""
        self._soon.start(0)

    def _open_front(self) -> None:
        entry = self.study.of_key(self._front_key)
        if entry is not None:
            self._open(entry)

    def kept_strokes(self) -> Any:
        """Strokes on the image in front as the list keeps them; None where it keeps none."""
        chosen = self.controller.state.chosen
        entry = None if chosen is None else self.study.of_key(chosen.key)
        return None if entry is None else entry.labels

    def _strokes_layer(self, entry: StudyImage) -> Labels | None:
        layer = None if entry.strokes_layer is None else entry.strokes_layer()
        return layer if layer is not None and in_viewer(self.viewer, layer) else None

    def _show_only(self) -> None:
        chosen = self.controller.state.chosen
        entry = None if chosen is None else self.study.of_key(chosen.key)
        if entry is not None:
            self.study.show_layers(entry, only=self._panel.only_this_check.isChecked())

    # -- following ------------------------------------------------------------------------------------------

    def _on_listed(self) -> None:
        self.controller.send(ev.StudyChanged(self.study.labelled, self.study.opened_classes))
        self._draw()

    def _on_state(self, state: LiveState) -> None:
        self.study.follow(state, self.controller.strokes.layer)

    @property
    def _front_key(self) -> Hashable:
        """Key of the image in front; None if there is none."""
        chosen = self.controller.state.chosen
        return None if chosen is None else chosen.key

    def _draw(self) -> None:
        key, images = self._front_key, self.study.images
        rows = [
            ImageRow(each.name, each.strokes, each.pixels, each.segmented, str(each.place or "an open layer"))
            for each in images
        ]
        rows += self._files.rows
        rows += [ImageRow(e.name, 0, 0, False, e.reason, e.state) for e in self.study.missing]
        front = next((n for n, each in enumerate(images) if each.key == key), -1)
        for number, each in enumerate(self.study.missing, start=len(images) + len(self._files)):
            if self._picked == (each.entry, key):
                front = number  # it stays picked, to be removed perhaps
        self._panel.images_list.show_rows(rows, front)
        self._panel.remove_image_button.setEnabled(bool(rows))

    def _complain_of(self, refused: Sequence[str]) -> None:
        others = "Another one was" if len(refused) == 2 else f"{len(refused) - 1} others were"
        more = f" {others} not added either." if len(refused) > 1 else ""
        self._complain(refused[0] + more)

    def _complain(self, sentence: str) -> None:
        self.controller.send(ev.Refused(sentence))


def _renumber_others(
    desk: weakref.ref[StudyDesk], edit: ClassEdit, step: DoneEdit, made: bool
) -> tuple[LabelledImage, ...] | None:
    present = desk()
    return None if present is None else present.renumber(edit, step, made)
