"""A trained classifier at work: tile by tile, exact to the border, memory bounded by the tile."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from napari_dsparse.errors import ImageError
from napari_dsparse.images import ImageSource
from napari_dsparse.network import DenseNetwork, TrainedClassifier, densify
from napari_dsparse.network.symmetry import symmetries_for, turn_kernels
from napari_dsparse.ops.devices import pick_device
from napari_dsparse.prediction.tiles import Tile, plan_tiles


class StopFlag(Protocol):
    """Anything like `threading.Event`."""

    def is_set(self) -> bool:
        """Whether to stop before the next tile."""


@dataclass(frozen=True, slots=True, eq=False)
class TilePrediction:
    """What the classifier says of a tile.

    Parameters
    ----------
    tile : Tile
    labels : array of uint8 or uint16, shape (h, w)
        Most probable class, 1..K; the lower number wins a tie.
    probabilities : array of float32, shape (K, h, w)
        Sum to 1; 0 for classes without paint.
    """

    tile: Tile
    labels: NDArray[np.unsignedinteger]
    probabilities: NDArray[np.float32]

    @property
    def uncertainty(self) -> NDArray[np.float32]:
        """How close the second class comes to the first, (h, w) in 0 (certain) .. 1 (a tie)."""
        best_two = np.partition(self.probabilities, -2, axis=0)[-2:]
        result: NDArray[np.float32] = 1 - (best_two[1] - best_two[0])
        return result


def label_dtype(classes: int) -> np.dtype[np.unsignedinteger]:
    """Smallest unsigned type that holds labels 1..`classes`."""
    return np.dtype(np.uint8 if classes <= 255 else np.uint16)


class Predictor:
    """Applies a classifier to tiles on one device; lives in one thread.

    Parameters
    ----------
    classifier : TrainedClassifier
    device : str
        "auto", "cpu", "cuda", "cuda:1" or "mps".
    flips : int, optional
        Symmetries to average instead of the classifier's own number: 1, 2, 4 or 8.
    """

    def __init__(self, classifier: TrainedClassifier, device: str = "auto", flips: int | None = None) -> None:
        self.classifier = classifier
        self._device = pick_device(device)
        self._forms = [self._turned(symmetry) for symmetry in symmetries_for(flips or classifier.flips)]
        self.patch = classifier.spec.patch
        self._present = torch.tensor(
            [i for i, painted in enumerate(classifier.present) if painted], device=self._device
        )

        shares = torch.tensor(classifier.shares, device=self._device)
        self._shares = shares[self._present][:, None, None]

    def tile(self, source: ImageSource, tile: Tile) -> TilePrediction:
        """Read a tile's patches and classify its pixels.

        Raises
        ------
        ImageError
            If the image has other channels than those the classifier was trained on.
        """
        self._check(source)
        return self.block(source.read(tile.plane, *tile.window(self.patch)), tile)

    def block(self, pixels: NDArray[np.float32], tile: Tile) -> TilePrediction:
        """Classify a tile from its raw pixels, halo included: (C, h + P - 1, w + P - 1)."""
        classes = len(self.classifier.classes)
        x = torch.from_numpy(self.classifier.normalisation.apply(pixels)).to(self._device)[None]
        with torch.inference_mode():
            painted = sum(form(x)[0, self._present].softmax(0) for form in self._forms)
            painted = painted * self._shares
            painted = (painted / painted.sum(0)).cpu()
        probabilities = np.zeros((classes, *painted.shape[1:]), np.float32)
        probabilities[self._present.cpu().numpy()] = painted.numpy()
        labels = (probabilities.argmax(0) + 1).astype(label_dtype(classes))
        return TilePrediction(tile, labels, probabilities)

    def stream(
        self, source: ImageSource, tiles: Iterable[Tile], stop: StopFlag | None = None
    ) -> Iterator[TilePrediction]:
        """Predictions of `tiles` in their order, until `stop` is set."""
        for tile in tiles:
            if stop is not None and stop.is_set():
                return
            yield self.tile(source, tile)

    def _turned(self, symmetry: int) -> DenseNetwork:
        network = self.classifier.spec.empty()
        network.load_state_dict(turn_kernels(self.classifier.weights, symmetry), assign=True)
        return densify(network.to(self._device).eval().requires_grad_(False))

    def _check(self, source: ImageSource) -> None:
        wanted = self.classifier.spec.channels
        if source.channels != wanted:
            raise ImageError(
                f"Image {source.name!r} has {source.channels} channels; this model was trained on {wanted}. "
                f"Give an image with {wanted}, or say which axis holds the channels."
            )


def predict_labels(
    classifier: TrainedClassifier,
    source: ImageSource,
    *,
    device: str = "auto",
    stop: StopFlag | None = None,
    progress: Callable[[float], None] | None = None,
) -> NDArray[np.unsignedinteger]:
    """Most probable class of every pixel.

    Parameters
    ----------
    classifier : TrainedClassifier
    source : ImageSource
    device : str
    stop : threading.Event, optional
        Checked between tiles; what is not predicted yet is 0 in the result.
    progress : callable, optional
        Called with the share done, 0..1, after every tile.

    Returns
    -------
    array of uint8 or uint16, shape (..., Y, X), in 1..K
    """
    out = np.zeros(source.shape, label_dtype(len(classifier.classes)))
    for prediction in _whole(classifier, source, device, stop, progress):
        out[prediction.tile.slices] = prediction.labels
    return out


def predict_probabilities(
    classifier: TrainedClassifier,
    source: ImageSource,
    *,
    device: str = "auto",
    stop: StopFlag | None = None,
    progress: Callable[[float], None] | None = None,
) -> NDArray[np.float32]:
    """Probability of every class at every pixel, (K, ..., Y, X); see `predict_labels`."""
    out = np.zeros((len(classifier.classes), *source.shape), np.float32)
    for prediction in _whole(classifier, source, device, stop, progress):
        out[(slice(None), *prediction.tile.slices)] = prediction.probabilities
    return out


def predict_uncertainty(
    classifier: TrainedClassifier,
    source: ImageSource,
    *,
    device: str = "auto",
    stop: StopFlag | None = None,
    progress: Callable[[float], None] | None = None,
) -> NDArray[np.float32]:
    """Uncertainty of every pixel, (..., Y, X) in 0..1; see `TilePrediction.uncertainty`."""
    out = np.zeros(source.shape, np.float32)
    for prediction in _whole(classifier, source, device, stop, progress):
        out[prediction.tile.slices] = prediction.uncertainty
    return out


def _whole(
    classifier: TrainedClassifier,
    source: ImageSource,
    device: str,
    stop: StopFlag | None,
    progress: Callable[[float], None] | None,
) -> Iterator[TilePrediction]:
    predictor = Predictor(classifier, device)
    tiles: Sequence[Tile] = plan_tiles(source.shape, classifier.spec)
    for number, prediction in enumerate(predictor.stream(source, tiles, stop), start=1):
        yield prediction
        if progress:
            progress(number / len(tiles))
