"""Pieces of an image for workers: some neighbouring tiles and all that they read.

A piece can be computed by any worker. By one that has just computed the piece before it, in less time: local
scores of what both look at are still known there.
"""

from __future__ import annotations

import hashlib
import platform
import threading
from collections.abc import Collection, Hashable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.metadata import version
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from napari_dsparse.classifier import NetworkSpec, TrainedClassifier
from napari_dsparse.errors import DsparseError, ImageError
from napari_dsparse.images import ImageSource
from napari_dsparse.images.reference import ImageReference, OpenedImages
from napari_dsparse.machine.allocator import keep_freed_memory
from napari_dsparse.machine.memory import MOST_SCORES
from napari_dsparse.prediction.blocks import BlockGrid, KeptScores
from napari_dsparse.prediction.predictor import Predictor
from napari_dsparse.prediction.tile_prediction import MAPS, WantedResults
from napari_dsparse.prediction.tiles import Tile


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

    @property
    def _extent(self) -> tuple[tuple[int, int], tuple[int, int]]:
        rows, columns = [t.rows for t in self.tiles], [t.columns for t in self.tiles]
        return (
            (min(start for start, _ in rows), max(stop for _, stop in rows)),
            (min(start for start, _ in columns), max(stop for _, stop in columns)),
        )


@dataclass(frozen=True, slots=True)
class Setting:
    """The same for all pieces: a classifier, and what it is run with.

    Parameters
    ----------
    described : TrainedClassifier
        Without its weights.
    weights : mapping of str to array
        Arrays, which travel at a tenth of what tensors take of the client.
    identity : str
        Equal for equal classifiers: a copy comes with every piece, and is set up once.
    device, precision : str
        As `Predictor` takes them.
    version : str
        Of this package; a worker with another one refuses.
    """

    described: TrainedClassifier = field(compare=False)
    weights: Mapping[str, NDArray[np.float32]] = field(compare=False)
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
        weights = {name: classifier.weights[name].numpy() for name in sorted(classifier.weights)}
        for values in weights.values():
            digest.update(values.tobytes())
        described = replace(classifier, weights={})
        return cls(described, weights, digest.hexdigest(), device, precision, installed_version())

    @property
    def spec(self) -> NetworkSpec:
        """The classifier's network."""
        return self.described.spec

    def classifier(self) -> TrainedClassifier:
        """The classifier, its weights copied."""
        tensors = {name: torch.tensor(values) for name, values in self.weights.items()}
        return replace(self.described, weights=tensors)


@dataclass(frozen=True, slots=True)
class Window:
    """A rectangle of some planes of an image; it may reach outside, as `ImageSource.read` allows.

    Parameters
    ----------
    planes : tuple of tuple of int
    rows, columns : (int, int)
        Start and stop.
    """

    planes: tuple[tuple[int, ...], ...]
    rows: tuple[int, int]
    columns: tuple[int, int]

    def read(self, source: ImageSource) -> NDArray[np.generic]:
        """The pixels, (planes, C, h, w), in the type they are stored in where that holds them all."""
        pixels = np.stack([source.read(each, self.rows, self.columns) for each in self.planes])
        return _narrowed(pixels, np.dtype(source.data.dtype))


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """A piece with all that a worker needs for it: if a worker is lost, any other can do it again.

    Made by `make_job`. Coordinates of tiles and grid are those of the window.

    Parameters
    ----------
    setting : Setting
    name : str
        The image's, for messages.
    image : str
        Equal for pieces of one image by one classifier and grid, and for no others.
    window : Window
        All that is read for the piece: of one plane, or with its neighbours of two or three.
    maps : collection of str
        Results that are wanted beside labels: some of `MAPS`.
    pixels : array, shape (planes, C, h, w), or ImageReference
        Those of the window, or the image from which a worker is to read them itself.
    tiles : tuple of Tile
    grid : BlockGrid
        Of the whole image, so that a worker computes the very blocks that one machine computes.
    """

    setting: Setting
    name: str
    image: str
    window: Window
    maps: tuple[str, ...]
    pixels: NDArray[np.generic] | ImageReference
    tiles: tuple[Tile, ...]
    grid: BlockGrid


def make_job(
    setting: Setting,
    source: ImageSource,
    piece: Piece,
    grid: BlockGrid,
    *,
    image: str,
    maps: Collection[str] = MAPS,
    reference: ImageReference | None = None,
) -> Job:
    """A job of a piece, with all pixels that it needs or a reference to them.

    Parameters
    ----------
    setting : Setting
    source : ImageSource
    piece : Piece
    grid : BlockGrid
        Of all tiles of the image.
    image : str
        Equal for pieces of one image by one classifier and grid, and for no others.
    maps : collection of str
        Results that are wanted beside labels.
    reference : ImageReference, optional
        To the image, for a worker that sees its file; without, the pixels are read here.

    Raises
    ------
    ImageError
        If they cannot be read.
    """
    blocks = piece.blocks(grid)
    rows, columns = (
        (min(start for start, _ in spans), max(stop for _, stop in spans))
        for spans in ([block.rows for block in blocks], [block.columns for block in blocks])
    )
    plane = piece.tiles[0].plane
    beside = source.beside(plane) if setting.spec.neighbours else ()
    planes = sorted({plane, *beside})
    window = Window(tuple(planes), *Tile(plane, rows, columns).window(setting.spec.local_patch))
    down, right = -window.rows[0], -window.columns[0]
    return Job(
        setting,
        source.name,
        image,
        window,
        tuple(sorted(maps)),
        window.read(source) if reference is None else reference,
        tuple(_moved(tile, planes.index(plane), down, right) for tile in piece.tiles),
        grid.moved(down, right),
    )


@dataclass(frozen=True, slots=True)
class Unread:
    """A worker's answer to a job whose pixels it cannot read: they have to be sent.

    Parameters
    ----------
    worker : str
        Its address.
    host : str
        Name of its machine.
    reason : str
    """

    worker: str
    host: str
    reason: str


def do_job(job: Job) -> list[WantedResults] | Unread:
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
    pixels = job.pixels
    if isinstance(pixels, ImageReference):
        try:
            with _opened_images.reading(pixels) as image:
                pixels = job.window.read(image)
        except ImageError as error:
            return Unread(_own_address(), platform.node(), str(error))
    predictor = _memory.predictor_of(job.setting)
    source = ImageSource(pixels, 1, job.name)
    predictor.begin(source, job.tiles, job.maps, job.grid, _kept_scores, partial(_in_image, job))
    found = (predictor.tile(source, tile) for tile in job.tiles)
    return [
        WantedResults(one.tile, {name: one.value(name) for name in ("labels", *job.maps)})
        for one in found
        if one is not None
    ]


def _in_image(job: Job, block: Tile) -> Hashable:
    """Name of a block of a job among those of all jobs."""
    (index,) = block.plane
    window = job.window
    rows, columns = block.rows[0] + window.rows[0], block.columns[0] + window.columns[0]
    return job.image, window.planes[index], rows, columns


def _own_address() -> str:
    """Address of the worker that this runs on."""
    from distributed import get_worker

    return str(get_worker().address)


def installed_version() -> str:
    """Version of this package."""
    return version("napari-dsparse")


#: Local scores of a worker's last pieces, shared by its threads.
_kept_scores = KeptScores()

#: Images that this worker reads itself.
_opened_images = OpenedImages()


class _WorkerMemory(threading.local):
    """The predictor a worker's thread used last, so that a model is set up once and not for every piece."""

    _threads: ClassVar[set[int]] = set()
    setting: Setting | None = None
    predictor: Predictor | None = None

    def predictor_of(self, setting: Setting) -> Predictor:
        """The predictor for a setting."""
        if self.predictor is None or self.setting != setting:
            self.setting = self.predictor = None
            keep_freed_memory()
            self.predictor = Predictor(setting.classifier(), setting.device, precision=setting.precision)
            self.setting = setting
            self._threads.add(threading.get_ident())
            symmetries = setting.described.n_symmetries
            _kept_scores.most_bytes = len(self._threads) * symmetries * MOST_SCORES
        return self.predictor


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
