"""Images that are taken out of the list with their strokes, and layers of a list that is closed."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING

from napari_dsparse.gui.layers.marks import has_own_name, our_role
from napari_dsparse.gui.study_image import StudyImage
from napari_dsparse.gui.widgets.dialogs import confirm
from napari_dsparse.images.painted import is_painted
from napari_dsparse.live.kept_images import MissingImage

if TYPE_CHECKING:
    from napari_dsparse.gui.dock import SegmentationDock


def remove_asking(dock: SegmentationDock, image: StudyImage) -> None:
    """Take an image out of the list; ask first if there are strokes on it, and say what becomes of them."""
    dock.projects.catch_up()
    if not is_painted(image.labels) or confirm(dock, "Remove image", _question(dock, image)):
        dock.study.study.remove(image)


def remove_missing_asking(dock: SegmentationDock, image: MissingImage) -> None:
    """Take an image that was not found out of the list; ask first, and say what goes with it."""
    if confirm(dock, "Remove image", _question_on_missing(dock, image)):
        dock.projects.drop(image)


def close_layers(dock: SegmentationDock, images: Sequence[StudyImage], shared: Collection[int] = ()) -> None:
    """Remove layers that were opened for images of the list, with their strokes and results.

    Layers that the user opened stay, and what belongs to them; so do results to which they gave a name of
    their own, and layers of which `shared` has the `id`.
    """
    study = dock.study.study
    own = [
        layer
        for entry in images
        if (image := None if entry.layer is None else entry.layer()) is not None
        and image in study.files
        and id(image) not in shared
        for layer in reversed(study.layers_of(entry))
        if our_role(layer) in (None, "strokes") or not has_own_name(layer)
    ]
    layers = dock.viewer.layers
    # Else napari collects garbage and draws anew for each of them, half a second every time.
    with getattr(layers, "batched_update", nullcontext)():
        for layer in own:
            layers.remove(layer)


def _question_on_missing(dock: SegmentationDock, image: MissingImage) -> str:
    folder = dock.projects.folder
    place = "the list" if folder is None else f"the project {folder.name}"
    kept = "here" if folder is None else "in the project"
    what = (
        f"Its strokes are kept {kept} alone: they go with it and cannot be brought back."
        if image.painted
        else "There are no strokes on it."
    )
    state = image.state if image.changed else f"is {image.state}"
    return f"{image.name} {state}. Take it out of {place}? {what}"


def _question(dock: SegmentationDock, image: StudyImage) -> str:
    folder = dock.projects.folder
    place = "the list" if folder is None else f"the project {folder.name}"
    then = "are learned from no more" if folder is None else "leave the project too, with its next saving"
    return (
        f"{image.name} has strokes. Take it out of {place}? The strokes {then}; they are kept aside, and "
        "you are asked about them when the window closes. The image's file and its layers stay."
    )
