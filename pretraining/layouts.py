"""Kinds of specimen, as maps of classes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pretraining.draws import SIZE, FloatMap, IntMap, log_uniform, many, smooth_field
from pretraining.shapes import blobs, curves, tessellation

#: Least pixels of a class in a scene.
FEWEST_PIXELS = 250


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """The true classes of a scene, and the data for its appearance.

    Parameters
    ----------
    labels : ndarray of int64, shape (N, N)
        Class, 0..K-1.
    objects : ndarray of int64, shape (N, N)
        Number of the object, for brightness that differs from one to the next; 0 throughout where a specimen
        has none.
    depth : ndarray of float64, shape (N, N)
        About how many pixels within an outline; negative outside.
    looks : ndarray of int64, shape (N, N), optional
        Class that a pixel is stained like, where that is not its own: only its surroundings tell.
    """

    labels: IntMap
    objects: IntMap
    depth: FloatMap
    looks: IntMap | None = None

    def seen_as(self) -> IntMap:
        """The class that every pixel looks like, shape (N, N)."""
        return self.labels if self.looks is None else self.looks


def cells_and_walls(rng: np.random.Generator, size: int = SIZE) -> Layout:
    """Plant tissue, an epithelium with stained membranes, neurites in electron microscopy."""
    cells, depth = tessellation(rng, log_uniform(rng, 9, 60), size)
    depth = depth - rng.uniform(0.7, 3.2)
    walls = (depth < 0).astype(np.int64)
    if rng.random() < 0.6:
        return Layout(walls, cells, depth, looks=np.where(_organelles(rng, size), 1, walls))
    return Layout(walls, cells, depth)


def cells_of_several_kinds(rng: np.random.Generator, size: int = SIZE) -> Layout:
    """A tissue of two to four cell types, or grains of several minerals; at times with walls between."""
    cells, depth = tessellation(rng, rng.uniform(15, 60), size)
    kinds = int(rng.integers(2, 5))
    labels = rng.integers(0, kinds, cells.max() + 1)[cells]
    if rng.random() < 0.3:
        labels = np.where(depth < rng.uniform(1, 2.5), kinds, labels)
    return Layout(labels, cells, depth)


def phases(rng: np.random.Generator, size: int = SIZE) -> Layout:
    """Two to four phases that grade into each other: alloys, foams, sandstone, confluent regions."""
    level = smooth_field(rng, log_uniform(rng, 3, 20), size)
    level += rng.uniform(0, 0.4) * smooth_field(rng, 2, size)
    bounds = np.sort(rng.uniform(-1.2, 1.2, int(rng.integers(2, 5)) - 1))
    return Layout(np.digitize(level, bounds), _no_objects(size), level * 5)


def objects_on_a_ground(rng: np.random.Generator, size: int = SIZE) -> Layout:
    """Nuclei or cells on an empty ground; at times their rim, or a second kind, is a class of its own."""
    objects, depth = blobs(rng, many(rng, 4, 50, size), rng.uniform(3, 8), log_uniform(rng, 8, 48), size)
    labels = (objects > 0).astype(np.int64)
    if rng.random() < 0.25:
        rim = (depth < rng.uniform(1, 3)) & (depth > -rng.uniform(0, 1.5))
        labels = np.where(rim, 2, labels)
    elif rng.random() < 0.35 and objects.max() > 2:
        second = rng.random(objects.max() + 1) < 0.5
        labels = np.where(objects > 0, 1 + second[objects], 0)
    if rng.random() < 0.3:  # fibres or debris that took up the stain of the objects
        fibres = curves(rng, many(rng, 2, 10, size), rng.uniform(0.6, 1.5), size) < 0
        return Layout(labels, objects, depth, looks=np.where(fibres & (labels == 0), 1, labels))
    return Layout(labels, objects, depth)


def vessels(rng: np.random.Generator, size: int = SIZE) -> Layout:
    """Vessels, worms, fibres or filaments on a ground."""
    half_width = log_uniform(rng, 0.7, 6)
    outside = curves(rng, many(rng, 2, 14, size), half_width, size)
    labels = (outside < 0).astype(np.int64)
    if rng.random() < 0.4:  # roundish things of the same stain
        spots, _ = blobs(rng, many(rng, 3, 30, size), 1.5, rng.uniform(3, 12), size)
        return Layout(labels, _no_objects(size), -outside, looks=np.maximum(labels, spots > 0))
    return Layout(labels, _no_objects(size), -outside)


def objects_on_phases(rng: np.random.Generator, size: int = SIZE) -> Layout:
    """Nuclei in stained tissue: objects upon two phases, which count as one class half of the time."""
    phase = smooth_field(rng, rng.uniform(6, 20), size) > rng.uniform(-0.5, 0.5)
    objects, depth = blobs(rng, many(rng, 4, 30, size), 3, rng.uniform(6, 16), size)
    labels = np.where(objects > 0, 2, phase)
    if rng.random() < 0.5:
        labels = labels // 2
    return Layout(labels, objects, depth)


#: Equally likely; the two commonest kinds are listed twice.
KINDS: tuple[Callable[[np.random.Generator, int], Layout], ...] = (
    cells_and_walls,
    cells_and_walls,
    cells_of_several_kinds,
    phases,
    objects_on_a_ground,
    objects_on_a_ground,
    vessels,
    objects_on_phases,
)


def draw_layout(rng: np.random.Generator, size: int = SIZE) -> Layout:
    """A layout of any kind with at least two classes, numbered 0..K-1 without gaps, none of them tiny."""
    while True:
        layout = KINDS[rng.integers(len(KINDS))](rng, size)
        classes, numbered, pixels = np.unique(layout.labels, return_inverse=True, return_counts=True)
        if len(classes) >= 2 and pixels.min() > FEWEST_PIXELS:
            looks = np.searchsorted(classes, layout.seen_as())
            return Layout(numbered.reshape(size, size), layout.objects, layout.depth, looks)


def _organelles(rng: np.random.Generator, size: int) -> NDArray[np.bool_]:
    """Structures within cells that take up the stain of the walls: filled, or rims with folds inside."""
    count, largest = many(rng, 4, 60, size), log_uniform(rng, 3, 18)
    bodies, depth = blobs(rng, count, max(1.5, largest / 3), largest, size)
    if rng.random() < 0.4:
        return bodies > 0
    rims = (depth > 0) & (depth < rng.uniform(1, 2.5))
    if rng.random() < 0.6:
        rims |= (bodies > 0) & (smooth_field(rng, rng.uniform(0.8, 2), size) > rng.uniform(0, 1))
    return rims


def _no_objects(size: int) -> IntMap:
    return np.zeros((size, size), np.int64)
