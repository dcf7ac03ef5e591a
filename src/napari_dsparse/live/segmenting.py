"""Schedule of prediction: what to predict and when, and the effect of the predictor's answers."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import replace

from napari_dsparse.classifier.trained import TrainingRecord
from napari_dsparse.live import messages as msg
from napari_dsparse.live.actions import (
    FinishDrawing,
    GoTo,
    ReadLabels,
    ReleaseTrainer,
    ShowTile,
    StopPredicting,
    Wake,
)
from napari_dsparse.live.chosen import CurrentModel
from napari_dsparse.live.events import MapsWanted
from napari_dsparse.live.finished import Finished
from napari_dsparse.live.state import Preview, WholeImage, named_classes
from napari_dsparse.live.turn import Turn

#: A preview is followed by a pause of this many times its own length, which leaves the cores to training.
REST_SHARE = 1.0

# -- the model ----------------------------------------------------------------------------------------------


def use(turn: Turn, model: CurrentModel, *, waiting: int = 0) -> None:
    """Segment with `model` from now on; training job `waiting` waits until its preview is over."""
    release_trainer(turn)  # a model that came before is not waited for
    turn.set(model=model, applied=True, trainer_waits=waiting, finished=frozenset())
    forget_tiles(turn)
    if turn.state.learning and turn.state.resting:
        turn.set(view_due=True)
    else:
        predict_view(turn)
    if not turn.state.predicting:
        release_trainer(turn)


def take_record(turn: Turn, record: TrainingRecord | None) -> None:
    """The trainer's model has been judged since its snapshot."""
    model = turn.state.model
    if model is not None and record is not None and not turn.state.foreign:
        turn.set(model=replace(model, record=record))


def release_trainer(turn: Turn) -> None:
    """The trainer need not wait for a preview any longer."""
    if turn.state.trainer_waits:
        turn.do(ReleaseTrainer(turn.state.trainer_waits))
        turn.set(trainer_waits=0)


# -- what is on screen --------------------------------------------------------------------------------------


def predict_view(turn: Turn) -> None:
    """Segment what is on screen and not segmented yet, unless the whole image is being done."""
    state = turn.state
    if state.whole is not None and not state.whole_due:
        turn.set(view_due=True)
        return
    if not state.complete:
        _submit(turn, whole=False)
    if state.complete or not _can_predict(turn):
        look_ahead(turn)


def on_view_changed(turn: Turn) -> None:
    """Other pixels are on screen."""
    turn.set(sketch_due=True)
    predict_view(turn)


def look_ahead(turn: Turn) -> None:
    """A stroke on the part on screen is likely: prepare what its first preview needs."""
    state = turn.state
    if state.strokes_layer is not None and state.chosen is not None and state.view is not None:
        source = state.chosen.source
        turn.do(msg.LookAheadJob(turn.envelope(), source, state.view, state.device, state.learns_depth))


def on_model_rests(turn: Turn) -> None:
    """Segment the whole image if requested, otherwise the part that no preview has made final."""
    state = turn.state
    if state.whole is not None and not state.whole_due:
        predict_view(turn)  # once the whole image is done, if that was by an older model
    elif state.whole_due:
        predict_final(turn)
    elif not _preview_is_final(turn):
        predict_view(turn)  # tiles that this model has made as it segments at rest stay
    else:
        turn.do(FinishDrawing())
        look_ahead(turn)


def predict_final(turn: Turn) -> None:
    """Segment the whole image anew if requested, otherwise the part on screen."""
    forget_tiles(turn)
    if turn.state.finished_here is None:  # perhaps of another normalisation
        unfinish(turn)
    if turn.state.whole_due:
        predict_whole(turn)
    else:
        predict_view(turn)


def run_deferred(turn: Turn) -> None:
    """Segment the view if that had to wait."""
    if turn.state.view_due:
        turn.set(view_due=False)
        predict_view(turn)


def expire_preview_delay(turn: Turn) -> None:
    """There is new paint: show what it changes as soon as it has been learned."""
    turn.set(resting=0, sketch_due=True)


def on_rest_over(turn: Turn, job: int) -> None:
    """The pause after a preview has passed."""
    if job == turn.state.resting:
        turn.set(resting=0)
    if not turn.state.resting:
        run_deferred(turn)


def forget_tiles(turn: Turn) -> None:
    """Discard the tiles so far: made by an older model, or without a map that is wanted now."""
    turn.set(done=frozenset(), preview=None, complete=False, done_since=turn.number_job())


def unfinish(turn: Turn, key: Hashable = None) -> None:
    """The layer of an image, by default the one in front, holds the newest model's labels no more."""
    if key is None and turn.state.chosen is not None:
        key = turn.state.chosen.key
    turn.set(finished=frozenset(each for each in turn.state.finished if each.key != key))


def come_back(turn: Turn, intact: bool) -> None:
    """Another image is in front: what the newest model has segmented of it as a whole is not due again.

    Parameters
    ----------
    turn : Turn
    intact : bool
        Its segmentation layer is there, as it was left.
    """
    finished, state = turn.state.finished_here, turn.state
    if finished is None or not intact:
        unfinish(turn)
        if turn.state.finished != state.finished:
            forget_image(turn)
        return
    whole = finished.covers(uncertainty=state.uncertainty, probabilities=state.probabilities)
    turn.set(applied=True, complete=whole, sketch_due=not whole)


def forget_image(turn: Turn) -> None:
    """Release what was cached of an image; where to look next is remembered of those that are finished."""
    turn.do(msg.ForgetImageJob(turn.envelope(), frozenset(each.key for each in turn.state.finished)))


def want_maps(turn: Turn, event: MapsWanted) -> None:
    """Compute and show other maps beside the labels."""
    state = turn.state
    more = (event.uncertainty and not state.uncertainty) or (event.probabilities and not state.probabilities)
    turn.set(uncertainty=event.uncertainty, probabilities=event.probabilities)
    if more:
        predict_final(turn)


def _can_predict(turn: Turn) -> bool:
    state = turn.state
    return state.chosen is not None and state.view is not None and state.applied and state.has_model


def _preview_is_final(turn: Turn) -> bool:
    """True if the preview equals the newest model's result: with one symmetry, it does."""
    preview, model, view = turn.state.preview, turn.state.model, turn.state.view
    if preview is None or model is None:
        return False
    same = preview.classifier is model.classifier and preview.view == view
    return same and model.classifier.n_symmetries == 1


def _submit(turn: Turn, *, whole: bool) -> None:
    state = turn.state
    if state.chosen is None or state.view is None or state.model is None or not _can_predict(turn):
        return
    classifier, envelope = state.model.classifier, turn.envelope()
    turn.set(predicting=envelope.job, view_due=state.view_due and whole)
    if whole:
        turn.set(whole_job=envelope.job)
    else:
        turn.set(preview=Preview(classifier, state.view))
    turn.do(
        msg.PredictionJob(
            envelope=envelope,
            classifier=classifier,
            classes=named_classes(state, classifier),
            source=state.chosen.source,
            key=state.chosen.key,
            view=state.view,
            whole=whole,
            done=state.done,
            device=state.device,
            quick=not whole and state.learning,
            sketch=state.sketch_due and not whole,
            foreign=state.foreign,
            match_exposure=state.matches_exposure,
            uncertainty=state.uncertainty,
            probabilities=state.probabilities,
        )
    )


# -- the whole image ----------------------------------------------------------------------------------------


def ask_for_whole(turn: Turn) -> None:
    """The user wants the whole image, which is under way already or begins now."""
    if turn.state.whole is None:
        predict_whole(turn)


def predict_whole(turn: Turn) -> None:
    """Segment the whole image, what is on screen first; a model that is still to come is waited for.

    A model from elsewhere that was not applied to this image yet is applied with that.
    """
    state = turn.state
    waits = state.learning or state.stopping
    if state.chosen is None or not (state.has_model or waits):
        turn.set(whole=None, whole_due=False, export=None)
        return
    turn.set(whole=WholeImage(), problem=None, note=None, whole_due=waits, applied=True)
    if not waits:
        _submit(turn, whole=True)


def cancel(turn: Turn) -> None:
    """Cancel the whole image and any export of it; tiles already segmented stay."""
    jobs = turn.state.jobs
    turn.do(StopPredicting(jobs))
    turn.set(cancelled_job=jobs, whole=None, whole_due=False, preview=None, export=None, predicting=0)
    release_trainer(turn)


def on_segmentation_removed(turn: Turn) -> None:
    """The user removed the layer: nothing is segmented until the user asks for it."""
    asked = turn.state.whole is not None
    cancel(turn)
    forget_tiles(turn)
    unfinish(turn)
    turn.set(sketch_due=True, sketched=False, view_due=False)
    if asked:
        turn.set(note="The segmentation layer is gone; press Segment whole image for a new one.")


# -- the predictor's answers --------------------------------------------------------------------------------


def on_tile(turn: Turn, event: msg.TileDone) -> None:
    """Show a tile and record it as done; only final ones are put in the place of final ones."""
    state, job = turn.state, event.envelope.job
    final = event.exact and not event.quick
    turn.do(ShowTile(event, labels=final or state.finished_here is None))
    if not final:
        covered = {tile for tile in state.done if tile.meets(event.tile) and tile not in event.kept}
        turn.set(done=state.done - covered)
    elif job >= state.done_since:
        turn.set(done=state.done | {event.tile})
    if not event.exact:
        turn.set(sketch_due=False, sketched=True)
    if job == state.whole_job and state.whole is not None:
        turn.set(whole=WholeImage(event.fraction, event.pixels_per_second, event.seconds_left))


def on_ended(turn: Turn, event: msg.PredictionEnded) -> None:
    """A prediction ended; the whole image may be complete, and an export due."""
    state, job = turn.state, event.envelope.job
    if job == state.predicting:
        turn.set(predicting=0)
        release_trainer(turn)
    if not state.learning:
        turn.do(FinishDrawing())
    if job != state.whole_job:
        turn.set(resting=job)
        turn.do(Wake(job, REST_SHARE * event.seconds))
    if event.complete:
        turn.set(sketch_due=False, sketched=False)
        if not state.learning:
            look_ahead(turn)
    if job == state.whole_job and state.whole is not None and not state.whole_due:
        newest = job >= state.done_since
        note = f"Segmented the whole image in {event.seconds:.1f} s." if event.complete else None
        turn.set(whole=None, complete=event.complete and newest, note=note)
        if turn.state.complete and state.chosen is not None:
            unfinish(turn)
            now = Finished(state.chosen.key, state.matches_exposure, state.uncertainty, state.probabilities)
            turn.set(finished=turn.state.finished | {now})
        export = state.export
        turn.set(export=None)
        if event.complete and export is not None:
            turn.do(ReadLabels(export.path, export.overwrite))
    if not (state.learning and turn.state.resting):
        run_deferred(turn)


def on_exposure(turn: Turn, event: msg.ExposureDiffers) -> None:
    """Note once that images may differ in exposure, and the remedy."""
    state, sentence = turn.state, event.sentence
    if not state.match_exposure and sentence not in state.exposure_said:
        turn.set(
            exposure_said=state.exposure_said | {sentence},
            note=f"{sentence} If only the exposure differs, tick 'match exposure' under Model.",
        )


def on_failed(turn: Turn, event: msg.JobFailed) -> None:
    """A prediction failed; what is segmented stays."""
    turn.set(whole=None, whole_due=False, export=None, predicting=0, problem=event.sentence)
    release_trainer(turn)


# -- next spot ----------------------------------------------------------------------------------------------


def next_spot(turn: Turn) -> None:
    """Look for the most uncertain place away from the paint."""
    state = turn.state
    if state.chosen is not None:
        labels = None if state.strokes_layer is None else state.strokes_layer.labels
        turn.do(msg.SpotJob(turn.envelope(), state.chosen.key, labels, state.visited))


def forget_spots(turn: Turn) -> None:
    """Spots shown before may be shown again."""
    turn.set(visited=())


def on_spot(turn: Turn, event: msg.SpotFound) -> None:
    """Go where the spot is."""
    if event.position is None:
        turn.set(note="Nothing uncertain is left in what has been segmented.")
    else:
        turn.set(
            visited=(*turn.state.visited, event.position),
            note="The model is unsure in the middle of the view; paint a stroke there.",
        )
        turn.do(GoTo(event.position))
