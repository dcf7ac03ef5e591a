"""Schedule of training: when to train, and the effect of the trainer's answers."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import replace
from typing import Any

from napari_dsparse.classifier.classes import ClassInfo, default_classes, distinct_class, next_class
from napari_dsparse.images.painted import is_painted
from napari_dsparse.live import messages as msg
from napari_dsparse.live import segmenting
from napari_dsparse.live.actions import PauseTraining, ShowClasses, StopTraining
from napari_dsparse.live.chosen import ChosenStrokes, CurrentModel
from napari_dsparse.live.events import KeptModelRead, StrokesChosen
from napari_dsparse.live.labelled_image import LabelledImage, same_strokes
from napari_dsparse.live.state import Training
from napari_dsparse.live.turn import Turn

#: On 'match exposure', where the present model cannot change to it.
MATCHED_LATER = (
    "'Match exposure' takes effect with the next training (Train); until then, the model segments as before."
)

#: On 'neighbouring planes', where an image that joins the list has none.
ALONE_NOW = "Neighbouring planes are off: an image of the list is a single plane, or a series in time."

# -- strokes ------------------------------------------------------------------------------------------------


def choose_strokes(turn: Turn, event: StrokesChosen) -> None:
    """Learn from another layer."""
    if turn.state.chosen is None:
        return
    leave_strokes(turn)
    # (of classes beyond the table, those that are painted join it once they are counted)
    classes = shared_classes(turn) or event.classes
    turn.set(
        strokes_layer=ChosenStrokes(event.name, event.labels, event.palette),
        classes=classes,
        brush=event.brush,
        problem=None,
    )
    if classes != event.classes:
        turn.do(ShowClasses(classes))
    submit(turn, learn=turn.state.live)
    segmenting.forget_spots(turn)
    segmenting.look_ahead(turn)


def shared_classes(turn: Turn) -> tuple[ClassInfo, ...]:
    """The table of classes if images of the list have paint: their names hold here, too."""
    state = turn.state
    if state.chosen is None or not state.studied:
        return ()
    known = state.study_named or any(each.labels is not None for each in state.study)
    return state.study_classes if known else ()


def change_study(turn: Turn, images: tuple[LabelledImage, ...], classes: tuple[ClassInfo, ...]) -> None:
    """Learn from these images together; the strokes of the one in front are those of its layer."""
    was_studied, matched = turn.state.studied, turn.state.matches_exposure
    state, deep = turn.state, turn.state.has_depth
    present = state.classes if was_studied else state.study_classes or state.classes
    turn.set(study=images, study_classes=classes or present, study_named=state.study_named or bool(classes))
    if was_studied or turn.state.studied:
        submit(turn, learn=turn.state.live)
    if turn.state.matches_exposure != matched:
        segmenting.predict_final(turn)
    if state.depth == "neighbours" and deep and not turn.state.has_depth and turn.state.chosen is not None:
        turn.set(note=ALONE_NOW)


def leave_strokes(turn: Turn, problem: str | None = None) -> None:
    """Leave the strokes layer; its training ends."""
    stop(turn)
    turn.set(
        left_job=turn.state.jobs,
        strokes_layer=None,
        counts=(),
        fitted=(),
        classes=turn.state.classes or default_classes(2),
        training=Training.IDLE,
        stopping=False,
        progress=None,
        judged=None,
    )
    if problem is not None:
        turn.set(problem=problem)


def on_paint(turn: Turn, labels: Any) -> None:
    """The strokes may have changed; the trainer counts them."""
    strokes = turn.state.strokes_layer
    if strokes is not None:
        turn.set(strokes_layer=ChosenStrokes(strokes.name, labels, strokes.palette))
        submit(turn, learn=turn.state.live)


def choose_depth(turn: Turn, depth: str) -> None:
    """See planes with their neighbours, or alone: another model, of the same strokes."""
    if depth == turn.state.depth:
        return
    turn.set(depth=depth, problem=None, note=None)
    _learn_anew(turn)
    if turn.state.live and turn.state.painted_classes >= 2:
        turn.set(training=Training.FITTING)
    submit(turn, learn=turn.state.live)
    segmenting.look_ahead(turn)


def match_exposure(turn: Turn, matched: bool) -> None:
    """Normalise every image by its own grey values, in learning and segmenting, or all in one way.

    A model of these strokes segments as it learned until the next training. One from a file or another image
    is applied as wanted, and stays until there is new paint.
    """
    before = turn.state
    if matched == before.match_exposure:
        return
    turn.set(match_exposure=matched, problem=None, note=None)
    _learn_anew(turn)
    from_strokes = before.model is None or bool(before.model.keys)
    if from_strokes and before.live and before.painted_classes >= 2:
        turn.set(training=Training.FITTING, sketch_due=True)
        submit(turn, learn=True)
    elif turn.state.matches_exposure != before.matches_exposure:
        turn.set(sketch_due=True)
        segmenting.predict_final(turn)
    elif from_strokes and turn.state.matches_exposure != matched:
        turn.set(note=MATCHED_LATER)


def edit_classes(turn: Turn, classes: tuple[ClassInfo, ...]) -> None:
    """Show other names and colours. Where there are fewer classes, what knows the last ones is outdated.

    Where there are more, a fit under way may not know one that is painted.
    """
    state = turn.state
    turn.set(classes=classes, study_named=state.study_named or state.studied, problem=None)
    turn.do(ShowClasses(classes))
    if len(classes) < len(state.classes) and state.strokes_layer is not None:
        turn.set(counts=state.counts[: len(classes)], left_job=state.jobs, superseded_job=state.jobs)
        submit(turn, learn=state.live)
    elif len(classes) > len(state.classes) and state.training is Training.FITTING:
        submit(turn, learn=True)


def take_kept_model(turn: Turn, event: KeptModelRead) -> None:
    """Go on with a project's model: it stays until something is painted."""
    state, classifier = turn.state, event.classifier
    others = any(classifier.spec.channels != each.source.channels for each in state.study)
    if others or len(classifier.classes) > len(state.classes if state.studied else state.study_classes):
        return  # of images or classes that it has no more: it is learned anew
    stop(turn)
    painted = tuple(each for each in state.study if is_painted(each.labels))
    keys = frozenset(each.key for each in painted)
    turn.set(
        model=CurrentModel(classifier, event.origin, keys, kept_with=painted),
        applied=state.studied,
        finished=frozenset(),
        lineage=state.lineage + 1,
        superseded_job=state.jobs,
        training=Training.IDLE,
        stopping=False,
    )
    if state.studied:
        segmenting.forget_tiles(turn)
        segmenting.predict_view(turn)


def _learn_anew(turn: Turn) -> None:
    """A model that a project kept was learned in another way than is wanted now."""
    if turn.state.model is not None:
        turn.set(model=replace(turn.state.model, kept_with=()))


# -- buttons ------------------------------------------------------------------------------------------------


def switch_live(turn: Turn, live: bool) -> None:
    """Learn from every stroke, or only on request."""
    turn.set(live=live)
    if live:
        submit(turn, learn=True)


def train(turn: Turn) -> None:
    """Learn from the strokes there are; those that are known already, by a round of gradient steps."""
    if turn.state.strokes_layer is None:
        return
    pause(turn, False)
    asked = not turn.state.learning  # a round under way goes on
    if turn.state.painted_classes >= 2:
        turn.set(problem=None, note=None)
        expect_fit(turn)
    submit(turn, learn=True, asked=asked)


def pause(turn: Turn, paused: bool) -> None:
    """Pause gradient steps after the current one, or resume them."""
    training = turn.state.training
    if paused and training is Training.LEARNING:
        turn.do(PauseTraining(True))
        turn.set(training=Training.PAUSED)
        segmenting.on_model_rests(turn)
    elif not paused:
        turn.do(PauseTraining(False))
        if training is Training.PAUSED:
            turn.set(training=Training.LEARNING)


def stop(turn: Turn) -> None:
    """End the training after the current step; its last snapshot still arrives."""
    state = turn.state
    turn.set(stopped_job=state.jobs)
    turn.do(StopTraining(state.jobs), PauseTraining(False))
    if state.stepping:
        turn.set(training=Training.STOPPED, stopping=True)
    elif state.learning:
        turn.set(training=Training.IDLE, stopping=True)


def submit(turn: Turn, *, learn: bool, asked: bool = False) -> None:
    """Have the strokes counted and, if asked, learned."""
    state = turn.state
    if state.chosen is None or state.strokes_layer is None:
        return
    front = LabelledImage(
        state.chosen.key, state.chosen.name, state.chosen.source, state.strokes_layer.labels
    )
    images: tuple[LabelledImage, ...] = (front,)
    if state.studied:
        images = tuple(front if each.key == front.key else each for each in state.study)
    kept_with = () if asked or state.model is None else state.model.kept_with
    if kept_with and same_strokes(images, kept_with):
        learn = False
    turn.do(
        msg.TrainingJob(
            envelope=turn.envelope(),
            images=images,
            front=next(i for i, each in enumerate(images) if each.key == front.key),
            classes=state.classes,
            network=state.network,
            device=state.device,
            learn=learn or state.learning or state.training is Training.PAUSED,
            asked=asked,
            lineage=state.lineage,
            depth=state.learns_depth,
            normalise="image" if state.match_exposure else "together",
        )
    )


def expect_fit(turn: Turn) -> None:
    """New paint is being learned, unless all of it is known."""
    if turn.state.counts != turn.state.fitted:
        turn.set(training=Training.FITTING)


# -- the trainer's answers ----------------------------------------------------------------------------------


def on_counted(turn: Turn, event: msg.StrokesCounted) -> None:
    """Show how much paint there is; paint of a class that has no name yet gives it one."""
    state = turn.state
    repainted = event.counts != state.counts
    turn.set(counts=event.counts, by_image=event.by_image)
    if repainted:
        segmenting.forget_spots(turn)
        segmenting.expire_preview_delay(turn)
    highest = max((number for number, (_, pixels) in enumerate(event.counts, start=1) if pixels), default=0)
    if highest > len(state.classes) and state.strokes_layer is not None:
        more = state.strokes_layer.palette[len(state.classes) : highest]
        turn.set(classes=_with_palette(state.classes, more))
        if turn.state.classes[len(state.classes) :] != more:
            turn.do(ShowClasses(turn.state.classes))
        submit(turn, learn=state.live)
    elif event.learning and event.envelope.job > state.stopped_job:
        expect_fit(turn)
    if state.stopping and event.envelope.job > state.stopped_job:
        turn.set(stopping=False)  # what was stopped made way for this
        if not event.learning:
            segmenting.on_model_rests(turn)


def _with_palette(classes: tuple[ClassInfo, ...], more: tuple[ClassInfo, ...]) -> tuple[ClassInfo, ...]:
    """Classes, and those of a layer's palette beyond them; edits may have given their names to others."""
    for info in more:
        taken = info.name in {known.name for known in classes}
        classes = (*classes, next_class(classes) if taken else distinct_class(info, classes))
    return classes


def on_step(turn: Turn, event: msg.StepTaken) -> None:
    """Show how the training goes."""
    state, progress = turn.state, event.progress
    if event.envelope.job <= state.stopped_job:
        return
    changes: dict[str, Any] = {"progress": progress, "seconds_left": event.seconds_left}
    if event.judged:
        changes["judged"] = progress
    elif progress.step == 0:  # a new fit, with which any round of steps is over
        turn.do(PauseTraining(False))
        changes |= {
            "fitted": state.counts,
            "fit_seconds": progress.seconds,
            "problem": None,
            "note": None,
        }
    held = state.training is Training.PAUSED and (event.judged or progress.step > 0)
    turn.set(training=Training.PAUSED if held else Training.LEARNING, **changes)


def on_snapshot(turn: Turn, event: msg.SnapshotTaken) -> None:
    """There is a newer model."""
    chosen, job = turn.state.chosen, event.envelope.job
    if job <= turn.state.superseded_job or chosen is None:
        return
    model = CurrentModel(event.classifier, _origin(turn), _learned_keys(turn))
    segmenting.use(turn, model, waiting=job * event.waits)


def _learned_keys(turn: Turn) -> frozenset[Hashable]:
    """Of the images with paint, of those that are learned from now; the image in front always counts."""
    state = turn.state
    front = () if state.chosen is None else (state.chosen.key,)
    return frozenset((*front, *(key for key, _, pixels in state.by_image if pixels)))


def _origin(turn: Turn) -> str:
    """Name of the image that is learned from, or how many there are."""
    painted = sum(pixels > 0 for _, _, pixels in turn.state.by_image)
    return f"{painted} images" if painted > 1 else str(turn.state.image)


def on_ended(turn: Turn, event: msg.TrainingEnded) -> None:
    """The trainer rests."""
    job = event.envelope.job
    if job > turn.state.superseded_job:
        segmenting.take_record(turn, event.record)
    turn.set(stopping=False)
    if job > turn.state.stopped_job:
        turn.do(PauseTraining(False))
        turn.set(training=Training.STEADY if event.steady else Training.IDLE)
    segmenting.on_model_rests(turn)


def on_failed(turn: Turn, event: msg.JobFailed) -> None:
    """Training failed; the newest model stays."""
    segmenting.cancel(turn)
    turn.set(training=Training.IDLE, stopping=False, problem=event.sentence)
