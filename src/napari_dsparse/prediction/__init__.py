"""Labels, probabilities and uncertainty from a trained classifier and an image, tile by tile."""

from napari_dsparse.prediction.predictor import Predictor
from napari_dsparse.prediction.tile_prediction import TilePrediction, TileResult, label_dtype
from napari_dsparse.prediction.tiles import Tile, nearest_first, plan_tiles, tiles_of_view
from napari_dsparse.prediction.whole import Prediction, Results, TilePredictor, predict_image, predict_into

__all__ = [
    "Prediction",
    "Predictor",
    "Results",
    "Tile",
    "TilePrediction",
    "TilePredictor",
    "TileResult",
    "label_dtype",
    "nearest_first",
    "plan_tiles",
    "predict_image",
    "predict_into",
    "tiles_of_view",
]
