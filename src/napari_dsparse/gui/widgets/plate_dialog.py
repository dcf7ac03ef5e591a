"""The choice among the wells of a plate."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QAbstractItemView,
    QComboBox,
    QDialog,
    QDialogButtonBox,
    QFormLayout,
    QLabel,
    QListWidget,
    QListWidgetItem,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_dsparse.images.plates import Plate

#: Wells that are named in a sentence, at most.
_MOST_NAMED = 5


class PlateDialog(QDialog):
    """Asks which wells of a plate to add, and which of their fields.

    Parameters
    ----------
    plate : Plate
        With at least one well.
    parent : QWidget, optional
    """

    def __init__(self, plate: Plate, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("plate_dialog")
        self.setWindowTitle("Wells of a plate")
        self._wells = list(plate.wells.values())
        count = len(self._wells)
        said = _label(
            f"{plate.path.name} is a plate with images in {count} well{'s' * (count != 1)}. Choose the wells "
            "to add; Shift and Ctrl choose several."
        )
        self.wells_list = QListWidget()
        self.wells_list.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.wells_list.setToolTip("Chosen wells are added to the list.")
        for name, fields in plate.wells.items():
            self.wells_list.addItem(QListWidgetItem(f"{name}: {_fields(len(fields))}"))
        self.wells_list.setCurrentRow(0)
        self.fields_combo = QComboBox()
        self.fields_combo.setToolTip("Which images of each chosen well are added.")
        self.fields_combo.addItem("all", None)
        for number in range(max(map(len, self._wells))):
            self.fields_combo.addItem(f"field {number}", number)
        self.fields_combo.setCurrentIndex(1)
        self.count_label = _label("")
        self.all_button = QPushButton("All wells")
        self.all_button.setToolTip("Choose every well.")
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Cancel)
        self.add_button = QPushButton("Add")
        buttons.addButton(self.add_button, QDialogButtonBox.ButtonRole.AcceptRole)
        buttons.addButton(self.all_button, QDialogButtonBox.ButtonRole.ActionRole)
        for label, control in vars(self).items():
            if isinstance(control, QWidget):
                control.setObjectName(label)
        layout, form = QVBoxLayout(self), QFormLayout()
        form.addRow("Fields", self.fields_combo)
        layout.addWidget(said)
        if plate.unread:
            layout.addWidget(_label(_unread(plate.unread)))
        layout.addWidget(self.wells_list)
        layout.addLayout(form)
        layout.addWidget(self.count_label)
        layout.addWidget(buttons)
        self.resize(360, 420)
        self.wells_list.itemSelectionChanged.connect(self._count)
        self.fields_combo.currentIndexChanged.connect(self._count)
        self.all_button.clicked.connect(self.wells_list.selectAll)
        buttons.accepted.connect(self.accept)
        buttons.rejected.connect(self.reject)
        self._count()

    @property
    def chosen(self) -> list[Path]:
        """The images that are chosen, well by well."""
        rows = sorted(index.row() for index in self.wells_list.selectedIndexes())
        number = self.fields_combo.currentData()
        wells = (self._wells[row] for row in rows)
        return [field for well in wells for field in (well if number is None else well[number : number + 1])]

    def _count(self) -> None:
        count = len(self.chosen)
        self.count_label.setText(f"{count} image{'s' * (count != 1)} to add")
        self.add_button.setEnabled(count > 0)


def ask_fields(plate: Plate, parent: QWidget) -> list[Path]:
    """The images of a plate to add; none if the user thought better of it."""
    dialog = PlateDialog(plate, parent)
    chosen = dialog.chosen if dialog.exec() == QDialog.DialogCode.Accepted else []
    dialog.deleteLater()
    return chosen


def _fields(count: int) -> str:
    return "1 field" if count == 1 else f"{count} fields"


def _unread(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    wells, are = ("Well", "is") if len(names) == 1 else ("Wells", "are")
    return f"{wells} {', '.join(names[:_MOST_NAMED])}{more} {are} in its description but cannot be read."


def _label(text: str) -> QLabel:
    label = QLabel(text)
    label.setTextFormat(Qt.TextFormat.PlainText)  # names may look like HTML
    label.setWordWrap(True)
    return label
