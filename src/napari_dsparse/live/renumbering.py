"""Schedule of an edit that renumbers classes: nothing old is shown, learned or written under a new number."""

from __future__ import annotations

from dataclasses import replace

from napari_dsparse.classifier.class_edits import ClassEdit
from napari_dsparse.classifier.classes import ClassInfo, next_class
from napari_dsparse.classifier.renumbering import renumbered
from napari_dsparse.live import learning, segmenting
from napari_dsparse.live.actions import RenumberResults, ShowClasses
from napari_dsparse.live.chosen import ChosenStrokes, CurrentModel
from napari_dsparse.live.events import ClassesRenumbered
from napari_dsparse.live.state import LiveState, Training
from napari_dsparse.live.turn import Turn

#: Notes where the model did not outlive the edit.
TRAIN_ANEW = "The classes have changed; press Train to learn them."
PAINT_ANEW = "The model knew other classes and is gone; paint two classes for a new one."


def renumber(turn: Turn, event: ClassesRenumbered) -> None:
    """Go on with other classes: strokes, results and model follow, and what is under way is dropped."""
    before, edit = turn.state, event.edit
    running, export = before.whole is not None, before.export
    learning.stop(turn)
    segmenting.cancel(turn)
    segmenting.forget_tiles(turn)
    model, jobs = _model_after(before, edit), turn.state.jobs
    turn.set(
        strokes_layer=_strokes_after(before, event),
        study=before.study if event.study is None else event.study,
        classes=edit.classes,
        counts=_counts_after(before.counts, edit),
        fitted=(),
        brush=edit.brush(before.brush),
        left_job=jobs,
        superseded_job=jobs,
        training=Training.IDLE,
        stopping=False,
        progress=None,
        judged=None,
        model=model,
        applied=before.applied and model is not None,
        finished=frozenset(),
        sketch_due=True,
        sketched=False,
        view_due=False,
        problem=None,
        note=None,
    )
    lost = before.model is not None and model is None
    if lost:
        turn.set(lineage=before.lineage + 1)  # the trainer's is gone as well
    turn.do(RenumberResults(edit.of_results()), ShowClasses(edit.classes))
    _learn_again(turn)
    if running:
        turn.set(export=export)
        segmenting.predict_whole(turn)
    elif not turn.state.learning:
        segmenting.predict_view(turn)
    if lost and not turn.state.learning:
        turn.set(note=TRAIN_ANEW if turn.state.painted_classes >= 2 else PAINT_ANEW)


def _learn_again(turn: Turn) -> None:
    """Have the strokes counted, and learned where that happens by itself."""
    learn = turn.state.live and turn.state.strokes_layer is not None
    if learn and turn.state.painted_classes >= 2:
        learning.expect_fit(turn)
    learning.submit(turn, learn=learn)


def _model_after(state: LiveState, edit: ClassEdit) -> CurrentModel | None:
    """The model with other numbers; none where that cannot be, or it is of a list that keeps its numbers."""
    model = state.model
    if model is None or (not state.studied and any(each.key in model.keys for each in state.study)):
        return None
    classifier = renumbered(replace(model.classifier, record=model.record or model.classifier.record), edit)
    if classifier is None:
        return None
    return replace(model, classifier=classifier, record=model.record and classifier.record)


def _strokes_after(state: LiveState, event: ClassesRenumbered) -> ChosenStrokes | None:
    strokes = state.strokes_layer
    if strokes is None or event.labels is None:
        return strokes
    return ChosenStrokes(strokes.name, event.labels, _palette_after(strokes.palette, event.edit))


def _palette_after(palette: tuple[ClassInfo, ...], edit: ClassEdit) -> tuple[ClassInfo, ...]:
    """As many classes as before: those of the table, then those that labels beyond it have had."""
    after = (*edit.classes, *palette[len(edit.mapping) :])
    while len(after) < len(palette):
        after = (*after, next_class(after))
    return after


def _counts_after(counts: tuple[tuple[int, int], ...], edit: ClassEdit) -> tuple[tuple[int, int], ...]:
    """(strokes, pixels) by new number, until they are counted anew."""
    after = [[0, 0] for _ in range(max([len(edit.classes), *map(edit.number, range(1, len(counts) + 1))]))]
    for old, (strokes, pixels) in enumerate(counts, start=1):
        new = edit.number(old)
        if new:
            after[new - 1][0] += strokes
            after[new - 1][1] += pixels
    return tuple((strokes, pixels) for strokes, pixels in after)
