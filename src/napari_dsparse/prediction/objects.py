"""Objects of a segmentation: connected pixels of one class, cut apart where they merely touch."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.measure import label
from skimage.morphology import local_maxima, reconstruction
from skimage.segmentation import watershed

from napari_dsparse import checks
from napari_dsparse.errors import LabelsError

#: A region is cut where its neck is narrower than this share of the narrower part's own width ...
NECK = 0.85
#: ... and by more than this many pixels of half width, less than which is the roughness of an outline.
ROUGHNESS = 0.75
#: Half widths are smoothed by a Gaussian of this standard deviation, in pixels, before they are compared.
SMOOTHING = 1.0

#: Pixels that touch at a corner belong together.
_NEIGHBOURS = np.ones((3, 3), bool)
#: Regions whose half width stays below this have no neck to speak of.
_THIN = 1.5


def find_objects(
    labels: Any, *, min_size: int = 0, separate: bool = True, background: int = 1
) -> NDArray[np.uint32]:
    """Number the objects of a segmentation.

    An object is a set of connected pixels (corners connect) of one class. With `separate`, a region is cut at
    its necks, by a watershed on the distance to its outline from one marker per part. Two parts are distinct
    where the neck between them is narrower than 0.85 of the narrower part's own width: a rule without a
    length in it, so small and large objects are treated alike, and elongated ones stay whole.

    Objects hold the pixels the segmentation gives them and no others: holes stay holes. Every plane is
    looked at by itself; nothing connects along leading axes.

    Parameters
    ----------
    labels : integer or boolean array, shape (..., Y, X)
        Class of every pixel as `Model.predict` gives it; numpy, dask or zarr, read plane by plane.
    min_size : int
        Objects of fewer pixels are left out, after separation.
    separate : bool
        Whether touching objects of one class are cut apart.
    background : int
        The class that is no object; 0 (unknown) never is one.

    Returns
    -------
    array of uint32, shape (..., Y, X)
        0, or the object's number: 1 to n over all planes, in reading order of their first pixels.

    Raises
    ------
    LabelsError
        If `labels` is not an array of whole numbers from 0 with rows and columns.
    DsparseError
        If `min_size` or `background` is no whole number from 0, or `separate` no truth value.
    """
    check_whole_numbers(labels, "Labels")
    min_size = checks.whole_number("min_size", min_size)
    background = checks.whole_number("background", background)
    separate = checks.truth("separate", separate)
    found = np.zeros(tuple(labels.shape), np.uint32)
    count = 0
    for plane in product(*(range(n) for n in found.shape[:-2])):
        regions = _regions(np.asarray(labels[plane]), background)
        numbered = _numbered(_cut_at_necks(regions) if separate else regions, min_size)
        found[plane] = np.where(numbered > 0, numbered + count, 0)
        count += int(numbered.max(initial=0))
    return found


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


def _regions(plane: NDArray[Any], background: int) -> NDArray[np.integer]:
    """Connected pixels of one class, numbered; 0 elsewhere."""
    if plane.dtype.kind == "i" and plane.min(initial=0) < 0:
        raise LabelsError(
            f"Labels hold the number {plane.min()}; classes are numbered from 1, with 0 where unknown."
        )
    numbers = plane.astype(np.int64)
    numbers[numbers == background] = 0
    regions: NDArray[np.integer] = label(numbers, background=0, connectivity=2)
    return regions


def _cut_at_necks(regions: NDArray[np.integer]) -> NDArray[np.integer]:
    """The same pixels, with one number per part."""
    parts = np.zeros_like(regions)
    count = 0
    for number, window in enumerate(ndimage.find_objects(regions), start=1):
        region = np.pad(regions[window] == number, 1)  # the image's edge counts as outline
        split = _parts(region)[1:-1, 1:-1]
        np.add(split, count, out=parts[window], where=split > 0, casting="unsafe")
        count += int(split.max())
    return parts


def _parts(region: NDArray[np.bool_]) -> NDArray[np.integer]:
    """The parts of one connected region, numbered from 1.

    A part's marker is a maximum of half width that a path to any higher one leaves by more than the neck's
    share: grey-scale reconstruction fills up lesser dips, as h-maxima do with a fixed h.
    """
    whole = region.astype(np.int32)
    half_width = ndimage.distance_transform_edt(region)
    if half_width.max() < _THIN:
        return whole
    half_width = ndimage.gaussian_filter(half_width, SMOOTHING)
    half_width[~region] = 0
    lowered = np.minimum(NECK * half_width, half_width - ROUGHNESS).clip(min=0)
    filled = reconstruction(lowered, half_width, footprint=_NEIGHBOURS)
    markers, count = ndimage.label(local_maxima(filled, footprint=_NEIGHBOURS) & region, _NEIGHBOURS)
    if count < 2:
        return whole
    flooded: NDArray[np.integer] = watershed(-half_width, markers, mask=region, connectivity=_NEIGHBOURS)
    return flooded


def _numbered(regions: NDArray[np.integer], min_size: int) -> NDArray[np.uint32]:
    """Regions of at least `min_size` pixels, numbered from 1 in reading order."""
    numbers, first, sizes = np.unique(regions, return_index=True, return_counts=True)
    kept = (numbers > 0) & (sizes >= min_size)
    in_order = numbers[kept][np.argsort(first[kept])]
    renumber = np.zeros(int(numbers[-1]) + 1, np.uint32)
    renumber[in_order] = np.arange(1, len(in_order) + 1)
    numbered: NDArray[np.uint32] = renumber[regions]
    return numbered
