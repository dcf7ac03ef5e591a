"""An image and the strokes on it, as the live loop hands them to training."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

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
