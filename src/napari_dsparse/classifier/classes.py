"""Classes as the user knows them: numbers, names and colours."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from napari_dsparse import checks
from napari_dsparse.classifier.colors import default_color
from napari_dsparse.errors import DsparseError, LabelsError

#: The largest class number. Labels beyond are numbered objects, not classes of pixels.
MOST_CLASSES = 1000

#: Characters of a class's name at most.
LONGEST_NAME = 1000

_COLOR = re.compile(r"#[0-9a-fA-F]{6}")


@dataclass(frozen=True, slots=True)
class ClassInfo:
    """A class's name and its colour, ``#rrggbb``.

    Raises
    ------
    DsparseError
        If the name is not a text that a file can hold, or the colour is none.
    """

    name: str
    color: str

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or any(unicodedata.category(c) == "Cs" for c in self.name):
            raise DsparseError(f"A class is named {self.name!r}; give a text.")
        if not isinstance(self.color, str) or not _COLOR.fullmatch(self.color):
            raise DsparseError(f"Class {self.name!r} has colour {self.color!r}; give one such as '#0072b2'.")

    @property
    def rgb(self) -> tuple[int, int, int]:
        """Red, green and blue of the colour, 0..255."""
        red, green, blue = bytes.fromhex(self.color.removeprefix("#"))
        return red, green, blue


def hex_color(parts: Iterable[float]) -> str:
    """Returns ``#rrggbb`` for red, green and blue in 0..1; further parts, such as opacity, are ignored."""
    red, green, blue, *_ = (round(255 * float(part)) for part in parts)
    return f"#{red:02x}{green:02x}{blue:02x}"


def default_class(number: int) -> ClassInfo:
    """The default class of `number` (1, 2, ...)."""
    if number < 1:
        raise DsparseError(f"Class number {number} is not allowed; classes are numbered from 1.")
    names = {1: "background", 2: "object"}
    return ClassInfo(names.get(number, f"class {number}"), default_color(number))


def default_classes(count: int) -> tuple[ClassInfo, ...]:
    """The first `count` default classes."""
    return tuple(default_class(number) for number in range(1, count + 1))


def next_class(classes: Sequence[ClassInfo]) -> ClassInfo:
    """A class to add to `classes`: with the next default name that is free.

    Its colour is the default one of its number or, if a class has that, the first default one that is free.
    """
    names, colors, count = {info.name for info in classes}, {info.color for info in classes}, len(classes)
    defaults = (default_class(number) for number in range(count + 1, 2 * count + 2))
    name = next(info.name for info in defaults if info.name not in names)
    numbers = (count + 1, *range(1, count + 2))
    color = next(color for n in numbers if (color := default_color(n)) not in colors)
    return ClassInfo(name, color)


def more_classes(classes: Sequence[ClassInfo], count: int) -> tuple[ClassInfo, ...]:
    """`classes`, lengthened to `count` where they are fewer."""
    longer = tuple(classes)
    while len(longer) < count:
        longer = (*longer, next_class(longer))
    return longer


def distinct_class(
    info: ClassInfo, others: Sequence[ClassInfo], spared: Sequence[ClassInfo] = ()
) -> ClassInfo:
    """`info`, with another name or colour where one of `others` has it.

    Another name is its own with a number behind it, another colour the first default one that neither
    `others` nor `spared` have.
    """
    names, colors = {other.name for other in others}, {other.color.lower() for other in others}
    name, color, number = info.name, info.color, 2
    while name in names:
        name, number = f"{info.name} {number}", number + 1
    if color.lower() in colors:
        colors |= {other.color.lower() for other in spared}
        color = next(free for n in range(1, len(colors) + 2) if (free := default_color(n)) not in colors)
    return ClassInfo(name, color)


def check_distinct(classes: Sequence[ClassInfo]) -> None:
    """Refuse classes of one name: files of regions and choices of objects know classes by name.

    Raises
    ------
    LabelsError
        If two have the same name, as it is read.
    """
    numbers: dict[str, int] = {}
    for number, info in enumerate(classes, start=1):
        first = numbers.setdefault(as_read(info.name), number)
        if first != number:
            raise LabelsError(
                f"Classes {first} and {number} are both called {info.name!r}; give each a name of its own."
            )


def as_read(name: str) -> str:
    """A name as people see it: names that are equal so are the same to them."""
    return unicodedata.normalize("NFC", name).strip()


def named_classes(classes: Any, *, new: bool = False) -> tuple[ClassInfo, ...]:
    """Classes by their names or as they are; what cannot be saved is refused.

    Unless they are `new`, classes that are all given as they are may share a name: those of older files do.

    Raises
    ------
    LabelsError
        If it is no sequence, is empty or longer than `MOST_CLASSES`, or names two classes alike.
    DsparseError
        If a name is no text of printable characters.
    """
    if isinstance(classes, str) or not isinstance(classes, Sequence) or not classes:
        raise LabelsError(f"Classes are {classes!r}; give a list of their names, one for each of 1, 2, ...")
    if len(classes) > MOST_CLASSES:
        raise LabelsError(f"{len(classes)} classes are too many; give at most {MOST_CLASSES}.")
    named = tuple(
        entry
        if isinstance(entry, ClassInfo)
        else ClassInfo(checks.text(f"The name of class {i}", entry), default_class(i).color)
        for i, entry in enumerate(classes, start=1)
    )
    for i, info in enumerate(named, start=1):
        if len(info.name) > LONGEST_NAME:  # a thousand of these fit into what is read of a model's file
            raise LabelsError(
                f"The name of class {i} has {len(info.name)} characters; give it {LONGEST_NAME} at most."
            )
    if new or not all(isinstance(entry, ClassInfo) for entry in classes):
        check_distinct(named)
    return named
