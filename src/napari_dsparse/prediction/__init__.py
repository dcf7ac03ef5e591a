"""Labels, probabilities and uncertainty from a trained classifier and an image, tile by tile."""

from napari_dsparse.prediction.predictor import Predictor, TilePrediction, label_dtype
from napari_dsparse.prediction.tiles import Tile, nearest_first, plan_tiles, tiles_of_view
from napari_dsparse.prediction.whole import Prediction, TilePredictor, predict_image

__all__ = [
    "Prediction",
    "Predictor",
    "Tile",
    "TilePrediction",
    "TilePredictor",
    "label_dtype",
    "nearest_first",
    "plan_tiles",
    "predict_image",
    "tiles_of_view",
]
