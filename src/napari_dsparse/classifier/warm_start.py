"""Warm starts of the built-in networks: weights learned beforehand on synthetic scenes.

The files lie in ``warm/``, with a model card that says what they were learned from. They hold all layers but
the last, for one channel; further channels are looked at with the same weights, each by itself, and meet in
the last layer, which is fitted to the strokes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType

import torch
from safetensors.torch import load
from torch import Tensor

from napari_dsparse.classifier.spec import NetworkSpec

#: Keys in a file for the last layer's groups of features, by field of `WarmStart`.
_GROUP_KEYS = {
    "ridge": "head.ridge",
    "small_sample_penalty": "head.caution",
    "fall": "head.fall",
    "own": "head.own",
    "beside": "head.beside",
}

#: Lower bound on a group's error on left-out strokes.
LEAST_ERROR = 0.02


@dataclass(frozen=True, slots=True)
class Opinion:
    """One way to fit a last layer; several are averaged by their shares.

    Parameters
    ----------
    share : float
        Weight in the average; the shares of all opinions sum to 1.
    penalties : tuple of float
        On the squared weights of each group of features, in units of the mean variance of a feature of the
        first; positive. Infinity leaves a group out.
    """

    share: float
    penalties: tuple[float, ...]


@dataclass(frozen=True, slots=True, eq=False)
class WarmStart:
    """Initial weights of a network, and the parameters of the fit of its last layer.

    Parameters
    ----------
    trunk : mapping of str to Tensor
        All of a network but its last layer, by the trunk's own parameter names; float32.
    weights : mapping of str to Tensor
        The same, by the network's parameter names.
    ridge, small_sample_penalty, fall, own, beside : tuple of float
        One entry per group of the last layer's features: see `penalties`.
    alone : tuple of float
        `ridge` and `small_sample_penalty` of the first group when it is used without the others.
    trust : float
        Evidence, in painted squares per class, at which all groups together count as much as the first alone.
    doubt : float
        Power of the first group's error by which other groups are held back; see `opinions`.
    scale : float
        What the last layer's scores are multiplied by to be logits.
    """

    trunk: Mapping[str, Tensor]
    weights: Mapping[str, Tensor]
    ridge: tuple[float, ...]
    small_sample_penalty: tuple[float, ...]
    fall: tuple[float, ...]
    own: tuple[float, ...]
    beside: tuple[float, ...]
    alone: tuple[float, ...]
    trust: float
    doubt: float
    scale: float

    def opinions(
        self, evidence: float, contrasts: Sequence[float], error: float = 1.0
    ) -> tuple[Opinion, ...]:
        """Fits of the last layer: to all groups of features and, if there are several, to the first alone.

        The wider the surroundings, the less a few strokes say of them: everything at a place looks like its
        class. So at first what a pixel looks like by itself counts for as much, and where that tells left-out
        strokes apart there is little for the surroundings to add.

        Parameters
        ----------
        evidence, contrasts
            As `penalties` takes them.
        error : float
            Mean squared error of the first group alone on strokes left out, by that of no knowledge at all.
        """
        every = self.penalties(evidence, contrasts)
        if len(every) == 1:
            return (Opinion(1.0, every),)
        doubt = min(1.0, max(error, LEAST_ERROR)) ** -self.doubt
        share = evidence / (evidence + self.trust)
        ridge, small_sample = self.alone
        alone = (ridge * (1 + small_sample / evidence), *[math.inf] * (len(every) - 1))
        return (
            Opinion(share, (every[0], *(own * doubt for own in every[1:]))),
            Opinion(1 - share, alone),
        )

    def penalties(self, evidence: float, contrasts: Sequence[float]) -> tuple[float, ...]:
        """Penalty on each group of features when the last layer is fitted to all of them.

        Less the more was painted: from two strokes all that they happen to differ in, their place above all,
        looks like a difference of the classes. Less, too, the further a group puts the classes apart by
        strokes; and wide surroundings more, where detail alone does so.

            penalty = ridge (1 + small_sample_penalty / evidence) (evidence / 10)^-fall (contrast / 10)^-own
                      (contrast of the first group / 10)^-beside

        Parameters
        ----------
        evidence : float
            Painted squares per class, from 1; see `training.choice`.
        contrasts : sequence of float
            One per group, positive; see `training.contrast`.
        """
        groups = (self.ridge, self.small_sample_penalty, self.fall, self.own, self.beside)
        return tuple(
            ridge
            * (1 + small_sample / evidence)
            * (evidence / 10) ** -fall
            * (contrast / 10) ** -own
            * (contrasts[0] / 10) ** -beside
            for ridge, small_sample, fall, own, beside, contrast in zip(*groups, contrasts, strict=True)
        )


def warm_start(spec: NetworkSpec) -> WarmStart:
    """The warm start of `spec`, for its number of channels."""
    stored = _stored(spec.name)
    trunk = {
        name: tensor.repeat(spec.channels, *(1,) * (tensor.ndim - 1))
        for name, tensor in stored.items()
        if not name.startswith("head.")
    }
    groups = {name: tuple(stored[key].tolist()) for name, key in _GROUP_KEYS.items()}
    weights = {spec.prefixes[0] + name: tensor for name, tensor in trunk.items()}
    alone = tuple(stored["head.alone"].tolist()) if "head.alone" in stored else ()
    trust, doubt, scale = (float(stored.get(f"head.{name}", 0.0)) for name in ("trust", "doubt", "scale"))
    return WarmStart(trunk, weights, **groups, alone=alone, trust=trust, doubt=doubt, scale=scale)


@cache
def _stored(name: str) -> Mapping[str, Tensor]:
    stored = load((files(__package__) / "warm" / f"{name}.safetensors").read_bytes())
    groups = stored["head.ridge"].numel()
    for key in _GROUP_KEYS.values():  # absent from older files: zero has no effect
        stored[key] = stored.get(key, torch.zeros(groups)).double().reshape(-1)
    return MappingProxyType(stored)
