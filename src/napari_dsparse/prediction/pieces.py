"""Pieces of an image for workers that share nothing: some neighbouring tiles and all that they read.

Local scores of the surroundings of tiles are shared within a piece, and computed again for the next one. So
pieces are as large as a worker can bear, unless that leaves workers without any.
"""

from __future__ import annotations

import hashlib
import heapq
import platform
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dsparse.classifier import TrainedClassifier
from napari_dsparse.errors import DsparseError
from napari_dsparse.images import ImageSource
from napari_dsparse.machine.allocator import keep_freed_memory
from napari_dsparse.prediction.blocks import BlockGrid
from napari_dsparse.prediction.predictor import Predictor, TilePrediction
from napari_dsparse.prediction.tiles import Tile, even_parts

#: Most rows and columns of a piece of several tiles. Of 10,000 x 10,000 pixels, the default network's pieces
#: read 1.3 times as many blocks as one machine, since surroundings are computed twice (1.6 times with 2048);
#: single tiles, 2.9. Larger ones would return results of hundreds of megabytes.
PIECE = 3072
#: Pieces per thread beyond which it no longer matters how evenly they can be shared out.
ENOUGH_PER_THREAD = 4


@dataclass(frozen=True, slots=True)
class Piece:
    """Neighbouring tiles of one plane, computed by one worker.

    Parameters
    ----------
    tiles : tuple of Tile
        At least one.
    """

    tiles: tuple[Tile, ...]

    def __str__(self) -> str:
        plane = f"plane {', '.join(map(str, self.tiles[0].plane))}, " if self.tiles[0].plane else ""
        (top, bottom), (left, right) = self._extent
        return f"{plane}rows {top} to {bottom}, columns {left} to {right}"

    @property
    def pixels(self) -> int:
        """Number of pixels."""
        return sum(tile.pixels for tile in self.tiles)

    def blocks(self, grid: BlockGrid) -> set[Tile]:
        """Blocks that the tiles read."""
        return {block for tile in self.tiles for block in grid.of(tile)}

    def halves(self) -> tuple[Piece, ...]:
        """Two pieces of whole tiles, cut across the longer side; the piece itself if it is one tile."""
        if len(self.tiles) == 1:
            return (self,)
        spans = [sorted({tile.rows for tile in self.tiles}), sorted({tile.columns for tile in self.tiles})]
        (top, bottom), (left, right) = self._extent
        by_rows = len(spans[1]) == 1 or (len(spans[0]) > 1 and bottom - top >= right - left)
        own = spans[0] if by_rows else spans[1]
        middle = own[len(own) // 2]
        first = [tile for tile in self.tiles if (tile.rows if by_rows else tile.columns) < middle]
        second = [tile for tile in self.tiles if (tile.rows if by_rows else tile.columns) >= middle]
        return Piece(tuple(first)), Piece(tuple(second))

    @property
    def _extent(self) -> tuple[tuple[int, int], tuple[int, int]]:
        rows, columns = [t.rows for t in self.tiles], [t.columns for t in self.tiles]
        return (
            (min(start for start, _ in rows), max(stop for _, stop in rows)),
            (min(start for start, _ in columns), max(stop for _, stop in columns)),
        )


def plan_pieces(tiles: Sequence[Tile]) -> list[Piece]:
    """The largest pieces that tiles of a grid can be put together to, largest first."""
    planes: dict[tuple[int, ...], list[Tile]] = {}
    for tile in tiles:
        planes.setdefault(tile.plane, []).append(tile)
    pieces = []
    for own in planes.values():
        cells: dict[tuple[int, int], list[Tile]] = {}
        row_group = _groups([tile.rows for tile in own])
        column_group = _groups([tile.columns for tile in own])
        for tile in own:
            cells.setdefault((row_group[tile.rows], column_group[tile.columns]), []).append(tile)
        pieces += [Piece(tuple(cell)) for cell in cells.values()]
    return sorted(pieces, key=lambda piece: -piece.pixels)


def share_out(pieces: Sequence[Piece], threads: int, grid: BlockGrid) -> list[Piece]:
    """The pieces, or smaller ones where `threads` are then done earlier; largest first.

    Smaller pieces compute more of each other's surroundings, and are shared out more evenly.
    """
    if len(pieces) >= ENOUGH_PER_THREAD * threads:
        return list(pieces)
    pieces, costs = list(pieces), {piece: len(piece.blocks(grid)) for piece in pieces}
    best, least = pieces, _longest(pieces, threads, costs)
    while len(pieces) < ENOUGH_PER_THREAD * threads:
        largest = max(pieces, key=lambda piece: len(piece.tiles), default=None)
        if largest is None or len(largest.tiles) == 1:
            break
        halves = largest.halves()
        costs |= {half: len(half.blocks(grid)) for half in halves}
        number = pieces.index(largest)
        pieces = [*pieces[:number], *halves, *pieces[number + 1 :]]
        longest = _longest(pieces, threads, costs)
        if longest < least:
            best, least = pieces, longest
    return sorted(best, key=lambda piece: -piece.pixels)


def _longest(pieces: Sequence[Piece], threads: int, costs: Mapping[Piece, int]) -> int:
    """Cost for the busiest of some threads, if each takes the largest piece left whenever it is free."""
    busy = [0] * threads
    for cost in sorted((costs[piece] for piece in pieces), reverse=True):
        heapq.heapreplace(busy, busy[0] + cost)
    return max(busy)


def _groups(spans: Sequence[tuple[int, int]]) -> dict[tuple[int, int], int]:
    """Number of the group of each span of tiles; a group is at most `PIECE` long, or one span."""
    different = sorted(set(spans))
    longest = max(stop - start for start, stop in different)
    parts = even_parts(0, len(different), max(1, PIECE // longest))
    return {span: number for number, part in enumerate(parts) for span in different[slice(*part)]}


@dataclass(frozen=True, slots=True)
class Setting:
    """The same for all pieces: a classifier, and what it is run with.

    Parameters
    ----------
    classifier : TrainedClassifier
    identity : str
        Equal for equal classifiers: a copy comes with every piece, and is set up once.
    device, precision : str
        As `Predictor` takes them.
    version : str
        Of this package; a worker with another one refuses.
    """

    classifier: TrainedClassifier = field(compare=False)
    identity: str
    device: str
    precision: str
    version: str

    @classmethod
    def of(cls, classifier: TrainedClassifier, device: str, precision: str) -> Setting:
        """The setting for a classifier, with this machine's version."""
        digest = hashlib.blake2b(
            repr(
                (classifier.spec, classifier.priors, classifier.normalisation, classifier.n_symmetries)
            ).encode(),
            digest_size=16,
        )
        for name in sorted(classifier.weights):
            digest.update(classifier.weights[name].numpy().tobytes())
        return cls(classifier, digest.hexdigest(), device, precision, installed_version())


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """A piece with all that a worker needs for it: if a worker is lost, any other can do it again.

    Made by `make_job`. Coordinates are those of `pixels`.

    Parameters
    ----------
    setting : Setting
    name : str
        The image's, for messages.
    pixels : array, shape (planes, C, h, w)
        One plane, or with its neighbours two or three.
    tiles : tuple of Tile
    grid : BlockGrid
        Of the whole image, so that a worker computes the very blocks that one machine computes.
    """

    setting: Setting
    name: str
    pixels: NDArray[np.generic]
    tiles: tuple[Tile, ...]
    grid: BlockGrid


def make_job(setting: Setting, source: ImageSource, piece: Piece, grid: BlockGrid, local_patch: int) -> Job:
    """Read all that a piece needs.

    Parameters
    ----------
    setting : Setting
    source : ImageSource
    piece : Piece
    grid : BlockGrid
        Of all tiles of the image.
    local_patch : int
        Rows and columns that local scores look at.
    """
    blocks = piece.blocks(grid)
    rows, columns = (
        (min(start for start, _ in spans), max(stop for _, stop in spans))
        for spans in ([block.rows for block in blocks], [block.columns for block in blocks])
    )
    plane = piece.tiles[0].plane
    window = Tile(plane, rows, columns).window(local_patch)
    beside = source.beside(plane) if setting.classifier.spec.neighbours else ()
    planes = sorted({plane, *beside})
    pixels = np.stack([source.read(each, *window) for each in planes])
    down, right = -window[0][0], -window[1][0]
    return Job(
        setting,
        source.name,
        _narrowed(pixels, np.dtype(source.data.dtype)),
        tuple(_moved(tile, planes.index(plane), down, right) for tile in piece.tiles),
        grid.moved(down, right),
    )


def do_job(job: Job) -> list[TilePrediction]:
    """Predict the tiles of a job, in its own coordinates; runs on a worker.

    Raises
    ------
    DsparseError
        If this worker has another version of the package than the job's, or not the device.
    """
    own = installed_version()
    if own != job.setting.version:
        raise DsparseError(
            f"A worker on {platform.node()!r} has napari-dsparse {own}, but the version here is "
            f"{job.setting.version}; install one version everywhere, or the tiles may differ."
        )
    if _memory.setting != job.setting:
        _memory.setting = None
        keep_freed_memory()
        setting = job.setting
        _memory.predictor = Predictor(setting.classifier, setting.device, precision=setting.precision)
        _memory.setting = job.setting
    predictor = _memory.predictor
    assert predictor is not None
    source = ImageSource(job.pixels, 1, job.name)
    predictor.begin(source, job.tiles, job.grid)
    found = (predictor.tile(source, tile) for tile in job.tiles)
    return [prediction for prediction in found if prediction is not None]


def installed_version() -> str:
    """Version of this package."""
    return version("napari-dsparse")


class _WorkerMemory(threading.local):
    """The predictor a worker's thread used last, so that a model is set up once and not for every piece."""

    setting: Setting | None = None
    predictor: Predictor | None = None


_memory = _WorkerMemory()


def _moved(tile: Tile, plane: int, rows: int, columns: int) -> Tile:
    return Tile(
        (plane,),
        (tile.rows[0] + rows, tile.rows[1] + rows),
        (tile.columns[0] + columns, tile.columns[1] + columns),
    )


def _narrowed(pixels: NDArray[np.float32], dtype: np.dtype[Any]) -> NDArray[np.generic]:
    """The pixels in the type they were stored in, if that is smaller and holds them all: NaN it does not."""
    if dtype.itemsize >= pixels.itemsize or dtype.kind not in "ui":
        return pixels
    with np.errstate(invalid="ignore"):
        narrow = pixels.astype(dtype)
    return narrow if np.array_equal(narrow, pixels) else pixels
