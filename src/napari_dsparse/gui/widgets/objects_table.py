"""A table of measured objects that can be sorted, saved, and searched by clicks on the image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import (
    QAbstractTableModel,
    QEvent,
    QItemSelectionModel,
    QModelIndex,
    QSortFilterProxyModel,
    Qt,
    Signal,
)
from qtpy.QtWidgets import (
    QAbstractItemView,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QTableView,
    QVBoxLayout,
    QWidget,
)

from napari_dsparse.prediction.measurement_table import column_titles

if TYPE_CHECKING:
    import pandas as pd

#: Rows by which the width of a column is chosen.
_ROWS_LOOKED_AT = 20


class ObjectsTable(QWidget):
    """The table, with a line on what it shows and a button to save it."""

    #: Number of the row, in the table as it was made, that the user chose.
    picked = Signal(int)
    #: The user wants it saved.
    save_wanted = Signal()
    #: The window around it closed it.
    closed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("objects_table")
        self.note = QLabel()
        self.note.setObjectName("objects_table_note")
        self.note.setTextFormat(Qt.TextFormat.PlainText)
        self.note.setWordWrap(True)
        self.save_button = QPushButton("Save CSV…")
        self.save_button.setObjectName("save_table_button")
        self.save_button.setToolTip("Save the table as a text file that spreadsheets and scripts read.")
        self.save_button.clicked.connect(self.save_wanted)
        self.view = QTableView()
        self.view.setObjectName("objects_table_view")
        self.view.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.view.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.view.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.view.setToolTip("A row for each object: click one to go there; click a title to sort.")
        self.view.verticalHeader().hide()
        self.view.horizontalHeader().setResizeContentsPrecision(_ROWS_LOOKED_AT)
        self._sorted = QSortFilterProxyModel(self)
        self._sorted.setSortRole(Qt.ItemDataRole.UserRole)
        self.view.setModel(self._sorted)
        self.view.selectionModel().currentRowChanged.connect(self._on_row)
        top = QHBoxLayout()
        top.setContentsMargins(0, 0, 0, 0)
        top.addWidget(self.note, stretch=1)
        top.addWidget(self.save_button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(6, 6, 6, 6)
        layout.setSpacing(5)
        layout.addLayout(top)
        layout.addWidget(self.view)
        self._docked = self._following = False

    def show_table(self, table: pd.DataFrame) -> None:
        """Show a table as `measurement_table` makes it, its units in the titles, sorted by number."""
        before = self._sorted.sourceModel()
        self.view.setSortingEnabled(False)
        self._sorted.setSourceModel(TableModel(table, self))
        if before is not None:
            before.deleteLater()
        self._sorted.sort(-1)
        self.view.horizontalHeader().setSortIndicator(-1, Qt.SortOrder.AscendingOrder)
        self.view.setSortingEnabled(True)
        self.view.resizeColumnsToContents()

    def show_row(self, number: int | None) -> None:
        """Select a row of the table as it was made, without saying that it was picked; None selects none."""
        self._following = True
        selection = self.view.selectionModel()
        if number is None:
            selection.clear()
        else:
            source = self._sorted.sourceModel()
            index = self._sorted.mapFromSource(source.index(number, 0))
            flags = QItemSelectionModel.SelectionFlag
            selection.setCurrentIndex(index, flags.ClearAndSelect | flags.Rows)
            self.view.scrollTo(index)
        self._following = False

    def _on_row(self, current: QModelIndex, before: QModelIndex) -> None:
        if current.isValid() and not self._following:
            self.picked.emit(self._sorted.mapToSource(current).row())

    def event(self, event: QEvent) -> bool:
        """Notice that napari has closed the dock around it, which sends no close event."""
        if event.type() == QEvent.Type.ParentChange:
            if self.parent() is not None:
                self._docked = True
            elif self._docked:
                self._docked = False
                self.closed.emit()
        return bool(super().event(event))


class TableModel(QAbstractTableModel):
    """A pandas table for Qt's views: numbers shown to four digits, and sorted as numbers."""

    def __init__(self, table: pd.DataFrame, parent: Any = None) -> None:
        super().__init__(parent)
        unit = str(table["unit"].iloc[0]) if len(table) and "unit" in table else "pixel"
        names = [str(name) for name in table.columns if name not in ("unit", "image")]
        names += ["image"] * ("image" in table)  # long, and the same in every row
        self._columns = [table[name].to_numpy() for name in names]
        self._titles = column_titles(names, unit)
        self._rows = len(table)

    def rowCount(self, parent: QModelIndex | None = None) -> int:  # noqa: N802 (Qt's name)
        """Number of objects."""
        return 0 if parent is not None and parent.isValid() else self._rows

    def columnCount(self, parent: QModelIndex | None = None) -> int:  # noqa: N802 (Qt's name)
        """Number of columns."""
        return 0 if parent is not None and parent.isValid() else len(self._titles)

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Text of a cell, or its value to sort by."""
        if not index.isValid():
            return None
        value = self._columns[index.column()][index.row()]
        number = isinstance(value, np.number | int | float)
        if role == Qt.ItemDataRole.DisplayRole:
            return cell_text(value)
        if role == Qt.ItemDataRole.UserRole:
            return float(value) if number else str(value)
        if role == Qt.ItemDataRole.TextAlignmentRole and number:
            return int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        return None

    def headerData(  # noqa: N802 (Qt's name)
        self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole
    ) -> Any:
        """Titles of the columns, with units."""
        if orientation == Qt.Orientation.Horizontal and role == Qt.ItemDataRole.DisplayRole:
            return self._titles[section]
        return None


def cell_text(value: Any) -> str:
    """A value as a cell shows it: whole numbers whole, others to four digits, unknown ones as a dash."""
    if not isinstance(value, float | np.floating):
        return str(value)
    number = float(value)
    return "–" if np.isnan(number) else f"{number:.4g}" if abs(number) < 1e4 else f"{number:.0f}"
