"""The layer that the user paints on: made to fit the image, and ready to paint."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_dsparse.classifier.classes import ClassInfo
from napari_dsparse.gui.layers.brush import brush_size_for
from napari_dsparse.gui.layers.class_look import show_classes
from napari_dsparse.gui.layers.colormap_warmup import warm_up_colormaps
from napari_dsparse.gui.layers.large_strokes import LargeStrokes, needs_large_strokes, sparse_strokes
from napari_dsparse.gui.layers.marks import mark_ours
from napari_dsparse.gui.layers.viewer import unwrapped
from napari_dsparse.machine.memory import free_memory

if TYPE_CHECKING:
    from napari import Viewer
    from napari.layers import Labels, Layer

    from napari_dsparse.gui.layers.image_frame import ImageFrame

#: Classes that have a key of their own: 1 to 9.
KEYED_CLASSES = 9
#: Tools of a Labels layer that paint the selected label.
PAINTING_MODES = ("paint", "fill", "polygon")
#: The tools, by napari's name of the action whose key takes them.
TOOLS = {
    "paint": ("napari:activate_labels_paint_mode", "paint"),
    "erase": ("napari:activate_labels_erase_mode", "erase"),
    "fill": ("napari:activate_labels_fill_mode", "fill"),
    "pick": ("napari:activate_labels_picker_mode", "pick"),
    "pan_zoom": ("napari:activate_labels_pan_zoom_mode", "move"),
}
#: Copies of strokes in memory: the layer, what is learned from, what came before, and what napari draws.
COPIES = 4
#: Strokes stand out over the segmentation.
STROKES_OPACITY = 0.9


def strokes_problem(frame: ImageFrame) -> str | None:
    """Reason why there can be no strokes on an image, as a sentence: its size; None if there can."""
    needed, free = math.prod(frame.layer_shape) * COPIES, free_memory()
    if needed <= free or needs_large_strokes(frame):
        return None
    size = " x ".join(map(str, frame.layer_shape))
    return (
        f"Strokes on {size} pixels take {needed / 1e9:.3g} GB of memory and {free / 1e9:.3g} GB are free; "
        "paint on a part of the image, cropped, and segment the whole with that model."
    )


def new_strokes_layer(
    viewer: Viewer,
    frame: ImageFrame,
    classes: Sequence[ClassInfo],
    *,
    name: str | None = None,
    data: Any = None,
    image: Layer | None = None,
) -> Labels:
    """A strokes layer on the image's pixels, on top, with the brush selected; empty without `data`.

    Parameters
    ----------
    viewer : Viewer
    frame : ImageFrame
    classes : sequence of ClassInfo
    name : str, optional
        Of the layer.
    data : array of int, the frame's layer shape, optional
        What is painted already, dense or sparse; it is copied.
    image : Layer, optional
        The image's layer, which the strokes are known to belong to then.
    """
    from napari.layers import Labels

    warm_up_colormaps().join()
    look: dict[str, Any] = {"name": name or f"{frame.source.name} strokes", "opacity": STROKES_OPACITY}
    if needs_large_strokes(frame):
        layer = LargeStrokes(sparse_strokes(frame, data), **look, **frame.placement)
    elif data is None:
        layer = Labels(np.zeros(frame.layer_shape, np.uint8), **look, **frame.placement)
    else:
        layer = Labels(np.array(data), **look, **frame.placement)
    show_classes(layer, classes)
    mark_ours(layer, "strokes", image)
    layer.brush_size = brush_size_for(frame)
    viewer.add_layer(layer)
    take_brush(viewer, layer)
    return layer


def take_brush(viewer: Viewer, layer: Labels) -> None:
    """Make `layer` active, with a painting tool selected: the present one if it paints, else the brush."""
    viewer.layers.selection.active = layer
    layer.selected_label = max(1, layer.selected_label)
    if str(layer.mode) not in PAINTING_MODES:
        layer.mode = "paint"


def explain_keys(viewer: Viewer, layer: Labels) -> None:
    """Show in napari's status bar the keys of this layer, where 1 to 9 choose classes."""
    others = [words for mode, words in tool_keys().items() if mode != str(layer.mode)]
    layer.help = ", ".join([f"use <1> to <{KEYED_CLASSES}> to choose a class", *others])
    if unwrapped(viewer.layers.selection.active) is layer:
        viewer.help = layer.help


def tool_keys() -> dict[str, str]:
    """By tool, the key that takes it in napari's present settings, and its name; none for a tool without.

    Digits are no keys of tools on a strokes layer.
    """
    from napari.settings import get_settings

    shortcuts = get_settings().shortcuts.shortcuts
    found = {}
    for mode, (action, words) in TOOLS.items():
        keys = [str(key) for key in shortcuts.get(action, ())]
        key = next((key for key in keys if not key.isdigit()), None)
        if key is not None:
            found[mode] = f"<{key}> {words}"
    return found


class ClassKeys:
    """The keys 1 to 9 pick the class to paint while the strokes, their image or its segmentation is active.

    There they take the place of napari's number keys for tools, which keep their letters.

    Parameters
    ----------
    pick : callable
        Takes the class number.
    """

    def __init__(self, pick: Callable[[int], None]) -> None:
        self._pick = pick
        self._layers: list[Layer] = []

    def bind(self, layers: Sequence[Layer]) -> None:
        """Bind the keys on `layers`, and free them on those before."""
        for number in range(1, KEYED_CLASSES + 1):
            for layer in self._layers:
                layer.bind_key(str(number), None)
            for layer in layers:
                layer.bind_key(str(number), self._picker(number), overwrite=True)
        self._layers = list(layers)

    def _picker(self, number: int) -> Callable[[Layer], None]:
        def pick_class(layer: Layer) -> None:
            self._pick(number)

        return pick_class
