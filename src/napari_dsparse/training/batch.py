"""Batches of painted pixels: pixels of their dependency closures, kernel maps, targets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_dsparse.images import ImageSource, Normalisation
from napari_dsparse.network import Geometry
from napari_dsparse.sites import Closure, MapBuffers, dependency_closure, join
from napari_dsparse.training.choice import ChosenPixels, choose_pixels
from napari_dsparse.training.strokes import Stroke

#: Pixels are cut along a lattice of the image, so that paint that grows keeps most of its pieces. Each piece
#: computes its own halo: cells of at least two patches keep that within bounds.
CELL, CELL_OVER_PATCH = 64, 2
#: Painted pixels in one step.
PIXELS_PER_STEP = 8192


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """Pixels of one cell, with everything that their patches need.

    Parameters
    ----------
    pixels : Tensor, shape (M, C)
        Normalised values at the closure's input sites.
    closure : Closure
        From pixels to the wanted positions.
    """

    pixels: Tensor
    closure: Closure


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Several pieces side by side, as one step takes them.

    Parameters
    ----------
    pixels : Tensor, shape (M, C)
    piece : Tensor of int64, shape (M,)
        Piece of each pixel row, for augmentation per piece.
    pieces : int
    closure : Closure
    targets : Tensor of int64, shape (S,)
        Class index, from 0.
    weights : Tensor, shape (S,)
        Weight of each target; positive.
    """

    pixels: Tensor
    piece: Tensor
    pieces: int
    closure: Closure
    targets: Tensor
    weights: Tensor


def make_piece(
    source: ImageSource,
    normalisation: Normalisation,
    geometry: Geometry,
    plane: tuple[int, ...],
    yx: NDArray[np.int64],
) -> Piece:
    """The piece of some pixels (S, 2) of a plane, in row-major order."""
    patch_rows, patch_columns = geometry.patch
    top, left = yx.min(0).tolist()
    bottom, right = yx.max(0).tolist()
    # The label belongs to the middle of its patch; pixels beyond the image are its mirror image.
    before_y, before_x = patch_rows // 2, patch_columns // 2
    rows = (top - before_y, bottom - before_y + patch_rows)
    columns = (left - before_x, right - before_x + patch_columns)
    block = normalisation.apply(source.read(plane, rows, columns))
    width = columns[1] - columns[0]
    sites = (yx[:, 0] - top) * width + yx[:, 1] - left
    closure = dependency_closure(geometry.windows, sites, width)
    pixels = torch.from_numpy(block).reshape(block.shape[0], -1)[:, closure.pixels].t().contiguous()
    return Piece(pixels, closure)


def join_pieces(
    pieces: Sequence[Piece], device: torch.device, buffers: MapBuffers | None = None
) -> tuple[Tensor, Tensor, Closure]:
    """Pieces side by side, in their order: pixels (M, C), the piece of each (M,), and the closure."""
    sizes = torch.tensor([len(piece.pixels) for piece in pieces])
    return (
        torch.cat([piece.pixels for piece in pieces]).to(device),
        torch.repeat_interleave(torch.arange(len(pieces)), sizes).to(device),
        join([piece.closure for piece in pieces], buffers).to(device),
    )


def make_batches(
    sources: Sequence[ImageSource],
    normalisations: Sequence[Normalisation],
    geometry: Geometry,
    strokes: Sequence[Stroke],
    device: torch.device,
) -> tuple[Batch, ...]:
    """Batches of painted pixels, to be used in turn.

    For a network with a large patch, a batch holds pixels that lie whole strides apart: their patches read
    the same sites of the strided layers, and the sites in between need not be computed. Otherwise every step
    would compute nearly all sites of the image.

    Parameters
    ----------
    sources : sequence of ImageSource
    normalisations : sequence of Normalisation
        One for each source.
    geometry : Geometry
        Of the whole network.
    strokes : sequence of Stroke
    device : torch.device
    """
    batches: list[Batch] = []
    wide = max(geometry.patch) > CELL
    for part in _phases(strokes, geometry.stride) if wide else [strokes]:
        batches += _batches_of(sources, normalisations, geometry, part, choose_pixels(part), device)
    return tuple(batches)


def _phases(strokes: Sequence[Stroke], stride: tuple[int, int]) -> Iterator[list[Stroke]]:
    """Strokes cut down to pixels of one phase of the stride; a few of them, until every class had a turn."""
    phase = [stroke.yx % stride @ np.array([stride[1], 1]) for stroke in strokes]
    missing = {stroke.label for stroke in strokes}
    while missing:
        counts = np.zeros((max(missing) + 1, stride[0] * stride[1]))
        for stroke, own in zip(strokes, phase, strict=True):
            if stroke.label in missing:
                counts[stroke.label] += np.bincount(own, minlength=counts.shape[1])
        of_missing = counts[sorted(missing)]
        # The phase with most of the classes that are missing; of these, where the rarest has most pixels.
        covered = (of_missing > 0).sum(0)
        best = max(range(counts.shape[1]), key=lambda n: (covered[n], of_missing[:, n].min(), -n))
        yield [s.part(own == best) for s, own in zip(strokes, phase, strict=True) if (own == best).any()]
        missing = {label for label in missing if not counts[label, best]}


def _batches_of(
    sources: Sequence[ImageSource],
    normalisations: Sequence[Normalisation],
    geometry: Geometry,
    strokes: Sequence[Stroke],
    chosen: ChosenPixels,
    device: torch.device,
) -> Iterator[Batch]:
    pieces, members = [], []
    keys = [(strokes[i].image, strokes[i].plane) for i in chosen.strokes]
    for image, plane in sorted(set(keys)):
        here = np.flatnonzero([key == (image, plane) for key in keys])
        for at in cells_of(chosen.yx[here], geometry.patch):
            own = chosen.yx[here[at]]
            pieces.append(make_piece(sources[image], normalisations[image], geometry, plane, own))
            members.append(here[at])
    for group in _groups_of(pieces):
        at = np.concatenate([members[i] for i in group])
        pixels, piece, closure = join_pieces([pieces[i] for i in group], device)
        targets = torch.from_numpy(chosen.labels[at] - 1).to(device)
        weights = torch.from_numpy(chosen.weights[at]).float().to(device)
        yield Batch(pixels, piece, len(group), closure, targets, weights)


def cells_of(yx: NDArray[np.int64], patch: tuple[int, int]) -> list[NDArray[np.int64]]:
    """Indices of the pixels (S, 2) in each cell of the lattice, cell by cell, in their order."""
    cell = yx // max(CELL, CELL_OVER_PATCH * max(patch))
    _, number = np.unique(cell, axis=0, return_inverse=True)
    order = np.argsort(number.ravel(), kind="stable")
    return np.split(order, np.cumsum(np.bincount(number.ravel()))[:-1])


def _groups_of(pieces: Sequence[Piece]) -> list[list[int]]:
    """Numbers of pieces in groups of about as many wanted pixels as a step takes."""
    groups: list[list[int]] = []
    left = 0
    for number, piece in enumerate(pieces):
        if not groups or piece.closure.outputs > left:
            groups.append([])
            left = PIXELS_PER_STEP
        groups[-1].append(number)
        left -= piece.closure.outputs
    return groups
