"""Arrays of zeros kept in chunks, those only that were written, and the least used of them in a file."""

from __future__ import annotations

import math
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from itertools import product
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
    read, never mapped: a mapped file on a disk that fills up would kill the process.

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
        self._recent: OrderedDict[_Chunk, None] = OrderedDict()
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
            If the file cannot be written; the chunks stay in memory.
        """
        if chunk in self._recent:
            self._recent.move_to_end(chunk)
            return
        self._recent[chunk] = None
        self._used += chunk.size
        while self._used > self._most_bytes and len(self._recent) > 1:
            oldest = next(iter(self._recent))
            self._write(oldest)
            del self._recent[oldest]
            self._used -= oldest.size
            oldest.values = None

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
        offset = self._end if chunk.offset is None else chunk.offset
        self._file.seek(offset)
        assert chunk.values is not None
        data = memoryview(np.ascontiguousarray(chunk.values).tobytes())
        while data:
            data = data[self._file.write(data) :]
        if chunk.offset is None:
            self._end += chunk.size
        chunk.offset, chunk.written = offset, True


class _Chunk:
    """One chunk: in memory, in the file, or both."""

    __slots__ = ("__weakref__", "dtype", "frozen", "offset", "shape", "size", "values", "written")

    def __init__(self, values: npt.NDArray[Any]) -> None:
        self.values: npt.NDArray[Any] | None = values
        self.shape, self.dtype, self.size = values.shape, values.dtype, values.nbytes
        self.offset: int | None = None
        self.written = False  # the file holds the same
        self.frozen = False  # a snapshot reads it


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
            If chunks do not fit into memory and cannot be written to the file; the window is written.
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
                if chunk is None or chunk.frozen:
                    edges = (1,) * (self.ndim - 2) + (CHUNK, CHUNK)
                    old = np.zeros(edges, self.dtype) if chunk is None else self._values(chunk).copy()
                    chunk = self._chunks[place] = _Chunk(old)
                own = self._values(chunk)
                own[inner] = part
                chunk.written = False
                try:
                    self._store.touch(chunk)
                except OSError as error:
                    problem = error
        if problem is not None:
            raise problem

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> npt.NDArray[Any]:
        whole: npt.NDArray[Any] = self[...]
        return whole if dtype is None else whole.astype(dtype)

    def apply(self, function: Callable[[npt.NDArray[Any]], npt.NDArray[Any]]) -> None:
        """Put every value through a function of values alone, which leaves 0 as it is."""
        for place in list(self._chunks):
            corner = place[-2] * CHUNK, place[-1] * CHUNK
            window = (*place[:-2], *(slice(start, start + CHUNK) for start in corner))
            self[window] = function(self[window])

    def add(self, other: ChunkedArray) -> None:
        """Add the values of another array of the same shape."""
        for place in set(self._chunks) | set(other._chunks):
            corner = place[-2] * CHUNK, place[-1] * CHUNK
            window = (*place[:-2], *(slice(start, start + CHUNK) for start in corner))
            self[window] = self[window] + other[window]

    def copy(self) -> ChunkedArray:
        """The array as it is now; what is written later does not change it."""
        other = ChunkedArray(self.shape, self.dtype, self._store)
        with self._store.lock:
            for chunk in self._chunks.values():
                chunk.frozen = True
            other._chunks = dict(self._chunks)
        return other

    def _values(self, chunk: _Chunk) -> npt.NDArray[Any]:
        if chunk.values is None:
            chunk.values = self._store.read(chunk)
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
