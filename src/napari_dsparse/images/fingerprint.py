"""A fingerprint that tells whether a file holds the image it held before, whatever its size."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from math import isqrt
from pathlib import Path
from typing import Any

import numpy as np

from napari_dsparse.images.reading import ImageFile
from napari_dsparse.images.source import ImageSource

#: Windows of pixels that are looked at, at most; planes they are spread over; their edge.
_WINDOWS, _PLANES, _EDGE = 64, 16, 64


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """Facts by which an image is known again.

    Parameters
    ----------
    shape : tuple of int
        With the channels.
    dtype : str
        Name of the pixels' type, whatever their byte order.
    series : int
        Which of the file's images it is, from 0.
    file_size : int or None
        Bytes; None for a folder, such as a Zarr store.
    sample : str
        Digest of windows of pixels spread evenly over planes, rows and columns: all of a small image, and 64
        windows of 64 x 64 pixels of a large one.
    """

    shape: tuple[int, ...]
    dtype: str
    series: int
    file_size: int | None
    sample: str


def take_fingerprint(file: ImageFile, channel_axis: int | None) -> Fingerprint:
    """The fingerprint of an image, with its channels on that axis.

    Raises
    ------
    ImageError
        If the channels cannot be there.
    OSError
        If the file cannot be read.
    """
    return Fingerprint(
        shape=_shape_of(file),
        dtype=_dtype_of(file),
        series=file.series,
        file_size=_size_of(file.path),
        sample=_sample(ImageSource(file.data, channel_axis, file.path.name)),
    )


def describe_difference(file: ImageFile, channel_axis: int | None, known: Fingerprint) -> str | None:
    """The reason why a file is not the image with that fingerprint; None if it is.

    Pixels are read only where all else agrees.

    Raises
    ------
    OSError
        If the file cannot be read.
    """
    size = _size_of(file.path)
    for what, found, wanted in (
        ("its shape is", _shape_of(file), known.shape),
        ("its pixels are", _dtype_of(file), known.dtype),
        ("its series is", file.series, known.series),
        ("its size in bytes is", size, known.file_size),
    ):
        if found != wanted:
            return f"{what} {found}, not {wanted}"
    if _sample(ImageSource(file.data, channel_axis, file.path.name)) != known.sample:
        return "its pixels have other values"
    return None


def _shape_of(file: ImageFile) -> tuple[int, ...]:
    return tuple(int(n) for n in file.data.shape)


def _dtype_of(file: ImageFile) -> str:
    return str(np.dtype(file.data.dtype).name)


def _size_of(path: Path) -> int | None:
    return None if path.is_dir() else path.stat().st_size


def _sample(source: ImageSource) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for window in _windows(source):
        block = np.asarray(source.data[window])
        digest.update(np.ascontiguousarray(block, block.dtype.newbyteorder("<")).data)
    return digest.hexdigest()


def _windows(source: ImageSource) -> Iterator[tuple[int | slice, ...]]:
    """Indices of the windows into the array, all channels of each."""
    *leading, rows, columns = source.shape
    planes = int(np.prod(leading, dtype=np.int64))
    chosen = _spread(planes, _PLANES)
    along = isqrt(_WINDOWS // len(chosen))
    for number in chosen:
        plane = [int(i) for i in np.unravel_index(number, leading)] if leading else []
        for top in _starts(rows, along):
            for left in _starts(columns, along):
                window: list[Any] = [*plane, slice(top, top + _EDGE), slice(left, left + _EDGE)]
                if source.channel_axis is not None:
                    window.insert(source.channel_axis, slice(None))
                yield tuple(window)


def _starts(length: int, count: int) -> list[int]:
    """Starts of windows along an axis, from its one end to the other."""
    return _spread(max(1, length - _EDGE + 1), count)


def _spread(length: int, count: int) -> list[int]:
    """At most `count` different numbers below `length`, first and last among them."""
    last = length - 1
    return sorted({i * last // max(1, count - 1) for i in range(count)}) if count > 1 else [last // 2]
