"""Objects of a segmentation: connected pixels of one class, cut apart where they merely touch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from skimage.measure import label

from napari_dsparse.errors import LabelsError
from napari_dsparse.prediction.necks import cut_at_necks
from napari_dsparse.prediction.object_options import ObjectOptions

#: Faces of a block, before and behind along each axis: True where the image ends there.
Faces = Sequence[tuple[bool, bool]]


def find_objects(
    labels: Any,
    options: ObjectOptions | None = None,
    *,
    progress: Callable[[float], None] | None = None,
    stop: Callable[[], bool] | None = None,
    **changes: Any,
) -> NDArray[np.uint32]:
    """Number the objects of a segmentation.

    An object is a set of connected pixels (corners connect) of one class. Touching ones are cut apart at
    their necks, by a watershed on the distance to their outline from one marker per part. Two parts are
    distinct where the neck between them is narrower than 0.85 (`splitting`) of the narrower part's own width:
    a rule without a length in it, so small and large objects are treated alike; elongated ones stay whole.

    Unless holes are to be filled, objects hold the pixels the segmentation gives them and no others. Every
    plane is looked at by itself, or with `volume` every stack of planes.

    Parameters
    ----------
    labels : integer or boolean array, shape (..., Y, X)
        Class of every pixel as `Model.predict` gives it; numpy, dask or zarr, read plane by plane, or with
        `volume` volume by volume.
    options : ObjectOptions, optional
        What counts as an object.
    progress : callable, optional
        Called with the share done, 0..1.
    stop : callable, optional
        Asked between objects; once it says yes, what is not found yet is 0 in the result.
    **changes
        Single options by name, such as ``min_size=20``; see `ObjectOptions`.

    Returns
    -------
    array of uint32, shape (..., Y, X)
        0, or the object's number: 1 to n over all planes, in reading order of their first pixels.

    Raises
    ------
    LabelsError
        If `labels` is not an array of whole numbers from 0 with rows and columns; with `volume`, planes too.
    DsparseError
        If an option is not possible.
    """
    check_whole_numbers(labels, "Labels")
    wanted = replace(options or ObjectOptions(), **changes)
    shape = tuple(int(n) for n in labels.shape)
    axes = block_axes(shape, wanted.volume)
    found = np.zeros(shape, np.uint32)
    places = list(product(*(range(n) for n in shape[:-axes])))
    faces = [(True, True)] * axes
    count = 0
    for done, place in enumerate(places):
        if stop is not None and stop():
            break
        share = None if progress is None else _part_of(progress, done, len(places))
        parts = find_in_block(np.asarray(labels[place]), wanted, faces, progress=share, stop=stop)
        numbered = _numbered(parts)
        found[place] = np.where(numbered > 0, numbered + np.uint32(count), 0)
        count += int(numbered.max(initial=0))
        if progress is not None:
            progress((done + 1) / len(places))
    return found


def find_in_block(
    block: NDArray[Any],
    options: ObjectOptions,
    faces: Faces,
    *,
    progress: Callable[[float], None] | None = None,
    stop: Callable[[], bool] | None = None,
) -> NDArray[np.integer]:
    """Objects of one plane, or of one volume, numbered in no particular order and with gaps.

    Parameters
    ----------
    block : integer or boolean array, shape (Y, X) or (Z, Y, X)
        Classes; a part of an image may be given.
    options : ObjectOptions
    faces : sequence of (bool, bool), one per axis
        True where the image ends: objects there are those that `border_objects` is about, and no hole is open
        to the other side.
    progress, stop : callable, optional
        As in `find_objects`.
    """
    if block.dtype.kind == "i" and block.min(initial=0) < 0:
        raise LabelsError(
            f"Labels hold the number {block.min()}; classes are numbered from 1, with 0 where unknown."
        )
    inside = block != 0 if options.classes is None else np.isin(block, options.classes)
    if options.classes is None:
        inside &= block != options.background
    numbers = np.where(inside, block, 0)
    if options.max_hole:
        fill_holes(numbers, options.max_hole)
    regions: NDArray[np.integer] = label(numbers, background=0, connectivity=block.ndim)
    if options.neck > 0:
        sampling = (options.z_step, 1.0, 1.0)[-block.ndim :]
        regions = cut_at_necks(regions, options.neck, sampling, progress, stop)
    sizes = np.bincount(regions.ravel(), minlength=1)
    dropped = sizes < options.min_size
    if not options.border_objects:
        for axis, (before, behind) in enumerate(faces):
            for end in [0] * before + [-1] * behind:
                dropped[np.unique(regions.take(end, axis=axis))] = True
    dropped[0] = False
    if dropped.any():
        regions[dropped[regions]] = 0
    return regions


def fill_holes(numbers: NDArray[np.integer], largest: int) -> None:
    """Give holes of up to `largest` pixels, in place, the class that they have all round.

    A hole is a set of pixels of no object, connected by their sides, that does not reach the edge.
    """
    holes = label(numbers == 0, background=0, connectivity=1)
    small = np.bincount(holes.ravel(), minlength=1) <= largest
    small[0] = False
    for axis in range(holes.ndim):
        for end in (0, -1):
            small[np.unique(holes.take(end, axis=axis))] = False
    least = np.full(len(small), np.iinfo(np.int64).max)
    most = np.zeros(len(small), np.int64)
    for axis in range(holes.ndim):
        before = (slice(None),) * axis + (slice(None, -1),)
        behind = (slice(None),) * axis + (slice(1, None),)
        for here, there in ((before, behind), (behind, before)):
            rim = small[holes[here]] & (numbers[there] > 0)
            np.minimum.at(least, holes[here][rim], numbers[there][rim])
            np.maximum.at(most, holes[here][rim], numbers[there][rim])
    filled = np.where(small & (least == most), most, 0).astype(numbers.dtype)
    np.maximum(numbers, filled[holes], out=numbers)


def block_axes(shape: Sequence[int], volume: bool) -> int:
    """Axes, counted from the last, over which objects are connected: 2, or 3 with `volume`.

    Raises
    ------
    LabelsError
        If there are not as many.
    """
    if volume and len(shape) < 3:
        raise LabelsError(
            f"Labels of shape {tuple(shape)} are one plane; objects over planes (volume) need a stack, "
            "shape (..., Z, Y, X)."
        )
    return 3 if volume else 2


def check_whole_numbers(array: Any, what: str) -> None:
    """Refuse what is not an array of integers with rows and columns.

    Raises
    ------
    LabelsError
        Which calls the array `what`.
    """
    shape, dtype = getattr(array, "shape", None), getattr(array, "dtype", None)
    if shape is None or dtype is None:
        raise LabelsError(
            f"{what} came as a {type(array).__name__}; give an array of whole numbers, shape (..., Y, X)."
        )
    if np.dtype(dtype).kind not in "bui" or len(shape) < 2:
        raise LabelsError(
            f"{what} came as {dtype} of shape {tuple(shape)}; give whole numbers with rows and columns, "
            "shape (..., Y, X)."
        )


def first_pixels(parts: NDArray[np.integer]) -> NDArray[np.int64]:
    """By number, the index of its first pixel in reading order; -1 for 0 and for numbers that have none."""
    flat = parts.ravel()
    inside = np.flatnonzero(flat)
    first = np.full(int(flat.max(initial=0)) + 1, -1, np.int64)
    first[flat[inside][::-1]] = inside[::-1]  # of pixels with one number, the last one written stays
    return first


def _numbered(parts: NDArray[np.integer]) -> NDArray[np.uint32]:
    """Parts numbered from 1 in reading order."""
    first = first_pixels(parts)
    kept = np.flatnonzero(first >= 0)
    renumber = np.zeros(len(first), np.uint32)
    renumber[kept[np.argsort(first[kept])]] = np.arange(1, len(kept) + 1)
    numbered: NDArray[np.uint32] = renumber[parts]
    return numbered


def _part_of(progress: Callable[[float], None], done: int, count: int) -> Callable[[float], None]:
    return lambda share: progress((done + share) / count)
