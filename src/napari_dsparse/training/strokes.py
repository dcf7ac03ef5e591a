"""From painted labels to strokes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dsparse.classifier.classes import MOST_CLASSES
from napari_dsparse.errors import LabelsError
from napari_dsparse.images.painted import blocks


@dataclass(frozen=True, slots=True, eq=False)
class Stroke:
    """Touching pixels of one class in one plane: what a user painted in one place.

    Parameters
    ----------
    image : int
        Which of the training images.
    plane : tuple of int
        Leading index of the plane; () for a 2-D image.
    label : int
        Class number, from 1.
    yx : array of int32, shape (n, 2)
        Rows and columns, in row-major order.
    key : bytes
        Equal for two strokes exactly when all of the above is.
    """

    image: int
    plane: tuple[int, ...]
    label: int
    yx: NDArray[np.int32]
    key: bytes

    def part(self, chosen: NDArray[np.bool_]) -> Stroke:
        """The stroke's pixels where `chosen` is true, as a stroke of its own."""
        yx = self.yx[chosen]
        return Stroke(self.image, self.plane, self.label, yx, _key(self.image, self.plane, self.label, yx))


def find_strokes(labels: Any, image: int = 0) -> tuple[Stroke, ...]:
    """Strokes of a label array: connected pixels (8 neighbours) of one class, plane by plane.

    Parameters
    ----------
    labels : array of integers, shape (..., Y, X)
        0 = not annotated, 1..K = classes. Numpy, dask or zarr, scanned a block of rows at a time; or sparse.
    image : int
        Number of the image that the strokes belong to.

    Raises
    ------
    LabelsError
        If the labels are not integers, are negative or above 1000, or have fewer than two axes.
    """
    dtype = np.dtype(labels.dtype)
    if dtype.kind not in "bui":
        raise LabelsError(
            f"Labels are {dtype}; they must be integers: 0 = not annotated, 1, 2, ... = classes. "
            "Convert them before training."
        )
    shape = tuple(int(n) for n in labels.shape)
    if len(shape) < 2:
        raise LabelsError(f"Labels have shape {shape}; they need rows and columns, like their image.")
    strokes: list[Stroke] = []
    for plane, blocks_of_plane in groupby(blocks(labels), lambda block: block[0][:-2]):
        places, values = _painted(blocks_of_plane, shape[-1])
        strokes.extend(_components(places, values, shape[-1], image, plane))
    return tuple(strokes)


def _painted(
    blocks_of_plane: Iterable[tuple[tuple[int, ...], NDArray[Any]]], width: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Places (y * width + x, increasing) and values of the painted pixels of a plane."""
    places, values = [], []
    for (*_, top, left), block in blocks_of_plane:
        painted = np.flatnonzero(block)
        rows, columns = np.divmod(painted, block.shape[-1])
        places.append((rows + top) * width + columns + left)
        values.append(block.ravel()[painted])
        if painted.size and not 0 <= values[-1].min() <= values[-1].max() <= MOST_CLASSES:
            wrong = values[-1].min() if values[-1].min() < 0 else values[-1].max()
            raise LabelsError(
                f"Labels hold {wrong}; 0 is not annotated and classes are numbered from 1, to {MOST_CLASSES} "
                "at most. Give all objects of one kind the number of their class."
            )
    found, at = np.concatenate(values).astype(np.int64), np.concatenate(places).astype(np.int64)
    if (np.diff(at) > 0).all():
        return at, found
    order = np.argsort(at)
    return at[order], found[order]


def _components(
    places: NDArray[np.int64], values: NDArray[np.int64], width: int, image: int, plane: tuple[int, ...]
) -> Iterator[Stroke]:
    """Connected components among painted pixels only, run by run of a row: a filled region has few runs."""
    # Imported where it is needed: it takes as long as the rest of this package.
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    if not len(places):
        return
    begins = np.flatnonzero(
        (np.diff(places, prepend=-2) != 1) | (np.diff(values, prepend=0) != 0) | (places % width == 0)
    )
    sizes = np.diff(begins, append=len(places))
    ends = _touching(places[begins], sizes, values[begins], width)
    graph = coo_array((np.ones(ends.shape[1], bool), (ends[0], ends[1])), shape=(len(begins), len(begins)))
    number, component = connected_components(graph, directed=False)
    order = np.argsort(component, kind="stable")
    bounds = np.searchsorted(component[order], np.arange(number + 1))
    for start, stop in pairwise(bounds):
        runs = order[start:stop]
        # Pixels of one run after another: where each run begins, and how far along it.
        lengths = sizes[runs]
        along = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        own = places[np.repeat(begins[runs], lengths) + along]
        yx = np.stack([own // width, own % width], 1).astype(np.int32)
        label = int(values[begins[runs[0]]])
        yield Stroke(image, plane, label, yx, _key(image, plane, label, yx))


def _touching(
    starts: NDArray[np.int64], sizes: NDArray[np.int64], values: NDArray[np.int64], width: int
) -> NDArray[np.int64]:
    """Pairs (2, P) of runs of one value that touch, corners included; runs are in row-major order."""
    lasts, rows = starts + sizes - 1, starts // width
    # In the next row, all runs from the one that ends no sooner to the one that begins no later.
    low, high = rows * width + width, rows * width + 2 * width - 1
    first = np.searchsorted(lasts, np.maximum(starts + width - 1, low))
    beyond = np.searchsorted(starts, np.minimum(lasts + width + 1, high), side="right")
    counts = np.maximum(beyond - first, 0)
    above = np.repeat(np.arange(len(starts)), counts)
    below = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts) + np.repeat(first, counts)
    alike = values[above] == values[below]
    pairs: NDArray[np.int64] = np.stack([above[alike], below[alike]])
    return pairs


def _key(image: int, plane: tuple[int, ...], label: int, yx: NDArray[np.int32]) -> bytes:
    digest = hashlib.blake2b(repr((image, plane, label)).encode(), digest_size=16)
    digest.update(yx.tobytes())
    return digest.digest()
