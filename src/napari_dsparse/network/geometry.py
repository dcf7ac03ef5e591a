"""Reach of a patch classifier, layer by layer, in its exact whole-image form (arXiv:1412.4526).

Every map lies in the frame of the image: its value at (y, x) is the first pixel of what the layer makes of
the patch at (y, x), and that map's other pixels are the values `dilation` farther on. So a slice that begins
at a is a shift by a times the dilation, and maps only shrink at their far sides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from napari_dsparse.errors import ConversionError
from napari_dsparse.network.graph import PATCH, Join, Layer, Slices, read_graph
from napari_dsparse.network.sizes import Sizes, smallest_patch
from napari_dsparse.network.supported import (
    AVG_POOLS,
    GLOBAL_POOLS,
    MAX_POOLS,
    check_layer,
    refusal,
)
from napari_dsparse.sites import Reader, TapWindow

#: Taps from which pools run at active sites by columns, then by rows: k + k taps, not k k.
SEPARATE_TAPS = 16


@dataclass(frozen=True, slots=True)
class Crop:
    """A slice of a map in the whole-image form: some channels, from `shift` (rows, columns) pixels on."""

    channels: slice
    shift: tuple[int, int]


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """One layer in its whole-image form.

    Parameters
    ----------
    name : str
        Dotted name in the network, for messages.
    module : nn.Module, Crop or Join
        The layer itself; its parameters are shared, never copied.
    window : TapWindow or None
        What it reads around a pixel; None for pointwise layers, crops and joins.
    number : int
        Its place among all steps.
    inputs : tuple of int
        Numbers of the steps it reads; -1 is the image.
    readers : int
        Number of reads of its map; the last step's map is the result.
    margin : (int, int)
        Rows and columns of its map that are read beyond those of the result.
    channels : int or None
        Of its map; None where the network does not determine it.
    """

    name: str
    module: nn.Module | Crop | Join
    window: TapWindow | None
    number: int
    inputs: tuple[int, ...]
    readers: int
    margin: tuple[int, int]
    channels: int | None


@dataclass(frozen=True, slots=True, eq=False)
class Geometry:
    """A patch classifier's layers with their dilations, and the patch it looks at.

    Parameters
    ----------
    steps : tuple of Step
        In the order in which they run.
    trunk : int
        Number of steps before the first fork or slice.
    patch : (int, int)
        Smallest patch (rows, columns) that gives one output.
    stride : (int, int)
        Pixels between neighbouring outputs where the patch classifier itself, strides and all, runs on a map.
    reads : tuple of tuple of Reader
        What every step reads at active sites, by step: two after one another for a pool run by axis.
    """

    steps: tuple[Step, ...]
    trunk: int
    patch: tuple[int, int]
    stride: tuple[int, int]
    reads: tuple[tuple[Reader, ...], ...]

    @property
    def windows(self) -> tuple[Reader, ...]:
        """All of `reads` in a row, as `dependency_closure` takes them."""
        return tuple(reader for own in self.reads for reader in own)

    @property
    def trunk_patch(self) -> tuple[int, int]:
        """Rows and columns that the trunk alone reads for one pixel of its map."""
        spans = [step.window.span for step in self.steps[: self.trunk] if step.window]
        return 1 + sum(span[0] for span in spans), 1 + sum(span[1] for span in spans)


def reads_neighbours(step: Step) -> bool:
    """True if a step reads other pixels than its own (a 1 x 1 convolution does not)."""
    return step.window is not None and step.window.kernel != (1, 1)


def trace(network: nn.Module, in_shape: tuple[int, ...] | None = None) -> Geometry:
    """Follow the dilation through `network` and size its patch.

    Parameters
    ----------
    network : nn.Module
        Any that `torch.fx` traces into known layers, slices and joins; on any device, the meta device too.
    in_shape : tuple of int, optional
        A patch the network takes, as (rows, columns) or (channels, rows, columns): needed where a flattened
        map is not square, and where a global pool would take maps of any size.

    Raises
    ------
    ConversionError
        If a layer has no exact whole-image form; the message names the layer and the reason.
    """
    layers, flat = read_graph(network)
    sizes = smallest_patch(layers, in_shape)
    moved: list[_Place] = []
    for number, layer in enumerate(layers):
        moved.append(_place(number, layer, moved, sizes))
    _check_result(sizes, flat, in_shape)
    margins = _margins(layers, moved)
    readers = [0] * len(layers) + [0]
    for layer in layers:
        for i in layer.inputs:
            readers[i] += 1
    steps = tuple(
        Step(
            layer.name,
            place.module,
            place.window,
            number,
            layer.inputs,
            readers[number],
            margins[number],
            layer.channels,
        )
        for number, (layer, place) in enumerate(zip(layers, moved, strict=True))
    )
    trunk = _trunk(steps, readers[PATCH])
    stride = moved[-1].dilation if moved else (1, 1)
    patch = sizes[0].patch, sizes[1].patch
    return Geometry(steps, trunk, patch, stride, _reads(steps, readers[PATCH]))


def patch_size(network: nn.Module, in_shape: tuple[int, ...] | None = None) -> int | tuple[int, int]:
    """The smallest patch that gives one output, P, or (rows, columns) where they differ.

    Pooling that drops a remainder makes some larger patches work too: they hold pixels nobody reads.

    Parameters
    ----------
    network : nn.Module
        A patch classifier as `densify` takes it.
    in_shape : tuple of int, optional
        A patch the network takes, where a flattened map is not square or a global pool takes any.

    Raises
    ------
    ConversionError
        If the network cannot be converted.
    """
    rows, columns = trace(network, in_shape).patch
    return rows if rows == columns else (rows, columns)


def check_modes(geometry: Geometry) -> None:
    """Repeat the checks that `train()` and `eval()` after conversion may invalidate."""
    for step in geometry.steps:
        if isinstance(step.module, (nn.BatchNorm1d, nn.BatchNorm2d, nn.Dropout2d)):
            check_layer(step.name, step.module)


@dataclass(frozen=True, slots=True, eq=False)
class _Place:
    """A layer in the whole-image form, and the distance of its map's pixels."""

    module: nn.Module | Crop | Join
    window: TapWindow | None
    dilation: tuple[int, int]


def _place(number: int, layer: Layer, before: Sequence[_Place], sizes: tuple[Sizes, Sizes]) -> _Place:
    what = layer.what
    sides = [tuple(own.sides[i] if i >= 0 else own.patch for own in sizes) for i in layer.inputs]
    apart = [before[i].dilation if i >= 0 else (1, 1) for i in layer.inputs]
    dilation = apart[0]
    if layer.one_pixel and sides[0] != (1, 1):
        raise refusal(layer.name, what, f"{layer.one_pixel}; here it is {sides[0][0]} x {sides[0][1]}")
    if isinstance(what, Join):
        for axis, own in enumerate(sizes):
            distances = sorted({d[axis] for d in apart})
            if len(distances) > 1 and own.sides[number] > 1:
                raise refusal(
                    layer.name,
                    what,
                    f"maps whose pixels are {' and '.join(map(str, distances))} apart (the product of "
                    f"strides) meet here, {own.sides[number]} wide; bring the branches to one stride, or to "
                    "one pixel",
                )
        return _Place(what, None, dilation)
    if isinstance(what, Slices):
        cuts = [part.indices(n) for part, n in zip((what.rows, what.columns), sides[0], strict=True)]
        shift = cuts[0][0] * dilation[0], cuts[1][0] * dilation[1]
        coarser = dilation[0] * cuts[0][2], dilation[1] * cuts[1][2]
        return _Place(Crop(what.channels, shift), None, coarser)
    if isinstance(what, (nn.Linear, *GLOBAL_POOLS)):
        return _Place(what, TapWindow((sides[0][0], sides[0][1]), dilation), dilation)
    if layer.taps is not None:
        kernel, own_dilation, stride = layer.taps
        window = TapWindow(kernel, (dilation[0] * own_dilation[0], dilation[1] * own_dilation[1]))
        return _Place(what, window, (dilation[0] * stride[0], dilation[1] * stride[1]))
    return _Place(what, None, dilation)


def _check_result(sizes: tuple[Sizes, Sizes], flat: bool, in_shape: tuple[int, ...] | None) -> None:
    """Raise ConversionError unless the patch gives one output."""
    rows, columns = (own.given for own in sizes)
    if (rows, columns) == (1, 1):
        return
    if flat:
        raise ConversionError(
            f"The network flattens a map of {rows} x {columns} but has no Linear layer after it; "
            "add one that turns it into class scores."
        )
    raise ConversionError(
        f"On a patch of {in_shape} the network gives {rows} x {columns} outputs; give the size of a patch "
        "that gives one."
    )


def _margins(layers: Sequence[Layer], places: Sequence[_Place]) -> list[tuple[int, int]]:
    """Rows and columns read of every map beyond those of the result; the image's come last."""
    margins = [(0, 0)] * (len(layers) + 1)
    for number in reversed(range(len(layers))):
        place, own = places[number], margins[number]
        reach = place.module.shift if isinstance(place.module, Crop) else (0, 0)
        if place.window:
            reach = place.window.span
        for i in layers[number].inputs:
            margins[i] = max(margins[i][0], own[0] + reach[0]), max(margins[i][1], own[1] + reach[1])
    return margins


def _trunk(steps: Sequence[Step], readers_of_image: int) -> int:
    """Number of steps that follow one another from the image on."""
    alone = readers_of_image <= 1
    for step in steps:
        if not alone or step.inputs != (step.number - 1,) or isinstance(step.module, Crop | Join):
            return step.number
        alone = step.readers <= 1
    return len(steps)


def _reads(steps: Sequence[Step], readers_of_image: int) -> tuple[tuple[Reader, ...], ...]:
    """Readers of every step at active sites."""
    last = {PATCH: PATCH}
    found: list[tuple[Reader, ...]] = []
    count = 0
    for step in steps:
        inputs = tuple(last[i] for i in step.inputs)
        if reads_neighbours(step):
            assert step.window is not None
            windows = by_axis(step.window) if runs_by_axis(step) else (step.window,)
            own = [Reader(inputs, windows[0], (True,))]
            own += [Reader((count + i,), window, (True,)) for i, window in enumerate(windows[1:])]
        else:
            shared = [(steps[i].readers if i >= 0 else readers_of_image) > 1 for i in step.inputs]
            shift = step.module.shift if isinstance(step.module, Crop) else (0, 0)
            own = [Reader(inputs, None, tuple(one or shift != (0, 0) for one in shared), shift)]
        found.append(tuple(own))
        count += len(own)
        last[step.number] = count - 1
    return tuple(found)


def runs_by_axis(step: Step) -> bool:
    """True if a step is a pool so large that, at active sites, it runs by columns and then by rows."""
    if step.window is None or not isinstance(step.module, (*MAX_POOLS, *AVG_POOLS)):
        return False
    rows, columns = step.window.kernel
    return min(rows, columns) > 1 and rows * columns >= SEPARATE_TAPS


def by_axis(window: TapWindow) -> tuple[TapWindow, TapWindow]:
    """Columns first: then the first largest tap in row-major order is still the one that wins."""
    rows, columns = window.kernel
    return TapWindow((1, columns), window.dilation), TapWindow((rows, 1), window.dilation)
