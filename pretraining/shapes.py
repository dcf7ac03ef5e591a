"""Outlines found in micrographs: tessellated cells, roundish objects, thin curves."""

from __future__ import annotations

import math

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from pretraining.draws import SIZE, FloatMap, IntMap, log_uniform, smooth_field

#: Depths outside of objects are no less than minus this many pixels.
FAR_OUT = 50


def tessellation(rng: np.random.Generator, spacing: float, size: int = SIZE) -> tuple[IntMap, FloatMap]:
    """Cells that fill the plane, as an epithelium does: Voronoi cells with bent borders.

    Parameters
    ----------
    rng : Generator
    spacing : float
        Mean distance of neighbouring cells in pixels.
    size : int
        Rows and columns, N.

    Returns
    -------
    cells : ndarray of int64, shape (N, N)
        Number of the cell.
    depth : ndarray of float64, shape (N, N)
        Distance to the cell's border in pixels, roughly.
    """
    count = max(4, int((size + 4 * spacing) ** 2 / spacing**2))
    centres = rng.uniform(-2 * spacing, size + 2 * spacing, (count, 2))
    bend, smoothness = rng.uniform(0, 6), rng.uniform(5, 20)
    places = [axis + bend * smooth_field(rng, smoothness, size) for axis in np.mgrid[:size, :size]]
    distances, nearest = cKDTree(centres).query(np.stack(places, -1).reshape(-1, 2), k=2)
    apart = np.hypot(*(centres[nearest[:, 1]] - centres[nearest[:, 0]]).T) + 1e-6
    depth = (distances[:, 1] ** 2 - distances[:, 0] ** 2) / (2 * apart)
    return nearest[:, 0].reshape(size, size), depth.reshape(size, size)


def blobs(
    rng: np.random.Generator, count: int, smallest: float, largest: float, size: int = SIZE
) -> tuple[IntMap, FloatMap]:
    """Nuclei, vesicles, grains: ellipses of any elongation with wobbly outlines; earlier ones lie on top.

    Parameters
    ----------
    rng : Generator
    count : int
    smallest, largest : float
        Range of the longer half axis in pixels.
    size : int
        Rows and columns, N.

    Returns
    -------
    objects : ndarray of int64, shape (N, N)
        Number of the object from 1, 0 beside them.
    depth : ndarray of float64, shape (N, N)
        Pixels within the nearest outline, roughly; negative outside.
    """
    rows, columns = np.mgrid[:size, :size].astype(float)
    objects = np.zeros((size, size), np.int64)
    depth = np.full((size, size), -float(FAR_OUT))
    wobble = smooth_field(rng, rng.uniform(2, 6), size) * rng.uniform(0, 0.25)
    most = max(0.0, wobble.max())
    for number in range(1, count + 1):
        y, x = rng.uniform(-5, size + 5, 2)
        axis = log_uniform(rng, smallest, largest)
        elongation, angle = rng.uniform(0.4, 1), rng.uniform(0, math.pi)
        near = _window(y, x, axis * (1 + most) + FAR_OUT, size)  # beyond it `depth` stays what it is
        along = (rows[near] - y) * math.cos(angle) + (columns[near] - x) * math.sin(angle)
        across = (columns[near] - x) * math.cos(angle) - (rows[near] - y) * math.sin(angle)
        within = 1 - np.hypot(along / axis, across / (axis * elongation)) + wobble[near]
        objects[near][(within > 0) & (objects[near] == 0)] = number
        np.maximum(depth[near], within * axis, out=depth[near])
    return objects, depth


def _window(y: float, x: float, reach: float, size: int) -> tuple[slice, slice]:
    """Rows and columns no further than `reach` from a place, as far as the scene goes."""
    low, high = ((np.array([y, x]) + sign * reach).clip(0, size).astype(int) for sign in (-1, 1))
    return slice(low[0], high[0] + 1), slice(low[1], high[1] + 1)


def curves(rng: np.random.Generator, count: int, half_width: float, size: int = SIZE) -> FloatMap:
    """Vessels, fibres, worms: smooth curves that get thinner and thicker.

    Parameters
    ----------
    rng : Generator
    count : int
    half_width : float
        Mean, in pixels.
    size : int
        Rows and columns, N.

    Returns
    -------
    ndarray of float64, shape (N, N)
        Pixels from the nearest curve's outline, roughly; negative within.
    """
    away = np.ones((size, size), bool)
    for _ in range(count):
        place = rng.uniform(0, size, 2)
        heading, curl = rng.uniform(0, 2 * math.pi), 0.0
        for _ in range(int(rng.uniform(40, 260))):
            curl = 0.9 * curl + rng.normal(0, 0.05)
            heading += curl
            place += (math.sin(heading), math.cos(heading))
            row, column = place.astype(int)
            if not (0 <= row < size and 0 <= column < size):
                break
            away[row, column] = False
    return ndimage.distance_transform_edt(away) - half_width * (1 + 0.3 * smooth_field(rng, 20, size))
