"""The sizes of a patch classifier's maps: which patches fit it, and the smallest of them.

Rows and columns are treated separately. A patch is described by what depends on its size: the side of each
map that a Linear layer or a global pool takes whole, and where slices begin. Patches of one description are
the same classifier; larger ones only hold pixels that nobody reads.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from napari_dsparse.errors import ConversionError
from napari_dsparse.network.graph import Join, Layer, Slices
from napari_dsparse.network.supported import GLOBAL_POOLS, refusal

#: Longest side of a patch in the search.
LONGEST = 1 << 16
AXES = ("rows", "columns")


@dataclass(frozen=True, slots=True, eq=False)
class Sizes:
    """Sides of all maps along one axis for a patch of some side.

    Parameters
    ----------
    patch : int
    sides : tuple of int
        By layer number.
    given : int
        Side of what the network gives.
    key : tuple of int
        Identity of the classifier, as far as it depends on the patch.
    fault : ConversionError or None
        Why the network does not take this patch.
    """

    patch: int
    sides: tuple[int, ...]
    given: int
    key: tuple[int, ...]
    fault: ConversionError | None


def smallest_patch(layers: Sequence[Layer], in_shape: tuple[int, ...] | None) -> tuple[Sizes, Sizes]:
    """Sizes, by axis, on the smallest patch that gives one output; on `in_shape` itself if it gives more.

    Parameters
    ----------
    layers : sequence of Layer
    in_shape : tuple of int, optional
        A patch that the network takes, (rows, columns) or (channels, rows, columns).

    Raises
    ------
    ConversionError
        If there is no such patch, or several that mean different classifiers and no `in_shape`.
    """
    if in_shape is None:
        both = [_fitting(layers, axis, _linear_sides(layers)) for axis in (0, 1)]
        return both[0], both[1]
    given = [_on_patch(layers, axis, side, {}) for axis, side in enumerate(_patch_sides(in_shape))]
    for sizes in given:
        if sizes.fault:
            raise sizes.fault
    _check_linear(layers, given[0], given[1], in_shape)
    if any(sizes.given != 1 for sizes in given):
        return given[0], given[1]
    both = [_smallest_like(layers, axis, sizes) for axis, sizes in enumerate(given)]
    return both[0], both[1]


def _on_patch(layers: Sequence[Layer], axis: int, patch: int, linear: dict[int, int]) -> Sizes:
    """Sizes on a patch of that side; `linear` is the side of the map that some Linear layers require.

    Where maps of unequal sides meet, the smaller counts, so that sides grow with the patch.
    """
    sides: list[int] = []
    key: list[int] = []
    fault: ConversionError | None = None
    for number, layer in enumerate(layers):
        incoming = [sides[i] if i >= 0 else patch for i in layer.inputs]
        side, what, reason = incoming[0], layer.what, ""
        if isinstance(what, Join):
            side = min(incoming)
            if max(incoming) != side:
                reason = (
                    f"maps of {' and '.join(map(str, incoming))} {AXES[axis]} meet here on a patch of "
                    f"{patch}; crop the larger by slicing"
                )
        elif isinstance(what, Slices):
            part = range(*(what.rows, what.columns)[axis].indices(side))
            if len(part) and part.step < 0:
                reason = "its slice runs backwards"
            key.append(part.start if part.step > 0 else 0)
            side = len(part)
        elif isinstance(what, (nn.Linear, *GLOBAL_POOLS)):
            key.append(side)
            wanted = linear.get(number, side)
            if wanted != side:
                reason = (
                    f"it takes a map of {wanted} {AXES[axis]}, and a patch of {patch} gives {side}; pass the "
                    "patch the network was made for as in_shape=(rows, columns)"
                )
            side = 1
        elif layer.taps is not None:
            kernel, own, stride = layer.taps
            side = (side - (kernel[axis] - 1) * own[axis] - 1) // stride[axis] + 1
        if side < 1:
            arrive = " and ".join(map(str, incoming))
            small = refusal(layer.name, what, f"the patch is too small: {arrive} {AXES[axis]} arrive here")
            return Sizes(patch, (), 0, (), small)
        if reason and fault is None:
            fault = refusal(layer.name, what, reason)
        sides.append(side)
    return Sizes(patch, tuple(sides), sides[-1] if sides else patch, tuple(key), fault)


def _fitting(layers: Sequence[Layer], axis: int, linear: dict[int, int]) -> Sizes:
    """The smallest patch that gives one output, if all that do are the same classifier."""
    first = _first_not_too_small(layers, axis, linear)
    if first.given == 1 and not first.fault and not _depends_on_patch(layers):
        return first
    period = math.lcm(*_strides(layers, axis))
    fault, found = first.fault, None
    for patch in range(first.patch, first.patch + 2 * period + 64 + _fixed_ends(layers, axis)):
        sizes = _on_patch(layers, axis, patch, linear)
        if sizes.given > 1:
            fault = fault or ConversionError(
                f"On no patch does the network give one output: on {patch} {AXES[axis]} it is {sizes.given}."
            )
            break
        if sizes.fault:
            fault = fault or sizes.fault
        elif found is None:
            found = sizes
        elif sizes.key != found.key:
            raise ConversionError(
                f"The network takes patches of {found.patch} {AXES[axis]}, {sizes.patch} and more, each with "
                "another result, because it pools over the whole map of the patch or slices from its end; "
                "say which patch it was made for: in_shape=(rows, columns)."
            )
        if found and not _depends_on_patch(layers):
            break
    if found is None:
        assert fault is not None
        raise fault
    return found


def _smallest_like(layers: Sequence[Layer], axis: int, wanted: Sizes) -> Sizes:
    """The smallest patch that is the same classifier as `wanted`."""
    first = _first_not_too_small(layers, axis, {})
    for patch in range(first.patch, wanted.patch):
        sizes = _on_patch(layers, axis, patch, {})
        if sizes.key == wanted.key and sizes.given == 1 and not sizes.fault:
            return sizes
    return wanted


def _first_not_too_small(layers: Sequence[Layer], axis: int, linear: dict[int, int]) -> Sizes:
    """The smallest patch that leaves no map empty: sides grow with the patch."""
    low, high = 0, 1
    while not (sizes := _on_patch(layers, axis, high, linear)).sides and layers:
        low, high = high, 2 * high
        if high > LONGEST:
            assert sizes.fault is not None
            raise sizes.fault
    while high - low > 1:
        middle = (low + high) // 2
        if _on_patch(layers, axis, middle, linear).sides:
            high = middle
        else:
            low = middle
    return _on_patch(layers, axis, high, linear)


def _depends_on_patch(layers: Sequence[Layer]) -> bool:
    """True if patches of two sizes may be different classifiers."""
    return any(
        isinstance(layer.what, GLOBAL_POOLS)
        or (
            isinstance(layer.what, Slices)
            and min(layer.what.rows.start or 0, layer.what.columns.start or 0) < 0
        )
        for layer in layers
    )


def _strides(layers: Sequence[Layer], axis: int) -> list[int]:
    """The products of strides up to each layer: floors repeat with the patch in their least multiple."""
    found: list[int] = []
    for layer in layers:
        before = max((found[i] if i >= 0 else 1 for i in layer.inputs), default=1)
        own = 1 if layer.taps is None else layer.taps[2][axis]
        if isinstance(layer.what, Slices):
            own = abs((layer.what.rows, layer.what.columns)[axis].step or 1)
        found.append(before * own)
    return found or [1]


def _fixed_ends(layers: Sequence[Layer], axis: int) -> int:
    """Farthest end of a slice that counts from the front: maps stop growing there."""
    ends = [(x.what.rows, x.what.columns)[axis].stop or 0 for x in layers if isinstance(x.what, Slices)]
    strides = _strides(layers, axis)
    return max([0, *ends]) * max(strides)


def _linear_sides(layers: Sequence[Layer]) -> dict[int, int]:
    """Side of the square map that each Linear layer takes, by its features and the channels before it."""
    found = {}
    for number, layer in enumerate(layers):
        if not isinstance(layer.what, nn.Linear):
            continue
        before = layer.inputs[0]
        channels = layers[before].channels if before >= 0 else None
        if channels is None:
            raise refusal(
                layer.name, layer.what, "its input's channels cannot be told; pass in_shape=(rows, columns)"
            )
        area, rest = divmod(layer.what.in_features, channels)
        side = math.isqrt(area)
        if rest or not area or side * side != area:
            raise refusal(
                layer.name,
                layer.what,
                f"its {layer.what.in_features} features over {channels} channels are no square map; "
                "pass in_shape=(rows, columns) of a patch",
            )
        found[number] = side
    return found


def _check_linear(layers: Sequence[Layer], rows: Sizes, columns: Sizes, in_shape: tuple[int, ...]) -> None:
    """Refuse Linear layers whose features are not those of the map that this patch gives them."""
    for layer in layers:
        if isinstance(layer.what, nn.Linear):
            before = layer.inputs[0]
            height, width = (sizes.sides[before] if before >= 0 else sizes.patch for sizes in (rows, columns))
            channels = layers[before].channels if before >= 0 else None
            per_channel, rest = divmod(layer.what.in_features, height * width)
            if rest or channels not in (None, per_channel):
                raise refusal(
                    layer.name,
                    layer.what,
                    f"it takes {layer.what.in_features} features, but a patch of {in_shape} gives a map of "
                    f"{height} x {width}; pass the patch the network was made for",
                )


def _patch_sides(in_shape: tuple[int, ...]) -> tuple[int, int]:
    if len(in_shape) not in (2, 3) or min(in_shape) < 1:
        raise ConversionError(
            f"in_shape is {in_shape}; give the patch as (rows, columns) or (channels, rows, columns)."
        )
    return int(in_shape[-2]), int(in_shape[-1])
