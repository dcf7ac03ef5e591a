"""From a trained classifier and an image to labels, probabilities and uncertainty, tile by tile."""

from napari_dsparse.prediction.predictor import (
    Predictor,
    TilePrediction,
    label_dtype,
    predict_labels,
    predict_probabilities,
    predict_uncertainty,
)
from napari_dsparse.prediction.tiles import Tile, nearest_first, plan_tiles, tiles_of_view

__all__ = [
    "Predictor",
    "Tile",
    "TilePrediction",
    "label_dtype",
    "nearest_first",
    "plan_tiles",
    "predict_labels",
    "predict_probabilities",
    "predict_uncertainty",
    "tiles_of_view",
]
