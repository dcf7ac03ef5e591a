"""Connection of napari and the live loop: layers become events, the loop's effects become layers."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
from qtpy.QtCore import QObject, QTimer, Signal

from napari_dsparse.classifier.classes import ClassInfo, default_classes, next_class
from napari_dsparse.errors import DsparseError
from napari_dsparse.gui.class_editor import ClassEditor
from napari_dsparse.gui.garbage import CollectorHold
from napari_dsparse.gui.layers.brush import BrushSize
from napari_dsparse.gui.layers.corrections_behind import CorrectionsBehind
from napari_dsparse.gui.layers.exporting import labels_to_export
from napari_dsparse.gui.layers.image_frame import ChannelChoice, ImageFrame, check_strokes, frame_of
from napari_dsparse.gui.layers.left_results import LeftResults
from napari_dsparse.gui.layers.overlay import Overlay
from napari_dsparse.gui.layers.paint_history import paint_places
from napari_dsparse.gui.layers.placement_watch import PlacementWatch
from napari_dsparse.gui.layers.result_layers import ResultLayers
from napari_dsparse.gui.layers.strokes_binding import StrokesBinding
from napari_dsparse.gui.layers.strokes_layer import ClassKeys, new_strokes_layer, strokes_problem, take_brush
from napari_dsparse.gui.layers.view_watch import ViewWatch
from napari_dsparse.gui.layers.viewer import center_on, field_of_view
from napari_dsparse.gui.relay import EventRelay
from napari_dsparse.live import actions as act
from napari_dsparse.live import events as ev
from napari_dsparse.live.batch_thread import BatchEvent, BatchJob, BatchThread
from napari_dsparse.live.loop import LiveLoop
from napari_dsparse.live.messages import TileDone
from napari_dsparse.live.schedule import Event
from napari_dsparse.live.state import LiveState, named_classes
from napari_dsparse.live.workers import Workers
from napari_dsparse.prediction.tiles import FieldOfView

if TYPE_CHECKING:
    import numpy.typing as npt
    from napari import Viewer
    from napari.layers import Image, Labels


class Controller(QObject):
    """Runs one live loop on the layers of a viewer.

    Parameters
    ----------
    viewer : Viewer
    parent : QObject
    """

    #: The new `LiveState`.
    changed = Signal(object)
    #: Paint on the segmentation needs a strokes layer to count on, and there is none.
    strokes_missing = Signal()
    #: The segmentation of the image in front is another than before.
    segmentation_changed = Signal()
    #: Other pixels are on screen.
    view_changed = Signal()
    #: Strokes will be learned from a layer, and no more from the one before; and they are now.
    strokes_choosing = Signal(object)
    strokes_chosen = Signal()
    #: Another image is in front, or none.
    image_changed = Signal()

    def __init__(self, viewer: Viewer, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.strokes = StrokesBinding(viewer, self)
        self.editor = ClassEditor(self.strokes, lambda: self.state, self.send)
        self.overlay = Overlay(self)
        self._brush = BrushSize(viewer, self)
        self._behind = CorrectionsBehind(viewer, self)
        self._behind.painted.connect(self._paint_correction)
        self._behind.tool_taken.connect(self._take_tool)
        self._left = LeftResults(viewer)
        self.places = PlacementWatch(viewer, self)
        self._behind.lost.connect(self._on_lost)
        self._class_keys = ClassKeys(self.strokes.pick_class)
        self._viewer = viewer
        self._results: ResultLayers | None = None
        #: Numbers of image layers, and those still to be given.
        self.keys: WeakKeyDictionary[Image, int] = WeakKeyDictionary()
        self.numbers = itertools.count()
        self._collector = CollectorHold(self)
        self._relay = EventRelay()
        self._relay.posted.connect(self.send)  # queued by Qt itself: it is emitted in another thread
        self._workers = Workers(self._relay.posted.emit)
        self._loop = LiveLoop(self._workers, self._show, self._on_changed)
        self._resting_after = 0
        self._rest = QTimer(self)
        self._rest.setSingleShot(True)
        self._rest.timeout.connect(lambda: self.send(ev.RestOver(self._resting_after)))
        self._watch = ViewWatch(viewer, self)
        self._watch.changed.connect(self._on_view_changed)
        self.strokes.painted.connect(lambda labels: self.send(ev.Painted(labels)))
        self.strokes.brush_changed.connect(lambda number: self.send(ev.BrushChanged(number)))

    @property
    def state(self) -> LiveState:
        """State of the session."""
        return self._loop.state

    @property
    def results(self) -> ResultLayers | None:
        """Result layers of the image in front."""
        return self._results

    @property
    def frame(self) -> ImageFrame | None:
        """The image in front as it is read, and its place; None without one."""
        return None if self._results is None else self._results.frame

    def send(self, event: Event) -> None:
        """Pass `event` to the loop, preceded by the part on screen."""
        if not isinstance(event, TileDone | ev.ImageChosen | ev.ImageLeft):
            view = self.view()
            if view is not None and view != self.state.view:
                self._loop.handle(ev.ViewRead(view))
        self._loop.handle(event)

    # -- choosing -------------------------------------------------------------------------------------------

    def choose_image(self, layer: Image | None, choice: ChannelChoice | None) -> None:
        """Work on `layer`, with its axes read as `choice` says."""
        self._leave_image()
        if layer is None or choice is None:
            self.send(ev.ImageLeft())  # perhaps for good: napari empties a viewer before it closes it
            return
        try:
            frame = frame_of(layer, choice)
        except DsparseError as error:
            self.send(ev.ImageLeft(str(error)))
            return
        self.places.watch(layer, frame)
        self._results = ResultLayers(self._viewer, layer, frame, self.overlay, self)
        self.places.moved.connect(self._results.place)
        self._results.changed.connect(self.segmentation_changed)
        self._results.removed.connect(lambda: self.send(ev.SegmentationRemoved()))
        self._results.replaced.connect(self._on_replaced)
        self._results.failed.connect(self._on_result_failed)
        self._results.corrections.tool_taken.connect(self._on_tool)
        self._results.corrections.painted.connect(self._on_correction)
        key = self.number_of(layer), choice.axis
        view = field_of_view(self._viewer, frame, None)
        left = self._left.find(key, layer)
        self.send(ev.ImageChosen(key, layer.name, frame.source, view, segmented=left is not None))
        if left is not None and self.state.model is not None and self.state.finished_here is not None:
            self._results.go_on_with(*left, named_classes(self.state, self.state.model.classifier))
        self.image_changed.emit()

    def number_of(self, layer: Image | None) -> int:
        """Number of an image layer in keys of the live loop; a new one for one that is still to be opened."""
        number = None if layer is None else self.keys.get(layer)
        if number is None:
            number = next(self.numbers)
            if layer is not None:
                self.keys[layer] = number
        return number

    def give_number(self, layer: Image, number: int) -> None:
        """Make a new layer stand for the image of that number."""
        self.keys[layer] = number

    def choose_strokes(self, layer: Labels | None) -> None:
        """Learn from the paint on `layer`."""
        frame = self.frame
        if layer is not None and layer is self.strokes.layer:
            return
        if layer is not None and frame is not None:
            self.strokes_choosing.emit(layer)
        self._leave_strokes()
        if layer is None or frame is None:
            self.send(ev.StrokesLeft())
            return
        try:
            check_strokes(frame, layer)
        except DsparseError as error:
            self.send(ev.StrokesLeft(str(error)))
            return
        self.send(self.strokes.bind(layer, frame))
        self._brush.watch(layer, frame)
        self._bind_keys()
        self.strokes_chosen.emit()

    def new_strokes(self, labels: Any = None) -> Labels | None:
        """Make a strokes layer for the image and choose it; None without an image, or if it is too large.

        Parameters
        ----------
        labels : array of int, shape of the image's source, optional
            What is painted on it already, dense or sparse.
        """
        if self._results is None:
            return None
        frame, image = self._results.frame, self._results.image
        if (problem := strokes_problem(frame)) is not None:
            self.send(ev.Refused(problem))
            return None
        state = self.state
        classes = default_classes(2)
        if state.model is not None and state.applied and state.has_model:
            classes = named_classes(state, state.model.classifier)
        if labels is not None and tuple(labels.shape) != frame.layer_shape:
            labels = np.asarray(labels).reshape(frame.layer_shape)
        layer = new_strokes_layer(self._viewer, frame, classes, data=labels, image=image)
        self.choose_strokes(layer)
        return layer

    # -- classes --------------------------------------------------------------------------------------------

    def set_classes(self, classes: Sequence[ClassInfo]) -> None:
        """Take over names and colours, and show them everywhere."""
        self.send(ev.ClassesEdited(tuple(classes)))

    def add_class(self) -> None:
        """Add a class with a default name and colour, and set the brush to it."""
        classes = self.state.classes
        self.set_classes((*classes, next_class(classes)))
        self.strokes.pick_class(len(classes) + 1)

    # -- paint on the segmentation --------------------------------------------------------------------------

    def _strokes_to_paint_on(self) -> Labels | None:
        if self.strokes.layer is None:
            self.strokes_missing.emit()
        return self.strokes.layer

    def _on_result_failed(self, sentence: str) -> None:
        self.send(ev.CancelPressed())
        self.send(ev.Refused(sentence))

    def _on_tool(self, mode: str) -> None:
        """A painting tool taken on the segmentation is one for the strokes, of the class that is chosen."""
        layer = self._strokes_to_paint_on()
        if layer is not None and self._results is not None:
            self._take_tool(layer, self._results.segmentation, mode)

    def _take_tool(self, layer: Labels, segmentation: Labels | None, mode: str) -> None:
        if mode == "fill":
            if segmentation is not None:
                segmentation.selected_label = layer.selected_label
        else:
            self._viewer.layers.selection.active = layer
            layer.mode = mode

    def _on_correction(self, places: npt.NDArray[np.intp], numbers: npt.NDArray[Any]) -> None:
        """Paint on the segmentation is a stroke: of the same pixels, and undone like one."""
        layer = self._strokes_to_paint_on()
        if layer is not None:
            self._paint_correction(layer, places, numbers)

    def _paint_correction(
        self, layer: Labels, places: npt.NDArray[np.intp], numbers: npt.NDArray[Any]
    ) -> None:
        paint_places(layer, places, numbers)
        layer.mode = "paint"  # the bucket in hand would flood what is not painted
        take_brush(self._viewer, layer)

    def flush_corrections(self) -> None:
        """Pass on what was painted on segmentations, in front and behind."""
        self._behind.flush()
        if self._results is not None:
            self._results.corrections.flush()

    # -- files and the end ----------------------------------------------------------------------------------

    def load_model(self, path: Path) -> None:
        """Read a model and segment what is on screen with it."""
        self.send(ev.LoadModelPressed(path))

    def limit_view_memory(self, most_bytes: int) -> None:
        """Keep at most so many bytes of features of the view between strokes."""
        self._workers.limit_view_memory(most_bytes)

    def start_batch(self, job: BatchJob, post: Callable[[BatchEvent], None]) -> BatchThread:
        """Segment many images in the background; `post` is called in the thread that does."""
        return self._workers.start_batch(job, post)

    def rest(self) -> None:
        """End the threads; they start again when needed."""
        self.send(ev.WindowHidden())
        self._workers.end_batches()
        self._workers.join()

    def shutdown(self) -> None:
        """End the threads and disconnect from the viewer; the layers stay as they are."""
        self._leave_image()
        self._behind.close()
        self._loop.handle(ev.ImageLeft())
        self._watch.close()
        self.places.close()
        self._rest.stop()
        self._workers.shutdown()
        self._collector.release()

    def _leave_strokes(self) -> None:
        self.strokes.release()
        self._brush.watch(None, None)
        self._class_keys.bind(())

    def _bind_keys(self) -> None:
        """Let the number keys choose classes on strokes, image and segmentation alike."""
        if self.strokes.layer is not None and self._results is not None:
            layers = (self.strokes.layer, self._results.image, self._results.segmentation)
            self._class_keys.bind([layer for layer in layers if layer is not None])

    def _on_lost(self, segmentation: Labels) -> None:
        key = self._left.lose(segmentation)
        if key is not None:
            self.send(ev.SegmentationRemoved(key))

    def _on_replaced(self) -> None:
        if self._results is not None:
            self._behind.drop(self._results.segmentation)
        self._bind_keys()

    def _leave_image(self) -> None:
        strokes, results = self.strokes.layer, self._results
        if results is not None:
            results.corrections.flush()
        self._leave_strokes()
        if results is None:
            return
        if self.state.chosen is not None:
            self._left.leave(self.state.chosen.key, results)
        segmentation = results.segmentation
        results.close()
        if segmentation is not None:
            self._behind.watch(segmentation, strokes)
        results.deleteLater()
        self._results = None
        self.image_changed.emit()

    # -- view -----------------------------------------------------------------------------------------------

    def view(self) -> FieldOfView | None:
        """The part of the image that is on screen; None without an image."""
        return None if self.frame is None else field_of_view(self._viewer, self.frame, self._on_pixels())

    def _on_pixels(self) -> Labels | None:
        """A layer of the frame's shape, which knows its visible corners."""
        if self.strokes.layer is not None:
            return self.strokes.layer
        return None if self._results is None else self._results.segmentation

    def _on_view_changed(self) -> None:
        self._brush.fit()
        view = self.view()
        if view is not None:
            self._loop.handle(ev.ViewChanged(view))
            self.view_changed.emit()

    # -- the loop's side ------------------------------------------------------------------------------------

    def _on_changed(self, state: LiveState) -> None:
        self._collector.follow(state)
        self.strokes.follow_classes(state.classes)
        self.editor.follow(self.strokes.layer)
        if self._results is not None:
            self._results.show_maps(uncertainty=state.uncertainty, probabilities=state.probabilities)
        self.changed.emit(state)

    def _show(self, effect: act.Effect) -> None:
        """Carry out an action on layers or view."""
        if isinstance(effect, act.Wake):
            self._resting_after = effect.job
            self._rest.start(int(1000 * effect.seconds) + 1)
            return
        if self._results is None or self.frame is None:
            return
        match effect:
            case act.ShowTile():
                self._behind.flush()  # of this image, too, until its segmentation is found again
                self._results.show_tile(effect.tile, labels=effect.labels)
            case act.FinishDrawing():
                self._results.finish()
            case act.ShowClasses():
                self.strokes.show_classes(effect.classes)
                self._results.show_classes(effect.classes)
            case act.RenumberResults():
                self._results.renumber(effect.edit)
            case act.GoTo():
                self._go_to(effect.position, self.frame)
            case act.ReadLabels():
                labels = self._results.labels
                self.send(labels_to_export(effect.path, effect.overwrite, labels, self.frame))

    def _go_to(self, position: Sequence[int], frame: ImageFrame) -> None:
        layer = self._on_pixels()
        if layer is not None:
            index = [0.0] * len(frame.layer_shape)
            for axis, where in zip(frame.spatial_axes, position, strict=True):
                index[axis] = float(where)
            center_on(self._viewer, layer, tuple(index))
