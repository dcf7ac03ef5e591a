"""A table of images and what has become of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from qtpy.QtCore import QAbstractTableModel, QModelIndex, Qt, Signal
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableView, QWidget

from napari_dsparse.gui.widgets.plain import plain
from napari_dsparse.gui.widgets.status_label import RED_ON_DARK, RED_ON_LIGHT

#: Rows visible at least.
FEWEST_ROWS = 4


class Stage(Enum):
    """Stages of an image in a batch."""

    WAITING = ""
    RUNNING = "running"
    DONE = "done"
    SKIPPED = "skipped"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class BatchRow:
    """An image and what has become of it.

    Parameters
    ----------
    name : str
    place : str
        Its file, or where else it is from.
    stage : Stage
    text : str
        Progress, results, or the reason why there are none.
    detail : str
        More of the same, for the tooltip.
    """

    name: str
    place: str
    stage: Stage = Stage.WAITING
    text: str = ""
    detail: str = ""


class _Rows(QAbstractTableModel):
    """The rows, as Qt asks for them: thousands cost nothing until they are seen."""

    HEADINGS = ("Image", "Result")

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.rows: list[BatchRow] = []
        self.red = QColor(RED_ON_DARK)

    def rowCount(self, parent: QModelIndex | None = None) -> int:  # noqa: N802 (Qt's name)
        """Number of images."""
        return 0 if parent is not None and parent.isValid() else len(self.rows)

    def columnCount(self, parent: QModelIndex | None = None) -> int:  # noqa: N802 (Qt's name)
        """Image and result."""
        return len(self.HEADINGS)

    def headerData(self, section: int, orientation: Any, role: int = 0) -> Any:  # noqa: N802 (Qt's name)
        """Headings of the columns."""
        if role == Qt.ItemDataRole.DisplayRole and orientation == Qt.Orientation.Horizontal:
            return self.HEADINGS[section]
        return None

    def data(self, index: QModelIndex, role: int = 0) -> Any:
        """Content of a cell."""
        row = self.rows[index.row()]
        if role == Qt.ItemDataRole.DisplayRole:
            return row.name if index.column() == 0 else _shown(row)
        if role == Qt.ItemDataRole.ToolTipRole:
            return plain(row.place if index.column() == 0 else f"{_shown(row)} {row.detail}".strip())
        if role == Qt.ItemDataRole.ForegroundRole and index.column() == 1 and row.stage is Stage.FAILED:
            return self.red
        return None


class BatchTable(QTableView):
    """The table; files and folders may be dropped on it."""

    #: Files and folders that were dropped.
    dropped = Signal(list)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._rows = _Rows(self)
        self.setModel(self._rows)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.setWordWrap(False)
        self.setShowGrid(False)
        self.setTabKeyNavigation(False)
        self.setAcceptDrops(True)
        self.verticalHeader().hide()
        header = self.horizontalHeader()
        header.setDefaultAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        header.setHighlightSections(False)
        header.setStretchLastSection(True)
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Interactive)
        self.setColumnWidth(0, 190)
        self.setToolTip("The images to segment, and what has become of each. Drop files or folders here.")
        self.setMinimumHeight((FEWEST_ROWS + 1) * self.verticalHeader().defaultSectionSize())

    @property
    def rows(self) -> tuple[BatchRow, ...]:
        """The rows that are shown."""
        return tuple(self._rows.rows)

    @property
    def selected(self) -> list[int]:
        """Numbers of the selected rows."""
        return sorted(index.row() for index in self.selectionModel().selectedRows())

    def show_rows(self, rows: Sequence[BatchRow]) -> None:
        """Show these rows instead of those before."""
        self._rows.beginResetModel()
        self._rows.rows = list(rows)
        self._rows.endResetModel()

    def show_row(self, number: int, row: BatchRow) -> None:
        """Show another content of a row, and move there."""
        self._rows.rows[number] = row
        first, last = self._rows.index(number, 0), self._rows.index(number, 1)
        self._rows.dataChanged.emit(first, last)
        if row.stage is Stage.RUNNING:
            self.scrollTo(first)

    def set_foreground(self, color: str) -> None:
        """Choose the red of failures that can be read where text has this colour."""
        self._rows.red = QColor(RED_ON_DARK if QColor(color).lightness() > 127 else RED_ON_LIGHT)
        self.viewport().update()

    # Qt's own table would take drops for a change of its cells.

    def dragEnterEvent(self, event: Any) -> None:  # noqa: N802 (Qt's name)
        """Accept files and folders."""
        if event.mimeData().hasUrls():
            event.acceptProposedAction()

    def dragMoveEvent(self, event: Any) -> None:  # noqa: N802 (Qt's name)
        """Accept them anywhere on the table."""
        self.dragEnterEvent(event)

    def dropEvent(self, event: Any) -> None:  # noqa: N802 (Qt's name)
        """Pass on what was dropped."""
        paths = [Path(url.toLocalFile()) for url in event.mimeData().urls() if url.isLocalFile()]
        if paths:
            event.acceptProposedAction()
            self.dropped.emit(paths)


def _shown(row: BatchRow) -> str:
    """The text of the column "Result"."""
    known = row.stage in (Stage.WAITING, Stage.RUNNING)
    return row.text if known else f"{row.stage.value}: {row.text}"
