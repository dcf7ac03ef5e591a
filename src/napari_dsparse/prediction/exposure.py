"""A model on images whose grey values mean something else than where it learned: another exposure."""

from __future__ import annotations

from dataclasses import replace

from napari_dsparse.classifier import TrainedClassifier
from napari_dsparse.images import ImageSource, Normalisation

#: From this factor between ranges of grey values on, an image is likely to have been exposed otherwise.
NOTABLE = 3.0


def normalised_to(classifier: TrainedClassifier, source: ImageSource) -> TrainedClassifier:
    """The classifier, with `source` normalised by its own grey values.

    Right where exposure differs and contents do not. An image without any object would have its noise brought
    to the contrast of objects.

    Raises
    ------
    ImageError
        If a channel has no finite pixel.
    """
    return replace(classifier, normalisation=Normalisation.measure([source]))


def range_ratio(classifier: TrainedClassifier, source: ImageSource) -> float:
    """Spread of the grey values of `source`, relative to their spread in training.

    Of several channels, that which differs most, to either side of 1.
    """
    own, learned = Normalisation.measure([source]).scale, classifier.normalisation.scale
    return max((a / b for a, b in zip(own, learned, strict=True)), key=lambda ratio: max(ratio, 1 / ratio))


def describe_ratio(ratio: float) -> str:
    """A `range_ratio` as "2.5 times as widely as"."""
    return f"{ratio:.1f} times as widely as" if ratio >= 1 else f"{1 / ratio:.1f} times less widely than"


def is_notable(ratio: float) -> bool:
    """True if a `range_ratio` is worth a message."""
    return max(ratio, 1 / ratio) >= NOTABLE
