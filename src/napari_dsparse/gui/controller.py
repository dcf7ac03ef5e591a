"""Where Qt and the engine meet: user actions go in, jobs go to the threads, events come back to the layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, QTimer, Signal

from napari_dsparse.errors import DsparseError
from napari_dsparse.gui import messages as msg
from napari_dsparse.gui.class_look import classes_of, more_classes, show_classes
from napari_dsparse.gui.exporting import export_job
from napari_dsparse.gui.image_frame import ChannelChoice, ImageFrame, check_labels_fit, frame_of
from napari_dsparse.gui.layers import center_on, field_of_view
from napari_dsparse.gui.next_spot import empty_grid, store_blocks
from napari_dsparse.gui.paint_watch import PaintWatch
from napari_dsparse.gui.result_layers import ResultLayers
from napari_dsparse.gui.session import Session, Training, WholeImage
from napari_dsparse.gui.strokes_layer import ClassKeys, new_strokes_layer, take_brush
from napari_dsparse.gui.view_watch import ViewWatch
from napari_dsparse.gui.workers import Workers
from napari_dsparse.network.trained import ClassInfo, TrainedClassifier, default_class, default_classes
from napari_dsparse.prediction.tiles import Tile

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

    #: The new `Session`; whoever shows it compares with the one before.
    session_changed = Signal(object)

    def __init__(self, viewer: Viewer, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.session = Session()
        self._viewer = viewer
        self._image: Image | None = None
        self._frame: ImageFrame | None = None
        self._strokes: Labels | None = None
        self._results: ResultLayers | None = None
        self._classifier: TrainedClassifier | None = None
        self._device, self._network = "auto", "auto"
        self._uncertainty = self._probabilities = False
        self._epoch = 0  # events of earlier generations belong to another image or strokes layer
        self._done: set[Tile] = set()
        self._done_since = 0  # tiles of earlier generations are by an older model
        self._view_due = False
        self._whole_generation = -1
        self._stopped = -1  # steps of generations up to this one no longer count
        self._export_next: tuple[Path, bool] | None = None
        self._grid = empty_grid((1, 1))
        self._visited: tuple[tuple[int, ...], ...] = ()
        self._workers = Workers(self._hear, self)
        self._paint_watch = PaintWatch(self)
        self._paint_watch.changed.connect(self._strokes_changed)
        self._view_watch = ViewWatch(viewer, self)
        self._view_watch.changed.connect(self._predict_view)
        self._keys = ClassKeys(self.pick_class)

    @property
    def frame(self) -> ImageFrame | None:
        """The chosen image as resolved; None without one."""
        return self._frame

    # -- choosing -------------------------------------------------------------------------------------------

    def choose_image(self, layer: Image | None, choice: ChannelChoice | None) -> None:
        """Work on `layer`, with its axes read as `choice` says."""
        self._leave_image()
        frame = None
        if layer is not None and choice is not None:
            try:
                frame = frame_of(layer, choice)
            except DsparseError as error:
                self._set(image=layer.name, problem=str(error))
                return
            self._results = ResultLayers(self._viewer, layer, frame, self)
            self._results.handed_over.connect(self._on_handed_over)
            self._grid = empty_grid(frame.source.shape)
        self._image, self._frame = layer, frame
        fits = self._classifier is not None and frame is not None
        if fits and self._classifier is not None and frame is not None:
            fits = self._classifier.spec.channels == frame.source.channels
        if not fits:
            self._classifier = None
        self._set(
            image=None if layer is None else layer.name,
            training=Training.IDLE,
            progress=None,
            has_model=self._classifier is not None,
            problem=None,
            note=None,
        )

    def choose_strokes(self, layer: Labels | None) -> None:
        """Learn from the paint on `layer`."""
        if layer is self._strokes and layer is not None:
            return
        self._leave_strokes()
        if layer is None or self._frame is None:
            self._set(strokes=None, counts=(), classes=self.session.classes or default_classes(2))
            return
        try:
            check_labels_fit(self._frame, layer.data.shape, layer.name)
        except DsparseError as error:
            self._set(strokes=None, counts=(), problem=str(error))
            return
        self._strokes = layer
        self._paint_watch.watch(layer)
        self._keys.bind(layer)
        layer.events.selected_label.connect(self._on_brush)
        self._set(
            strokes=layer.name,
            classes=classes_of(layer),
            counts=(),
            brush=int(layer.selected_label),
            problem=None,
            note=None,
        )
        self._strokes_changed()

    def new_strokes(self) -> Labels | None:
        """Make a strokes layer for the image and choose it."""
        if self._frame is None:
            return None
        layer = new_strokes_layer(self._viewer, self._frame, default_classes(2))
        self.choose_strokes(layer)
        return layer

    def set_device(self, name: str) -> None:
        """Compute on the device called `name` from now on."""
        self._device = name
        self._invalidate_tiles()

    # -- classes --------------------------------------------------------------------------------------------

    def set_classes(self, classes: Sequence[ClassInfo]) -> None:
        """Take over new names and colours, and show them everywhere."""
        self._set(classes=tuple(classes))
        if self._strokes is not None:
            show_classes(self._strokes, classes)
        if self._results is not None:
            self._results.recolor(classes)

    def add_class(self) -> None:
        """One class more, with a name and colour of its own."""
        number = len(self.session.classes) + 1
        self.set_classes((*self.session.classes, default_class(number)))
        self.pick_class(number)

    def pick_class(self, number: int) -> None:
        """Paint class `number` from now on."""
        if self._strokes is None or not 1 <= number <= len(self.session.classes):
            return
        take_brush(self._viewer, self._strokes)
        self._strokes.selected_label = number

    # -- training -------------------------------------------------------------------------------------------

    def set_live(self, live: bool) -> None:
        """Learn by itself after every stroke, or only when told."""
        self._set(live=live)
        if live:
            self._strokes_changed()

    def train(self) -> None:
        """Learn from the strokes there are, until steady."""
        self.pause(False)
        if self.session.painted_classes >= 2:
            self._set(training=Training.LEARNING, problem=None, note=None)
        self._submit_training(learn=True, asked=True)

    def pause(self, paused: bool) -> None:
        """Hold the training after the step at hand, or go on."""
        self._workers.pause_training(paused)
        if paused and self.session.training is Training.LEARNING:
            self._set(training=Training.PAUSED)
        elif not paused and self.session.training is Training.PAUSED:
            self._set(training=Training.LEARNING)

    def stop(self) -> None:
        """End training and prediction; the last model stays."""
        self._stopped = self._workers.generation
        self._workers.stop_training()
        self._workers.pause_training(False)
        self.cancel()
        if self.session.training in (Training.LEARNING, Training.PAUSED):
            self._set(training=Training.STOPPED)

    # -- predicting -----------------------------------------------------------------------------------------

    def predict_whole(self) -> None:
        """Segment the whole image with the newest model."""
        self._set(whole=WholeImage(), problem=None, note=None)
        self._submit_prediction(whole=True)

    def cancel(self) -> None:
        """Give up the whole-image prediction; what is segmented stays."""
        self._workers.stop_predicting()
        self._export_next = None
        self._set(whole=None)

    def show_uncertainty(self, shown: bool) -> None:
        """Compute and show the uncertainty layer, or hide it."""
        self._uncertainty = shown
        self._maps_switched("uncertainty", shown)

    def show_probabilities(self, shown: bool) -> None:
        """Compute and show a probability layer for every class, or hide them."""
        self._probabilities = shown
        self._maps_switched("probability", shown)

    def next_spot(self) -> None:
        """Bring the most uncertain place away from the paint to the middle of the view."""
        frame = self._frame
        if frame is not None:
            labels = None if self._strokes is None else frame.engine_view(self._strokes.data)
            self._workers.predict(msg.SpotJob(self._grid.copy(), labels, self._visited))

    # -- files ----------------------------------------------------------------------------------------------

    def export(self, path: Path, overwrite: bool) -> None:
        """Write the segmentation, of the whole image: what is still missing is segmented first."""
        self._set(problem=None, note=None)
        if self.session.complete or self._classifier is None:
            self._write(path, overwrite)
        else:
            self._export_next = (path, overwrite)
            self.predict_whole()

    def save_model(self, path: Path, overwrite: bool) -> None:
        """Save the newest model, with the class names as they are now."""
        if self._classifier is not None:
            named = replace(self._classifier, classes=self._named(self._classifier))
            self._set(writing=True, problem=None, note=None)
            self._workers.predict(msg.SaveModelJob(path, named, overwrite))

    def load_model(self, path: Path) -> None:
        """Read a model and segment what is on screen with it."""
        self._set(writing=True, problem=None, note=None)
        self._workers.predict(msg.LoadModelJob(path))

    def shutdown(self) -> None:
        """End the threads and let go of the viewer; the layers stay as they are."""
        self._leave_image()
        self._view_watch.close()
        self._workers.shutdown()

    # -- jobs -----------------------------------------------------------------------------------------------

    def _strokes_changed(self) -> None:
        self._visited = ()
        self._submit_training(learn=self.session.live)

    def _submit_training(self, *, learn: bool, asked: bool = False) -> None:
        frame, strokes = self._frame, self._strokes
        if frame is None or strokes is None:
            return
        self._workers.train(
            msg.TrainingJob(
                generation=self._workers.next_generation(),
                source=frame.source,
                labels=frame.engine_view(strokes.data),
                classes=self.session.classes,
                network=self._network,
                device=self._device,
                learn=learn or self.session.training in (Training.LEARNING, Training.PAUSED),
                asked=asked,
            )
        )

    def _predict_view(self) -> None:
        """Segment what is on screen and not segmented yet, unless the whole image is being done."""
        if self.session.whole is not None or self.session.writing:
            self._view_due = True
        elif not self.session.complete:
            self._submit_prediction(whole=False)

    def _submit_prediction(self, *, whole: bool) -> None:
        frame, classifier = self._frame, self._classifier
        if frame is None or classifier is None or self._results is None:
            return
        on_pixels = self._strokes or self._results.segmentation
        if on_pixels is None and self._image is not None and not self._image.multiscale:
            on_pixels = self._image if frame.kept_axis is None and not self._image.rgb else None
        generation = self._workers.next_generation()
        if whole:
            self._whole_generation = generation
        self._workers.predict(
            msg.PredictionJob(
                generation=generation,
                classifier=classifier,
                source=frame.source,
                view=field_of_view(self._viewer, frame, on_pixels),
                whole=whole,
                done=frozenset(self._done),
                device=self._device,
                uncertainty=self._uncertainty,
                probabilities=self._probabilities,
            )
        )

    def _write(self, path: Path, overwrite: bool) -> None:
        frame = self._frame
        labels = None if self._results is None else self._results.labels
        if frame is None or labels is None:
            self._set(problem="There is no segmentation to export yet; train or load a model first.")
            return
        self._set(writing=True)
        self._workers.predict(export_job(path, labels, self.session.classes, frame, overwrite))

    # -- events ---------------------------------------------------------------------------------------------

    def _hear(self, event: msg.Event) -> None:
        if isinstance(event, msg.TileDone):
            self._workers.tile_taken()
        if getattr(event, "generation", self._epoch) < self._epoch:
            return
        match event:
            case msg.StrokesCounted():
                self._on_counted(event)
            case msg.StepTaken(progress=progress):
                if event.generation > self._stopped:
                    paused = self.session.training is Training.PAUSED
                    state = Training.PAUSED if paused else Training.LEARNING
                    self._set(training=state, progress=progress, problem=None, note=None)
            case msg.SnapshotTaken(classifier=classifier):
                self._use(classifier)
            case msg.TrainingEnded():
                self._on_training_ended(event)
            case msg.TileDone():
                self._on_tile(event)
            case msg.PredictionEnded():
                self._on_prediction_ended(event)
            case msg.SpotFound(position=position):
                self._on_spot(position)
            case msg.FileWritten(path=path, what=what):
                self._set(writing=False, note=f"{what} saved as {path.name}.")
                self._predict_view_if_due()
            case msg.ModelLoaded():
                self._on_model_loaded(event)
            case msg.JobFailed(job=job, sentence=sentence):
                self._on_failed(job, sentence)

    def _on_counted(self, event: msg.StrokesCounted) -> None:
        known = self.session.classes
        if len(event.counts) > len(known) and self._strokes is not None:
            self._set(classes=more_classes(self._strokes, known, len(event.counts)), counts=event.counts)
            self._submit_training(learn=self.session.live)
        else:
            self._set(counts=event.counts)

    def _on_training_ended(self, event: msg.TrainingEnded) -> None:
        if event.generation > self._stopped:
            self._workers.pause_training(False)
            self._set(training=Training.STEADY if event.steady else Training.IDLE)

    def _use(self, classifier: TrainedClassifier) -> None:
        self._classifier = classifier
        self._invalidate_tiles()
        self._set(has_model=True)
        self._predict_view()

    def _on_tile(self, event: msg.TileDone) -> None:
        if self._results is None or self._classifier is None:
            return
        self._results.show_tile(event, self._named(self._classifier))
        store_blocks(self._grid, event.block_uncertainty, event.tile.plane, event.tile.rows, event.tile.columns)
        if event.generation >= self._done_since:
            self._done.add(event.tile)
        if self.session.whole is not None:
            speed, left = event.pixels_per_second, event.seconds_left
            self._set(whole=WholeImage(event.fraction, speed, left))

    def _on_prediction_ended(self, event: msg.PredictionEnded) -> None:
        if self._results is not None:
            self._results.finish()
        if event.generation != self._whole_generation:
            return
        newest = event.generation >= self._done_since
        finished = event.complete and self.session.whole is not None
        note = f"Segmented the whole image in {event.seconds:.1f} s." if finished else None
        self._set(whole=None, complete=finished and newest, note=note or self.session.note)
        if finished and self._export_next is not None:
            path, overwrite = self._export_next
            self._write(path, overwrite)
        self._export_next = None
        self._predict_view_if_due()

    def _on_spot(self, position: tuple[int, ...] | None) -> None:
        layer = self._strokes or (None if self._results is None else self._results.segmentation)
        if position is None or layer is None or self._frame is None:
            self._set(note="Nothing uncertain is left in what has been segmented.")
            return
        self._visited = (*self._visited, position)
        index = [0.0] * len(self._frame.layer_shape)
        for axis, where in zip(self._frame.spatial_axes, position, strict=True):
            index[axis] = float(where)
        center_on(self._viewer, layer, tuple(index))
        self._set(note="The model is unsure in the middle of the view; paint a stroke there.")

    def _on_model_loaded(self, event: msg.ModelLoaded) -> None:
        classifier, frame = event.classifier, self._frame
        if frame is not None and classifier.spec.channels != frame.source.channels:
            self._set(
                writing=False,
                problem=f"Model {event.path.name} reads {classifier.spec.channels} channels, the image has "
                f"{frame.source.channels}; choose another image or channel axis.",
            )
            return
        self.stop()
        self._set(writing=False, training=Training.IDLE, note=f"Model {event.path.name} loaded.")
        if len(classifier.classes) >= len(self.session.classes) or not self.session.painted_classes:
            self.set_classes(classifier.classes)
        self._use(classifier)

    def _on_failed(self, job: str, sentence: str) -> None:
        self._export_next = None
        if job == "trainer":
            self._set(training=Training.IDLE, problem=sentence)
        else:
            self._set(whole=None, writing=False, problem=sentence)

    def _on_handed_over(self, name: str) -> None:
        self._invalidate_tiles()
        self._set(note=f"You painted on '{name}', so it is yours now; new results go to a new layer.")

    def _on_brush(self, event: Any = None) -> None:
        if self._strokes is not None:
            self._set(brush=int(self._strokes.selected_label))

    # -- state ----------------------------------------------------------------------------------------------

    def _set(self, **changes: Any) -> None:
        changed = replace(self.session, **changes)
        if changed != self.session:
            self.session = changed
            self.session_changed.emit(changed)

    def _named(self, classifier: TrainedClassifier) -> tuple[ClassInfo, ...]:
        """The classifier's classes under the names they have by now."""
        now = self.session.classes
        return tuple(now[i] if i < len(now) else info for i, info in enumerate(classifier.classes))

    def _invalidate_tiles(self) -> None:
        """What is segmented so far is by an older model, or lacks a map that is wanted now."""
        self._done.clear()
        self._done_since = self._workers.next_generation()
        self._set(complete=False)

    def _maps_switched(self, prefix: str, shown: bool) -> None:
        if self._results is not None:
            self._results.show_maps(prefix, shown)
        if shown:
            self._invalidate_tiles()
            self._predict_view()

    def _predict_view_if_due(self) -> None:
        if self._view_due:
            self._view_due = False
            self._predict_view()

    def _leave_strokes(self) -> None:
        if self._strokes is not None:
            self._strokes.events.selected_label.disconnect(self._on_brush)
        self._strokes = None
        self._paint_watch.watch(None)
        self._keys.bind(None)
        self._workers.stop_training()

    def _leave_image(self) -> None:
        self._leave_strokes()
        self._workers.stop_predicting()
        self._workers.pause_training(False)
        self._epoch = self._workers.next_generation()
        self._invalidate_tiles()
        self._export_next = None
        if self._results is not None:
            self._results.close()
            self._results.deleteLater()
        self._results = self._frame = self._image = None
        self._set(whole=None, writing=False)
