"""Prediction of a tile: labels, and the maps that may be wanted beside them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from napari_dsparse.prediction.tiles import Tile

#: Results beside labels, by name.
MAPS = frozenset({"probabilities", "uncertainty"})


class TileResult(Protocol):
    """Results of one tile: of the maps, those at least that were asked for."""

    @property
    def tile(self) -> Tile:
        """The tile."""

    @property
    def labels(self) -> NDArray[np.unsignedinteger]:
        """Most probable class, 1..K, shape (h, w)."""

    def value(self, name: str) -> NDArray[Any]:
        """The labels, or one of `MAPS`, by name."""


@dataclass(frozen=True, slots=True, eq=False)
class TilePrediction:
    """Prediction of one tile.

    Parameters
    ----------
    tile : Tile
    labels : array of uint8 or uint16, shape (h, w)
        Most probable class, 1..K; the lower number wins a tie.
    painted : array of float32, shape (painted classes, h, w)
        Probabilities of the classes that had paint; they sum to 1.
    present : tuple of bool
        True for each of the K classes that had paint.
    """

    tile: Tile
    labels: NDArray[np.unsignedinteger]
    painted: NDArray[np.float32]
    present: tuple[bool, ...]

    def value(self, name: str) -> NDArray[Any]:
        """The labels, or one of `MAPS`, by name."""
        values: NDArray[Any] = getattr(self, name)
        return values

    @property
    def probabilities(self) -> NDArray[np.float32]:
        """Probabilities of all classes, (K, h, w): 0 for those without paint."""
        if all(self.present):
            return self.painted
        every = np.zeros((len(self.present), *self.painted.shape[1:]), np.float32)
        every[np.flatnonzero(self.present)] = self.painted
        return every

    @property
    def uncertainty(self) -> NDArray[np.float32]:
        """Closeness of the second class to the first, (h, w), from 0 (certain) to 1 (a tie)."""
        first = self.painted[0].copy()
        second = np.zeros_like(first)
        for other in self.painted[1:]:  # sorting would take fifty times as long
            np.maximum(second, np.minimum(first, other), out=second)
            np.maximum(first, other, out=first)
        result: NDArray[np.float32] = 1 - (first - second)
        return result


def label_dtype(classes: int) -> np.dtype[np.unsignedinteger]:
    """Smallest unsigned type that holds labels 1..`classes`."""
    return np.dtype(np.uint8 if classes <= 255 else np.uint16)


@dataclass(frozen=True, slots=True, eq=False)
class WantedResults:
    """Those results of a tile that were asked for, and no others: little to send.

    Parameters
    ----------
    tile : Tile
    values : mapping of str to array
        "labels", and those of `MAPS` that were asked for.
    """

    tile: Tile
    values: Mapping[str, NDArray[Any]]

    @property
    def labels(self) -> NDArray[np.unsignedinteger]:
        """Most probable class, 1..K, shape (h, w)."""
        return self.values["labels"]

    def value(self, name: str) -> NDArray[Any]:
        """The labels, or one of the maps that were asked for, by name."""
        return self.values[name]
