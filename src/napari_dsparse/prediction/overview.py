"""A first look at more pixels than can be computed in a moment, on a lattice of single pixels.

Where an image is seen as a whole, every pixel of the screen stands for hundreds. A sketch of such a view
classifies the pixel in the middle of each cell of a coarse lattice. Its own features are exact. Means over
wide windows around it are estimated from a few pixels in the middle of each cell that the window covers:
exact ones would cost fifty times as much.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from napari_dsparse.images import ImageSource
from napari_dsparse.prediction.next_spot import BLOCK
from napari_dsparse.prediction.predictor import Predictor
from napari_dsparse.prediction.tile_prediction import TilePrediction
from napari_dsparse.prediction.tiles import FieldOfView, Tile

#: Pixels of a view from which on it is an overview: an ordinary sketch of it takes seconds.
OVERVIEW_PIXELS = 1 << 22
#: Pixels of a view from which on an ordinary sketch takes so long that exact tiles follow the lattice.
WIDE_PIXELS = 1 << 24
#: Cells along the longer side of an overview, at most.
CELLS = 135
#: Rows and columns of the smallest cells, in pixels: below, a lattice takes long beside the exact pixels.
LEAST_PITCH = 48
#: Sketches of one overview, coarse to fine: cells of the lattice, per axis, that one of its pixels stands
#: for. Odd, so that the middle of a large cell is that of a small one.
STEPS = (9, 3, 1)
#: Pixels that are computed together; between them it is asked whether to stop.
SITES_AT_ONCE = 256
#: Pixels on each side of a cell's middle, one stride apart, that stand for the cell in means over windows.
TAPS = 2
#: Cells that such a mean is taken over at least, per axis: one alone says too little of its surroundings.
LEAST_CELLS = 2.0
#: Parts of an image that is read in chunks: not smaller, and not larger, than this along an axis, in pixels.
_LEAST_READ, _MOST_READ = 256, 2048
#: Sites in one chunk from which on it is read once, not once per site.
_FEW_SITES = 4


@dataclass(frozen=True, slots=True)
class Lattice:
    """Square cells that cover a part of a plane.

    Parameters
    ----------
    plane : tuple of int
    rows, columns : (start, stop)
        The part, in pixels.
    pitch : int
        Rows and columns of a cell; the last ones may be smaller.
    """

    plane: tuple[int, ...]
    rows: tuple[int, int]
    columns: tuple[int, int]
    pitch: int

    @classmethod
    def over(cls, shape: Sequence[int], view: FieldOfView) -> Lattice | None:
        """The lattice for what is on screen of an image; None if that is no overview.

        Parameters
        ----------
        shape : sequence of int
            Spatial shape, (..., Y, X).
        view : FieldOfView
            May reach outside the image.
        """
        if not is_overview(shape, view):
            return None
        (top, bottom), (left, right) = _within(shape, view)
        pitch = max(LEAST_PITCH, -(-max(bottom - top, right - left) // CELLS))
        return cls(view.plane, (top, bottom), (left, right), pitch)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of cells."""
        rows, columns = (-(-(stop - start) // self.pitch) for start, stop in (self.rows, self.columns))
        return rows, columns

    def middles(self, step: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Rows and columns of the lattice that hold the middles of cells `step` times as large."""
        rows, columns = (
            np.minimum(np.arange(step // 2, count + step // 2, step), count - 1) for count in self.shape
        )
        return rows, columns

    def pixels(self, cells: NDArray[np.intp]) -> NDArray[np.intp]:
        """The pixel (row, column) in the middle of each of some cells (S, 2)."""
        first = np.array([self.rows[0], self.columns[0]])
        last = np.array([self.rows[1], self.columns[1]]) - 1
        found: NDArray[np.intp] = np.minimum(first + cells * self.pitch + self.pitch // 2, last)
        return found

    @property
    def tile(self) -> Tile:
        """The part that is covered."""
        return Tile(self.plane, self.rows, self.columns)


def is_overview(shape: Sequence[int], view: FieldOfView) -> bool:
    """True if an ordinary sketch of a view of an image (..., Y, X) takes seconds."""
    return _pixels_in_view(shape, view) >= OVERVIEW_PIXELS


def is_wide(shape: Sequence[int], view: FieldOfView) -> bool:
    """True of an overview so large that exact tiles should follow its lattice at once."""
    return _pixels_in_view(shape, view) >= WIDE_PIXELS


def _pixels_in_view(shape: Sequence[int], view: FieldOfView) -> int:
    (top, bottom), (left, right) = _within(shape, view)
    return max(0, bottom - top) * max(0, right - left)


def _within(shape: Sequence[int], view: FieldOfView) -> tuple[tuple[int, int], tuple[int, int]]:
    """Rows and columns of the image that are on screen."""
    rows, columns = (
        (max(0, start), min(length, stop))
        for length, (start, stop) in zip(shape[-2:], (view.rows, view.columns), strict=True)
    )
    return rows, columns


class SiteFeatures:
    """Features of a lattice's pixels, as far as they are known; valid as long as the network's trunk is.

    Parameters
    ----------
    source : ImageSource
    lattice : Lattice
    """

    def __init__(self, source: ImageSource, lattice: Lattice) -> None:
        self.source = source
        self.lattice = lattice
        self._planes: dict[tuple[int, ...], tuple[Tensor, NDArray[np.bool_]]] = {}

    def at(self, plane: tuple[int, ...], step: int) -> Tensor:
        """Features of the middles of cells `step` times as large, (rows, columns, F); they must be known."""
        rows, columns = (torch.from_numpy(axis) for axis in self.lattice.middles(step))
        features = self._planes[plane][0]
        return features[rows[:, None], columns[None]]

    def missing(self, plane: tuple[int, ...], step: int) -> NDArray[np.intp]:
        """Cells (S, 2) of the lattice that such a sketch needs and that are not known."""
        rows, columns = self.lattice.middles(step)
        cells = np.stack(np.meshgrid(rows, columns, indexing="ij"), -1).reshape(-1, 2)
        if plane not in self._planes:
            return cells
        known = self._planes[plane][1]
        return cells[~known[cells[:, 0], cells[:, 1]]]

    def keep(self, plane: tuple[int, ...], cells: NDArray[np.intp], features: Tensor) -> None:
        """Keep features (S, F) of some cells (S, 2)."""
        if plane not in self._planes:
            empty = features.new_empty((*self.lattice.shape, features.shape[1]))
            self._planes[plane] = empty, np.zeros(self.lattice.shape, bool)
        own, known = self._planes[plane]
        own[torch.from_numpy(cells[:, 0]), torch.from_numpy(cells[:, 1])] = features
        known[cells[:, 0], cells[:, 1]] = True


@dataclass(frozen=True, slots=True, eq=False)
class Sketch:
    """A sketch of an overview.

    Parameters
    ----------
    cells : TilePrediction
        Of the part that is covered, with one value per cell.
    cell : int
        Rows and columns of pixels in a cell; the last ones may be smaller.
    """

    cells: TilePrediction
    cell: int


def in_pixels(values: NDArray[Any], cell: int, tile: Tile) -> NDArray[Any]:
    """Values of cells (..., rows, columns) as those of all pixels of the tile that they cover."""
    height, width = (stop - start for start, stop in (tile.rows, tile.columns))
    wide = np.repeat(values, cell, axis=-1)[..., :width]
    return np.repeat(wide, cell, axis=-2)[..., :height, :]


def uncertainty_of_blocks(sketch: Sketch) -> NDArray[np.float32]:
    """Uncertainty of a sketch in the blocks in which `next_spot` keeps it, (block rows, block columns)."""
    tile = sketch.cells.tile
    rows, columns = (
        np.maximum(0, np.arange(start // BLOCK, -(-stop // BLOCK)) * BLOCK - start) // sketch.cell
        for start, stop in (tile.rows, tile.columns)
    )
    found: NDArray[np.float32] = sketch.cells.uncertainty[rows[:, None], columns]
    return found


def learn_sites(
    predictor: Predictor, features: SiteFeatures, stopped: Callable[[], bool], step: int = STEPS[-1]
) -> bool:
    """Compute what a sketch in cells of `step` needs; False if `stopped()` came true before the end.

    Parameters
    ----------
    predictor : Predictor
    features : SiteFeatures
        Gains what was computed.
    stopped : callable
    step : int
    """
    source, lattice = features.source, features.lattice
    taps = TAPS if predictor.reaches else 0
    patch = predictor.classifier.spec.local_patch + 2 * taps * predictor.stride[0]
    for plane in _planes(predictor, source, lattice.plane):
        missing = features.missing(plane, step)
        for cells, patches in _read(source, plane, missing, lattice, patch):
            if stopped():
                return False
            features.keep(plane, cells, predictor.site_features(patches))
    return True


def sketches(predictor: Predictor, features: SiteFeatures, stopped: Callable[[], bool]) -> Iterator[Sketch]:
    """Sketches of an overview, finer and finer, from the finest on for which all is known already.

    Parameters
    ----------
    predictor : Predictor
    features : SiteFeatures
        Gains what was computed.
    stopped : callable
        Ends the sketches when it returns True.
    """
    planes = _planes(predictor, features.source, features.lattice.plane)
    known = [not any(len(features.missing(plane, step)) for plane in planes) for step in STEPS]
    first = max((number for number, there in enumerate(known) if there), default=0)
    for step in STEPS[first:]:
        if not learn_sites(predictor, features, stopped, step):
            return
        yield _sketch(predictor, features, step)


def _planes(predictor: Predictor, source: ImageSource, plane: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
    """Planes that a sketch of a plane looks at: its own, and both neighbours if the classifier sees them."""
    return (plane, *source.beside(plane)) if predictor.classifier.spec.neighbours else (plane,)


def _sketch(predictor: Predictor, features: SiteFeatures, step: int) -> Sketch:
    lattice, cell = features.lattice, features.lattice.pitch * step
    own, *beside = (
        predictor.site_scores(features.at(plane, step)).float().cpu().numpy()
        for plane in _planes(predictor, features.source, lattice.plane)
    )
    classes = predictor.painted_classes
    scores = own[:classes].copy()
    for number, reach in enumerate(predictor.reaches, start=1):
        scores += _window_mean(own[number * classes : (number + 1) * classes], max(LEAST_CELLS, reach / cell))
    for other in beside:
        scores += other[-classes:] / len(beside)
    return Sketch(predictor.from_scores(torch.from_numpy(scores), lattice.tile), cell)


def _window_mean(values: NDArray[np.float32], cells: float) -> NDArray[np.float32]:
    """Means of (K, rows, columns) over windows so many cells wide, each cell with its share of the window."""
    far = int(np.ceil((cells - 1) / 2))
    edges = np.arange(-far, far + 2) - 0.5
    shares = np.diff(np.clip(edges, -cells / 2, cells / 2))
    for axis in (1, 2):
        values = ndimage.correlate1d(values, shares / shares.sum(), axis, mode="reflect")
    return values


def _read(
    source: ImageSource,
    plane: tuple[int, ...],
    cells: NDArray[np.intp],
    lattice: Lattice,
    patch: int,
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.float32]]]:
    """Some cells (S, 2) at a time, and the patches around their middles, (C, S, patch, patch)."""
    rows, columns = _chunk_edges(source)
    places = lattice.pixels(cells)
    chunks = places // (rows, columns) if rows and columns else places
    order = np.lexsort((places[:, 1], places[:, 0], chunks[:, 1], chunks[:, 0]))
    taken: list[int] = []
    patches: list[NDArray[np.float32]] = []
    for _, group in groupby(order.tolist(), key=lambda site: tuple(chunks[site])):
        sites = list(group)
        for part in (sites,) if len(sites) >= _FEW_SITES else ([site] for site in sites):
            patches += _patches(source, plane, places[part], patch)
            taken += part
        while len(taken) >= SITES_AT_ONCE:
            yield cells[taken[:SITES_AT_ONCE]], np.stack(patches[:SITES_AT_ONCE], 1)
            del taken[:SITES_AT_ONCE], patches[:SITES_AT_ONCE]
    if taken:
        yield cells[taken], np.stack(patches, 1)


def _patches(
    source: ImageSource, plane: tuple[int, ...], places: NDArray[np.intp], patch: int
) -> list[NDArray[np.float32]]:
    """Patches (C, patch, patch) around pixels (S, 2), from one window that holds them all."""
    (top, left), (bottom, right), half = places.min(0), places.max(0), patch // 2
    pixels = source.read(
        plane, (int(top) - half, int(bottom) + half + 1), (int(left) - half, int(right) + half + 1)
    )
    return [pixels[:, y : y + patch, x : x + patch].copy() for y, x in places - (top, left)]


def _chunk_edges(source: ImageSource) -> tuple[int, int]:
    """Rows and columns of the chunks that a lazy array is read in; zeros where it is not read in chunks."""
    chunks: Any = getattr(source.data, "chunks", None)
    if not chunks or len(chunks) != len(source.data.shape):
        return 0, 0
    edges = [max(one) if isinstance(one, Sequence) else one for one in chunks]
    if source.channel_axis is not None:
        del edges[source.channel_axis]
    rows, columns = (int(np.clip(edge, _LEAST_READ, _MOST_READ)) for edge in edges[-2:])
    return rows, columns
