"""Where Qt and the engine meet: user actions become jobs, the threads' events become layers and a session."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject

from napari_dsparse.errors import DsparseError
from napari_dsparse.gui import messages as msg
from napari_dsparse.gui.exporting import export_job
from napari_dsparse.gui.garbage import CollectorHold
from napari_dsparse.gui.image_frame import ChannelChoice, ImageFrame, frame_of
from napari_dsparse.gui.learning import Learning
from napari_dsparse.gui.segmenting import Segmenting
from napari_dsparse.gui.session import Training
from napari_dsparse.gui.session_store import SessionStore
from napari_dsparse.gui.strokes_layer import new_strokes_layer
from napari_dsparse.gui.workers import Workers
from napari_dsparse.network.trained import ClassInfo, default_class, default_classes

if TYPE_CHECKING:
    from napari import Viewer
    from napari.layers import Image, Labels


class Controller(QObject):
    """Runs one session: an image, its strokes, the newest model and what it has segmented.

    Parameters
    ----------
    viewer : Viewer
    parent : QObject
    """

    def __init__(self, viewer: Viewer, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.store = SessionStore(self)
        self.frame: ImageFrame | None = None
        self._viewer = viewer
        self._epoch = 0  # events of earlier generations belong to another image
        self._loaded = 0  # models of generations up to this one gave way to one from a file
        self._export_next: tuple[Path, bool] | None = None
        self._collector = CollectorHold(self)
        self.store.changed.connect(self._collector.follow)
        self._workers = Workers(self._hear, self)
        self.learning = Learning(viewer, self.store, self._workers, self)
        self.segmenting = Segmenting(viewer, self.store, self._workers, self)
        self.learning.repainted.connect(self.segmenting.forget_spots)
        self.learning.repainted.connect(self.segmenting.hurry)
        self.learning.rested.connect(self.segmenting.settle)

    # -- choosing -------------------------------------------------------------------------------------------

    def choose_image(self, layer: Image | None, choice: ChannelChoice | None) -> None:
        """Work on `layer`, with its axes read as `choice` says."""
        self._leave_image()
        self.store.set(image=None, problem=None, note=None)
        if layer is None or choice is None:
            self._workers.dismiss()  # nothing to work on, perhaps for good: napari empties a viewer it closes
            return
        try:
            self.frame = frame_of(layer, choice)
        except DsparseError as error:
            self.store.set(problem=str(error))
            return
        self.store.set(image=layer.name)
        self.segmenting.choose(layer, self.frame)

    def choose_strokes(self, layer: Labels | None) -> None:
        """Learn from the paint on `layer`."""
        self.learning.choose(layer, self.frame)
        self.segmenting.look_through(self.learning.layer)

    def new_strokes(self) -> Labels | None:
        """Make a strokes layer for the image and choose it; None without an image."""
        if self.frame is None:
            return None
        model = self.segmenting.classifier
        classes = default_classes(2) if model is None else self.segmenting.named(model)
        layer = new_strokes_layer(self._viewer, self.frame, classes)
        self.choose_strokes(layer)
        return layer

    def set_device(self, name: str) -> None:
        """Compute on the device called `name` from now on."""
        self.learning.device = self.segmenting.device = name

    # -- classes --------------------------------------------------------------------------------------------

    def set_classes(self, classes: Sequence[ClassInfo]) -> None:
        """Take over names and colours, and show them everywhere."""
        self.store.set(classes=tuple(classes))
        self.learning.recolor()
        self.segmenting.recolor()

    def add_class(self) -> None:
        """One class more, with a name and colour of its own, and the brush set to it."""
        number = len(self.store.now.classes) + 1
        self.set_classes((*self.store.now.classes, default_class(number)))
        self.learning.pick_class(number)

    # -- running --------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """End training and prediction; the last model stays."""
        self.learning.stop()
        self.cancel()

    def cancel(self) -> None:
        """Give up the whole-image prediction, and what was to follow it."""
        self._export_next = None
        self.segmenting.cancel()

    def rest(self) -> None:
        """End the threads until there is something to do again."""
        self.stop()
        self._workers.shutdown()

    def shutdown(self) -> None:
        """End the threads and let go of the viewer; the layers stay as they are."""
        self._leave_image()
        self.segmenting.close()
        self._workers.shutdown()
        self._collector.release()

    # -- files ----------------------------------------------------------------------------------------------

    def export(self, path: Path, overwrite: bool) -> None:
        """Write the segmentation of the whole image; what is still missing is segmented first."""
        self.store.set(problem=None, note=None)
        if self.store.now.complete:
            self._write(path, overwrite)
        else:
            self._export_next = (path, overwrite)
            self.segmenting.predict_whole()

    def save_model(self, path: Path, overwrite: bool) -> None:
        """Save the newest model, with the class names as they are now."""
        model = self.segmenting.to_save()
        if model is not None:
            self.store.set(writing=True, problem=None, note=None)
            self._workers.predict(msg.SaveModelJob(path, model, overwrite))

    def load_model(self, path: Path) -> None:
        """Read a model and segment what is on screen with it."""
        self.store.set(writing=True, problem=None, note=None)
        self._workers.predict(msg.LoadModelJob(path))

    def _write(self, path: Path, overwrite: bool) -> None:
        labels = self.segmenting.labels
        if self.frame is None or labels is None:
            self.store.set(problem="The segmentation layer is gone; press Segment whole image for a new one.")
            return
        self.store.set(writing=True)
        self._workers.predict(export_job(path, labels, self.store.now.classes, self.frame, overwrite))

    # -- events ---------------------------------------------------------------------------------------------

    def _hear(self, event: msg.Event) -> None:
        if isinstance(event, msg.TileDone):
            self._workers.tile_taken()
        if getattr(event, "generation", self._epoch) < self._epoch:
            return
        match event:
            case msg.StrokesCounted():
                self.learning.on_counted(event)
            case msg.StepTaken():
                self.learning.on_step(event)
            case msg.SnapshotTaken():
                if event.generation > self._loaded:
                    self.segmenting.use(event.classifier)
            case msg.TrainingEnded():
                if event.generation > self._loaded:
                    self.segmenting.take_record(event.record)
                self.learning.on_ended(event)
            case msg.TileDone():
                self.segmenting.on_tile(event)
            case msg.PredictionEnded():
                self._on_prediction_ended(event)
            case msg.ExposureDiffers():
                self.segmenting.on_exposure(event)
            case msg.SpotFound():
                self.segmenting.on_spot(event)
            case msg.FileWritten():
                self.store.set(writing=False, note=f"{event.what} saved as {event.path.name}.")
                self.segmenting.catch_up()
            case msg.ModelLoaded():
                self._on_model_loaded(event)
            case msg.JobFailed():
                self._on_failed(event)

    def _on_prediction_ended(self, event: msg.PredictionEnded) -> None:
        if self.segmenting.on_ended(event) and self._export_next is not None:
            path, overwrite = self._export_next
            self._export_next = None
            self._write(path, overwrite)
        self.segmenting.catch_up()

    def _on_model_loaded(self, event: msg.ModelLoaded) -> None:
        model, name = event.classifier, event.path.name
        self.store.set(writing=False)
        if self.frame is not None and model.spec.channels != self.frame.source.channels:
            self.store.set(
                problem=f"Model {name} reads {model.spec.channels} channels, the image has "
                f"{self.frame.source.channels}; choose another image or other channels."
            )
            return
        self.stop()
        self._loaded = self._workers.generation
        self.store.set(training=Training.IDLE, note=f"Model {name} loaded.")
        if len(model.classes) >= len(self.store.now.classes):
            self.set_classes(model.classes)
        self.segmenting.use(model, foreign=True)

    def _on_failed(self, event: msg.JobFailed) -> None:
        if event.job == "trainer":
            self.segmenting.cancel()
            self.store.set(training=Training.IDLE, stopping=False, problem=event.sentence)
        else:
            self._export_next = None
            self.store.set(whole=None, writing=False, problem=event.sentence)

    def _leave_image(self) -> None:
        self._export_next = None
        self.learning.leave()
        self.segmenting.leave()
        self.store.set(strokes=None, counts=(), writing=False)
        self.frame = None
        self._epoch = self._workers.next_generation()
