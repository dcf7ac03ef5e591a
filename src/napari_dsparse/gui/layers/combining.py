"""Single-channel layers as the channels of one image, in a chosen order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_dsparse.errors import ImageError
from napari_dsparse.gui.layers.image_frame import MOST_CHANNELS, channel_choices, data_of, placement_of
from napari_dsparse.images.channel_stack import ChannelStack

if TYPE_CHECKING:
    import numpy.typing as npt
    from napari.layers import Image

#: Key of a combined layer's metadata: names of the layers that its channels are, in order.
CHANNEL_NAMES = "channel_names"


def is_single_channel(layer: Image) -> bool:
    """True of a layer that is likely one channel: grey, or a stack of slices."""
    return channel_choices(layer)[0].axis is None


def check_combination(layers: Sequence[Image]) -> None:
    """Refuse layers that are not channels of one image.

    Raises
    ------
    ImageError
        If they are fewer than two or more than 64, one has channels of its own, or one does not lie on the
        pixels of the first.
    """
    if len(layers) < 2:
        raise ImageError("Choose at least two layers to combine.")
    if len(layers) > MOST_CHANNELS:
        raise ImageError(f"{len(layers)} layers are too many; combine at most {MOST_CHANNELS}.")
    first = layers[0]
    place = placement_of(first)
    for layer in layers:
        if not is_single_channel(layer):
            raise ImageError(f"Layer {layer.name!r} has channels of its own; choose layers with one channel.")
        shape, wanted = tuple(data_of(layer).shape), tuple(data_of(first).shape)
        if shape != wanted:
            raise ImageError(
                f"Layer {layer.name!r} has shape {shape} and {first.name!r} has {wanted}; "
                "choose layers of one shape."
            )
        other = placement_of(layer)
        for key in ("scale", "translate", "rotate", "shear", "affine"):
            if not np.allclose(place[key], other[key]):
                raise ImageError(
                    f"Layers {first.name!r} and {layer.name!r} differ in {key}; "
                    "choose layers that lie on the same pixels."
                )
        if [str(unit) for unit in place["units"]] != [str(unit) for unit in other["units"]]:
            raise ImageError(
                f"Layers {first.name!r} and {layer.name!r} differ in units; choose layers of the same units."
            )


def combined_layer(layers: Sequence[Image]) -> Image:
    """A new layer with `layers` as its channels, first axis first; nothing is copied or read yet.

    It is not shown: the layers themselves are, in their colours.

    Raises
    ------
    ImageError
        If they cannot be combined; see `check_combination`.
    """
    from napari.layers import Image

    check_combination(layers)
    place = placement_of(layers[0])
    return Image(
        ChannelStack([data_of(layer) for layer in layers]),
        name=" + ".join(layer.name for layer in layers),
        rgb=False,
        visible=False,
        contrast_limits=layers[0].contrast_limits,
        metadata={CHANNEL_NAMES: [layer.name for layer in layers]},
        scale=(1.0, *place["scale"]),
        translate=(0.0, *place["translate"]),
        rotate=_with_axis(place["rotate"]),
        shear=_with_axis(place["shear"]),
        affine=_with_axis(place["affine"]),
        units=("pixel", *place["units"]),
        axis_labels=("channel", *place["axis_labels"]),
    )


def _with_axis(matrix: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """`matrix` with a further axis in front, which it leaves as it is."""
    found = np.eye(len(matrix) + 1)
    found[1:, 1:] = matrix
    return found
