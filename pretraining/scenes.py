"""Synthetic micrographs of which the class of every pixel is known."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pretraining.appearance import distractors, specimen
from pretraining.draws import FloatMap, Stream, generator, smooth_field
from pretraining.layouts import Layout, draw_layout
from pretraining.matter import draw_matters, dye_maps, unevenly
from pretraining.microscope import micrograph, micrographs
from pretraining.regions import draw_regions
from pretraining.stains import METHODS

Scene = tuple[NDArray[np.float32], NDArray[np.int64]]


def scene(rng: np.random.Generator) -> Scene:
    """A scene drawn at random.

    Returns
    -------
    image : ndarray of float32, shape (N, N)
        Median 0, mostly within -1..1.
    labels : ndarray of int64, shape (N, N)
        Class, 0..K-1, with K from 2 to 5.
    """
    layout = draw_layout(rng)
    seen = specimen(rng, layout)
    seen += distractors(rng)
    return micrograph(rng, seen).astype(np.float32), layout.labels


def wide_scene(rng: np.random.Generator, regions: bool | None = None) -> Scene:
    """A scene of 384 to 512 pixels, with one to four channels.

    Parameters
    ----------
    rng : Generator
    regions : bool, optional
        True for regions that differ in what they are made of, False for the classes of `scene`; by default
        one is as likely as the other.

    Returns
    -------
    image : ndarray of float32, shape (C, N, N)
        Median 0, mostly within -1..1, in every channel.
    labels : ndarray of int64, shape (N, N)
        Class, 0..K-1, with K from 2 to 6.
    """
    size, dyes = 32 * int(rng.integers(12, 17)), int(rng.integers(2, 4))
    if rng.random() < 0.5 if regions is None else regions:
        places = draw_regions(rng, size)
        matters = draw_matters(rng, int(places.kinds.max()) + 1, dyes)
        labels, stained = places.labels, dye_maps(rng, places, matters, dyes)
    else:
        layout = draw_layout(rng, size) if rng.random() < 0.6 else _enlarged(rng, draw_layout(rng, size // 2))
        seen = [specimen(rng, layout) + distractors(rng, size) for _ in range(dyes)]
        labels, stained = layout.labels, np.stack([_as_dye(one) for one in seen])
    channels = METHODS[rng.integers(len(METHODS))](rng, unevenly(rng, stained))
    return micrographs(rng, channels).astype(np.float32), labels


def _enlarged(rng: np.random.Generator, layout: Layout) -> Layout:
    """Twice as large, with outlines that do not show it."""
    size = 2 * len(layout.labels)
    places = [axis / 2 + 0.7 * smooth_field(rng, 4, size) for axis in np.mgrid[:size, :size]]
    labels, objects, looks = (
        ndimage.map_coordinates(own, places, order=0, mode="reflect")
        for own in (layout.labels, layout.objects, layout.seen_as())
    )
    return Layout(labels, objects, 2 * ndimage.map_coordinates(layout.depth, places, order=1), looks)


def _as_dye(seen: FloatMap) -> FloatMap:
    """Brightness as an amount, mostly 0 to 1.5."""
    low, high = np.percentile(seen, (1, 99))
    amount: FloatMap = ((seen - low) / (high - low + 1e-6) * 1.5).clip(0, None)
    return amount


@dataclass(frozen=True, slots=True, eq=False)
class SceneSet:
    """Scenes kept in memory.

    Parameters
    ----------
    images : ndarray of float32, shape (S, H, W)
    labels : ndarray of uint8, shape (S, H, W)
    """

    images: NDArray[np.float32]
    labels: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.images)


def scene_set(stream: Stream, seed: int, count: int, processes: int = 1) -> SceneSet:
    """`count` scenes, the same ones however many `processes` draw them."""
    draw: Callable[[int], Scene] = partial(_numbered_scene, stream, seed)
    if processes == 1:
        scenes = [draw(number) for number in range(count)]
    else:
        # Spawned, not forked: this process may hold threads.
        with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
            scenes = list(pool.map(draw, range(count), chunksize=8))
    images, labels = zip(*scenes, strict=True)
    return SceneSet(np.stack(images), np.stack(labels).astype(np.uint8))


def _numbered_scene(stream: Stream, seed: int, number: int) -> Scene:
    return scene(generator(stream, seed, number))
