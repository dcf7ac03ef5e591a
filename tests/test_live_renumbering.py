"""Removed, merged and moved classes in the schedule: everything goes on with the new numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from napari_dsparse.classifier import class_edits
from napari_dsparse.classifier.class_edits import done
from napari_dsparse.live import actions as act
from napari_dsparse.live import events as ev
from napari_dsparse.live import messages as msg
from napari_dsparse.live.envelope import Envelope
from napari_dsparse.live.renumbering import TRAIN_ANEW
from napari_dsparse.live.sentences import describe
from napari_dsparse.live.state import Training
from test_live_schedule import World, classifier_of, painted, renumbered_by, tile_of, trained


def calm(*labels: int) -> World:
    """A world with a model at rest, where learning waits for the button."""
    world = trained("grey", *(labels or (1, 2, 3)))
    world.tell(ev.LiveSwitched(False))
    return world


def names(world: World) -> list[str]:
    return [info.name for info in world.state.classes]


def test_a_moved_class_takes_its_paint_and_its_place_in_the_model_along() -> None:
    world = calm()
    actions = world.tell(renumbered_by(world, class_edits.move(world.state.classes, 3, 1)))
    assert names(world) == ["class 3", "background", "object"]
    assert [one.edit.mapping for one in actions if isinstance(one, act.RenumberResults)] == [(2, 3, 1)]
    assert world.state.model is not None
    assert [info.name for info in world.state.model.classifier.classes] == names(world)
    assert world.state.brush == 2, "the brush still paints background"
    world.settle()
    assert world.state.has_model
    assert world.asked(msg.PredictionJob)[-1].classifier is world.state.model.classifier


def test_live_learns_the_new_classes_at_once() -> None:
    world = trained("grey", 1, 2, 3)
    world.tell(renumbered_by(world, class_edits.remove(world.state.classes, 2)))
    job = world.asked(msg.TrainingJob)[-1]
    assert job.learn
    assert [info.name for info in job.classes] == ["background", "class 3"]
    assert set(np.unique(job.images[job.front].labels)) == {0, 1, 2}
    assert world.state.training is Training.FITTING
    assert "Press Train" not in describe(world.state)
    world.settle()
    assert world.state.has_model
    assert world.state.counts == ((1, 3), (1, 3))


def test_merged_classes_wait_for_the_button_where_learning_is_not_live() -> None:
    world = calm()
    before = world.asked(msg.TrainingJob)[-1]
    world.tell(renumbered_by(world, class_edits.merge(world.state.classes, 3, 1)))
    assert world.state.model is None
    assert describe(world.state) == TRAIN_ANEW
    assert not world.asked(msg.TrainingJob)[-1].learn
    world.settle()
    assert world.state.model is None, "nothing was learned unasked"
    assert world.state.counts == ((1, 6), (1, 3))
    world.tell(ev.TrainPressed())
    assert world.asked(msg.TrainingJob)[-1].lineage == before.lineage + 1
    world.settle()
    assert world.state.has_model


def test_what_was_on_its_way_is_dropped() -> None:
    world = calm()
    prediction, training = world.asked(msg.PredictionJob)[-1], world.asked(msg.TrainingJob)[-1]
    world.tell(renumbered_by(world, class_edits.move(world.state.classes, 1, 3)))
    model = world.state.model
    for event in (
        tile_of(prediction),
        msg.SnapshotTaken(training.envelope, classifier_of(1, 3)),
        msg.StrokesCounted(training.envelope, ((9, 9),)),
    ):
        assert not world.tell(event)
    assert world.state.model is model
    assert world.state.dropped == 3


@pytest.mark.parametrize("live", [True, False])
def test_an_export_under_way_begins_anew_with_the_new_numbers(live: bool) -> None:
    world = trained("grey", 1, 2, 3)
    world.tell(ev.LiveSwitched(live))
    world.settle()
    world.tell(ev.ExportPressed(Path("out.tif"), False))
    old = [job for job in world.open if isinstance(job, msg.PredictionJob)]
    world.tell(renumbered_by(world, class_edits.move(world.state.classes, 3, 2)))
    assert all(job.envelope.job <= world.stopped_prediction for job in old)
    world.settle()
    (job,) = world.asked(msg.ExportJob)
    assert [info.name for info in job.classes] == ["background", "class 3", "object"]
    assert world.asked(msg.PredictionJob)[-1].envelope.job > max(one.envelope.job for one in old)


def test_an_export_that_no_model_can_serve_is_given_up() -> None:
    world = calm()
    world.tell(ev.ExportPressed(Path("out.tif"), False))
    world.tell(renumbered_by(world, class_edits.merge(world.state.classes, 3, 1)))
    assert world.state.whole is None
    assert world.state.export is None
    assert describe(world.state) == TRAIN_ANEW
    world.settle()
    assert not world.asked(msg.ExportJob)


def test_a_whole_image_done_before_is_not_written_after() -> None:
    world = calm()
    world.tell(ev.WholePressed())
    world.settle()
    assert world.state.complete
    world.tell(renumbered_by(world, class_edits.remove(world.state.classes, 3)))
    assert not world.state.complete


def test_undoing_a_merge_tells_results_of_both_from_none() -> None:
    world = calm()
    step = done(
        world.state.classes, class_edits.merge(world.state.classes, 3, 1), world.state.strokes_layer.labels
    )
    world.tell(renumbered_by(world, step.edit))
    world.tell(ev.TrainPressed())
    world.settle()
    assert world.state.has_model
    now = world.state.classes
    labels = step.restore(world.state.strokes_layer.labels, now)
    actions = world.tell(ev.ClassesRenumbered(step.inverse(now), labels))
    assert [one.edit.mapping for one in actions if isinstance(one, act.RenumberResults)] == [(0, 2)]
    assert world.state.model is None
    world.tell(ev.TrainPressed())
    world.settle()
    assert world.state.counts == ((1, 3), (1, 3), (1, 3))


def test_without_paint_a_removed_class_leaves_the_model_to_the_others() -> None:
    world = World()
    world.tell(msg.ModelLoaded(Envelope(0, 1, 1), Path("m.safetensors"), classifier_of(1, 3)))
    assert len(world.state.classes) == 3
    world.tell(ev.ClassesRenumbered(class_edits.remove(world.state.classes, 1), None))
    assert world.state.model is not None
    assert [info.name for info in world.state.model.classifier.classes] == ["object", "class 3"]
    assert world.state.model.origin == "m.safetensors"


def test_paint_of_a_number_without_a_class_finds_a_name_after_edits() -> None:
    world = calm()
    for _ in range(3):
        world.tell(renumbered_by(world, class_edits.move(world.state.classes, 1, 3)))
    world.tell(renumbered_by(world, class_edits.remove(world.state.classes, 2)))
    assert len(world.state.strokes_layer.palette) == 64
    world.tell(painted(world, 1, 2, 5))
    world.settle()
    assert len(world.state.classes) == 5
    assert len(set(names(world))) == 5
