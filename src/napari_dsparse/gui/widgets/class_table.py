"""The table of classes: key, colour, name, paint; a click selects the class to paint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from qtpy.QtCore import QEvent, QPoint, QSize, Qt, Signal
from qtpy.QtGui import QColor, QKeyEvent, QKeySequence
from qtpy.QtWidgets import (
    QAbstractItemView,
    QColorDialog,
    QHeaderView,
    QMenu,
    QSizePolicy,
    QTableWidget,
    QTableWidgetItem,
    QWidget,
)

from napari_dsparse.classifier.classes import ClassInfo
from napari_dsparse.gui.layers.strokes_layer import KEYED_CLASSES
from napari_dsparse.gui.widgets.class_menu import fill_class_menu, fill_merge_menu
from napari_dsparse.gui.widgets.plain import plain
from napari_dsparse.gui.widgets.swatch import swatch
from napari_dsparse.live.expected_iou import WHAT_IT_IS, range_text

KEY, COLOR, NAME, STROKES, PIXELS, IOU = range(6)
#: Rows shown before the table scrolls.
MOST_ROWS_SHOWN = 6


class ClassTable(QTableWidget):
    """Names, colours and paint of the classes, and their expected accuracy.

    Click a row to paint that class, double-click its name to rename it, double-click its colour to change it;
    a right click offers the rest. Once Tab has led the focus here, Alt+Up and Alt+Down move a class, Delete
    removes it, Ctrl+Z undoes an edit.
    """

    #: The user renamed or recoloured a class: the new tuple of `ClassInfo`.
    edited = Signal(object)
    #: The user picked a class to paint, by number from 1.
    picked = Signal(int)
    #: The user moves a class: its number, and the place that it takes.
    move_wanted = Signal(int, int)
    #: The user merges a class into another: both numbers.
    merge_wanted = Signal(int, int)
    #: The user removes a class, by number.
    remove_wanted = Signal(int)
    #: The user takes over the classes of a project (False) or of a model (True).
    copy_wanted = Signal(bool)
    #: The user takes back the last edit.
    undo_wanted = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(0, 6, parent)
        self._classes: tuple[ClassInfo, ...] = ()
        #: Title of the edit that can be undone.
        self.undo_title: str | None = None
        self.menu = QMenu(self)
        self.menu.setObjectName("class_menu")
        self.setHorizontalHeaderLabels(["", "", "Class", "Strokes", "Pixels", "IoU"])
        self.horizontalHeaderItem(IOU).setToolTip(WHAT_IT_IS)
        self.setColumnHidden(IOU, True)
        self.verticalHeader().hide()
        self.verticalHeader().setDefaultSectionSize(26)
        self.setShowGrid(False)
        self.setWordWrap(False)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setEditTriggers(
            QAbstractItemView.EditTrigger.DoubleClicked | QAbstractItemView.EditTrigger.EditKeyPressed
        )
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setIconSize(QSize(14, 14))
        header = self.horizontalHeader()
        header.setHighlightSections(False)
        header.setMinimumSectionSize(20)
        for column in (KEY, COLOR, STROKES, PIXELS, IOU):
            header.setSectionResizeMode(column, QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(NAME, QHeaderView.ResizeMode.Stretch)
        self.itemChanged.connect(self._on_item_changed)
        self.cellClicked.connect(lambda row, column: self.picked.emit(row + 1))
        self.cellDoubleClicked.connect(self._on_double_click)
        self.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        self.customContextMenuRequested.connect(self._on_menu)
        self._fit_height()

    def show_classes(
        self,
        classes: Sequence[ClassInfo],
        counts: Sequence[tuple[int, int]] | None,
        brush: int,
        expected: Mapping[int, tuple[float, float]] | None = None,
    ) -> None:
        """Show these classes, and the row of the brush selected.

        Parameters
        ----------
        classes : sequence of ClassInfo
        counts : sequence of (strokes, pixels), or None
            By class; None while they are being counted.
        brush : int
            Class that is painted, from 1.
        expected : mapping of int to pair of float, optional
            Range of IoU by class; there is no column for it while it is empty.
        """
        self._classes = tuple(classes)
        self.blockSignals(True)
        self.setRowCount(len(classes))
        for row, info in enumerate(classes):
            self._show_row(row, info, _texts(counts, row))
            span = (expected or {}).get(row + 1)
            self._item(row, IOU).setText("" if span is None else range_text(*span))
        self.setColumnHidden(IOU, not expected)
        self.blockSignals(False)
        self.show_brush(brush)
        self._fit_height()

    def show_brush(self, brush: int) -> None:
        """Select the row of the class that is painted; none while the brush erases."""
        if 1 <= brush <= self.rowCount():
            self.selectRow(brush - 1)
        else:
            self.clearSelection()

    def _show_row(self, row: int, info: ClassInfo, counts: tuple[str, str]) -> None:
        key = self._item(row, KEY)
        key.setText(str(row + 1) if row < KEYED_CLASSES else "")
        key.setToolTip(f"Press {row + 1} to paint this class." if row < KEYED_CLASSES else "")
        color = self._item(row, COLOR)
        color.setIcon(swatch(info.color))
        color.setToolTip("Double-click to change the colour.")
        color.setData(Qt.ItemDataRole.AccessibleTextRole, info.color)
        name = self._item(row, NAME)
        if name.text() != info.name:
            name.setText(info.name)
        name.setToolTip(plain(f"{info.name}: double-click to rename."))
        self._item(row, STROKES).setText(counts[0])
        self._item(row, PIXELS).setText(counts[1])

    def _item(self, row: int, column: int) -> QTableWidgetItem:
        item = self.item(row, column)
        if item is None:
            item = QTableWidgetItem()
            flags = Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable
            item.setFlags(flags | Qt.ItemFlag.ItemIsEditable if column == NAME else flags)
            if column == IOU:
                item.setToolTip(WHAT_IT_IS)
            if column in (STROKES, PIXELS, IOU):
                item.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
            self.setItem(row, column, item)
        return item

    def _on_item_changed(self, item: QTableWidgetItem) -> None:
        if item.column() != NAME:
            return
        row = item.row()
        # (text that is pasted may hold what no file, terminal or page is to get)
        name = "".join(c for c in item.text() if c.isprintable()).strip()
        self.blockSignals(True)
        item.setText(self._classes[row].name)  # until it is the class's name, which may be refused
        self.blockSignals(False)
        if name and name != self._classes[row].name:  # one without would be lost in files
            self._edit(row, replace(self._classes[row], name=name))

    @property
    def selected_class(self) -> int:
        """Number of the class whose row is selected; 0 if none is."""
        rows = self.selectionModel().selectedRows()
        return rows[0].row() + 1 if rows else 0

    def fill_menu(self, number: int) -> None:
        """Offer in the menu what can be done with class `number`."""
        row, count, few = number - 1, len(self._classes), len(self._classes) <= 2
        fill_class_menu(
            self.menu,
            {
                "Rename": lambda: self.editItem(self._item(row, NAME)),
                "Colour…": lambda: self._on_double_click(row, COLOR),
                "-1": None,
                "Move up": None if number == 1 else lambda: self.move_wanted.emit(number, number - 1),
                "Move down": None if number == count else lambda: self.move_wanted.emit(number, number + 1),
                "-2": None,
                "Remove": None if few else lambda: self.remove_wanted.emit(number),
                "-3": None,
                "Copy classes from project…": lambda: self.copy_wanted.emit(False),
                "Copy classes from model…": lambda: self.copy_wanted.emit(True),
                "-4": None,
                self.undo_title or "Undo": self.undo_wanted.emit if self.undo_title else None,
            },
        )
        for old in self.menu.findChildren(QMenu):
            old.deleteLater()
        merging = QMenu("Merge into", self.menu)
        merging.setEnabled(not few)
        fill_merge_menu(merging, self._classes, number, lambda into: self.merge_wanted.emit(number, into))
        remove = next(action for action in self.menu.actions() if action.text() == "Remove")
        self.menu.insertMenu(remove, merging)

    def _on_menu(self, place: QPoint) -> None:
        row = self.rowAt(place.y())
        if row >= 0:
            self.picked.emit(row + 1)
            self.fill_menu(row + 1)
            self.menu.popup(self.viewport().mapToGlobal(place))

    def _on_double_click(self, row: int, column: int) -> None:
        if column != COLOR:
            return
        before = self._classes[row]
        color = QColorDialog.getColor(QColor(before.color), self, f"Colour of {before.name}")
        if color.isValid():
            self._edit(row, replace(before, color=color.name()))

    def _edit(self, row: int, info: ClassInfo) -> None:
        self.edited.emit((*self._classes[:row], info, *self._classes[row + 1 :]))

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802 (Qt's name)
        """A number picks its class here as on the canvas."""
        text, number, count = event.text(), self.selected_class, len(self._classes)
        step = {Qt.Key.Key_Up: -1, Qt.Key.Key_Down: 1}.get(Qt.Key(event.key()), 0)
        if step and event.modifiers() & Qt.KeyboardModifier.AltModifier:
            if number and 1 <= number + step <= count:
                self.move_wanted.emit(number, number + step)
        elif event.key() == Qt.Key.Key_Delete and number and count > 2:
            self.remove_wanted.emit(number)
        elif event.matches(QKeySequence.StandardKey.Undo):
            self.undo_wanted.emit()
        elif len(text) == 1 and text in "123456789" and int(text) <= self.rowCount():
            self.picked.emit(int(text))
        elif (
            len(text) == 1
            and text.isprintable()
            and not event.modifiers() & ~Qt.KeyboardModifier.ShiftModifier
        ):
            event.ignore()  # a letter is for the canvas, not for finding a row
        else:
            super().keyPressEvent(event)

    def _fit_height(self) -> None:
        """Height of its rows, up to a limit."""
        rows = min(max(self.rowCount(), 2), MOST_ROWS_SHOWN)
        rows_height = rows * self.verticalHeader().defaultSectionSize()
        header_height = self.horizontalHeader().sizeHint().height()
        self.setFixedHeight(header_height + rows_height + 2 * self.frameWidth() + 2)
        more = self.rowCount() > MOST_ROWS_SHOWN
        policy = Qt.ScrollBarPolicy
        self.setVerticalScrollBarPolicy(policy.ScrollBarAsNeeded if more else policy.ScrollBarAlwaysOff)

    def changeEvent(self, event: QEvent) -> None:  # noqa: N802 (Qt's name)
        """Adapt to the header height of a new theme."""
        super().changeEvent(event)
        if event.type() == QEvent.Type.StyleChange:
            self._fit_height()


def _texts(counts: Sequence[tuple[int, int]] | None, row: int) -> tuple[str, str]:
    """Number of strokes and of pixels of a class."""
    if counts is None:
        return "…", "…"
    strokes, pixels = counts[row] if row < len(counts) else (0, 0)
    return f"{strokes:,}", f"{pixels:,}"
