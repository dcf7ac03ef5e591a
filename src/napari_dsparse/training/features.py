"""What a network's warm start says of the painted pixels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from napari_dsparse.network import DenseNetwork, NetworkSpec, densify
from napari_dsparse.network.symmetry import SYMMETRIES, turn_kernels
from napari_dsparse.network.warm import warm_start
from napari_dsparse.ops.devices import full_float32
from napari_dsparse.training.batch import PIXELS_PER_STEP, Piece, join_pieces
from napari_dsparse.training.head import Moments


@dataclass(frozen=True, slots=True, eq=False)
class SeenStroke:
    """A stroke as the last layer sees it.

    Parameters
    ----------
    label : int
        Class, from 1.
    moments : Moments
        Of the features at its pixels, under all eight symmetries.
    features : Tensor of float32, shape (S, F)
        Their mean over the symmetries, on the CPU.
    """

    label: int
    moments: Moments
    features: Tensor


class StrokeFeatures:
    """Looks at painted pixels under all eight symmetries; at each piece of a stroke only once.

    Parameters
    ----------
    spec : NetworkSpec
    device : torch.device
    """

    def __init__(self, spec: NetworkSpec, device: torch.device) -> None:
        weights = warm_start(spec).weights
        self._device = device
        self._forms = [_turned(spec, weights, symmetry, device) for symmetry in range(SYMMETRIES)]
        self._known: dict[Piece, SeenStroke] = {}

    def of(self, pieces: Mapping[bytes, Sequence[Piece]]) -> tuple[SeenStroke, ...]:
        """Every stroke, given as its pieces by its key."""
        wanted = [piece for own in pieces.values() for piece in own]
        self._known = {piece: self._known[piece] for piece in wanted if piece in self._known}
        for hand in _hands([piece for piece in wanted if piece not in self._known]):
            self._look_at(hand)
        return tuple(_join([self._known[piece] for piece in own]) for own in pieces.values() if own)

    def _look_at(self, pieces: Sequence[Piece]) -> None:
        batch = join_pieces(pieces, self._device)
        with torch.inference_mode(), full_float32(self._device):
            views = torch.stack([form.on_sites(batch.pixels, batch.closure) for form in self._forms]).cpu()
        parts = torch.split(views, [piece.count for piece in pieces], dim=1)
        for piece, rows in zip(pieces, parts, strict=True):
            self._known[piece] = SeenStroke(piece.label, Moments.of(rows, piece.coverage), rows.mean(0))


def _join(pieces: Sequence[SeenStroke]) -> SeenStroke:
    first = pieces[0]
    if len(pieces) == 1:
        return first
    return SeenStroke(
        first.label,
        sum((piece.moments for piece in pieces[1:]), first.moments),
        torch.cat([piece.features for piece in pieces]),
    )


def _turned(
    spec: NetworkSpec, weights: Mapping[str, Tensor], symmetry: int, device: torch.device
) -> DenseNetwork:
    layers = spec.empty()[:-1]
    layers.load_state_dict(turn_kernels(weights, symmetry), assign=True)
    return densify(layers.to(device).eval().requires_grad_(False))


def _hands(pieces: Sequence[Piece]) -> list[list[Piece]]:
    """Pieces in groups of about as many labelled pixels as a step takes."""
    hands: list[list[Piece]] = []
    room = 0
    for piece in pieces:
        if not hands or piece.count > room:
            hands.append([])
            room = PIXELS_PER_STEP
        hands[-1].append(piece)
        room -= piece.count
    return hands
