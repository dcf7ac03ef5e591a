"""Arguments of ``predict`` that say what counts as an object; they are named as in Python."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from napari_dsparse.errors import DsparseError

if TYPE_CHECKING:
    from napari_dsparse.classifier import ClassInfo
    from napari_dsparse.prediction.object_options import ObjectOptions

#: Arguments that are options of the same name; None where they were not given.
_BY_NAME = ("min_size", "max_hole", "splitting", "border_objects", "volume")


def chosen_classes(names: Sequence[str] | None, classes: Sequence[ClassInfo]) -> tuple[int, ...] | None:
    """Numbers of the classes of these names, or of these numbers; None for None.

    Raises
    ------
    DsparseError
        If the model has no such class.
    """
    if names is None:
        return None
    known = {info.name: number for number, info in enumerate(classes, start=1)}
    numbers = {str(number): number for number in known.values()}
    for name in names:
        if name not in known and name not in numbers:
            raise DsparseError(f"The model has no class {name!r}; its classes are {', '.join(known)}.")
    return tuple(known.get(name) or numbers[name] for name in names)


def object_options(arguments: argparse.Namespace, classes: Sequence[ClassInfo]) -> ObjectOptions:
    """The options given, and defaults for those that are not.

    Raises
    ------
    DsparseError
        If the model has no such class.
    """
    from napari_dsparse.prediction.object_options import (
        ObjectOptions,  # with torch, which help can do without
    )

    given = {name: getattr(arguments, name) for name in _BY_NAME if getattr(arguments, name) is not None}
    return ObjectOptions(classes=chosen_classes(arguments.object_class, classes), **given)


def given_options(arguments: argparse.Namespace) -> list[str]:
    """Names of the arguments on objects that were given."""
    every = ("object_class", *_BY_NAME)
    return [f"--{name.replace('_', '-')}" for name in every if getattr(arguments, name) is not None]


def add_object_arguments(
    parser: argparse.ArgumentParser, count: Callable[[str], int], share: Callable[[str], float]
) -> None:
    """Add them to a parser, with functions that read whole numbers from 0 and numbers from 0 to 1."""
    parser.add_argument(
        "--object-class", action="append", metavar="NAME",
        help="class whose regions are objects; may be repeated (default: every class but the first)",
    )  # fmt: skip
    parser.add_argument("--min-size", type=count, metavar="N", help="leave out objects of fewer pixels (0)")
    parser.add_argument(
        "--max-hole", type=count, metavar="N", help="fill holes in objects of up to N pixels (0)"
    )
    parser.add_argument(
        "--splitting", type=share, metavar="S",
        help="strength of cutting touching objects apart: 0 never, 1 at every neck (default: 0.85)",
    )  # fmt: skip
    parser.add_argument(
        "--border-objects", action=argparse.BooleanOptionalAction,
        help="keep objects that touch the image's edge (default), or leave them out",
    )  # fmt: skip
    parser.add_argument(
        "--volume", action="store_true", default=None,
        help="connect the planes of a stack, to objects in 3-D (default: each plane by itself)",
    )  # fmt: skip
