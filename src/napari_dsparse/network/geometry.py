"""What an ordinary patch classifier reads, layer by layer, and whether it has an exact whole-image form."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from torch import nn
from torch.nn.parameter import is_lazy

from napari_dsparse.errors import ConversionError
from napari_dsparse.sites import Window

#: Layers that act on every value by itself, or on the channels of one pixel only.
POINTWISE: tuple[type[nn.Module], ...] = (
    nn.Identity, nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU,
    nn.Mish, nn.Hardswish, nn.Hardsigmoid, nn.Hardtanh, nn.Tanh, nn.Sigmoid, nn.LogSigmoid, nn.Softplus,
    nn.Softsign, nn.Softshrink, nn.Hardshrink, nn.Tanhshrink, nn.Threshold,
    nn.Dropout, nn.AlphaDropout, nn.Dropout2d, nn.BatchNorm1d, nn.BatchNorm2d, nn.Softmax, nn.LogSoftmax,
)  # fmt: skip
POOLS = (nn.MaxPool2d, nn.AvgPool2d)
SUPPORTED = (nn.Conv2d, nn.Linear, nn.Flatten, *POOLS, *POINTWISE)


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """One layer in its whole-image form.

    Parameters
    ----------
    name : str
        Dotted name in the network, for messages.
    module : nn.Module
        The layer itself; its parameters are shared, never copied.
    window : Window or None
        What it reads around a pixel; None for pointwise layers.
    """

    name: str
    module: nn.Module
    window: Window | None


@dataclass(frozen=True, slots=True, eq=False)
class Geometry:
    """A patch classifier's layers with their dilations, and the patch it looks at.

    Parameters
    ----------
    steps : tuple of Step
    patch : (int, int)
        Smallest patch (rows, columns) that gives one output.
    stride : (int, int)
        Pixels between neighbouring outputs where the patch classifier itself, strides and all, runs on a map.
    """

    steps: tuple[Step, ...]
    patch: tuple[int, int]
    stride: tuple[int, int]

    @property
    def windows(self) -> tuple[Window, ...]:
        """Windows of the steps that read more than their own pixel, first layer first."""
        return tuple(step.window for step in self.steps if step.window and reads_neighbours(step))


def reads_neighbours(step: Step) -> bool:
    """Whether a step reads other pixels than its own (a 1 x 1 convolution does not)."""
    return step.window is not None and step.window.kernel != (1, 1)


def trace(network: nn.Module, in_shape: tuple[int, ...] | None = None) -> Geometry:
    """Follow the dilation through `network` and size its patch.

    Parameters
    ----------
    network : nn.Module
        `nn.Sequential`, nested allowed, or one layer.
    in_shape : tuple of int, optional
        A patch the network takes, as (rows, columns) or (channels, rows, columns): needed only to tell how a
        flattened map that is not square was shaped.

    Raises
    ------
    ConversionError
        If a layer has no exact whole-image form; the message names the layer and the reason.
    """
    layers = tuple(_leaves(network))
    for name, layer in layers:
        check_layer(name, layer)
    flat = _flattened_shape(layers, in_shape)
    steps: list[Step] = []
    strides: list[tuple[int, int]] = []
    dilation = (1, 1)
    flattened = False
    for name, layer in layers:
        stride = (1, 1)
        window: Window | None = None
        if isinstance(layer, nn.Flatten):
            flattened = True
            continue
        if flattened and isinstance(layer, (nn.Conv2d, *POOLS)):
            raise _refusal(name, layer, "it comes after a Flatten; use Linear layers there")
        if isinstance(layer, nn.Linear):
            if not flattened:
                raise _refusal(name, layer, "it has no Flatten before it, so it would act on image columns")
            window = Window(flat or (1, 1), dilation)
            flat = None  # later Linear layers are 1 x 1
        elif isinstance(layer, (nn.Conv2d, *POOLS)):
            kernel, own, stride = _taps(layer)
            window = Window(kernel, (dilation[0] * own[0], dilation[1] * own[1]))
        elif isinstance(layer, (nn.BatchNorm1d, nn.Softmax, nn.LogSoftmax)):
            _check_channelwise(name, layer, flattened, flat)
        steps.append(Step(name, layer, window))
        strides.append(stride)
        dilation = (dilation[0] * stride[0], dilation[1] * stride[1])
    if flat not in (None, (1, 1)):
        raise ConversionError(
            f"The network flattens a map of {flat[0]} x {flat[1]} but has no Linear layer after it; "
            "add one that turns it into class scores."
        )
    spans = [step.window.span if step.window else (0, 0) for step in steps]
    patch = 1 + sum(span[0] for span in spans), 1 + sum(span[1] for span in spans)
    return Geometry(tuple(steps), patch, dilation)


def patch_size(network: nn.Module, in_shape: tuple[int, ...] | None = None) -> int | tuple[int, int]:
    """The smallest patch that gives one output, P, or (rows, columns) where they differ.

    Pooling that drops a remainder makes some larger patches work too: they hold pixels nobody reads.

    Parameters
    ----------
    network : nn.Module
        A patch classifier as `densify` takes it.
    in_shape : tuple of int, optional
        A patch the network takes, where a flattened map is not square.

    Raises
    ------
    ConversionError
        If the network cannot be converted.
    """
    rows, columns = trace(network, in_shape).patch
    return rows if rows == columns else (rows, columns)


def check_layer(name: str, layer: nn.Module) -> None:
    """Raise ConversionError if `layer`, as it is set now, has no exact whole-image form."""
    kind = next((kind for kind in SUPPORTED if isinstance(layer, kind)), None)
    if kind is None or getattr(type(layer), "forward", None) is not getattr(kind, "forward", None):
        known = ", ".join(sorted(k.__name__ for k in SUPPORTED))
        raise _refusal(name, layer, f"the layers that can be converted are {known}, nested in Sequential")
    if any(is_lazy(parameter) for parameter in layer.parameters(recurse=False)):
        raise _refusal(name, layer, "its parameters are not initialised; run the network once on a patch")
    if layer._forward_hooks or layer._forward_pre_hooks:
        raise _refusal(
            name, layer, "it has forward hooks, which the whole-image form would skip; remove them"
        )
    reason = next((reason for holds, reason in _faults(layer) if holds), None)
    if reason:
        raise _refusal(name, layer, reason)


def check_modes(geometry: Geometry) -> None:
    """Check again what `train()` and `eval()` change after conversion."""
    for step in geometry.steps:
        if isinstance(step.module, (nn.BatchNorm1d, nn.BatchNorm2d, nn.Dropout2d)):
            check_layer(step.name, step.module)


def _faults(layer: nn.Module) -> Iterator[tuple[bool, str]]:
    """Conditions under which a supported layer is not exact, each with its reason."""
    if isinstance(layer, nn.Conv2d):
        yield layer.padding not in ("valid", (0, 0), 0), "it pads its input; pad the image once, outside"
    if isinstance(layer, POOLS):
        yield _pair(layer.padding) != (0, 0), "it pads its input; pad the image once, outside"
        yield bool(layer.ceil_mode), "ceil_mode reads beyond the patch; set it to False"
    if isinstance(layer, nn.MaxPool2d):
        yield bool(layer.return_indices), "return_indices gives two outputs; set it to False"
    if isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d)):
        yield layer.training, "it is in training mode, where patches depend on one another; call .eval()"
        yield layer.running_mean is None, "it keeps no running statistics, so patches depend on one another"
    if isinstance(layer, nn.Dropout2d):
        yield (
            layer.training and layer.p > 0,
            "in training mode it drops whole channels of a patch, which overlapping patches cannot share; "
            "use Dropout, or call .eval()",
        )
    if isinstance(layer, nn.Flatten):
        whole = layer.start_dim == 1 and layer.end_dim in (-1, 3)
        yield not whole, "only Flatten(1, -1) can be converted"


def _check_channelwise(name: str, layer: nn.Module, flattened: bool, flat: tuple[int, int] | None) -> None:
    """Layers over the feature axis are pointwise only where that axis is the channels of one pixel."""
    pending = flattened and flat not in (None, (1, 1))
    if pending:
        raise _refusal(name, layer, "it acts on a flattened map as a whole; put it after the first Linear")
    if isinstance(layer, nn.BatchNorm1d):
        if not flattened:
            raise _refusal(name, layer, "it has no Flatten before it; use BatchNorm2d on maps")
    elif layer.dim not in ((1, -1) if flattened else (1,)):
        raise _refusal(name, layer, f"it acts on axis {layer.dim}; only the channels, dim=1, are exact")


def _flattened_shape(
    layers: tuple[tuple[str, nn.Module], ...], in_shape: tuple[int, ...] | None
) -> tuple[int, int] | None:
    """Rows and columns of the map that the first Flatten receives; None where nothing is flattened."""
    at = next((i for i, (_, layer) in enumerate(layers) if isinstance(layer, nn.Flatten)), None)
    before = layers[:at]
    linear = next(
        ((n, layer) for n, layer in layers[at:] if at is not None and isinstance(layer, nn.Linear)), None
    )
    channels = _channels_out(before)
    if in_shape is not None:
        size = _map_size(before, _patch_sides(in_shape))
        if at is None and size != (1, 1):
            raise ConversionError(
                f"On a patch of {in_shape} the network gives {size[0]} x {size[1]} outputs; give the size "
                "of a patch that gives one."
            )
        if linear is not None:
            features, area = linear[1].in_features, size[0] * size[1]
            if features % area or channels not in (None, features // area):
                raise _refusal(
                    *linear,
                    f"it takes {features} features, but a patch of {in_shape} gives a map of "
                    f"{size[0]} x {size[1]}; pass the patch the network was made for",
                )
        return None if at is None else size
    if linear is None:
        return None if at is None else (1, 1)
    if channels is None:
        raise _refusal(*linear, "its input's channels cannot be told; pass in_shape=(rows, columns)")
    area, rest = divmod(linear[1].in_features, channels)
    side = math.isqrt(area)
    if rest or not area or side * side != area:
        raise _refusal(
            *linear,
            f"its {linear[1].in_features} features over {channels} channels are no square map; "
            "pass in_shape=(rows, columns) of a patch",
        )
    return side, side


def _patch_sides(in_shape: tuple[int, ...]) -> tuple[int, int]:
    if len(in_shape) not in (2, 3) or min(in_shape) < 1:
        raise ConversionError(
            f"in_shape is {in_shape}; give the patch as (rows, columns) or (channels, rows, columns)."
        )
    return int(in_shape[-2]), int(in_shape[-1])


def _map_size(layers: tuple[tuple[str, nn.Module], ...] | None, size: tuple[int, int]) -> tuple[int, int]:
    """Rows and columns that strided layers make of a patch."""
    for name, layer in layers or ():
        if isinstance(layer, (nn.Conv2d, *POOLS)):
            kernel, own, stride = _taps(layer)
            rows, columns = ((size[i] - ((kernel[i] - 1) * own[i] + 1)) // stride[i] + 1 for i in (0, 1))
            if rows < 1 or columns < 1:
                raise _refusal(name, layer, f"the patch is too small: {size[0]} x {size[1]} arrive here")
            size = rows, columns
    return size


def _channels_out(layers: tuple[tuple[str, nn.Module], ...]) -> int | None:
    convolutions = [layer for _, layer in layers if isinstance(layer, nn.Conv2d)]
    norms = [layer for _, layer in layers if isinstance(layer, nn.BatchNorm2d)]
    if convolutions:
        return convolutions[-1].out_channels
    return norms[-1].num_features if norms else None


def _taps(layer: nn.Module) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
    """Kernel, the layer's own dilation, and stride."""
    kernel = _pair(layer.kernel_size)
    return kernel, _pair(getattr(layer, "dilation", 1)), _pair(layer.stride or kernel)


def _pair(value: object) -> tuple[int, int]:
    rows, columns = value if isinstance(value, tuple | list) else (value, value)
    return int(rows), int(columns)


def _leaves(network: nn.Module, prefix: str = "") -> Iterator[tuple[str, nn.Module]]:
    """Layers in order with their dotted names."""
    plain: Callable[..., object] = nn.Sequential.forward
    if isinstance(network, nn.Sequential) and type(network).forward is plain:
        if network._forward_hooks or network._forward_pre_hooks:
            raise _refusal(prefix or "network", network, "it has forward hooks; remove them")
        for name, child in network.named_children():
            yield from _leaves(child, f"{prefix}.{name}" if prefix else name)
    else:
        yield prefix or "network", network


def _refusal(name: str, layer: nn.Module, reason: str) -> ConversionError:
    return ConversionError(f"Layer {name!r} ({type(layer).__name__}) cannot be converted exactly: {reason}.")
