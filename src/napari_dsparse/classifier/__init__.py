"""The built-in patch classifiers: their networks, warm starts, classes, and the trained value."""

from napari_dsparse.classifier.classes import ClassInfo, default_class, default_classes, hex_color
from napari_dsparse.classifier.spec import DEFAULT_NETWORK, DEPTHS, NETWORKS, NetworkSpec
from napari_dsparse.classifier.trained import TrainedClassifier, TrainingRecord

__all__ = [
    "DEFAULT_NETWORK",
    "DEPTHS",
    "NETWORKS",
    "ClassInfo",
    "NetworkSpec",
    "TrainedClassifier",
    "TrainingRecord",
    "default_class",
    "default_classes",
    "hex_color",
]
