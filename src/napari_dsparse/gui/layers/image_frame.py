"""Frames of image layers: the axes that the engine reads, and where labels and results on its pixels lie."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_dsparse.errors import ImageError
from napari_dsparse.images.source import ImageSource, resolve_image

if TYPE_CHECKING:
    import numpy.typing as npt
    from napari.layers import Image, Labels, Layer

#: Axis labels that mean channels.
_CHANNEL_LABELS = frozenset({"c", "ch", "channel", "channels", "s", "sample", "samples", "rgb", "lambda"})
#: Axis labels that mean time.
_TIME_LABELS = frozenset({"t", "time", "frame", "frames"})

#: More channels than an image has whose file does not say so.
MOST_CHANNELS = 64
#: Planes that are likelier channels than slices where nothing is said.
FEW_CHANNELS = 4


@dataclass(frozen=True, slots=True)
class ChannelChoice:
    """One way to read the axes of an image, as the user can choose it.

    Parameters
    ----------
    axis : int or None
        Axis of the layer's data that holds the channels; None reads every leading axis as slices.
    text : str
        Text of the choice for the user.
    """

    axis: int | None
    text: str


def channel_choices(layer: Image) -> tuple[ChannelChoice, ...]:
    """Every way to read `layer`, the likeliest first.

    The axis of an RGB layer, or one labelled as channels, holds channels. Where nothing is labelled, a
    leading axis of 2 to 4 in front of rows and columns is likelier channels than slices. Axes longer than
    any microscope has channels are offered only if they are labelled so.
    """
    shape = data_of(layer).shape
    if layer.rgb:
        return (ChannelChoice(len(shape) - 1, "RGBA" if shape[-1] == 4 else "RGB"),)
    if len(shape) == 2:
        return (ChannelChoice(None, "grey"),)
    slices = ChannelChoice(None, "none: " + " x ".join(map(str, shape[:-2])) + " slices")
    as_channels = [
        ChannelChoice(axis, f"axis {_axis_name(layer, axis)}: {shape[axis]} channels")
        for axis in range(len(shape))
    ]
    labelled = [choice for choice in as_channels if _says_channel(layer, choice.axis)]
    others = [
        choice for choice in as_channels if choice not in labelled and shape[choice.axis] <= MOST_CHANNELS
    ]
    if not labelled and _leads_with_few(layer, shape):
        return (others[0], slices, *others[1:])
    return (*labelled, slices, *others)


def _leads_with_few(layer: Image, shape: Sequence[int]) -> bool:
    """True of a few planes whose axis has neither a name nor a size of its own: likely one per channel."""
    named = not str(layer.axis_labels[0]).lstrip("-").isdigit()
    return are_few_planes(shape) and not named and layer.scale[0] == 1


def are_few_planes(shape: Sequence[int]) -> bool:
    """True of a shape like (3, Y, X): planes so few that they are likelier channels than slices."""
    return len(shape) == 3 and 2 <= shape[0] <= FEW_CHANNELS and min(shape[1:]) > FEW_CHANNELS


def _says_channel(layer: Image, axis: int | None) -> bool:
    return axis is not None and str(layer.axis_labels[axis]).lower() in _CHANNEL_LABELS


def _axis_name(layer: Image, axis: int) -> str:
    label = str(layer.axis_labels[axis])
    return str(axis) if label.lstrip("-").isdigit() else f"{axis} ({label})"


def data_of(layer: Image | Labels) -> Any:
    """The full-resolution array: level 0 of a multiscale layer."""
    return layer.data[0] if layer.multiscale else layer.data


@dataclass(frozen=True, slots=True, eq=False)
class ImageFrame:
    """An image layer, resolved once: what the engine reads and where its results belong.

    Made by `frame_of`; a change of image or channel choice makes a new one.

    Parameters
    ----------
    source : ImageSource
        The pixels, for the engine.
    layer_shape : tuple of int
        Shape of labels and result layers.
    kept_axis : int or None
        Axis of length one in `layer_shape` that stands for the channels, stretched over all of them, so that
        the sliders of the axes before it still match. None where no such axis is needed.
    placement : mapping
        ``scale``, ``translate``, ``rotate``, ``shear``, ``affine``, ``units`` and ``axis_labels`` of layers
        on this image's pixels.
    """

    source: ImageSource
    layer_shape: tuple[int, ...]
    kept_axis: int | None
    placement: Mapping[str, Any]

    @property
    def spatial_axes(self) -> tuple[int, ...]:
        """Axes of a layer of `layer_shape` that are axes of the source, in order (..., row, column)."""
        return tuple(axis for axis in range(len(self.layer_shape)) if axis != self.kept_axis)

    def engine_view(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """`array` of `layer_shape` as the engine sees it, of `source.shape`: a view, not a copy."""
        if self.kept_axis is None:
            return array
        return array[(slice(None),) * self.kept_axis + (0,)]

    def layer_index(self, index: Sequence[int | slice]) -> tuple[int | slice, ...]:
        """An index into `source.shape` as an index into `layer_shape`."""
        if self.kept_axis is None:
            return tuple(index)
        return (*index[: self.kept_axis], slice(0, 1), *index[self.kept_axis :])


def frame_of(layer: Image, choice: ChannelChoice) -> ImageFrame:
    """Resolve `layer` as `choice` reads it.

    Raises
    ------
    ImageError
        If the data cannot be read as pixels.
    """
    data = data_of(layer)
    planes = [axis for axis in range(len(data.shape) - 2 - layer.rgb) if axis != choice.axis]
    in_time = bool(planes) and str(layer.axis_labels[planes[-1]]).lower() in _TIME_LABELS
    source = ImageSource(data, choice.axis, layer.name, in_time=in_time)
    if layer.rgb or choice.axis is None:
        return ImageFrame(source, source.shape, None, placement_of(layer))
    if choice.axis == 0:  # napari lines layers up at their last axis, so a leading one can simply go
        return ImageFrame(source, source.shape, None, placement_of(layer, without_first=True))
    shape = tuple(1 if axis == choice.axis else int(n) for axis, n in enumerate(data.shape))
    channels = int(data.shape[choice.axis])
    return ImageFrame(source, shape, choice.axis, _stretched(layer, choice.axis, channels))


def frame_for_labels(layer: Image, shape: Sequence[int], labels_name: str) -> ImageFrame:
    """Resolve `layer` as labels of `shape` that lie on its pixels tell; the likeliest reading that fits.

    Raises
    ------
    ImageError
        If none fits, or the data cannot be read as pixels.
    """
    frames = [frame_of(layer, choice) for choice in channel_choices(layer)]
    for frame in frames:
        if frame.layer_shape == tuple(shape):
            return frame
    raise ImageError(
        f"Labels layer {labels_name!r} has shape {tuple(shape)} and image {layer.name!r} has "
        f"{data_of(layer).shape}; choose a labels layer of the image's shape, channels left out."
    )


def frame_for_channels(layer: Image, channels: int, usual_axis: int | None) -> ImageFrame:
    """Resolve `layer` as an image of so many channels, for a model that reads them.

    Raises
    ------
    ImageError
        If it does not have as many, or the data cannot be read as pixels.
    """
    known = channel_choices(layer)[0].axis
    if not layer.rgb and not _says_channel(layer, known):
        known = None
    if known is None and channels == 1:
        return frame_of(layer, ChannelChoice(None, "slices"))  # napari shows no colour: a stack
    source = resolve_image(
        data_of(layer),
        channels=channels,
        channel_axis="auto" if known is None else known,
        usual_axis=usual_axis,
        name=layer.name,
    )
    return frame_of(layer, ChannelChoice(source.channel_axis, "channels"))


def placement_of(layer: Layer, *, without_first: bool = False) -> dict[str, Any]:
    """Keyword arguments that put a new layer on the pixels of `layer`, or of all its axes but the first."""
    first = 1 if without_first else 0
    return {
        "scale": np.array(layer.scale)[first:],
        "translate": np.array(layer.translate)[first:],
        "rotate": np.array(layer.rotate)[first:, first:],
        "shear": _shear_matrix(np.asarray(layer.shear), layer.ndim)[first:, first:],
        "affine": np.array(layer.affine.affine_matrix)[first:, first:],
        "units": tuple(layer.units[first:]),
        "axis_labels": tuple(layer.axis_labels[first:]),
    }


def _stretched(layer: Image, axis: int, channels: int) -> dict[str, Any]:
    """Placement of a layer with one long pixel over all `channels`, centred on them."""
    placement = placement_of(layer)
    step = placement["scale"][axis]
    placement["scale"][axis] = step * channels
    placement["translate"][axis] += step * (channels - 1) / 2
    return placement


def _shear_matrix(shear: npt.NDArray[Any], ndim: int) -> npt.NDArray[Any]:
    """napari gives either the matrix or its upper triangle as a vector; only the matrix can lose an axis."""
    if shear.ndim == 2:
        return shear
    matrix = np.eye(ndim)
    matrix[np.triu_indices(ndim, k=1)] = shear
    return matrix


def is_sparse(layer: Labels) -> bool:
    """True of a layer of sparse strokes: a pyramid that can be painted on."""
    return hasattr(layer.data, "snapshot")


def check_strokes(frame: ImageFrame, layer: Labels) -> None:
    """Refuse a labels layer that cannot hold strokes on the image's pixels.

    Raises
    ------
    ImageError
        If it is a pyramid, or the shapes differ.
    """
    if layer.multiscale and not is_sparse(layer):
        raise ImageError(
            f"Labels layer {layer.name!r} is a pyramid, which napari cannot paint on; choose another one or "
            "press New."
        )
    shape = tuple(layer.data.shape)
    if shape != frame.layer_shape:
        raise ImageError(
            f"Labels layer {layer.name!r} has shape {shape}, image {frame.source.name!r} needs "
            f"{frame.layer_shape}; choose another one or press New."
        )
