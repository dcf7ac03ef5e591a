"""Features of the painted pixels from a network's warm start."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_dsparse.classifier import NetworkSpec
from napari_dsparse.classifier.warm_start import warm_start
from napari_dsparse.images import ImageSource, Normalisation
from napari_dsparse.machine.devices import full_float32
from napari_dsparse.machine.lanes import in_lanes, lanes_of
from napari_dsparse.network import DenseNetwork, densify
from napari_dsparse.network.symmetry import symmetries_for, turn_kernels
from napari_dsparse.training.batch import cells_of, join_pieces, make_piece
from napari_dsparse.training.choice import MOST_PIXELS, ChosenPixels
from napari_dsparse.training.head import Rows
from napari_dsparse.training.strokes import Stroke
from napari_dsparse.training.surroundings import Surroundings

Plane = tuple[int, tuple[int, ...]]

#: Painted pixels looked at together at most, to bound memory: with their patches, some 10^5 of the image.
PIXELS_PER_LOOK = 128
#: Looks for each lane, at least, where there are cells enough: so that all are done at about the same time.
LOOKS_PER_LANE = 2


@dataclass(frozen=True, slots=True, eq=False)
class _Known:
    """Features of some pixels of a plane, by place (y * width + x), increasing."""

    places: NDArray[np.int64]
    views: Tensor  # (S, V, F), under V symmetries
    means: Tensor  # (S, windows, F)
    beside: Tensor  # (S, V, F), the mean of both neighbouring planes; (S, V, 0) where they are not looked at


class PixelFeatures:
    """Features of chosen pixels under a network's warm start, each computed only once.

    Where little is painted, every pixel is used under all eight symmetries, which makes up for some missing
    paint; where much is painted, only once.

    Parameters
    ----------
    spec : NetworkSpec
    sources : sequence of ImageSource
    normalisations : sequence of Normalisation
        One for each source.
    device : torch.device
    """

    def __init__(
        self,
        spec: NetworkSpec,
        sources: Sequence[ImageSource],
        normalisations: Sequence[Normalisation],
        device: torch.device,
    ) -> None:
        trunk = warm_start(spec).trunk
        self._sources = sources
        self._normalisations = normalisations
        self._device = device
        self._features = spec.features
        self._neighbours = spec.neighbours
        self._forms = {s: _turned(spec, trunk, s, device) for s in symmetries_for(8)}
        plain = self._forms[0].network
        #: Features of the warm start on its lattice of the images.
        self.surroundings = Surroundings(
            sources, normalisations, plain, spec.windows, device, spec.neighbours
        )
        self._views = 8
        self._known: dict[Plane, _Known] = {}

    def rows(self, strokes: Sequence[Stroke], chosen: ChosenPixels, present: Sequence[int]) -> Rows:
        """Features of the chosen pixels: details in every view, and means over windows once for all views.

        Parameters
        ----------
        strokes : sequence of Stroke
        chosen : ChosenPixels
            Of these strokes.
        present : sequence of int
            Class indices that have paint, increasing; targets are places in it.
        """
        self._look_at(strokes, chosen)
        planes = [self._known[key] for key, _ in _by_plane(strokes, chosen)]
        views, beside = (
            torch.cat(parts).transpose(0, 1)
            for parts in ([known.views for known in planes], [known.beside for known in planes])
        )
        context = torch.cat([known.means for known in planes]).unbind(1)
        return Rows(
            (views, *context, *([beside] if self._neighbours else [])),
            torch.from_numpy(np.searchsorted(present, chosen.labels - 1)),
            torch.from_numpy(chosen.weights),
        )

    def _look_at(self, strokes: Sequence[Stroke], chosen: ChosenPixels) -> None:
        views = next(v for v in (8, 4, 2, 1) if v * len(chosen.labels) <= MOST_PIXELS or v == 1)
        if views > self._views:
            self._known = {}
        self._views = views
        self._known = {key: self._with_missing(key, chosen.yx[at]) for key, at in _by_plane(strokes, chosen)}

    def _with_missing(self, key: Plane, yx: NDArray[np.int64]) -> _Known:
        """Features of a plane's pixels (S, 2), increasing; missing ones are computed."""
        width = self._sources[key[0]].shape[-1]
        places = yx[:, 0] * width + yx[:, 1]
        old = self._known.get(key)
        if old is None:
            new, kept = np.ones(len(places), bool), np.zeros(0, np.int64)
        else:
            new, kept = ~np.isin(places, old.places), np.searchsorted(old.places, places)
        found = self._compute(key, yx[new])
        if old is not None:
            own, at = torch.from_numpy(new), torch.from_numpy(kept[~new])
            before = old.views[at, : self._views], old.means[at], old.beside[at, : self._views]
            found = tuple(_merged(own, a, b) for a, b in zip(found, before, strict=True))
        return _Known(places, *found)

    def _compute(self, key: Plane, yx: NDArray[np.int64]) -> tuple[Tensor, ...]:
        """Views, means and views of both neighbours of a plane's pixels, as in `_Known`."""
        image, plane = key
        windows = len(self.surroundings.windows)
        looked, on_lattice = torch.empty((len(yx), 1 + windows, self._features)), np.zeros(len(yx), bool)
        if windows and len(yx):
            lattice, back = np.unique(self.surroundings.cells(yx), axis=0, return_inverse=True)
            looked = self.surroundings.look(image, plane, lattice)[torch.from_numpy(back.ravel())]
            on_lattice = (yx % self.surroundings.stride == 0).all(1)
        views = self._views_of(image, [plane], yx, looked[:, 0], on_lattice)
        beside = views[..., :0]
        if self._neighbours:
            planes = self._sources[image].beside(plane)
            beside = self._views_of(image, planes, yx, looked[:, -1], on_lattice)
        return views, looked[:, 1 : 1 + windows].contiguous(), beside

    def _views_of(
        self,
        image: int,
        planes: Sequence[tuple[int, ...]],
        yx: NDArray[np.int64],
        known: Tensor,
        on_lattice: NDArray[np.bool_],
    ) -> Tensor:
        """Mean features (S, V, F) of some planes' pixels; on the lattice the first view's are known."""
        views = torch.empty((len(yx), self._views, self._features))
        missing = ~on_lattice if self._views == 1 else np.ones(len(yx), bool)
        seen = [self._view(image, plane, yx[missing]) for plane in planes]
        views[torch.from_numpy(missing)] = seen[0] if len(seen) == 1 else sum(seen[1:], seen[0]) / len(seen)
        views[torch.from_numpy(on_lattice), 0] = known[torch.from_numpy(on_lattice)]
        return views

    def _view(self, image: int, plane: tuple[int, ...], yx: NDArray[np.int64]) -> Tensor:
        """Features (S, V, F) of a plane's pixels."""
        views = torch.empty((len(yx), self._views, self._features))
        cells = cells_of(yx, self._forms[0].geometry.patch) if len(yx) else []
        lanes = lanes_of(self._device)

        def see(own: list[NDArray[np.int64]]) -> tuple[Tensor, Tensor]:
            seen = self._seen(image, plane, [yx[at] for at in own])
            return torch.from_numpy(np.concatenate(own)), seen

        for at, seen in in_lanes(see, _looks(cells, lanes), lanes):
            views[at] = seen
        return views

    def _seen(self, image: int, plane: tuple[int, ...], cells: Sequence[NDArray[np.int64]]) -> Tensor:
        """Features (S, V, F) of the pixels of some cells of a plane."""
        source, normalisation = self._sources[image], self._normalisations[image]
        geometry = self._forms[0].geometry
        pieces = [make_piece(source, normalisation, geometry, plane, own) for own in cells]
        pixels, _, closure = join_pieces(pieces, self._device)
        forms = [self._forms[s] for s in symmetries_for(self._views)]
        with torch.inference_mode(), full_float32(self._device):
            return torch.stack([form.on_sites(pixels, closure) for form in forms], 1).cpu()


def _looks(cells: Sequence[NDArray[np.int64]], lanes: int) -> list[list[NDArray[np.int64]]]:
    """Cells in groups of about as many pixels: some for every lane, and none with too many."""
    most = max(1, min(PIXELS_PER_LOOK, sum(map(len, cells)) // (LOOKS_PER_LANE * lanes)))
    groups: list[list[NDArray[np.int64]]] = []
    count = most
    for own in cells:
        if count >= most:
            groups.append([])
            count = 0
        groups[-1].append(own)
        count += len(own)
    return groups


def _merged(new: Tensor, computed: Tensor, known: Tensor) -> Tensor:
    """Rows computed where `new` is true, and rows known elsewhere."""
    merged = computed.new_empty((len(new), *computed.shape[1:]))
    merged[new], merged[~new] = computed, known
    return merged


def _by_plane(strokes: Sequence[Stroke], chosen: ChosenPixels) -> list[tuple[Plane, NDArray[np.int64]]]:
    """Image and plane, and which of the chosen pixels lie there, in their order."""
    keys = [(strokes[i].image, strokes[i].plane) for i in chosen.strokes]
    return [
        (key, np.fromiter(numbers, np.int64))
        for key, numbers in groupby(range(len(keys)), key=lambda number: keys[number])
    ]


def _turned(
    spec: NetworkSpec, trunk: Mapping[str, Tensor], symmetry: int, device: torch.device
) -> DenseNetwork:
    layers = spec.empty_trunk()
    layers.load_state_dict(turn_kernels(trunk, symmetry), assign=True)
    layers.to(device).eval().requires_grad_(False)
    if device.type == "cpu":
        layers.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return densify(layers)
