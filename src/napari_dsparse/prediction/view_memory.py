"""Cached features of the part on screen, which need not be computed again for every stroke."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from napari_dsparse.classifier import (
    DEFAULT_NETWORK,
    NetworkSpec,
    TrainedClassifier,
    TrainingRecord,
    default_classes,
)
from napari_dsparse.classifier.warm_start import warm_start
from napari_dsparse.images import ImageSource, Normalisation
from napari_dsparse.machine.memory import total_memory
from napari_dsparse.prediction.tiles import Tile

#: Bytes kept at most, and a share of all memory that is less on small computers. What is kept of a view of
#: 1,024 x 1,024 are 380 MB of one channel, or twice that with one layer more; of three channels, or of one
#: with the neighbouring planes, three times as much.
MEMORY_BYTES, MEMORY_SHARE = 9 << 28, 1 / 8


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """Features of a part of an image, as they are kept.

    Parameters
    ----------
    values : Tensor, shape (1, F, h, w)
    deep : bool
        True for the input of the last layer, False for that of the first layer that reads one pixel only.
    extra : int
        Bytes that deep features take beyond the others.
    """

    values: Tensor
    deep: bool = False
    extra: int = 0


def default_view_bytes() -> int:
    """Bytes to keep at most where the user has not said otherwise, by the memory of this computer."""
    return min(MEMORY_BYTES, int(MEMORY_SHARE * total_memory()))


class ViewMemory:
    """Features of what is on screen and around it, under a network's warm start.

    Every round of training begins at the warm start, with a last layer fitted to all strokes. So the first
    classifier that knows a new stroke reads the same features as the one that knew the stroke before, and
    differs in its weights: with known features, only a fifth of the work is left.

    As far as memory allows, the layers before the last are computed ahead too: then only the last layer and
    means of its scores are left.

    Parameters
    ----------
    most_bytes : int
        Limit; further parts are not kept.
    """

    def __init__(self, most_bytes: int = MEMORY_BYTES) -> None:
        #: May be changed at any time, in any thread.
        self.most_bytes = most_bytes
        self._of: tuple[object, ...] = ()
        self._wanted = 0  # pixels
        self._known: dict[Tile, Known] = {}
        self._lock = threading.Lock()

    @staticmethod
    def is_valid_for(classifier: TrainedClassifier) -> bool:
        """True if a classifier's features are those of the warm start: no step has been taken yet."""
        warm = warm_start(classifier.spec).weights
        return all(torch.equal(classifier.weights[name], weight) for name, weight in warm.items())

    def retain(self, classifier: TrainedClassifier, source: ImageSource, tiles: Iterable[Tile]) -> None:
        """Forget all but these parts of this image, and these too if they were normalised otherwise."""
        of = (source, classifier.spec.name, classifier.normalisation)
        tiles = set(tiles)
        if of != self._of:
            self._known = {}
        self._of, self._wanted = of, sum(tile.pixels for tile in tiles)
        self._known = {tile: known for tile, known in self._known.items() if tile in tiles}
        for tile, known in tuple(self._known.items()):
            if known.deep and self._needed(tile, known.values.nbytes - known.extra) > self.most_bytes:
                del self._known[tile]  # the view has grown: the room is for parts of which nothing is known

    def clear(self) -> None:
        """Forget all."""
        self._of, self._wanted, self._known = (), 0, {}

    def find(self, tile: Tile) -> Known | None:
        """All that is kept of a part."""
        return self._known.get(tile)

    def keep(self, tile: Tile, features: Tensor, deepen: Callable[[Tensor], Tensor], growth: float) -> Known:
        """Keep features of a part, if they fit, in the form that leaves least to compute.

        Parameters
        ----------
        tile : Tile
        features : Tensor, shape (1, F, h, w)
        deepen : callable
            Makes deep features of them.
        growth : float
            Size of those as a multiple.

        Returns
        -------
        Known
            Kept or not.
        """
        extra = round((growth - 1) * features.nbytes)
        known = Known(features)
        if extra and self._has_room(tile, features.nbytes, extra):
            known = Known(deepen(features), True, extra)
        with self._lock:
            used = sum(each.values.nbytes for each in self._known.values())
            if used + known.values.nbytes <= self.most_bytes:
                self._known[tile] = known
        return known

    def _has_room(self, tile: Tile, size: int, extra: int) -> bool:
        """True if deep features of a part, with `extra` bytes, leave room for all that is wanted."""
        with self._lock:
            return self._needed(tile, size) + extra <= self.most_bytes

    def _needed(self, tile: Tile, size: int) -> float:
        """Bytes of all that is wanted, deep where it is, if `tile` has `size` bytes of other features."""
        return size / tile.pixels * self._wanted + sum(each.extra for each in self._known.values())


def warm_start_classifier(source: ImageSource, depth: str = "off") -> TrainedClassifier:
    """Classifier that every round of training on an image starts from; its last layer is empty.

    `depth` is that of `NetworkSpec`.

    Raises
    ------
    ImageError
        If the image has no finite pixel to measure.
    """
    spec = NetworkSpec(DEFAULT_NETWORK, source.channels, 2, depth)
    shapes = {name: weight.shape for name, weight in spec.empty().state_dict().items()}
    empty = {name: torch.zeros(shape) for name, shape in shapes.items()}
    return TrainedClassifier(
        spec=spec,
        weights={**empty, **warm_start(spec).weights},
        classes=default_classes(spec.classes),
        priors=(1 / spec.classes,) * spec.classes,
        normalisation=Normalisation.measure([source]),
        channel_axis=None,
        n_symmetries=1,
        record=TrainingRecord(0, 0, 0.0, 0, 0, (None,) * spec.classes, 0, (), ""),
    )
