"""Outlines of numbered regions along the edges of their pixels: exact, and valid as polygons."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

#: Corners of a closed line, (N, 2) as x, y; the first one is not repeated at the end.
Ring: TypeAlias = NDArray[np.int64]
#: The outer ring, then those of the holes.
Polygon: TypeAlias = list[Ring]

# Directions of edges, each a turn to the right of the one before; the region lies to the right of its edges.
_RIGHT, _DOWN, _LEFT, _UP = range(4)


def outlines(regions: NDArray[Any]) -> Iterator[tuple[int, list[Polygon]]]:
    """Polygons that hold the pixels of each region and no others.

    scikit-image's ``find_contours`` cuts corners, so that small regions shrink or vanish; these run along the
    edges of pixels. A polygon is made for every part whose pixels share edges; parts that merely touch at a
    corner are polygons that touch there. Within a part, a line that comes to a corner twice is closed there:
    a hole that touches the outside is a ring of its own. Polygons are therefore valid in the sense of OGC's
    simple features, with rings that never meet themselves, and so are regions of several parts.

    Parameters
    ----------
    regions : array of unsigned or signed integers from 0, shape (Y, X)
        Number of the region of every pixel; 0 = none. A region's pixels need not be connected.

    Yields
    ------
    int
        A region's number; they rise.
    list of Polygon
        Its parts in reading order. Coordinates are those of pixels' corners: the pixel of row 0 and column 0
        reaches from 0, 0 to 1, 1. Outer rings have a positive area by the shoelace formula, holes a negative
        one.
    """
    from skimage.measure import label  # not needed to write images

    parts = label(regions, background=0, connectivity=1)
    begin, following, owner = _runs(parts)
    if not len(begin):
        return
    order, starts = _in_rings(following)
    points = np.stack([begin % (regions.shape[1] + 1), begin // (regions.shape[1] + 1)], axis=1)
    x, y = points.T
    turning = x * y[following] - x[following] * y
    is_hole = np.add.reduceat(turning[order], starts) < 0
    part = owner[order[starts]]
    region_of_part = np.zeros(int(parts.max()) + 1, np.int64)
    region_of_part[parts.ravel()] = regions.ravel()
    ends = np.append(starts[1:], len(order))
    region: list[Polygon] = []
    current = 0
    for ring in np.lexsort((is_hole, part, region_of_part[part])):
        number = int(region_of_part[part[ring]])
        if number != current and region:
            yield current, region
            region = []
        current = number
        corners = points[order[starts[ring] : ends[ring]]]
        if is_hole[ring]:
            region[-1].append(corners)
        else:
            region.append([corners])
    yield current, region


def _runs(parts: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Straight runs of edges: the vertex where each begins, the run that follows it, and its part.

    Vertices are numbered row by row, one more per row than there are pixels.
    """
    rows, columns = parts.shape
    stride = columns + 1
    around = np.pad(parts, 1)
    begins: list[NDArray[np.int64]] = []
    ends: list[NDArray[np.int64]] = []
    owners: list[NDArray[np.int64]] = []
    for direction in (_RIGHT, _DOWN, _LEFT, _UP):
        if direction in (_RIGHT, _LEFT):
            other = around[:-2, 1:-1] if direction == _RIGHT else around[2:, 1:-1]
            first, last, owner = _stretches(np.where(parts != other, parts, 0))
            line, low = np.divmod(first, stride)
            high = last % stride + 1
            shift = 0 if direction == _RIGHT else 1
            low, high = ((line + shift) * stride + along for along in (low, high))
        else:
            other = around[1:-1, 2:] if direction == _DOWN else around[1:-1, :-2]
            first, last, owner = _stretches(np.where(parts != other, parts, 0).T)
            line, low = np.divmod(first, rows + 1)
            high = last % (rows + 1) + 1
            shift = 1 if direction == _DOWN else 0
            low, high = (along * stride + line + shift for along in (low, high))
        forward = direction in (_RIGHT, _DOWN)
        begins.append(low if forward else high)
        ends.append(high if forward else low)
        owners.append(owner)
    offsets = np.cumsum([0, *map(len, begins)])
    begin, owner = np.concatenate(begins), np.concatenate(owners)
    following = np.empty(len(begin), np.int64)
    for direction in range(4):
        # To the left if the part goes on there, also across a corner; it is closed to the right otherwise.
        # At most one run of a direction begins at a vertex.
        left, right = ((direction + turn) % 4 for turn in (-1, 1))
        end = ends[direction]
        to_left = _find(begins[left], end)
        to_left[to_left >= 0] += offsets[left]
        goes_on = (to_left >= 0) & (owner[to_left] == owners[direction])
        to_right = _find(begins[right], end) + offsets[right]
        following[offsets[direction] : offsets[direction + 1]] = np.where(goes_on, to_left, to_right)
    return begin, following, owner


def _stretches(edges: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """First and last position of each stretch of one number within a row, and that number; 0 is none.

    Positions count one column more than there is.
    """
    flat = np.pad(edges, ((0, 0), (0, 1))).ravel()
    changes = np.flatnonzero(np.diff(flat, prepend=0, append=0))
    first, after = changes[:-1], changes[1:]
    number = flat[first]
    return first[number > 0], after[number > 0] - 1, number[number > 0].astype(np.int64)


def _find(values: NDArray[np.int64], wanted: NDArray[np.int64]) -> NDArray[np.int64]:
    """Indices of the wanted among distinct values; -1 for those that are not there."""
    if not len(values):
        return np.full(len(wanted), -1, np.int64)
    order = np.argsort(values)
    place = order[np.searchsorted(values, wanted, sorter=order).clip(max=len(values) - 1)]
    return np.where(values[place] == wanted, place, -1)


def _in_rings(following: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Runs ring after ring, each in the order in which they follow one another, and where rings start.

    By doubling: after n rounds each run knows of 2**n that follow it, so long rings take few rounds.
    """
    count = len(following)
    root, far = np.arange(count), following
    while True:
        lower = np.minimum(root, root[far])
        if np.array_equal(lower, root):
            break
        root, far = lower, far[far]
    is_last = following == root
    far = np.where(is_last, np.arange(count), following)
    to_end = (~is_last).astype(np.int64)
    while True:
        more = to_end[far]
        if not more.any():
            break
        to_end, far = to_end + more, far[far]
    order = np.lexsort((-to_end, root))
    return order, np.flatnonzero(np.diff(root[order], prepend=-1))
