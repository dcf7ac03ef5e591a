"""Outlines found in micrographs: tessellated cells, roundish objects, thin curves."""

from __future__ import annotations

import math

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from pretraining.draws import SIZE, FloatMap, IntMap, log_uniform, smooth_field


def tessellation(rng: np.random.Generator, spacing: float) -> tuple[IntMap, FloatMap]:
    """Cells that fill the plane, as an epithelium does: Voronoi cells with bent borders.

    Parameters
    ----------
    rng : Generator
    spacing : float
        Mean distance of neighbouring cells in pixels.

    Returns
    -------
    cells : ndarray of int64, shape (N, N)
        Number of the cell.
    depth : ndarray of float64, shape (N, N)
        Distance to the cell's border in pixels, roughly.
    """
    count = max(4, int((SIZE + 4 * spacing) ** 2 / spacing**2))
    centres = rng.uniform(-2 * spacing, SIZE + 2 * spacing, (count, 2))
    bend, smoothness = rng.uniform(0, 6), rng.uniform(5, 20)
    places = [axis + bend * smooth_field(rng, smoothness) for axis in np.mgrid[:SIZE, :SIZE]]
    distances, nearest = cKDTree(centres).query(np.stack(places, -1).reshape(-1, 2), k=2)
    apart = np.hypot(*(centres[nearest[:, 1]] - centres[nearest[:, 0]]).T) + 1e-6
    depth = (distances[:, 1] ** 2 - distances[:, 0] ** 2) / (2 * apart)
    return nearest[:, 0].reshape(SIZE, SIZE), depth.reshape(SIZE, SIZE)


def blobs(rng: np.random.Generator, count: int, smallest: float, largest: float) -> tuple[IntMap, FloatMap]:
    """Nuclei, vesicles, grains: ellipses of any elongation with wobbly outlines; earlier ones lie on top.

    Parameters
    ----------
    rng : Generator
    count : int
    smallest, largest : float
        Range of the longer half axis in pixels.

    Returns
    -------
    objects : ndarray of int64, shape (N, N)
        Number of the object from 1, 0 beside them.
    depth : ndarray of float64, shape (N, N)
        Pixels within the nearest outline, roughly; negative outside.
    """
    rows, columns = np.mgrid[:SIZE, :SIZE].astype(float)
    objects = np.zeros((SIZE, SIZE), np.int64)
    depth = np.full((SIZE, SIZE), -50.0)
    wobble = smooth_field(rng, rng.uniform(2, 6)) * rng.uniform(0, 0.25)
    for number in range(1, count + 1):
        y, x = rng.uniform(-5, SIZE + 5, 2)
        axis = log_uniform(rng, smallest, largest)
        elongation, angle = rng.uniform(0.4, 1), rng.uniform(0, math.pi)
        along = (rows - y) * math.cos(angle) + (columns - x) * math.sin(angle)
        across = (columns - x) * math.cos(angle) - (rows - y) * math.sin(angle)
        within = 1 - np.hypot(along / axis, across / (axis * elongation)) + wobble
        objects[(within > 0) & (objects == 0)] = number
        depth = np.maximum(depth, within * axis)
    return objects, depth


def curves(rng: np.random.Generator, count: int, half_width: float) -> FloatMap:
    """Vessels, fibres, worms: smooth curves that get thinner and thicker.

    Parameters
    ----------
    rng : Generator
    count : int
    half_width : float
        Mean, in pixels.

    Returns
    -------
    ndarray of float64, shape (N, N)
        Pixels from the nearest curve's outline, roughly; negative within.
    """
    away = np.ones((SIZE, SIZE), bool)
    for _ in range(count):
        place = rng.uniform(0, SIZE, 2)
        heading, curl = rng.uniform(0, 2 * math.pi), 0.0
        for _ in range(int(rng.uniform(40, 260))):
            curl = 0.9 * curl + rng.normal(0, 0.05)
            heading += curl
            place += (math.sin(heading), math.cos(heading))
            row, column = place.astype(int)
            if not (0 <= row < SIZE and 0 <= column < SIZE):
                break
            away[row, column] = False
    return ndimage.distance_transform_edt(away) - half_width * (1 + 0.3 * smooth_field(rng, 20))
