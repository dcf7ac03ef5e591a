"""Images that are taken out of the list, with their strokes if the user says so."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_dsparse.gui.study_image import StudyImage
from napari_dsparse.gui.widgets.dialogs import confirm
from napari_dsparse.images.painted import is_painted

if TYPE_CHECKING:
    from napari_dsparse.gui.dock import SegmentationDock


def remove_asking(dock: SegmentationDock, image: StudyImage) -> None:
    """Take an image out of the list; ask first if there are strokes on it, and say what becomes of them."""
    dock.projects.catch_up()
    if not is_painted(image.labels) or confirm(dock, "Remove image", _question(dock, image)):
        dock.study.study.remove(image)


def _question(dock: SegmentationDock, image: StudyImage) -> str:
    folder = dock.projects.folder
    place = "the list" if folder is None else f"the project {folder.name}"
    then = "are learned from no more" if folder is None else "leave the project too, with its next saving"
    return (
        f"{image.name} has strokes. Take it out of {place}? The strokes {then}; they are kept aside, and "
        "you are asked about them when the window closes. The image's file and its layers stay."
    )
