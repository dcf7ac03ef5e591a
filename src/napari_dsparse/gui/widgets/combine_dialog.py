"""The choice of layers that become the channels of one image, and of their order."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QDialog,
    QDialogButtonBox,
    QHBoxLayout,
    QLabel,
    QListWidget,
    QListWidgetItem,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

_NUMBER = Qt.ItemDataRole.UserRole


class CombineDialog(QDialog):
    """Asks which of some layers to combine, and in which order.

    Parameters
    ----------
    names : sequence of str
        Of the layers, in the order first offered.
    chosen : set of int
        Indices of those that are chosen at first.
    problem : callable
        Takes the indices chosen, in order; returns why they cannot be combined, or an empty string.
    parent : QWidget, optional
    """

    def __init__(
        self,
        names: Sequence[str],
        chosen: set[int],
        problem: Callable[[list[int]], str],
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self.setObjectName("combine_dialog")
        self.setWindowTitle("Combine layers")
        self._problem = problem
        self.combine_list = QListWidget()
        self.combine_list.setDragDropMode(QListWidget.DragDropMode.InternalMove)
        self.combine_list.setToolTip("Checked layers become channels, the topmost first; drag to reorder.")
        for number, name in enumerate(names):
            item = QListWidgetItem(name)
            item.setData(_NUMBER, number)
            item.setFlags(item.flags() | Qt.ItemFlag.ItemIsUserCheckable)
            item.setCheckState(Qt.CheckState.Checked if number in chosen else Qt.CheckState.Unchecked)
            self.combine_list.addItem(item)
        self.combine_list.setCurrentRow(0)
        self.up_button = QPushButton("Up")
        self.up_button.setToolTip("Move the selected layer one channel forward.")
        self.down_button = QPushButton("Down")
        self.down_button.setToolTip("Move the selected layer one channel back.")
        self.problem_label = QLabel()
        self.problem_label.setWordWrap(True)
        self.problem_label.setTextFormat(Qt.TextFormat.PlainText)
        self.problem_label.setMinimumHeight(3 * self.problem_label.fontMetrics().lineSpacing())
        self.problem_label.setAlignment(Qt.AlignmentFlag.AlignTop)
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Cancel)
        self.combine_button = QPushButton("Combine")
        buttons.addButton(self.combine_button, QDialogButtonBox.ButtonRole.AcceptRole)
        for label, control in vars(self).items():
            if isinstance(control, QWidget):
                control.setObjectName(label)
        moves = QVBoxLayout()
        moves.addWidget(self.up_button)
        moves.addWidget(self.down_button)
        moves.addStretch(1)
        middle = QHBoxLayout()
        middle.addWidget(self.combine_list, 1)
        middle.addLayout(moves)
        layout = QVBoxLayout(self)
        layout.addWidget(QLabel("Channels of one image, the topmost first:"))
        layout.addLayout(middle)
        layout.addWidget(self.problem_label)
        layout.addWidget(buttons)
        self.resize(380, 320)
        self.up_button.clicked.connect(self._move_up)
        self.down_button.clicked.connect(self._move_down)
        self.combine_list.itemChanged.connect(self._check)
        self.combine_list.model().rowsMoved.connect(self._check)
        buttons.accepted.connect(self.accept)
        buttons.rejected.connect(self.reject)
        self._check()

    @property
    def chosen(self) -> list[int]:
        """Indices of the layers that are chosen, in order."""
        items = [self.combine_list.item(row) for row in range(self.combine_list.count())]
        return [item.data(_NUMBER) for item in items if item.checkState() == Qt.CheckState.Checked]

    def _move_up(self) -> None:
        self._move(-1)

    def _move_down(self) -> None:
        self._move(1)

    def _move(self, step: int) -> None:
        row = self.combine_list.currentRow()
        if row >= 0 and 0 <= row + step < self.combine_list.count():
            self.combine_list.insertItem(row + step, self.combine_list.takeItem(row))
            self.combine_list.setCurrentRow(row + step)
            self._check()

    def _check(self, *change: object) -> None:
        problem = self._problem(self.chosen)
        self.problem_label.setText(problem)
        self.combine_button.setEnabled(not problem)


def ask_combination(
    names: Sequence[str], chosen: set[int], problem: Callable[[list[int]], str], parent: QWidget
) -> list[int] | None:
    """Indices of the layers to combine, in order; None if the user thinks better of it."""
    dialog = CombineDialog(names, chosen, problem, parent)
    accepted = dialog.exec() == QDialog.DialogCode.Accepted
    found = dialog.chosen if accepted else None
    dialog.deleteLater()
    return found
