"""Layers of numbered objects that a user chooses for strokes: asked about before anything is learned."""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakSet

from qtpy.QtWidgets import QWidget

from napari_dsparse.gui.layers.image_frame import ImageFrame
from napari_dsparse.gui.layers.instances import (
    as_mapped,
    as_one_class,
    fit_as_classes,
    looks_like_instances,
    pixels_of_numbers,
)
from napari_dsparse.gui.widgets.class_dialogs import Numbered, ask_about_instances
from napari_dsparse.gui.widgets.numbers_dialog import ask_classes_of_numbers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari import Viewer
    from napari.layers import Labels

    from napari_dsparse.classifier import ClassInfo


class NumberedLayers:
    """Asks once what is to become of a layer of numbered objects.

    Parameters
    ----------
    viewer : Viewer
    parent : QWidget
        That the dialog belongs to.
    """

    def __init__(self, viewer: Viewer, parent: QWidget) -> None:
        self._viewer, self._parent = viewer, parent
        self._taken: WeakSet[Labels] = WeakSet()

    def doubts(self, layer: Labels, frame: ImageFrame) -> bool:
        """True if the user is to be asked before anything is learned from `layer`."""
        if layer in self._taken:
            return False
        return tuple(layer.data.shape) == frame.layer_shape and looks_like_instances(layer)

    def ask(self, layer: Labels, frame: ImageFrame, classes: Sequence[ClassInfo]) -> Labels | None:
        """The layer to learn from by the user's answer: `layer`, one made of it, or None to ignore it.

        Its numbers may be given to `classes`, those of the table.
        """
        pixels = pixels_of_numbers(layer)
        answer = ask_about_instances(
            self._parent, layer.name, few=fit_as_classes(layer), mappable=bool(pixels)
        )
        if answer is Numbered.MAPPED:
            chosen = ask_classes_of_numbers(self._parent, layer.name, pixels, classes)
            return None if chosen is None else as_mapped(self._viewer, layer, frame, chosen)
        if answer is Numbered.ONE_CLASS:
            return as_one_class(self._viewer, layer, frame)
        if answer is Numbered.CLASSES:
            self._taken.add(layer)
            return layer
        return None
