"""Edits of a whole strokes layer as steps of napari's own undo history."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from napari_dsparse.gui.layers.image_frame import is_sparse
from napari_dsparse.images.painted import differing_places, put_values, values_at

if TYPE_CHECKING:
    from napari.layers import Labels

#: A change of pixels in a step of a history, as napari keeps it.
Atom: TypeAlias = tuple[Any, ...]


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


def repaint(
    layer: Labels, labels: Any, change: Callable[[Atom], Atom], marks: Collection[object] = ()
) -> None:
    """Paint the layer as `labels`, for good; steps in its history stay, with other numbers.

    Parameters
    ----------
    layer : Labels
    labels : array of int
        As of `paint_step`.
    change : callable
        Takes a change of pixels that a step is made of; returns the one to be undone, or redone, instead.
    marks : collection of objects
        Marks of steps; these, and those that could be undone or redone after them only, are forgotten.
    """
    after = labels.copy()
    layer.data = type(layer.data)(after) if is_sparse(layer) else after.reshape(layer.data.shape)
    for name in ("_undo_history", "_redo_history"):
        steps = _steps(layer, name)
        last = max((n for n, item in enumerate(steps) if any(_is(item, mark) for mark in marks)), default=-1)
        history = getattr(layer, name)
        history.clear()
        history.extend([change(atom) for atom in item] for item in steps[last + 1 :])


def renumbered(atom: Atom, number: Callable[[npt.NDArray[Any]], npt.NDArray[Any]]) -> Atom:
    """A change of the same pixels from and to other labels.

    Parameters
    ----------
    atom : tuple
        As napari keeps it: where the pixels are, then their labels before and after.
    number : callable
        Takes labels, returns others of the same shape and type.
    """
    *places, before, after = atom
    values = [number(np.asarray(each)) for each in (before, after)]
    numbers = [each if each.ndim else each.item() for each in values]
    make = getattr(type(atom), "_make", tuple)  # of named and of plain tuples
    changed: Atom = make([*places, *numbers])
    return changed


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
