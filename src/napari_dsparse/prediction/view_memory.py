"""Cached features of the part on screen, which need not be computed again for every stroke."""

from __future__ import annotations

from collections.abc import Iterable

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
from napari_dsparse.prediction.tiles import Tile

#: Bytes kept at most: of one channel a view of about 1,850 x 1,850 pixels, of three channels, or of one with
#: the neighbouring planes, one of 1,000 x 1,000.
MEMORY_BYTES = 1 << 30


class ViewMemory:
    """Features of what is on screen and around it, under a network's warm start; lives in one thread.

    Every round of training begins at the warm start, with a last layer fitted to all strokes. So the first
    classifier that knows a new stroke reads the same features as the one that knew the stroke before, and
    differs in its weights: with known features, only a fifth of the work is left.

    Parameters
    ----------
    most_bytes : int
        Limit; further parts are not kept.
    """

    def __init__(self, most_bytes: int = MEMORY_BYTES) -> None:
        #: May be changed at any time, in any thread.
        self.most_bytes = most_bytes
        self._of: tuple[object, ...] = ()
        self._tiles: dict[Tile, Tensor] = {}

    @staticmethod
    def is_valid_for(classifier: TrainedClassifier) -> bool:
        """True if a classifier's features are those of the warm start: no step has been taken yet."""
        warm = warm_start(classifier.spec).weights
        return all(torch.equal(classifier.weights[name], weight) for name, weight in warm.items())

    def retain(self, classifier: TrainedClassifier, source: ImageSource, tiles: Iterable[Tile]) -> None:
        """Forget all but these parts of this image, and these too if they were normalised otherwise."""
        of = (source, classifier.spec.name, classifier.normalisation)
        wanted = set(tiles) if of == self._of else set()
        self._of = of
        self._tiles = {tile: features for tile, features in self._tiles.items() if tile in wanted}

    def clear(self) -> None:
        """Forget all."""
        self._of, self._tiles = (), {}

    def find(self, tile: Tile) -> Tensor | None:
        """Features of a part, (1, F, h, w)."""
        return self._tiles.get(tile)

    def keep(self, tile: Tile, features: Tensor) -> None:
        """Keep features of a part, if they fit."""
        used = sum(kept.nbytes for kept in self._tiles.values())
        if used + features.nbytes <= self.most_bytes:
            self._tiles[tile] = features


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
