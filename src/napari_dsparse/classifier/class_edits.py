"""Edits of the table of classes, as values: the new table, and the new number of every old class.

Numbers are those of the paint: class i + 1 is entry i of a table, and 0 is no class. Everything that holds
class numbers (strokes, segmentations, classifiers) follows an edit through its mapping.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_dsparse.classifier.classes import ClassInfo, as_read, distinct_class
from napari_dsparse.errors import DsparseError, LabelsError
from napari_dsparse.images.painted import mapped, places_of, put_values, values_at


@dataclass(frozen=True, slots=True)
class ClassEdit:
    """A change of the table of classes.

    Parameters
    ----------
    classes : tuple of ClassInfo
        The table after it.
    mapping : tuple of int
        New number of each old class; 0 where its paint is erased.
    title : str
        For the user: "Remove 'nucleus'".
    gone : int
        Old number of the class that was removed or merged into another; 0 if none was.
    split : int
        Old number of the class that is two classes again; 0 if none is. Paint of it is told apart by what is
        remembered of it, results of it cannot be.
    added : int
        Number of classes, the last ones of the table before, that came into it for this edit. They go when it
        is taken back, unless they were painted.
    """

    classes: tuple[ClassInfo, ...]
    mapping: tuple[int, ...]
    title: str
    gone: int = 0
    split: int = 0
    added: int = 0

    @property
    def renumbers(self) -> bool:
        """True if any number changes; otherwise only names or colours do."""
        return len(self.classes) != len(self.mapping) or any(
            new != old for old, new in enumerate(self.mapping, start=1)
        )

    def number(self, old: int) -> int:
        """New number of class `old`; numbers beyond the table stay beyond it."""
        if old <= 0:
            return 0
        if old <= len(self.mapping):
            return self.mapping[old - 1]
        return old + len(self.classes) - len(self.mapping)

    def apply(self, labels: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """New numbers of an array of old ones, of the same type.

        Raises
        ------
        DsparseError
            If the type cannot hold them.
        """
        table: npt.NDArray[np.int64] = np.array([0, *self.mapping, 0], np.int64)
        beyond = labels > len(self.mapping)
        inside = np.minimum(labels, len(self.mapping) + 1).astype(np.int64)
        found = table[inside]
        if beyond.any():
            found[beyond] = labels[beyond].astype(np.int64) + (len(self.classes) - len(self.mapping))
        if found.size and found.max() > np.iinfo(labels.dtype).max:
            raise DsparseError(f"Class {found.max()} does not fit into labels of type {labels.dtype}.")
        numbers: npt.NDArray[Any] = found.astype(labels.dtype)
        return numbers

    def table(self, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        """New number of every old one that a type of unsigned integers holds, the largest that it can."""
        most = int(np.iinfo(np.dtype(dtype)).max)
        known = np.array([0, *self.mapping], np.int64)[: most + 1]
        beyond = np.arange(len(known), most + 1) + len(self.classes) - len(self.mapping)
        numbers = np.minimum(np.concatenate([known, beyond]), most)
        table: npt.NDArray[Any] = numbers.astype(dtype)
        return table

    def applied_to(self, labels: Any) -> Any:
        """New numbers of the paint `labels`, which may be sparse, as a new array of the same kind."""
        return mapped(labels, self.apply)

    def brush(self, old: int) -> int:
        """Class for a brush that painted class `old`: the same, or the nearest one where it was erased."""
        return self.number(old) or min(old, len(self.classes))

    def of_results(self) -> ClassEdit:
        """The same edit for what was computed, where a class that is two again cannot be told apart."""
        if not self.split:
            return self
        mapping = tuple(0 if old == self.split else new for old, new in enumerate(self.mapping, start=1))
        return replace(self, mapping=mapping, split=0)


# -- edits --------------------------------------------------------------------------------------------------


def change(classes: Sequence[ClassInfo], number: int, info: ClassInfo) -> ClassEdit:
    """Give class `number` another name or colour.

    Raises
    ------
    LabelsError
        If another class has that name.
    """
    _check(classes, number)
    for other, named in enumerate(classes, start=1):
        if (
            other != number
            and as_read(named.name) == as_read(info.name)
            and info.name != classes[number - 1].name
        ):
            raise LabelsError(
                f"Class {other} is called {named.name!r} already; give class {number} another name."
            )
    edited = (*classes[: number - 1], info, *classes[number:])
    what = "Rename" if info.name != classes[number - 1].name else "Recolour"
    return ClassEdit(edited, tuple(range(1, len(classes) + 1)), f"{what} '{classes[number - 1].name}'")


def remove(classes: Sequence[ClassInfo], number: int) -> ClassEdit:
    """Remove class `number` and erase its paint."""
    _check(classes, number)
    return _without(classes, number, 0, f"Remove '{classes[number - 1].name}'")


def merge(classes: Sequence[ClassInfo], number: int, into: int) -> ClassEdit:
    """Give all paint of class `number` to class `into`, and remove the first."""
    _check(classes, number)
    _check(classes, into)
    if number == into:
        raise DsparseError(f"Class {number} cannot be merged into itself; choose another one.")
    title = f"Merge '{classes[number - 1].name}' into '{classes[into - 1].name}'"
    return _without(classes, number, into - (into > number), title)


def move(classes: Sequence[ClassInfo], number: int, to: int) -> ClassEdit:
    """Move class `number` to place `to` in the table; those in between make room."""
    _check(classes, number)
    _check(classes, to)
    order = [old for old in range(1, len(classes) + 1) if old != number]
    order.insert(to - 1, number)
    mapping = tuple(order.index(old) + 1 for old in range(1, len(classes) + 1))
    edited = tuple(classes[old - 1] for old in order)
    return ClassEdit(edited, mapping, f"Move '{classes[number - 1].name}'")


def take_over(
    classes: Sequence[ClassInfo], given: Sequence[ClassInfo], painted: Set[int], origin: str
) -> tuple[tuple[ClassInfo, ...], ClassEdit]:
    """Take over the names, colours and order of other classes.

    Paint follows its class by name. Classes that are not among those given stay behind them if they are
    painted, in another colour where a class given has theirs; others become one that is given, as far as
    there are any left.

    Parameters
    ----------
    classes, given : sequence of ClassInfo
    painted : set of int
        Numbers of the present classes that have paint.
    origin : str
        Of the classes given, for the user.

    Returns
    -------
    (classes, edit)
        The present classes, with as many more as are needed, and the edit of these.
    """
    places: dict[int, int] = {}  # place from 1, by old number
    for number, info in enumerate(classes, start=1):
        found = (n for n, e in enumerate(given, start=1) if e.name == info.name and n not in places.values())
        place = next(found, None)
        if place is not None:
            places[number] = place
    for number in range(1, len(classes) + 1):
        free = next((n for n in range(1, len(given) + 1) if n not in places.values()), None)
        if number not in places and number not in painted and free is not None:
            places[number] = free
    behind = [number for number in range(1, len(classes) + 1) if number not in places]
    places |= {number: len(given) + n for n, number in enumerate(behind, start=1)}
    new = [n for n in range(1, len(given) + 1) if n not in places.values()]
    table = (*classes, *(given[n - 1] for n in new))
    places |= {len(classes) + n: place for n, place in enumerate(new, start=1)}
    edited = [*given]
    for number in behind:
        edited.append(distinct_class(classes[number - 1], edited, [classes[n - 1] for n in behind]))
    mapping = tuple(places[number] for number in range(1, len(table) + 1))
    return table, ClassEdit(tuple(edited), mapping, f"Copy the classes of {origin}", added=len(new))


def _without(classes: Sequence[ClassInfo], number: int, new: int, title: str) -> ClassEdit:
    if len(classes) <= 2:
        raise DsparseError("Two classes are the least to tell apart; add another one first.")
    mapping = tuple(
        new if old == number else old - (old > number) for old in range(1, len(classes) + 1)
    )  # fmt: skip
    edited = (*classes[: number - 1], *classes[number:])
    return ClassEdit(edited, mapping, title, gone=number)


def _check(classes: Sequence[ClassInfo], number: int) -> None:
    if not 1 <= number <= len(classes):
        raise DsparseError(f"There is no class {number}; classes are numbered from 1 to {len(classes)}.")


# -- undo ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class DoneEdit:
    """An edit that was made, with what undoing it needs.

    Parameters
    ----------
    before : tuple of ClassInfo
        The table before it.
    edit : ClassEdit
    places : ndarray of int64, shape (n,)
        Flat indices of the paint that was erased or merged.
    number : int
        Old number of that paint; 0 if there was none.
    """

    before: tuple[ClassInfo, ...]
    edit: ClassEdit
    places: npt.NDArray[np.int64]
    number: int = 0

    def inverse(self, classes: Sequence[ClassInfo]) -> ClassEdit:
        """The edit that takes this one back from `classes`, the present table.

        Names and colours given since stay, and so do classes added since, which come last. A class that comes
        back has another name or colour where one of these has taken its own.
        """
        edit, before = self.edit, self.before
        now = (*classes, *edit.classes[len(classes) :])
        into = 0 if edit.gone == 0 else edit.mapping[edit.gone - 1]
        restored: list[ClassInfo] = []
        mapping = [0] * len(edit.classes)
        for old, info in enumerate(before, start=1):
            new = edit.mapping[old - 1]
            if old == edit.gone or info != edit.classes[new - 1]:
                restored.append(info)
            else:
                restored.append(now[new - 1])
            if old != edit.gone:
                mapping[new - 1] = old
        added = now[len(edit.classes) :]
        if edit.gone:
            since = [info for info, was in zip(restored, before, strict=True) if info != was]
            restored[edit.gone - 1] = distinct_class(restored[edit.gone - 1], (*since, *added), restored)
        mapping += range(len(before) + 1, len(before) + len(added) + 1)
        return ClassEdit((*restored, *added), tuple(mapping), f"Undo {edit.title}", split=into)

    def again(self, classes: Sequence[ClassInfo]) -> ClassEdit:
        """The same edit of `classes`, the present table, after it was taken back."""
        edit, before = self.edit, self.before
        now = (*classes, *before[len(classes) :])
        edited = list(edit.classes)
        for old, info in enumerate(before, start=1):
            new = edit.mapping[old - 1]
            if old != edit.gone and info == edit.classes[new - 1]:
                edited[new - 1] = now[old - 1]
        added = now[len(before) :]
        more = range(len(edited) + 1, len(edited) + len(added) + 1)
        return replace(edit, classes=(*edited, *added), mapping=(*edit.mapping, *more))

    def restore(self, labels: Any, classes: Sequence[ClassInfo]) -> Any:
        """Paint after the edit, and perhaps painted on since, as it is with the edit taken back.

        Paint that was erased or merged comes back where nothing was painted since.
        """
        found = mapped(labels, self.inverse(classes).apply)
        if self.number and self.places.size and self.places[-1] < labels.size:
            untouched = values_at(labels, self.places) == self.edit.mapping[self.number - 1]
            put_values(found, self.places[untouched], self.number)
        return found


def done(classes: Sequence[ClassInfo], edit: ClassEdit, labels: Any) -> DoneEdit:
    """Remember what undoing `edit` of `classes` on the paint `labels`, None for no paint, will need."""
    gone = edit.gone
    places = places_of(labels, gone) if gone and labels is not None else np.empty(0, np.int64)
    return DoneEdit(tuple(classes), edit, places, gone)
