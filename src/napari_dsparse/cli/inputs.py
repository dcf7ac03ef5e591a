"""Files named on the command line, as the engine reads them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from napari_dsparse.cli.arguments import ChannelAxis
from napari_dsparse.images import ImageSource, resolve_image
from napari_dsparse.images.reading import ImageFile, read_image

T = TypeVar("T")


@dataclass(frozen=True, slots=True, eq=False)
class InputImage:
    """An image to compute on, with the physical size of its pixels.

    Parameters
    ----------
    path : Path
    source : ImageSource
    scale : tuple of float
        One an axis of `source.shape`; 1.0 where the file does not say.
    units : tuple of str
        Unit of each scale, ``"pixel"`` where the file does not say.
    """

    path: Path
    source: ImageSource
    scale: tuple[float, ...]
    units: tuple[str, ...]


def read_input(path: Path, channel_axis: ChannelAxis, **expected: Any) -> InputImage:
    """Open the image at `path`.

    Parameters
    ----------
    path : Path
    channel_axis : int, None or "auto"
        What the user said; "auto" leaves it to the file and, where that does not say, to what is expected.
    **expected
        `labels_shape`, `channels` and `usual_axis` of `resolve_image`.
    """
    file = read_image(path)
    axis = file.channel_axis if channel_axis == "auto" and file.channel_axis is not None else channel_axis
    source = resolve_image(file.data, channel_axis=axis, name=path.name, **expected)
    return InputImage(
        path,
        source,
        _by_axis(file, file.scale, 1.0, source.channel_axis),
        _by_axis(file, file.units, "pixel", source.channel_axis),
    )


def _by_axis(
    file: ImageFile, values: tuple[T, ...], unknown: T, channel_axis: int | None
) -> tuple[T, ...]:
    """`values` of the file's spatial axes, where the channels may turn out to be on another axis."""
    every = list(values)
    if file.channel_axis is not None:
        every.insert(file.channel_axis, unknown)
    return tuple(value for axis, value in enumerate(every) if axis != channel_axis)
