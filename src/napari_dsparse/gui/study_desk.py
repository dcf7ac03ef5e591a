"""The dock's list of images: its buttons, and the layers that are opened for them."""

from __future__ import annotations

import math
import time
import weakref
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from qtpy.QtCore import QObject, QTimer
from qtpy.QtWidgets import QMenu

from napari_dsparse.classifier.class_edits import ClassEdit, DoneEdit
from napari_dsparse.errors import DsparseError, ImageError
from napari_dsparse.gui.file_worker import FileWorker
from napari_dsparse.gui.layers.image_frame import channel_choices, frame_of
from napari_dsparse.gui.layers.layer_choice import images_of
from napari_dsparse.gui.layers.strokes_layer import take_brush
from napari_dsparse.gui.layers.viewer import in_viewer
from napari_dsparse.gui.removing import remove_asking
from napari_dsparse.gui.study import Study
from napari_dsparse.gui.study_files import images_in, load_pixels, read_file, takes_long
from napari_dsparse.gui.study_image import StudyImage
from napari_dsparse.gui.widgets.dialogs import IMAGE_FILTER, ask_folder, ask_open_paths
from napari_dsparse.gui.widgets.images_list import ImageRow
from napari_dsparse.gui.widgets.series_dialog import SeriesAnswer, ask_series
from napari_dsparse.images.reading import ImageFile
from napari_dsparse.images.source import ImageSource
from napari_dsparse.live import events as ev
from napari_dsparse.live.labelled_image import LabelledImage
from napari_dsparse.live.state import LiveState

if TYPE_CHECKING:
    from napari.layers import Image, Labels

    from napari_dsparse.gui.dock import SegmentationDock

T = TypeVar("T")

#: A file, and which image of it if it has several.
Place: TypeAlias = tuple[Path, int | None]


class StudyDesk(QObject):
    """Connects the list of images with the dock and the live loop.

    Parameters
    ----------
    dock : SegmentationDock
    """

    def __init__(self, dock: SegmentationDock) -> None:
        super().__init__(dock)
        self._dock = dock
        self._viewer, self._controller, self._panel = dock.viewer, dock.controller, dock.panel
        self.study = Study(self._viewer, self)
        self._reader = FileWorker("images", self)
        self._reading: list[Place] = []  # files that will be listed once they are read
        self._read_now: Place | None = None  # the first of them, which may have been taken out
        self._answers: dict[int, SeriesAnswer] = {}  # for files with so many images
        self._unread: list[str] = []  # sentences about those that cannot be
        self._dropped: list[str] = []  # names of those that were not read when another list was opened
        self._opening: StudyImage | None = None  # its pixels are being read
        self.study.listed.connect(self._on_listed)
        self.study.counted.connect(self._draw)
        self.study.replaced.connect(self._on_replaced)
        self._controller.changed.connect(self._on_state)
        panel = self._panel
        panel.images_list.picked.connect(self.pick)
        panel.images_list.dropped.connect(self.add_files)
        panel.add_image_button.setMenu(self._sources_menu())
        panel.remove_image_button.clicked.connect(self._remove)
        panel.only_this_check.toggled.connect(self._show_only)
        self._controller.editor.renumber_others = partial(_renumber_others, weakref.ref(self))
        self._draw()

    def renumber(self, edit: ClassEdit, step: DoneEdit, made: bool) -> tuple[LabelledImage, ...] | None:
        """Let strokes on images behind follow an edit of the table of classes; returns the list after it."""
        self._controller.flush_corrections()
        found = self.study.renumber(self._controller.state, edit, step, made)
        if found is None:
            return None
        for layer in found[0]:
            self._controller.editor.forget(layer)
        return found[1]

    # -- adding and removing --------------------------------------------------------------------------------

    def add_layers(self, layers: Sequence[Image]) -> None:
        """Add images that are open, each read as it was when it was in front, or as is likely."""
        self._add(layers, self._add_layer)

    def add_files(self, paths: Sequence[Path]) -> None:
        """Add images of files and folders, which are opened when they are chosen."""
        self._add(paths, self._add_file)

    def add_entries(self, images: Sequence[StudyImage]) -> None:
        """Add images with their strokes."""
        self._add(images, self.study.add)

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

    def _add_layer(self, layer: Image) -> None:
        state, frame = self._controller.state, self._controller.frame
        front = self._panel.image_combo.layer
        if layer is front and frame is not None and state.chosen is not None:
            entry = self.study.add_layer(self._controller.number_of(layer), layer, frame)
            self.study.follow(state, self._controller.strokes.layer)
        else:
            choice = self._dock.choice_for(layer) or channel_choices(layer)[0]
            entry = self.study.add_layer(self._controller.number_of(layer), layer, frame_of(layer, choice))
            strokes = self._dock.strokes_remembered(layer)
            if strokes is not None:
                self.study.take_strokes(entry, strokes)

    def _add_file(self, path: Path) -> None:
        layer = self._open_layer(path)
        if layer is not None:
            self._add_layer(layer)
        elif (path, None) not in self._reading:
            self._reading.append((path, None))
            self._read_next()

    def _open_layer(self, path: Path, *, ours: bool = False) -> Image | None:
        """The layer that napari opened a file as; or that we did, which may be of one image of several."""
        absolute = path.absolute()
        found = [one for one in images_of(self._viewer) if self.study.path_of(one) == absolute]
        return next((one for one in found if ours or one.source.path is not None), None)

    def _read_next(self) -> None:
        """Read one file after the other: they are listed, and their images asked for, in their order."""
        if self._read_now is None and self._reading:
            self._read_now = place = self._reading[0]
            self._reader.run(partial(_read, place), self._on_read, self._on_unread)

    def _on_read(self, read: tuple[ImageFile, ImageSource] | list[Path]) -> None:
        place = self._read_now
        try:
            if place is None or place not in self._reading:  # it was taken out meanwhile
                return
            if isinstance(read, list):
                self._go_into(place, read)
                return
            file, source = read
            if place[1] is None and file.choices:
                self._choose(place, file)
            else:
                self._list(place, file, source)
        except DsparseError as error:
            self._unread.append(str(error))
        finally:
            self._end_reading()

    def _go_into(self, folder: Place, files: Sequence[Path]) -> None:
        """Read the images in a folder in its place."""
        row = self._reading.index(folder)
        new = [(path, None) for path in files if self._open_layer(path) is None]
        self._reading[row : row + 1] = [each for each in new if each not in self._reading]
        layers = [self._open_layer(path) for path in files]
        self.add_layers([layer for layer in layers if layer is not None])

    def _choose(self, place: Place, file: ImageFile) -> None:
        """Read those images of a file with several that the user chooses."""
        answer = self._answers.get(len(file.choices))
        if answer is None:
            answer = ask_series(place[0].name, file.choices, file.series, len(self._reading) > 1, self._dock)
            if answer.for_others:
                self._answers[len(file.choices)] = answer
        if place in self._reading:  # another list may have been opened meanwhile
            chosen = [(place[0], number) for number, _ in file.choices if number in answer.numbers]
            row = self._reading.index(place)
            self._reading[row : row + 1] = [each for each in chosen if each not in self._reading]

    def _list(self, place: Place, file: ImageFile, source: ImageSource) -> None:
        path, series = place
        layer = self._open_layer(path, ours=True) if series is None else None
        if layer is not None:
            self._add_layer(layer)
        else:
            number = self._controller.number_of(None)
            self.study.add(StudyImage(number, _name_of(place), source, file=file, path=path))
        self.study.announce()
        if self._controller.state.chosen is None:  # there is nothing to paint on yet
            self.pick(len(self.study.images) - 1)

    def _on_unread(self, sentence: str) -> None:
        if self._read_now in self._reading:
            self._unread.append(sentence)
        self._end_reading()

    def _end_reading(self) -> None:
        place, self._read_now = self._read_now, None
        if place is not None and place in self._reading:
            self._reading.remove(place)
        if not self._reading:
            self._answers.clear()
            if self._unread:
                self._complain_of(self._unread)
                self._unread = []
        self._draw()
        self._read_next()

    def _on_replaced(self) -> None:
        """Another list was opened: files that were added to the one before have no place in it."""
        self._dropped = [_name_of(each) for each in self._reading]
        self._reading.clear()
        self._unread.clear()
        if self._dropped:
            QTimer.singleShot(0, self._say_dropped)  # after what is said of the opening

    def _say_dropped(self) -> None:
        more = f" and {len(self._dropped) - 1} more" if len(self._dropped) > 1 else ""
        self._complain(
            f"{self._dropped[0]}{more} had not been read when another list was opened; add them anew."
        )

    @property
    def unread(self) -> list[str]:
        """Names of files that will be listed once they are read."""
        return [_name_of(each) for each in self._reading]

    def wait(self, seconds: float = math.inf) -> None:
        """Wait for what is being read, and list it; for that many seconds, and until one file ends."""
        until = time.monotonic() + seconds
        self._reader.wait_and_tell()
        while self._reading and time.monotonic() < until:
            self._reader.wait_and_tell()

    def shutdown(self) -> None:
        """Read no more files."""
        self._reader.close(cancel=True)

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
        self.add_files(ask_open_paths(self._dock, "Add images", IMAGE_FILTER))

    def _add_folder(self) -> None:
        self.add_files(ask_folder(self._dock, "Add the images of a folder"))

    def _not_listed(self) -> list[Image]:
        """Open images that are not in the list, in the order of their layers."""
        return [one for one in images_of(self._viewer) if self.study.of_layer(one) is None]

    def _front(self) -> list[Image]:
        """The image in front, if it is not in the list."""
        front = self._panel.image_combo.layer
        return [one for one in self._not_listed() if one is front]

    def _remove(self) -> None:
        row = self._panel.images_list.currentRow()
        if 0 <= row < len(self.study.images):
            remove_asking(self._dock, self.study.images[row])
        elif 0 <= row - len(self.study.images) < len(self._reading):
            self._reading.pop(row - len(self.study.images))
            self._draw()

    # -- opening --------------------------------------------------------------------------------------------

    def pick(self, row: int) -> None:
        """Open the image of that row, and bring it to the front."""
        if row >= len(self.study.images):  # it is still being read
            self._draw()
            return
        entry = self.study.images[row]
        self._opening = entry
        layer = None if entry.layer is None else entry.layer()
        if (layer is None or not in_viewer(self._viewer, layer)) and takes_long(entry.source):
            self._controller.send(ev.Noted(f"Reading {entry.name}…"))
            load = partial(load_pixels, entry.source)
            self._reader.run(load, partial(self._on_loaded, entry), self._complain)
        else:
            self._open(entry)

    def _on_loaded(self, entry: StudyImage, pixels: Any) -> None:
        if entry is self._opening and entry in self.study.images:
            entry.source = replace(entry.source, data=pixels)
            self._open(entry)

    def _open(self, entry: StudyImage) -> None:
        state = self._controller.state
        try:
            if state.chosen is None or state.chosen.key != entry.key:
                layer = self.study.open(entry, self._controller.give_number)
                self._dock.show_image(layer, entry.source.channel_axis, self._strokes_layer(entry))
            if self._controller.strokes.layer is None:
                self._dock.new_strokes(self.kept_strokes())
        except DsparseError as error:
            self._complain(str(error))
        strokes = self._controller.strokes.layer
        if strokes is not None:
            self.study.bring_to_top(entry, strokes)
            take_brush(self._viewer, strokes)
        self._show_only()
        self._draw()

    def kept_strokes(self) -> Any:
        """Strokes on the image in front as the list keeps them; None where it keeps none."""
        chosen = self._controller.state.chosen
        entry = None if chosen is None else self.study.of_key(chosen.key)
        return None if entry is None else entry.labels

    def _strokes_layer(self, entry: StudyImage) -> Labels | None:
        layer = None if entry.strokes_layer is None else entry.strokes_layer()
        return layer if layer is not None and in_viewer(self._viewer, layer) else None

    def _show_only(self) -> None:
        chosen = self._controller.state.chosen
        entry = None if chosen is None else self.study.of_key(chosen.key)
        if entry is not None:
            self.study.show_layers(entry, only=self._panel.only_this_check.isChecked())

    # -- following ------------------------------------------------------------------------------------------

    def _on_listed(self) -> None:
        self._controller.send(ev.StudyChanged(self.study.labelled, self.study.opened_classes))
        self._draw()

    def _on_state(self, state: LiveState) -> None:
        self.study.follow(state, self._controller.strokes.layer)

    def _draw(self) -> None:
        chosen = self._controller.state.chosen
        images = self.study.images
        rows = [
            ImageRow(each.name, each.strokes, each.pixels, each.segmented, str(each.path or "an open layer"))
            for each in images
        ]
        rows += [ImageRow(_name_of(each), 0, 0, False, str(each[0]), reading=True) for each in self._reading]
        front = next(
            (n for n, each in enumerate(images) if chosen is not None and each.key == chosen.key), -1
        )
        self._panel.images_list.show_rows(rows, front)
        self._panel.remove_image_button.setEnabled(bool(rows))

    def _complain_of(self, refused: Sequence[str]) -> None:
        more = f" {len(refused) - 1} more were not added either." if len(refused) > 1 else ""
        self._complain(refused[0] + more)

    def _complain(self, sentence: str) -> None:
        self._controller.send(ev.Refused(sentence))


def _renumber_others(
    desk: weakref.ref[StudyDesk], edit: ClassEdit, step: DoneEdit, made: bool
) -> tuple[LabelledImage, ...] | None:
    present = desk()
    return None if present is None else present.renumber(edit, step, made)


def _read(place: Place) -> tuple[ImageFile, ImageSource] | list[Path]:
    """The image in a file; of a folder, the files with images."""
    path, series = place
    files = images_in(path) if series is None else None
    if files is None:
        return read_file(path, series)
    if not files:
        raise ImageError(f"There are no images in {path.name!r}; choose another folder.")
    return files


def _name_of(place: Place) -> str:
    path, series = place
    return path.name if series is None else f"{path.name}, image {series}"
