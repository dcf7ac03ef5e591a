"""The model of the window's list, as its project keeps it."""

from __future__ import annotations

from napari_dsparse.classifier import TrainedClassifier
from napari_dsparse.gui.controller import Controller
from napari_dsparse.gui.study import Study
from napari_dsparse.live import events as ev
from napari_dsparse.live.state import LiveState


def learned_model(study: Study, state: LiveState) -> TrainedClassifier | None:
    """The present classifier if it has learned from an image of the list."""
    model = state.model
    learned = model is not None and any(each.key in model.keys for each in study.images)
    return model.classifier if model is not None and learned else None


def forget_model(study: Study, controller: Controller) -> None:
    """Forget the model if it is one of the list, which is left."""
    if learned_model(study, controller.state) is not None:
        controller.send(ev.ResetPressed())


def take_model(
    study: Study, controller: Controller, classifier: TrainedClassifier | None, project: str
) -> None:
    """Segment with the model that a project kept, if there is one, until something is painted."""
    if classifier is not None:
        study.know_model(classifier)
        controller.send(ev.KeptModelRead(classifier, project))
