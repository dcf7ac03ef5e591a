"""The question which class each number of a labels layer is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QAbstractItemView,
    QComboBox,
    QDialog,
    QDialogButtonBox,
    QHeaderView,
    QLabel,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_dsparse.classifier.classes import ClassInfo, next_class
from napari_dsparse.gui.widgets.swatch import swatch

#: In place of a class's number: no class, and one that is not there yet.
NO_CLASS, NEW_CLASS = 0, -1


@dataclass(frozen=True, slots=True)
class NumberClasses:
    """The class of each number of a layer.

    Parameters
    ----------
    numbers : mapping of int to int
        Class, from 1, of each number of the layer; 0 where its pixels are left unpainted.
    classes : tuple of ClassInfo
        All that there are then, new ones last.
    """

    numbers: Mapping[int, int]
    classes: tuple[ClassInfo, ...]


class NumbersDialog(QDialog):
    """Asks for the class of each number, with the classes in their order as a first guess.

    Parameters
    ----------
    name : str
        Of the layer.
    pixels : mapping of int to int
        Pixels of each of its numbers.
    classes : sequence of ClassInfo
        Those there are.
    parent : QWidget, optional
    """

    def __init__(
        self,
        name: str,
        pixels: Mapping[int, int],
        classes: Sequence[ClassInfo],
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self.setObjectName("numbers_dialog")
        self.setWindowTitle("Numbers to classes")
        self._classes = tuple(classes)
        text = QLabel(f"Choose the class of every number of '{name}'; they go to a new layer of strokes.")
        text.setTextFormat(Qt.TextFormat.PlainText)
        text.setWordWrap(True)
        self.numbers_table = QTableWidget(len(pixels), 3)
        self.numbers_table.setHorizontalHeaderLabels(["Number", "Pixels", "Class"])
        self.numbers_table.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
        self.numbers_table.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.combos: dict[int, QComboBox] = {}
        for row, (number, count) in enumerate(sorted(pixels.items())):
            for column, said in enumerate((f"{number}", f"{count:,}")):
                cell = QTableWidgetItem(said)
                cell.setFlags(Qt.ItemFlag.ItemIsEnabled)
                cell.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
                self.numbers_table.setItem(row, column, cell)
            self.combos[number] = self._combo(row, number)
            self.numbers_table.setCellWidget(row, 2, self.combos[number])
        rows, columns = self.numbers_table.verticalHeader(), self.numbers_table.horizontalHeader()
        assert rows is not None
        assert columns is not None
        rows.hide()
        columns.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        columns.setSectionResizeMode(2, QHeaderView.ResizeMode.Stretch)
        buttons = QDialogButtonBox(
            QDialogButtonBox.StandardButton.Ok | QDialogButtonBox.StandardButton.Cancel
        )
        buttons.accepted.connect(self.accept)
        buttons.rejected.connect(self.reject)
        layout = QVBoxLayout(self)
        layout.addWidget(text)
        layout.addWidget(self.numbers_table, 1)
        layout.addWidget(buttons)
        self.resize(360, min(420, 150 + 34 * len(pixels)))

    def _combo(self, row: int, number: int) -> QComboBox:
        combo = QComboBox()
        combo.setObjectName(f"class_of_{number}_combo")
        combo.setToolTip(f"The class of the pixels that are {number}.")
        combo.addItem("none: left unpainted", NO_CLASS)
        for at, info in enumerate(self._classes, start=1):
            combo.addItem(swatch(info.color), info.name, at)
        combo.addItem("a new class", NEW_CLASS)
        combo.setCurrentIndex(min(row + 1, combo.count() - 1))
        return combo

    @property
    def chosen(self) -> NumberClasses:
        """The class of each number as chosen now; every "new class" is one of its own."""
        classes, numbers = self._classes, {}
        for number, combo in self.combos.items():
            wanted = int(combo.currentData())
            if wanted == NEW_CLASS:
                classes = (*classes, next_class(classes))
                wanted = len(classes)
            numbers[number] = wanted
        return NumberClasses(numbers, classes)


def ask_classes_of_numbers(
    parent: QWidget, name: str, pixels: Mapping[int, int], classes: Sequence[ClassInfo]
) -> NumberClasses | None:
    """The class of each number of a layer, as the user says; None if it was cancelled."""
    dialog = NumbersDialog(name, pixels, classes, parent)
    accepted = dialog.exec() == QDialog.DialogCode.Accepted
    chosen = dialog.chosen
    dialog.deleteLater()
    return chosen if accepted else None
