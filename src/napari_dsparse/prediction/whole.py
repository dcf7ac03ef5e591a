"""Results of whole images, assembled from the tiles that a predictor streams."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from napari_dsparse.classifier import TrainedClassifier
from napari_dsparse.images import ImageSource
from napari_dsparse.images.normalisation import check_float32
from napari_dsparse.prediction.predictor import TilePrediction, label_dtype
from napari_dsparse.prediction.tiles import Tile, plan_tiles
from napari_dsparse.stopping import StopFlag


class TilePredictor(Protocol):
    """Anything that predicts tiles with a classifier: this process, or the workers of a cluster."""

    classifier: TrainedClassifier

    def stream(
        self,
        source: ImageSource,
        tiles: Iterable[Tile],
        stop: StopFlag | Callable[[], bool] | None = None,
    ) -> Iterator[TilePrediction]:
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
        If the image has other channels than those the classifier was trained on, or float32 does not tell
        its values apart.
    """
    check_float32(source)
    classes = len(predictor.classifier.classes)
    result = Prediction(
        np.zeros(source.shape, label_dtype(classes)),
        np.zeros((classes, *source.shape), np.float32) if probabilities else None,
        np.zeros(source.shape, np.float32) if uncertainty else None,
    )
    done = 0
    for tile in predictor.stream(source, plan_tiles(source.shape, predictor.classifier.spec), stop):
        region = tile.tile.slices
        result.labels[region] = tile.labels
        if result.probabilities is not None:
            result.probabilities[(slice(None), *region)] = tile.probabilities
        if result.uncertainty is not None:
            result.uncertainty[region] = tile.uncertainty
        done += tile.labels.size
        if progress is not None:
            progress(done / result.labels.size)
    return result
