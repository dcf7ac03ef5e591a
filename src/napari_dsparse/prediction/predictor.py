"""A trained classifier at work: tile by tile, exact to the border, memory bounded by the tile."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from napari_dsparse.classifier import TrainedClassifier
from napari_dsparse.errors import DsparseError, ImageError
from napari_dsparse.images import ImageSource
from napari_dsparse.machine.cores import available_cores
from napari_dsparse.machine.devices import full_float32, pick_device, pick_precision
from napari_dsparse.machine.lanes import in_lanes
from napari_dsparse.machine.memory import MOST_SCORES, MemoryNeeds, MemoryPlan, most_lanes
from napari_dsparse.network import DenseNetwork, calibration, densify
from napari_dsparse.network.symmetry import symmetries_for, turn_kernels
from napari_dsparse.prediction.blocks import BlockGrid, Blocks, KeptScores
from napari_dsparse.prediction.scores import softmax
from napari_dsparse.prediction.tile_prediction import MAPS, TilePrediction, label_dtype
from napari_dsparse.prediction.tiles import Tile
from napari_dsparse.prediction.view_memory import Known, ViewMemory
from napari_dsparse.stopping import StopFlag, as_stop_callable


def _named(form: int, name: Callable[[Tile], Hashable], block: Tile) -> Hashable:
    """Name of a block's scores in one of several symmetries."""
    return form, name(block)


class Predictor:
    """Applies a classifier to tiles on one device; lives in one thread, but for `tile` and `prepare`.

    Parameters
    ----------
    classifier : TrainedClassifier
    device : str
        "auto", "cpu", "cuda", "cuda:1" or "mps".
    n_symmetries : int, optional
        Symmetries to average instead of the classifier's own number: 1, 2, 4 or 8.
    precision : str
        "float32", or "bfloat16": several times as fast where the processor has instructions for it, with
        three digits per value, so that pixels near a tie may change their class.
    memory : ViewMemory, optional
        For previews in one symmetry by a classifier that it serves: what `tile` need not compute again. Used
        on the processor alone; accelerators are fast enough without.

    `begin` says which tiles will be asked for: their surroundings are then computed once, not once per tile.

    Raises
    ------
    DsparseError
        If there is no such device or precision, or the classifier normalises each image by its own grey
        values, and it is not settled whose: see `exposure.as_learned`.
    """

    def __init__(
        self,
        classifier: TrainedClassifier,
        device: str = "auto",
        n_symmetries: int | None = None,
        precision: str = "float32",
        memory: ViewMemory | None = None,
    ) -> None:
        if classifier.per_image:
            raise DsparseError(
                "This classifier normalises each image by its own grey values; give as_learned(classifier, "
                "image)."
            )
        self.classifier = classifier
        self._painted = classifier.of_painted()
        self._neighbours = classifier.spec.neighbours
        self.device = pick_device(device)
        self._dtype = pick_precision(precision)
        self._forms = [
            self._turned(symmetry) for symmetry in symmetries_for(n_symmetries or classifier.n_symmetries)
        ]
        alone = self.device.type == "cpu" and len(self._forms) == 1
        self._memory = memory if alone else None
        self._kept_scores = MOST_SCORES
        #: Tiles that `stream` computes at a time, at most; on an accelerator it is one.
        self.most_lanes = 1 if self.device.type != "cpu" else most_lanes(self.needs, available_cores())
        self._reading = threading.Lock()  # arrays of others need not stand several readers
        self.patch = classifier.spec.patch
        #: Rows and columns between the pixels that a sketch computes.
        self.stride = self._forms[0].geometry.stride
        self._present = torch.tensor(classifier.present).nonzero()[:, 0].to(self.device)
        self._priors = torch.tensor(self._painted.priors, device=self.device)[:, None, None]
        self._source: ImageSource | None = None
        self._tiles: tuple[Tile, ...] = ()
        self._blocks: tuple[Blocks, ...] = ()
        self._stopped: Callable[[], bool] = lambda: False

    @property
    def needs(self) -> MemoryNeeds:
        """Facts that decide the memory that it takes, whatever the image."""
        spec, classes = self.classifier.spec, len(self.classifier.classes)
        return MemoryNeeds(spec.channels, classes, len(self._forms), neighbours=spec.neighbours)

    def limit_memory(self, plan: MemoryPlan) -> None:
        """Take no more memory than so much for images begun from now on."""
        self._kept_scores = plan.scores // len(self._forms)
        self.most_lanes = min(self.most_lanes, plan.lanes)

    def begin(
        self,
        source: ImageSource,
        tiles: Sequence[Tile],
        maps: Collection[str] = MAPS,
        grid: BlockGrid | None = None,
        kept: KeptScores | None = None,
        name: Callable[[Tile], Hashable] = lambda block: block,
    ) -> None:
        """Say which tiles of an image will be asked for; what was computed for the same ones is kept.

        Parameters
        ----------
        source : ImageSource
        tiles : sequence of Tile
        maps : collection of str
            Those that will be read beside labels; tiles computed here can give any.
        grid : BlockGrid, optional
            Of more tiles than these, to compute the very blocks that are computed for all of them.
        kept : KeptScores, optional
            Where local scores are kept, for others to use; by default in this predictor alone.
        name : callable, optional
            Name of a block of this image by this classifier, among all in `kept`.

        Raises
        ------
        ImageError
            If the image has other channels than those the classifier was trained on.
        """
        self.classifier.check_fits(source)
        if source is not self._source or tuple(tiles) != self._tiles:
            self._source, self._tiles = source, tuple(tiles)
            grid = grid or BlockGrid.over(self._tiles, self.classifier.spec.block_halo)
            own = weakref.proxy(self)  # no circle: large scores would wait for the collector
            self._blocks = tuple(
                Blocks(
                    grid,
                    partial(Predictor._local_scores, own, source, form),
                    KeptScores(self._kept_scores) if kept is None else kept,
                    partial(_named, number, name),
                )
                for number, form in enumerate(self._forms)
            )

    def tile(
        self, source: ImageSource, tile: Tile, stopped: Callable[[], bool] = lambda: False
    ) -> TilePrediction | None:
        """Read a tile's patches and classify its pixels; None if `stopped()` came true meanwhile.

        Raises
        ------
        ImageError
            If the image has other channels than those the classifier was trained on.
        """
        if source is not self._source or tile not in self._tiles:
            self.begin(source, (tile,))
        self._stopped = stopped
        painted: Tensor | None = None
        with torch.inference_mode(), full_float32(self.device):
            for form, blocks in zip(self._forms, self._blocks, strict=True):
                scores = self._scores(source, form, blocks, tile)
                if scores is None:
                    return None
                one = softmax(scores[0])
                painted = one if painted is None else painted.add_(one)
            assert painted is not None
            return self._decided(painted, tile)

    def _scores(self, source: ImageSource, form: DenseNetwork, blocks: Blocks, tile: Tile) -> Tensor | None:
        """Class scores of a tile, (1, K, h, w), neighbouring planes included; None if there was no time."""
        local = blocks.around(tile)
        if local is None or not self._neighbours:
            return None if local is None else form.gathered(local)
        scores = form.gathered(local)
        del local
        parts = []
        for plane in source.beside(tile.plane):
            part = blocks.around(replace(tile, plane=plane), halo=0, last=scores.shape[1])
            if part is None:
                return None
            parts.append(part)
        return scores + (parts[0] + parts[1]) / 2

    def _blocks_around(self, tile: Tile) -> set[Tile]:
        """Blocks that a tile, one of those given to `begin`, reads."""
        grid, source = self._blocks[0].grid, self._source
        own = set(grid.of(tile))
        if not self._neighbours or source is None:
            return own
        others = (replace(tile, plane=plane) for plane in source.beside(tile.plane))
        return own.union(*(grid.of(other, halo=0) for other in others))

    def blocks_of(self, tiles: Iterable[Tile]) -> set[Tile]:
        """Blocks that `memory` has to hold for some of the tiles given to `begin`."""
        return {block for tile in tiles for block in self._blocks_around(tile)}

    def remembers(self, tile: Tile) -> bool:
        """True if all features of `tile`, one of those given to `begin`, are remembered."""
        memory = self._memory
        return memory is not None and all(memory.find(b) is not None for b in self._blocks_around(tile))

    def unknown(self, tiles: Iterable[Tile]) -> list[Tile]:
        """Blocks of tiles given to `begin` that are not remembered, in the order of the tiles."""
        if self._memory is None:
            return []
        found: dict[Tile, None] = {}
        for tile in tiles:
            near = sorted(self._blocks_around(tile), key=lambda block: (block.plane != tile.plane, block))
            found |= {block: None for block in near if self._memory.find(block) is None}
        return list(found)

    def prepare(self, source: ImageSource, block: Tile, stopped: Callable[[], bool] = lambda: False) -> bool:
        """Compute a block ahead, and remember it; False if there is no room for it, or `stopped()`."""
        if self._memory is None or stopped():
            return False
        with torch.inference_mode(), full_float32(self.device):
            self._remember(source, self._forms[0], block)
        return self._memory.find(block) is not None

    def _local_scores(self, source: ImageSource, form: DenseNetwork, block: Tile) -> Tensor | None:
        if self._stopped():
            return None
        if self._memory is None:
            return form.local_scores(self._features(source, form, block))
        known = self._memory.find(block) or self._remember(source, form, block)
        return form.last_scores(known.values) if known.deep else form.local_scores(known.values)

    def _features(self, source: ImageSource, form: DenseNetwork, block: Tile) -> Tensor:
        return form.features(self._read(source, block, self.classifier.spec.local_patch))

    def _remember(self, source: ImageSource, form: DenseNetwork, block: Tile) -> Known:
        assert self._memory is not None
        features = self._features(source, form, block)
        return self._memory.keep(block, features, form.deep_features, form.deep_growth)

    def block(self, pixels: NDArray[np.float32], tile: Tile) -> TilePrediction:
        """Classify a tile from its raw pixels, halo included: (C, h + P - 1, w + P - 1).

        Raises
        ------
        ImageError
            If the classifier looks at neighbouring planes too.
        """
        if self._neighbours:
            raise ImageError("This model looks at neighbouring planes; give it a stack, (..., Z, Y, X).")
        x = self._normalised(pixels)
        with torch.inference_mode(), full_float32(self.device):
            views = [softmax(form(x)[0]) for form in self._forms]
            return self._decided(sum(views[1:], views[0]), tile)

    def sketch(self, source: ImageSource, tile: Tile) -> TilePrediction:
        """A first look at a tile, several times as fast: `tile` in one symmetry at every s-th pixel.

        There the patch classifier itself runs on the map, strides and all, which gives what `tile` gives;
        between these pixels, probabilities are interpolated. With s the product of strides, the lattice
        begins at the tile's first pixel.
        """
        self.classifier.check_fits(source)
        stride_y, stride_x = self.stride
        height, width = (stop - start for start, stop in (tile.rows, tile.columns))
        covered = -(-(height - 1) // stride_y) * stride_y + 1, -(-(width - 1) // stride_x) * stride_x + 1
        whole = Tile(
            tile.plane,
            (tile.rows[0], tile.rows[0] + covered[0]),
            (tile.columns[0], tile.columns[0] + covered[1]),
        )
        x = self._read(source, whole, self.patch)
        with torch.inference_mode(), full_float32(self.device):
            scores = self._forms[0].network(x)
            if self._neighbours:
                before, behind = (
                    self._sketched_part(source, replace(whole, plane=plane))
                    for plane in source.beside(tile.plane)
                )
                scores = scores + (before + behind) / 2
            likely = scores.softmax(1, dtype=torch.float32)
            between = F.interpolate(likely, covered, mode="bilinear", align_corners=True)
            return self._decided(between[0, :, :height, :width].contiguous(), tile)

    def _sketched_part(self, source: ImageSource, tile: Tile) -> Tensor:
        """A plane's part in the scores of its neighbours, at every s-th pixel of a tile."""
        x = self._read(source, tile, self.classifier.spec.local_patch)
        trunk, head = self._parts()
        parts: Tensor = head(trunk(x))
        return parts[:, -self._painted.spec.classes :]

    @property
    def painted_classes(self) -> int:
        """Number of classes that had paint, K."""
        return self._painted.spec.classes

    @property
    def reaches(self) -> tuple[int, ...]:
        """Pixels, along an axis, that the windows reach over whose means are taken of local scores."""
        return tuple((taps - 1) * self.stride[0] + 1 for taps in self.classifier.spec.windows)

    def site_features(self, pixels: NDArray[np.float32]) -> Tensor:
        """Features of single pixels, and their means over the strides around, from patches of their own.

        (C, S, p, p) -> (S, 2 F), with p the local patch, or as many strides more on each side as means reach.
        """
        flat = self._normalised(pixels.reshape(len(pixels), -1, pixels.shape[-1]))
        patches = flat.view(*pixels.shape).transpose(0, 1)
        with torch.inference_mode(), full_float32(self.device):
            features: Tensor = self._parts()[0](patches)
            middle = features[:, :, features.shape[2] // 2, features.shape[3] // 2]
            return torch.cat([middle, features.mean((2, 3))], 1)

    def site_scores(self, features: Tensor) -> Tensor:
        """Local scores (L, rows, columns) from `site_features` (rows, columns, 2 F).

        Of the L, the first K are those of a pixel itself, the next K those whose means over the first of the
        windows count, and so on; the last are a pixel's part in its neighbouring planes, if it has one there.
        """
        ends = self.painted_classes, self.painted_classes * (1 + len(self.reaches))
        with torch.inference_mode(), full_float32(self.device):
            own, around = (self._parts()[1](x.permute(2, 0, 1)[None])[0] for x in features.chunk(2, -1))
        return torch.cat([own[: ends[0]], around[ends[0] : ends[1]], own[ends[1] :]])

    def _parts(self) -> tuple[nn.Module, nn.Module]:
        """The layers up to the features, and the last one, of the patch classifier in one symmetry."""
        network = self._forms[0].network
        if self.classifier.spec.prefixes[0]:
            return network.get_submodule("trunk"), network.get_submodule("head.linear")
        layers = list(network.children())
        return nn.Sequential(*layers[:-1]), layers[-1]

    def from_scores(self, scores: Tensor, tile: Tile) -> TilePrediction:
        """Classes and probabilities from scores (K, h, w) of the painted classes."""
        with torch.inference_mode():
            return self._decided(softmax(scores).to(self.device), tile)

    def _read(self, source: ImageSource, tile: Tile, patch: int) -> Tensor:
        """All that the patches of a tile's pixels read, as the network takes it."""
        with self._reading:
            pixels = source.read(tile.plane, *tile.window(patch))
        return self._normalised(pixels)

    def _normalised(self, pixels: NDArray[np.float32]) -> Tensor:
        """Pixels (C, H, W) as the network takes them: (1, C, H, W)."""
        own = torch.from_numpy(self.classifier.normalisation.apply(pixels))
        return own.to(self.device, self._dtype)[None]

    def _decided(self, painted: Tensor, tile: Tile) -> TilePrediction:
        """From probabilities (painted classes, h, w), of equal priors and up to a factor, in place."""
        painted.mul_(self._priors).div_(painted.sum(0))
        winners = painted.max(0).indices  # the first of equals, ten times as fast as argmax
        labels = (self._present[winners] + 1).cpu().numpy().astype(label_dtype(len(self.classifier.classes)))
        return TilePrediction(tile, labels, painted.contiguous().cpu().numpy(), self.classifier.present)

    def stream(
        self,
        source: ImageSource,
        tiles: Iterable[Tile],
        stop: StopFlag | Callable[[], bool] | None = None,
    ) -> Iterator[TilePrediction]:
        """Predictions of `tiles` in their order, side by side on a processor, until `stop` is set."""
        stopped = as_stop_callable(stop)
        tiles = tuple(tiles)
        if tiles and not (source is self._source and set(tiles) <= set(self._tiles)):
            self.begin(source, tiles)
        threads, left = torch.get_num_threads(), threading.Event()
        lanes = max(1, min(threads, self.most_lanes, len(tiles)))

        def compute(tile: Tile) -> TilePrediction | None:
            return self.tile(source, tile, lambda: left.is_set() or stopped())

        try:
            for prediction in in_lanes(compute, tiles, lanes, threads=threads // lanes):
                if prediction is not None:
                    yield prediction
                if prediction is None or stopped():  # others may have been computed ahead
                    return
        finally:
            left.set()

    def _turned(self, symmetry: int) -> DenseNetwork:
        network = self._painted.spec.empty()
        network.load_state_dict(turn_kernels(self._painted.weights, symmetry), assign=True)
        network.to(self.device, self._dtype)
        if self.device.type == "cpu":
            # Maps take the layout of weights; max-pools of a sketch run ten times as fast with channels last.
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        dense = densify(network.eval().requires_grad_(False))
        if self.device.type == "cpu":
            return dense.planned(self._dtype, calibration.measured)
        return dense
