"""The built-in patch classifiers, by name."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType

import torch
from torch import nn

from napari_dsparse.classifier.context_head import WINDOWS, ContextHead
from napari_dsparse.errors import DsparseError
from napari_dsparse.network.geometry import trace

#: Features that a trunk gives per image channel.
FEATURES = 128


def _trunk(channels: int) -> nn.Sequential:
    """Patch 27, stride 4, 128 features per channel.

    Odd kernels throughout keep the labelled pixel in the middle under all eight symmetries. Every channel
    is processed separately up to the last layer, so that one set of pretrained weights serves any number.
    """
    c = channels
    return nn.Sequential(
        nn.Conv2d(c, 16 * c, 3, groups=c),
        nn.LeakyReLU(0.1),
        nn.Conv2d(16 * c, 16 * c, 3, groups=c),
        nn.LeakyReLU(0.1),
        nn.MaxPool2d(3, 2),
        nn.Conv2d(16 * c, 32 * c, 3, groups=c),
        nn.LeakyReLU(0.1),
        nn.Conv2d(32 * c, 32 * c, 3, groups=c),
        nn.LeakyReLU(0.1),
        nn.MaxPool2d(3, 2),
        nn.Conv2d(32 * c, 64 * c, 3, groups=c),
        nn.LeakyReLU(0.1),
        nn.Conv2d(64 * c, FEATURES * c, 1, groups=c),
        nn.LeakyReLU(0.1),
    )


def _pixel_head(features: int, classes: int, neighbours: bool = False) -> nn.Module:
    return nn.Conv2d(features, classes, 1)


@dataclass(frozen=True, slots=True)
class BuiltIn:
    """A built-in network: the trunk, and the last layer that turns its features into class scores.

    Parameters
    ----------
    head : callable
        From numbers of features and classes, and whether it sees neighbouring planes, to the last layer.
    windows : tuple of int
        Taps per axis, one trunk stride apart, of the windows whose means the head reads beside the features
        of a pixel.
    nested : bool
        True if trunk and head are named submodules, False if they are one flat sequence.
    neighbours : bool
        True if the last layer can see neighbouring planes.
    """

    head: Callable[[int, int, bool], nn.Module]
    windows: tuple[int, ...]
    nested: bool
    neighbours: bool


NETWORKS: Mapping[str, BuiltIn] = MappingProxyType({
    "context": BuiltIn(ContextHead, WINDOWS, nested=True, neighbours=True),  # patch 219
    "compact": BuiltIn(_pixel_head, (), nested=False, neighbours=False),  # patch 27
})  # fmt: skip

#: The network that "auto" means.
DEFAULT_NETWORK = "context"

#: Planes of a stack that a plane's segmentation depends on: its own, or those before and behind it too.
DEPTHS = ("off", "neighbours")


@dataclass(frozen=True, slots=True)
class NetworkSpec:
    """A built-in network, for a number of image channels and classes.

    Parameters
    ----------
    name : str
    channels, classes : int
    depth : str
        One of `DEPTHS`. All planes pass through the same layers; only the last layer sees three of them.
    """

    name: str
    channels: int
    classes: int
    depth: str = "off"

    def __post_init__(self) -> None:
        if self.name not in NETWORKS:
            raise DsparseError(f"Network {self.name!r} is not known; choose one of {', '.join(NETWORKS)}.")
        if self.depth not in DEPTHS:
            raise DsparseError(f"Depth {self.depth!r} is not known; choose one of {', '.join(DEPTHS)}.")
        if self.neighbours and not NETWORKS[self.name].neighbours:
            able = ", ".join(name for name, kind in NETWORKS.items() if kind.neighbours)
            raise DsparseError(
                f"Network {self.name!r} sees single planes; give depth='off', or the network {able}."
            )

    @property
    def neighbours(self) -> bool:
        """True if a plane is seen with those before and behind it."""
        return self.depth == "neighbours"

    def build(self) -> nn.Sequential:
        """The patch classifier with fresh random weights: (N, C, P, P) -> (N, K, 1, 1)."""
        kind, trunk = NETWORKS[self.name], _trunk(self.channels)
        head = kind.head(self.features, self.classes, self.neighbours)
        if kind.nested:
            return nn.Sequential(OrderedDict(trunk=trunk, head=head))
        return nn.Sequential(*trunk, head)

    def empty(self) -> nn.Sequential:
        """The same network without storage, for `load_state_dict(..., assign=True)`; draws nothing."""
        with torch.device("meta"):
            return self.build()

    def empty_trunk(self) -> nn.Sequential:
        """The layers before the last, without storage: (N, C, p, p) -> (N, features, 1, 1)."""
        with torch.device("meta"):
            return _trunk(self.channels)

    @property
    def features(self) -> int:
        """Number of features that the trunk gives per pixel."""
        return FEATURES * self.channels

    @property
    def windows(self) -> tuple[int, ...]:
        """Windows of the last layer beside the pixel itself; see `BuiltIn`."""
        return NETWORKS[self.name].windows

    @property
    def prefixes(self) -> tuple[str, str]:
        """Prefixes of the trunk's and the head's parameter names in the whole network."""
        return ("trunk.", "head.") if NETWORKS[self.name].nested else ("", f"{len(_trunk(1))}.")

    @property
    def patch(self) -> int:
        """Rows and columns of the patch that the network looks at: square, and odd."""
        return _patches(self.name)[0]

    @property
    def local_patch(self) -> int:
        """Rows and columns that the network looks at before it takes means over wide windows: odd, too."""
        return _patches(self.name)[1]

    @property
    def block_halo(self) -> int:
        """Pixels on each side of a pixel whose local scores those means read."""
        return (self.patch - self.local_patch) // 2


@cache
def _patches(name: str) -> tuple[int, int]:
    geometry = trace(NetworkSpec(name, 1, 2).empty().eval())
    for rows, columns in (geometry.patch, geometry.trunk_patch):
        if rows != columns or rows % 2 == 0:
            raise DsparseError(
                f"Network {name!r} has a patch of {rows} x {columns}; it must be square and odd."
            )
    return geometry.patch[0], geometry.trunk_patch[0]
