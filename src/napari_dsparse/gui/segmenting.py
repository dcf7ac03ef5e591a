"""The half of a session that segments: newest model, tiles, result layers, and where to look next."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy.typing as npt
from qtpy.QtCore import QObject, QTimer

from napari_dsparse.gui import messages as msg
from napari_dsparse.gui.image_frame import ImageFrame
from napari_dsparse.gui.layers import center_on, field_of_view
from napari_dsparse.gui.next_spot import empty_grid, store_blocks
from napari_dsparse.gui.result_layers import ResultLayers
from napari_dsparse.gui.session import WholeImage
from napari_dsparse.gui.session_store import SessionStore
from napari_dsparse.gui.view_watch import ViewWatch
from napari_dsparse.gui.workers import Workers
from napari_dsparse.network.trained import ClassInfo, TrainedClassifier, TrainingRecord
from napari_dsparse.prediction.exposure import in_words
from napari_dsparse.prediction.tiles import Tile

if TYPE_CHECKING:
    from napari import Viewer
    from napari.layers import Image, Labels

#: A preview is followed by a pause of this many times its own length: what it takes, training lacks.
REST_SHARE = 1.0


class Segmenting(QObject):
    """Keeps what is on screen segmented by the newest model, and the whole image when asked.

    Parameters
    ----------
    viewer : Viewer
    store : SessionStore
    workers : Workers
    parent : QObject
    """

    def __init__(self, viewer: Viewer, store: SessionStore, workers: Workers, parent: QObject) -> None:
        super().__init__(parent)
        self.classifier: TrainedClassifier | None = None
        self.device = "auto"
        self._viewer = viewer
        self._store = store
        self._workers = workers
        self._image: Image | None = None
        self._frame: ImageFrame | None = None
        self._results: ResultLayers | None = None
        self._strokes: Labels | None = None
        self._record: TrainingRecord | None = None
        self._foreign = False  # the classifier learned from another image
        self._uncertainty = self._probabilities = self._match_exposure = False
        self._done: set[Tile] = set()
        self._done_since = 0  # tiles of generations before this one are by an older model, or quick
        self._whole_generation = -1
        self._view_due = self._whole_due = False
        self._preview: tuple[TrainedClassifier, msg.FieldOfView] | None = None  # asked for last
        self._sketch_due = True  # what is on screen is out of date throughout
        self._grid = empty_grid((1, 1))
        self._visited: tuple[tuple[int, ...], ...] = ()
        self._rested = time.monotonic()  # when the next preview may begin
        self._rest = QTimer(self)
        self._rest.setSingleShot(True)
        self._rest.timeout.connect(self.predict_view)
        self._watch = ViewWatch(viewer, self)
        self._watch.changed.connect(self._on_view_changed)

    @property
    def labels(self) -> npt.NDArray[Any] | None:
        """The segmentation as the engine shapes it; None where nothing is segmented yet."""
        return None if self._results is None else self._results.labels

    # -- what is worked on ----------------------------------------------------------------------------------

    def choose(self, image: Image, frame: ImageFrame) -> None:
        """Segment `image`; a model that reads as many channels is applied to it."""
        self.leave()
        self._image, self._frame = image, frame
        self._results = ResultLayers(self._viewer, image, frame, self)
        self._results.handed_over.connect(self._on_handed_over)
        self._grid = empty_grid(frame.source.shape)
        if self.classifier is not None and self.classifier.spec.channels != frame.source.channels:
            self.classifier = None
        self._foreign = True
        self._store.set(has_model=self.classifier is not None)
        self.predict_view()

    def leave(self) -> None:
        """Let go of the image; its results stay as they are."""
        self.cancel()
        self._workers.forget_image()
        self._rest.stop()
        self.forget_tiles()
        if self._results is not None:
            self._results.close()
            self._results.deleteLater()
        self._results = self._frame = self._image = self._strokes = None
        self._sketch_due = True
        self._store.set(sketched=False)
        self._view_due = False

    def close(self) -> None:
        """Let go of the viewer too."""
        self.leave()
        self._watch.close()

    def look_through(self, strokes: Labels | None) -> None:
        """The strokes layer tells what is on screen, and is where no next spot is suggested."""
        self._strokes = strokes
        self.forget_spots()
        self.look_ahead()

    def recolor(self) -> None:
        """Show the classes as they are now on the segmentation."""
        if self._results is not None:
            self._results.recolor(self._store.now.classes)

    # -- predicting -----------------------------------------------------------------------------------------

    def use(self, classifier: TrainedClassifier, *, foreign: bool = False) -> None:
        """Segment with `classifier` from now on; a foreign one learned from another image."""
        self.classifier, self._foreign, self._record = classifier, foreign, classifier.record
        self.forget_tiles()
        self._store.set(has_model=True)
        wait = self._rested - time.monotonic()
        if self._store.now.learning and wait > 0:
            self._rest.start(int(1000 * wait) + 1)
        else:
            self.predict_view()

    def take_record(self, record: TrainingRecord | None) -> None:
        """The trainer's model has been judged since it was handed out."""
        if not self._foreign:
            self._record = record

    def to_save(self) -> TrainedClassifier | None:
        """The newest model with names as they are now and all that is known of how it came to be."""
        if self.classifier is None:
            return None
        record = self._record or self.classifier.record
        return replace(self.classifier, classes=self.named(self.classifier), record=record)

    def hurry(self) -> None:
        """There is new paint: show what it changes as soon as it has been learned."""
        self._rested = time.monotonic()
        self._sketch_due = True

    def predict_view(self) -> None:
        """Segment what is on screen and not segmented yet, unless the whole image is being done."""
        busy = self._store.now.whole is not None and not self._whole_due
        if busy or self._store.now.writing:
            self._view_due = True
        elif not self._store.now.complete:
            self._submit(whole=False)
        if self.classifier is None or self._store.now.complete:
            self.look_ahead()

    def look_ahead(self) -> None:
        """There may be a stroke on what is on screen: have ready what its first preview needs."""
        if self._strokes is None or self._frame is None:
            return
        view = self._field_of_view(self._frame)
        self._workers.predict(
            msg.LookAheadJob(self._workers.next_generation(), self._frame.source, view, self.device)
        )

    def _on_view_changed(self) -> None:
        self._sketch_due = True
        self.predict_view()

    def predict_whole(self) -> None:
        """Segment the whole image, what is on screen first; a model that is still to come is waited for."""
        self._store.set(whole=WholeImage(), problem=None, note=None)
        self._whole_due = self._store.now.learning or self._store.now.stopping
        if not self._whole_due:
            self._submit(whole=True)

    def cancel(self) -> None:
        """Give up the whole-image prediction; what is segmented stays."""
        self._whole_due = False
        self._preview = None
        self._workers.stop_predicting()
        self._store.set(whole=None)

    def catch_up(self) -> None:
        """Segment the view if that had to wait."""
        if self._view_due:
            self._view_due = False
            self.predict_view()

    def settle(self) -> None:
        """The model rests: segment the whole image if that was asked, else what no preview has made final."""
        if self._store.now.whole is not None and not self._whole_due:
            self.predict_view()  # once the whole image is done, if that was by an older model
        elif self._whole_due or not self._preview_is_final():
            self.refine()
        else:
            if self._results is not None:
                self._results.finish()
            self.look_ahead()

    def refine(self) -> None:
        """Segment the whole image anew if that was asked, else what is on screen."""
        self.forget_tiles()
        if self._whole_due:
            self.predict_whole()
        else:
            self.predict_view()

    def _preview_is_final(self) -> bool:
        """Whether the preview shown or on its way is what the newest model says: with one symmetry, it is."""
        if self._preview is None or self._frame is None or self.classifier is None:
            return False
        classifier, view = self._preview
        same = classifier is self.classifier and view == self._field_of_view(self._frame)
        return same and classifier.flips == 1

    def show_uncertainty(self, shown: bool) -> None:
        """Compute and show the uncertainty layer, or hide it."""
        self._uncertainty = shown
        self._maps_switched("uncertainty", shown)

    def show_probabilities(self, shown: bool) -> None:
        """Compute and show a probability layer for every class, or hide them."""
        self._probabilities = shown
        self._maps_switched("probability", shown)

    def match_exposure(self, matched: bool) -> None:
        """Normalise images by their own grey values, or as the model learned."""
        self._match_exposure = matched
        self._store.set(note=None)
        self._sketch_due = True
        self.refine()

    def forget_tiles(self) -> None:
        """What is segmented so far is by an older model, or lacks a map that is wanted now."""
        self._done.clear()
        self._preview = None
        self._done_since = self._workers.next_generation()
        self._store.set(complete=False)

    def _submit(self, *, whole: bool) -> None:
        frame, classifier = self._frame, self.classifier
        if frame is None or classifier is None:
            return
        generation = self._workers.next_generation()
        view = self._field_of_view(frame)
        if whole:
            self._whole_generation = generation
        else:
            self._preview = classifier, view
        self._workers.predict(
            msg.PredictionJob(
                generation=generation,
                classifier=classifier,
                source=frame.source,
                view=view,
                whole=whole,
                done=frozenset(self._done),
                device=self.device,
                quick=not whole and self._store.now.learning,
                sketch=self._sketch_due and not whole,
                foreign=self._foreign,
                match_exposure=self._match_exposure,
                uncertainty=self._uncertainty,
                probabilities=self._probabilities,
            )
        )

    def _field_of_view(self, frame: ImageFrame) -> msg.FieldOfView:
        return field_of_view(self._viewer, frame, self._on_pixels())

    def _on_pixels(self) -> Labels | None:
        """A layer of the frame's shape: it knows which of its pixels are on screen."""
        if self._strokes is not None:
            return self._strokes
        return None if self._results is None else self._results.segmentation

    def _maps_switched(self, prefix: str, shown: bool) -> None:
        if self._results is not None:
            self._results.show_maps(prefix, shown)
        if shown:
            self.refine()

    # -- events ---------------------------------------------------------------------------------------------

    def on_tile(self, event: msg.TileDone) -> None:
        """Put a tile where it belongs."""
        if self._results is None or self.classifier is None:
            return
        tile = event.tile
        self._results.show_tile(event, self.named(self.classifier))
        store_blocks(self._grid, event.block_uncertainty, tile.plane, tile.rows, tile.columns)
        if not event.exact:
            self._sketch_due = False
            self._store.set(sketched=True)
        elif event.generation >= self._done_since and not event.quick:
            self._done.add(tile)
        if event.generation == self._whole_generation and self._store.now.whole is not None:
            speed, left = event.pixels_per_second, event.seconds_left
            self._store.set(whole=WholeImage(event.fraction, speed, left))

    def on_ended(self, event: msg.PredictionEnded) -> bool:
        """Take note of the end of a prediction; True if the whole image is segmented."""
        if self._results is not None and not self._store.now.learning:
            self._results.finish()
        self._rested = time.monotonic() + REST_SHARE * event.seconds
        if event.complete:
            self._sketch_due = False
            self._store.set(sketched=False)
            if not self._store.now.learning:
                self.look_ahead()
        if event.generation != self._whole_generation or self._store.now.whole is None:
            return False
        newest = event.generation >= self._done_since
        note = f"Segmented the whole image in {event.seconds:.1f} s." if event.complete else None
        self._store.set(whole=None, complete=event.complete and newest, note=note)
        return event.complete

    def on_exposure(self, event: msg.ExposureDiffers) -> None:
        """Say that the image may have been exposed otherwise, and what to do then."""
        if not self._match_exposure:
            spread = f"Grey values here spread {in_words(event.ratio)} where the model learned."
            self._store.set(note=f"{spread} If only the exposure differs, tick 'match exposure'.")

    def named(self, classifier: TrainedClassifier) -> tuple[ClassInfo, ...]:
        """The classifier's classes under the names they have by now."""
        now = self._store.now.classes
        return tuple(now[i] if i < len(now) else info for i, info in enumerate(classifier.classes))

    def _on_handed_over(self, name: str) -> None:
        self.forget_tiles()
        self._store.set(note=f"You painted on '{name}', so it is yours now; new results go to a new layer.")

    # -- next spot ------------------------------------------------------------------------------------------

    def next_spot(self) -> None:
        """Bring the most uncertain place away from the paint to the middle of the view."""
        if self._frame is not None:
            labels = None if self._strokes is None else self._frame.engine_view(self._strokes.data)
            self._workers.predict(msg.SpotJob(self._grid.copy(), labels, self._visited))

    def forget_spots(self) -> None:
        """Spots shown before may be shown again."""
        self._visited = ()

    def on_spot(self, event: msg.SpotFound) -> None:
        """Go where the spot is."""
        layer, frame = self._on_pixels(), self._frame
        if event.position is None or layer is None or frame is None:
            self._store.set(note="Nothing uncertain is left in what has been segmented.")
            return
        self._visited = (*self._visited, event.position)
        index = [0.0] * len(frame.layer_shape)
        for axis, where in zip(frame.spatial_axes, event.position, strict=True):
            index[axis] = float(where)
        center_on(self._viewer, layer, tuple(index))
        self._store.set(note="The model is unsure in the middle of the view; paint a stroke there.")
