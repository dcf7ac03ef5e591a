"""What a built-in network knows before it sees a stroke: weights learned beforehand on synthetic scenes.

The files lie in ``warm/``, with a model card that says what they were learned from. They hold all layers but
the last, for one channel; further channels are looked at with the same weights, each by itself, and meet in
the last layer, which is fitted to the strokes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType

import torch
from safetensors.torch import load
from torch import Tensor

from napari_dsparse.network.spec import NetworkSpec

#: What a file says of the last layer's groups of features, in the names of `WarmStart`.
_GOVERNS = ("ridge", "caution", "fall", "own", "beside")


@dataclass(frozen=True, slots=True, eq=False)
class WarmStart:
    """Where learning begins.

    Parameters
    ----------
    trunk : mapping of str to Tensor
        All of a network but its last layer, by the trunk's own parameter names; float32.
    weights : mapping of str to Tensor
        The same, by the network's parameter names.
    ridge, caution, fall, own, beside : tuple of float
        One entry per group of the last layer's features: see `penalties`.
    scale : float
        What the last layer's scores are multiplied by to be logits.
    """

    trunk: Mapping[str, Tensor]
    weights: Mapping[str, Tensor]
    ridge: tuple[float, ...]
    caution: tuple[float, ...]
    fall: tuple[float, ...]
    own: tuple[float, ...]
    beside: tuple[float, ...]
    scale: float

    def penalties(self, evidence: float, contrasts: Sequence[float]) -> tuple[float, ...]:
        """How strongly each group of features is held back when the last layer is fitted.

        Less the more was painted: from two strokes all that they happen to differ in, their place above all,
        looks like a difference of the classes. Less, too, the further a group puts the classes apart by
        strokes; and wide surroundings more, where detail alone does so.

            penalty = ridge (1 + caution / evidence) (evidence / 10)^-fall (contrast / 10)^-own
                      (contrast of the first group / 10)^-beside

        Parameters
        ----------
        evidence : float
            Painted squares per class, from 1; see `training.choice`.
        contrasts : sequence of float
            Of each group, positive; see `training.contrast`.
        """
        parts = zip(self.ridge, self.caution, self.fall, self.own, self.beside, contrasts, strict=True)
        return tuple(
            ridge
            * (1 + caution / evidence)
            * (evidence / 10) ** -fall
            * (contrast / 10) ** -own
            * (contrasts[0] / 10) ** -beside
            for ridge, caution, fall, own, beside, contrast in parts
        )


def warm_start(spec: NetworkSpec) -> WarmStart:
    """The warm start of `spec`, for its number of channels."""
    stored = _stored(spec.name)
    trunk = {
        name: tensor.repeat(spec.channels, *(1,) * (tensor.ndim - 1))
        for name, tensor in stored.items()
        if not name.startswith("head.")
    }
    governs = {name: tuple(stored[f"head.{name}"].tolist()) for name in _GOVERNS}
    weights = {spec.prefixes[0] + name: tensor for name, tensor in trunk.items()}
    return WarmStart(trunk, weights, **governs, scale=float(stored["head.scale"]))


@cache
def _stored(name: str) -> Mapping[str, Tensor]:
    stored = load((files(__package__) / "warm" / f"{name}.safetensors").read_bytes())
    groups = stored["head.ridge"].numel()
    for name in _GOVERNS:  # what a file does not name, counts for nothing
        stored[f"head.{name}"] = stored.get(f"head.{name}", torch.zeros(groups)).double().reshape(-1)
    return MappingProxyType(stored)
