"""A copy of an image that is open and in no file: OME-TIFF, or ``.npy`` for what OME-TIFF cannot hold."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile

from napari_dsparse.errors import ExportError
from napari_dsparse.files.atomic import complete_or_absent
from napari_dsparse.files.axes import resolve_axes
from napari_dsparse.files.ome_xml import physical_sizes, printable
from napari_dsparse.images.source import ImageSource

#: Types of OME's pixels, by numpy's names.
_OME_TYPES = ("uint8", "uint16", "uint32", "int8", "int16", "int32", "float32", "float64")
#: Channels that are stored as the colours of one plane.
_COLOURS = (3, 4)
#: Letters of at most so many axes of planes.
_MOST_LEADING = 2


def copy_pixels(
    folder: Path,
    source: ImageSource,
    scale: Sequence[float] | None = None,
    units: Sequence[str] | None = None,
) -> Path:
    """Write an image's pixels, all of them and exactly, to a new file in `folder`, named like the image.

    Parameters
    ----------
    folder : Path
        Made if it does not exist.
    source : ImageSource
    scale, units : sequence, optional
        Size of a pixel, and its unit by napari's names, along each axis without the channels.

    Returns
    -------
    Path

    Raises
    ------
    ExportError
        If it cannot be written.
    """
    folder.mkdir(exist_ok=True)
    data, axis = source.data, source.channel_axis
    leading = source.shape[:-2]
    # (readers drop axes of length one)
    fits = len(leading) <= _MOST_LEADING and 1 not in data.shape
    if not fits or np.dtype(data.dtype).name not in _OME_TYPES:
        path = _free_name(folder, source.name, ".npy")
        with complete_or_absent(path) as partial:
            stored = np.lib.format.open_memmap(partial, "w+", np.dtype(data.dtype), tuple(data.shape))
            for index in np.ndindex(*data.shape[:-2]):
                stored[index] = _plain(data[index])
            stored.flush()
            del stored
        return path
    path = _free_name(folder, source.name, ".ome.tif")
    colour = axis == len(data.shape) - 1 and source.channels in _COLOURS
    letters = "TZ"[len("TZ") - len(leading) :] + ("YXS" if colour else "YX" if axis is None else "CYX")
    shape = tuple(data.shape) if colour or axis is None else (*leading, source.channels, *source.shape[-2:])
    with complete_or_absent(path) as partial, tifffile.TiffWriter(partial, ome=True) as tiff:
        tiff.write(
            _planes(source, colour=colour),
            shape=shape,
            dtype=data.dtype,
            photometric="rgb" if colour else "minisblack",
            # (readers leave transparency out, and a fourth value of a pixel would be taken for it)
            extrasamples=["unspecified"] if colour and source.channels == 4 else None,
            compression="zlib",
            metadata={"axes": letters, "Name": printable(source.name), **_sizes(source, scale, units)},
        )
    return path


def _planes(source: ImageSource, *, colour: bool) -> Iterator[Any]:
    """Every plane in the order of the file, as it is."""
    for plane in source.planes():
        if colour or source.channel_axis is None:
            yield _plain(source.data[(*plane, slice(None), slice(None))])
            continue
        for channel in range(source.channels):
            index: list[int | slice] = [*plane, slice(None), slice(None)]
            index.insert(source.channel_axis, channel)
            yield _plain(source.data[tuple(index)])


def _plain(block: Any) -> npt.NDArray[Any]:
    """Pixels without a mask; what is under one is not a number, where the type has that."""
    pixels = np.asanyarray(block)
    if isinstance(pixels, np.ma.MaskedArray) and pixels.dtype.kind == "f":
        return np.ascontiguousarray(pixels.filled(np.nan))
    return np.ascontiguousarray(pixels)


def _sizes(
    source: ImageSource, scale: Sequence[float] | None, units: Sequence[str] | None
) -> dict[str, float | str]:
    """Pixel sizes as tifffile takes them; none where they cannot be said."""
    try:
        sizes = physical_sizes(resolve_axes(source.shape, scale=scale, units=units))
    except ExportError:
        return {}
    return {key: text if key.endswith("Unit") else float(text) for key, text in sizes.items()}


def _free_name(folder: Path, name: str, suffix: str) -> Path:
    """A name of no file yet, like the image's."""
    stem = re.sub(r"[^\w .()\[\]-]", "-", name).strip(" .")[:100] or "image"
    path, number = folder / f"{stem}{suffix}", 2
    while path.exists():
        path, number = folder / f"{stem}-{number}{suffix}", number + 1
    return path
