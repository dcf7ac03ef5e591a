"""Results of whole images, assembled from the tiles that a predictor streams."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from napari_dsparse.classifier import TrainedClassifier
from napari_dsparse.images import ImageSource
from napari_dsparse.images.normalisation import check_float32
from napari_dsparse.images.origin import unchanged
from napari_dsparse.machine.memory import MOST_BAND
from napari_dsparse.prediction.tile_prediction import MAPS, TileResult, label_dtype
from napari_dsparse.prediction.tiles import Tile, in_bands, plan_tiles
from napari_dsparse.stopping import StopFlag


class TilePredictor(Protocol):
    """Anything that predicts tiles with a classifier: this process, or the workers of a cluster."""

    classifier: TrainedClassifier

    def begin(self, source: ImageSource, tiles: Sequence[Tile], maps: Collection[str] = MAPS) -> None:
        """Say of which tiles of an image some will be streamed: they may share work.

        `maps` are those that will be read of them beside the labels; others may be left out.
        """

    def stream(
        self,
        source: ImageSource,
        tiles: Iterable[Tile],
        stop: StopFlag | Callable[[], bool] | None = None,
    ) -> Iterator[TileResult]:
        """Predictions of the tiles, in any order, until `stop` is set."""


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """Results of a whole image.

    Parameters
    ----------
    labels : array of uint8 (uint16 beyond 255 classes), shape (..., Y, X)
        Most probable class, 1..K; 0 where prediction was stopped before.
    probabilities : array of float32, shape (K, ..., Y, X), or None
        Of every class at every pixel; None if not asked for.
    uncertainty : array of float32, shape (..., Y, X), or None
        Closeness of the second class to the first, 0 (certain) to 1 (a tie); None if not asked for.
    """

    labels: NDArray[np.unsignedinteger]
    probabilities: NDArray[np.float32] | None
    uncertainty: NDArray[np.float32] | None

    @property
    def maps(self) -> Collection[str]:
        """Maps that are asked for."""
        return [name for name in sorted(MAPS) if getattr(self, name) is not None]

    def missing(self, tiles: Sequence[Tile]) -> Sequence[Tile]:
        """Tiles that are not there yet: all of them."""
        return tiles

    def put(self, tile: TileResult) -> None:
        """Take a tile."""
        region = tile.tile.slices
        self.labels[region] = tile.labels
        if self.probabilities is not None:
            self.probabilities[(slice(None), *region)] = tile.value("probabilities")
        if self.uncertainty is not None:
            self.uncertainty[region] = tile.value("uncertainty")


class Results(Protocol):
    """Takes the tiles of a whole image, wherever it keeps them."""

    @property
    def maps(self) -> Collection[str]:
        """Maps that it reads of a tile, beside its labels."""

    def missing(self, tiles: Sequence[Tile]) -> Sequence[Tile]:
        """Tiles that are not there yet, in order."""

    def put(self, tile: TileResult) -> None:
        """Take a tile."""


def predict_image(
    predictor: TilePredictor,
    source: ImageSource,
    *,
    probabilities: bool = False,
    uncertainty: bool = False,
    progress: Callable[[float], None] | None = None,
    stop: StopFlag | Callable[[], bool] | None = None,
) -> Prediction:
    """Predict all tiles of an image, in one pass for everything that is wanted.

    Parameters
    ----------
    predictor : TilePredictor
    source : ImageSource
    probabilities, uncertainty : bool
        Keep them too.
    progress : callable, optional
        Called with the share of pixels done, 0..1, after every tile.
    stop : threading.Event or callable, optional
        Asked several times per tile; what is not predicted by then is 0 in the result.

    Raises
    ------
    ImageError
        If the image has other channels than those the classifier was trained on, float32 does not tell its
        values apart, or its files are written to meanwhile.
    """
    classes = len(predictor.classifier.classes)
    result = Prediction(
        np.zeros(source.shape, label_dtype(classes)),
        np.zeros((classes, *source.shape), np.float32) if probabilities else None,
        np.zeros(source.shape, np.float32) if uncertainty else None,
    )
    predict_into(predictor, source, result, progress=progress, stop=stop)
    return result


def predict_into(
    predictor: TilePredictor,
    source: ImageSource,
    results: Results,
    *,
    band: int = MOST_BAND,
    progress: Callable[[float], None] | None = None,
    stop: StopFlag | Callable[[], bool] | None = None,
) -> None:
    """Predict those tiles of an image that `results` lacks, and give them to it one by one.

    `band` is the width of the bands in which tiles are computed, in pixels; other parameters and errors are
    those of `predict_image`.
    """
    check_float32(source)
    tiles = plan_tiles(source.shape, predictor.classifier.spec)
    missing = results.missing(tiles)
    pixels = math.prod(source.shape)
    done = pixels - sum(tile.pixels for tile in missing)
    if progress is not None and done:
        progress(done / pixels)
    predictor.begin(source, tiles, results.maps)
    with unchanged(source):
        for tile in predictor.stream(source, in_bands(missing, band), stop):
            results.put(tile)
            done += tile.labels.size
            if progress is not None:
                progress(done / pixels)
