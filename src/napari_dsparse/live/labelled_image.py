"""An image and the strokes on it, as the live loop hands them to training."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from napari_dsparse.images.painted import equal_paint
from napari_dsparse.images.source import ImageSource


@dataclass(frozen=True, slots=True, eq=False)
class LabelledImage:
    """An image and the strokes on it.

    Parameters
    ----------
    key : hashable
        The same for the same image read in the same way.
    name : str
    source : ImageSource
    labels : array of int, shape of the source, or None
        0 = not painted. Never written; sliced, so it may be a file. None: nothing is painted.
    """

    key: Hashable
    name: str
    source: ImageSource
    labels: Any


def same_strokes(one: Sequence[LabelledImage], other: Sequence[LabelledImage]) -> bool:
    """True if the same is painted on the same images; those without paint do not count."""
    mine, theirs = ({each.key: each.labels for each in images} for images in (one, other))
    return all(equal_paint(mine.get(key), theirs.get(key)) for key in {*mine, *theirs})


def are_deep(sources: Iterable[ImageSource]) -> bool:
    """True if all images are stacks whose planes have others before and behind them."""
    return all(each.depth_problem is None and each.shape[-3] > 1 for each in sources)
