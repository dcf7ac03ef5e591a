"""Memory for chunks of arrays, and a file for those that do not fit into it."""

from __future__ import annotations

import tempfile
import threading
import weakref
from collections import OrderedDict, deque
from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from napari_dsparse.machine.memory import free_memory
from napari_dsparse.machine.user_folder import user_folder

#: Share of the free memory that all chunks in memory may take.
MEMORY_SHARE = 0.25


def chunk_store() -> ChunkStore:
    """A store for what is computed of an image, or painted on it, in this user's folder."""
    return ChunkStore(int(free_memory() * MEMORY_SHARE), user_folder() / "large results")


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
        self._recent: OrderedDict[int, weakref.ref[Chunk]] = OrderedDict()
        self._free: dict[int, list[int]] = {}  # offsets in the file, by size
        #: Key, size and offset of chunks that are gone; appended to in any thread, without the lock.
        self.gone: deque[tuple[int, int, int | None]] = deque()
        self.lock = threading.RLock()

    @property
    def file_bytes(self) -> int:
        """Size of the file."""
        return self._end

    def touch(self, chunk: Chunk) -> None:
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

    def _make_room(self, kept: Chunk) -> None:
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

    def read(self, chunk: Chunk) -> npt.NDArray[Any]:
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

    def _write(self, chunk: Chunk) -> None:
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


class Chunk:
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
