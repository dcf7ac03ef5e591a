"""Arrays of zeros kept in chunks, those only that were written, and the least used of them in a file."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from itertools import product
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from napari_dsparse.files.chunk_store import Chunk, ChunkStore

#: Edge of a chunk in pixels.
CHUNK = 512
#: Pixels of a plane, and of all planes together, from which on strokes are kept in chunks: a plain array is
#: copied, scanned and drawn as a whole after every stroke, which at this size begins to be felt.
LARGE_PLANE, LARGE_STACK = 1 << 25, 1 << 28

#: Plane, row and column of a chunk.
_Place: TypeAlias = tuple[int, ...]
#: Makes values of a window new ones, of the same shape.
_Change: TypeAlias = Callable[[npt.NDArray[Any], tuple[slice, ...]], npt.NDArray[Any]]


def is_large(shape: Sequence[int]) -> bool:
    """True if strokes on an image of that shape, (..., Y, X), are kept in chunks."""
    return math.prod(shape[-2:]) >= LARGE_PLANE or math.prod(shape) >= LARGE_STACK


def nothing_painted(shape: Sequence[int]) -> ChunkedArray:
    """Labels of 0 everywhere, which take no memory."""
    return ChunkedArray(tuple(shape), np.uint8, ChunkStore(0, Path()))


class ChunkedArray:
    """An array of zeros, (..., Y, X), of which only chunks that were written take memory.

    It is indexed with integers, slices and `...`, and written without steps; or with one array of integers
    per axis. What is read is a copy.

    Parameters
    ----------
    shape : tuple of int
    dtype : dtype
    store : ChunkStore
        Where its chunks are kept, with those of other arrays perhaps.
    """

    def __init__(self, shape: tuple[int, ...], dtype: npt.DTypeLike, store: ChunkStore) -> None:
        self.shape = tuple(int(n) for n in shape)
        self.dtype = np.dtype(dtype)
        self.store = store
        self._chunks: dict[_Place, Chunk] = {}
        self._changes: list[_Change] = []  # made of values as they are read, and kept where it is written
        self._done: dict[_Place, int] = {}  # how many of them are kept in a chunk

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of values."""
        return math.prod(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> Any:
        """A copy of a window, or of the pixels that arrays of integers name."""
        if self._names_pixels(index):
            return self._pick(index)
        spans, dropped, steps = self._spans(index)
        shape = [-(-(stop - start) // step) for (start, stop), step in zip(spans, steps, strict=True)]
        found = np.zeros(shape, self.dtype)
        with self.store.lock:
            for place, inner, outer in self._parts(spans, steps, written=True):
                found[outer] = self._current(place, inner)
        return found[tuple(0 if i in dropped else slice(None) for i in range(self.ndim))]

    def __setitem__(self, index: Any, values: Any) -> None:
        """Write a window, or the pixels that arrays of integers name.

        Raises
        ------
        OSError
            If chunks do not fit into memory and cannot be written to the file; the window is written, all of
            it that lies in chunks that can be read.
        """
        if self._names_pixels(index):
            self._put(index, np.asarray(values, self.dtype))
            return
        spans, dropped, steps = self._spans(index)
        if any(step != 1 for step in steps):
            raise IndexError(f"The index {index} has steps; chunks are written without.")
        shape = tuple(stop - start for start, stop in spans)
        kept = tuple(n for axis, n in enumerate(shape) if axis not in dropped)
        block = np.broadcast_to(np.asarray(values, self.dtype), kept).reshape(shape)
        problem: OSError | None = None
        with self.store.lock:
            for place, inner, outer in self._parts(spans, steps):
                chunk = self._chunks.get(place)
                part = block[outer]
                if chunk is None and not part.any():
                    continue
                try:
                    if chunk is None or chunk.frozen or self._done.get(place, 0) < len(self._changes):
                        old = np.zeros(self._edges, self.dtype)
                        if chunk is not None:
                            within = self._within(place)
                            old[within] = self._current(place, within)
                        chunk = self._chunks[place] = Chunk(old, self.store)
                        self._done[place] = len(self._changes)
                    self._values(chunk)[inner] = part
                    chunk.written = False
                    self.store.touch(chunk)
                except OSError as error:
                    problem = error
        if problem is not None:
            raise problem

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> npt.NDArray[Any]:
        whole: npt.NDArray[Any] = self[...]
        return whole if dtype is None else whole.astype(dtype)

    def painted(self) -> Iterator[tuple[tuple[int, ...], npt.NDArray[Any]]]:
        """Corners (..., row, column) and values of blocks, each in one plane; outside of them all is 0."""
        for place in sorted(self._chunks):
            window = self._window(place)
            values = self[window]
            if values.any():
                yield (*place[:-2], window[-2].start, window[-1].start), values

    def is_blank(self, index: Any) -> bool:
        """True if nothing was ever written in a window."""
        spans, _, steps = self._spans(index)
        return next(self._parts(spans, steps, written=True), None) is None

    def is_same(self, other: ChunkedArray) -> bool:
        """True if it has the chunks of a copy, of which none was written since."""
        mine, theirs = ((each._chunks, each._changes, each._done) for each in (self, other))
        return self.shape == other.shape and mine == theirs

    def differing(self, other: ChunkedArray) -> npt.NDArray[np.int64]:
        """Flat indices, increasing, of pixels whose values differ from another array's of the same shape."""
        found = [np.empty(0, np.int64)]
        for place in set(self._chunks) | set(other._chunks):
            changed = self._changes or other._changes
            if changed or self._chunks.get(place) is not other._chunks.get(place):
                window = self._window(place)
                inside = np.nonzero(self[window] != other[window])
                corner = (*place[:-2], window[-2].start, window[-1].start)
                rows, columns = (np.add(axis, first) for axis, first in zip(inside, corner[-2:], strict=True))
                plane = tuple(np.full_like(rows, number) for number in place[:-2])
                found.append(np.ravel_multi_index((*plane, rows, columns), self.shape).astype(np.int64))
        return np.sort(np.concatenate(found))

    def apply(self, function: Callable[[npt.NDArray[Any]], npt.NDArray[Any]]) -> None:
        """Put every value through a function of values alone, which leaves 0 as it is.

        Raises
        ------
        OSError
            As on writing, after all chunks.
        """

        def change(place: _Place) -> None:
            window = self._window(place)
            self[window] = function(self[window])

        with ExitStack() as all_of_them:  # a stack goes on though one fails, and raises in the end
            for place in list(self._chunks):
                all_of_them.callback(change, place)

    def look_up(self, table: npt.NDArray[Any]) -> None:
        """Make every value the entry of `table` at it; 0 stays 0. Values change as they are read: at once."""
        self._change_later(lambda values, window: table.take(values))

    def add(self, other: ChunkedArray | npt.NDArray[Any]) -> None:
        """Add the values of another array of the same shape, as they are now, at the time that they are read.

        Parameters
        ----------
        other : ChunkedArray or ndarray
            An ndarray must not be written to from then on.
        """
        if isinstance(other, ChunkedArray):
            more: Any = other.copy()
            places: Iterable[_Place] = more._chunks
        else:
            more, whole = other, [(0, n) for n in self.shape]
            places = (place for place, _, _ in self._parts(whole, [1] * self.ndim))
        nothing = Chunk(np.zeros(self._edges, self.dtype), self.store)
        nothing.frozen = True
        with self.store.lock:
            for place in places:
                if place not in self._chunks:
                    self._chunks[place], self._done[place] = nothing, len(self._changes)
            self._change_later(lambda values, window: values + more[window])

    def copy(self) -> ChunkedArray:
        """The array as it is now; what is written later does not change it."""
        other = ChunkedArray(self.shape, self.dtype, self.store)
        with self.store.lock:
            for chunk in self._chunks.values():
                chunk.frozen = True
            other._chunks = dict(self._chunks)
            other._changes, other._done = list(self._changes), dict(self._done)
        return other

    def _change_later(self, change: _Change) -> None:
        with self.store.lock:
            self._changes.append(change)

    @staticmethod
    def _window(place: _Place) -> tuple[Any, ...]:
        return (*place[:-2], *(slice(number * CHUNK, (number + 1) * CHUNK) for number in place[-2:]))

    def _names_pixels(self, index: Any) -> bool:
        return (
            isinstance(index, tuple)
            and len(index) == self.ndim
            and all(isinstance(axis, np.ndarray) and axis.ndim == 1 for axis in index)
        )

    def _pick(self, index: tuple[npt.NDArray[Any], ...]) -> npt.NDArray[Any]:
        found = np.zeros(np.broadcast(*index).shape, self.dtype)
        with self.store.lock:
            for place, chosen, inner in self._sorted_by_chunk(index):
                if place in self._chunks:
                    found[chosen] = self[self._window(place)][inner[-2:]]
        return found

    def _put(self, index: tuple[npt.NDArray[Any], ...], values: npt.NDArray[Any]) -> None:
        values = np.broadcast_to(values, np.broadcast(*index).shape)

        def put(place: _Place, chosen: npt.NDArray[Any], inner: tuple[Any, ...]) -> None:
            window = self._window(place)
            block = self[window]
            block[inner[-2:]] = values[chosen]
            self[window] = block

        with ExitStack() as all_of_them:
            for part in self._sorted_by_chunk(index):
                all_of_them.callback(put, *part)

    def _sorted_by_chunk(
        self, index: tuple[npt.NDArray[Any], ...]
    ) -> Iterator[tuple[_Place, npt.NDArray[np.intp], tuple[Any, ...]]]:
        """Of named pixels: each chunk with some, which they are, and their places in the chunk."""
        axes = [np.asarray(axis) for axis in np.broadcast_arrays(*index)]
        for axis, (where, length) in enumerate(zip(axes, self.shape, strict=True)):
            if where.size and not (-length <= where.min() and where.max() < length):
                raise IndexError(f"Indices {where.min()} to {where.max()} go beyond axis {axis} of {length}.")
        axes = [where % length for where, length in zip(axes, self.shape, strict=True)]
        edges = self._edges
        places = np.stack([where // edge for where, edge in zip(axes, edges, strict=True)])
        if not places.size:
            return
        grid = [-(-length // edge) for length, edge in zip(self.shape, edges, strict=True)]
        numbers = np.ravel_multi_index(tuple(places), grid)
        order = np.argsort(numbers, kind="stable")
        starts = np.flatnonzero(np.diff(numbers[order], prepend=-1))
        for chosen in np.split(order, starts[1:]):
            place = tuple(int(n) for n in places[:, chosen[0]])
            inner = tuple(where[chosen] % edge for where, edge in zip(axes, edges, strict=True))
            yield place, chosen, inner

    def _current(self, place: _Place, inner: tuple[slice, ...]) -> npt.NDArray[Any]:
        """Values of a part of a chunk, with the changes that it does not hold yet."""
        values = self._values(self._chunks[place])[inner]
        changes = self._changes[self._done.get(place, 0) :]
        if changes:
            corner = [number * edge for number, edge in zip(place, self._edges, strict=True)]
            pairs = zip(corner, inner, strict=True)
            window = tuple(slice(c + part.start, c + part.stop, part.step) for c, part in pairs)
            for change in changes:
                values = change(values, window)
        return values

    def _within(self, place: _Place) -> tuple[slice, ...]:
        """The part of a chunk that lies in the array."""
        ends = zip(place, self._edges, self.shape, strict=True)
        return tuple(slice(0, min(edge, length - number * edge)) for number, edge, length in ends)

    @property
    def _edges(self) -> list[int]:
        return [1] * (self.ndim - 2) + [CHUNK, CHUNK]

    def _values(self, chunk: Chunk) -> npt.NDArray[Any]:
        if chunk.values is None:
            chunk.values = self.store.read(chunk)
            with suppress(OSError):  # of writing others: this one was read, and the next write says it
                self.store.touch(chunk)
        return chunk.values

    def _spans(self, index: Any) -> tuple[list[tuple[int, int]], set[int], list[int]]:
        """(start, stop) along every axis, the axes that an integer drops, and the steps."""
        given = list(index) if isinstance(index, tuple) else [index]
        at = next((i for i, part in enumerate(given) if part is Ellipsis), len(given))
        given[at : at + 1] = [slice(None)] * (self.ndim - len(given) + (at < len(given)))
        spans, dropped, steps = [], set(), []
        for axis, (part, length) in enumerate(zip(given, self.shape, strict=True)):
            if isinstance(part, slice):
                start, stop, step = part.indices(length)
                if step < 1:
                    raise IndexError(f"Axis {axis} is indexed with a step of {step}; give 1 or more.")
                spans.append((start, max(start, stop)))
                steps.append(step)
            else:
                where = int(part)
                if not -length <= where < length:
                    raise IndexError(f"Index {where} is beyond axis {axis} of length {length}.")
                spans.append((where % length, where % length + 1))
                steps.append(1)
                dropped.add(axis)
        return spans, dropped, steps

    def _parts(
        self, spans: list[tuple[int, int]], steps: list[int], *, written: bool = False
    ) -> Iterator[tuple[_Place, tuple[slice, ...], tuple[slice, ...]]]:
        """Of a window: each chunk that it touches, its part in the chunk, and that part in the window.

        With `written`, of the chunks that were written only.
        """
        edges = self._edges
        ranges = [
            range(a // e, -(-b // e)) if b > a else range(0) for (a, b), e in zip(spans, edges, strict=True)
        ]
        places: Iterable[_Place] = product(*ranges)
        if written and math.prod(map(len, ranges)) > len(self._chunks):
            pairs = [(place, zip(place, ranges, strict=True)) for place in list(self._chunks)]
            places = [place for place, each in pairs if all(number in inside for number, inside in each)]
        elif written:
            places = [place for place in places if place in self._chunks]
        for place in places:
            inner, outer = [], []
            for number, edge, (start, stop), step in zip(place, edges, spans, steps, strict=True):
                corner = number * edge
                first = max(start, corner + (start - corner) % step)
                last = min(stop, corner + edge)
                inner.append(slice(first - corner, max(first, last) - corner, step))
                outer.append(slice((first - start) // step, max(0, -(-(last - start) // step))))
            yield place, tuple(inner), tuple(outer)
