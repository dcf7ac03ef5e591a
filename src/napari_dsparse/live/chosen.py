"""The image, the strokes and the model that a live session works with, as values."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from napari_dsparse.classifier.classes import ClassInfo
from napari_dsparse.classifier.trained import TrainedClassifier, TrainingRecord
from napari_dsparse.images.source import ImageSource
from napari_dsparse.live.labelled_image import LabelledImage


@dataclass(frozen=True, slots=True, eq=False)
class ChosenImage:
    """The image in front.

    Parameters
    ----------
    number : int
        Counted up at every choice; what answers to another number is about an image that was left.
    key : hashable
        The same for the same layer read in the same way, whenever it is chosen.
    name : str
    source : ImageSource
    """

    number: int
    key: Hashable
    name: str
    source: ImageSource


@dataclass(frozen=True, slots=True, eq=False)
class ChosenStrokes:
    """The strokes layer in front.

    Parameters
    ----------
    name : str
    labels : ndarray of int, shape of the image's source
        A copy of what is painted; never written.
    palette : tuple of ClassInfo
        Names and colours for labels that no class has been named for yet, from label 1 on.
    """

    name: str
    labels: npt.NDArray[Any]
    palette: tuple[ClassInfo, ...]


@dataclass(frozen=True, slots=True, eq=False)
class CurrentModel:
    """The newest classifier and where it came from.

    Parameters
    ----------
    classifier : TrainedClassifier
    origin : str
        For the user: the name of a file, or of the image whose strokes it learned from.
    keys : frozenset of hashable
        Of the images whose strokes it learned from; empty if it came from a file.
    record : TrainingRecord or None
        Training record completed after its snapshot.
    kept_with : tuple of LabelledImage
        Strokes beside which a project kept it: it stays for as long as they do. Else empty.
    """

    classifier: TrainedClassifier
    origin: str
    keys: frozenset[Hashable] = frozenset()
    record: TrainingRecord | None = None
    kept_with: tuple[LabelledImage, ...] = ()
