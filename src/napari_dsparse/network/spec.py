"""The built-in patch classifiers, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType

import torch
from torch import nn

from napari_dsparse.errors import DsparseError
from napari_dsparse.network.geometry import trace


def _compact(channels: int, classes: int) -> nn.Sequential:
    """Patch 27, 128 features a channel.

    Odd kernels throughout keep the labelled pixel in the middle under all eight symmetries. Every channel
    goes its own way up to the last layer, so that one set of weights learned beforehand serves any number.
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
        nn.Conv2d(64 * c, 128 * c, 1, groups=c),
        nn.LeakyReLU(0.1),
        nn.Conv2d(128 * c, classes, 1),
    )


NETWORKS: Mapping[str, Callable[[int, int], nn.Sequential]] = MappingProxyType({"compact": _compact})

#: What "auto" means today.
DEFAULT_NETWORK = "compact"


@dataclass(frozen=True, slots=True)
class NetworkSpec:
    """Which built-in network, for how many image channels and classes."""

    name: str
    channels: int
    classes: int

    def __post_init__(self) -> None:
        if self.name not in NETWORKS:
            raise DsparseError(f"Network {self.name!r} is not known; choose one of {', '.join(NETWORKS)}.")

    def build(self) -> nn.Sequential:
        """The patch classifier with fresh random weights: (N, C, P, P) -> (N, K, 1, 1)."""
        return NETWORKS[self.name](self.channels, self.classes)

    def empty(self) -> nn.Sequential:
        """The same network without storage, for `load_state_dict(..., assign=True)`; draws nothing."""
        with torch.device("meta"):
            return self.build()

    @property
    def patch(self) -> int:
        """Rows and columns of the patch that the network looks at: square, and odd."""
        return _patch(self.name)


@cache
def _patch(name: str) -> int:
    rows, columns = trace(NetworkSpec(name, 1, 2).empty().eval()).patch
    if rows != columns or rows % 2 == 0:
        raise DsparseError(f"Network {name!r} has a patch of {rows} x {columns}; it must be square and odd.")
    return rows
