"""The schedule: every event in any order leaves a consistent state that can reach rest."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from classifiers import classifier_for
from napari_dsparse.classifier import class_edits
from napari_dsparse.classifier.class_edits import ClassEdit, done
from napari_dsparse.classifier.classes import ClassInfo, default_classes
from napari_dsparse.classifier.trained import TrainedClassifier
from napari_dsparse.images import ImageSource
from napari_dsparse.live import actions as act
from napari_dsparse.live import events as ev
from napari_dsparse.live import messages as msg
from napari_dsparse.live.envelope import Envelope
from napari_dsparse.live.labelled_image import LabelledImage
from napari_dsparse.live.loop import differ
from napari_dsparse.live.schedule import Event, advance
from napari_dsparse.live.sentences import describe, describe_model
from napari_dsparse.live.state import LiveState, Training, WholeImage
from napari_dsparse.prediction.tiles import FieldOfView, Tile
from napari_dsparse.training import TrainingProgress

GREY = ImageSource(np.arange(64, dtype=np.uint8).reshape(8, 8))
COLOUR = ImageSource(np.arange(192, dtype=np.uint8).reshape(8, 8, 3), channel_axis=2)
STACK = ImageSource(np.arange(128, dtype=np.uint8).reshape(2, 8, 8))
SOURCES = {"grey": GREY, "colour": COLOUR, "stack": STACK}
FIT = TrainingProgress(0, 0, float("nan"), {}, 0, 0.1, True, 4)
VIEW = FieldOfView((), (0, 8), (0, 8))


@cache
def classifier_of(channels: int, classes: int = 2, *, per_image: bool = False) -> TrainedClassifier:
    return replace(classifier_for(channels, classes), per_image=per_image)


def chosen(name: str) -> ev.ImageChosen:
    source = SOURCES[name]
    return ev.ImageChosen(name, name, source, replace(VIEW, plane=(0,) * (len(source.shape) - 2)))


def strokes_on(name: str) -> ev.StrokesChosen:
    labels = np.zeros(SOURCES[name].shape, np.uint8)
    return ev.StrokesChosen(f"{name} strokes", labels, default_classes(2), default_classes(64), 1)


class World:
    """The state, and the jobs not answered yet."""

    def __init__(self) -> None:
        self.state = LiveState()
        self.jobs: list[Any] = []  # all jobs requested so far
        self.open: list[Any] = []
        self.actions: list[Any] = []
        self.stopped_prediction = 0
        self.counts: tuple[tuple[int, int], ...] = ()

    def tell(self, *events: Event) -> tuple[Any, ...]:
        """Apply events; returns the actions of the last one."""
        actions: tuple[Any, ...] = ()
        for event in events:
            self.state, actions = advance(self.state, event)
            self.actions.extend(actions)
            for action in actions:
                self._take(action)
        return actions

    def _take(self, action: Any) -> None:
        match action:
            case msg.TrainingJob():
                self._queue(action, msg.TrainingJob)
            case msg.PredictionJob():
                waiting = [job for job in self.open if isinstance(job, msg.PredictionJob) and not job.whole]
                self.open = [job for job in self.open if job not in waiting or job.whole]
                self._queue(action)
            case msg.LookAheadJob() | msg.ForgetImageJob():
                pass
            case msg.SpotJob() | msg.ExportJob() | msg.SaveModelJob() | msg.LoadModelJob():
                self._queue(action)
            case act.StopPredicting():
                self.stopped_prediction = max(self.stopped_prediction, action.job)
            case act.DismissThreads():
                kept = msg.ExportJob | msg.SaveModelJob | msg.LoadModelJob
                self.open = [job for job in self.open if isinstance(job, kept)]

    def _queue(self, job: Any, instead_of: type | None = None) -> None:
        if instead_of is not None:
            self.open = [waiting for waiting in self.open if not isinstance(waiting, instead_of)]
        self.jobs.append(job)
        self.open.append(job)

    def asked(self, kind: type) -> list[Any]:
        return [job for job in self.jobs if isinstance(job, kind)]

    # -- simulated threads ----------------------------------------------------------------------------------

    def answers(self, job: Any) -> Iterator[Event]:
        """Answers of a simulated thread to `job`."""
        envelope = job.envelope
        match job:
            case msg.TrainingJob():
                yield from self._train(job)
            case msg.PredictionJob():
                if envelope.job <= self.stopped_prediction:
                    yield msg.PredictionEnded(envelope, False, 0.1)
                else:
                    yield tile_of(job)
                    yield msg.PredictionEnded(envelope, True, 0.1)
            case msg.SpotJob():
                yield msg.SpotFound(envelope, None)
            case msg.ExportJob() | msg.SaveModelJob():
                yield msg.FileWritten(envelope, job.path, "It")
            case msg.LoadModelJob():
                yield msg.JobFailed(envelope, "files", "No such file.")

    def _train(self, job: msg.TrainingJob) -> Iterator[Event]:
        labels = np.concatenate([each.labels.ravel() for each in job.images if each.labels is not None])
        painted = np.unique(labels[labels > 0])
        highest = max([len(job.classes), *painted.tolist()])
        counts = tuple((1, int((labels == n).sum())) for n in range(1, highest + 1))
        by_image = tuple(
            (each.key, 1, 0 if each.labels is None else int((each.labels > 0).sum())) for each in job.images
        )
        named = len(counts) <= len(job.classes)
        learning = job.learn and named and len(painted) >= 2
        stopped = job.envelope.job <= self.state.stopped_job
        yield msg.StrokesCounted(job.envelope, counts, learning, by_image)
        if learning and not stopped:
            yield msg.StepTaken(job.envelope, FIT)
            channels, per_image = job.images[job.front].source.channels, job.normalise == "image"
            classifier = classifier_of(channels, highest, per_image=per_image)
            yield msg.SnapshotTaken(job.envelope, classifier, waits=True)
            yield msg.StepTaken(job.envelope, FIT, judged=True)
        if job.learn and named:
            yield msg.TrainingEnded(job.envelope, steady=learning and not stopped)

    def settle(self) -> None:
        """Let simulated threads answer all open jobs until none is left."""
        if self.state.training is Training.PAUSED:
            self.tell(ev.PausePressed(False))
        for _ in range(200):
            effects, self.actions = self.actions, []
            for effect in effects:
                match effect:
                    case act.ReadLabels():
                        self.tell(ev.LabelsRead(effect.path, effect.overwrite, GREY.data, (1, 1), ("", "")))
                    case act.Wake():
                        self.tell(ev.RestOver(effect.job))
            if not self.open:
                if not self.actions:
                    return
                continue
            self.tell(*self.answers(self.open.pop(0)))
        pytest.fail("the jobs never end")


def tile_of(job: msg.PredictionJob, *, exact: bool = True) -> msg.TileDone:
    return msg.TileDone(
        envelope=job.envelope, classes=job.classes, quick=job.quick, exact=exact,
        tile=Tile(job.view.plane, (0, 8), (0, 8)), labels=np.ones((8, 8), np.uint8), uncertainty=None,
        probabilities=None, fraction=1.0, pixels_per_second=1.0, seconds_left=0.0,
    )  # fmt: skip


def painted(world: World, *labels: int) -> ev.Painted:
    paint = np.zeros(world.state.chosen.source.shape if world.state.chosen else (8, 8), np.uint8)
    for number in labels:
        paint[..., number % 8, :3] = number
    return ev.Painted(paint)


def trained(name: str = "grey", *labels: int) -> World:
    """A world in which a model has learned from two strokes on an image, and segmented the view."""
    world = World()
    world.tell(chosen(name), strokes_on(name))
    world.tell(painted(world, *(labels or (1, 2))))
    world.settle()
    assert world.state.training is Training.STEADY
    assert world.state.has_model
    return world


def test_paint_becomes_a_model_and_a_view() -> None:
    world = trained()
    assert world.asked(msg.PredictionJob)
    assert world.state.counts == ((1, 3), (1, 3))
    assert not world.state.complete
    world.tell(ev.WholePressed())
    assert world.state.whole is not None
    world.settle()
    assert world.state.complete
    assert "Segmented the whole image" in describe(world.state)


def test_after_the_segmentation_is_removed_the_whole_image_is_segmented_anew() -> None:
    world = trained()
    world.tell(ev.WholePressed())
    world.settle()
    world.tell(ev.SegmentationRemoved())
    assert not world.state.complete
    world.tell(ev.WholePressed())
    (job,) = [one for one in world.open if isinstance(one, msg.PredictionJob)]
    assert job.whole
    assert not job.done, "nothing is left of what was done"
    world.settle()
    world.tell(ev.ExportPressed(Path("out.tif"), False))
    world.settle()
    assert world.asked(msg.ExportJob)


def test_a_format_that_cannot_hold_a_stack_is_refused_before_it_is_segmented() -> None:
    world = trained("stack")
    asked = len(world.jobs)
    world.tell(ev.ExportPressed(Path("out.coco.json"), False))
    assert "COCO holds one plane" in describe(world.state)
    assert (len(world.jobs), world.state.whole, world.state.export) == (asked, None, None)
    world.tell(ev.ExportPressed(Path("out.geojson"), False))
    assert world.state.problem is None
    assert world.state.whole is not None


def test_a_segmentation_that_is_removed_while_it_is_made_is_given_up() -> None:
    world = trained()
    world.tell(ev.ExportPressed(Path("out.tif"), False))
    world.tell(ev.SegmentationRemoved())
    assert world.state.whole is None
    assert "gone" in describe(world.state)
    world.settle()
    assert not world.asked(msg.ExportJob)


@pytest.mark.parametrize("kind", ["spot", "tile", "failure", "end"])
def test_answers_about_an_image_that_was_left_are_dropped(kind: str) -> None:
    world = trained("stack")
    world.tell(ev.NextSpotPressed())
    spot = world.asked(msg.SpotJob)[-1]
    job = world.asked(msg.PredictionJob)[-1]
    world.tell(chosen("grey"))
    answer = {
        "spot": msg.SpotFound(spot.envelope, (1, 4, 4)),
        "tile": tile_of(job),
        "failure": msg.JobFailed(job.envelope, "predictor", "The other image broke."),
        "end": msg.PredictionEnded(job.envelope, True, 1.0),
    }[kind]
    before = world.state
    assert not world.tell(answer)
    assert world.state.dropped == before.dropped + 1
    assert not differ(replace(world.state, dropped=before.dropped), before)


def test_a_tile_carries_the_classes_it_was_made_with() -> None:
    world = trained("grey", 1, 2, 3)
    old = world.asked(msg.PredictionJob)[-1]
    assert len(old.classes) == 3
    world.tell(painted(world, 1, 2))
    world.settle()
    shown = [action for action in world.tell(tile_of(old)) if isinstance(action, act.ShowTile)]
    assert not shown or len(shown[0].tile.classes) == 3


def test_a_model_is_not_applied_unasked_to_another_image() -> None:
    world = trained("grey")
    predictions = len(world.asked(msg.PredictionJob))
    world.tell(chosen("stack"))
    world.settle()
    assert world.state.has_model
    assert len(world.asked(msg.PredictionJob)) == predictions
    assert "the model from grey" in describe(world.state)
    assert "Not applied" in describe_model(world.state)
    world.tell(ev.WholePressed())
    world.settle()
    assert world.asked(msg.PredictionJob)[-1].foreign
    assert world.state.complete
    world.tell(chosen("grey"))
    assert world.state.applied, "here it learned"


def test_a_model_of_other_channels_is_kept_and_not_applied() -> None:
    world = trained("grey")
    world.tell(chosen("colour"), ev.WholePressed())
    assert not world.state.has_model
    assert world.state.whole is None
    assert world.state.model is not None


def test_reset_forgets_the_model_and_nothing_else() -> None:
    world = trained()
    before = world.state
    late = world.asked(msg.TrainingJob)[-1]
    world.tell(ev.ResetPressed())
    assert world.state.model is None
    assert world.state.strokes_layer is before.strokes_layer
    assert world.state.counts == before.counts
    world.tell(msg.SnapshotTaken(late.envelope, classifier_of(1)))
    assert world.state.model is None, "a model that was on its way is of before"
    assert "Press Train" in describe(world.state)
    world.tell(ev.TrainPressed())
    assert world.asked(msg.TrainingJob)[-1].lineage == late.lineage + 1
    world.settle()
    assert world.state.has_model


def test_live_paint_never_asks_to_press_train() -> None:
    world = World()
    world.tell(chosen("grey"), strokes_on("grey"))
    said = []
    for labels in ((1,), (1, 2)):
        world.tell(painted(world, *labels))
        for job in list(world.open):
            for answer in world.answers(job):
                world.tell(answer)
                said.append(describe(world.state))
    assert not [sentence for sentence in said if "Press Train" in sentence]


def test_the_trainer_is_told_when_no_preview_will_come() -> None:
    world = World()
    world.tell(chosen("grey"), strokes_on("grey"), painted(World(), 1, 2))
    job = world.asked(msg.TrainingJob)[-1]
    answers = list(world.answers(job))
    world.tell(*answers[:2])
    actions = world.tell(answers[2])
    assert isinstance(answers[2], msg.SnapshotTaken)
    assert not [one for one in actions if isinstance(one, act.ReleaseTrainer)], "the preview comes first"
    preview = world.asked(msg.PredictionJob)[-1]
    actions = world.tell(msg.PredictionEnded(preview.envelope, True, 0.1))
    assert act.ReleaseTrainer(job.envelope.job) in actions

    world.tell(painted(world, 1, 2, 3), ev.WholePressed())
    assert world.state.whole is not None
    second = world.asked(msg.TrainingJob)[-1]
    actions = world.tell(msg.SnapshotTaken(second.envelope, classifier_of(1, 3), waits=True))
    waits = world.state.predicting > 0
    assert waits or act.ReleaseTrainer(second.envelope.job) in actions


def test_a_whole_image_that_waits_for_a_model_in_vain_is_given_up() -> None:
    world = World()
    world.tell(chosen("grey"), strokes_on("grey"), painted(world, 1, 2))
    first = world.asked(msg.TrainingJob)[-1]
    world.tell(next(iter(world.answers(first))))
    assert world.state.training is Training.FITTING
    world.tell(ev.WholePressed())
    assert world.state.whole_due
    world.tell(painted(world, 1))  # undone before it was learned
    world.settle()
    assert world.state.whole is None
    assert not world.state.whole_due


def test_the_end_of_a_cancelled_whole_image_is_not_that_of_the_next() -> None:
    world = trained()
    world.tell(ev.WholePressed())
    first = world.asked(msg.PredictionJob)[-1]
    world.tell(ev.CancelPressed(), painted(world, 1, 2))
    counted = world.asked(msg.TrainingJob)[-1]
    world.tell(msg.StrokesCounted(counted.envelope, ((1, 4), (1, 3)), learning=True), ev.WholePressed())
    assert world.state.whole_due
    world.tell(msg.PredictionEnded(first.envelope, False, 0.1))
    assert world.state.whole is not None
    world.settle()
    assert world.state.complete


def test_counts_of_strokes_that_were_left_are_dropped() -> None:
    world = World()
    world.tell(chosen("grey"), strokes_on("grey"), painted(world, 1, 2))
    job = world.asked(msg.TrainingJob)[-1]
    world.tell(ev.StrokesLeft(), *world.answers(job))
    assert world.state.counts == ()
    assert world.state.model is None


def test_a_file_is_reported_whatever_image_is_in_front() -> None:
    world = trained()
    world.tell(ev.SaveModelPressed(Path("a.safetensors"), False), ev.ImageLeft())
    assert world.state.writing
    world.settle()
    assert not world.state.writing
    assert "saved as a.safetensors" in str(world.state.note)


def test_events_of_dismissed_threads_are_dropped() -> None:
    world = trained()
    job = world.asked(msg.PredictionJob)[-1]
    world.tell(ev.WindowHidden())
    assert not world.tell(tile_of(job))
    assert world.state.dropped == 1


def renumbered_by(world: World, edit: ClassEdit) -> ev.ClassesRenumbered:
    strokes = world.state.strokes_layer
    return ev.ClassesRenumbered(edit, None if strokes is None else edit.apply(strokes.labels))


@st.composite
def edits(draw: st.DrawFn, classes: tuple[ClassInfo, ...]) -> ClassEdit:
    """An edit of `classes`, or the undo of one that led to them."""
    if not classes:
        return ClassEdit((), (), "Nothing")
    number, other = (draw(st.integers(1, len(classes))) for _ in range(2))
    found = class_edits.move(classes, number, other)
    if draw(st.booleans()):
        before = (*classes, ClassInfo("one more", "#102030"))
        undone = class_edits.merge(before, len(before), number) if len(classes) > 1 else None
        if undone is not None:
            return done(before, undone, np.zeros((2, 2), np.uint8)).inverse(classes)
    if len(classes) > 2 and draw(st.booleans()):
        return class_edits.remove(classes, number)
    if len(classes) > 2 and number != other:
        return class_edits.merge(classes, number, other)
    return found


NAMES = st.sampled_from(sorted(SOURCES))
LABELS = st.lists(st.integers(1, 4), max_size=4).map(tuple)
PLAIN = st.sampled_from([
    ev.TrainPressed(), ev.StopPressed(), ev.ResetPressed(), ev.WholePressed(), ev.CancelPressed(),
    ev.SegmentationRemoved(), ev.NextSpotPressed(), ev.WindowHidden(),
    ev.ExportPressed(Path("out.tif"), False), ev.SaveModelPressed(Path("m.safetensors"), False),
    ev.LoadModelPressed(Path("m.safetensors")), ev.ImageLeft(), ev.ImageLeft("It cannot be read."),
    ev.StrokesLeft(), ev.StrokesLeft("It does not fit."), ev.DeviceChosen("cpu"),
    ev.ViewChanged(FieldOfView((), (0, 4), (0, 8))), ev.ViewRead(VIEW),
    *(ev.LiveSwitched(on) for on in (True, False)), *(ev.PausePressed(on) for on in (True, False)),
    *(ev.ExposureMatched(on) for on in (True, False)), *(ev.BrushChanged(n) for n in (0, 1, 9)),
    *(ev.DepthChosen(depth) for depth in ("off", "neighbours")),
    *(ev.MapsWanted(one, other) for one in (True, False) for other in (True, False)),
    *(ev.ClassesEdited(default_classes(n)) for n in (2, 3, 4)),
])  # fmt: skip


#: Last events of a job.
ENDS = (
    msg.TrainingEnded, msg.PredictionEnded, msg.JobFailed, msg.SpotFound, msg.FileWritten, msg.ModelLoaded,
)  # fmt: skip


class AnyOrder(RuleBasedStateMachine):
    """Random events, whose answers may come late or never.

    A thread answers its jobs in order, and not after one has ended; answers may arrive after any other
    event of the user.
    """

    events = 0

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.ended: set[int] = set()
        self.newest: dict[str, int] = {}  # last answered job by thread
        #: What every segmentation layer holds, by image: of which model, normalised by its own, and final.
        self.layers: dict[Any, tuple[Any, bool, bool]] = {}

    def may_answer(self, job: Any) -> bool:
        """True if a thread may still answer `job`."""
        number = job.envelope.job
        return number not in self.ended and number >= self.newest.get(worker_of(job), 0)

    def tell(self, event: Event) -> None:
        AnyOrder.events += 1
        before = self.world.state
        dropped = isinstance(event, msg.WorkerEvent) and is_stale(before, event.envelope)
        actions = self.world.tell(event)
        after = self.world.state
        self.follow_layers(event, before, actions)
        if dropped:
            assert not actions
            assert not differ(replace(after, dropped=before.dropped), before)
        for action in actions:
            if isinstance(action, act.ShowTile):
                assert after.chosen is not None
                assert action.tile.envelope.image == after.chosen.number
                assert action.tile.envelope.worker == after.worker
            if isinstance(action, msg.Job):
                assert action.envelope.image in (0, 0 if after.chosen is None else after.chosen.number) or (
                    isinstance(action, msg.ForgetImageJob)
                )
            if isinstance(action, msg.PredictionJob):
                assert action.classifier.spec.channels == action.source.channels
                assert len(action.classes) == len(action.classifier.classes)

    def follow_layers(self, event: Event, before: LiveState, actions: tuple[Any, ...]) -> None:
        """Do to the layers what the window would."""
        front = None if before.chosen is None else before.chosen.key
        if isinstance(event, ev.SegmentationRemoved):
            self.layers.pop(event.key or front, None)
        if isinstance(event, ev.LabelsRead) and event.labels is None:
            self.layers.pop(front, None)
        if isinstance(event, ev.ImageChosen) and not event.segmented:
            self.layers.pop(event.key, None)
        for action in actions:
            if isinstance(action, act.RenumberResults):
                self.layers.clear()
            if isinstance(action, act.ShowTile) and action.labels:
                tile = action.tile
                (job,) = (each for each in self.world.jobs if each.envelope == tile.envelope)
                final = tile.exact and not tile.quick
                self.layers[front] = job.classifier, job.match_exposure, final

    @initialize(name=NAMES, labels=st.sampled_from([(), (1, 2), (1, 2, 3)]))
    def begin(self, name: str, labels: tuple[int, ...]) -> None:
        """Mostly in the middle of work: there is a model."""
        if labels:
            self.world = trained(name, *labels)
            self.ended = {job.envelope.job for job in self.world.jobs}

    @rule(event=st.sampled_from([ev.WholePressed(), ev.TrainPressed(), ev.StopPressed(), ev.CancelPressed()]))
    def press(self, event: Event) -> None:
        self.tell(event)

    @rule(name=NAMES, intact=st.sampled_from([True, True, True, False]))
    def choose_image(self, name: str, intact: bool) -> None:
        self.tell(replace(chosen(name), segmented=intact and name in self.layers))

    @rule(name=NAMES)
    def lose_segmentation(self, name: str) -> None:
        self.tell(ev.SegmentationRemoved(name))

    @precondition(lambda self: self.world.state.chosen is not None)
    @rule()
    def choose_strokes(self) -> None:
        assert self.world.state.chosen is not None
        self.tell(strokes_on(self.world.state.chosen.name))

    @precondition(lambda self: self.world.state.strokes_layer is not None)
    @rule(labels=LABELS)
    def paint(self, labels: tuple[int, ...]) -> None:
        event = painted(self.world, *labels)
        self.tell(event)
        assert self.world.state.strokes_layer is not None
        assert self.world.state.strokes_layer.labels is event.labels
        job = self.world.asked(msg.TrainingJob)[-1]
        assert job.images[job.front].labels is event.labels, "no stroke is lost"

    @rule(names=st.lists(NAMES, unique=True), labels=LABELS)
    def list_images(self, names: list[str], labels: tuple[int, ...]) -> None:
        paint = {name: painted_on(name, *labels) if labels else None for name in names}
        self.tell(listed(**paint))

    @rule(data=st.data())
    def edit_classes(self, data: st.DataObject) -> None:
        before = self.world.state
        edit = data.draw(edits(before.classes))
        self.tell(renumbered_by(self.world, edit))
        after = self.world.state
        assert after.classes == edit.classes
        assert not after.complete, "what is written afterwards is segmented afterwards"
        assert not after.done
        assert after.model is None or len(after.model.classifier.priors) >= len(edit.classes)
        for job in self.world.jobs:
            if job.envelope.job <= before.jobs:  # of the old numbers
                for event in (msg.SnapshotTaken(job.envelope, classifier_of(1, 3)), *self.world.answers(job)):
                    if job.envelope.image and isinstance(event, msg.SnapshotTaken | msg.StrokesCounted):
                        assert not advance(after, event)[1]
                    if isinstance(event, msg.TileDone):
                        assert not advance(after, event)[1]

    @rule(event=PLAIN)
    def act(self, event: Event) -> None:
        self.tell(event)

    @precondition(lambda self: self.world.open)
    @rule(data=st.data())
    def answer_in_order(self, data: st.DataObject) -> None:
        job = data.draw(st.sampled_from(self.world.open))
        if not self.may_answer(job):
            return
        self.world.open.remove(job)
        self.ended.add(job.envelope.job)
        self.newest[worker_of(job)] = job.envelope.job
        for event in self.world.answers(job):
            self.tell(event)

    @precondition(lambda self: any(map(self.may_answer, self.world.jobs)))
    @rule(data=st.data())
    def answer_late(self, data: st.DataObject) -> None:
        job = data.draw(st.sampled_from([job for job in self.world.jobs if self.may_answer(job)]))
        self.newest[worker_of(job)] = job.envelope.job
        events = [*self.world.answers(job), msg.JobFailed(job.envelope, worker_of(job), "It broke.")]
        if isinstance(job, msg.PredictionJob):
            events += [tile_of(job, exact=False), msg.ExposureDiffers(job.envelope, "Dim.")]
        if isinstance(job, msg.LoadModelJob):
            events.append(msg.ModelLoaded(job.envelope, job.path, classifier_of(1, 3)))
        if isinstance(job, msg.SpotJob):
            events.append(msg.SpotFound(job.envelope, (4, 4)))
        event = data.draw(st.sampled_from(events))
        if isinstance(event, ENDS):
            self.ended.add(job.envelope.job)
            self.world.open = [one for one in self.world.open if one is not job]
        if isinstance(event, msg.PredictionEnded) and event.complete:
            self.tell(tile_of(job))  # a thread says so after its last tile
        self.tell(event)

    @precondition(lambda self: self.world.actions)
    @rule(there=st.booleans())
    def answer_effects(self, there: bool) -> None:
        effects, self.world.actions = self.world.actions, []
        for effect in effects:
            if isinstance(effect, act.ReadLabels):
                labels = GREY.data if there else None
                self.tell(ev.LabelsRead(effect.path, effect.overwrite, labels, (1, 1), ("", "")))
            elif isinstance(effect, act.Wake):
                self.tell(ev.RestOver(effect.job))

    @invariant()
    def one_whole_image_at_most(self) -> None:
        whole = [
            job for job in self.world.open if isinstance(job, msg.PredictionJob) and job.whole
            and job.envelope.job > self.world.stopped_prediction
        ]  # fmt: skip
        assert len(whole) <= 1

    @invariant()
    def nothing_but_final_labels_of_the_model_is_called_a_result(self) -> None:
        state = self.world.state
        for each in state.finished:
            assert state.model is not None
            assert self.layers.get(each.key) == (state.model.classifier, each.matched, True)
        if state.complete:
            assert state.finished_here is not None

    @invariant()
    def words_for_every_state(self) -> None:
        state = self.world.state
        assert describe(state)
        assert describe_model(state)

    @invariant()
    def nothing_is_held_without_an_image(self) -> None:
        state = self.world.state
        if state.chosen is None:
            assert state.strokes_layer is None
            assert state.preview is None
            assert not state.done
            assert state.whole is None

    def teardown(self) -> None:
        """After any events, regular answers lead to rest."""
        self.world.settle()
        state = self.world.state
        assert not state.learning, state.training
        assert not state.stopping
        assert state.whole is None
        assert not state.writing
        assert not state.predicting
        assert not state.trainer_waits
        assert state.export is None


AnyOrder.TestCase.settings = settings(
    max_examples=120, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
TestAnyOrder = AnyOrder.TestCase


def is_stale(state: LiveState, envelope: Envelope) -> bool:
    """True if an answer is of an image that was left or of a thread that was dismissed."""
    number = 0 if state.chosen is None else state.chosen.number
    return envelope.image != 0 and (envelope.image, envelope.worker) != (number, state.worker)


def worker_of(job: Any) -> str:
    if isinstance(job, msg.SpotJob):
        return "spots"  # answered in between by the predictor
    if isinstance(job, msg.TrainingJob):
        return "trainer"
    return "files" if isinstance(job, msg.ExportJob | msg.SaveModelJob | msg.LoadModelJob) else "predictor"


def test_a_whole_image_that_waits_for_training_begins_when_the_strokes_are_left() -> None:
    world = trained("colour")
    world.tell(ev.ExposureMatched(True), ev.WholePressed())
    assert world.state.whole_due
    world.tell(ev.StrokesLeft())
    world.settle()
    assert world.state.whole is None
    assert world.state.complete


def test_classes_that_come_back_while_the_paint_of_one_is_learned_do_not_leave_it_waiting() -> None:
    world = trained("colour", 1, 2, 3)
    before = world.state.classes
    world.tell(ev.ClassesEdited(before[:2]), ev.TrainPressed(), ev.ClassesEdited(before))
    world.settle()
    assert world.state.training is Training.STEADY
    assert len(world.state.model.classifier.classes) == 3


def test_neighbouring_planes_are_learned_of_stacks_alone() -> None:
    world = trained("stack")
    world.tell(ev.DepthChosen("neighbours"))
    assert world.state.training is Training.FITTING
    assert world.asked(msg.TrainingJob)[-1].depth == "neighbours"
    assert [a.depth for a in world.actions if isinstance(a, msg.LookAheadJob)][-1] == "neighbours"
    world.settle()
    assert world.state.training is Training.STEADY
    count = len(world.asked(msg.TrainingJob))
    world.tell(ev.DepthChosen("neighbours"))
    assert len(world.asked(msg.TrainingJob)) == count
    for name, depth in (("grey", "off"), ("stack", "neighbours")):
        world.tell(chosen(name), strokes_on(name))
        world.tell(painted(world, 1, 2))
        assert world.state.has_depth == (name == "stack")
        assert world.asked(msg.TrainingJob)[-1].depth == depth
    series = ImageSource(STACK.data, in_time=True)
    world.tell(ev.ImageChosen("series", "series", series, replace(VIEW, plane=(0,))))
    assert not world.state.has_depth


def test_a_model_of_neighbouring_planes_is_not_applied_to_a_single_one() -> None:
    flat = classifier_for(1, 2, network="context")
    deep = replace(flat, spec=replace(flat.spec, depth="neighbours"))
    world = World()
    world.tell(chosen("grey"), msg.ModelLoaded(Envelope(0, 1, 1), Path("deep.safetensors"), deep))
    assert "neighbouring planes" in describe(world.state)
    assert world.state.model is None
    world.tell(chosen("stack"), msg.ModelLoaded(Envelope(0, 2, 1), Path("deep.safetensors"), deep))
    assert world.state.has_model
    world.tell(chosen("grey"))
    assert not world.state.has_model


def test_matching_exposure_is_learned_and_a_difference_said_once_where_it_is_not() -> None:
    world = trained()
    dim = msg.ExposureDiffers(world.asked(msg.TrainingJob)[-1].envelope, "Grey is dim.")
    world.tell(dim)
    remedy = "Grey is dim. If only the exposure differs, tick 'match exposure' under Model."
    assert describe(world.state) == remedy
    world.tell(ev.Noted("Other words."), dim)
    assert describe(world.state) == "Other words."
    assert world.asked(msg.TrainingJob)[-1].normalise == "together"
    world.tell(ev.ExposureMatched(True))
    assert world.state.training is Training.FITTING
    assert world.asked(msg.TrainingJob)[-1].normalise == "image"
    world.settle()
    assert world.asked(msg.PredictionJob)[-1].match_exposure
    world.tell(replace(dim, sentence="Grey is very dim."))
    assert "dim" not in describe(world.state)
    count = len(world.jobs)
    world.tell(ev.ExposureMatched(True))
    assert len(world.jobs) == count
    world.tell(ev.ExposureMatched(False))
    assert world.asked(msg.TrainingJob)[-1].normalise == "together"


def loaded(classifier: TrainedClassifier, name: str = "loaded") -> msg.ModelLoaded:
    return msg.ModelLoaded(Envelope(0, 1, 1), Path(f"{name}.safetensors"), classifier)


def test_a_loaded_model_that_matches_exposure_does_so_alone_and_the_tick_is_the_users() -> None:
    plain, world = classifier_for(1, 2), trained()
    world.tell(loaded(plain))
    assert not world.state.matches_exposure
    jobs = len(world.asked(msg.TrainingJob))
    world.tell(ev.ExposureMatched(True))
    assert len(world.asked(msg.TrainingJob)) == jobs  # the strokes would replace the model
    assert world.asked(msg.PredictionJob)[-1].match_exposure
    assert world.state.model is not None
    assert world.state.model.classifier is plain
    world.tell(ev.ExposureMatched(False))
    assert not world.asked(msg.PredictionJob)[-1].match_exposure
    assert not world.state.exposure_fixed
    own = replace(plain, per_image=True)
    world.tell(loaded(own))
    assert world.asked(msg.PredictionJob)[-1].match_exposure
    assert world.state.exposure_fixed
    assert not world.state.match_exposure
    world.tell(loaded(plain))
    assert not world.asked(msg.PredictionJob)[-1].match_exposure
    assert not world.state.exposure_fixed
    world.tell(loaded(own), ev.ResetPressed())
    assert not world.state.matches_exposure
    assert not world.state.exposure_fixed
    world.tell(loaded(own), painted(world, 1, 2))
    world.settle()
    assert world.asked(msg.TrainingJob)[-1].normalise == "together"
    assert not world.state.matches_exposure


def test_a_model_of_these_strokes_segments_as_it_learned_until_it_learns_anew() -> None:
    world = trained()
    world.tell(ev.LiveSwitched(False))
    for matched in (True, False):
        jobs = len(world.jobs)
        world.tell(ev.ExposureMatched(matched))
        assert len(world.jobs) == jobs
        assert "takes effect with the next training (Train)" in describe(world.state)
        world.tell(ev.WholePressed())
        assert world.asked(msg.PredictionJob)[-1].match_exposure is not matched
        world.settle()
        world.tell(ev.TrainPressed())
        assert world.asked(msg.TrainingJob)[-1].normalise == ("image" if matched else "together")
        world.settle()
        assert world.asked(msg.PredictionJob)[-1].match_exposure is matched
    world.tell(ev.ExposureMatched(True), ev.ExposureMatched(False))
    assert "match exposure" not in describe(world.state).lower()


def test_the_tick_applies_to_a_model_of_another_image_and_not_once_that_is_in_one_list_with_it() -> None:
    world = trained()
    other = ev.ImageChosen("other", "other", GREY, VIEW)
    world.tell(ev.LiveSwitched(False), other, ev.WholePressed())
    world.settle()
    assert not world.asked(msg.PredictionJob)[-1].match_exposure
    world.tell(ev.ExposureMatched(True))
    assert world.asked(msg.PredictionJob)[-1].match_exposure
    world.settle()
    both = (LabelledImage(key, key, GREY, None) for key in ("grey", "other"))
    world.tell(ev.StudyChanged(tuple(both)))
    assert not world.asked(msg.PredictionJob)[-1].match_exposure
    assert not world.state.complete


def test_states_differ_by_value_and_by_identity() -> None:
    state = LiveState()
    assert not differ(state, LiveState())
    assert differ(state, replace(state, whole=WholeImage(0.5)))
    world = trained()
    assert not differ(world.state, replace(world.state))
    assert differ(world.state, replace(world.state, view=FieldOfView((), (1, 2), (1, 2))))


# -- several images -----------------------------------------------------------------------------------------


def painted_on(name: str, *numbers: int) -> np.ndarray:
    labels = np.zeros(SOURCES[name].shape, np.uint8)
    labels.reshape(-1)[: len(numbers)] = numbers
    return labels


def listed(**labels: np.ndarray | None) -> ev.StudyChanged:
    return ev.StudyChanged(
        tuple(LabelledImage(name, name, SOURCES[name], each) for name, each in labels.items())
    )


def test_all_images_of_the_list_are_learned_from_whichever_is_in_front() -> None:
    world = World()
    world.tell(chosen("grey"), strokes_on("grey"), listed(stack=painted_on("stack", 1, 2), grey=None))
    world.tell(ev.Painted(painted_on("grey", 1)))
    job = next(each for each in reversed(world.jobs) if isinstance(each, msg.TrainingJob))
    assert [each.key for each in job.images] == ["stack", "grey"]
    assert job.front == 1
    assert np.count_nonzero(job.images[1].labels) == 1
    world.settle()
    assert world.state.model is not None
    assert world.state.model.keys == {"grey", "stack"}
    assert world.state.model.origin == "2 images"
    assert world.state.counts == ((1, 2), (1, 1))
    assert not world.state.foreign


def test_the_model_of_the_list_segments_its_other_images_unasked_and_no_image_beside_it() -> None:
    world = World()
    world.tell(chosen("grey"), strokes_on("grey"), listed(grey=None, stack=None))
    world.tell(ev.Painted(painted_on("grey", 1, 2)))
    world.settle()
    world.tell(chosen("stack"))
    assert world.state.applied
    assert world.state.foreign  # no paint is on it: its exposure is looked at
    world.settle()
    world.tell(listed(grey=painted_on("grey", 1, 2)), chosen("grey"), chosen("stack"))
    assert not world.state.applied


def test_an_image_that_is_not_in_the_list_is_learned_from_alone() -> None:
    world = World()
    world.tell(listed(stack=painted_on("stack", 1, 2)), chosen("grey"), strokes_on("grey"))
    world.tell(ev.Painted(painted_on("grey", 1, 2)))
    job = next(each for each in reversed(world.jobs) if isinstance(each, msg.TrainingJob))
    assert [each.key for each in job.images] == ["grey"]


def test_one_table_of_classes_holds_for_all_images_of_the_list() -> None:
    world = World()
    named = (*default_classes(2), ClassInfo("vessel", "#123456"))
    world.tell(chosen("grey"), strokes_on("grey"), ev.ClassesEdited(named))
    world.tell(listed(grey=None, stack=None), ev.Painted(painted_on("grey", 1, 2)))
    world.tell(listed(grey=painted_on("grey", 1, 2), stack=None), chosen("stack"))
    actions = world.tell(strokes_on("stack"))
    assert world.state.classes == named
    assert act.ShowClasses(named) in actions


def test_a_table_on_the_layer_of_an_image_behind_does_not_bring_a_removed_class_back() -> None:
    world = World()
    world.tell(chosen("grey"), strokes_on("grey"), listed(grey=painted_on("grey", 1, 2), stack=None))
    world.tell(chosen("stack"))
    stale = replace(strokes_on("stack"), classes=default_classes(4))  # as it was before two were removed
    actions = world.tell(stale)
    assert world.state.classes == default_classes(2)
    assert act.ShowClasses(default_classes(2)) in actions
    world.tell(ev.Painted(painted_on("stack", 1, 4)))  # what is painted has its name all the same
    world.settle()
    assert world.state.classes == default_classes(4)


def test_what_was_segmented_stays_when_the_same_strokes_were_looked_at_again() -> None:
    world = trained("stack")
    world.tell(ev.WholePressed())
    world.settle()
    assert world.state.complete
    world.tell(ev.ViewChanged(replace(VIEW, plane=(1,))))
    (layer,) = (world.state.strokes_layer,)
    world.tell(ev.Painted(layer.labels))  # napari says so of a layer that it slices anew
    envelope = world.asked(msg.TrainingJob)[-1].envelope
    world.open.clear()
    before = len(world.asked(msg.PredictionJob))
    world.tell(msg.StrokesCounted(envelope, world.state.counts, True, world.state.by_image))
    world.tell(msg.TrainingEnded(envelope, steady=True))
    assert world.state.complete
    assert len(world.asked(msg.PredictionJob)) == before
    assert world.state.training is Training.STEADY


def finished_world() -> World:
    """Two images of a list, the one in front segmented as a whole."""
    world = World()
    world.tell(chosen("grey"), strokes_on("grey"), listed(grey=None, stack=None))
    world.tell(ev.Painted(painted_on("grey", 1, 2)))
    world.settle()
    world.tell(ev.WholePressed())
    world.settle()
    assert world.state.complete
    return world


def test_a_whole_result_is_known_again_when_its_image_comes_back() -> None:
    world = finished_world()
    world.tell(chosen("stack"), strokes_on("stack"))
    world.settle()
    assert not world.state.complete
    assert [each.key for each in world.state.finished] == ["grey"]
    before = len(world.asked(msg.PredictionJob))
    back = replace(chosen("grey"), segmented=True)
    world.tell(back, replace(strokes_on("grey"), labels=painted_on("grey", 1, 2)))
    world.tell(ev.ViewChanged(FieldOfView((), (0, 4), (0, 8))))
    assert world.state.complete
    assert len(world.asked(msg.PredictionJob)) == before, "nothing is computed again"
    (read,) = world.tell(ev.ExportPressed(Path("out.tif"), False))
    assert isinstance(read, act.ReadLabels)
    world.tell(chosen("stack"), ev.SegmentationRemoved("grey"))
    assert not world.state.finished
    world.tell(back)
    assert not world.state.complete


def test_a_sketch_is_never_put_over_a_whole_result_nor_counted_as_one() -> None:
    world = finished_world()
    world.tell(ev.MapsWanted(True, False), ev.ViewChanged(FieldOfView((), (0, 4), (0, 8))))
    job = world.asked(msg.PredictionJob)[-1]
    assert job.uncertainty
    (shown,) = world.tell(tile_of(job, exact=False))
    assert not shown.labels, "of a sketch, the maps alone are shown"
    world.settle()
    assert [each.key for each in world.state.finished] == ["grey"]
    world = trained("grey")
    world.tell(ev.ViewChanged(FieldOfView((), (0, 4), (0, 8))))
    world.settle()
    job = world.asked(msg.PredictionJob)[-1]
    assert world.state.done == {tile_of(job).tile}
    world.tell(tile_of(job, exact=False))  # of a job that was asked for before the tile came
    assert not world.state.done, "the tile is computed again"


def test_a_whole_image_that_is_left_is_said_to_be_undone() -> None:
    world = trained("grey")
    world.tell(ev.WholePressed())
    world.tell(chosen("stack"), strokes_on("stack"))
    assert world.state.whole is None
    assert "grey is not segmented as a whole" in describe(world.state)


def test_paint_beyond_the_table_gets_a_name_and_a_colour_of_its_own() -> None:
    world = World()
    four = default_classes(4)
    world.tell(chosen("grey"), strokes_on("grey"), ev.ClassesEdited((four[0], four[1], four[3])))
    world.tell(ev.Painted(painted_on("grey", 1, 2, 3, 5)))
    world.settle()
    names, colors = zip(*((info.name, info.color) for info in world.state.classes), strict=True)
    assert names[:3] == ("background", "object", "class 4")
    assert len(set(names)) == len(set(colors)) == 5


def test_classes_taken_out_of_the_table_do_not_come_back_with_what_was_under_way() -> None:
    world = World()
    world.tell(chosen("grey"), strokes_on("grey"), ev.ClassesEdited(default_classes(4)))
    world.tell(ev.Painted(painted_on("grey", 1, 2)))
    world.tell(ev.ClassesEdited(default_classes(2)))
    world.settle()
    assert len(world.state.classes) == len(world.state.counts) == 2
    assert world.state.model is not None
    assert len(world.state.model.classifier.classes) == 2


def test_a_kept_model_of_other_channels_does_not_end_the_training_under_way() -> None:
    world = World()
    world.tell(chosen("grey"), listed(grey=painted_on("grey", 1, 2)), strokes_on("grey"))
    world.tell(ev.Painted(painted_on("grey", 1, 2)), ev.KeptModelRead(classifier_of(3), "study.dsparse"))
    world.settle()
    assert world.state.model is not None
    assert world.state.model.classifier.spec.channels == 1
    kept = classifier_of(1)
    world.tell(ev.KeptModelRead(kept, "study.dsparse"))
    world.settle()
    assert world.state.model.classifier is kept
