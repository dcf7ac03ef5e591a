"""Regions of a label image, plane by plane, as the formats of outlines and masks write them one by one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dsparse.classifier.classes import ClassInfo, default_class
from napari_dsparse.errors import ExportError
from napari_dsparse.files.axes import Axis
from napari_dsparse.files.pixels import ArrayIndex, Pixels


@dataclass(frozen=True, slots=True)
class Region:
    """One region of a plane.

    Parameters
    ----------
    number : int
        The object's number; without objects, a count of the class's regions from 1.
    class_number : int
        0 where no classes are known.
    info : ClassInfo, optional
        Name and colour of its class.
    """

    number: int
    class_number: int
    info: ClassInfo | None

    @property
    def name(self) -> str:
        """Class and number."""
        return f"{'object' if self.info is None else self.info.name} {self.number}"


@dataclass(frozen=True, slots=True, eq=False)
class Plane:
    """The regions of a plane.

    Parameters
    ----------
    index : mapping of str to int
        Its place along T and Z, by letter; empty where there is just one plane.
    numbers : array of integers, shape (Y, X)
        0, or 1 + the index in `regions` of the pixel's region.
    regions : sequence of Region
    """

    index: dict[str, int]
    numbers: NDArray[np.integer]
    regions: Sequence[Region]


@dataclass(frozen=True, slots=True, eq=False)
class LabelledImage:
    """Labels and what they mean.

    Parameters
    ----------
    labels : Pixels
        Class of every pixel; 0 = none. Objects themselves where `classes` is empty.
    axes : sequence of Axis
        One per axis of `labels`.
    classes : sequence of ClassInfo
        Class number i + 1 is entry i; labels beyond have their default class.
    objects : Pixels, optional
        Number of the object of every pixel. Without it, a region is a set of pixels of one class that touch,
        if only at corners.
    image_name : str, optional
        Name of the image that the labels are of.
    """

    labels: Pixels
    axes: Sequence[Axis]
    classes: Sequence[ClassInfo]
    objects: Pixels | None = None
    image_name: str | None = None

    def __post_init__(self) -> None:
        if self.objects is not None and self.objects.shape != self.labels.shape:
            raise ExportError(
                f"Labels have shape {self.labels.shape} and objects {self.objects.shape}; "
                "give both of one image."
            )

    def planes(self) -> Iterator[Plane]:
        """Planes in their order; each is held in memory whole."""
        counts: Counter[int] = Counter()
        *leading, _, _ = self.labels.shape
        letters = [axis.letter for axis in self.axes[: len(leading)]]
        for index in product(*map(range, leading)):
            window: ArrayIndex = (*index, slice(None), slice(None))
            labels = self.labels.read(window)
            objects = None if self.objects is None else self.objects.read(window)
            yield self._plane(dict(zip(letters, index, strict=True)), labels, objects, counts)

    def class_info(self, number: int) -> ClassInfo:
        """Name and colour of a class."""
        return self.classes[number - 1] if number <= len(self.classes) else default_class(number)

    def _plane(
        self, index: dict[str, int], labels: NDArray[Any], objects: NDArray[Any] | None, counts: Counter[int]
    ) -> Plane:
        if objects is not None:
            numbers, values = _consecutive(objects)
            owners = _commonest(numbers, labels, len(values)).tolist()
            pairs = zip(values.tolist(), owners, strict=True)
            return Plane(index, numbers, [self._region(value, owner) for value, owner in pairs])
        if not self.classes:
            numbers, values = _consecutive(labels)
            return Plane(index, numbers, [Region(value, 0, None) for value in values.tolist()])
        from skimage.measure import label  # not needed to write images

        numbers = label(labels, background=0, connectivity=2)
        owners = np.zeros(int(numbers.max()) + 1, np.int64)
        owners[numbers.ravel()] = labels.ravel()
        regions = []
        for owner in owners[1:].tolist():
            counts[owner] += 1
            regions.append(self._region(counts[owner], owner))
        return Plane(index, numbers, regions)

    def _region(self, number: int, owner: int) -> Region:
        return Region(number, owner, self.class_info(owner) if owner else None)


def _consecutive(objects: NDArray[Any]) -> tuple[NDArray[np.integer], NDArray[Any]]:
    """Numbers from 1 without gaps, 0 between, and the objects that they stand for."""
    values, numbers = np.unique(objects, return_inverse=True)
    numbers = numbers.reshape(objects.shape)
    return (numbers, values[1:]) if values[0] == 0 else (numbers + 1, values)


def _commonest(numbers: NDArray[np.integer], labels: NDArray[Any], count: int) -> NDArray[np.int64]:
    """The class that most pixels of each object have; the lower number wins a tie."""
    inside = numbers > 0
    pairs = np.stack([numbers[inside], labels[inside].astype(np.int64)])
    (owners, values), votes = np.unique(pairs, axis=1, return_counts=True)
    order = np.lexsort((-values, votes))  # the winner of each object comes last and is written last
    winners = np.zeros(count + 1, np.int64)
    winners[owners[order]] = values[order]
    return winners[1:]
