"""Untrained classifiers with random weights."""

from __future__ import annotations

import torch

from napari_dsparse.classifier import NetworkSpec, TrainedClassifier, TrainingRecord
from napari_dsparse.classifier.classes import default_classes
from napari_dsparse.images import Normalisation


def classifier_for(
    channels=1, classes=3, seed=0, n_symmetries=1, priors=None, network="compact", depth="off"
) -> TrainedClassifier:
    torch.manual_seed(seed)
    spec = NetworkSpec(network, channels, classes, depth)
    return TrainedClassifier(
        spec=spec,
        weights={name: w + 0.1 * torch.randn_like(w) for name, w in spec.build().state_dict().items()},
        classes=default_classes(classes),
        priors=priors or (1 / classes,) * classes,
        normalisation=Normalisation((10.0,) * channels, (3.0,) * channels),
        channel_axis=None if channels == 1 else -1,
        n_symmetries=n_symmetries,
        record=TrainingRecord(0, 1, 0.1, 2, 9, (None,) * classes, 0, (), "2026-01-01T00:00:00+00:00"),
    )
