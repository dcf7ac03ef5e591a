"""Pixels of result layers: plain arrays, or pyramids of chunks where an image is too large for that."""

from __future__ import annotations

import math
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_dsparse.classifier.class_edits import ClassEdit
from napari_dsparse.files.chunk_store import MEMORY_SHARE, ChunkStore
from napari_dsparse.files.chunked import ChunkedArray
from napari_dsparse.gui.layers.image_frame import ImageFrame
from napari_dsparse.live.messages import TileDone
from napari_dsparse.machine.memory import free_memory
from napari_dsparse.prediction.overview import in_pixels

if TYPE_CHECKING:
    from napari.layers import Image, Labels

#: Pixels of a plane from which on results are pyramids: napari draws a plain layer as a whole, every time.
LARGE_PLANE = 1 << 25
#: The same where the image is a pyramid itself.
LARGE_LEVEL = 1 << 24
#: Rows and columns of the coarsest level of a pyramid, at most.
COARSEST = 1024
#: Pixels that are renumbered at once: their indices take eight bytes each.
_AT_ONCE = 1 << 20
#: Values of a sketch that are put into one level of a pyramid, at most: finer levels stay as they are.
MOST_SKETCHED = 1 << 20


def blank(frame: ImageFrame, image: Image, dtype: npt.DTypeLike, store: ChunkStore) -> Any:
    """Pixels of an empty result: an array, or the levels of a pyramid, finest first."""
    shape, kind = frame.layer_shape, np.dtype(dtype)
    plane = math.prod(shape[-2:])
    large = plane >= (LARGE_LEVEL if image.multiscale else LARGE_PLANE)
    large = large or math.prod(shape) * kind.itemsize > free_memory() * MEMORY_SHARE
    if not large or frame.kept_axis is not None:
        return np.zeros(shape, kind)
    count = 1 + max(1, math.ceil(math.log2(max(shape[-2:]) / COARSEST)))
    shapes = [(*shape[:-2], *(-(-n // 2**level) for n in shape[-2:])) for level in range(count)]
    levels: list[Any] = [ChunkedArray(own, kind, store) for own in shapes]
    if len(shape) == 2:
        # napari keeps what `np.asarray` makes of this level, which for an array is the array itself.
        levels[-1] = np.zeros(shapes[-1], kind)
    return levels


def fits(layer: Labels | Image, frame: ImageFrame, dtype: npt.DTypeLike) -> bool:
    """True if a layer of the right shape can hold such a result, as an array or as a pyramid of chunks."""
    if layer.multiscale:
        kind = isinstance(layer.data[0], ChunkedArray) and frame.kept_axis is None
    else:
        kind = isinstance(layer.data, np.ndarray)
    return kind and layer.data.dtype == np.dtype(dtype)


def whole_of(layer: Labels, frame: ImageFrame) -> Any:
    """Pixels of a layer at full resolution in the shape that the engine uses, (..., Y, X)."""
    return layer.data[0] if layer.multiscale else frame.engine_view(layer.data)


def put(layer: Labels | Image, frame: ImageFrame, done: TileDone, values: npt.NDArray[Any]) -> bool:
    """Put one map of a tile into a layer; True if that changed it.

    Raises
    ------
    OSError
        If a large result does not fit into memory and cannot be written to its file; every level that can be
        written is.
    """
    if layer.multiscale:
        changed: list[int] = []
        with ExitStack() as levels:  # a stack goes on though one fails, and raises in the end
            for level, level_pixels in enumerate(layer.data):
                levels.callback(_put_level, level_pixels, level, done, values, changed)
        return bool(changed)
    index = frame.layer_index(done.tile.slices)
    before = layer.data[index]
    pixels = values if done.cell == 1 else in_pixels(values, done.cell, done.tile)
    (top, _), (left, _) = done.tile.rows, done.tile.columns
    _spare(pixels, before.reshape(pixels.shape), done, top, left, 1)
    if np.array_equal(before, pixels.reshape(before.shape)):
        return False
    layer.data[index] = pixels.reshape(before.shape)
    return True


def renumber(layer: Labels, edit: ClassEdit) -> None:
    """Give the labels of a layer the numbers after an edit: in chunks as they are read, in an array now."""
    table = edit.of_results().table(layer.data.dtype)
    for pixels in layer.data if layer.multiscale else (layer.data,):
        if isinstance(pixels, ChunkedArray):
            pixels.look_up(table)
        else:
            for plane in np.ndindex(pixels.shape[:-2]):
                _renumber_plane(pixels[plane], table)


def _renumber_plane(pixels: npt.NDArray[Any], table: npt.NDArray[Any]) -> None:
    step = max(1, _AT_ONCE // pixels.shape[1])
    for start in range(0, len(pixels), step):
        pixels[start : start + step] = table.take(pixels[start : start + step])


def add(layer: Image, other: Image) -> None:
    """Add the values of another layer of the same shape, be either a plain one or a pyramid."""
    if not layer.multiscale:
        layer.data[...] += np.asarray(other.data[0] if other.multiscale else other.data)
        return
    for level, pixels in enumerate(layer.data):
        step = 2**level
        more = other.data[level] if other.multiscale else other.data[..., ::step, ::step]
        if isinstance(pixels, ChunkedArray):
            pixels.add(more)
        else:
            pixels += np.asarray(more)


def _put_level(pixels: Any, level: int, done: TileDone, values: npt.NDArray[Any], changed: list[int]) -> None:
    """Every 2**level-th row and column of a tile, counted from the image's corner, as files do it.

    The level goes to `changed` if that changes it.
    """
    step = 2**level
    if done.cell > 1 and done.tile.pixels > MOST_SKETCHED * step**2:
        return
    (top, bottom), (left, right) = done.tile.rows, done.tile.columns
    rows, columns = (np.arange(-(-a // step), -(-b // step)) for a, b in ((top, bottom), (left, right)))
    if not (rows.size and columns.size):
        return
    if done.cell == 1:
        picked = values[rows[0] * step - top :: step, columns[0] * step - left :: step]
    else:
        cells = (rows * step - top) // done.cell, (columns * step - left) // done.cell
        picked = values[cells[0][:, None], cells[1]]
    index = (*done.tile.plane, slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    before = pixels[index]
    if done.kept:
        _spare(picked, before, done, int(rows[0]), int(columns[0]), step)
    if not np.array_equal(before, picked):
        changed.append(level)
        pixels[index] = picked


def _spare(
    values: npt.NDArray[Any], before: npt.NDArray[Any], done: TileDone, top: int, left: int, step: int
) -> None:
    """Put back what was there of the tiles that a sketch leaves as they are."""
    for tile in done.kept:
        rows, columns = (
            slice(max(0, -(-start // step) - first), max(0, -(-stop // step) - first))
            for (start, stop), first in ((tile.rows, top), (tile.columns, left))
        )
        values[rows, columns] = before[rows, columns]
