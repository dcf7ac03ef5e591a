"""Strokes of a project's image: one compressed label OME-TIFF, read window by window."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import psutil
import tifffile

from napari_dsparse.classifier.classes import MOST_CLASSES
from napari_dsparse.errors import ImageError, LabelsError, ProjectError
from napari_dsparse.files.atomic import file_digest, place_by_content
from napari_dsparse.files.axes import resolve_axes
from napari_dsparse.files.chunk_store import chunk_store
from napari_dsparse.files.chunked import ChunkedArray
from napari_dsparse.files.ome_tiff import write_label_tiff
from napari_dsparse.files.pixels import Pixels, value_range
from napari_dsparse.files.project_description import STROKES
from napari_dsparse.files.project_folder import file_within
from napari_dsparse.images.reading import DAMAGE
from napari_dsparse.images.tiff_array import TiffArray
from napari_dsparse.images.tiff_file import quiet_tifffile

_SUFFIX = ".ome.tif"

#: Types that are written: the smallest one that holds the largest class.
_DTYPES = (np.dtype(np.uint8), np.dtype(np.uint16))


class StoredStrokes:
    """Strokes in their file as an array: sliced, never loaded whole.

    Parameters
    ----------
    data : TiffArray
        Without the leading axes of length one, which TIFF does not keep.
    shape : tuple of int
        The shape of the strokes, (..., Y, X).
    """

    def __init__(self, data: TiffArray, shape: tuple[int, ...]) -> None:
        self._data = data
        self.shape = shape
        self.dtype = data.dtype

    def __getitem__(self, window: tuple[int | slice, ...]) -> npt.NDArray[Any]:
        leading = self.shape[:-2]
        kept = [part for axis, part in enumerate(window) if axis >= len(leading) or leading[axis] > 1]
        return self._data[tuple(kept)]

    def load(self) -> npt.NDArray[Any]:
        """All of them, a new array in memory.

        Raises
        ------
        ProjectError
            If they do not fit into memory.
        """
        needed, free = Pixels(self, self.dtype).bytes, psutil.virtual_memory().available
        if needed > free:
            raise ProjectError(
                f"Strokes of shape {self.shape} take {needed / 1e9:.3g} GB and {free / 1e9:.3g} GB of memory "
                "are free; close other programs."
            )
        return np.array(self._data).reshape(self.shape)

    def load_painted(self) -> ChunkedArray:
        """All of them, in chunks: only what is painted takes memory."""
        found = ChunkedArray(self.shape, self.dtype, chunk_store())
        kept = [axis for axis, n in enumerate(self.shape) if axis >= len(self.shape) - 2 or n > 1]
        for part in self._data.stored():
            window: list[int | slice] = [0] * len(self.shape)
            for axis, where in zip(kept, part, strict=True):
                window[axis] = where
            found[tuple(window)] = self._data[part]
        return found


def write_strokes(folder: Path, labels: Any, shape: Sequence[int], image: str) -> tuple[str | None, int]:
    """Write strokes to a project's folder, under a name that tells their content.

    Parameters
    ----------
    folder : Path
        Of the project.
    labels : array of integers or booleans
        0 = not painted, 1..K = classes. Numpy, dask or zarr; or sparse.
    shape : sequence of int
        What its shape must be.
    image : str
        Name of the image in messages.

    Returns
    -------
    name : str or None
        Path within the project; None where nothing is painted.
    largest : int
        The largest class that is painted, 0 for none.

    Raises
    ------
    LabelsError
        If the labels are not integers from 0 to 1000, or have another shape.
    ExportError
        If they cannot be written.
    """
    pixels, largest = _check_labels(labels, tuple(shape), image)
    if not largest:
        return None, 0
    axes = resolve_axes(pixels.shape)
    home = file_within(folder, STROKES)
    home.mkdir(exist_ok=True)
    # Classes are named in the project alone: renaming one leaves every file of strokes as it is.
    # What is not painted of a large one takes no room.
    write = partial(write_label_tiff, pixels=pixels, axes=axes, classes=(), sparse=True)
    name = place_by_content(home, write, "", _SUFFIX)
    return f"{STROKES}/{name}", largest


def open_strokes(folder: Path, name: str, shape: tuple[int, ...]) -> StoredStrokes:
    """Strokes of a project, of a known shape, checked before anything is allocated for them.

    Raises
    ------
    ProjectError
        If the file is missing, is not the one that was saved, or holds no labels of that shape.
    """
    path, title = file_within(folder, name), f"Strokes {name!r} of project {str(folder)!r}"
    try:
        if file_digest(path) != path.name.removesuffix(_SUFFIX):
            raise ProjectError(f"{title} are not what was saved, which their name tells; restore that file.")
        return _open(path, title, shape)
    except FileNotFoundError as error:
        raise ProjectError(f"{title} are missing; restore that file from a copy.") from error
    except ProjectError:
        raise
    except (ImageError, *DAMAGE) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ProjectError(f"{title} cannot be read ({reason}); restore that file from a copy.") from error


def _open(path: Path, title: str, shape: tuple[int, ...]) -> StoredStrokes:
    with quiet_tifffile(), tifffile.TiffFile(path) as tiff:
        series = tiff.series[0]
        stored = tuple(n for axis, n in enumerate(shape) if axis >= len(shape) - 2 or n > 1)
        if tuple(series.shape) != stored:
            raise ProjectError(
                f"{title} have shape {tuple(series.shape)} and their image {shape}; restore that file."
            )
        if not TiffArray.fits(series) or np.dtype(series.dtype).newbyteorder("=") not in _DTYPES:
            raise ProjectError(f"{title} are no labels of classes; restore that file from a copy.")
        return StoredStrokes(TiffArray(series), shape)


def _check_labels(labels: Any, shape: tuple[int, ...], image: str) -> tuple[Pixels, int]:
    """Labels as they are written, and the largest of them."""
    if np.ma.isMaskedArray(labels):
        labels = np.ma.filled(labels, 0)
    if not isinstance(getattr(labels, "dtype", None), np.dtype) or labels.dtype.kind not in "bui":
        got = getattr(labels, "dtype", None) or f"a {type(labels).__name__}"
        raise LabelsError(
            f"Labels of image {image!r} are {got}; give an array of integers: 0 = not painted, 1, 2, ... = "
            "classes."
        )
    found = tuple(int(n) for n in labels.shape)
    if found != shape:
        raise LabelsError(
            f"Labels of shape {found} were given for image {image!r}, whose labels have shape {shape}; "
            "give labels that belong to this image."
        )
    lowest, highest = value_range(Pixels(labels, labels.dtype))
    if lowest < 0 or highest > MOST_CLASSES:
        raise LabelsError(
            f"Labels of image {image!r} reach from {lowest} to {highest}; 0 is not painted and classes are "
            f"numbered from 1, to {MOST_CLASSES} at most."
        )
    return Pixels(labels, np.min_scalar_type(highest)), highest
