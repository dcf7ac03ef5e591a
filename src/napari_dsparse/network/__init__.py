"""Patch classifiers: built-in ones, their geometry, and the exact whole-image form of any of them."""

from napari_dsparse.network.dense import DenseNetwork, densify
from napari_dsparse.network.geometry import Geometry, patch_size, trace
from napari_dsparse.network.spec import DEFAULT_NETWORK, NETWORKS, NetworkSpec
from napari_dsparse.network.trained import (
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
    "DenseNetwork",
    "Geometry",
    "NetworkSpec",
    "TrainedClassifier",
    "TrainingRecord",
    "default_class",
    "default_classes",
    "densify",
    "patch_size",
    "trace",
]
