"""The built-in patch classifiers: their networks, warm starts, classes, and the trained value."""

from napari_dsparse.classifier.spec import DEFAULT_NETWORK, NETWORKS, NetworkSpec
from napari_dsparse.classifier.trained import (
    ClassInfo,
    TrainedClassifier,
    TrainingRecord,
    default_class,
    default_classes,
)

__all__ = [
    "DEFAULT_NETWORK",
    "NETWORKS",
    "ClassInfo",
    "NetworkSpec",
    "TrainedClassifier",
    "TrainingRecord",
    "default_class",
    "default_classes",
]
