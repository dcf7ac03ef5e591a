"""Files that were added to the list: read one after the other beside the window, listed in their order."""

from __future__ import annotations

import math
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from qtpy.QtCore import QObject, QTimer, Signal

from napari_dsparse.errors import DsparseError, ImageError
from napari_dsparse.gui.file_worker import FileWorker
from napari_dsparse.gui.layers.layer_choice import images_of
from napari_dsparse.gui.study_files import images_in, read_file
from napari_dsparse.gui.study_image import StudyImage
from napari_dsparse.gui.widgets.images_list import ImageRow
from napari_dsparse.gui.widgets.plate_dialog import ask_fields
from napari_dsparse.gui.widgets.series_dialog import SeriesAnswer, ask_series
from napari_dsparse.images.plates import Plate, name_within, read_plate
from napari_dsparse.images.reading import ImageFile
from napari_dsparse.images.source import ImageSource

if TYPE_CHECKING:
    from napari.layers import Image

    from napari_dsparse.gui.study_desk import StudyDesk

#: A file, and which image of it if it has several.
Place: TypeAlias = tuple[Path, int | None]


class AddedFiles(QObject):
    """Reads files and folders, and hands what is in them to the list.

    Parameters
    ----------
    desk : StudyDesk
    """

    #: Other files are waiting to be listed.
    changed = Signal()
    #: A file was listed.
    listed = Signal()
    #: A list of sentences about files that cannot be added.
    refused = Signal(object)

    def __init__(self, desk: StudyDesk) -> None:
        super().__init__(desk)
        self._desk, self._study, self._controller = desk, desk.study, desk.controller
        #: Reads images, these and those that are opened.
        self.worker = FileWorker("images", self)
        self._places: list[Place] = []  # of files that will be listed once they are read
        self._read_now: Place | None = None  # the first of them, which may have been taken out
        self._answers: dict[int, SeriesAnswer] = {}  # for files with so many images
        self._unread: list[str] = []  # sentences about those that cannot be
        self._dropped: list[str] = []  # names of those that were not read when another list was opened
        self._study.replaced.connect(self._on_replaced)

    def __len__(self) -> int:
        """Number of files that will be listed once they are read."""
        return len(self._places)

    @property
    def names(self) -> list[str]:
        """Their names."""
        return [_name_of(each) for each in self._places]

    @property
    def rows(self) -> list[ImageRow]:
        """Their rows in the list."""
        return [ImageRow(_name_of(each), 0, 0, False, str(each[0]), "being read") for each in self._places]

    def add(self, path: Path) -> None:
        """Add the image of a file, or those of a folder; one that is open is listed at once.

        Raises
        ------
        ImageError
            If it is open, and cannot be listed.
        """
        layer = self._open_layer(path)
        if layer is not None:
            self._desk.add_layer(layer)
        elif (path, None) not in self._places:
            self._places.append((path, None))
            self._read_next()

    def take_out(self, row: int) -> None:
        """List that file no more."""
        self._places.pop(row)
        self.changed.emit()

    def wait(self, seconds: float = math.inf) -> None:
        """Wait for what is being read, and list it; for that many seconds, and until one file ends."""
        until = time.monotonic() + seconds
        self.worker.wait_and_tell()
        while self._places and time.monotonic() < until:
            self.worker.wait_and_tell()

    def shutdown(self) -> None:
        """Read no more files."""
        self.worker.close(cancel=True)

    def _open_layer(self, path: Path, *, ours: bool = False) -> Image | None:
        """The layer that napari opened a file as; or that we did, which may be of one image of several."""
        absolute = path.absolute()
        open_now = images_of(self._desk.viewer)
        found = [layer for layer in open_now if self._study.path_of(layer) == absolute]
        return next((layer for layer in found if ours or layer.source.path is not None), None)

    # -- one after the other --------------------------------------------------------------------------------

    def _read_next(self) -> None:
        """Read the next file; its images are asked for, and listed, before those of the one after it."""
        if self._read_now is None and self._places:
            self._read_now = place = self._places[0]
            self.worker.run(partial(_read, place), self._on_read, self._on_unread)

    def _on_read(self, read: tuple[ImageFile, ImageSource] | list[Path] | Plate) -> None:
        place = self._read_now
        try:
            if place is None or place not in self._places:  # it was taken out meanwhile
                return
            if isinstance(read, Plate):
                read = ask_fields(read, self._desk.dock)
            if isinstance(read, list):
                if place in self._places:  # another list may have been opened meanwhile
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

    def _go_into(self, folder: Place, files: list[Path]) -> None:
        """Read the images in a folder in its place."""
        row = self._places.index(folder)
        new = [(path, None) for path in files if self._open_layer(path) is None]
        self._places[row : row + 1] = [each for each in new if each not in self._places]
        layers = [self._open_layer(path) for path in files]
        self._desk.add_layers([layer for layer in layers if layer is not None])

    def _choose(self, place: Place, file: ImageFile) -> None:
        """Read those images of a file with several that the user chooses."""
        answer = self._answers.get(len(file.choices))
        if answer is None:
            several = len(self._places) > 1
            answer = ask_series(place[0].name, file.choices, file.series, several, self._desk.dock)
            if answer.for_others:
                self._answers[len(file.choices)] = answer
        if place in self._places:  # another list may have been opened meanwhile
            chosen = [(place[0], number) for number, _ in file.choices if number in answer.numbers]
            row = self._places.index(place)
            self._places[row : row + 1] = [each for each in chosen if each not in self._places]

    def _list(self, place: Place, file: ImageFile, source: ImageSource) -> None:
        path, series = place
        layer = self._open_layer(path, ours=True) if series is None else None
        if layer is not None:
            self._desk.add_layer(layer)
        else:
            number = self._controller.number_of(None)
            self._study.add(StudyImage(number, _name_of(place), source, file=file, path=path))
        self.listed.emit()

    def _on_unread(self, sentence: str) -> None:
        if self._read_now in self._places:
            self._unread.append(sentence)
        self._end_reading()

    def _end_reading(self) -> None:
        place, self._read_now = self._read_now, None
        if place is not None and place in self._places:
            self._places.remove(place)
        if not self._places:
            self._answers.clear()
            if self._unread:
                self.refused.emit(self._unread)
                self._unread = []
        self.changed.emit()
        self._read_next()

    def _on_replaced(self) -> None:
        """Another list was opened: files that were added to the one before have no place in it."""
        self._dropped = self.names
        self._places.clear()
        self._unread.clear()
        if self._dropped:
            QTimer.singleShot(0, self._say_dropped)  # after what is said of the opening

    def _say_dropped(self) -> None:
        more = f" and {len(self._dropped) - 1} more" if len(self._dropped) > 1 else ""
        sentence = f"{self._dropped[0]}{more} had not been read when another list was opened; add them anew."
        self.refused.emit([sentence])


def _read(place: Place) -> tuple[ImageFile, ImageSource] | list[Path] | Plate:
    """The image in a file; of a folder, the files with images; of a plate, its wells."""
    path, series = place
    plate = read_plate(path) if series is None else None
    if plate is not None and plate.wells:
        return plate
    files = images_in(path) if series is None else None
    if files is None:
        return read_file(path, series)
    if not files:
        raise ImageError(f"There are no images in {path.name!r}; choose another folder.")
    return files


def _name_of(place: Place) -> str:
    path, series = place
    return name_within(path) if series is None else f"{name_within(path)}, image {series}"
