"""The layers that have an exact whole-image form, and the settings it requires."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn
from torch.nn.parameter import is_lazy

from napari_dsparse.errors import ConversionError

#: Layers that act on single values, or on the channels of one pixel only.
POINTWISE: tuple[type[nn.Module], ...] = (
    nn.Identity, nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU,
    nn.Mish, nn.Hardswish, nn.Hardsigmoid, nn.Hardtanh, nn.Tanh, nn.Sigmoid, nn.LogSigmoid, nn.Softplus,
    nn.Softsign, nn.Softshrink, nn.Hardshrink, nn.Tanhshrink, nn.Threshold,
    nn.Dropout, nn.AlphaDropout, nn.Dropout2d, nn.BatchNorm1d, nn.BatchNorm2d, nn.Softmax, nn.LogSoftmax,
)  # fmt: skip
POOLS = (nn.MaxPool2d, nn.AvgPool2d)
#: Pools over the whole map of the patch, whatever its size.
GLOBAL_POOLS = (nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)
MAX_POOLS = (nn.MaxPool2d, nn.AdaptiveMaxPool2d)
AVG_POOLS = (nn.AvgPool2d, nn.AdaptiveAvgPool2d)
#: Norms over a whole map: over the channels of one pixel where the map is one pixel.
MAP_NORMS = (nn.LayerNorm, nn.GroupNorm)
SUPPORTED = (nn.Conv2d, nn.Linear, nn.Flatten, *POOLS, *GLOBAL_POOLS, *MAP_NORMS, *POINTWISE)

#: What to do instead of padding inside a patch classifier.
NO_PADDING = (
    "it pads its input, which overlapping patches cannot share: set padding=0 and pad the whole image once, "
    "outside, by the patch minus 1 in all, as prediction does; where a skip connection needs maps of one "
    "size, crop the other branch by slicing, x[..., a:-a, a:-a]"
)


def refusal(name: str, layer: object, reason: str) -> ConversionError:
    """Error that names a layer that cannot be converted, and the reason."""
    return ConversionError(f"Layer {name!r} ({type(layer).__name__}) cannot be converted exactly: {reason}.")


def known_layers() -> str:
    """Names of the layers that can be converted, for messages."""
    names = ", ".join(sorted(kind.__name__ for kind in SUPPORTED))
    return (
        f"the layers that can be converted are {names}; between them torch.cat along channels, sums, slices, "
        "means over rows and columns, flatten(1) and plain activations"
    )


def is_supported(layer: nn.Module) -> bool:
    """True if `layer` computes what one of the `SUPPORTED` kinds does: that kind, with its own forward."""
    kind = next((kind for kind in SUPPORTED if isinstance(layer, kind)), None)
    same = kind is not None and getattr(type(layer), "forward", None) is getattr(kind, "forward", None)
    return same and "forward" not in vars(layer)


def check_layer(name: str, layer: nn.Module) -> None:
    """Raise ConversionError if `layer`, as it is set now, has no exact whole-image form."""
    if not is_supported(layer):
        raise refusal(name, layer, known_layers())
    if any(is_lazy(parameter) for parameter in layer.parameters(recurse=False)):
        raise refusal(name, layer, "its parameters are not initialised; run the network once on a patch")
    check_hooks(name, layer)
    reason = next((reason for holds, reason in _faults(layer) if holds), None)
    if reason:
        raise refusal(name, layer, reason)


def check_hooks(name: str, module: nn.Module) -> None:
    """Raise ConversionError if `module` has hooks around its forward pass."""
    if module._forward_hooks or module._forward_pre_hooks:
        raise refusal(
            name, module, "it has forward hooks, which the whole-image form would skip; remove them"
        )


def pair(value: object) -> tuple[int, int]:
    """(rows, columns) of a layer's setting."""
    rows, columns = value if isinstance(value, tuple | list) else (value, value)
    return int(rows), int(columns)


def _faults(layer: nn.Module) -> Iterator[tuple[bool, str]]:
    """Conditions under which a supported layer is not exact, each with its reason."""
    if isinstance(layer, nn.Conv2d):
        yield layer.padding not in ("valid", (0, 0), 0), NO_PADDING
    if isinstance(layer, POOLS):
        yield pair(layer.padding) != (0, 0), NO_PADDING
        yield bool(layer.ceil_mode), "ceil_mode reads beyond the patch; set it to False"
    if isinstance(layer, MAX_POOLS):
        yield bool(layer.return_indices), "return_indices gives two outputs; set it to False"
    if isinstance(layer, GLOBAL_POOLS):
        yield (
            layer.output_size not in (1, (1, 1), [1, 1]),
            f"it gives {layer.output_size} outputs; only 1, the whole map of the patch, can be converted",
        )
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
