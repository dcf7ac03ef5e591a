"""Images and label images from files, with axes, channels and pixel size from their metadata."""

from __future__ import annotations

import os
import re
import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image
from tifffile import TiffFileError

from napari_dsparse.checks import is_pipe
from napari_dsparse.errors import DsparseError, ImageError, LabelsError
from napari_dsparse.images.file_content import UNNAMED, Choices, FileContent
from napari_dsparse.images.microscope_file import MICROSCOPE_SUFFIXES, read_microscope
from napari_dsparse.images.npy_file import NpyArray
from napari_dsparse.images.origin import Origin, origin_of
from napari_dsparse.images.picture_file import read_indices, read_picture
from napari_dsparse.images.plates import name_within
from napari_dsparse.images.source import ImageSource, resolve_image
from napari_dsparse.images.tiff_file import read_tiff
from napari_dsparse.images.zarr_file import is_store, read_zarr

_CHANNEL_LETTERS = "CS"

_TIFF_SUFFIXES, _PICTURE_SUFFIXES = (".tif", ".tiff"), (".png", ".jpg", ".jpeg", ".bmp")

#: What names of images may end in.
IMAGE_SUFFIXES = (*_TIFF_SUFFIXES, *_PICTURE_SUFFIXES, ".npy", ".zarr", *MICROSCOPE_SUFFIXES)

#: Exceptions of the readers for a damaged file or a wrong suffix.
DAMAGE = (
    OSError,
    EOFError,
    ValueError,
    KeyError,
    IndexError,
    TypeError,
    SyntaxError,  # Pillow, of a broken PNG
    RuntimeError,  # numcodecs, of a broken Zarr chunk
    TiffFileError,
    zlib.error,
    struct.error,
    Image.DecompressionBombError,
)
#: Words in the reasons of readers that lack a package or a decoder, not in those of damaged files.
_MISSING = re.compile(r"requires the|install|No module|not available|codec", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Expected:
    """Facts of images that training has settled: they hold where the model is applied.

    Parameters
    ----------
    channels : int
    channel_axis : int, optional
        Where the training image held them.
    letters : str, optional
        The training image's axes, as its file named them.
    """

    channels: int
    channel_axis: int | None = None
    letters: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class ImageFile:
    """An image read from a file.

    Parameters
    ----------
    data : array
        Numpy, or an array that is read from the file window by window.
    channel_axis : int, optional
        Index into `data.shape`; None where there is none.
    axes : str
        Letters of the axes without the channels, such as "ZYX".
    scale : tuple of float
        Size of a pixel along each of `axes`; 1 where it is not known.
    units : tuple of str
        Unit of each of `axes`, by napari's names; "pixel" where it is not known.
    path : Path
    letters : str
        Letters of all axes of `data` as the file names them, "?" for those it does not.
    series : int
        Which of the file's images this is, from 0.
    remarks : tuple of str
        What a user should know of how the file was read, a sentence each.
    choices : tuple of (int, tuple of int)
        Number and shape of each image in the file, where there are several.
    files : tuple of Path
        Other files that the image is read from, where it is spread over a set.
    channel_files : tuple of (Path, int)
        Path and series of each channel, where it is combined of several images.
    origin : Origin, optional
        Files that `data` is read from; None where it is in memory, or combined of several images.
    """

    data: Any
    channel_axis: int | None
    axes: str
    scale: tuple[float, ...]
    units: tuple[str, ...]
    path: Path
    letters: str
    series: int = 0
    remarks: tuple[str, ...] = ()
    choices: Choices = ()
    files: tuple[Path, ...] = ()
    channel_files: tuple[tuple[Path, int], ...] = ()
    origin: Origin | None = None

    def source(self) -> ImageSource:
        """The image as the engine reads it."""
        name, letters = name_within(self.path), self.letters
        return ImageSource(self.data, self.channel_axis, name, letters, origin=self.origin)


def read_image(
    path: str | os.PathLike[str],
    *,
    labels_shape: Sequence[int] | None = None,
    expected: Expected | None = None,
    series: int | None = None,
) -> ImageFile:
    """Open an image.

    Parameters
    ----------
    path : path-like
        TIFF (OME's and ImageJ's axes and pixel sizes are read), PNG, JPEG or BMP,
        ``.npy``, a Zarr array or OME-Zarr image (needs the extra ``zarr``), or CZI, ND2 or LIF (needs the
        extra ``bioio``). All but pictures stay on disk. Transparency is left out; grey values of which 0 is
        white are turned round.
    labels_shape : sequence of int, optional
        Shape of labels that belong to the image: they settle which axis holds channels, against the file.
    expected : Expected, optional
        What a model was trained on; it settles the same where neither labels nor the file say, and against
        the file where this names its axes just as that of the training image did.
    series : int, optional
        Which image (of CZI, ND2 and LIF: which scene) of a file with several, from 0; the largest
        otherwise, with a remark.

    Raises
    ------
    ImageError
        If there is no such file, its format is not known, it is damaged, or its axes do not fit what is
        expected.
    """
    file = Path(path)
    content = _read(
        file,
        ImageError,
        tiff=lambda path: read_tiff(path, series),
        picture=read_picture,
        zarr=lambda path: read_zarr(path, series),
        microscope=lambda path: read_microscope(path, series),
    )
    if series not in (None, content.series):
        raise ImageError(f"File {str(file)!r} holds one image, series 0; series {series} is not in it.")
    return _resolve(content, file, labels_shape, expected)


def read_labels(path: str | os.PathLike[str]) -> npt.NDArray[Any]:
    """Read a label image: 0 where nothing is annotated, else the number of a class.

    Parameters
    ----------
    path : path-like
        Formats as for `read_image`, values as they are stored: of an indexed-colour picture the indices, not
        the colours.

    Returns
    -------
    ndarray of integers, shape (..., Y, X)
        In the file's dtype; a mask of truths as uint8.

    Raises
    ------
    LabelsError
        If there is no such file, its format is not known, it is damaged or compressed with loss, or it does
        not hold whole numbers from 0 with one value per pixel.
    """
    file = Path(path)
    content = _read(
        file,
        LabelsError,
        tiff=lambda path: read_tiff(path, as_stored=True),
        picture=read_indices,
        zarr=read_zarr,
        in_memory=True,
    )
    if content.lossy:
        raise LabelsError(
            f"Label file {str(file)!r} is compressed with loss, as JPEG is, which alters numbers of classes; "
            "save it as PNG, uncompressed TIFF or Zarr."
        )
    channels = tuple(_channel_axes(content))
    if any(content.data.shape[axis] > 1 for axis in channels):
        raise LabelsError(
            f"Label file {str(file)!r} has {content.data.shape[channels[0]]} values per pixel; "
            "save it with one whole number per pixel, not as colours."
        )
    labels: npt.NDArray[Any] = np.squeeze(content.data, channels)
    if labels.dtype.kind not in "bui" or labels.ndim < 2:
        raise LabelsError(
            f"Label file {str(file)!r} holds {labels.dtype} values of shape {labels.shape}; "
            "save it with whole numbers in rows and columns."
        )
    if labels.dtype.kind == "b":
        labels = labels.astype(np.uint8)
    if labels.dtype.kind == "i" and labels.size and labels.min() < 0:
        raise LabelsError(
            f"Label file {str(file)!r} holds {labels.min()}; "
            "labels are 0 (not annotated) or the number of a class, correct it."
        )
    return labels


def _read(
    file: Path,
    error: type[DsparseError],
    *,
    tiff: Callable[[Path], FileContent],
    picture: Callable[[Path], FileContent],
    zarr: Callable[[Path], FileContent],
    microscope: Callable[[Path], FileContent] | None = None,
    in_memory: bool = False,
) -> FileContent:
    """Read a file by its suffix; errors become one sentence."""
    readers: dict[str, Callable[[Path], FileContent]] = {
        **dict.fromkeys(_TIFF_SUFFIXES, tiff),
        **dict.fromkeys(_PICTURE_SUFFIXES, picture),
        ".npy": _read_npy,
        ".zarr": zarr,
        **({} if microscope is None else dict.fromkeys(MICROSCOPE_SUFFIXES, microscope)),
    }
    if not file.exists():
        raise error(f"There is no file {str(file)!r}; check its name and folder.")
    if is_pipe(file):
        raise error(f"{str(file)!r} is a pipe or a device, no file; copy it to a file and give that.")
    reader = zarr if is_store(file) else readers.get(file.suffix.lower())
    if reader is None:
        raise error(
            f"File {str(file)!r} is of a format that is not read; choose one of {', '.join(readers)}."
        )
    try:
        content = reader(file)
        return replace(content, data=np.array(content.data)) if in_memory else content
    except DsparseError as known:
        raise error(str(known)) from known
    except DAMAGE as damage:
        reason = " ".join(str(damage).split()) or type(damage).__name__
        reason = f"it lacks {reason}" if isinstance(damage, KeyError) else reason
        remedy = "install what that says is missing, or " if _MISSING.search(reason) else ""
        raise error(
            f"File {str(file)!r} cannot be read ({reason}); "
            f"{remedy}save the file again from the program that made it."
        ) from damage


def _read_npy(file: Path) -> FileContent:
    data = NpyArray(file)
    return FileContent(data, UNNAMED * data.ndim, {})


def _channel_axes(content: FileContent) -> list[int]:
    return [axis for axis, letter in enumerate(content.letters) if letter in _CHANNEL_LETTERS]


def _resolve(
    content: FileContent, file: Path, labels_shape: Sequence[int] | None, expected: Expected | None
) -> ImageFile:
    """Determine the channel axis, and the remaining axes."""
    named = _channel_axes(content)
    if len(named) > 1:
        raise ImageError(
            f"Image {file.name!r} has {content.letters} as axes, two of which hold channels; "
            "split its channels and give one image."
        )
    source = resolve_image(
        content.data,
        labels_shape=labels_shape,
        channels=None if expected is None else expected.channels,
        channel_axis=_stated_axis(content, named, labels_shape, expected),
        usual_axis=None if expected is None else expected.channel_axis,
        name=file.name,
    )
    axes = _name_axes(
        "".join(letter for axis, letter in enumerate(content.letters) if axis != source.channel_axis)
    )
    sizes = [content.size(letter) for letter in axes]
    return ImageFile(
        source.data,
        source.channel_axis,
        axes,
        tuple(scale for scale, _ in sizes),
        tuple(unit for _, unit in sizes),
        file,
        content.letters,
        content.series,
        content.remarks,
        content.choices,
        content.files,
        origin=origin_of(file, content),
    )


def _stated_axis(
    content: FileContent, named: list[int], labels_shape: Sequence[int] | None, expected: Expected | None
) -> int | Literal["auto"] | None:
    """The channel axis by what the file says, or said of the training image; "auto" where it does not say."""
    shape = tuple(int(n) for n in content.data.shape)
    if expected is not None and expected.letters == content.letters:
        # Named just as where training settled which axis holds channels, perhaps against the names.
        axis = expected.channel_axis
        if (1 if axis is None else shape[axis]) == expected.channels:
            return axis
    axis = named[0] if named else None
    without = tuple(n for i, n in enumerate(shape) if i != axis)
    fits = labels_shape is None or without == tuple(labels_shape)
    is_named = axis is not None or UNNAMED not in content.letters
    return axis if fits and is_named else "auto"


def _name_axes(letters: str) -> str:
    """Names for axes without one: the last two are the plane, before them depth, before that time."""
    named = list(letters)
    free = [letter for letter in "XYZT" if letter not in letters]
    for axis in reversed(range(len(named))):
        if named[axis] == UNNAMED and free:
            named[axis] = free.pop(0)
    return "".join(named)
