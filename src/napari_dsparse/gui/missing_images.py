"""Images of a project that are not found when it is opened: said, and asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from napari_dsparse.gui.widgets.missing_dialog import MissingRow, ask_where
from napari_dsparse.live.kept_images import Located, MissingImage, OpenedProject

if TYPE_CHECKING:
    from qtpy.QtWidgets import QWidget

#: Names that a sentence gives; more are counted.
_MOST_NAMES = 3


@dataclass(frozen=True, slots=True)
class Places:
    """Places where the user says that images of a project are.

    Parameters
    ----------
    folders : tuple of Path
        Searched by name.
    files : mapping
        By the image's number in the project, and the index of the channel that it is.
    last : (int, int or None) or None
        Key of the file that was chosen last; None if that was a folder, or nothing.
    wanted : int or None
        Number of the image that is asked for first.
    """

    folders: tuple[Path, ...] = ()
    files: Located = field(default_factory=dict)
    last: tuple[int, int | None] | None = None
    wanted: int | None = None


def ask_places(opened: OpenedProject, places: Places, parent: QWidget, *, saved: bool) -> Places | None:
    """Ask where images are that were not found so far; None to go on without them.

    Parameters
    ----------
    opened : OpenedProject
    places : Places
        What the user said before.
    parent : QWidget
    saved : bool
        It is a project of the user's; False for strokes that were in none.
    """
    missing = sorted(opened.misplaced, key=lambda each: each.entry != places.wanted)
    if not missing:
        return None
    rows = [_row(each) for each in missing]
    one = len(missing) == 1
    title = opened.folder.name if saved else "these strokes"
    explanation = (
        f"{_count(len(missing))} of {title} {'is' if one else 'are'} not where the project looks for "
        f"{'it' if one else 'them'}, or {'has' if one else 'have'} changed. Strokes go only on the image "
        "they were painted on. What is not found stays in the project, with its strokes, until you take it "
        "out of the list with Remove; the next opening asks again."
    )
    answer = ask_where(
        rows, explanation, _problem(missing, places), parent, folder=opened.folder.parent if saved else None
    )
    if answer is None:
        return None
    if answer.row is None:
        return replace(places, folders=(answer.path, *places.folders), last=None)
    key = _key(missing[answer.row])
    return replace(places, files={**places.files, key: answer.path}, last=key)


def _row(image: MissingImage) -> MissingRow:
    """A row of the question; of a combined image, for the file of the channel that is not found."""
    file = image.part or image.name
    name = file if image.channel is None else f"{file}, channel {image.channel + 1} of {image.name}"
    return MissingRow(name, "changed" if image.changed else "not found", image.reason, _is_folder(file))


def _is_folder(file: str) -> bool:
    """True of a Zarr store, and of an image in one, which has no suffix."""
    return file.endswith(".zarr") or not Path(file).suffix


def _key(image: MissingImage) -> tuple[int, int | None]:
    return image.entry, image.channel


def _problem(missing: Sequence[MissingImage], places: Places) -> str:
    """Result of the last answer, where it did not find everything."""
    if places.last is not None:
        return next((each.reason for each in missing if _key(each) == places.last), "")
    if not places.folders:
        return ""
    are = "is" if len(missing) == 1 else "are"
    return f"{_these(missing)} {are} not beneath {places.folders[0]}, or changed there, too."


def say_missing(missing: Sequence[MissingImage]) -> str:
    """A sentence about images that were not found."""
    waiting = [each for each in missing if each.waits]
    misplaced = [each for each in missing if not each.waits]
    sentences = []
    if misplaced:
        one = len(misplaced) == 1
        sentences.append(
            f"{_these(misplaced)} {'was' if one else 'were'} not found, or changed: "
            f"{'it stays' if one else 'they stay'} in the project, with the strokes; click "
            f"{'its row in the list to say where it is' if one else 'a row of theirs to say where they are'}."
        )
    if len(waiting) == 1:
        sentences.append(waiting[0].reason)
    elif waiting:
        sentences.append(
            f"{_these(waiting)} are in no file; open them in napari, and their strokes come back."
        )
    return " ".join(sentences)


def _these(missing: Sequence[MissingImage]) -> str:
    """The images, counted, the first by name."""
    names = ", ".join(repr(each.name) for each in missing[:_MOST_NAMES])
    more = f" and {len(missing) - _MOST_NAMES} more" if len(missing) > _MOST_NAMES else ""
    return f"Image {names}" if len(missing) == 1 else f"{len(missing)} images ({names}{more})"


def _count(number: int) -> str:
    return f"{number} image" + ("" if number == 1 else "s")
