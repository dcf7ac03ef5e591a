"""The worker threads: quick to stop, without stale work, and without Qt."""

from __future__ import annotations

import threading
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import pytest

from gui_session import two_textures
from napari_dsparse.classifier.classes import default_classes
from napari_dsparse.classifier.trained import TrainedClassifier
from napari_dsparse.errors import DsparseError
from napari_dsparse.images.source import ImageSource
from napari_dsparse.live import messages as msg
from napari_dsparse.live.envelope import Envelope
from napari_dsparse.live.labelled_image import LabelledImage
from napari_dsparse.live.predictor_thread import TILES_IN_FLIGHT, PredictorThread
from napari_dsparse.live.trainer_thread import TrainerThread
from napari_dsparse.live.worker import Worker, warn_to_log
from napari_dsparse.machine.cores import CoreShare
from napari_dsparse.prediction import Predictor, overview, tiles
from napari_dsparse.prediction.exposure import normalised_to
from napari_dsparse.prediction.tiles import FieldOfView, Tile
from napari_dsparse.training import Trainer
from napari_dsparse.training.train import train_classifier
from whole_images import predict_labels

pytestmark = pytest.mark.alone

E = TypeVar("E")
PATIENCE = 60.0
CLASSES = default_classes(2)


class Ear:
    """Collects a thread's events."""

    def __init__(self) -> None:
        self.heard: list[Any] = []

    def all_of(self, kind: type[E]) -> list[E]:
        return [event for event in self.heard if isinstance(event, kind)]

    def wait(self, condition: Callable[[], Any], seconds: float = PATIENCE) -> Any:
        end = time.monotonic() + seconds
        while not (found := condition()):
            assert time.monotonic() < end, f"waited in vain; heard {[type(e).__name__ for e in self.heard]}"
            time.sleep(0.01)
        return found

    def first(self, kind: type[E]) -> E:
        return self.wait(lambda: self.all_of(kind))[0]  # type: ignore[no-any-return]


@pytest.fixture
def ear() -> Ear:
    return Ear()


@pytest.fixture
def trainer(ear: Ear) -> Iterator[TrainerThread]:
    thread = TrainerThread(ear.heard.append, CoreShare(1))
    thread.start()
    yield thread
    thread.close()
    thread.join(10)
    assert not thread.is_alive()


@pytest.fixture
def predictor(ear: Ear) -> Iterator[PredictorThread]:
    thread = PredictorThread(ear.heard.append, CoreShare(1))
    thread.start()
    yield thread
    thread.close()
    thread.join(10)
    assert not thread.is_alive()


SOURCE = ImageSource(two_textures())


def strokes(*numbers: int) -> np.ndarray:
    labels = np.zeros(SOURCE.shape, np.uint8)
    for number in numbers:
        column = 10 + 80 * (number - 1)
        labels[20:24, column : column + 20] = labels[70:74, column : column + 20] = number
    return labels


def envelope(job: int, image: int = 1) -> Envelope:
    return Envelope(image, job, 1)


def learn(job: int, labels: np.ndarray, **changes: Any) -> msg.TrainingJob:
    fields: dict[str, Any] = {"network": "auto", "device": "cpu", "learn": True} | changes
    image = LabelledImage("image", "image", SOURCE, labels)
    return msg.TrainingJob(envelope(job), (image,), 0, CLASSES, **fields)


@pytest.fixture(scope="module")
def classifier() -> TrainedClassifier:
    heard = Ear()
    thread = TrainerThread(heard.heard.append, CoreShare(1))
    thread.start()
    thread.submit(learn(1, strokes(1, 2)))
    model = heard.first(msg.SnapshotTaken).classifier
    thread.close()
    thread.join(10)
    return model


def view_job(generation: int, classifier: TrainedClassifier, **changes: Any) -> msg.PredictionJob:
    job: dict[str, Any] = {
        "source": SOURCE,
        "key": "image",
        "view": FieldOfView((), (0, 96), (0, 128)),
        "whole": False,
        "done": frozenset(),
        "device": "cpu",
        "quick": True,
        "sketch": False,
        "foreign": False,
        "match_exposure": False,
        "uncertainty": False,
        "probabilities": False,
    }
    return msg.PredictionJob(envelope(generation), classifier, CLASSES, **(job | changes))


def large_job(generation: int, classifier: TrainedClassifier) -> msg.PredictionJob:
    source = ImageSource(np.tile(SOURCE.data, (20, 20)))  # 12 tiles
    return view_job(generation, classifier, source=source, whole=True, quick=False)


def test_a_sketch_of_all_tiles_comes_before_the_first_exact_one(
    predictor: PredictorThread, ear: Ear, classifier: TrainedClassifier
) -> None:
    predictor.submit(view_job(1, classifier, sketch=True))
    assert ear.first(msg.PredictionEnded).complete
    tiles = ear.all_of(msg.TileDone)
    half = len(tiles) // 2
    assert [event.exact for event in tiles] == [False] * half + [True] * half
    assert {event.tile for event in tiles[:half]} == {event.tile for event in tiles[half:]}
    assert tiles[half - 1].fraction == 0
    assert tiles[-1].fraction == 1


def test_an_overview_is_sketched_on_a_lattice_and_gives_way_to_the_next_model(
    predictor: PredictorThread, ear: Ear, classifier: TrainedClassifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overview, "OVERVIEW_PIXELS", 96 * 128)
    monkeypatch.setattr(overview, "WIDE_PIXELS", 96 * 128)
    monkeypatch.setattr(overview, "LEAST_PITCH", 1)
    monkeypatch.setattr(tiles, "VIEW_TILE", (32, 32))

    def of(job: int) -> list[msg.TileDone]:
        return [event for event in ear.all_of(msg.TileDone) if event.envelope.job == job]

    predictor.submit(view_job(1, classifier))
    ear.wait(lambda: len(of(1)) == TILES_IN_FLIGHT)
    predictor.submit(view_job(2, replace(classifier, priors=(0.6, 0.4))))
    for _ in range(20):
        predictor.tile_taken()
    first, second = ear.wait(lambda: ear.all_of(msg.PredictionEnded)[1:] and ear.all_of(msg.PredictionEnded))
    assert not first.complete
    assert second.complete
    assert [event.cell for event in of(1)][:4] == [9, 3, 1, 1]
    assert [event.exact for event in of(1)][:4] == [False, False, False, True]
    assert [event.cell for event in of(2) if not event.exact] == [1], "features of the lattice are known"
    assert sum(event.exact for event in of(2)) == 12


def test_the_next_stroke_finds_its_view_remembered(
    predictor: PredictorThread, ear: Ear, classifier: TrainedClassifier
) -> None:
    def preview(generation: int) -> list[bool]:
        predictor.submit(view_job(generation, classifier, sketch=True))
        ear.wait(lambda: [e for e in ear.all_of(msg.PredictionEnded) if e.envelope.job == generation])
        shown = [event.exact for event in ear.all_of(msg.TileDone) if event.envelope.job == generation]
        for _ in shown:
            predictor.tile_taken()
        return shown

    assert preview(1) == [False, True]
    assert preview(2) == [True]
    predictor.submit(msg.ForgetImageJob(envelope(9)))
    assert preview(3) == [False, True]
    view, whole = view_job(4, classifier).view, Tile((), (0, 96), (0, 128))
    planned = Predictor(classifier, "cpu")
    planned.begin(SOURCE, [whole])
    blocks = planned.blocks_of([whole])
    predictor.submit(msg.ForgetImageJob(envelope(9)))
    ear.wait(lambda: all(predictor._memory.find(block) is None for block in blocks))
    predictor.submit(msg.LookAheadJob(envelope(4), SOURCE, view, "cpu"))
    ear.wait(lambda: all(predictor._memory.find(block) is not None for block in blocks))
    assert preview(5) == [True]
    predictor.submit(msg.LookAheadJob(envelope(6), ImageSource(np.full((96, 128), np.nan)), view, "cpu"))
    assert preview(7) == [True]
    assert not ear.all_of(msg.JobFailed), "what is looked at ahead is nobody's worry yet"


def test_strokes_are_counted_by_class(trainer: TrainerThread, ear: Ear) -> None:
    trainer.submit(learn(1, strokes(1), learn=False))
    assert ear.first(msg.StrokesCounted).counts == ((2, 160), (0, 0))


def test_one_class_is_not_yet_something_to_learn_and_no_error(trainer: TrainerThread, ear: Ear) -> None:
    trainer.submit(learn(1, strokes(1)))
    assert not ear.first(msg.TrainingEnded).steady
    assert not ear.all_of(msg.JobFailed)


def ended(ear: Ear, generation: int) -> msg.TrainingEnded:
    """The end of a job, once it has come."""

    def found() -> list[msg.TrainingEnded]:
        return [event for event in ear.all_of(msg.TrainingEnded) if event.envelope.job == generation]

    return ear.wait(found)[0]  # type: ignore[no-any-return]


def begin_round(trainer: TrainerThread, ear: Ear) -> None:
    """Job 1 fits the strokes, job 2 is Train pressed again: steps are being taken."""
    trainer.submit(learn(1, strokes(1, 2), asked=True))
    ended(ear, 1)
    trainer.submit(learn(2, strokes(1, 2), asked=True))
    ear.wait(lambda: [step for step in ear.all_of(msg.StepTaken) if step.progress.step > 0])


def test_a_fit_is_shown_first_then_judged_then_at_rest(trainer: TrainerThread, ear: Ear) -> None:
    labels = np.zeros((256, 256), np.uint8)
    for row in (20, 120, 220):
        labels[row : row + 4, 20:40], labels[row : row + 4, 180:200] = 1, 2
    source = ImageSource(two_textures(labels.shape))
    image = LabelledImage("image", "image", source, labels)
    trainer.submit(replace(learn(1, labels, asked=True), images=(image,)))
    assert ended(ear, 1).steady
    kinds = [type(event) for event in ear.heard]
    assert kinds == [
        msg.StrokesCounted, msg.StepTaken, msg.SnapshotTaken, msg.StepTaken, msg.TrainingEnded
    ]  # fmt: skip
    fitted, judged = ear.all_of(msg.StepTaken)
    assert not fitted.judged
    assert not fitted.progress.held_out_iou
    assert judged.judged
    assert set(judged.progress.held_out_iou) == {1, 2}
    assert judged.progress.step == fitted.progress.step == 0
    record = ear.first(msg.TrainingEnded).record
    assert record is not None
    assert record.held_out_iou == tuple(judged.progress.held_out_iou.values())


def test_a_second_press_of_train_takes_steps_and_painting_takes_none(
    trainer: TrainerThread, ear: Ear, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_more = Trainer.train_more
    monkeypatch.setattr(Trainer, "train_more", lambda self: train_more(self, steps=3))
    labels = strokes(1, 2)
    for generation, asked in ((1, True), (2, False), (3, True)):
        trainer.submit(learn(generation, labels, asked=asked))
        assert ended(ear, generation).steady
    more = labels.copy()  # what was sent with a job is never written to
    more[40:44, 10:30] = 1
    trainer.submit(learn(4, more))
    ended(ear, 4)
    last = {step.envelope.job: step.progress.step for step in ear.all_of(msg.StepTaken)}
    assert last == {1: 0, 2: 0, 3: 3, 4: 0}
    snapshots = {event.envelope.job: event.classifier.record.steps for event in ear.all_of(msg.SnapshotTaken)}
    assert snapshots == {1: 0, 3: 3, 4: 0}


def test_judging_is_left_out_where_newer_strokes_wait(
    trainer: TrainerThread, ear: Ear, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown, go_on = threading.Event(), threading.Event()

    def give_way(self: TrainerThread, job: msg.TrainingJob) -> None:
        shown.set()
        go_on.wait(PATIENCE)

    monkeypatch.setattr(TrainerThread, "_give_way", give_way)
    labels = strokes(1, 2)
    trainer.submit(learn(1, labels.copy()))
    shown.wait(PATIENCE)
    labels[40:44, 10:30] = 1
    trainer.submit(learn(2, labels))
    go_on.set()
    ended(ear, 2)
    assert [(e.envelope.job, e.judged) for e in ear.all_of(msg.StepTaken)] == [
        (1, False), (2, False), (2, True)
    ]  # fmt: skip
    assert {event.envelope.job for event in ear.all_of(msg.TrainingEnded)} == {2}


def test_what_was_not_judged_is_judged_when_the_same_strokes_come_again(
    trainer: TrainerThread, ear: Ear, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TrainerThread, "_give_way", lambda self, job: self.stop(1))
    trainer.submit(learn(1, strokes(1, 2)))
    ended(ear, 1)
    trainer.submit(learn(2, strokes(1, 2)))
    ended(ear, 2)
    assert [(e.envelope.job, e.judged) for e in ear.all_of(msg.StepTaken)] == [(1, False), (2, True)]


@pytest.fixture
def steps_begun(monkeypatch: pytest.MonkeyPatch) -> list[Trainer]:
    """One entry per gradient step, made when the step begins."""
    begun: list[Trainer] = []
    step = Trainer.step

    def counted(self: Trainer) -> Any:
        begun.append(self)
        return step(self)

    monkeypatch.setattr(Trainer, "step", counted)
    return begun


@pytest.mark.usefixtures("long_round")
def test_stop_finishes_the_step_under_way_and_keeps_the_model(
    trainer: TrainerThread, ear: Ear, steps_begun: list[Trainer]
) -> None:
    begin_round(trainer, ear)
    trainer.stop(2)
    at_stop = len(steps_begun)
    ended(ear, 2)
    assert len(steps_begun) <= at_stop + 1
    assert ear.all_of(msg.SnapshotTaken)[-1].classifier.record.steps == len(steps_begun)


class CountedGate(threading.Event):
    """An event that counts the waits that ended with it unset."""

    refused = 0

    def wait(self, timeout: float | None = None) -> bool:
        found = super().wait(timeout)
        self.refused += not found
        return found


@pytest.mark.usefixtures("long_round")
def test_pause_takes_no_step_and_stop_still_works(
    trainer: TrainerThread, ear: Ear, steps_begun: list[Trainer], monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = CountedGate()
    gate.set()
    monkeypatch.setattr(trainer, "_may_step", gate)
    begin_round(trainer, ear)
    trainer.pause(True)
    ear.wait(lambda: gate.refused)  # the step under way is over
    at_pause = len(steps_begun)
    ear.wait(lambda: gate.refused > 3)
    assert len(steps_begun) == at_pause
    trainer.stop(2)
    ended(ear, 2)


@pytest.mark.usefixtures("long_round")
def test_newer_strokes_win_at_once(trainer: TrainerThread, ear: Ear) -> None:
    begin_round(trainer, ear)
    labels = strokes(1, 2)
    labels[40:44, 10:30] = 1
    trainer.submit(learn(3, labels))
    ear.wait(lambda: [step for step in ear.all_of(msg.StepTaken) if step.envelope.job == 3])
    assert ear.all_of(msg.StrokesCounted)[-1].counts[0][0] == 3
    last = max(i for i, event in enumerate(ear.heard) if event.envelope.job == 2)
    first = min(i for i, event in enumerate(ear.heard) if event.envelope.job == 3)
    assert last < first
    assert ended(ear, 3).steady
    assert ear.all_of(msg.StepTaken)[-1].progress.step == 0, "new paint ends a round of steps"


def test_a_final_view_is_left_for_the_preview_of_newer_strokes(
    predictor: PredictorThread, ear: Ear, classifier: TrainedClassifier
) -> None:
    source = ImageSource(np.tile(SOURCE.data, (20, 20)))
    wide = {"source": source, "view": FieldOfView((), (0, 1920), (0, 2560))}
    predictor.submit(view_job(1, classifier, quick=False, **wide))
    ear.first(msg.TileDone)
    predictor.submit(view_job(2, classifier, **wide))
    for _ in range(200):
        predictor.tile_taken()
    ear.wait(lambda: len(ear.all_of(msg.PredictionEnded)) == 2)
    assert [event.complete for event in ear.all_of(msg.PredictionEnded)] == [False, True]


def test_an_instance_segmentation_is_not_taken_for_strokes(trainer: TrainerThread, ear: Ear) -> None:
    labels = strokes(1, 2).astype(np.uint16)
    labels[50:60, 50:60] = 900
    trainer.submit(learn(1, labels))
    assert "instance segmentation" in ear.first(msg.JobFailed).sentence


def test_an_unknown_device_is_one_sentence_and_the_thread_lives_on(trainer: TrainerThread, ear: Ear) -> None:
    trainer.submit(learn(1, strokes(1, 2), device="abacus"))
    assert "abacus" in ear.first(msg.JobFailed).sentence
    trainer.submit(learn(2, strokes(1, 2)))
    ear.first(msg.StepTaken)


def test_the_labels_are_never_written_to(trainer: TrainerThread, ear: Ear) -> None:
    labels = strokes(1, 2)
    labels.flags.writeable = False
    trainer.submit(learn(1, labels))
    ear.first(msg.SnapshotTaken)


def test_tiles_on_screen_come_first(
    predictor: PredictorThread, ear: Ear, classifier: TrainedClassifier
) -> None:
    source = ImageSource(np.tile(SOURCE.data, (20, 20)))
    view = FieldOfView((), (800, 920), (1300, 1420))
    predictor.submit(view_job(1, classifier, source=source, view=view, whole=True))
    seen = ear.wait(lambda: len(ear.all_of(msg.TileDone)) >= 3 and ear.all_of(msg.TileDone))
    assert view.touches(seen[0].tile)


def test_cancel_waits_for_no_more_than_the_tile_under_way(
    predictor: PredictorThread, ear: Ear, classifier: TrainedClassifier
) -> None:
    predictor.submit(large_job(1, classifier))
    ear.first(msg.TileDone)
    predictor.stop(1)
    done = len(ear.all_of(msg.TileDone))
    predictor.tile_taken()
    assert not ear.first(msg.PredictionEnded).complete
    assert len(ear.all_of(msg.TileDone)) <= done + 1


class CountedPlaces(threading.Semaphore):
    """A semaphore that counts the waits that ended without a place."""

    refused = 0

    def acquire(self, blocking: bool = True, timeout: float | None = None) -> bool:
        taken = super().acquire(blocking, timeout)
        self.refused += not taken
        return taken


def test_a_window_that_is_slow_does_not_fill_the_memory(
    predictor: PredictorThread, ear: Ear, classifier: TrainedClassifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = CountedPlaces(TILES_IN_FLIGHT)
    monkeypatch.setattr(predictor, "_in_flight", places)
    predictor.submit(large_job(1, classifier))
    ear.wait(lambda: places.refused > 3)  # the thread holds the next tile back
    assert len(ear.all_of(msg.TileDone)) == TILES_IN_FLIGHT


def test_tiles_done_before_are_left_out(
    predictor: PredictorThread, ear: Ear, classifier: TrainedClassifier
) -> None:
    predictor.submit(view_job(1, classifier, quick=False))
    ear.first(msg.PredictionEnded)
    done = frozenset(event.tile for event in ear.all_of(msg.TileDone))
    predictor.submit(view_job(2, classifier, done=done, quick=False))
    ear.wait(lambda: len(ear.all_of(msg.PredictionEnded)) == 2)
    assert len(ear.all_of(msg.TileDone)) == len(done)


def test_a_preview_is_of_what_is_on_screen_alone_and_exact(
    predictor: PredictorThread, ear: Ear, classifier: TrainedClassifier
) -> None:
    source = ImageSource(np.tile(SOURCE.data, (6, 6)))
    view = FieldOfView((), (-40, 300), (111, 700))
    predictor.submit(view_job(1, classifier, source=source, view=view))
    for _ in range(20):
        predictor.tile_taken()
    assert ear.first(msg.PredictionEnded).complete
    found = np.zeros(source.shape, np.uint8)
    for event in ear.all_of(msg.TileDone):
        found[event.tile.slices] = event.labels
    wanted = predict_labels(replace(classifier, n_symmetries=1), source, device="cpu")
    seen = np.s_[:300, 111:700]
    np.testing.assert_array_equal(found[seen], wanted[seen])
    found[seen] = 0
    assert not found.any()


def test_neighbouring_planes_are_learned_previewed_and_remembered(
    trainer: TrainerThread, predictor: PredictorThread, ear: Ear
) -> None:
    source = ImageSource(np.stack([two_textures(seed=seed)[:64, :96] for seed in range(4)]))
    labels = np.zeros(source.shape, np.uint8)
    labels[1, 10:14, 5:30], labels[1, 40:44, 60:90] = 1, 2
    job = learn(1, labels, depth="neighbours")
    trainer.submit(replace(job, images=(replace(job.images[0], source=source),)))
    deep = ear.first(msg.SnapshotTaken).classifier
    wanted = train_classifier(source, labels, device="cpu", depth="neighbours", classes=CLASSES)
    assert deep.spec == wanted.spec
    for name, value in wanted.weights.items():
        np.testing.assert_array_equal(deep.weights[name], value)
    view = FieldOfView((2,), (0, 64), (0, 96))
    tile = Tile((2,), (0, 64), (0, 96))
    planned = Predictor(deep, "cpu")
    planned.begin(source, [tile])
    blocks = planned.blocks_of([tile])
    assert {block.plane for block in blocks} == {(1,), (2,), (3,)}
    predictor.submit(msg.LookAheadJob(envelope(1), source, view, "cpu", "neighbours"))
    ear.wait(lambda: all(predictor._memory.find(block) is not None for block in blocks))
    predictor.submit(view_job(2, deep, source=source, view=view, quick=True, sketch=True))
    assert ear.first(msg.PredictionEnded).complete
    (shown,) = ear.all_of(msg.TileDone)  # no sketch: all of it was looked at ahead
    np.testing.assert_array_equal(shown.labels, predict_labels(deep, source, device="cpu")[2])


def test_exposures_that_differ_are_said_once_and_taken_out_when_asked(
    trainer: TrainerThread, predictor: PredictorThread, ear: Ear
) -> None:
    dim = ImageSource(SOURCE.data * np.float32(0.25) + 9, name="dim")
    both = tuple(
        LabelledImage(source.name, source.name, source, strokes(1, 2))
        for source in (replace(SOURCE, name="bright"), dim)
    )
    job = replace(learn(1, both[0].labels), images=both)
    trainer.submit(job)
    ended(ear, 1)
    more = strokes(1, 2)
    more[5:9, 10:30] = 1
    trainer.submit(replace(job, envelope=envelope(2), images=(both[0], replace(both[1], labels=more))))
    ended(ear, 2)
    (said,) = ear.all_of(msg.ExposureDiffers)
    assert said.sentence == "Grey values of bright spread 4.0 times as widely as those of dim."
    trainer.submit(replace(job, envelope=envelope(3), normalise="image"))
    ended(ear, 3)
    model = ear.all_of(msg.SnapshotTaken)[-1].classifier
    sources, labels = [each.source for each in both], [each.labels for each in both]
    wanted = train_classifier(sources, labels, device="cpu", normalise="image", classes=CLASSES)
    assert model.per_image
    for name, value in wanted.weights.items():
        np.testing.assert_array_equal(model.weights[name], value)
    predictor.submit(view_job(4, model, source=dim, foreign=True))  # no tick is needed, nothing is said
    ear.wait(lambda: len(ear.all_of(msg.PredictionEnded)) == 1)
    shown = predict_labels(normalised_to(replace(model, n_symmetries=1), dim), dim, device="cpu")
    for event in ear.all_of(msg.TileDone):
        np.testing.assert_array_equal(event.labels, shown[event.tile.slices])
    assert len(ear.all_of(msg.ExposureDiffers)) == 1


def test_a_second_press_of_train_says_that_neighbouring_planes_take_no_steps(
    trainer: TrainerThread, ear: Ear
) -> None:
    source = ImageSource(np.stack([SOURCE.data, SOURCE.data]))
    painted = strokes(1, 2)
    job = learn(1, np.stack([painted, np.zeros_like(painted)]), depth="neighbours")
    job = replace(job, images=(replace(job.images[0], source=source),))
    trainer.submit(job)
    ended(ear, 1)
    trainer.submit(replace(job, envelope=envelope(2), asked=True))
    assert "no gradient steps" in ear.first(msg.JobFailed).sentence


def test_another_exposure_is_mentioned_once_and_can_be_matched(
    predictor: PredictorThread, ear: Ear, classifier: TrainedClassifier
) -> None:
    predictor.submit(view_job(1, classifier))
    ear.wait(lambda: len(ear.all_of(msg.PredictionEnded)) == 1)
    first = {event.tile: event.labels for event in ear.all_of(msg.TileDone)}
    darker = ImageSource(SOURCE.data * np.float32(0.2))
    for generation in (2, 3):
        predictor.submit(view_job(generation, classifier, source=darker, foreign=True))
        ear.wait(lambda: len(ear.all_of(msg.PredictionEnded)) == generation)  # noqa: B023
    predictor.submit(view_job(4, classifier, source=darker, match_exposure=True))
    ear.wait(lambda: len(ear.all_of(msg.PredictionEnded)) == 4)
    (mentioned,) = ear.all_of(msg.ExposureDiffers)
    assert mentioned.envelope.job == 2
    assert "5.0 times less widely than where the model learned" in mentioned.sentence
    for event in ear.all_of(msg.TileDone):
        if event.envelope.job == 4:
            np.testing.assert_array_equal(event.labels, first[event.tile])


def test_a_spot_is_found_while_the_whole_image_is_segmented(
    predictor: PredictorThread, ear: Ear, classifier: TrainedClassifier
) -> None:
    predictor.submit(large_job(1, classifier))
    ear.first(msg.TileDone)
    predictor.submit(msg.SpotJob(envelope(2), "image", None, ()))
    for _ in range(3):
        predictor.tile_taken()
    assert ear.first(msg.SpotFound).position is not None
    assert not ear.all_of(msg.PredictionEnded)


def test_where_an_image_is_uncertain_is_remembered_while_it_is_finished(
    predictor: PredictorThread, ear: Ear, classifier: TrainedClassifier
) -> None:
    predictor.submit(view_job(1, classifier))
    assert ear.first(msg.PredictionEnded).complete
    for number, finished in enumerate(({"image"}, set()), start=2):
        predictor.submit(msg.ForgetImageJob(envelope(number), frozenset(finished)))
        predictor.submit(msg.SpotJob(envelope(number), "image", None, ()))
        ear.wait(lambda: len(ear.all_of(msg.SpotFound)) == number - 1)  # noqa: B023
    first, second = ear.all_of(msg.SpotFound)
    assert first.position is not None
    assert second.position is None


@dataclass(frozen=True)
class Order:
    envelope: Envelope
    what: str


class Grumbler(Worker[Any]):
    """Warns, or fails in the requested way."""

    def _supersedes(self, job: Order, waiting: Order) -> bool:
        return False

    def _work(self, job: Order) -> None:
        match job.what:
            case "warn":
                warnings.warn("the plotter is out of ink", stacklevel=1)
                self._post(msg.SpotFound(job.envelope, None))
            case "ours":
                raise DsparseError("Give a larger image.")
            case "torch":
                raise RuntimeError("CUDA out of memory.\nTried to allocate 20 GiB\n  at frame #0")
            case "memory":
                raise MemoryError


@pytest.fixture
def grumbler(ear: Ear) -> Iterator[Grumbler]:
    thread = Grumbler("grumbler", ear.heard.append)
    thread.start()
    yield thread
    thread.close()
    thread.join(5)


@pytest.mark.parametrize(
    ("job", "sentence"),
    [
        ("ours", "Give a larger image."),
        ("torch", "RuntimeError: CUDA out of memory."),
        ("memory", "There is not enough memory for this; crop the image."),
    ],
)
def test_every_failure_is_one_sentence(job: str, sentence: str, grumbler: Grumbler, ear: Ear) -> None:
    grumbler.submit(Order(envelope(7), job))
    failed = ear.first(msg.JobFailed)
    assert failed.sentence == sentence
    assert (failed.envelope, failed.worker) == (envelope(7), "grumbler")
    assert grumbler.is_alive()


def test_warnings_of_a_worker_reach_the_log_and_not_the_window(
    grumbler: Grumbler, ear: Ear, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    shown: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        monkeypatch.setattr(
            warnings, "showwarning", lambda message, *args, **kwargs: shown.append(str(message))
        )
        undo = warn_to_log()
        grumbler.submit(Order(envelope(7), "warn"))
        ear.first(msg.SpotFound)
        warnings.warn("this one is the window's own", stacklevel=1)
        undo()
    assert shown == ["this one is the window's own"]
    assert "the plotter is out of ink" in caplog.text


def test_the_cores_are_shared_among_those_that_work() -> None:
    import torch

    cores, before, shares = CoreShare(4), torch.get_num_threads(), []

    def measure() -> None:
        with cores.working():
            cores.apply_thread_limit()
            shares.append(torch.get_num_threads())
            with cores.working():  # as if another thread had begun
                cores.apply_thread_limit()
                shares.append(torch.get_num_threads())

    thread = threading.Thread(target=measure)
    thread.start()
    thread.join()
    assert shares == [4, 2]
    assert torch.get_num_threads() == before  # the limit is the worker's own


def test_several_images_make_the_model_that_training_on_them_makes(trainer: TrainerThread, ear: Ear) -> None:
    sources = [ImageSource(two_textures((96, 128), seed=seed)) for seed in range(3)]
    labels = [strokes(1, 2), None, strokes(2)]
    images = tuple(
        LabelledImage(number, f"image {number}", source, paint)
        for number, (source, paint) in enumerate(zip(sources, labels, strict=True))
    )
    for front in (0, 1, 2):  # whichever is in front
        trainer.submit(replace(learn(front + 1, labels[0], asked=True), images=images, front=front))
        ended(ear, front + 1)
    counted = ear.first(msg.StrokesCounted)
    assert [key for key, _, pixels in counted.by_image if pixels] == [0, 2]
    assert sum(pixels for _, pixels in counted.counts) == sum(pixels for _, _, pixels in counted.by_image)
    expected = train_classifier([sources[0], sources[2]], [labels[0], labels[2]], device="cpu")
    for name, value in expected.weights.items():
        np.testing.assert_array_equal(ear.first(msg.SnapshotTaken).classifier.weights[name], value)
