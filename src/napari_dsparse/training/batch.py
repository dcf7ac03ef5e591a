"""Strokes made ready to learn from: pixels of their dependency closures, kernel maps, targets."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from napari_dsparse.images import ImageSource, Normalisation
from napari_dsparse.network import Geometry
from napari_dsparse.sites import Closure, Room, dependency_closure, join
from napari_dsparse.training.head import Coverage
from napari_dsparse.training.strokes import Stroke

#: Strokes are cut along a lattice of the image, so that a stroke that grows keeps most of its pieces. Each
#: piece computes its own halo: cells of at least two patches keep that within bounds.
CELL, CELL_OVER_PATCH = 64, 2
#: Labelled pixels in one step; more paint than this is dealt into several batches, used in turn.
PIXELS_PER_STEP = 8192
#: Labelled pixels kept in all: bounds memory when someone fills whole regions.
PIXELS_KEPT = 16 * PIXELS_PER_STEP


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """Part of a stroke within one cell, with everything that its pixels' patches need.

    Parameters
    ----------
    label : int
        Class, from 1.
    pixels : Tensor, shape (M, C)
        Normalised values at the closure's input sites.
    closure : Closure
        From pixels to the labelled positions.
    count : int
        Number of labelled positions.
    coverage : Coverage
        Of these.
    """

    label: int
    pixels: Tensor
    closure: Closure
    count: int
    coverage: Coverage


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Several pieces side by side, as one step takes them.

    Parameters
    ----------
    pixels : Tensor, shape (M, C)
    piece : Tensor of int64, shape (M,)
        Which piece each pixel row belongs to, for augmentation piece by piece.
    pieces : int
    closure : Closure
    targets : Tensor of int64, shape (S,)
        Class index, from 0.
    """

    pixels: Tensor
    piece: Tensor
    pieces: int
    closure: Closure
    targets: Tensor


class Pieces:
    """Makes and keeps the pieces of strokes: a stroke that has not changed costs nothing again."""

    def __init__(
        self, sources: Sequence[ImageSource], normalisation: Normalisation, geometry: Geometry
    ) -> None:
        self._sources = sources
        self._normalisation = normalisation
        self._geometry = geometry
        self._known: dict[bytes, Piece] = {}

    def of(self, strokes: Sequence[Stroke], rng: np.random.Generator) -> dict[bytes, list[Piece]]:
        """Pieces by their stroke's key: at most PIXELS_KEPT labelled pixels, drawn evenly over classes."""
        edge = max(CELL, CELL_OVER_PATCH * max(self._geometry.patch))
        cells = [(stroke.key, cell) for stroke in strokes for cell in _cells(stroke, edge)]
        chosen = _keep_some(cells, rng)
        self._known = {cell.key: self._known.get(cell.key) or self._make(cell) for _, cell in chosen}
        pieces: dict[bytes, list[Piece]] = {}
        for key, cell in chosen:
            pieces.setdefault(key, []).append(self._known[cell.key])
        return pieces

    def _make(self, stroke: Stroke) -> Piece:
        patch_rows, patch_columns = self._geometry.patch
        top, left = stroke.yx.min(0).tolist()
        bottom, right = stroke.yx.max(0).tolist()
        # The label belongs to the middle of its patch; pixels beyond the image are its mirror image.
        before_y, before_x = patch_rows // 2, patch_columns // 2
        rows = (top - before_y, bottom - before_y + patch_rows)
        columns = (left - before_x, right - before_x + patch_columns)
        block = self._normalisation.apply(self._sources[stroke.image].read(stroke.plane, rows, columns))
        width = columns[1] - columns[0]
        sites = (stroke.yx[:, 0].astype(np.int64) - top) * width + stroke.yx[:, 1] - left
        closure = dependency_closure(self._geometry.windows, sites, width)
        pixels = torch.from_numpy(block).reshape(block.shape[0], -1)[:, closure.pixels].t().contiguous()
        return Piece(stroke.label, pixels, closure, len(sites), Coverage.of(stroke.yx))


def make_batches(
    pieces: Sequence[Piece],
    rng: np.random.Generator,
    device: torch.device,
    rooms: defaultdict[int, Room] | None = None,
) -> tuple[Batch, ...]:
    """Deal pieces into batches of about PIXELS_PER_STEP labelled pixels, classes spread evenly.

    With `rooms`, batches made there before are overwritten.
    """
    rooms = defaultdict(Room) if rooms is None else rooms
    total = sum(piece.count for piece in pieces)
    number = max(1, -(-total // PIXELS_PER_STEP))
    hands: list[list[Piece]] = [[] for _ in range(min(number, len(pieces)))]
    for label in sorted({piece.label for piece in pieces}):
        own = [piece for piece in pieces if piece.label == label]
        for i, drawn in enumerate(rng.permutation(len(own)) if number > 1 else range(len(own))):
            hands[i % len(hands)].append(own[drawn])
    return tuple(join_pieces(hand, device, rooms[i]) for i, hand in enumerate(hands) if hand)


def join_pieces(pieces: Sequence[Piece], device: torch.device, room: Room | None = None) -> Batch:
    """Pieces side by side, in their order."""
    sizes = torch.tensor([len(piece.pixels) for piece in pieces])
    labels = torch.tensor([piece.label - 1 for piece in pieces])
    counts = torch.tensor([piece.count for piece in pieces])
    return Batch(
        pixels=torch.cat([piece.pixels for piece in pieces]).to(device),
        piece=torch.repeat_interleave(torch.arange(len(pieces)), sizes).to(device),
        pieces=len(pieces),
        closure=join([piece.closure for piece in pieces], room).to(device),
        targets=torch.repeat_interleave(labels, counts).to(device),
    )


def _cells(stroke: Stroke, edge: int) -> Iterator[Stroke]:
    """The parts of a stroke in each cell of the lattice, `edge` pixels wide."""
    cells = stroke.yx // edge
    if (cells == cells[0]).all():
        yield stroke
        return
    _, part = np.unique(cells, axis=0, return_inverse=True)
    part = part.ravel()
    for number in range(int(part.max()) + 1):
        yield stroke.part(part == number)


def _keep_some(cells: list[tuple[bytes, Stroke]], rng: np.random.Generator) -> list[tuple[bytes, Stroke]]:
    """All cells, or an even draw over classes where they hold more paint than is kept."""
    sizes = np.array([len(cell.yx) for _, cell in cells])
    if sizes.sum() <= PIXELS_KEPT:
        return cells
    labels = np.array([cell.label for _, cell in cells])
    room, kept = float(PIXELS_KEPT), []
    smallest_first = sorted(np.unique(labels), key=lambda label: sizes[labels == label].sum())
    for number, label in enumerate(smallest_first):
        drawn = rng.permutation(np.flatnonzero(labels == label))
        within = np.cumsum(sizes[drawn]) <= room / (len(smallest_first) - number)
        within[0] = True
        kept += drawn[within].tolist()
        room -= sizes[drawn[within]].sum()
    return [cells[i] for i in sorted(kept)]
