"""A trained model as scripts use it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from napari_dsparse.classifier import ClassInfo, TrainedClassifier
from napari_dsparse.files.model import read_classifier, save_classifier
from napari_dsparse.images import ImageSource, resolve_image
from napari_dsparse.prediction import predict_labels, predict_probabilities, predict_uncertainty
from napari_dsparse.prediction.exposure import normalised_to
from napari_dsparse.stopping import StopFlag
from napari_dsparse.training import TrainingProgress, train_classifier

ChannelAxis = int | Literal["auto"] | None


class Model:
    """A trained patch classifier: predicts whole images, and is saved as one file.

    Made by `train` and `load_model`.

    Parameters
    ----------
    classifier : TrainedClassifier
        The trained value itself: network, weights, classes, normalisation, training record.
    """

    def __init__(self, classifier: TrainedClassifier) -> None:
        self.classifier = classifier

    @property
    def classes(self) -> tuple[ClassInfo, ...]:
        """Names and colours; class i + 1 is entry i."""
        return self.classifier.classes

    def predict(
        self,
        image: Any,
        *,
        device: str = "auto",
        channel_axis: ChannelAxis = "auto",
        precision: str = "float32",
    ) -> NDArray[np.unsignedinteger]:
        """Most probable class of every pixel.

        Parameters
        ----------
        image : array
            Numpy, dask or zarr, with the channels the model was trained on; stacks are predicted plane by
            plane. It is read a tile at a time.
        device : str
            "auto", "cpu", "cuda", "cuda:1" or "mps".
        channel_axis : int, None or "auto"
            Which axis holds the channels.
        precision : str
            "float32", or "bfloat16": faster where the processor has instructions for it; pixels near a tie
            may change their class.

        Returns
        -------
        array of uint8 (uint16 beyond 255 classes), shape (..., Y, X), in 1..K

        Raises
        ------
        ImageError
            If the image does not have the model's channels.
        """
        return predict_labels(
            self.classifier, self._source(image, channel_axis), device=device, precision=precision
        )

    def predict_proba(
        self,
        image: Any,
        *,
        device: str = "auto",
        channel_axis: ChannelAxis = "auto",
        precision: str = "float32",
    ) -> NDArray[np.float32]:
        """Probability of every class at every pixel, float32 (K, ..., Y, X); see `predict`."""
        return predict_probabilities(
            self.classifier, self._source(image, channel_axis), device=device, precision=precision
        )

    def uncertainty(
        self,
        image: Any,
        *,
        device: str = "auto",
        channel_axis: ChannelAxis = "auto",
        precision: str = "float32",
    ) -> NDArray[np.float32]:
        """How close the second class comes to the first, float32 (..., Y, X), 0 (certain) to 1 (a tie)."""
        return predict_uncertainty(
            self.classifier, self._source(image, channel_axis), device=device, precision=precision
        )

    def normalised_to(self, image: Any, *, channel_axis: ChannelAxis = "auto") -> Model:
        """This model for images exposed as `image` is, which is normalised by its own grey values.

        Right where exposure or camera differ and contents do not; the noise of an empty image would be
        brought to the contrast of objects.

        Raises
        ------
        ImageError
            If the image does not have the model's channels, or a channel has no finite pixel.
        """
        return Model(normalised_to(self.classifier, self._source(image, channel_axis)))

    def save(self, path: str | PathLike[str], *, overwrite: bool = False) -> Path:
        """Write the model as one safetensors file and return its path.

        Raises
        ------
        ExportError
            If the file exists and `overwrite` is False, or cannot be written.
        """
        return save_classifier(self.classifier, path, overwrite=overwrite)

    def __repr__(self) -> str:
        names = ", ".join(entry.name for entry in self.classes)
        spec = self.classifier.spec
        return f"Model({spec.name}, {spec.channels} channels, classes: {names})"

    def _source(self, image: Any, channel_axis: ChannelAxis) -> ImageSource:
        return resolve_image(
            image,
            channels=self.classifier.spec.channels,
            channel_axis=channel_axis,
            usual_axis=self.classifier.channel_axis,
        )


def train(
    image: Any,
    labels: Any,
    *,
    classes: Sequence[str | ClassInfo] | None = None,
    network: str = "auto",
    seconds: float | None = None,
    steps: int | None = None,
    seed: int = 0,
    device: str = "auto",
    progress: Callable[[TrainingProgress], None] | None = None,
    stop: StopFlag | Callable[[], bool] | None = None,
    channel_axis: ChannelAxis = "auto",
) -> Model:
    """Train a model on sparse labels; see `napari_dsparse.training.train_classifier` for all parameters.

    Parameters
    ----------
    image : array, or list of arrays
        (Y, X), with a channel axis anywhere, or stacks of these; numpy, dask or zarr.
    labels : integer array, or list of arrays
        The image's shape without the channel axis; 0 = not annotated, 1..K = classes.
    classes, network, seconds, steps, seed, device, progress, stop, channel_axis
        As in `train_classifier`.

    Returns
    -------
    Model
    """
    return Model(
        train_classifier(
            image,
            labels,
            classes=classes,
            network=network,
            seconds=seconds,
            steps=steps,
            seed=seed,
            device=device,
            progress=progress,
            stop=stop,
            channel_axis=channel_axis,
        )
    )


def load_model(path: str | PathLike[str]) -> Model:
    """Read a model that `Model.save` wrote.

    Raises
    ------
    ModelFileError
        If the file is not such a model, is damaged, or comes from a newer version.
    """
    return Model(read_classifier(path))
