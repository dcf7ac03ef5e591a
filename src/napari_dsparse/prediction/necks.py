"""Connected regions cut apart at their necks, in the plane or in 3-D."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.morphology import local_maxima, reconstruction
from skimage.segmentation import watershed

#: Necks that are narrower by fewer pixels of half width are the roughness of an outline.
ROUGHNESS = 0.75
#: Half widths are smoothed by a Gaussian of this standard deviation, in pixels, before they are compared.
SMOOTHING = 1.0
#: Regions whose half width stays below this have no neck to speak of.
_THIN = 1.5


def cut_at_necks(
    regions: NDArray[np.integer],
    neck: float,
    sampling: Sequence[float],
    progress: Callable[[float], None] | None = None,
    stop: Callable[[], bool] | None = None,
) -> NDArray[np.integer]:
    """The same pixels, with one number per part.

    Parameters
    ----------
    regions : integer array
        Connected regions, numbered from 1; 0 elsewhere.
    neck : float
        Parts are distinct where the neck between them is narrower than this share, 0 to 1, of the narrower
        part's own width.
    sampling : sequence of float
        Distance of neighbouring pixels along each axis.
    progress : callable, optional
        Called with the share of regions done, 0..1.
    stop : callable, optional
        Asked before every region; once it says yes, the others stay 0.
    """
    parts = np.zeros_like(regions)
    windows = ndimage.find_objects(regions)
    count = 0
    for number, window in enumerate(windows, start=1):
        if stop is not None and stop():
            break
        region = np.pad(regions[window] == number, 1)  # the image's edge counts as outline
        split = _parts(region, neck, sampling)[(slice(1, -1),) * region.ndim]
        np.add(split, count, out=parts[window], where=split > 0, casting="unsafe")
        count += int(split.max())
        if progress is not None:
            progress(number / len(windows))
    return parts


def _parts(region: NDArray[np.bool_], neck: float, sampling: Sequence[float]) -> NDArray[np.integer]:
    """The parts of one connected region, numbered from 1.

    A part's marker is a maximum of half width that a path to any higher one leaves by more than the neck's
    share: grey-scale reconstruction fills up lesser dips, as h-maxima do with a fixed h.
    """
    whole = region.astype(np.int32)
    half_width = ndimage.distance_transform_edt(region, sampling=sampling)
    if half_width.max() < _THIN:
        return whole
    neighbours = np.ones((3,) * region.ndim, bool)
    half_width = ndimage.gaussian_filter(half_width, [SMOOTHING / step for step in sampling])
    half_width[~region] = 0
    if ndimage.label(local_maxima(half_width, footprint=neighbours) & region, neighbours)[1] < 2:
        return whole  # no dip at all, which most regions have not: the rest takes the most time
    lowered = np.minimum(neck * half_width, half_width - ROUGHNESS).clip(min=0)
    filled = reconstruction(lowered, half_width, footprint=neighbours)
    markers, count = ndimage.label(local_maxima(filled, footprint=neighbours) & region, neighbours)
    if count < 2:
        return whole
    flooded: NDArray[np.integer] = watershed(-half_width, markers, mask=region, connectivity=neighbours)
    return flooded
