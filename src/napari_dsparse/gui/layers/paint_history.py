"""Edits of a whole strokes layer as steps of napari's own undo history."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_dsparse.gui.layers.image_frame import is_sparse
from napari_dsparse.images.painted import differing_places, put_values, values_at

if TYPE_CHECKING:
    from napari.layers import Labels


def paint_of(layer: Labels) -> Any:
    """Labels of the layer, in its shape, dense or sparse; not to be written to."""
    return layer.data.snapshot() if is_sparse(layer) else np.asarray(layer.data)


def paint_places(layer: Labels, places: npt.NDArray[np.intp], numbers: npt.NDArray[Any]) -> None:
    """Paint pixels, by their flat indices, in one step of the layer's undo history."""
    after = paint_of(layer).copy()
    put_values(after, places, numbers)
    paint_step(layer, after)


def paint_step(layer: Labels, after: Any) -> object:
    """Paint the layer as `after`, in one step of its undo history; returns the step's mark.

    A step without any change is taken, too: then numbers in older steps are undone after it, and keep their
    meaning.

    Parameters
    ----------
    layer : Labels
    after : array of int
        Of the layer's shape and type; sparse, if its strokes are.
    """
    before = paint_of(layer)
    places = differing_places(before, after)
    marks: list[object] = []

    def note(event: Any) -> None:
        marks.append(event.value[0])

    layer.events.paint.connect(note)
    try:
        if places.size:
            layer.data_setitem(np.unravel_index(places, before.shape), values_at(after, places))
        elif before.size:
            first = tuple(np.zeros(1, np.intp) for _ in before.shape)
            number = int(before[first].item())
            with layer.block_history():
                layer.data_setitem(first, 0 if number else 1)
                layer.data_setitem(first, number)
    finally:
        layer.events.paint.disconnect(note)
    return marks[-1] if marks else None


def repaint(layer: Labels, labels: Any) -> None:
    """Paint the layer as `labels`, for good: its older steps, of other numbers, cannot be undone after it."""
    after = labels.copy()
    layer.data = type(layer.data)(after) if is_sparse(layer) else after.reshape(layer.data.shape)
    for name in ("_undo_history", "_redo_history"):
        getattr(layer, name).clear()


def can_undo(layer: Labels, mark: object) -> bool:
    """True if the step of that mark is done, and napari can undo it."""
    return any(_is(item, mark) for item in _steps(layer, "_undo_history"))


def can_redo(layer: Labels, mark: object) -> bool:
    """True if the step of that mark is undone, and napari can redo it."""
    return any(_is(item, mark) for item in _steps(layer, "_redo_history"))


def is_newest(layer: Labels, mark: object) -> bool:
    """True if the step of that mark is what napari would undo next."""
    steps = _steps(layer, "_undo_history")
    return bool(steps) and _is(steps[-1], mark)


def history_mark(layer: Labels) -> tuple[object, ...]:
    """Equal, for as long as the layer is painted on by napari only, where nothing was painted or undone."""
    done, undone = _steps(layer, "_undo_history"), _steps(layer, "_redo_history")
    return len(done), id(done[-1]) if done else 0, len(undone)


def _steps(layer: Labels, name: str) -> list[Any]:
    """Steps of a history, oldest first; napari does not say in public which step it has undone."""
    return list(getattr(layer, name, ()))


def _is(item: Any, mark: object) -> bool:
    return bool(item) and (item[0] is mark or item[-1] is mark)  # in the other history, atoms are reversed
