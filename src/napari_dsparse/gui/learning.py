"""The half of a session that learns: strokes layer, brush, training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, Signal

from napari_dsparse.errors import DsparseError
from napari_dsparse.gui import messages as msg
from napari_dsparse.gui.class_look import classes_of, more_classes, show_classes
from napari_dsparse.gui.image_frame import ImageFrame, check_labels_fit
from napari_dsparse.gui.paint_watch import PaintWatch
from napari_dsparse.gui.session import Training
from napari_dsparse.gui.session_store import SessionStore
from napari_dsparse.gui.strokes_layer import ClassKeys, take_brush
from napari_dsparse.gui.workers import Workers
from napari_dsparse.network.trained import default_classes

if TYPE_CHECKING:
    from napari import Viewer
    from napari.layers import Labels


class Learning(QObject):
    """Watches the strokes and keeps the trainer busy with the newest of them.

    Parameters
    ----------
    viewer : Viewer
    store : SessionStore
    workers : Workers
    parent : QObject
    """

    #: Paint was added or taken away.
    repainted = Signal()
    #: The model rests: it has been fitted and judged, or gradient steps came to their end or to a pause.
    rested = Signal()

    def __init__(self, viewer: Viewer, store: SessionStore, workers: Workers, parent: QObject) -> None:
        super().__init__(parent)
        self.layer: Labels | None = None
        self.device = self.network = "auto"
        self._viewer = viewer
        self._store = store
        self._workers = workers
        self._frame: ImageFrame | None = None
        self._stopped = -1  # steps of generations up to this one no longer count
        self._fitted: tuple[tuple[int, int], ...] = ()  # what was painted when the model was fitted last
        self._watch = PaintWatch(self)
        self._watch.changed.connect(self._on_paint)
        self._keys = ClassKeys(self.pick_class)

    # -- strokes and brush ----------------------------------------------------------------------------------

    def choose(self, layer: Labels | None, frame: ImageFrame | None) -> None:
        """Learn from the paint on `layer`, which lies on the pixels of `frame`."""
        if layer is not None and layer is self.layer and frame is self._frame:
            return
        self.leave()
        self._frame = frame
        if layer is None or frame is None:
            self._store.set(strokes=None, counts=(), classes=self._store.now.classes or default_classes(2))
            return
        try:
            check_labels_fit(frame, layer.data.shape, layer.name)
        except DsparseError as error:
            self._store.set(strokes=None, counts=(), problem=str(error))
            return
        self.layer = layer
        self._watch.watch(layer)
        self._keys.bind(layer)
        layer.events.selected_label.connect(self._on_brush)
        self._store.set(
            strokes=layer.name,
            classes=classes_of(layer),
            counts=(),
            brush=int(layer.selected_label),
            problem=None,
            note=None,
        )
        self._submit(learn=self._store.now.live)

    def leave(self) -> None:
        """Let go of the strokes layer; its training ends."""
        self.stop()
        if self.layer is not None:
            self.layer.events.selected_label.disconnect(self._on_brush)
        self.layer = self._frame = None
        self._watch.watch(None)
        self._keys.bind(None)
        self._fitted = ()
        self._store.set(training=Training.IDLE, stopping=False, progress=None, judged=None)

    def pick_class(self, number: int) -> None:
        """Paint class `number` from now on."""
        if self.layer is not None and 1 <= number <= len(self._store.now.classes):
            take_brush(self._viewer, self.layer)
            self.layer.selected_label = number

    def recolor(self) -> None:
        """Show the classes as they are now on the strokes."""
        if self.layer is not None:
            show_classes(self.layer, self._store.now.classes)

    # -- training -------------------------------------------------------------------------------------------

    def set_live(self, live: bool) -> None:
        """Learn after every stroke, or only when told."""
        self._store.set(live=live)
        if live:
            self._submit(learn=True)

    def train(self) -> None:
        """Learn from the strokes there are; those that are known already, by a round of gradient steps."""
        self.pause(False)
        asked = not self._store.now.learning  # a round at hand goes on
        if self._store.now.painted_classes >= 2:
            self._store.set(problem=None, note=None)
            self._say_fitting()
        self._submit(learn=True, asked=asked)

    def pause(self, paused: bool) -> None:
        """Hold the gradient steps after the one at hand, or go on."""
        training = self._store.now.training
        if paused and training is Training.LEARNING:
            self._workers.pause_training(True)
            self._store.set(training=Training.PAUSED)
            self.rested.emit()
        elif not paused:
            self._workers.pause_training(False)
            if training is Training.PAUSED:
                self._store.set(training=Training.LEARNING)

    def stop(self) -> None:
        """End the training after the step at hand; its last snapshot still comes."""
        self._stopped = self._workers.generation
        self._workers.stop_training()
        self._workers.pause_training(False)
        if self._store.now.stepping:
            self._store.set(training=Training.STOPPED, stopping=True)
        elif self._store.now.learning:
            self._store.set(training=Training.IDLE, stopping=True)

    def _submit(self, *, learn: bool, asked: bool = False) -> None:
        if self._frame is None or self.layer is None:
            return
        self._workers.train(
            msg.TrainingJob(
                generation=self._workers.next_generation(),
                source=self._frame.source,
                labels=self._frame.engine_view(self.layer.data),
                classes=self._store.now.classes,
                network=self.network,
                device=self.device,
                learn=learn or self._store.now.learning or self._store.now.training is Training.PAUSED,
                asked=asked,
            )
        )

    # -- events ---------------------------------------------------------------------------------------------

    def on_counted(self, event: msg.StrokesCounted) -> None:
        """Show how much paint there is; paint of a class that has no name yet gives it one."""
        known = self._store.now.classes
        if event.counts != self._store.now.counts:
            self.repainted.emit()
        if len(event.counts) > len(known) and self.layer is not None:
            self._store.set(classes=more_classes(self.layer, known, len(event.counts)), counts=event.counts)
            self._submit(learn=self._store.now.live)
        else:
            self._store.set(counts=event.counts)
            if event.learning and event.generation > self._stopped:
                self._say_fitting()
        if self._store.now.stopping and event.generation > self._stopped:
            self._store.set(stopping=False)  # what was stopped made way for this
            if not event.learning:
                self.rested.emit()

    def _say_fitting(self) -> None:
        """New paint is being learned, unless all of it is known."""
        if self._store.now.counts != self._fitted:
            self._store.set(training=Training.FITTING)

    def on_step(self, event: msg.StepTaken) -> None:
        """Show how the training goes."""
        if event.generation <= self._stopped:
            return
        now, progress = self._store.now, event.progress
        changes: dict[str, Any] = {"progress": progress, "seconds_left": event.seconds_left}
        if event.judged:
            changes["judged"] = progress
        elif progress.step == 0:  # a new fit, with which any round of steps is over
            self._fitted = now.counts
            self._workers.pause_training(False)
            changes |= {"fit_seconds": progress.seconds, "problem": None, "note": None}
        held = now.training is Training.PAUSED and (event.judged or progress.step > 0)
        self._store.set(training=Training.PAUSED if held else Training.LEARNING, **changes)

    def on_ended(self, event: msg.TrainingEnded) -> None:
        """Show that the trainer rests."""
        self._store.set(stopping=False)
        if event.generation > self._stopped:
            self._workers.pause_training(False)
            self._store.set(training=Training.STEADY if event.steady else Training.IDLE)
        self.rested.emit()

    def _on_paint(self) -> None:
        self._submit(learn=self._store.now.live)

    def _on_brush(self, event: Any = None) -> None:
        if self.layer is not None:
            self._store.set(brush=int(self.layer.selected_label))
