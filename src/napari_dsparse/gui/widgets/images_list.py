"""The list of images that one model learns from together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from qtpy.QtCore import QSize, Qt, Signal
from qtpy.QtWidgets import QListWidget, QListWidgetItem, QSizePolicy, QWidget

from napari_dsparse.gui.widgets.distinct_names import distinct_names
from napari_dsparse.gui.widgets.plain import plain

#: Rows shown before the list scrolls, and the fewest.
MOST_ROWS_SHOWN, FEWEST_ROWS_SHOWN = 5, 2
#: Height of a row in pixels.
ROW_HEIGHT = 22


@dataclass(frozen=True, slots=True)
class ImageRow:
    """One row.

    Parameters
    ----------
    name : str
    strokes, pixels : int
    segmented : bool
        By the newest model, wholly.
    place : str
        For the tooltip: its file, or that it is a layer.
    absent : str
        Reason why it cannot be opened now, such as "being read"; empty if it can.
    """

    name: str
    strokes: int
    pixels: int
    segmented: bool
    place: str
    absent: str = ""

    @property
    def text(self) -> str:
        """Text of the row: a dot where it is segmented, the name, the paint."""
        if self.absent:
            return f"… {self.name}: {self.absent}"
        dot = "●" if self.segmented else "○"
        if not self.strokes:
            return f"{dot} {self.name}"
        plural = "" if self.strokes == 1 else "s"
        return f"{dot} {self.name}: {self.strokes:,} stroke{plural}, {self.pixels:,} px"


class ImagesList(QListWidget):
    """Images by name, with their paint; a click opens one, files and folders can be dropped on it."""

    #: Row that the user picked.
    picked = Signal(int)
    #: Paths that were dropped: a list of `Path`.
    dropped = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAcceptDrops(True)
        self.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setToolTip("Images to learn from together; click one to open it. Drop files or folders here.")
        self.itemClicked.connect(lambda item: self.picked.emit(self.row(item)))
        self.itemActivated.connect(lambda item: self.picked.emit(self.row(item)))
        self.show_rows((), -1)

    def show_rows(self, rows: Sequence[ImageRow], front: int) -> None:
        """Show these rows, and that of the image in front selected; -1 if it is none of them."""
        self.blockSignals(True)
        while self.count() > len(rows):
            self.takeItem(self.count() - 1)
        while self.count() < len(rows):
            added = QListWidgetItem()
            added.setSizeHint(QSize(0, ROW_HEIGHT))
            self.addItem(added)
        files = (Path(row.place) for row in rows)
        names = distinct_names(
            [(row.name, file if file.is_absolute() else None) for row, file in zip(rows, files, strict=True)]
        )
        for number, row in enumerate(rows):
            item = self.item(number)
            text = replace(row, name=names[number]).text
            if item.text() != text:
                item.setText(text)
            said = (
                "segmented by the newest model" if row.segmented else "not segmented by the newest model yet"
            )
            item.setToolTip(plain(f"{row.name} ({row.place}), {row.absent or said}."))
        self.setCurrentRow(front)
        self.blockSignals(False)
        shown = min(max(len(rows), FEWEST_ROWS_SHOWN), MOST_ROWS_SHOWN)
        self.setFixedHeight(shown * ROW_HEIGHT + 2 * self.frameWidth() + 2)

    def dragEnterEvent(self, event: Any) -> None:  # noqa: N802 (Qt's name)
        """Accept files and folders."""
        if event.mimeData().hasUrls():
            event.acceptProposedAction()

    def dragMoveEvent(self, event: Any) -> None:  # noqa: N802 (Qt's name)
        """Accept them anywhere on the list."""
        if event.mimeData().hasUrls():
            event.acceptProposedAction()

    def dropEvent(self, event: Any) -> None:  # noqa: N802 (Qt's name)
        """Pass on what was dropped."""
        paths = [Path(url.toLocalFile()) for url in event.mimeData().urls() if url.isLocalFile()]
        if paths:
            event.acceptProposedAction()
            self.dropped.emit(paths)
