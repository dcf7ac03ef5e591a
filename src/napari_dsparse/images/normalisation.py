"""Normalisation of pixel values to the network's input: one offset and one scale per channel."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from napari_dsparse.errors import ImageError
from napari_dsparse.images.source import ImageSource
from napari_dsparse.images.windows import spread_windows

#: Ways to normalise images that are learned from together: all in one way, or each by its own grey values.
NORMALISATIONS = ("together", "image")

#: Pixels and values (pixels x channels) looked at, at most, over all images.
_SAMPLE_PIXELS = 2**20
_SAMPLE_VALUES = 2**22

#: Normalised values beyond this grow only logarithmically: networks have no use for them, and a single hot
#: pixel of 60,000 on a dim image would outweigh all other paint.
_LINEAR = 3.0

#: Edge of a sampled window in pixels: a few chunks of a zarr image are touched, not all of them.
_WINDOW = 64


@dataclass(frozen=True, slots=True)
class Normalisation:
    """Per channel, value = (pixel - offset) / scale; unknown pixels become 0, the typical value.

    Values beyond 3 in magnitude are compressed to 3 + log(1 + |value| - 3), with their sign.

    Parameters
    ----------
    offset, scale : tuple of float
        One entry per channel, in the image's intensity units; scales are positive.

    Raises
    ------
    ImageError
        If the entries are not finite in float32, not as many of one as of the other, or a scale is not
        positive.
    """

    offset: tuple[float, ...]
    scale: tuple[float, ...]

    def __post_init__(self) -> None:
        limits = np.finfo(np.float32)
        held = all(abs(value) <= limits.max for value in (*self.offset, *self.scale))  # NaN is not
        if not held or len(self.offset) != len(self.scale) or not all(s >= limits.tiny for s in self.scale):
            raise ImageError(
                f"A normalisation of offsets {self.offset} and scales {self.scale} is not allowed; "
                "give one finite offset and one positive scale per channel, as float32 holds them."
            )

    def apply(self, block: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Normalise pixels.

        Parameters
        ----------
        block : ndarray of float32, shape (C, h, w)

        Returns
        -------
        ndarray of float32, shape (C, h, w)
            A new array; NaN and infinite pixels are 0.

        Raises
        ------
        ImageError
            If the block has not as many channels as the normalisation.
        """
        if block.shape[0] != len(self.offset):
            raise ImageError(
                f"Pixels with {block.shape[0]} channels were given to a normalisation of {len(self.offset)}; "
                "give an image with as many channels as the classifier was trained on."
            )
        column = (-1,) + (1,) * (block.ndim - 1)
        offset = np.asarray(self.offset, dtype=np.float32).reshape(column)
        scale = np.asarray(self.scale, dtype=np.float32).reshape(column)
        with np.errstate(invalid="ignore", over="ignore"):
            values: npt.NDArray[np.float32] = (block - offset) / scale
        values[~np.isfinite(values)] = 0.0
        beyond = np.abs(values) > _LINEAR
        if beyond.any():
            far = values[beyond]
            values[beyond] = np.copysign(_LINEAR + np.log1p(np.abs(far) - _LINEAR), far)
        return values

    @classmethod
    def measure(cls, sources: Sequence[ImageSource], *, among: int = 0) -> Normalisation:
        """The normalisation that suits some images, from an even sample of their pixels.

        Offsets are medians and scales half the range between the 1st and 99th percentile, so that neither
        hot pixels nor empty borders move them. Where nearly all pixels are equal that range is zero, and half
        the full range is taken; a constant channel has scale 1. NaN and infinite pixels are not counted.

        Parameters
        ----------
        sources : sequence of ImageSource
            One or more images with equally many channels. At most about a million pixels are read in all.
        among : int
            Number of images that share this limit, where there are more than these.

        Raises
        ------
        ImageError
            If there is no image, the images differ in channels, a channel has no finite pixel, or it varies
            in a way that float32 does not hold.
        """
        if not sources:
            raise ImageError("No image was given to measure intensities on; give at least one.")
        channels = sources[0].channels
        for source in sources:
            if source.channels != channels:
                raise ImageError(
                    f"Image {source.name!r} has {source.channels} channels and image {sources[0].name!r} "
                    f"has {channels}; images learned from together must have equally many."
                )
        budget = _budget(channels, max(among, len(sources)))
        pixels = np.concatenate(
            [block.reshape(channels, -1) for source in sources for block in _sample(source, budget)], axis=1
        )
        for source in sources:
            check_float32(source)
        names = ", ".join(repr(source.name) for source in sources)
        pairs = [_median_and_spread(pixels[c], f"Channel {c} of image {names}") for c in range(channels)]
        return cls(tuple(median for median, _ in pairs), tuple(spread for _, spread in pairs))


def _median_and_spread(values: npt.NDArray[np.float32], what: str) -> tuple[float, float]:
    finite = values[np.isfinite(values)].astype(np.float64)
    if finite.size == 0:
        raise ImageError(
            f"{what} holds no finite pixel value; give an image with values, or leave that channel out."
        )
    low, median, high = np.percentile(finite, (1.0, 50.0, 99.0))
    spread = (high - low) / 2 or (finite.max() - finite.min()) / 2
    # Below this, float32 can no longer hold the scale.
    if spread < np.finfo(np.float32).tiny:
        spread = 1.0
    return float(median), float(spread)


def check_float32(source: ImageSource) -> None:
    """Refuse an image in which values differ, but are all one value, or infinite, as float32.

    Raises
    ------
    ImageError
        If a channel is so, in an even sample of its pixels.
    """
    if np.dtype(source.data.dtype).itemsize <= 4:
        return
    budget = _budget(source.channels, 1)
    narrow, wide = (
        np.concatenate([block.reshape(source.channels, -1) for block in _sample(source, budget, dtype)], 1)
        for dtype in (np.float32, np.float64)
    )
    for channel in range(source.channels):
        (low, high), (lowest, highest) = _extent(narrow[channel]), _extent(wide[channel])
        if lowest < highest and not low < high:
            raise ImageError(
                f"Channel {channel} of image {source.name!r} reaches from {lowest:.15g} to {highest:.15g}, "
                "which float32 does not tell apart; scale or shift its values first."
            )


def _extent(values: npt.NDArray[np.floating]) -> tuple[float, float]:
    """Smallest and largest finite value; NaN where there is none."""
    finite = values[np.isfinite(values)]
    return (float(finite.min()), float(finite.max())) if finite.size else (math.nan, math.nan)


def _budget(channels: int, images: int) -> int:
    """Pixels of each of some images to look at."""
    return max(_WINDOW**2, min(_SAMPLE_PIXELS, _SAMPLE_VALUES // channels) // images)


def _sample(
    source: ImageSource, budget: int, dtype: npt.DTypeLike = np.float32
) -> Iterator[npt.NDArray[np.float32]]:
    """The whole image where it has at most `budget` pixels, else windows spread evenly over it."""
    rows, columns = source.shape[-2:]
    planes = math.prod(source.shape[:-2])
    if planes * rows * columns <= budget:
        for plane in source.planes():
            yield source.read(plane, (0, rows), (0, columns), dtype)
        return
    count = max(1, budget // (min(_WINDOW, rows) * min(_WINDOW, columns)))
    for window in spread_windows(source.shape, _WINDOW, count):
        yield source.read(*window, dtype)
