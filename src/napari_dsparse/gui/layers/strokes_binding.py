"""Connection of the dock to the strokes layer: paint, brush, names and colours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QObject, Signal

from napari_dsparse.classifier.classes import ClassInfo
from napari_dsparse.gui.layers.class_look import classes_of, more_classes, show_classes
from napari_dsparse.gui.layers.image_frame import ImageFrame, is_sparse
from napari_dsparse.gui.layers.marks import our_role
from napari_dsparse.gui.layers.paint_watch import PaintWatch
from napari_dsparse.gui.layers.strokes_layer import explain_keys, take_brush
from napari_dsparse.live.events import StrokesChosen
from napari_dsparse.live.trainer_thread import MOST_CLASSES

if TYPE_CHECKING:
    from napari import Viewer
    from napari.layers import Labels


class StrokesBinding(QObject):
    """Watches one strokes layer at a time.

    Parameters
    ----------
    viewer : Viewer
    parent : QObject
    """

    #: A copy of all labels, a moment after they may have changed; of sparse ones, if they have.
    painted = Signal(object)
    #: The class that the brush paints now; 0 erases.
    brush_changed = Signal(int)

    def __init__(self, viewer: Viewer, parent: QObject) -> None:
        super().__init__(parent)
        self.layer: Labels | None = None
        self._viewer = viewer
        self._frame: ImageFrame | None = None
        self._classes = 0
        self._passed_on: Any = None  # of sparse strokes
        self._watch = PaintWatch(viewer, self)
        self._watch.changed.connect(self._on_paint)

    def bind(self, layer: Labels, frame: ImageFrame) -> StrokesChosen:
        """Watch `layer`, which lies on the pixels of `frame`, and no other; returns its contents."""
        self.release()
        self.layer, self._frame = layer, frame
        self._watch.watch(layer)
        layer.events.selected_label.connect(self._on_brush)
        layer.events.mode.connect(self._on_mode, position="last")  # napari's own help text comes first
        self._on_mode()
        self._passed_on = labels = copy_of(frame, layer)
        return StrokesChosen(
            name=layer.name,
            labels=labels,
            classes=classes_of(layer),
            palette=more_classes(layer, (), MOST_CLASSES),
            brush=int(layer.selected_label),
        )

    def release(self) -> None:
        """Watch nothing; paint of the last moment is still passed on."""
        self.flush()
        if self.layer is not None:
            self.layer.events.selected_label.disconnect(self._on_brush)
            self.layer.events.mode.disconnect(self._on_mode)
        self.layer = self._frame = None
        self._watch.watch(None)

    def copy(self) -> Any:
        """A copy of all labels as they are; None without a layer."""
        if self.layer is None or self._frame is None:
            return None
        self._passed_on = copy_of(self._frame, self.layer)
        return self._passed_on

    def flush(self) -> None:
        """Pass on paint of the last moment now."""
        if self._watch.pending:
            self._on_paint()

    def pick_class(self, number: int) -> None:
        """Paint class `number` from now on, if there is one."""
        if self.layer is not None and number <= self._classes:
            take_brush(self._viewer, self.layer)
            self.layer.selected_label = number

    def show_classes(self, classes: Sequence[ClassInfo]) -> None:
        """Give the layer these names and colours."""
        if self.layer is not None:
            show_classes(self.layer, classes)

    def follow_classes(self, classes: Sequence[ClassInfo]) -> None:
        """Follow the table; on a layer of ours, paint of a class that was just named becomes visible."""
        grew, self._classes = len(classes) > self._classes, len(classes)
        if grew and self.layer is not None and our_role(self.layer) == "strokes":
            show_classes(self.layer, classes)

    def _on_paint(self) -> None:
        before, labels = self._passed_on, self.copy()
        if labels is not None and labels is not before:
            self.painted.emit(labels)

    def _on_brush(self, event: Any = None) -> None:
        if self.layer is not None:
            self.brush_changed.emit(int(self.layer.selected_label))

    def _on_mode(self, event: Any = None) -> None:
        if self.layer is not None:
            explain_keys(self._viewer, self.layer)


def copy_of(frame: ImageFrame, layer: Labels) -> Any:
    """A copy of the layer's labels in the shape that the engine uses, never written.

    Of sparse ones it shares what does not change, and is the same object where nothing was painted since.
    """
    if is_sparse(layer):
        return layer.data.snapshot()
    labels = np.array(frame.engine_view(layer.data))  # of dask and zarr, too
    labels.flags.writeable = False
    return labels
