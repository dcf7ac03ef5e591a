"""Facts that tell whether a file holds the image it held before, whatever its size."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from napari_dsparse.errors import ImageError
from napari_dsparse.images.fingerprint import fingerprint
from napari_dsparse.images.reading import ImageFile
from napari_dsparse.images.source import ImageSource


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
        Bytes; None for a folder, such as a Zarr store, and for pixels in no file.
    sample : str
        Digest of the pixels, of all of a small image and of an even sample of a large one, as
        `images.fingerprint` takes it.
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
        If the channels cannot be there, or the file cannot be read.
    """
    return Fingerprint(
        shape=_shape_of(file),
        dtype=_dtype_of(file),
        series=file.series,
        file_size=_size_of(file.path),
        sample=fingerprint(ImageSource(file.data, channel_axis, file.path.name)),
    )


def pixel_fingerprint(source: ImageSource) -> Fingerprint:
    """The fingerprint of an image that is in no file.

    Raises
    ------
    ImageError
        If its pixels cannot be read.
    """
    shape, dtype = tuple(int(n) for n in source.data.shape), str(np.dtype(source.data.dtype).name)
    return Fingerprint(shape, dtype, 0, None, fingerprint(source))


def shows(data: Any, channel_axis: int | None, known: Fingerprint) -> bool:
    """True if an array holds the pixels with that fingerprint; they are read only where all else agrees."""
    if tuple(data.shape) != known.shape or np.dtype(data.dtype).name != known.dtype:
        return False
    try:
        return fingerprint(ImageSource(data, channel_axis)) == known.sample
    except ImageError:
        return False


def describe_difference(file: ImageFile, channel_axis: int | None, known: Fingerprint) -> str | None:
    """The reason why a file is not the image with that fingerprint; None if it is.

    Pixels are read only where all else agrees.

    Raises
    ------
    ImageError
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
    if fingerprint(ImageSource(file.data, channel_axis, file.path.name)) != known.sample:
        return "its pixels have other values"
    return None


def _shape_of(file: ImageFile) -> tuple[int, ...]:
    return tuple(int(n) for n in file.data.shape)


def _dtype_of(file: ImageFile) -> str:
    return str(np.dtype(file.data.dtype).name)


def _size_of(path: Path) -> int | None:
    return None if path.is_dir() else path.stat().st_size
