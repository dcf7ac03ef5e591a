"""The question before a window with unsaved strokes closes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class ProjectAtHand:
    """The project that the window's list is in, which strokes beside it may be added to.

    Parameters
    ----------
    name : str
    fits : bool
        At least one of the images can be added: it has as many channels as those of the project.
    classes : str
        The project's classes in words, where the strokes were painted with others; else empty.
    replaced : bool
        All of the images are in the project, with other strokes, which took the place of these.
    """

    name: str
    fits: bool
    classes: str = ""
    replaced: bool = False


def ask_at_the_end(
    parent: QWidget,
    names: Sequence[str],
    not_saved: str | None,
    not_kept: str | None,
    project: ProjectAtHand | None,
) -> AtTheEnd:
    """Ask what becomes of strokes that are in no project.

    Parameters
    ----------
    parent : QWidget
    names : sequence of str
        Images that they are on.
    not_saved, not_kept : str or None
        The reason why they could not be saved in their project, or kept for the next start, as a sentence.
    project : ProjectAtHand or None
        None if there is none, or it could not be saved.
    """
    box = QMessageBox(parent)
    box.setObjectName("unsaved_question")
    box.setWindowTitle("Unsaved strokes")
    box.setTextFormat(Qt.TextFormat.PlainText)  # names in files may look like HTML
    box.setIcon(QMessageBox.Icon.Question if not_kept is None else QMessageBox.Icon.Warning)
    text, more = sentences_at_the_end(names, not_saved, not_kept, project)
    box.setText(text)
    box.setInformativeText(more)
    roles = QMessageBox.ButtonRole
    buttons: dict[QAbstractButton | None, AtTheEnd] = {}
    if project is None:
        buttons[box.addButton("Save as project…", roles.AcceptRole)] = AtTheEnd.SAVE
    elif project.fits:
        buttons[box.addButton("Add to the project", roles.AcceptRole)] = AtTheEnd.SAVE
    if not_kept is None:
        keep = box.addButton("Keep for the next start", roles.AcceptRole)
        buttons[keep] = AtTheEnd.KEEP
        box.setDefaultButton(keep)
    buttons[box.addButton("Discard", roles.DestructiveRole)] = AtTheEnd.DISCARD
    stay = box.addButton("Cancel", roles.RejectRole)
    box.setEscapeButton(stay)
    box.exec()
    return buttons.get(box.clickedButton(), AtTheEnd.STAY)


def sentences_at_the_end(
    names: Sequence[str], not_saved: str | None, not_kept: str | None, project: ProjectAtHand | None
) -> tuple[str, str]:
    """The question's first sentence, and those below it; parameters as of `ask_at_the_end`."""
    others = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    where = ", ".join(names[:_MOST_NAMES]) + others
    more = []
    if not_saved is not None:
        text = f"The strokes on {where} could not be saved."
        more.append(not_saved)
    elif project is None:
        text = f"The strokes on {where} are in no project."
    else:
        which = "earlier strokes" if project.replaced else "strokes"
        text = f"The {which} on {where} are not in the project {project.name}."
        image = "the image" if len(names) == 1 else "the images"
        if project.fits:
            more += [f"Adding them puts {image} into the project, too.", project.classes]
        elif project.replaced:
            more.append(f"They were replaced by those that {image} now has in it.")
        else:
            more.append(f"They cannot be added to it: {image} and those of the project differ in channels.")
    if not_kept is None:
        more.append("Strokes that are kept for the next start are offered then.")
    else:
        either = "" if not_saved is None else " either"
        more += [f"The strokes cannot be kept for the next start{either}.", not_kept]
    return text, " ".join(filter(None, more))
