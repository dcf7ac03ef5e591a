"""Files of images in the list: found in folders, and opened as layers."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_dsparse.errors import DsparseError, ImageError
from napari_dsparse.gui.layers.image_frame import are_few_planes
from napari_dsparse.images.reading import IMAGE_SUFFIXES, ImageFile, read_image
from napari_dsparse.images.source import ImageSource
from napari_dsparse.images.zarr_file import is_store
from napari_dsparse.machine.memory import free_memory

if TYPE_CHECKING:
    import numpy.typing as npt
    from napari.layers import Image

#: Bytes up to which an image is read while the window waits; more are read by a thread first.
_READ_AT_ONCE = 2**22
#: Share of the free memory up to which an image is loaded when its layer is opened; larger ones are read
#: from their file plane by plane.
_LOADED_SHARE = 0.25
#: And at most this many bytes.
_MOST_LOADED = 2**29


def images_in(path: Path) -> list[Path] | None:
    """The images in a folder, by name; None if it is a file, or a folder that is an image itself.

    Raises
    ------
    ImageError
        If it cannot be listed.
    """
    if path.suffix.lower() == ".zarr" or not path.is_dir() or is_store(path):
        return None
    try:
        inside = sorted(path.iterdir(), key=lambda each: each.name)
    except OSError as error:
        raise ImageError(
            f"Folder {str(path)!r} cannot be listed ({error.strerror or error}); choose another one."
        ) from error
    return [e for e in inside if e.suffix.lower() in IMAGE_SUFFIXES and not e.name.startswith(".")]


def likely_source(file: ImageFile) -> ImageSource:
    """The image with channels where its file says, or as is likely where it says nothing."""
    source = file.source()
    unsaid = file.channel_axis is None and file.letters[0] == "?" and file.scale[0] == 1
    if unsaid and are_few_planes(file.data.shape):
        return ImageSource(file.data, 0, source.name, source.letters)
    return source


def read_file(path: Path, series: int | None) -> tuple[ImageFile, ImageSource]:
    """An image file, and the image in it as it is likely meant; of a file with several, number `series`.

    Raises
    ------
    ImageError
        If it cannot be read.
    """
    file = read_image(path, series=series)
    return file, likely_source(file)


def takes_long(source: ImageSource) -> bool:
    """True of pixels in a file that are loaded when a layer of them is made, and are many."""
    return not _in_memory(source.data) and _READ_AT_ONCE < _bytes_of(source) <= _most_loaded()


def layer_of(name: str, source: ImageSource, file: ImageFile | None) -> Image:
    """A new layer of an image, with the scale that its file tells."""
    from napari.layers import Image

    axis = source.channel_axis
    data = load_pixels(source)
    color = axis == len(data.shape) - 1 and data.shape[axis] in (3, 4) and data.dtype.kind in "uf"
    scale, units = [1.0] * len(data.shape), ["pixel"] * len(data.shape)
    if file is not None:
        spatial = [each for each in range(len(data.shape)) if each != axis]
        known = len(spatial)  # of axes that the file calls slices, but channels are likelier, none is used
        for place, size, unit in zip(spatial, file.scale[-known:], file.units[-known:], strict=True):
            scale[place], units[place] = size, unit
    labels = axis_labels(source.letters or "?" * len(data.shape))
    if color:
        scale, units, labels = scale[:-1], units[:-1], labels[:-1]
    return Image(data, name=name, rgb=color, scale=scale, units=units, axis_labels=labels)


def axis_labels(letters: str) -> list[str]:
    """Names of axes for napari, by their letters; others have the number that napari gives them."""
    known = {letter: letter.lower() for letter in "TZYX"} | {"C": "channel", "S": "channel"}
    return [known.get(letter, str(place - len(letters))) for place, letter in enumerate(letters)]


def load_pixels(source: ImageSource) -> npt.NDArray[Any] | Any:
    """Pixels in memory, or read from the file by need where they are too many.

    Raises
    ------
    ImageError
        If the file cannot be read any more.
    """
    data = source.data
    if _in_memory(data):
        return data
    try:
        if _bytes_of(source) <= _most_loaded():
            return np.asarray(data[(slice(None),) * len(data.shape)])
    except DsparseError:
        raise
    except (OSError, ValueError, RuntimeError) as error:
        raise ImageError(
            f"Image {source.name!r} cannot be read any more ({error}); is its file there?"
        ) from error
    import dask.array

    rows = max(1, (1 << 24) // max(1, int(data.shape[-1])))
    chunks = (*(1 for _ in data.shape[:-2]), min(rows, int(data.shape[-2])), int(data.shape[-1]))
    return dask.array.from_array(data, chunks=chunks, asarray=True)


def _in_memory(data: Any) -> bool:
    return isinstance(data, np.ndarray) and not isinstance(data, np.memmap)


def _bytes_of(source: ImageSource) -> int:
    return math.prod(int(n) for n in source.data.shape) * int(np.dtype(source.data.dtype).itemsize)


def _most_loaded() -> float:
    return min(_MOST_LOADED, float(_LOADED_SHARE * free_memory()))
