"""The choice among the images that one file holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QCheckBox,
    QDialog,
    QDialogButtonBox,
    QLabel,
    QListWidget,
    QListWidgetItem,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

#: Images of a file: the number of each, and its shape.
Choices = Sequence[tuple[int, tuple[int, ...]]]


@dataclass(frozen=True, slots=True)
class SeriesAnswer:
    """Numbers of the images to add, none if the user thought better of it; and whether to ask again."""

    numbers: tuple[int, ...]
    for_others: bool


class SeriesDialog(QDialog):
    """Asks which images of a file to add.

    Parameters
    ----------
    name : str
        Of the file.
    choices : sequence of (int, tuple of int)
        Number and shape of each of its images.
    chosen : int
        Number of the one that is checked at first.
    more : bool
        There are other files, for which the answer may hold too.
    parent : QWidget, optional
    """

    def __init__(
        self, name: str, choices: Choices, chosen: int, more: bool, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self.setObjectName("series_dialog")
        self.setWindowTitle("Images in a file")
        said = QLabel(f"{name} holds {len(choices)} images. Which are to be added?")
        said.setTextFormat(Qt.TextFormat.PlainText)
        said.setWordWrap(True)
        self.series_list = QListWidget()
        self.series_list.setToolTip("Checked images are added to the list.")
        for number, shape in choices:
            item = QListWidgetItem(f"{number}: {' x '.join(map(str, shape))}")
            item.setData(Qt.ItemDataRole.UserRole, number)
            item.setFlags(item.flags() | Qt.ItemFlag.ItemIsUserCheckable)
            item.setCheckState(Qt.CheckState.Checked if number == chosen else Qt.CheckState.Unchecked)
            self.series_list.addItem(item)
        self.all_button = QPushButton("All")
        self.all_button.setToolTip("Check all images.")
        self.others_check = QCheckBox("the same for the other files")
        self.others_check.setToolTip("Take the images of these numbers from files with as many, unasked.")
        self.others_check.setVisible(more)
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Cancel)
        self.add_button = QPushButton("Add")
        buttons.addButton(self.add_button, QDialogButtonBox.ButtonRole.AcceptRole)
        buttons.addButton(self.all_button, QDialogButtonBox.ButtonRole.ActionRole)
        for label, control in vars(self).items():
            if isinstance(control, QWidget):
                control.setObjectName(label)
        layout = QVBoxLayout(self)
        for widget in (said, self.series_list, self.others_check, buttons):
            layout.addWidget(widget)
        self.resize(360, 300)
        self.series_list.itemChanged.connect(self._check)
        self.all_button.clicked.connect(self._check_all)
        buttons.accepted.connect(self.accept)
        buttons.rejected.connect(self.reject)
        self._check()

    @property
    def chosen(self) -> tuple[int, ...]:
        """Numbers of the images that are checked."""
        items = [self.series_list.item(row) for row in range(self.series_list.count())]
        checked = [item for item in items if item.checkState() == Qt.CheckState.Checked]
        return tuple(int(item.data(Qt.ItemDataRole.UserRole)) for item in checked)

    def _check_all(self) -> None:
        for row in range(self.series_list.count()):
            self.series_list.item(row).setCheckState(Qt.CheckState.Checked)

    def _check(self, item: object = None) -> None:
        self.add_button.setEnabled(bool(self.chosen))


def ask_series(name: str, choices: Choices, chosen: int, more: bool, parent: QWidget) -> SeriesAnswer:
    """The images of a file to add."""
    dialog = SeriesDialog(name, choices, chosen, more, parent)
    accepted = dialog.exec() == QDialog.DialogCode.Accepted
    answer = SeriesAnswer(dialog.chosen if accepted else (), dialog.others_check.isChecked())
    dialog.deleteLater()
    return answer
