"""Tiles of a whole image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from math import ceil

from napari_dsparse.classifier import NetworkSpec
from napari_dsparse.errors import DsparseError
from napari_dsparse.machine.memory import MOST_BAND

#: Edge of a tile's input in pixels, halo included, where the patch leaves room for it. A widest map of 32
#: float32 channels is then 8 MB: it stays in a desktop processor's cache, and a tile takes tens of
#: milliseconds, which bounds the delay of a user's stop.
TILE_INPUT = 256
#: A tile is at least this many times its halo, so that the halo never costs more than the tile.
TILE_OVER_HALO = 3
#: Most rows and columns of a preview's tile.
VIEW_TILE = 256, 512


@dataclass(frozen=True, slots=True, order=True)
class Tile:
    """Pixels of the output that are computed together.

    Parameters
    ----------
    plane : tuple of int
        Leading index; () in a 2-D image.
    rows, columns : (int, int)
        Start and stop.
    """

    plane: tuple[int, ...]
    rows: tuple[int, int]
    columns: tuple[int, int]

    @property
    def slices(self) -> tuple[int | slice, ...]:
        """Index of the tile in an array of the image's spatial shape."""
        return (*self.plane, slice(*self.rows), slice(*self.columns))

    @property
    def pixels(self) -> int:
        """Number of pixels."""
        return (self.rows[1] - self.rows[0]) * (self.columns[1] - self.columns[0])

    def meets(self, other: Tile) -> bool:
        """True if both have pixels in common."""
        rows, columns = _meet(self.rows, other.rows), _meet(self.columns, other.columns)
        return self.plane == other.plane and rows and columns

    def window(self, patch: int) -> tuple[tuple[int, int], tuple[int, int]]:
        """Rows and columns of the input that the tile's patches read; may reach outside the image.

        A pixel's patch reaches P // 2 before it and P - 1 - P // 2 behind it.
        """
        before, behind = patch // 2, patch - 1 - patch // 2
        return (
            (self.rows[0] - before, self.rows[1] + behind),
            (self.columns[0] - before, self.columns[1] + behind),
        )


@dataclass(frozen=True, slots=True)
class FieldOfView:
    """The part on screen: one plane and a half-open range of its rows and columns, in pixels."""

    plane: tuple[int, ...]
    rows: tuple[int, int]
    columns: tuple[int, int]

    def touches(self, tile: Tile) -> bool:
        """True if any of `tile` is on screen."""
        return (
            tile.plane == self.plane
            and tile.rows[0] < self.rows[1]
            and tile.rows[1] > self.rows[0]
            and tile.columns[0] < self.columns[1]
            and tile.columns[1] > self.columns[0]
        )


def plan_tiles(shape: Sequence[int], spec: NetworkSpec) -> tuple[Tile, ...]:
    """Tiles that cover an image, from its shape and the model's patch alone.

    So the dock, the command line and a cluster cut the same tiles and write the same bytes.

    Parameters
    ----------
    shape : sequence of int
        Spatial shape, (..., Y, X).
    spec : NetworkSpec
        The model's network.

    Returns
    -------
    tuple of Tile
        In order of planes, then rows, then columns; nearly equal sizes along each axis.
    """
    if len(shape) < 2 or min(shape) < 1:
        raise DsparseError(f"An image of shape {tuple(shape)} cannot be cut into tiles; give (..., Y, X).")
    rows, columns = (_cuts(length, spec.patch - 1) for length in shape[-2:])
    planes = product(*(range(n) for n in shape[:-2]))
    return tuple(Tile(plane, r, c) for plane in planes for r in rows for c in columns)


def tiles_of_view(
    shape: Sequence[int], plane: tuple[int, ...], rows: tuple[int, int], columns: tuple[int, int]
) -> tuple[Tile, ...]:
    """Tiles that cover what is on screen and no more: for previews, of which nothing is kept.

    They are wider than those of `plan_tiles`, so that less of their time goes into halos: over a view of
    1024 x 1024 pixels somewhere in a larger image, with a patch of 27, two thirds of the time in all.

    Parameters
    ----------
    shape : sequence of int
        Spatial shape, (..., Y, X).
    plane : tuple of int
        The plane on screen.
    rows, columns : (int, int)
        Start and stop of what is on screen, in pixels; may reach outside the image.

    Returns
    -------
    tuple of Tile
        Row by row; none where no pixel is on screen.
    """
    spans = [
        (max(0, start), min(length, stop))
        for length, (start, stop) in zip(shape[-2:], (rows, columns), strict=True)
    ]
    cuts = (even_parts(start, stop, largest) for (start, stop), largest in zip(spans, VIEW_TILE, strict=True))
    return tuple(Tile(plane, r, c) for r, c in product(*cuts))


def nearest_first(
    tiles: Sequence[Tile], plane: tuple[int, ...], rows: tuple[int, int], columns: tuple[int, int]
) -> tuple[Tile, ...]:
    """Tiles in the order a viewer wants them: those in view from its middle outwards, then the others.

    Parameters
    ----------
    tiles : sequence of Tile
    plane : tuple of int
        The plane on screen.
    rows, columns : (int, int)
        Start and stop of what is on screen, in pixels; may reach outside the image.
    """
    middle = (rows[0] + rows[1]) / 2, (columns[0] + columns[1]) / 2

    def distance(tile: Tile) -> tuple[int, bool, float, Tile]:
        planes = sum(abs(a - b) for a, b in zip(tile.plane, plane, strict=True))
        hidden = not (_meet(tile.rows, rows) and _meet(tile.columns, columns))
        y, x = sum(tile.rows) / 2 - middle[0], sum(tile.columns) / 2 - middle[1]
        return planes, hidden, y * y + x * x, tile

    return tuple(sorted(tiles, key=distance))


def in_bands(tiles: Sequence[Tile], band: int = MOST_BAND) -> tuple[Tile, ...]:
    """Tiles from top to bottom in bands of `band` columns, one band beside the other.

    What neighbours share is kept until the row below needs it: for a band that takes no more memory in a wide
    image than in a narrow one.
    """
    return tuple(
        sorted(tiles, key=lambda tile: (tile.plane, tile.columns[0] // band, tile.rows, tile.columns))
    )


def _meet(a: tuple[int, int], b: tuple[int, int]) -> bool:
    return a[0] < b[1] and b[0] < a[1]


def _cuts(length: int, halo: int) -> list[tuple[int, int]]:
    return even_parts(0, length, max(TILE_INPUT - halo, TILE_OVER_HALO * halo))


def even_parts(start: int, stop: int, largest: int) -> list[tuple[int, int]]:
    """Parts of nearly the same length, none longer than `largest`; none at all of an empty range."""
    number = ceil(max(0, stop - start) / largest)
    return list(pairwise(start + (stop - start) * i // number for i in range(number + 1))) if number else []
