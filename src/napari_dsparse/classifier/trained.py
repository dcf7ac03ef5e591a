"""The result of training: one immutable value that is predicted with, passed between threads and saved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch

from napari_dsparse.classifier.classes import ClassInfo
from napari_dsparse.classifier.spec import NetworkSpec
from napari_dsparse.errors import ImageError
from napari_dsparse.images.normalisation import Normalisation
from napari_dsparse.images.source import ImageSource


@dataclass(frozen=True, slots=True)
class TrainingRecord:
    """Provenance of a classifier, kept in its file."""

    seed: int
    steps: int
    seconds: float
    strokes: int
    pixels: int
    held_out_iou: tuple[float | None, ...]  # by class; None where no stroke of it was held out
    held_out_strokes: int
    versions: tuple[tuple[str, str], ...]
    created: str  # ISO 8601, UTC


@dataclass(frozen=True, slots=True, eq=False)
class TrainedClassifier:
    """A trained patch classifier: the only value passed from trainer to predictor to file.

    Parameters
    ----------
    spec : NetworkSpec
        The built-in network, with its numbers of channels and classes.
    weights : mapping of str to Tensor
        The state of `spec.build()`, float32 on the CPU.
    classes : tuple of ClassInfo
        Class number i + 1 is entry i.
    priors : tuple of float
        Prior of each class, 0..1, summing to 1; 0 for classes without paint, which are never predicted.
        Training weighs every class the same; by Bayes' rule the priors restore their frequencies.
    normalisation : Normalisation
        Transformation of pixel values to the network's input: of all training images together.
    channel_axis : int or None
        Channel axis of the training image; it decides where shapes allow several.
    n_symmetries : int
        Symmetries of the square averaged at prediction: 1, 2, 4 or 8.
    record : TrainingRecord
    letters : str, optional
        The training image's axes as its file named them, "?" where it did not: a file that names its axes the
        same is read with the same channel axis. None where it came from no file.
    per_image : bool
        Each training image was normalised by its own grey values; so is whatever it segments, see
        `prediction.exposure.as_learned`.
    """

    spec: NetworkSpec
    weights: Mapping[str, torch.Tensor]
    classes: tuple[ClassInfo, ...]
    priors: tuple[float, ...]
    normalisation: Normalisation
    channel_axis: int | None
    n_symmetries: int
    record: TrainingRecord
    letters: str | None = None
    per_image: bool = False

    def misfit(self, source: ImageSource) -> str | None:
        """Reason why it cannot segment an image, as a sentence; None if it can."""
        wanted = self.spec.channels
        if source.channels != wanted:
            return (
                f"Image {source.name!r} has {source.channels} channels; this model was trained on {wanted}. "
                f"Give an image with {wanted}, or say which axis holds the channels."
            )
        if self.spec.neighbours and source.depth_problem is not None:
            return f"This model looks at neighbouring planes. {source.depth_problem}"
        return None

    def check_fits(self, source: ImageSource) -> None:
        """Refuse an image that it cannot segment.

        Raises
        ------
        ImageError
            If it has other channels than those the classifier was trained on, or is a single plane where the
            classifier looks at several.
        """
        misfit = self.misfit(source)
        if misfit is not None:
            raise ImageError(misfit)

    @property
    def present(self) -> tuple[bool, ...]:
        """True for each class that had paint."""
        return tuple(prior > 0 for prior in self.priors)

    def of_painted(self) -> TrainedClassifier:
        """The same classifier for its painted classes alone, numbered anew: what others cost is saved."""
        if all(self.present):
            return self
        kept = [index for index, present in enumerate(self.present) if present]
        head = self.spec.prefixes[1]
        weights = {
            # Rows of the last layer come in groups, one per window, of one row per class.
            name: tensor.view(-1, self.spec.classes, *tensor.shape[1:])[:, kept].flatten(0, 1)
            if name.startswith(head)
            else tensor
            for name, tensor in self.weights.items()
        }
        return replace(
            self,
            spec=replace(self.spec, classes=len(kept)),
            weights=weights,
            classes=tuple(self.classes[index] for index in kept),
            priors=tuple(self.priors[index] for index in kept),
        )
