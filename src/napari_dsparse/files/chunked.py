"""Arrays of zeros kept in chunks, those only that were written, and the least used of them in a file."""

from __future__ import annotations

import math
import tempfile
import threading
import weakref
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, suppress
from itertools import count, islice, product
from pathlib import Path
from typing import IO, Any, TypeAlias

import numpy as np
import numpy.typing as npt

#: Edge of a chunk in pixels.
CHUNK = 512

#: Plane, row and column of a chunk.
_Place: TypeAlias = tuple[int, ...]


class ChunkStore:
    """Memory for the chunks of some arrays, and a file for those that do not fit into it.

    The file has no name, so that the system removes it with the process, however that ends. It is written and
    read, never mapped: a mapped file on a disk that fills up would kill the process. Chunks that nobody has
    any more leave their place in memory and in the file to others.

    Parameters
    ----------
    most_bytes : int
        Bytes of chunks that are kept in memory.
    folder : Path
        Folder of the file, which is made with the first chunk that goes there.
    """

    def __init__(self, most_bytes: int, folder: Path) -> None:
        self._most_bytes = most_bytes
        self._folder = folder
        self._file: IO[bytes] | None = None
        self._end = 0
        self._used = 0
        self._recent: OrderedDict[int, weakref.ref[_Chunk]] = OrderedDict()
        self._free: dict[int, list[int]] = {}  # offsets in the file, by size
        #: Key, size and offset of chunks that are gone; appended to in any thread, without the lock.
        self.gone: deque[tuple[int, int, int | None]] = deque()
        self.lock = threading.RLock()

    @property
    def file_bytes(self) -> int:
        """Size of the file."""
        return self._end

    def touch(self, chunk: _Chunk) -> None:
        """Count a chunk, which is in memory, as used last; others go to the file if there are too many.

        Raises
        ------
        OSError
            If too many stay in memory, as the file cannot be written.
        """
        self._clear_gone()
        if chunk.key not in self._recent:
            self._recent[chunk.key] = weakref.ref(chunk)
            self._used += chunk.size
        self._recent.move_to_end(chunk.key)
        if self._used > self._most_bytes:
            self._make_room(chunk)

    def _make_room(self, kept: _Chunk) -> None:
        problem: OSError | None = None
        for key in self._oldest():
            chunk = self._recent[key]()
            if chunk is kept or self._used <= self._most_bytes:
                break
            if chunk is None or (problem is not None and not chunk.written):
                continue
            try:
                self._write(chunk)
            except OSError as error:
                problem = error
                continue
            del self._recent[key]
            self._used -= chunk.size
            chunk.values = None
        if problem is not None and self._used > self._most_bytes:
            raise problem

    def _oldest(self) -> Iterator[int]:
        yield from list(islice(self._recent, 8))  # mostly one is enough, of many thousands
        yield from list(self._recent)

    def _clear_gone(self) -> None:
        while self.gone:
            key, size, offset = self.gone.popleft()
            if self._recent.pop(key, None) is not None:
                self._used -= size
            if offset is not None:
                self._free.setdefault(size, []).append(offset)

    def read(self, chunk: _Chunk) -> npt.NDArray[Any]:
        """Values of a chunk that is in the file."""
        assert self._file is not None
        assert chunk.offset is not None
        values = np.empty(chunk.shape, chunk.dtype)
        self._file.seek(chunk.offset)
        data = self._file.read(chunk.size)
        if len(data) != chunk.size:
            raise OSError(f"The file of large results ends too early, at {self._end} bytes.")
        values.reshape(-1).view(np.uint8)[:] = np.frombuffer(data, np.uint8)
        return values

    def _write(self, chunk: _Chunk) -> None:
        if chunk.written:
            return
        if self._file is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._file = tempfile.TemporaryFile(dir=self._folder, buffering=0)  # noqa: SIM115
        free = self._free.get(chunk.size, [])
        offset = chunk.offset if chunk.offset is not None else free[-1] if free else self._end
        self._file.seek(offset)
        assert chunk.values is not None
        data = memoryview(np.ascontiguousarray(chunk.values).tobytes())
        while data:
            data = data[self._file.write(data) :]
        if offset == self._end:
            self._end += chunk.size
        elif chunk.offset is None:
            free.pop()
        chunk.offset, chunk.written = offset, True


class _Chunk:
    """One chunk: in memory, in the file, or both."""

    __slots__ = (
        "__weakref__", "dtype", "frozen", "gone", "key", "offset", "shape", "size", "values", "written"
    )  # fmt: skip
    _keys = count()

    def __init__(self, values: npt.NDArray[Any], store: ChunkStore) -> None:
        self.key, self.gone = next(self._keys), store.gone
        self.values: npt.NDArray[Any] | None = values
        self.shape, self.dtype, self.size = values.shape, values.dtype, values.nbytes
        self.offset: int | None = None
        self.written = False  # the file holds the same
        self.frozen = False  # a snapshot reads it, or has

    def __del__(self) -> None:
        self.gone.append((self.key, self.size, self.offset))


class ChunkedArray:
    """An array of zeros, (..., Y, X), of which only chunks that were written take memory.

    It is indexed with integers, slices and `...`, and written without steps; what is read is a copy.

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
        self._store = store
        self._chunks: dict[_Place, _Chunk] = {}

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
        """A copy of a window."""
        spans, dropped, steps = self._spans(index)
        found = np.zeros([stop - start for start, stop in spans], self.dtype)
        with self._store.lock:
            for place, inner, outer in self._parts(spans):
                chunk = self._chunks.get(place)
                if chunk is not None:
                    found[outer] = self._values(chunk)[inner]
        return found[tuple(0 if i in dropped else slice(None, None, step) for i, step in enumerate(steps))]

    def __setitem__(self, index: Any, values: Any) -> None:
        """Write a window.

        Raises
        ------
        OSError
            If chunks do not fit into memory and cannot be written to the file; the window is written, all of
            it that lies in chunks that can be read.
        """
        spans, dropped, steps = self._spans(index)
        if any(step != 1 for step in steps):
            raise IndexError(f"The index {index} has steps; chunks are written without.")
        shape = tuple(stop - start for start, stop in spans)
        kept = tuple(n for axis, n in enumerate(shape) if axis not in dropped)
        block = np.broadcast_to(np.asarray(values, self.dtype), kept).reshape(shape)
        problem: OSError | None = None
        with self._store.lock:
            for place, inner, outer in self._parts(spans):
                chunk = self._chunks.get(place)
                part = block[outer]
                if chunk is None and not part.any():
                    continue
                try:
                    if chunk is None or chunk.frozen:
                        edges = (1,) * (self.ndim - 2) + (CHUNK, CHUNK)
                        old = np.zeros(edges, self.dtype) if chunk is None else self._values(chunk).copy()
                        chunk = self._chunks[place] = _Chunk(old, self._store)
                    self._values(chunk)[inner] = part
                    chunk.written = False
                    self._store.touch(chunk)
                except OSError as error:
                    problem = error
        if problem is not None:
            raise problem

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> npt.NDArray[Any]:
        whole: npt.NDArray[Any] = self[...]
        return whole if dtype is None else whole.astype(dtype)

    def apply(self, function: Callable[[npt.NDArray[Any]], npt.NDArray[Any]]) -> None:
        """Put every value through a function of values alone, which leaves 0 as it is.

        Raises
        ------
        OSError
            As on writing, after all chunks.
        """
        self._change(list(self._chunks), lambda values, window: function(values))

    def add(self, other: ChunkedArray | npt.NDArray[Any]) -> None:
        """Add the values of another array of the same shape.

        Raises
        ------
        OSError
            As on writing, after all chunks.
        """
        if isinstance(other, ChunkedArray):
            places = set(self._chunks) | set(other._chunks)
        else:
            places = {place for place, _, _ in self._parts([(0, n) for n in self.shape])}
        self._change(places, lambda values, window: values + other[window])

    def copy(self) -> ChunkedArray:
        """The array as it is now; what is written later does not change it."""
        other = ChunkedArray(self.shape, self.dtype, self._store)
        with self._store.lock:
            for chunk in self._chunks.values():
                chunk.frozen = True
            other._chunks = dict(self._chunks)
        return other

    def _change(
        self, places: Iterable[_Place], function: Callable[[npt.NDArray[Any], Any], npt.NDArray[Any]]
    ) -> None:
        def change(place: _Place) -> None:
            corner = place[-2] * CHUNK, place[-1] * CHUNK
            window = (*place[:-2], *(slice(start, start + CHUNK) for start in corner))
            self[window] = function(self[window], window)

        with ExitStack() as all_of_them:  # a stack goes on though one fails, and raises in the end
            for place in places:
                all_of_them.callback(change, place)

    def _values(self, chunk: _Chunk) -> npt.NDArray[Any]:
        if chunk.values is None:
            chunk.values = self._store.read(chunk)
            with suppress(OSError):  # of writing others: this one was read, and the next write says it
                self._store.touch(chunk)
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
        self, spans: list[tuple[int, int]]
    ) -> Iterator[tuple[_Place, tuple[slice, ...], tuple[slice, ...]]]:
        """Of a window: each chunk that it touches, its part in the chunk, and that part in the window."""
        edges = [1] * (self.ndim - 2) + [CHUNK, CHUNK]
        ranges = (
            range(a // e, -(-b // e)) if b > a else range(0) for (a, b), e in zip(spans, edges, strict=True)
        )
        for place in product(*ranges):
            inner, outer = [], []
            for number, edge, (start, stop) in zip(place, edges, spans, strict=True):
                first, last = max(start, number * edge), min(stop, (number + 1) * edge)
                inner.append(slice(first - number * edge, last - number * edge))
                outer.append(slice(first - start, last - start))
            yield place, tuple(inner), tuple(outer)
