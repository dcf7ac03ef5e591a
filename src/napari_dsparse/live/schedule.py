"""Decides everything between strokes and overlay: (state, event) -> (state, actions), pure.

No thread, no window and no clock: the caller passes in events and carries out the actions.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TypeAlias

from napari_dsparse.live import events as ev
from napari_dsparse.live import filing, learning, renumbering, segmenting
from napari_dsparse.live import messages as msg
from napari_dsparse.live.actions import Action, DismissThreads
from napari_dsparse.live.chosen import ChosenImage
from napari_dsparse.live.state import LiveState, Training
from napari_dsparse.live.turn import Turn

Event: TypeAlias = ev.UserEvent | msg.WorkerEvent

#: What a change of image leaves as it is.
_KEPT = (
    *("study", "study_classes", "study_named", "classes", "live", "device", "network", "depth"),
    *("uncertainty", "probabilities", "match_exposure", "exposure_said", "model", "fit_seconds"),
    *("writing", "jobs", "images", "worker", "lineage", "superseded_job", "dropped", "finished"),
)


def advance(state: LiveState, event: Event) -> tuple[LiveState, tuple[Action, ...]]:
    """The state after `event`, and the actions to take, in order."""
    turn = Turn(state)
    if not isinstance(event, msg.WorkerEvent):
        _act(turn, event)
    elif is_current(state, event):
        _answer(turn, event)
    else:
        turn.set(dropped=state.dropped + 1)
    return turn.state, tuple(turn.actions)


def is_current(state: LiveState, event: msg.WorkerEvent) -> bool:
    """True if an answer still concerns the state: the one place where it is decided.

    Answers of dismissed threads and answers about an image that was left do not; nor do those on strokes
    that were left, and tiles after what they were meant for was given up. Files are of no image at all.
    """
    envelope = event.envelope
    if envelope.image == 0:
        return True
    number = 0 if state.chosen is None else state.chosen.number
    if envelope.worker != state.worker or envelope.image != number:
        return False
    match event:
        case msg.TileDone():
            return envelope.job > state.cancelled_job
        case msg.StrokesCounted() | msg.StepTaken() | msg.SnapshotTaken() | msg.TrainingEnded():
            return envelope.job > state.left_job
        case msg.JobFailed(worker="trainer"):
            return envelope.job > state.left_job
        case _:
            return True


def _act(turn: Turn, event: ev.UserEvent) -> None:
    """Do what the user asks for."""
    match event:
        case ev.ImageChosen():
            _choose_image(turn, event)
        case ev.ImageLeft():
            _leave_image(turn)
            turn.set(worker=turn.state.worker + 1, problem=event.problem, finished=frozenset())
            turn.do(DismissThreads())
        case ev.StrokesChosen():
            learning.choose_strokes(turn, event)
        case ev.StrokesLeft():
            learning.leave_strokes(turn, event.problem)
            if turn.state.whole_due:  # it waited for a training that is over
                segmenting.on_model_rests(turn)
        case ev.StudyChanged():
            learning.change_study(turn, event.images, event.classes)
        case ev.KeptModelRead():
            learning.take_kept_model(turn, event)
        case ev.Refused():
            turn.set(problem=event.sentence)
        case ev.Noted():
            turn.set(problem=None, note=event.sentence)
        case ev.Painted():
            learning.on_paint(turn, event.labels)
        case ev.ViewRead():
            turn.set(view=event.view)
        case ev.ViewChanged():
            turn.set(view=event.view)
            segmenting.on_view_changed(turn)
        case ev.BrushChanged():
            turn.set(brush=event.number)
        case ev.ClassesEdited():
            learning.edit_classes(turn, event.classes)
        case ev.ClassesRenumbered():
            renumbering.renumber(turn, event)
        case ev.LiveSwitched():
            learning.switch_live(turn, event.live)
        case ev.TrainPressed():
            learning.train(turn)
        case ev.PausePressed():
            learning.pause(turn, event.paused)
        case ev.StopPressed():
            learning.stop(turn)
            segmenting.cancel(turn)
        case ev.ResetPressed():
            _reset(turn)
        case ev.DeviceChosen():
            turn.set(device=event.name)
        case ev.DepthChosen():
            learning.choose_depth(turn, event.depth)
        case ev.WholePressed():
            segmenting.ask_for_whole(turn)
        case ev.CancelPressed():
            segmenting.cancel(turn)
        case ev.MapsWanted():
            segmenting.want_maps(turn, event)
        case ev.ExposureMatched():
            learning.match_exposure(turn, event.matched)
        case ev.SegmentationRemoved():
            if event.key is None or (chosen := turn.state.chosen) is None or chosen.key == event.key:
                segmenting.on_segmentation_removed(turn)
            else:
                segmenting.unfinish(turn, event.key)
        case ev.NextSpotPressed():
            segmenting.next_spot(turn)
        case ev.RestOver():
            segmenting.on_rest_over(turn, event.job)
        case ev.ExportPressed():
            filing.export(turn, event)
        case ev.LabelsRead():
            filing.write_labels(turn, event)
        case ev.SaveModelPressed():
            filing.save_model(turn, event)
        case ev.LoadModelPressed():
            filing.load_model(turn, event.path)
        case ev.WindowHidden():
            learning.stop(turn)
            segmenting.cancel(turn)
            turn.set(worker=turn.state.worker + 1, stopping=False)
            turn.do(DismissThreads())


def _answer(turn: Turn, event: msg.WorkerEvent) -> None:
    """Process an event of a thread."""
    match event:
        case msg.StrokesCounted():
            learning.on_counted(turn, event)
        case msg.StepTaken():
            learning.on_step(turn, event)
        case msg.SnapshotTaken():
            learning.on_snapshot(turn, event)
        case msg.TrainingEnded():
            learning.on_ended(turn, event)
        case msg.TileDone():
            segmenting.on_tile(turn, event)
        case msg.PredictionEnded():
            segmenting.on_ended(turn, event)
        case msg.ExposureDiffers():
            segmenting.on_exposure(turn, event)
        case msg.SpotFound():
            segmenting.on_spot(turn, event)
        case msg.FileWritten():
            turn.set(writing=False, note=f"{event.what} saved as {event.path.name}.")
        case msg.ModelLoaded():
            filing.on_model_loaded(turn, event)
        case msg.JobFailed(worker="trainer"):
            learning.on_failed(turn, event)
        case msg.JobFailed(worker="files"):
            turn.set(writing=False, problem=event.sentence)
        case msg.JobFailed():
            segmenting.on_failed(turn, event)


def _choose_image(turn: Turn, event: ev.ImageChosen) -> None:
    """Work on another image; a model that learned from it segments it, others wait to be asked."""
    before = turn.state
    _leave_image(turn)
    if before.whole is not None and before.chosen is not None:
        turn.set(note=f"{before.chosen.name} is not segmented as a whole: you chose another image meanwhile.")
    number = turn.state.images + 1
    chosen = ChosenImage(number, event.key, event.name, event.source)
    turn.set(images=number, chosen=chosen, view=event.view)
    turn.set(classes=learning.shared_classes(turn) or turn.state.classes)
    turn.set(applied=turn.state.has_model and (turn.state.of_study or not turn.state.foreign))
    segmenting.come_back(turn, event.segmented)
    segmenting.predict_view(turn)


def _leave_image(turn: Turn) -> None:
    """Leave image and strokes; results stay as they are."""
    if turn.state.chosen is None:
        return
    if turn.state.studied:
        turn.set(study_classes=turn.state.classes)
    learning.stop(turn)
    segmenting.cancel(turn)
    segmenting.forget_image(turn)
    kept = {name: getattr(turn.state, name) for name in _KEPT}
    jobs = turn.state.jobs
    turn.state = replace(
        LiveState(), **kept, stopped_job=jobs, cancelled_job=jobs, left_job=jobs, done_since=jobs
    )


def _reset(turn: Turn) -> None:
    """Forget the model; the next one starts from nothing."""
    learning.stop(turn)
    segmenting.cancel(turn)
    segmenting.forget_tiles(turn)
    turn.set(
        model=None,
        applied=False,
        finished=frozenset(),
        lineage=turn.state.lineage + 1,
        superseded_job=turn.state.jobs,
        training=Training.IDLE,
        stopping=False,
        progress=None,
        judged=None,
        fitted=(),
        sketch_due=True,
        sketched=False,
        problem=None,
        note=None,
    )
