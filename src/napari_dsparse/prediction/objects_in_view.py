"""Objects of the part of an image that is on screen, for a look before all of them are found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dsparse.prediction.object_options import ObjectOptions
from napari_dsparse.prediction.objects import find_in_block, first_pixels
from napari_dsparse.prediction.tiles import FieldOfView

#: Pixels beyond the view that are looked at too, so that objects at its edge are whole.
MARGIN = 96
#: Most pixels of a view that are looked at: of a larger one, the middle.
MOST_PIXELS = 2_000_000
#: Planes before and behind the one on screen, where they are connected, and the most voxels in all.
PLANES_AROUND, MOST_VOXELS = 8, 8_000_000


@dataclass(frozen=True, slots=True, eq=False)
class ObjectsInView:
    """Objects of a part of one plane.

    Parameters
    ----------
    numbers : array of uint32, shape (rows, columns)
        0, or a number that an object keeps while its first pixel stays the same.
    count : int
        Objects in it.
    plane : tuple of int
        Index of the plane along each leading axis.
    corner : (int, int)
        First row and column.
    whole_view : bool
        False if this is only the middle of a large view.
    """

    numbers: NDArray[np.uint32]
    count: int
    plane: tuple[int, ...]
    corner: tuple[int, int]
    whole_view: bool


def objects_in_view(labels: Any, options: ObjectOptions, view: FieldOfView) -> ObjectsInView:
    """Objects of the part on screen, as `find_objects` finds them but for those that reach far beyond it.

    Parameters
    ----------
    labels : integer array, shape (..., Y, X)
        Classes; the part that is needed is copied first.
    options : ObjectOptions
    view : FieldOfView

    Returns
    -------
    ObjectsInView
    """
    shape = tuple(int(n) for n in labels.shape)
    spans = [view.rows, view.columns]
    height, width = (stop - start for start, stop in spans)
    side = int(MOST_PIXELS**0.5)
    inner = [
        _middle(view.rows, max(side, MOST_PIXELS // max(1, width))),
        _middle(view.columns, max(side, MOST_PIXELS // max(1, height))),
    ]
    outer = [(max(0, a - MARGIN), min(n, b + MARGIN)) for (a, b), n in zip(inner, shape[-2:], strict=True)]
    lead: tuple[int | slice, ...] = tuple(view.plane)
    if options.volume:
        area = (outer[0][1] - outer[0][0]) * (outer[1][1] - outer[1][0])
        around = min(PLANES_AROUND, max(0, (MOST_VOXELS // area - 1) // 2))
        z, depth = view.plane[-1], shape[-3]
        outer.insert(0, (max(0, z - around), min(depth, z + around + 1)))
        lead = lead[:-1]
    block = np.array(labels[(*lead, *(slice(a, b) for a, b in outer))])
    faces = [(a == 0, b == n) for (a, b), n in zip(outer, shape[-len(outer) :], strict=True)]
    parts = find_in_block(block, options, faces)
    if options.volume:
        parts = parts[view.plane[-1] - outer.pop(0)[0]]
    first = first_pixels(parts)
    row, column = np.divmod(first, parts.shape[1])
    lasting = (row + outer[0][0]) * shape[-1] + column + outer[1][0] + 1
    lasting = np.where(first < 0, 0, lasting % np.iinfo(np.uint32).max).astype(np.uint32)
    window = tuple(slice(a - o, b - o) for (a, b), (o, _) in zip(inner, outer, strict=True))
    shown = parts[window]
    count = int(np.count_nonzero(np.bincount(shown.ravel(), minlength=1)[1:]))
    corner = inner[0][0], inner[1][0]
    return ObjectsInView(lasting[shown], count, tuple(view.plane), corner, inner == spans)


def _middle(span: tuple[int, int], largest: int) -> tuple[int, int]:
    """The middle of a span, of at most `largest` pixels."""
    start, stop = span
    spare = max(0, stop - start - largest)
    return start + spare // 2, stop - (spare - spare // 2)
