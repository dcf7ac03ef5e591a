"""Strokes on planes too large for a plain Labels layer: a pyramid of chunks that can be painted on.

napari draws a plain layer as a whole, and paints on no pyramid. This layer shows what is on screen of the
level that fits, as any pyramid does, and paints on the finest one; the coarser ones follow.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import product
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt
from napari.layers import Labels

# Private, as napari tells pyramids by this class; there is no other way to be one that can be written to.
from napari.layers._multiscale_data import MultiScaleData
from napari.utils.notifications import show_warning

from napari_dsparse.files.chunk_store import chunk_store
from napari_dsparse.files.chunked import CHUNK, ChunkedArray, is_large
from napari_dsparse.images.painted import blocks

if TYPE_CHECKING:
    from napari_dsparse.gui.layers.image_frame import ImageFrame

#: Pixels that one dab of the brush, one polygon or one use of the bucket may reach over.
MOST_AT_ONCE = 1 << 24
#: Rows and columns of the coarsest level, at most.
COARSEST = 1024

Window = tuple[slice, ...]


def needs_large_strokes(frame: ImageFrame) -> bool:
    """True if strokes on this image are kept sparse."""
    return frame.kept_axis is None and is_large(frame.layer_shape)


def sparse_strokes(frame: ImageFrame, painted: Any = None) -> StrokesPyramid:
    """Strokes for an image, with a copy of what is `painted` already, an array of the frame's layer shape."""
    if isinstance(painted, ChunkedArray):
        return StrokesPyramid(painted.copy())
    finest = ChunkedArray(frame.layer_shape, np.uint8 if painted is None else painted.dtype, chunk_store())
    for corner, values in () if painted is None else blocks(painted):
        finest[_window(corner, values.shape)] = values[(None,) * (finest.ndim - 2)]
    return StrokesPyramid(finest)


class StrokesPyramid(MultiScaleData):
    """Levels of strokes, finest first; indexed with pixels it is the finest, and written it writes them all.

    A coarser pixel has the largest number of the four below it, so that thin strokes are seen from afar.

    Parameters
    ----------
    finest : ChunkedArray
    """

    def __init__(self, finest: ChunkedArray) -> None:
        rows, columns = finest.shape[-2:]
        levels: list[Any] = [finest]
        while len(levels) == 1 or max(rows, columns) > COARSEST:
            rows, columns = -(-rows // 2), -(-columns // 2)
            levels.append(ChunkedArray((*finest.shape[:-2], rows, columns), finest.dtype, finest.store))
        if finest.ndim == 2:
            # napari keeps what `np.asarray` makes of this level, which for an array is the array itself.
            levels[-1] = np.zeros(levels[-1].shape, finest.dtype)
        super().__init__(levels)
        self._snapshot: ChunkedArray | None = None
        self._behind: dict[tuple[int, ...], list[tuple[int, int]]] = {}  # spans in chunks, by their places
        for corner, values in finest.painted():
            self._note(_window(corner, values.shape))

    @property
    def finest(self) -> ChunkedArray:
        """The strokes themselves."""
        level: ChunkedArray = self._data[0]
        return level

    def snapshot(self) -> ChunkedArray:
        """The strokes as they are now; the same object as before where nothing was painted since."""
        if self._snapshot is None or not self._snapshot.is_same(self.finest):
            self._snapshot = self.finest.copy()
        return self._snapshot

    def __getitem__(self, key: Any) -> Any:
        if not isinstance(key, int | np.integer | slice):
            return self.finest[key]
        if isinstance(key, slice) or key != 0:  # napari asks for the finest at every dab, for its type
            self._catch_up()
        return self._data[key]

    def __iter__(self) -> Iterator[Any]:
        self._catch_up()
        return iter(self._data)

    def __setitem__(self, key: Any, values: Any) -> None:
        self.finest[key] = values
        for window in self._touched(key):
            self._note(window)

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> npt.NDArray[Any]:
        return np.asarray(self.finest, dtype)

    def _touched(self, key: Any) -> Iterator[Window]:
        """Windows that hold all that an index names."""
        parts = key if isinstance(key, tuple) else (key,)
        if not any(isinstance(part, np.ndarray) for part in parts):
            lengths = zip(parts, self.shape, strict=False)
            yield tuple(_as_slice(part, length) for part, length in lengths)
            return
        edges = [1] * (self.ndim - 2) + [CHUNK, CHUNK]
        places = np.unique(np.stack([axis // e for axis, e in zip(parts, edges, strict=True)]), axis=1)
        for place in places.T:
            yield tuple(slice(int(n) * e, (int(n) + 1) * e) for n, e in zip(place, edges, strict=True))

    def _note(self, window: Window) -> None:
        """Let the coarser levels follow in a window of the finest one, once they are looked at."""
        edges = [1] * (self.ndim - 2) + [CHUNK, CHUNK]
        ranges = [range(part.start // e, -(-part.stop // e)) for part, e in zip(window, edges, strict=True)]
        for place in product(*ranges):
            own = [
                (max(part.start, n * e), min(part.stop, (n + 1) * e))
                for n, part, e in zip(place, window, edges, strict=True)
            ]
            known = self._behind.get(place, own)
            self._behind[place] = [(min(a, c), max(b, d)) for (a, b), (c, d) in zip(own, known, strict=True)]

    def _catch_up(self) -> None:
        behind, self._behind = self._behind, {}
        for spans in behind.values():
            self._follow(tuple(slice(start, stop) for start, stop in spans))

    def _follow(self, window: Window) -> None:
        """Bring what lies above a window of the finest level up to date."""
        *planes, rows, columns = window
        for finer, coarser in zip(self._data, self._data[1:], strict=False):
            above = [
                slice(part.start // 2, min(-(-part.stop // 2), length))
                for part, length in zip((rows, columns), coarser.shape[-2:], strict=True)
            ]
            below = finer[(*planes, *(slice(2 * part.start, 2 * part.stop) for part in above))]
            missing = [(0, 0)] * len(planes) + [
                (0, 2 * (part.stop - part.start) - length)
                for part, length in zip(above, below.shape[-2:], strict=True)
            ]
            even = np.pad(below, missing) if any(any(ends) for ends in missing) else below
            halved = np.maximum(even[..., ::2, :], even[..., 1::2, :])
            coarser[(*planes, *above)] = np.maximum(halved[..., ::2], halved[..., 1::2])
            rows, columns = above


def _pick_class(layer: LargeStrokes, event: Any) -> None:
    """Choose the class under the cursor: napari's own tool cannot read a pyramid's."""
    value = layer.get_value(
        event.position, view_direction=event.view_direction, dims_displayed=event.dims_displayed, world=True
    )
    layer.selected_label = 0 if value is None else value[1] or 0


class LargeStrokes(Labels):
    """A Labels layer on a `StrokesPyramid`.

    Parameters
    ----------
    pyramid : StrokesPyramid
    **options
        As of napari's Labels.
    """

    #: First and last pixel on screen along every axis, at full resolution; None before it was drawn.
    on_screen: npt.NDArray[np.int64] | None = None
    #: Where it was painted, and is not shown anew yet.
    _updated_slice: Window | None

    _drag_modes: ClassVar[dict[Any, Any]] = {
        mode: _pick_class if str(mode) == "pick" else drag for mode, drag in Labels._drag_modes.items()
    }

    def __init__(self, pyramid: StrokesPyramid, **options: Any) -> None:
        super().__init__(list(pyramid), multiscale=True, **options)
        self._data = pyramid
        self._reset_editable()

    @property
    def _type_string(self) -> str:
        return "labels"

    @property
    def data(self) -> StrokesPyramid:
        """The strokes."""
        pyramid: StrokesPyramid = self._data
        return pyramid

    @data.setter
    def data(self, data: StrokesPyramid) -> None:
        self._data = data
        self._reset_data_level()
        self._reset_thumbnail_level_data()
        self._update_dims()
        self.events.data(value=data)

    # -- painting -------------------------------------------------------------------------------------------

    def paint(self, coord: Sequence[float], new_label: int, refresh: bool = True) -> None:
        """As napari's, with a brush that is not too large to be drawn."""
        if float(self.brush_size) ** 2 > MOST_AT_ONCE:
            _say_too_large("The brush")
            return
        super().paint(coord, new_label, refresh)

    def paint_polygon(self, points: Any, new_label: int) -> None:
        """As napari's, where the polygon is not too large to be drawn."""
        sides = np.ptp(np.asarray(points, dtype=float), axis=0)
        if math.prod(float(side) + 1 for side in sides) > MOST_AT_ONCE:
            _say_too_large("The polygon")
            return
        super().paint_polygon(points, new_label)

    def fill(self, coord: Sequence[float], new_label: int, refresh: bool = True) -> None:
        """As napari's, where what is filled does not reach too far."""
        at = tuple(int(np.round(c)) for c in coord)
        if any(not 0 <= where < length for where, length in zip(at, self.data.shape, strict=True)):
            return
        old = int(self.data[tuple(slice(n, n + 1) for n in at)].item())
        kept = 0 if new_label else getattr(self, "_prev_selected_label", None) or self.selected_label
        if old == new_label or (self.preserve_labels and old != kept):
            return
        axes = sorted(self._slice_input.order[-self.n_edit_dimensions :])
        if not self.contiguous:
            self._fill_all(at, old, new_label, axes, refresh)
            return
        found = _flooded(self.data.finest, at, axes)
        if found is None:
            _say_too_large("What the bucket fills here", "close its outline, or use the brush")
            return
        window, mask = found
        before = self.data[window]
        after = np.where(mask, self.data.dtype.type(new_label), before)
        self._save_history((window, before, after))
        self.data[window] = after
        self._updated_slice = window
        if refresh:
            self._partial_labels_refresh()

    def _fill_all(self, at: tuple[int, ...], old: int, new: int, axes: list[int], refresh: bool) -> None:
        """Give all pixels of one number another, in the plane, or the planes, that are edited."""
        if old == 0:
            _say_too_large("All that is not painted", "tick 'contiguous', or use the brush")
            return
        found: list[tuple[npt.NDArray[Any], ...]] = []
        for corner, values in self.data.finest.painted():
            if all(axis in axes or corner[axis] == at[axis] for axis in range(len(at) - 2)):
                rows, columns = np.nonzero(values == old)
                plane = (np.full_like(rows, number) for number in corner[:-2])
                found.append((*plane, rows + corner[-2], columns + corner[-1]))
        if found:
            self.data_setitem(tuple(map(np.concatenate, zip(*found, strict=True))), new, refresh)

    def data_setitem(self, indices: tuple[npt.NDArray[Any], ...], value: Any, refresh: bool = True) -> None:
        """As napari's: give pixels new labels, in one step of the history."""
        indices = tuple(np.asarray(axis) for axis in indices)
        before = self.data[indices]
        changed = before != value
        if not changed.any():
            return
        indices = tuple(axis[changed] for axis in indices)
        values = np.broadcast_to(np.asarray(value, self.data.dtype), changed.shape)[changed]
        self._save_history((indices, before[changed], values))
        self.data[indices] = values
        self._updated_slice = tuple(slice(int(axis.min()), int(axis.max()) + 1) for axis in indices)
        if refresh:
            self._partial_labels_refresh()

    # -- what napari does for plain layers only -------------------------------------------------------------

    def _reset_editable(self) -> None:
        self.editable = True

    def _refresh_caches_from_region(self, *args: Any, **options: Any) -> None:
        """There is nothing to patch: what is on screen is read anew."""

    def _partial_labels_refresh(self) -> None:
        """Show what was painted: send what is on screen of it, in its level, to the graphics card."""
        window, self._updated_slice = getattr(self, "_updated_slice", None), None
        shown = tuple(self._slice_input.displayed)
        if window is None or not self.loaded or self._slice.empty:
            return
        if shown != (self.ndim - 2, self.ndim - 1) or self.contour:
            self.refresh(extent=False, highlight=False, thumbnail=False)
            return
        point = np.round(self.world_to_data(self._slice_input.world_slice.point)).astype(int)
        planes = [int(n) for n in point[:-2]]
        if not all(part.start <= n < part.stop for n, part in zip(planes, window, strict=False)):
            return
        step, raw = 2**self.data_level, self._slice.image.raw
        first = np.asarray(self.corner_pixels)[0, -2:]
        spans = []
        for part, start, length in zip(window[-2:], first, raw.shape, strict=True):
            low, high = part.start // step - int(start), -(-part.stop // step) - int(start)
            spans.append(slice(max(0, low), min(high, length)))
        if any(part.start >= part.stop for part in spans):
            return
        there = (slice(s.start + int(n), s.stop + int(n)) for s, n in zip(spans, first, strict=True))
        values = np.asarray(self.data[self.data_level][(*planes, *there)])
        raw[tuple(spans)] = values
        colors = self.colormap._data_to_texture(values)
        self._slice.image.view[tuple(spans)] = colors
        self.events.labels_update(data=np.ascontiguousarray(colors), offset=[part.start for part in spans])

    def _update_level_and_corners(self, data_bbox_int: Any, shape_threshold: Any, displayed: Any) -> None:
        """Note what is on screen, as the corners of a pyramid may reach further."""
        axes, (low, high) = list(displayed), np.asarray(data_bbox_int)
        last = np.asarray(self.data.shape, np.int64) - 1
        seen = np.zeros((2, self.ndim), np.int64)
        seen[:, axes] = np.clip([low, high], 0, last[axes])
        self.on_screen = seen
        super()._update_level_and_corners(data_bbox_int, shape_threshold, displayed)

    def _get_value(self, position: Any) -> Any:
        """The label at a position, at full resolution, and the level 0, as napari says it of pyramids."""
        at = tuple(int(np.round(c)) for c in position)[-self.ndim :]
        inside = all(0 <= where < length for where, length in zip(at, self.data.shape, strict=True))
        return 0, int(self.data[tuple(slice(n, n + 1) for n in at)].item()) if inside else None


def _say_too_large(what: str, instead: str = "zoom in, or take a smaller one") -> None:
    edge = math.isqrt(MOST_AT_ONCE)
    show_warning(f"{what} reaches over more than {edge:,} x {edge:,} pixels; {instead}.")


def _window(corner: tuple[int, ...], shape: Sequence[int]) -> Window:
    """The window of a block of one plane."""
    plane = (slice(number, number + 1) for number in corner[:-2])
    sides = zip(corner[-2:], shape, strict=True)
    return (*plane, *(slice(first, first + length) for first, length in sides))


def _as_slice(part: Any, length: int) -> slice:
    if isinstance(part, slice):
        start, stop, _ = part.indices(length)
        return slice(start, stop)
    return slice(int(part) % length, int(part) % length + 1)


def _flooded(
    labels: ChunkedArray, at: tuple[int, ...], axes: Sequence[int]
) -> tuple[Window, npt.NDArray[np.bool_]] | None:
    """Pixels connected, along `axes`, to one of the same number: a window, and where in it.

    None if it may reach beyond the largest window.
    """
    from skimage.segmentation import flood

    edge = 256
    while True:
        window = tuple(
            slice(max(0, n - edge), min(length, n + edge + 1)) if axis in axes else slice(n, n + 1)
            for axis, (n, length) in enumerate(zip(at, labels.shape, strict=True))
        )
        shape = [part.stop - part.start for part in window]
        if math.prod(shape) > MOST_AT_ONCE:
            return None
        seed = tuple(n - part.start for n, part in zip(at, window, strict=True))
        mask = flood(labels[window], seed, connectivity=1)
        if not any(_reaches(mask, axis, window[axis], labels.shape[axis]) for axis in axes):
            return window, mask
        edge *= 2


def _reaches(mask: npt.NDArray[np.bool_], axis: int, part: slice, length: int) -> bool:
    """True if what was found touches an end of the window that is none of the image."""
    first, last = np.take(mask, 0, axis), np.take(mask, -1, axis)
    return bool((part.start > 0 and first.any()) or (part.stop < length and last.any()))
