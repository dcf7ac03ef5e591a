"""What a built-in network knows before it sees a stroke: weights learned beforehand on synthetic scenes.

The files lie in ``warm/``, with a model card that says what they were learned from. They hold all layers but
the last, for one channel; further channels are looked at with the same weights, each by itself, and meet in
the last layer, which is fitted to the strokes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType

from safetensors.torch import load
from torch import Tensor

from napari_dsparse.network.spec import NetworkSpec


@dataclass(frozen=True, slots=True, eq=False)
class WarmStart:
    """Where learning begins.

    Parameters
    ----------
    weights : mapping of str to Tensor
        All of a network but its last layer, by parameter name; float32.
    ridge, scale, caution : float
        How strongly the last layer is held back when it is fitted, what its scores are multiplied by to be
        logits, and how much more it is held back where little was painted.
    """

    weights: Mapping[str, Tensor]
    ridge: float
    scale: float
    caution: float


def warm_start(spec: NetworkSpec) -> WarmStart:
    """The warm start of `spec`, for its number of channels."""
    stored = _stored(spec.name)
    weights = {
        name: tensor.repeat(spec.channels, *(1,) * (tensor.ndim - 1))
        for name, tensor in stored.items()
        if not name.startswith("head.")
    }
    ridge, scale, caution = (float(stored[f"head.{name}"]) for name in ("ridge", "scale", "caution"))
    return WarmStart(weights, ridge, scale, caution)


@cache
def _stored(name: str) -> Mapping[str, Tensor]:
    return MappingProxyType(load((files(__package__) / "warm" / f"{name}.safetensors").read_bytes()))
