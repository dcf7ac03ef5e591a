"""Synthetic micrographs of which the class of every pixel is known."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context

import numpy as np
from numpy.typing import NDArray

from pretraining.appearance import distractors, specimen
from pretraining.draws import Stream, generator
from pretraining.layouts import draw_layout
from pretraining.microscope import micrograph

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
