"""Another layer of strokes for an image of the list: its paint is never dropped by such a choice."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QObject

from napari_dsparse.classifier.classes import distinct_class
from napari_dsparse.gui.layers.image_frame import is_sparse
from napari_dsparse.gui.layers.paint_history import paint_of, paint_places
from napari_dsparse.gui.layers.strokes_layer import new_strokes_layer
from napari_dsparse.gui.study_image import StudyImage
from napari_dsparse.gui.widgets.strokes_question import OtherLayer, ask_about_earlier_strokes
from napari_dsparse.images.painted import all_paint, is_painted, put_values, values_at

if TYPE_CHECKING:
    from napari.layers import Labels

    from napari_dsparse.gui.dock import SegmentationDock


class OtherStrokes(QObject):
    """Asks before another layer takes the place of painted strokes; those it replaces are kept aside.

    Parameters
    ----------
    dock : SegmentationDock
    """

    def __init__(self, dock: SegmentationDock) -> None:
        super().__init__(dock)
        self._dock, self._study = dock, dock.study.study
        self._aside: StudyImage | None = None
        dock.controller.strokes_choosing.connect(self._on_choosing)
        dock.controller.strokes_chosen.connect(self._on_chosen)

    def endangered(self, layer: Labels) -> int:
        """Painted pixels of the image in front that `layer` has other labels on, or none."""
        entry, frame = self._entry, self._dock.controller.frame
        held = None if entry is None or entry.strokes_layer is None else entry.strokes_layer()
        if entry is None or frame is None or layer is held or tuple(layer.data.shape) != frame.layer_shape:
            return 0
        if entry.labels is None:
            return 0
        places, values = all_paint(entry.labels)
        return int(np.count_nonzero(values_at(paint_of(layer), places) != values))

    def settle(self, layer: Labels, *, made: bool) -> Labels | None:
        """The layer to learn from by the user's answer, if there is a question; None to go on as before.

        A layer that was `made` for this is removed again then.
        """
        self._dock.projects.catch_up()
        entry, lost = self._entry, self.endangered(layer)
        if not lost or entry is None:
            return layer
        answer = ask_about_earlier_strokes(self._dock, entry.name, lost, layer.name)
        if answer is OtherLayer.ADD:
            return self._joined(entry.labels, layer)
        if answer is OtherLayer.REPLACE:
            return layer
        if made:
            self._dock.viewer.layers.remove(layer)
        return None

    @property
    def _entry(self) -> StudyImage | None:
        chosen = self._dock.controller.state.chosen
        return None if chosen is None else self._study.of_key(chosen.key)

    def _joined(self, labels: Any, layer: Labels) -> Labels:
        """The layer with the earlier strokes where it had none; another one if it cannot be painted on."""
        places, values = all_paint(labels)
        free = values_at(paint_of(layer), places) == 0
        if is_sparse(layer) or (isinstance(layer.data, np.ndarray) and layer.data.flags.writeable):
            paint_places(layer, places[free], values[free])
            return layer
        both, frame = np.array(paint_of(layer)), self._dock.controller.frame
        assert frame is not None
        put_values(both, places[free], values[free])
        classes = self._dock.controller.state.classes
        return new_strokes_layer(self._dock.viewer, frame, classes, name=f"{layer.name} strokes", data=both)

    def _on_choosing(self, layer: Labels) -> None:
        """Let the list's table of classes stay, and hold what is about to be replaced."""
        entry = self._entry
        if entry is None or not is_painted(entry.labels):
            return
        self._study.listed.emit()  # the live loop learns that the list has strokes, and its table as it is
        if self.endangered(layer):
            self._aside = replace(entry, number=self._dock.controller.number_of(None), steps=[])

    def _on_chosen(self) -> None:
        """Keep aside what has been replaced."""
        aside, self._aside = self._aside, None
        if aside is None:
            return
        unsaved, table = self._dock.unsaved, self._study.classes(self._dock.controller.state)
        classes = unsaved.classes if unsaved.others.images else ()
        for info in table[len(classes) :]:
            classes = (*classes, distinct_class(info, classes))
        unsaved.classes = classes
        unsaved.others.adopt(aside)
