"""The layer that the user paints on: made to fit the image, and ready to paint."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_dsparse.classifier.classes import ClassInfo
from napari_dsparse.gui.layers.class_look import show_classes
from napari_dsparse.gui.layers.viewer import mark_ours, unwrapped

if TYPE_CHECKING:
    import numpy.typing as npt
    from napari import Viewer
    from napari.layers import Labels

    from napari_dsparse.gui.layers.image_frame import ImageFrame

#: Classes that have a key of their own: 1 to 9.
KEYED_CLASSES = 9
#: Tools of a Labels layer that paint the selected label.
PAINTING_MODES = ("paint", "fill", "polygon")
#: The tools' letters, which stay napari's own.
TOOL_KEYS = {
    "paint": "<P> paint",
    "erase": "<E> erase",
    "fill": "<F> fill",
    "pick": "<L> pick",
    "pan_zoom": "<Z> move",
}
#: Strokes stand out over the segmentation.
STROKES_OPACITY = 0.9


def new_strokes_layer(
    viewer: Viewer,
    frame: ImageFrame,
    classes: Sequence[ClassInfo],
    *,
    name: str | None = None,
    data: npt.NDArray[np.uint8] | None = None,
) -> Labels:
    """A strokes layer on the image's pixels, on top, with the brush selected; empty without `data`."""
    from napari.layers import Labels

    layer = Labels(
        np.zeros(frame.layer_shape, np.uint8) if data is None else data,
        name=name or f"{frame.source.name} strokes",
        opacity=STROKES_OPACITY,
        **frame.placement,
    )
    show_classes(layer, classes)
    mark_ours(layer, "strokes")
    viewer.add_layer(layer)
    take_brush(viewer, layer, brush_size_for(frame))
    return layer


def take_brush(viewer: Viewer, layer: Labels, size: int | None = None) -> None:
    """Make `layer` active, with a painting tool selected: the present one if it paints, else the brush."""
    viewer.layers.selection.active = layer
    layer.selected_label = max(1, layer.selected_label)
    if str(layer.mode) not in PAINTING_MODES:
        layer.mode = "paint"
    if size is not None:
        layer.brush_size = size


def explain_keys(viewer: Viewer, layer: Labels) -> None:
    """Show in napari's status bar the keys of this layer, where 1 to 9 choose classes."""
    others = [words for mode, words in TOOL_KEYS.items() if mode != str(layer.mode)]
    layer.help = f"use <1> to <{KEYED_CLASSES}> to choose a class, {', '.join(others)}"
    if unwrapped(viewer.layers.selection.active) is layer:
        viewer.help = layer.help


def brush_size_for(frame: ImageFrame) -> int:
    """A brush of about half a percent of the image, in pixels: thin strokes say more than blots."""
    return int(np.clip(round(min(frame.source.shape[-2:]) / 200), 3, 10))


class ClassKeys:
    """The keys 1 to 9 pick the class to paint while the strokes layer is the active one.

    On that layer they take the place of napari's number keys for its tools, which keep their letters
    (P paint, E erase, F fill, L pick, Z move).

    Parameters
    ----------
    pick : callable
        Takes the class number.
    """

    def __init__(self, pick: Callable[[int], None]) -> None:
        self._pick = pick
        self._layer: Labels | None = None

    def bind(self, layer: Labels | None) -> None:
        """Bind the keys on `layer`, and free them on the one before."""
        for number in range(1, KEYED_CLASSES + 1):
            if self._layer is not None:
                self._layer.bind_key(str(number), None)
            if layer is not None:
                layer.bind_key(str(number), self._picker(number), overwrite=True)
        self._layer = layer

    def _picker(self, number: int) -> Callable[[Labels], None]:
        def pick_class(layer: Labels) -> None:
            self._pick(number)

        return pick_class
