"""Edits of the table of classes, on strokes and segmentations of the images that are not in front."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial
from typing import TYPE_CHECKING

from napari_dsparse.classifier.class_edits import ClassEdit, DoneEdit, done
from napari_dsparse.gui.layers.class_look import hidden_labels, show_classes
from napari_dsparse.gui.layers.marks import our_role
from napari_dsparse.gui.layers.paint_history import Atom, renumbered, repaint
from napari_dsparse.gui.layers.result_pixels import renumber
from napari_dsparse.gui.layers.viewer import in_viewer
from napari_dsparse.gui.study import Study
from napari_dsparse.gui.study_image import FollowedEdit, StudyImage
from napari_dsparse.images.painted import never_written
from napari_dsparse.live.labelled_image import LabelledImage
from napari_dsparse.live.state import LiveState

if TYPE_CHECKING:
    from napari import Viewer
    from napari.layers import Labels

#: Edits that can be taken back on each image.
MOST_STEPS = 20


def renumber_behind(
    viewer: Viewer,
    study: Study,
    state: LiveState,
    edit: ClassEdit,
    step: DoneEdit,
    made: bool,
    forget: Callable[[Labels], Collection[object]],
) -> tuple[LabelledImage, ...] | None:
    """Let strokes and segmentations of the images behind follow an edit of the table of classes.

    What was painted on them can be undone after it, with the numbers of the present table.

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
    forget : callable
        Gives up edits that were made on a layer of strokes itself; returns the marks of their steps.

    Returns
    -------
    tuple of LabelledImage or None
        The list after it; None if the image in front is beside the list.
    """
    if state.chosen is None or not state.studied:
        return None
    study.catch_up(state.chosen.key)
    for entry in study.images:
        in_front = entry.key == state.chosen.key
        if not in_front:
            _renumber_results(study, entry, edit)
        if entry.labels is None or (in_front and state.strokes_layer is not None):
            continue
        change = _renumber_strokes(entry, state, edit, step, made)
        layer = None if entry.strokes_layer is None else entry.strokes_layer()
        fits = layer is not None and layer.data.size == entry.labels.size
        if layer is not None and fits and in_viewer(viewer, layer):
            repaint(layer, entry.labels, change, forget(layer))
    return study.labelled


def _renumber_strokes(
    entry: StudyImage, state: LiveState, edit: ClassEdit, step: DoneEdit, made: bool
) -> Callable[[Atom], Atom]:
    """Make the edit on the strokes of an image, or take it back; returns what does so to their history."""
    followed = next((each for each in entry.steps if each.front is step), None)
    if made or followed is None:
        kept = [each for each in entry.steps if each.front is not step][1 - MOST_STEPS :]
        followed = FollowedEdit(step, done(state.classes, edit, entry.labels))
        entry.steps = [*kept, followed]
        entry.labels = never_written(edit.applied_to(entry.labels))
        return partial(_followed, edit, followed)
    entry.labels = never_written(followed.own.restore(entry.labels, state.classes))
    return partial(_taken_back, edit, followed)


def _followed(edit: ClassEdit, followed: FollowedEdit, atom: Atom) -> Atom:
    after = renumbered(atom, edit.apply)
    followed.atoms[id(after)] = after, atom
    return after


def _taken_back(edit: ClassEdit, followed: FollowedEdit, atom: Atom) -> Atom:
    """As it was before the edit or, if it is newer, with the numbers of the table that is back."""
    after, before = followed.atoms.get(id(atom), (None, atom))
    return before if after is atom else renumbered(atom, edit.apply)


def _renumber_results(study: Study, entry: StudyImage, edit: ClassEdit) -> None:
    """Let the segmentation of an image follow: it is perhaps on screen."""
    for layer in study.layers_of(entry):
        if our_role(layer) == "segmentation":
            hidden = {edit.number(number) for number in hidden_labels(layer)}
            renumber(layer, edit)
            show_classes(layer, edit.classes, hidden=hidden)
            layer.refresh(extent=False, highlight=False)
