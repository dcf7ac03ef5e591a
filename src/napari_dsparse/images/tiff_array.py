"""Pixels of a TIFF, read from its strips and tiles window by window: nothing is mapped, nothing read whole.

A mapped file that is cut short meanwhile kills the process (SIGBUS); one that is read raises OSError.
"""

from __future__ import annotations

import math
import struct
import threading
import zlib
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np
import numpy.typing as npt
import tifffile

from napari_dsparse.images.boxes import Box, box_of, overlap
from napari_dsparse.machine.memory import MOST_SEGMENTS

#: Files of a set that are open at a time.
_OPEN_FILES = 16

#: Rows are read one by one where at most this share of each is wanted and a row has this many bytes.
_NARROW_SHARE, _LONG_ROW = 0.25, 2**14

#: Compressions whose tables stand outside the strips: old and new JPEG, and two of cameras.
_JPEG = (6, 7, 33007, 34892)

#: What decoders raise for damaged strips and tiles.
_DECODING = (
    RuntimeError,
    ValueError,
    TypeError,
    LookupError,
    zlib.error,
    struct.error,
    tifffile.TiffFileError,
)


class TiffArray:
    """One series of a TIFF as an array that is sliced with numpy's basic indices.

    Several threads may read it. A window costs the strips and tiles it touches, or only its rows where these
    stand one after another.

    Parameters
    ----------
    series : tifffile.TiffPageSeries
        One that `fits`, of a file that is open; what is needed to read later is kept of it.
    drop_last_sample : bool
        True if the last of the samples of a pixel, its transparency, is left out.
    invert : bool
        True to turn values round, as min-is-white means it.

    Raises
    ------
    OSError
        On reading: a file is gone, ends too early, or holds what cannot be decoded.
    """

    def __init__(self, series: Any, *, drop_last_sample: bool = False, invert: bool = False) -> None:
        page = series.keyframe
        stored = tuple(int(n) for n in series.shape)
        self._page_shape = tuple(int(n) for n in page.shape)
        self._outer = stored[: len(stored) - len(self._page_shape)]
        self._readers: list[_Reader] = []
        self._pages = self._find_pages(series)
        self._fill = page.nodata
        shape = list(stored)
        if drop_last_sample:
            shape[series.axes.index("S")] -= 1
        self._shape = tuple(shape)
        self._white = 2 ** int(page.bitspersample) - 1 if invert else None
        self.dtype: np.dtype[Any] = np.dtype(series.dtype).newbyteorder("=")

    @staticmethod
    def fits(series: Any) -> bool:
        """True if a series is whole pages that are stacked along its first axes, as nearly all are."""
        page = series.keyframe
        inner, shape = tuple(page.shape), tuple(series.shape)
        if page.dtype is None or len(inner) != len(page.chunked) or shape[-len(inner) :] != inner:
            return False
        return len(series.pages) == int(np.prod(shape[: -len(inner)], dtype=np.int64))

    def keep_at_most(self, size: int) -> None:
        """Keep at most `size` bytes of decoded strips and tiles; those of the last window always."""
        decoding = self._decoding
        for reader in decoding:
            reader.kept_bytes = size // len(decoding)

    def close(self) -> None:
        """Close its files until it is read again."""
        for reader in self._readers:
            reader._files.close()

    @property
    def part_bytes(self) -> int:
        """Bytes of a strip or tile, decoded in one piece; 0 where rows are read as they stand."""
        return max((reader.part_bytes for reader in self._decoding), default=0)

    @property
    def _decoding(self) -> list[_Segments]:
        return [reader for reader in self._readers if isinstance(reader, _Segments)]

    @property
    def shape(self) -> tuple[int, ...]:
        """Pixels along each axis."""
        return self._shape

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self._shape)

    def __len__(self) -> int:
        return self._shape[0]

    def __getitem__(self, index: Any) -> npt.NDArray[Any]:
        box, picks = box_of(index, self._shape)
        pixels = self._read(box)
        if self._white is not None:
            pixels = ~pixels if pixels.dtype.kind == "b" else pixels.dtype.type(self._white) - pixels
        picked: npt.NDArray[Any] = pixels[picks]
        return picked

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> npt.NDArray[Any]:
        pixels = self[...]
        return pixels if dtype is None else pixels.astype(dtype, copy=False)

    def _read(self, box: Box) -> npt.NDArray[Any]:
        """A new array of the box, in native byte order."""
        outer = len(self._outer)
        out = np.full([stop - start for start, stop in box], self._fill, self.dtype)
        if out.size:
            for position in product(*(range(start, stop) for start, stop in box[:outer])):
                number = int(np.ravel_multi_index(position, self._outer)) if position else 0
                page = self._pages[number]
                if page is not None:
                    target = out[tuple(i - low for i, (low, _) in zip(position, box, strict=False))]
                    self._readers[page.reader].fill(page, box[outer:], target)
        return out

    def stored(self) -> Iterator[tuple[int | slice, ...]]:
        """Windows of the strips and tiles that were written, one after another; the others are all fill."""
        for number, page in enumerate(self._pages):
            if page is not None:
                position = tuple(int(n) for n in np.unravel_index(number, self._outer)) if self._outer else ()
                for box in self._readers[page.reader].stored(page):
                    yield (*position, *(slice(start, stop) for start, stop in box))

    def _find_pages(self, series: Any) -> list[_Page | None]:
        """Every page of a series in order; None for those that were never written."""
        first, dtype = series.keyframe, np.dtype(series.dtype)
        if series.dataoffset is not None and first.is_final and not series.is_multifile:
            # ImageJ and tifffile describe a stack that stands in one piece by its first page alone.
            self._readers = [_Rows(first, dtype)]
            path, start = Path(first.parent.filehandle.path), int(series.dataoffset)
            size = int(first.nbytes)
            return [_Page(i, path, (start + i * size,), (size,), None, 0) for i in range(len(series.pages))]
        numbers: dict[tuple[int, bool], int] = {}
        pages: list[_Page | None] = []
        for i, page in enumerate(series.pages):
            if page is None:
                pages.append(None)
                continue
            keyframe, offsets, counts = page.keyframe, tuple(page.dataoffsets), tuple(page.databytecounts)
            in_rows = bool(keyframe.is_final) and _stand_in_one(offsets, counts)
            kind = int(keyframe.hash), in_rows  # files of a set may be stored each in another way
            if kind not in numbers:
                numbers[kind] = len(self._readers)
                self._readers.append(_Rows(keyframe, dtype) if in_rows else _Segments(keyframe, dtype))
            has_tables = keyframe.compression in _JPEG
            tables = page.jpegtables if has_tables else None
            path = Path(page.parent.filehandle.path)
            pages.append(_Page(i, path, offsets, counts, tables, numbers[kind]))
        return pages


@dataclass(frozen=True, slots=True, eq=False)
class _Page:
    """Places of the strips or tiles of a page; `number` tells it from the others of its series, and `reader`
    says which of the array's readers suits it."""

    number: int
    path: Path
    offsets: tuple[int, ...]
    counts: tuple[int, ...]
    tables: bytes | None
    reader: int


def _stand_in_one(offsets: Sequence[int], counts: Sequence[int]) -> bool:
    """True if strips stand one after another; writers may put them anywhere."""
    ends = [offset + count for offset, count in zip(offsets, counts, strict=False)]
    return len(offsets) == 1 or list(offsets[1:]) == ends[:-1]


class _Files:
    """Bytes of files that are opened when needed, the last few kept open."""

    def __init__(self) -> None:
        self._open: OrderedDict[Path, BinaryIO] = OrderedDict()
        self._lock = threading.Lock()

    def read(self, path: Path, offset: int, count: int) -> bytes:
        """`count` bytes from `offset`.

        Raises
        ------
        OSError
            If the file is gone or ends before.
        """
        with self._lock:
            file = self._open.get(path)
            if file is None:
                file = self._open[path] = open(path, "rb", buffering=0)  # noqa: SIM115, closed in __del__
                if len(self._open) > _OPEN_FILES:
                    self._open.popitem(last=False)[1].close()
            self._open.move_to_end(path)
            file.seek(offset)
            found = bytearray()
            while len(found) < count:
                part = file.read(min(count - len(found), 2**30))
                if not part:
                    raise OSError(f"{path.name} ends {count - len(found)} bytes too early")
                found += part
        return bytes(found)

    def close(self) -> None:
        """Close all until they are read again."""
        with self._lock:
            while self._open:
                self._open.popitem()[1].close()

    def __del__(self) -> None:
        self.close()


class _Reader(Protocol):
    """Reads boxes of pages."""

    _files: _Files

    def stored(self, page: _Page) -> Iterator[Box]:
        """Boxes of what was written of a page."""

    def fill(self, page: _Page, box: Box, target: npt.NDArray[Any]) -> None:
        """Put the box of a page, ranges along its axes, into `target`; OSError if it cannot be read."""


class _Rows:
    """Pages whose pixels stand one after another: only the rows of a box are read."""

    def __init__(self, page: Any, dtype: np.dtype[Any]) -> None:
        self._shape = tuple(int(n) for n in page.shape)
        self._dtype = dtype.newbyteorder(page.parent.byteorder)
        # Axes before the rows: separate samples, or slices in depth. Within a row: columns, mixed samples.
        self._outer = len(self._shape) - (3 if page.axes.endswith("S") else 2)
        self._files = _Files()

    def stored(self, page: _Page) -> Iterator[Box]:
        yield [(0, n) for n in self._shape]

    def fill(self, page: _Page, box: Box, target: npt.NDArray[Any]) -> None:
        outer, size = self._outer, self._dtype.itemsize
        rows, columns, *samples = self._shape[outer:]
        (top, bottom), (left, right), *picks = box[outer:]
        pixel = int(np.prod(samples, dtype=np.int64))
        kept = tuple(slice(start, stop) for start, stop in picks)
        if right - left <= _NARROW_SHARE * columns and columns * pixel * size >= _LONG_ROW:
            parts = [(row, row + 1, left, right) for row in range(top, bottom)]
        else:
            parts = [(top, bottom, 0, columns)]
        for position in product(*(range(start, stop) for start, stop in box[:outer])):
            plane = int(np.ravel_multi_index(position, self._shape[:outer])) if position else 0
            place = target[tuple(i - low for i, (low, _) in zip(position, box, strict=False))]
            for first, last, start, stop in parts:
                at = ((plane * rows + first) * columns + start) * pixel
                count = (last - first) * (stop - start) * pixel
                found = self._files.read(page.path, page.offsets[0] + at * size, count * size)
                block = np.frombuffer(found, self._dtype).reshape(last - first, stop - start, *samples)
                place[first - top : last - top] = block[:, left - start : right - start][:, :, *kept]


class _Segments:
    """Pages in strips or tiles, compressed or not."""

    def __init__(self, page: Any, dtype: np.dtype[Any]) -> None:
        self._shape = tuple(int(n) for n in page.shape)
        self._dtype = dtype.newbyteorder("=")
        self._decode = page.decode
        self._options = {"jpegheader": page.jpegheader} if page.compression in _JPEG else None
        self._grid = tuple(int(n) for n in page.chunked)
        edges = tuple(int(n) for n in page.chunks)
        self._edges = (1,) * (len(self._shape) - len(edges)) + edges
        self._files = _Files()
        self.part_bytes = math.prod(edges) * self._dtype.itemsize
        self.kept_bytes = MOST_SEGMENTS
        self._kept: OrderedDict[tuple[int, int], npt.NDArray[Any]] = OrderedDict()
        self._kept_bytes = 0
        self._lock = threading.Lock()

    def stored(self, page: _Page) -> Iterator[Box]:
        for index, count in enumerate(page.counts[: math.prod(self._grid)]):
            if count and page.offsets[index]:
                cell = (int(n) for n in np.unravel_index(index, self._grid))
                yield [
                    (i * edge, min((i + 1) * edge, n))
                    for i, edge, n in zip(cell, self._edges, self._shape, strict=True)
                ]

    def fill(self, page: _Page, box: Box, target: npt.NDArray[Any]) -> None:
        cells = [
            range(start // edge, min(-(-stop // edge), count))
            for (start, stop), edge, count in zip(box, self._edges, self._grid, strict=True)
        ]
        used = 0
        for cell in product(*cells):
            segment = self._segment(page, cell)
            if segment is None:
                continue
            used += segment.nbytes
            corner = [i * edge for i, edge in zip(cell, self._edges, strict=True)]
            there, here = overlap(box, corner, segment.shape)
            target[there] = segment[here]
        with self._lock:
            while self._kept_bytes > max(self.kept_bytes, used):
                self._kept_bytes -= self._kept.popitem(last=False)[1].nbytes

    def _segment(self, page: _Page, cell: tuple[int, ...]) -> npt.NDArray[Any] | None:
        """A decoded strip or tile, cut to the page; None where it was never written."""
        index = int(np.ravel_multi_index(cell, self._grid))
        key = page.number, index
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        if index >= len(page.offsets) or not page.offsets[index] or not page.counts[index]:
            return None
        stored = self._files.read(page.path, page.offsets[index], page.counts[index])
        options = {} if self._options is None else {**self._options, "jpegtables": page.tables}
        valid = [min(e, n - i * e) for i, e, n in zip(cell, self._edges, self._shape, strict=True)]
        try:
            decoded = np.asarray(self._decode(stored, index, **options)[0], self._dtype)
            full = self._edges if decoded.size == np.prod(self._edges) else valid  # border tiles are whole
            segment = decoded.reshape(full)[tuple(slice(n) for n in valid)]
        except _DECODING as damage:
            reason = " ".join(str(damage).split()) or type(damage).__name__
            raise OSError(f"a part of {page.path.name} cannot be decoded: {reason}") from damage
        with self._lock:
            if key not in self._kept:
                self._kept[key] = segment
                self._kept_bytes += segment.nbytes
        return segment
