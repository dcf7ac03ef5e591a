"""Edits of the table of classes, on strokes and segmentations of the images that are not in front."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_dsparse.classifier.class_edits import ClassEdit, DoneEdit, done
from napari_dsparse.gui.layers.class_look import hidden_labels, show_classes
from napari_dsparse.gui.layers.paint_history import repaint
from napari_dsparse.gui.layers.result_pixels import renumber
from napari_dsparse.gui.layers.viewer import in_viewer, our_role
from napari_dsparse.gui.study import Study
from napari_dsparse.gui.study_image import StudyImage
from napari_dsparse.images.painted import never_written
from napari_dsparse.live.labelled_image import LabelledImage
from napari_dsparse.live.state import LiveState

if TYPE_CHECKING:
    from napari import Viewer
    from napari.layers import Labels

#: Edits that can be taken back on each image.
MOST_STEPS = 20


def renumber_behind(
    viewer: Viewer, study: Study, state: LiveState, edit: ClassEdit, step: DoneEdit, made: bool
) -> tuple[list[Labels], tuple[LabelledImage, ...]] | None:
    """Let strokes and segmentations of the images behind follow an edit of the table of classes.

    Parameters
    ----------
    viewer : Viewer
    study : Study
    state : LiveState
        Before the edit.
    edit : ClassEdit
    step : DoneEdit
        The edit as it was made on the image in front, whether it is made now or taken back.
    made : bool
        False if it is taken back.

    Returns
    -------
    (list of Labels, tuple of LabelledImage) or None
        Layers that were painted anew, and the list; None if the image in front is beside the list.
    """
    if state.chosen is None or not state.studied:
        return None
    layers = []
    study.catch_up(state.chosen.key)
    for entry in study.images:
        in_front = entry.key == state.chosen.key
        if not in_front:
            _renumber_results(study, entry, edit)
        if entry.labels is None or (in_front and state.strokes_layer is not None):
            continue
        _renumber_strokes(entry, state, edit, step, made)
        layer = None if entry.strokes_layer is None else entry.strokes_layer()
        fits = layer is not None and layer.data.size == entry.labels.size
        if layer is not None and fits and in_viewer(viewer, layer):
            repaint(layer, entry.labels)
            layers.append(layer)
    return layers, study.labelled


def _renumber_strokes(
    entry: StudyImage, state: LiveState, edit: ClassEdit, step: DoneEdit, made: bool
) -> None:
    """Make the edit on the strokes of an image, or take back what it did to them."""
    own = next((own for front, own in entry.steps if front is step), None)
    if made or own is None:
        kept = [each for each in entry.steps if each[0] is not step][1 - MOST_STEPS :]
        entry.steps = [*kept, (step, done(state.classes, edit, entry.labels))]
        entry.labels = never_written(edit.applied_to(entry.labels))
    else:
        entry.labels = never_written(own.restore(entry.labels, state.classes))


def _renumber_results(study: Study, entry: StudyImage, edit: ClassEdit) -> None:
    """Let the segmentation of an image follow: it is perhaps on screen."""
    for layer in study.layers_of(entry):
        if our_role(layer) == "segmentation":
            hidden = {edit.number(number) for number in hidden_labels(layer)}
            renumber(layer, edit)
            show_classes(layer, edit.classes, hidden=hidden)
            layer.refresh(extent=False, highlight=False)
