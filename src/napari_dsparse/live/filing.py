"""Schedule of files: export, and models written and read."""

from __future__ import annotations

from pathlib import Path

from napari_dsparse.errors import ExportError
from napari_dsparse.files.export import check_export
from napari_dsparse.live import events as ev
from napari_dsparse.live import learning, segmenting
from napari_dsparse.live import messages as msg
from napari_dsparse.live.actions import ReadLabels, ShowClasses
from napari_dsparse.live.chosen import CurrentModel
from napari_dsparse.live.state import ExportRequest, Training, newest_classifier
from napari_dsparse.live.turn import Turn


def export(turn: Turn, event: ev.ExportPressed) -> None:
    """Write the segmentation of the whole image; what is still missing is segmented first.

    A format that cannot hold it is refused before.
    """
    turn.set(problem=None, note=None)
    chosen = turn.state.chosen
    if chosen is not None:
        try:
            check_export(event.path, chosen.source.shape)
        except ExportError as error:
            turn.set(problem=str(error))
            return
    if turn.state.complete:
        turn.do(ReadLabels(event.path, event.overwrite))
    else:
        segmenting.ask_for_whole(turn)
        if turn.state.whole is not None:
            turn.set(export=ExportRequest(event.path, event.overwrite))


def write_labels(turn: Turn, event: ev.LabelsRead) -> None:
    """The segmentation has been read from its layer."""
    if event.labels is None:
        segmenting.forget_tiles(turn)
        segmenting.unfinish(turn)
        turn.set(problem="The segmentation layer is gone; press Segment whole image for a new one.")
        return
    turn.set(writing=True)
    turn.do(
        msg.ExportJob(
            envelope=turn.envelope(of_image=False),
            path=event.path,
            labels=event.labels,
            classes=turn.state.classes,
            scale=event.scale,
            units=event.units,
            axes=event.axes,
            overwrite=event.overwrite,
            image_name=event.image_name,
        )
    )


def save_model(turn: Turn, event: ev.SaveModelPressed) -> None:
    """Save the newest model, with the present class names and its full training record."""
    classifier = newest_classifier(turn.state)
    if classifier is None:
        return
    turn.set(writing=True, problem=None, note=None)
    turn.do(msg.SaveModelJob(turn.envelope(of_image=False), event.path, classifier, event.overwrite))


def load_model(turn: Turn, path: Path) -> None:
    """Read a model."""
    turn.set(writing=True, problem=None, note=None)
    turn.do(msg.LoadModelJob(turn.envelope(of_image=False), path))


def on_model_loaded(turn: Turn, event: msg.ModelLoaded) -> None:
    """Segment what is on screen with the model, if it fits the image."""
    classifier, name = event.classifier, event.path.name
    turn.set(writing=False)
    chosen = turn.state.chosen
    misfit = None if chosen is None else classifier.misfit(chosen.source)
    if chosen is not None and classifier.spec.channels != chosen.source.channels:
        turn.set(
            problem=f"Model {name} reads {classifier.spec.channels} channels, the image has "
            f"{chosen.source.channels}; choose another image or other channels."
        )
        return
    if misfit is not None:
        turn.set(problem=misfit)
        return
    learning.stop(turn)
    segmenting.cancel(turn)
    turn.set(
        superseded_job=turn.state.jobs,
        training=Training.IDLE,
        stopping=False,
        problem=None,
        note=f"Model {name} loaded.",
        exposure_said=frozenset(),
    )
    if len(classifier.classes) >= len(turn.state.classes):
        turn.set(classes=classifier.classes)
        turn.do(ShowClasses(classifier.classes))
    segmenting.use(turn, CurrentModel(classifier, name))
