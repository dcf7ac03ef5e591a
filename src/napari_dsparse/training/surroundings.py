"""A trunk's features on a lattice of an image, and their means over windows and over neighbouring planes.

The trunk as it stands, strides and all, gives its features at every s-th pixel of an image for a fraction of
what all pixels cost. A window's mean moves little from a pixel to the next, so for the fit of a last layer it
is taken around the nearest of these: no further than half a stride away. What is predicted is exact at every
pixel all the same.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from itertools import product

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from napari_dsparse.images import ImageSource, Normalisation
from napari_dsparse.machine.devices import full_float32
from napari_dsparse.machine.lanes import in_lanes, lanes_of
from napari_dsparse.network import trace

#: Most lattice cells along the edge of a tile.
TILE_CELLS = 64
#: Bytes of tiles kept: an RGB image of about 1,200 x 1,200 pixels.
MEMORY_BYTES = 192 << 20

#: Image number, plane, and the tile's place among the tiles of that plane.
TileKey = tuple[int, tuple[int, ...], int, int]


class Surroundings:
    """Window means of features on the lattice of some images; lives in one thread.

    Parameters
    ----------
    sources : sequence of ImageSource
    normalisations : sequence of Normalisation
        One for each of them.
    trunk : Module
        Patch classifier's layers before the last: (1, C, H, W) -> (1, F, h, w), an odd square patch.
    windows : sequence of int
        Taps per axis, one cell apart; odd, the largest last.
    device : torch.device
    neighbours : bool
        True to look at the planes before and behind a plane too.
    """

    def __init__(
        self,
        sources: Sequence[ImageSource],
        normalisations: Sequence[Normalisation],
        trunk: nn.Module,
        windows: Sequence[int],
        device: torch.device,
        neighbours: bool = False,
    ) -> None:
        geometry = trace(trunk)
        self.stride = geometry.stride[0]
        self._half = geometry.patch[0] // 2
        self._sources = sources
        self._normalisations = normalisations
        self._trunk = trunk
        self.windows = tuple(windows)
        self._device = device
        self._neighbours = neighbours
        self._tiles: OrderedDict[TileKey, Tensor] = OrderedDict()

    def of_trunk(self, trunk: nn.Module) -> Surroundings:
        """The same images through another trunk."""
        return Surroundings(
            self._sources, self._normalisations, trunk, self.windows, self._device, self._neighbours
        )

    def cells(self, yx: NDArray[np.int64]) -> NDArray[np.int64]:
        """The lattice cells nearest to pixels (S, 2): cell c stands at pixel c times the stride."""
        return (yx + self.stride // 2) // self.stride

    def look(self, image: int, plane: tuple[int, ...], cells: NDArray[np.int64]) -> Tensor:
        """Features of some cells within the image, their means over every window around these, and perhaps
        the mean of the features there in the planes before and behind.

        Tiles that no window touches are neither read nor computed.

        Parameters
        ----------
        image : int
        plane : tuple of int
        cells : ndarray of int64, shape (S, 2)
            At least one.

        Returns
        -------
        Tensor, shape (S, 1 + windows, F), with neighbours (S, 1 + windows + 1, F)
            Float32, on the CPU.
        """
        groups = [self._means(image, plane, cells, (1, *self.windows))]
        if self._neighbours:
            before, behind = (
                self._means(image, other, cells, (1,)) for other in self._sources[image].beside(plane)
            )
            groups.append((before + behind) / 2)
        return torch.cat(groups, 1).float()

    def _means(
        self, image: int, plane: tuple[int, ...], cells: NDArray[np.int64], windows: Sequence[int]
    ) -> Tensor:
        """Means (S, windows, F) of a plane's features over windows around some cells, float64."""
        # Tiles are cut in the same way whatever the windows, so that planes find each other's.
        reach = max((window // 2 for window in self.windows), default=0)
        needed = max(window // 2 for window in windows)
        edges = [self._edges(extent, reach) for extent in self._sources[image].shape[-2:]]
        sums: Tensor | None = None
        near: list[tuple[TileKey, NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]] = []
        for i, j in product(*(range(len(e) - 1) for e in edges)):
            low, high = np.array([edges[0][i], edges[1][j]]), np.array([edges[0][i + 1], edges[1][j + 1]])
            here = np.flatnonzero(((cells + needed >= low) & (cells - needed < high)).all(1))
            if len(here):
                near.append(((image, plane, i, j), low, high, here))
        looked = in_lanes(lambda tile: self._tile(*tile[:3]), near, lanes_of(self._device))
        for (key, low, _, here), features in zip(near, looked, strict=True):
            self._keep(key, features)
            if sums is None:
                sums = torch.zeros((len(cells), len(windows), features.shape[2]), dtype=torch.float64)
            _add_sums(sums, here, cells[here] - low, features, windows)
        assert sums is not None
        return sums / torch.tensor([w * w for w in windows])[:, None]

    def _edges(self, extent: int, reach: int) -> list[int]:
        """Tile edges along an axis: parts of nearly equal length of all that windows reach."""
        start, stop = -reach, self.cells(np.array([extent - 1]))[0] + reach + 1
        count = -(-(stop - start) // TILE_CELLS)
        return [int(start + (stop - start) * i // count) for i in range(count + 1)]

    def _tile(self, key: TileKey, low: NDArray[np.int64], high: NDArray[np.int64]) -> Tensor:
        """Features (rows, columns, F) of a tile's cells; several threads may look at one each."""
        known = self._tiles.get(key)
        if known is not None:
            return known
        image, plane = key[:2]
        (top, left), (bottom, right) = (
            low * self.stride - self._half,
            (high - 1) * self.stride + self._half + 1,
        )
        block = self._sources[image].read(plane, (int(top), int(bottom)), (int(left), int(right)))
        pixels = torch.from_numpy(self._normalisations[image].apply(block)).to(self._device)
        with torch.inference_mode(), full_float32(self._device):
            features: Tensor = self._trunk(pixels[None])[0].permute(1, 2, 0).cpu().contiguous()
        return features

    def _keep(self, key: TileKey, features: Tensor) -> None:
        """Keep a tile's features; those used last stay longest."""
        self._tiles[key] = features
        self._tiles.move_to_end(key)
        while len(self._tiles) > 1 and sum(t.nbytes for t in self._tiles.values()) > MEMORY_BYTES:
            self._tiles.popitem(last=False)


def _add_sums(
    sums: Tensor, near: NDArray[np.int64], cells: NDArray[np.int64], features: Tensor, windows: Sequence[int]
) -> None:
    """Add what a tile's features contribute to the windows around `cells`, given in the tile's own frame."""
    height, width, count = features.shape
    # Sums over all cells above and to the left: a window is four of them. Row by row and column by column,
    # all features at once: cumsum takes twice as long.
    table = torch.zeros(height + 1, width + 1, count, dtype=torch.float64)
    table[1:, 1:] = features
    for row in range(2, height + 1):
        table[row] += table[row - 1]
    for column in range(2, width + 1):
        table[:, column] += table[:, column - 1]
    corners = table.flatten(0, 1)
    rows, columns = torch.from_numpy(cells).unbind(1)
    into = torch.from_numpy(near)
    for number, window in enumerate(windows):
        half = window // 2
        top, bottom = ((rows + shift).clamp(0, height) * (width + 1) for shift in (-half, half + 1))
        left, right = ((columns + shift).clamp(0, width) for shift in (-half, half + 1))
        part = corners[bottom + right] - corners[top + right] - corners[bottom + left] + corners[top + left]
        sums[into, number] += part.view(-1, count)
