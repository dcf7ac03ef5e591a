"""The question before another layer takes the place of an image's strokes."""

from __future__ import annotations

from enum import Enum, auto

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QAbstractButton, QMessageBox, QWidget


class OtherLayer(Enum):
    """The user's answer."""

    ADD = auto()
    REPLACE = auto()
    CANCEL = auto()


def ask_about_earlier_strokes(parent: QWidget, image: str, pixels: int, layer: str) -> OtherLayer:
    """Ask what becomes of strokes that a layer does not have; closing the question cancels.

    Parameters
    ----------
    parent : QWidget
    image : str
        Name of the image that they are on.
    pixels : int
        Painted pixels that are not the same on the layer.
    layer : str
        Its name.
    """
    box = QMessageBox(parent)
    box.setObjectName("earlier_strokes_question")
    box.setWindowTitle("Strokes")
    box.setTextFormat(Qt.TextFormat.PlainText)  # names in files may look like HTML
    box.setIcon(QMessageBox.Icon.Question)
    count = f"{pixels:,} painted pixel{'' if pixels == 1 else 's'}"
    box.setText(f"'{layer}' does not have {count} of {image}. Add them to it, or replace them?")
    box.setInformativeText(
        "Add paints them on the layer where it has no paint. Replace learns from the layer alone; the "
        "earlier strokes are kept aside, and you are asked about them when the window closes."
    )
    roles = QMessageBox.ButtonRole
    add = box.addButton("Add", roles.AcceptRole)
    buttons: dict[QAbstractButton | None, OtherLayer] = {
        add: OtherLayer.ADD,
        box.addButton("Replace", roles.DestructiveRole): OtherLayer.REPLACE,
    }
    cancel = box.addButton("Cancel", roles.RejectRole)
    box.setDefaultButton(add)
    box.setEscapeButton(cancel)
    box.exec()
    answer = buttons.get(box.clickedButton(), OtherLayer.CANCEL)
    box.deleteLater()
    return answer
