"""The question before a window with unsaved strokes closes."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum, auto

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QAbstractButton, QMessageBox, QWidget

#: Names that are shown.
_MOST_NAMES = 8


class AtTheEnd(Enum):
    """The user's answer."""

    SAVE = auto()
    KEEP = auto()
    DISCARD = auto()
    STAY = auto()


def ask_at_the_end(
    parent: QWidget, names: Sequence[str], not_saved: str | None, not_kept: str | None
) -> AtTheEnd:
    """Ask what becomes of strokes that are in no project.

    Parameters
    ----------
    parent : QWidget
    names : sequence of str
        Images that they are on.
    not_saved, not_kept : str or None
        The reason why they could not be saved in their project, or kept for the next start.
    """
    box = QMessageBox(parent)
    box.setObjectName("unsaved_question")
    box.setWindowTitle("Unsaved strokes")
    box.setTextFormat(Qt.TextFormat.PlainText)  # names in files may look like HTML
    box.setIcon(QMessageBox.Icon.Question if not_kept is None else QMessageBox.Icon.Warning)
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    where = ", ".join(names[:_MOST_NAMES]) + more
    box.setText(f"Strokes on {where} are in no project." if not_saved is None else not_saved)
    box.setInformativeText(
        "They can be kept aside: the next start offers them."
        if not_kept is None
        else f"They cannot be kept for the next start either: {not_kept}"
    )
    roles = QMessageBox.ButtonRole
    buttons: dict[QAbstractButton | None, AtTheEnd] = {}
    buttons[box.addButton("Save as project…", roles.AcceptRole)] = AtTheEnd.SAVE
    if not_kept is None:
        keep = box.addButton("Keep for the next start", roles.AcceptRole)
        buttons[keep] = AtTheEnd.KEEP
        box.setDefaultButton(keep)
    buttons[box.addButton("Discard", roles.DestructiveRole)] = AtTheEnd.DISCARD
    stay = box.addButton("Cancel", roles.RejectRole)
    box.setEscapeButton(stay)
    box.exec()
    return buttons.get(box.clickedButton(), AtTheEnd.STAY)
