"""The dock's button that makes one image of several single-channel layers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QObject

from napari_dsparse.errors import ImageError
from napari_dsparse.gui.layers.combining import check_combination, combined_layer, is_single_channel
from napari_dsparse.gui.layers.layer_choice import images_of
from napari_dsparse.gui.widgets.combine_dialog import ask_combination
from napari_dsparse.images.combined import combined_stem

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari.layers import Image

    from napari_dsparse.gui.dock import SegmentationDock


class CombineDesk(QObject):
    """Connects the button.

    Parameters
    ----------
    dock : SegmentationDock
    """

    def __init__(self, dock: SegmentationDock) -> None:
        super().__init__(dock)
        self._dock = dock
        dock.panel.combine_button.clicked.connect(self._ask)

    @property
    def possible(self) -> bool:
        """True if there are layers that could be channels of one image."""
        return len(self._single()) > 1

    def combine(self, layers: Sequence[Image]) -> Image:
        """Make one image of `layers`, its channels in that order, and choose it.

        Raises
        ------
        ImageError
            If they cannot be combined.
        """
        layer = combined_layer(layers)
        study = self._dock.study.study
        study.note_channels(layer, layers)
        if files := study.channel_files_of(layer):  # the name that it has when a project opens it again
            layer.name = combined_stem([path for path, _ in files])
        self._dock.viewer.add_layer(layer)
        self._dock.show_image(layer, 0, None)
        return layer

    def _single(self) -> list[Image]:
        return [layer for layer in images_of(self._dock.viewer) if is_single_channel(layer)]

    def _ask(self) -> None:
        layers, front = self._single(), self._dock.panel.image_combo.layer
        fitting = {n for n, layer in enumerate(layers) if front is not None and _fit(front, layer)}
        names = [layer.name for layer in layers]
        chosen = ask_combination(names, fitting, lambda rows: _problem([layers[n] for n in rows]), self._dock)
        if chosen is not None:
            self.combine([layers[number] for number in chosen])


def _fit(front: Image, layer: Image) -> bool:
    return layer is front or not _problem([front, layer])


def _problem(layers: Sequence[Image]) -> str:
    try:
        check_combination(layers)
    except ImageError as error:
        return str(error)
    return ""
