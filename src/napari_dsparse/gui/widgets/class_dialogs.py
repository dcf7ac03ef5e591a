"""Questions about classes: what becomes of the paint of a class that is removed, and of numbered objects."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QComboBox,
    QDialog,
    QDialogButtonBox,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QRadioButton,
    QVBoxLayout,
    QWidget,
)

from napari_dsparse.classifier.classes import ClassInfo
from napari_dsparse.gui.widgets.swatch import swatch


class RemovalDialog(QDialog):
    """Asks what becomes of the paint of a class that is removed.

    Parameters
    ----------
    name : str
        Of the class.
    pixels : int
        Painted with it.
    others : mapping of int to ClassInfo
        The classes that its paint could be given to, by number.
    parent : QWidget, optional
    """

    def __init__(
        self, name: str, pixels: int, others: Mapping[int, ClassInfo], parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self.setObjectName("removal_dialog")
        self.setWindowTitle("Remove class")
        self.erase_radio = QRadioButton("Erase it")
        self.give_radio = QRadioButton("Give it to")
        self.into_combo = QComboBox()
        for number, info in others.items():
            self.into_combo.addItem(swatch(info.color), info.name, number)
        self.into_combo.activated.connect(lambda: self.give_radio.setChecked(True))
        self.erase_radio.setChecked(True)
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Cancel)
        remove = QPushButton("Remove")
        buttons.addButton(remove, QDialogButtonBox.ButtonRole.AcceptRole)
        buttons.accepted.connect(self.accept)
        buttons.rejected.connect(self.reject)
        for label, control in vars(self).items():
            if isinstance(control, QWidget):
                control.setObjectName(label)
        layout = QVBoxLayout(self)
        layout.addWidget(_text(f"'{name}' has {pixels:,} painted pixel{'' if pixels == 1 else 's'}."))
        layout.addWidget(self.erase_radio)
        row = QHBoxLayout()
        row.addWidget(self.give_radio)
        row.addWidget(self.into_combo, 1)
        layout.addLayout(row)
        layout.addWidget(buttons)

    @property
    def into(self) -> int:
        """Class that the paint is given to; 0 to erase it."""
        return int(self.into_combo.currentData()) if self.give_radio.isChecked() else 0


def ask_removal(parent: QWidget, name: str, pixels: int, others: Mapping[int, ClassInfo]) -> int | None:
    """Class to give the paint of `name` to, or 0 to erase it; None if the user cancelled."""
    dialog = RemovalDialog(name, pixels, others, parent)
    accepted = dialog.exec() == QDialog.DialogCode.Accepted
    into = dialog.into
    dialog.deleteLater()
    return into if accepted else None


class Numbered(Enum):
    """Uses of a layer whose numbers are of objects, not of classes."""

    ONE_CLASS = "one class"
    CLASSES = "classes"
    MAPPED = "mapped"
    IGNORED = "ignored"


class InstancesDialog(QDialog):
    """Asks what to make of a layer of numbered objects.

    Parameters
    ----------
    name : str
        Of the layer.
    few : bool
        True if there are so few numbers that each could be a class.
    mappable : bool
        True if there are so few that a class could be chosen for each.
    parent : QWidget, optional
    """

    def __init__(self, name: str, *, few: bool, mappable: bool, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("instances_dialog")
        self.setWindowTitle("Strokes")
        self.answer = Numbered.IGNORED
        self.one_class_button = QPushButton("Make them one class, in a new layer")
        self.classes_button = QPushButton("Take every number as a class")
        self.map_button = QPushButton("Choose a class for every number…")
        self.ignore_button = QPushButton("Ignore this layer")
        self.classes_button.setVisible(few)
        self.map_button.setVisible(mappable)
        layout = QVBoxLayout(self)
        layout.addWidget(_text(f"'{name}' looks like numbered objects, not like strokes of classes."))
        for button, answer in (
            (self.one_class_button, Numbered.ONE_CLASS),
            (self.classes_button, Numbered.CLASSES),
            (self.map_button, Numbered.MAPPED),
            (self.ignore_button, Numbered.IGNORED),
        ):
            layout.addWidget(button)
            button.clicked.connect(lambda _=False, answer=answer: self._close_with(answer))
        for label, control in vars(self).items():
            if isinstance(control, QWidget):
                control.setObjectName(label)

    def _close_with(self, answer: Numbered) -> None:
        self.answer = answer
        self.accept()


def ask_about_instances(parent: QWidget, name: str, *, few: bool, mappable: bool) -> Numbered:
    """The use of a layer of numbered objects that the user chooses; ignored if the dialog is closed."""
    dialog = InstancesDialog(name, few=few, mappable=mappable, parent=parent)
    dialog.exec()
    answer = dialog.answer
    dialog.deleteLater()
    return answer


def _text(text: str) -> QLabel:
    label = QLabel(text)
    label.setTextFormat(Qt.TextFormat.PlainText)
    label.setWordWrap(True)
    label.setMinimumWidth(280)
    return label
