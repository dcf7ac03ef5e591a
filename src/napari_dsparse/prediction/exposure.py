"""Models on images of another exposure than those they learned from."""

from __future__ import annotations

from dataclasses import replace

from napari_dsparse.classifier import TrainedClassifier
from napari_dsparse.images import ImageSource, Normalisation
from napari_dsparse.images.exposure import spread_ratio


def normalised_to(classifier: TrainedClassifier, source: ImageSource) -> TrainedClassifier:
    """The classifier, with `source` normalised by its own grey values.

    Correct where exposure differs and contents do not. In an image without any object, noise would be brought
    to the contrast of objects.

    Raises
    ------
    ImageError
        If a channel has no finite pixel.
    """
    return replace(classifier, normalisation=Normalisation.measure([source]), per_image=False)


def as_learned(classifier: TrainedClassifier, source: ImageSource) -> TrainedClassifier:
    """The classifier as it segments `source`: by the image's own grey values if it learned so.

    Raises
    ------
    ImageError
        If it learned so, and a channel has no finite pixel.
    """
    return normalised_to(classifier, source) if classifier.per_image else classifier


def range_ratio(classifier: TrainedClassifier, source: ImageSource) -> float:
    """Spread of the grey values of `source`, relative to their spread in training; see `spread_ratio`.

    Raises
    ------
    ImageError
        If a channel has no finite pixel.
    """
    return spread_ratio(Normalisation.measure([source]), classifier.normalisation)
