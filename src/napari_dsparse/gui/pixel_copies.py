"""Images in no file, whose pixels a project may copy if the user says so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from napari_dsparse.gui.kept import kept_image
from napari_dsparse.gui.study_image import StudyImage
from napari_dsparse.gui.widgets.dialogs import confirm

if TYPE_CHECKING:
    from qtpy.QtWidgets import QWidget


class PixelCopies:
    """Remembers what was asked, and answered, for each image."""

    def __init__(self) -> None:
        #: Numbers of images whose pixels may be copied.
        self.allowed: set[int] = set()
        self._asked: set[int] = set()

    def ask(self, images: Sequence[StudyImage], parent: QWidget) -> None:
        """Ask once whether the project may copy the pixels of images that are in no file."""
        new = [e for e in images if not (e.path or e.channel_files or e.number in self._asked)]
        if not new:
            return
        size = sum(kept_image(each).bytes for each in new) / 1e6
        names = new[0].name if len(new) == 1 else f"{new[0].name} and {len(new) - 1} more"
        question = (
            f"{names} {'is' if len(new) == 1 else 'are'} in no file. Keep a copy of the pixels in the "
            f"project, {size:,.1f} MB before compression? Without one, the strokes are saved, and come back "
            "when an image with the same pixels is open."
        )
        numbers = {each.number for each in new}
        self._asked |= numbers
        if confirm(parent, "Save project", question):
            self.allowed |= numbers
