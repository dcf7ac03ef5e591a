"""Marks of the layers that are made here: their roles, and the images that they belong to."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from uuid import uuid4
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from napari.layers import Layer

#: Metadata key that marks a layer of ours.
METADATA_KEY = "napari_dsparse"

#: Ends of the names of results, besides probabilities, which end with the name of the class.
RESULTS = ("segmentation", "uncertainty", "objects", "objects (preview)")

#: Marks of images, which their results bear: names change, and are those of other images too.
_MARKS: WeakKeyDictionary[Layer, str] = WeakKeyDictionary()


def new_mark() -> str:
    """A mark for an image that has no layer yet."""
    return uuid4().hex


def mark_of(image: Layer) -> str:
    """The mark of an image's layer, by which its results are known."""
    return _MARKS.setdefault(image, new_mark())


def give_mark(image: Layer, mark: str) -> None:
    """Let a new layer stand for the image that has this mark."""
    _MARKS[image] = mark


def mark_ours(layer: Layer, role: str, image: Layer | None = None) -> None:
    """Mark `layer` as ours, with its role and, where it is known, the image that it belongs to."""
    whose = {} if image is None else {"image": mark_of(image)}
    layer.metadata = {**layer.metadata, METADATA_KEY: {"role": role, **whose}}


def is_marked(layer: Layer, mark: str) -> bool:
    """True if `layer` was made here for the image of that mark."""
    return bool(layer.metadata.get(METADATA_KEY, {}).get("image") == mark)


def belongs(layer: Layer, image: Layer) -> bool | None:
    """True if `layer` was made here for `image`, False if for another one; None where that is not known."""
    mark = layer.metadata.get(METADATA_KEY, {}).get("image")
    return None if mark is None else bool(mark == mark_of(image))


def is_called(layer: Layer, kind: str) -> bool:
    """True if a layer has a name as results of that kind get it, to which napari may have added a number.

    One that the user has given another name is kept for them.
    """
    return re.fullmatch(r"(.* )?" + re.escape(kind) + r"( \[\d+\])?", layer.name, re.DOTALL) is not None


def has_own_name(layer: Layer) -> bool:
    """True if a layer is not called as results are: the user has renamed it, to keep it."""
    return not any(is_called(layer, kind) for kind in RESULTS) and " probability " not in layer.name


def our_role(layer: Layer) -> str | None:
    """The role that we made `layer` for; None if it is the user's own."""
    role: str | None = layer.metadata.get(METADATA_KEY, {}).get("role")
    return role


def disown(layer: Layer) -> None:
    """Mark `layer` as the user's."""
    layer.metadata = {key: value for key, value in layer.metadata.items() if key != METADATA_KEY}
