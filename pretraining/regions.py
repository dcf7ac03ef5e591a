"""Layouts of regions: large parts of a specimen that differ in material."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pretraining.draws import IntMap, log_uniform, smooth_field
from pretraining.shapes import blobs, tessellation

#: Every class of a scene has at least this part of its pixels.
LEAST_SHARE = 0.02

#: Most kinds of regions.
MOST_KINDS = 4


@dataclass(frozen=True, slots=True, eq=False)
class Regions:
    """The true answer of a scene of regions, and what lies where.

    Parameters
    ----------
    labels : ndarray of int64, shape (N, N)
        Class, 0..K-1.
    kinds : ndarray of int64, shape (N, N)
        Kind of the region, 0..M-1, also beneath `things`.
    glass : ndarray of bool, shape (N, N)
        No specimen here.
    things : ndarray of int64, shape (N, N)
        Number of a lumen, vessel or large cell that lies in a region, from 1; 0 elsewhere.
    """

    labels: IntMap
    kinds: IntMap
    glass: NDArray[np.bool_]
    things: IntMap


def draw_regions(rng: np.random.Generator, size: int) -> Regions:
    """Regions of two to four kinds; glass and things in them are classes of their own at times."""
    while True:
        kinds = _bent(rng, LAYOUTS[rng.integers(len(LAYOUTS))](rng, size))
        glass, things = _glass(rng, size), _things(rng, size)
        labels = kinds.copy()
        if things.any() and rng.random() < 0.5:
            labels[things > 0] = MOST_KINDS
        if rng.random() < 0.7:
            labels[glass] = MOST_KINDS + 1
        else:
            glass[:] = False
        classes, numbered, pixels = np.unique(labels, return_inverse=True, return_counts=True)
        tissue = np.unique(kinds)
        if np.isin(tissue, classes).all() and len(tissue) > 1 and pixels.min() > LEAST_SHARE * size**2:
            return Regions(numbered.reshape(size, size), np.searchsorted(tissue, kinds), glass, things)


def patches(rng: np.random.Generator, size: int) -> IntMap:
    """Cells of a tessellation, each kind in several of them."""
    cells, _ = tessellation(rng, rng.uniform(80, 180), size)
    kinds: IntMap = rng.integers(0, _kinds(rng), cells.max() + 1)[cells]
    return kinds


def territories(rng: np.random.Generator, size: int) -> IntMap:
    """One place for each kind."""
    kinds = _kinds(rng)
    centres = rng.uniform(0.1, 0.9, (kinds, 2)) * size
    rows, columns = np.mgrid[:size, :size]
    away = [np.hypot(rows - y, columns - x) for y, x in centres]
    nearest: IntMap = np.argmin(away, 0)
    return nearest


def bodies(rng: np.random.Generator, size: int) -> IntMap:
    """Roundish bodies on a ground, as glomeruli lie; of two kinds or with rings around at times."""
    largest = log_uniform(rng, 35, 110)
    rows, columns = np.mgrid[:size, :size]
    kinds = np.zeros((size, size), np.int64)
    second, ring = rng.random() < 0.3, rng.uniform(15, 40) if rng.random() < 0.3 else 0
    placed: list[tuple[float, float, float]] = []
    for _ in range(40):
        (y, x), radius = rng.uniform(0, size, 2), largest * rng.uniform(0.6, 1)
        if any(math.hypot(y - v, x - u) < 1.1 * (radius + r) + ring for v, u, r in placed):
            continue
        placed.append((y, x, radius))
        away = np.hypot(rows - y, columns - x)
        own = 3 if second and rng.random() < 0.5 else 1
        kinds[away < radius + ring] = 2
        kinds[away < radius] = own
        if len(placed) * radius**2 * math.pi > rng.uniform(0.1, 0.6) * size**2:
            break
    return kinds


def lobules(rng: np.random.Generator, size: int) -> IntMap:
    """Two or three kinds that interlock, with a boundary as smooth as theirs are wide."""
    level = smooth_field(rng, log_uniform(rng, 22, 70), size)
    shares = np.cumsum(rng.dirichlet((3,) * int(rng.integers(2, 4))))[:-1]
    kinds: IntMap = np.digitize(level, np.quantile(level, shares))
    return kinds


def strata(rng: np.random.Generator, size: int) -> IntMap:
    """Layers, as in skin, gut and retina: each of its own kind, or two kinds in turn."""
    rows, columns = np.mgrid[:size, :size]
    angle = rng.uniform(0, 2 * math.pi)
    level = (
        rows * math.sin(angle) + columns * math.cos(angle) + rng.uniform(0, 40) * smooth_field(rng, 50, size)
    )
    layers = int(rng.integers(2, 6))
    shares = np.cumsum(rng.dirichlet((4,) * layers))[:-1]
    layer = np.digitize(level, np.quantile(level, shares))
    kinds: IntMap = layer % 2 if layers > MOST_KINDS or rng.random() < 0.4 else layer
    return kinds


#: All alike likely.
LAYOUTS: tuple[Callable[[np.random.Generator, int], IntMap], ...] = (
    patches,
    territories,
    bodies,
    lobules,
    strata,
)


def _kinds(rng: np.random.Generator) -> int:
    return int(rng.integers(2, MOST_KINDS + 1))


def _bent(rng: np.random.Generator, kinds: IntMap) -> IntMap:
    """The same with outlines as nature draws them."""
    size = len(kinds)
    wide, fine = rng.uniform(5, 25), rng.uniform(0, 4)
    places = [
        axis + wide * smooth_field(rng, 45, size) + fine * smooth_field(rng, 8, size)
        for axis in np.mgrid[:size, :size]
    ]
    bent: IntMap = ndimage.map_coordinates(kinds, places, order=0, mode="reflect")
    return bent


def _glass(rng: np.random.Generator, size: int) -> NDArray[np.bool_]:
    """Beside the tissue or in clefts of it; in seven scenes of ten nowhere."""
    if rng.random() < 0.7:
        return np.zeros((size, size), bool)
    level = smooth_field(rng, log_uniform(rng, 20, 80), size) + 0.2 * smooth_field(rng, 5, size)
    return level > np.quantile(level, 1 - rng.uniform(0.06, 0.35))


def _things(rng: np.random.Generator, size: int) -> IntMap:
    """Lumina, vessels, large cells: in half of the scenes none."""
    if rng.random() < 0.5:
        return np.zeros((size, size), np.int64)
    things, _ = blobs(rng, int(rng.integers(6, 40)), 5, log_uniform(rng, 10, 30), size)
    return things
