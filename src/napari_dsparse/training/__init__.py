"""Learning from sparse labels: strokes, held-out strokes, the trainer."""

from napari_dsparse.training.learner import Recipe
from napari_dsparse.training.progress import TrainingProgress
from napari_dsparse.training.strokes import Stroke, find_strokes
from napari_dsparse.training.train import train_classifier
from napari_dsparse.training.trainer import Trainer

__all__ = ["Recipe", "Stroke", "Trainer", "TrainingProgress", "find_strokes", "train_classifier"]
