"""One image as the engine reads it: plane by plane, window by window, mirrored past its borders."""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from numbers import Integral
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from napari_dsparse.errors import ImageError
from napari_dsparse.images.origin import Origin

#: Pixels are booleans, integers or real numbers (numpy dtype kinds).
_NUMERIC_KINDS = "buif"

#: Where shapes leave a choice, a last axis this short holds channels: grey, grey + alpha, RGB, RGBA.
_LONGEST_COLOUR_AXIS = 4


@dataclass(frozen=True, slots=True, eq=False)
class ImageSource:
    """One image as the engine reads it.

    Made by `resolve_image`, which finds the channel axis. The array is only ever sliced, so images on disk
    (dask, zarr) of any size can be read a window at a time.

    Parameters
    ----------
    data : numpy, dask or zarr array
        Anything with `shape`, `dtype` and numpy's basic slicing.
    channel_axis : int, optional
        Non-negative index into `data.shape`; None where the image has one channel and no axis for it.
    name : str
        Name of the image in messages.
    letters : str, optional
        Letters of all axes of `data` as its file names them; None where it comes from no file.
    in_time : bool
        True if its planes are known to follow one another in time; so does the letter T.
    origin : Origin, optional
        Files that `data` is read from; None where it is in memory, or nobody knows.

    Raises
    ------
    ImageError
        If the data cannot be read as pixels: complex, text or object dtype, an axis of size zero, fewer than
        two axes beside the channels.
    """

    data: Any
    channel_axis: int | None = None
    name: str = "image"
    letters: str | None = None
    in_time: bool = False
    origin: Origin | None = None

    def __post_init__(self) -> None:
        _check_pixels(self.data, self.name)
        axes = len(self.data.shape)
        if self.channel_axis is not None and not 0 <= self.channel_axis < axes:
            raise ImageError(
                f"Image {self.name!r} has {axes} axes {_tuple(self.data.shape)}; channel axis "
                f"{self.channel_axis} is not one of them, choose 0 to {axes - 1} or None."
            )
        if len(self.shape) < 2:
            raise ImageError(
                f"Image {self.name!r} has shape {_tuple(self.data.shape)} and channel axis "
                f"{self.channel_axis}; an image needs rows and columns beside its channels."
            )

    @property
    def channels(self) -> int:
        """Number of channels, 1 where there is no channel axis."""
        return 1 if self.channel_axis is None else int(self.data.shape[self.channel_axis])

    @property
    def shape(self) -> tuple[int, ...]:
        """Spatial shape, (..., Y, X): the data's without the channel axis."""
        return tuple(int(n) for axis, n in enumerate(self.data.shape) if axis != self.channel_axis)

    def planes(self) -> Iterator[tuple[int, ...]]:
        """Index of every (Y, X) plane: () for a 2-D image, (z,) for a stack, (t, z) for a stack in time."""
        return product(*(range(n) for n in self.shape[:-2]))

    @property
    def depth_problem(self) -> str | None:
        """Reason why planes have no neighbours along the axis before rows, in depth; None if they have."""
        if len(self.shape) < 3:
            return (
                f"Image {self.name!r} is a single plane, which has none before and behind it; give a stack, "
                "(..., Z, Y, X)."
            )
        axes = [axis for axis in range(len(self.data.shape)) if axis != self.channel_axis]
        if self.in_time or (self.letters is not None and self.letters[axes[-3]] == "T"):
            return (
                f"The planes of image {self.name!r} follow one another in time, not in depth; give a stack, "
                "(..., Z, Y, X)."
            )
        return None

    def beside(self, plane: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The planes before and behind a plane of a stack; at either end, the plane itself instead."""
        *others, z = plane
        return (*others, max(z - 1, 0)), (*others, min(z + 1, self.shape[-3] - 1))

    def read(
        self,
        plane: tuple[int, ...],
        rows: tuple[int, int],
        columns: tuple[int, int],
        dtype: npt.DTypeLike = np.float32,
    ) -> npt.NDArray[np.float32]:
        """Pixels of a window, which may reach outside the image: there the image is mirrored.

        Parameters
        ----------
        plane : tuple of int
            Which plane, as `planes` gives it.
        rows, columns : (start, stop)
            Half-open ranges in pixels; a negative start or a stop past the border reads the mirror image
            (numpy's "reflect"; repeated where the image is smaller than the window, and the only pixel
            repeated on an axis of one).
        dtype : dtype
            float32, or float64 to see whether that is enough.

        Returns
        -------
        ndarray of float32, shape (C, stop - start, stop - start)
            The data's values in that dtype, a new array. NaN and infinities stay as they are, values under a
            mask become NaN; integers beyond 2**24 round to the nearest float32.

        Raises
        ------
        ImageError
            If the plane is not one of the image's, the window is empty, or the file behind it cannot be read.
        """
        shape = self.shape
        if len(plane) != len(shape) - 2 or any(not 0 <= i < n for i, n in zip(plane, shape, strict=False)):
            raise ImageError(
                f"Image {self.name!r} has planes {shape[:-2]}; plane {plane} is not one of them, "
                f"give {len(shape) - 2} indices within that shape."
            )
        row_span, row_picks = _mirror(*rows, shape[-2])
        column_span, column_picks = _mirror(*columns, shape[-1])

        index: list[int | slice] = [*plane, row_span, column_span]
        if self.channel_axis is not None:
            index.insert(self.channel_axis, slice(None))

        # float64 beyond float32's range becomes infinite, like what was infinite already; that is no error.
        try:
            with np.errstate(over="ignore"):
                block = _as_float(self.data[tuple(index)], dtype)
            _let_go(self.data)
        except (OSError, RuntimeError) as error:  # a disconnected drive, a damaged chunk
            reason = " ".join(str(error).split())
            raise ImageError(
                f"Image {self.name!r} could not be read at {f'plane {plane}, ' if plane else ''}rows {rows}, "
                f"columns {columns} "
                f"({reason}); check that its file is whole and in reach."
            ) from error
        if self.channel_axis is None:
            block = block[np.newaxis]
        else:
            # The integers of `plane` drop their axes; rows or columns may be left in front of the channels.
            kept_before = sum(isinstance(i, slice) for i in index[: self.channel_axis])
            block = np.moveaxis(block, kept_before, 0)
        if row_picks is not None:
            block = block.take(row_picks, axis=1)
        if column_picks is not None:
            block = block.take(column_picks, axis=2)
        return np.ascontiguousarray(block)


def _let_go(data: Any) -> None:
    """Give back what a file that is only read has mapped: resident memory would grow to its size."""
    mapped = getattr(data, "_mmap", None) if getattr(data, "mode", None) == "r" else None
    if isinstance(mapped, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        mapped.madvise(mmap.MADV_DONTNEED)


def _as_float(pixels: Any, dtype: npt.DTypeLike) -> npt.NDArray[np.float32]:
    """A new array of floats, NaN where numpy's masks say that a value is not to be used."""
    read = np.asanyarray(pixels)
    block: npt.NDArray[np.float32] = np.array(np.ma.getdata(read), dtype)
    if isinstance(read, np.ma.MaskedArray):
        block[np.ma.getmaskarray(read)] = np.nan
    return block


def resolve_image(
    image: Any,
    *,
    labels_shape: Sequence[int] | None = None,
    channels: int | None = None,
    channel_axis: int | Literal["auto"] | None = "auto",
    usual_axis: int | None = None,
    name: str = "image",
) -> ImageSource:
    """Determine the pyramid level and the channel axis of `image`.

    Known facts decide, without a guess where two readings are possible: the shape of labels painted on the
    image, or the number of channels a model reads. With neither, a last axis of 3 or 4 is colour.

    Parameters
    ----------
    image : array, or sequence of arrays of decreasing size
        Numpy, dask or zarr; of a pyramid the first (largest) level is read.
    labels_shape : sequence of int, optional
        Shape of the labels that belong to the image: the image's shape without its channel axis.
    channels : int, optional
        Number of channels that is expected, by a model or by other images.
    channel_axis : int, None or "auto"
        The axis that holds the channels (negative counts from the end), None for an image of one channel
        without such an axis, or "auto" to find it.
    usual_axis : int, optional
        Where images of this kind hold their channels (those a model was trained on, say); it settles which
        axis is meant where "auto" finds several, and is otherwise not used.
    name : str
        Name of the image in messages.

    Returns
    -------
    ImageSource

    Raises
    ------
    ImageError
        If the data cannot be read as pixels, does not fit the labels or the number of channels, or fits in
        more ways than one.
    """
    data = _largest_level(image, name)
    _check_pixels(data, name)
    shape = tuple(int(n) for n in data.shape)
    wanted = None if labels_shape is None else tuple(int(n) for n in labels_shape)

    if channel_axis != "auto":
        if isinstance(channel_axis, bool) or not isinstance(channel_axis, Integral | None):
            raise ImageError(f"channel_axis is {channel_axis!r}; give a whole number, None or 'auto'.")
        if channel_axis is not None and not -len(shape) <= channel_axis < len(shape):
            raise ImageError(
                f"Image {name!r} has {len(shape)} axes {shape}; channel axis {channel_axis} is not one of "
                f"them, choose {-len(shape)} to {len(shape) - 1} or None."
            )
        axis = None if channel_axis is None else _non_negative(int(channel_axis), len(shape))
        source = ImageSource(data, axis, name)
        if wanted is not None and source.shape != wanted:
            raise ImageError(_labels_misfit(name, shape, wanted, f" with channel axis {channel_axis}"))
    elif wanted is not None:
        source = ImageSource(data, _axis_from_labels(shape, wanted, channels, usual_axis, name), name)
    elif channels is not None:
        source = ImageSource(data, _axis_from_channels(shape, channels, usual_axis, name), name)
    else:
        source = ImageSource(data, len(shape) - 1 if _looks_like_colour(shape) else None, name)

    if channels is not None and source.channels != channels:
        raise ImageError(
            f"Image {name!r} has shape {shape} and so {_count(source.channels)}, but "
            f"{_expected(channels)}; give an image with {_count(channels)}."
        )
    return source


def _axis_from_labels(
    shape: tuple[int, ...], wanted: tuple[int, ...], channels: int | None, usual: int | None, name: str
) -> int | None:
    """The axis to leave out of `shape` to get `wanted`."""
    if shape == wanted:
        return None
    fitting = [axis for axis in range(len(shape)) if shape[:axis] + shape[axis + 1 :] == wanted]
    if not fitting:
        raise ImageError(_labels_misfit(name, shape, wanted))
    if channels is not None:
        fitting = [axis for axis in fitting if shape[axis] == channels] or fitting
    return _settle(fitting, shape, usual, name, f"labels of shape {wanted}")


def _axis_from_channels(shape: tuple[int, ...], channels: int, usual: int | None, name: str) -> int | None:
    """The axis that is `channels` long."""
    if channels == 1:
        if _looks_like_colour(shape):
            # Read as a stack, each row of a colour image would be a plane of its own, which is never meant.
            raise ImageError(
                f"Image {name!r} has shape {shape}, which looks like colour, but {_expected(1)}; "
                "give one channel of it, or channel_axis=None if it is a stack."
            )
        likely = -1 if usual is None else usual
        axis = _non_negative(likely, len(shape))
        return axis if len(shape) > 2 and 0 <= axis < len(shape) and shape[axis] == 1 else None
    fitting = [axis for axis, n in enumerate(shape) if n == channels] if len(shape) > 2 else []
    if not fitting:
        raise ImageError(
            f"Image {name!r} has shape {shape}, but {_expected(channels)}; "
            f"give an image with an axis of {channels} beside rows and columns."
        )
    return _settle(fitting, shape, usual, name, f"{channels} channels")


def _settle(fitting: list[int], shape: tuple[int, ...], usual: int | None, name: str, what: str) -> int:
    """The one axis that is meant among those that fit."""
    if len(fitting) == 1:
        return fitting[0]
    if usual is not None and _non_negative(usual, len(shape)) in fitting:
        return _non_negative(usual, len(shape))
    last = len(shape) - 1
    if last in fitting and shape[last] <= _LONGEST_COLOUR_AXIS:
        return last
    raise ImageError(
        f"Image {name!r} has shape {shape}, where axes {', '.join(map(str, fitting))} could all hold the "
        f"channels for {what}; say which one with channel_axis."
    )


def _looks_like_colour(shape: tuple[int, ...]) -> bool:
    return len(shape) > 2 and shape[-1] in (3, 4)


def _largest_level(image: Any, name: str) -> Any:
    """The image itself, or the first level of a pyramid."""
    if not isinstance(image, Sequence) or isinstance(image, memoryview):
        return image
    shapes = [tuple(getattr(level, "shape", ())) for level in image]
    shrinks = all(
        len(fine) == len(coarse) and fine != coarse and all(f >= c for f, c in zip(fine, coarse, strict=True))
        for fine, coarse in pairwise(shapes)
    )
    if not shapes or not shapes[0] or not shrinks:
        raise ImageError(
            f"Image {name!r} is a {type(image).__name__}, not an array; "
            "give one numpy, dask or zarr array, or a pyramid of them from fine to coarse."
        )
    return image[0]


def _check_pixels(data: Any, name: str) -> None:
    """Refuse what is not a filled array of numbers with at least two axes."""
    if not hasattr(data, "shape") or not hasattr(data, "dtype") or not hasattr(data, "__getitem__"):
        raise ImageError(
            f"Image {name!r} is a {type(data).__name__}, not an array; give a numpy, dask or zarr array."
        )
    if not isinstance(data.dtype, np.dtype):
        raise ImageError(
            f"Image {name!r} is a {type(data).__name__} of {data.dtype}, not of a numpy dtype; "
            "give a numpy, dask or zarr array."
        )
    if data.dtype.kind not in _NUMERIC_KINDS:
        raise ImageError(
            f"Image {name!r} holds {data.dtype} values; pixels must be booleans, integers or real numbers, "
            "convert it first."
        )
    shape = tuple(data.shape)
    if len(shape) < 2:
        raise ImageError(f"Image {name!r} has shape {shape}; an image needs at least rows and columns.")
    if not all(n >= 1 for n in shape):  # a dask array of unknown size has NaN here
        raise ImageError(
            f"Image {name!r} has shape {shape}; give an image of known size with at least one pixel per axis."
        )


def _mirror(start: int, stop: int, size: int) -> tuple[slice, npt.NDArray[np.intp] | None]:
    """Slice of an axis of `size` to read for [start, stop), and indices into it (None: all, in order)."""
    if stop <= start:
        raise ImageError(f"The range {start} to {stop} holds no pixel; the stop must be beyond the start.")
    if start >= 0 and stop <= size:
        return slice(start, stop), None
    if size == 1:
        return slice(0, 1), np.zeros(stop - start, dtype=np.intp)
    period = 2 * (size - 1)
    position = np.arange(start, stop, dtype=np.intp) % period
    position = np.minimum(position, period - position)
    first = int(position.min())
    return slice(first, int(position.max()) + 1), position - first


def _non_negative(axis: int, axes: int) -> int:
    return axis + axes if axis < 0 else axis


def _labels_misfit(name: str, shape: tuple[int, ...], wanted: tuple[int, ...], reading: str = "") -> str:
    return (
        f"Image {name!r} has shape {shape}{reading} and its labels have shape {wanted}; "
        "labels must have the image's shape without its channel axis."
    )


def _count(channels: int) -> str:
    return "1 channel" if channels == 1 else f"{channels} channels"


def _expected(channels: int) -> str:
    return f"{_count(channels)} {'is' if channels == 1 else 'are'} expected"


def _tuple(shape: Sequence[int]) -> tuple[int, ...]:
    return tuple(int(n) for n in shape)
