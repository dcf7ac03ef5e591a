"""Parts of a plane whose local scores are computed once, however many tiles look at them.

A network with a large patch reads much more than the tile: of the input of a tile of 256 pixels with a patch
of 219, less than a third lies in the tile. But most of its layers see 27 pixels. Their output is computed in
blocks that hardly overlap, and kept while neighbouring tiles need it for means over wide windows.
"""

from __future__ import annotations

import mmap
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product

import torch
from torch import Tensor

from napari_dsparse.machine.memory import MOST_SCORES
from napari_dsparse.prediction.tiles import Tile, even_parts

#: Most rows and columns of a block.
BLOCK = 256


@dataclass(frozen=True, slots=True)
class BlockGrid:
    """An even grid of blocks over some tiles and their surroundings.

    Parameters
    ----------
    rows, columns : tuple of (start, stop)
        Of the blocks, in order.
    halo : int
        Pixels around a tile whose local scores it needs.
    """

    rows: tuple[tuple[int, int], ...]
    columns: tuple[tuple[int, int], ...]
    halo: int

    @classmethod
    def over(cls, tiles: Sequence[Tile], halo: int) -> BlockGrid:
        """The grid for tiles that will be requested; others may be too, but share nothing."""
        rows, columns = (
            even_parts(min(span[0] for span in spans) - halo, max(span[1] for span in spans) + halo, BLOCK)
            for spans in ([t.rows for t in tiles], [t.columns for t in tiles])
        )
        return cls(tuple(rows), tuple(columns), halo)

    def of(self, tile: Tile, halo: int | None = None) -> tuple[Tile, ...]:
        """The blocks that a tile reads, with another halo if it is given."""
        halo = self.halo if halo is None else halo
        near = (
            [part for part in parts if part[0] < stop + halo and start - halo < part[1]]
            for parts, (start, stop) in zip((self.rows, self.columns), (tile.rows, tile.columns), strict=True)
        )
        return tuple(Tile(tile.plane, rows, columns) for rows, columns in product(*near))

    def moved(self, rows: int, columns: int) -> BlockGrid:
        """The same grid `rows` further down and `columns` further to the right."""
        return BlockGrid(
            tuple((start + rows, stop + rows) for start, stop in self.rows),
            tuple((start + columns, stop + columns) for start, stop in self.columns),
            self.halo,
        )


class KeptScores:
    """Local scores, kept up to a number of bytes: those used longest ago are let go first.

    Several threads may ask for the same; one computes them, and the others wait for it.

    Parameters
    ----------
    most_bytes : int
        Of what is kept; may be changed at any time.
    """

    def __init__(self, most_bytes: int = MOST_SCORES) -> None:
        self.most_bytes = most_bytes
        self._known: OrderedDict[Hashable, Tensor] = OrderedDict()
        self._bytes = 0
        self._underway: dict[Hashable, threading.Event] = {}
        self._lock = threading.Lock()

    def get(self, name: Hashable, compute: Callable[[], Tensor | None]) -> Tensor | None:
        """The scores of that name; where they are not known, those that `compute` gives, or None with it."""
        while True:
            with self._lock:
                scores = self._known.get(name)
                if scores is not None:
                    self._known.move_to_end(name)
                    return scores
                other = self._underway.get(name)
                if other is None:
                    mine = self._underway[name] = threading.Event()
                    break
            other.wait()
        try:
            scores = compute()
            if scores is not None:
                self._keep(name, scores)
            return scores
        finally:
            with self._lock:
                del self._underway[name]
            mine.set()

    def is_underway(self, name: Hashable) -> bool:
        """True if a thread computes it now."""
        return name in self._underway

    def _keep(self, name: Hashable, scores: Tensor) -> None:
        own = _apart(scores) if scores.device.type == "cpu" else scores
        with self._lock:
            self._known[name] = own
            self._bytes += own.nbytes
            while len(self._known) > 1 and self._bytes > self.most_bytes:
                self._bytes -= self._known.popitem(last=False)[1].nbytes


class Blocks:
    """Local scores of the surroundings of some tiles, block by block.

    Parameters
    ----------
    grid : BlockGrid
    compute : callable
        Local scores (1, L, h, w) of a block; None if there was no time for it.
    kept : KeptScores
        Where they are kept; what is needed again later is computed again.
    name : callable, optional
        Name of a block among all that are kept there; by default it is the only image's.
    """

    def __init__(
        self,
        grid: BlockGrid,
        compute: Callable[[Tile], Tensor | None],
        kept: KeptScores,
        name: Callable[[Tile], Hashable] = lambda block: block,
    ) -> None:
        self.grid = grid
        self._compute = compute
        self._kept = kept
        self._name = name

    def around(self, tile: Tile, halo: int | None = None, last: int = 0) -> Tensor | None:
        """Local scores of a tile and its halo on all sides, (1, L, h, w); None as `compute` gives it.

        The halo is the grid's where none is given; of the L scores per pixel, only the `last` ones if that
        is not 0.
        """
        halo = self.grid.halo if halo is None else halo
        top, left = tile.rows[0] - halo, tile.columns[0] - halo
        height, width = (b - a + 2 * halo for a, b in (tile.rows, tile.columns))
        whole: Tensor | None = None
        for block in self._own_first(self.grid.of(tile, halo)):
            scores = self._kept.get(self._name(block), partial(self._compute, block))
            if scores is None:
                return None
            scores = scores[:, -last:]
            if whole is None:
                whole = torch.empty(
                    (1, scores.shape[1], height, width), dtype=scores.dtype, device=scores.device
                )
            (y0, y1), (x0, x1) = block.rows, block.columns
            into = whole[:, :, max(0, y0 - top) : y1 - top, max(0, x0 - left) : x1 - left]
            part = scores[:, :, max(0, top - y0) :, max(0, left - x0) :]
            into.copy_(part[:, :, : into.shape[2], : into.shape[3]])
        return whole

    def _own_first(self, blocks: Sequence[Tile]) -> Iterator[Tile]:
        """Blocks in their order, but those last that other threads compute meanwhile."""
        others = []
        for block in blocks:
            if self._kept.is_underway(self._name(block)):
                others.append(block)
            else:
                yield block
        yield from others


def _apart(scores: Tensor) -> Tensor:
    """A copy in memory of its own, which the system takes back when it is let go.

    Among the large and short-lived maps of the layers, small tensors that stay keep the heap from shrinking,
    and resident memory would grow with the image.
    """
    own = torch.frombuffer(mmap.mmap(-1, scores.nbytes), dtype=scores.dtype).view(scores.shape)
    return own.copy_(scores)
