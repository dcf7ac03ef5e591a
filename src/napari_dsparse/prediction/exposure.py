"""Models on images of another exposure than those they learned from."""

from __future__ import annotations

from dataclasses import replace

from napari_dsparse.classifier import TrainedClassifier
from napari_dsparse.images import ImageSource, Normalisation

#: Ratio between ranges of grey values from which another exposure is likely.
NOTABLE = 3.0


def normalised_to(classifier: TrainedClassifier, source: ImageSource) -> TrainedClassifier:
    """The classifier, with `source` normalised by its own grey values.

    Correct where exposure differs and contents do not. In an image without any object, noise would be brought
    to the contrast of objects.

    Raises
    ------
    ImageError
        If a channel has no finite pixel.
    """
    return replace(classifier, normalisation=Normalisation.measure([source]))


def range_ratio(classifier: TrainedClassifier, source: ImageSource) -> float:
    """Spread of the grey values of `source`, relative to their spread in training.

    Of several channels, the ratio furthest from 1 in either direction.
    """
    own, learned = Normalisation.measure([source]).scale, classifier.normalisation.scale
    return max((a / b for a, b in zip(own, learned, strict=True)), key=lambda ratio: max(ratio, 1 / ratio))


def describe_ratio(ratio: float) -> str:
    """A `range_ratio` as "2.5 times as widely as"."""
    return f"{ratio:.1f} times as widely as" if ratio >= 1 else f"{1 / ratio:.1f} times less widely than"


def is_notable(ratio: float) -> bool:
    """True if a `range_ratio` is worth a message."""
    return max(ratio, 1 / ratio) >= NOTABLE
