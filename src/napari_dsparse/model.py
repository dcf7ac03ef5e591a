"""A trained model as scripts use it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, Literal, TypedDict, Unpack

import numpy as np
from numpy.typing import NDArray

from napari_dsparse import checks
from napari_dsparse.classifier import ClassInfo, TrainedClassifier
from napari_dsparse.errors import DsparseError
from napari_dsparse.files.model import read_classifier, save_classifier
from napari_dsparse.images import ImageSource, resolve_image
from napari_dsparse.prediction import Prediction, Predictor, predict_image
from napari_dsparse.prediction.exposure import as_learned, normalised_to
from napari_dsparse.prediction.object_options import SPLITTING, ObjectOptions
from napari_dsparse.stopping import StopFlag
from napari_dsparse.training import TrainingProgress, train_classifier

ChannelAxis = int | Literal["auto"] | None


class PredictionOptions(TypedDict, total=False):
    """Options of every prediction, as in `Model.predict_maps`."""

    device: str
    channel_axis: ChannelAxis
    precision: str
    progress: Callable[[float], None] | None
    stop: StopFlag | Callable[[], bool] | None


class TrainingOptions(TypedDict, total=False):
    """Options of every training, as in `train`."""

    network: str
    depth: str
    normalise: str
    seconds: float | None
    steps: int | None
    seed: int
    device: str
    progress: Callable[[TrainingProgress], None] | None
    stop: StopFlag | Callable[[], bool] | None


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

    def predict(self, image: Any, **options: Unpack[PredictionOptions]) -> NDArray[np.unsignedinteger]:
        """Most probable class of every pixel, uint8 (uint16 beyond 255 classes) (..., Y, X), in 1..K.

        Options are `device`, `channel_axis`, `precision`, `progress` and `stop`, as in `predict_maps`.
        """
        return self.predict_maps(image, probabilities=False, uncertainty=False, **options).labels

    def predict_proba(self, image: Any, **options: Unpack[PredictionOptions]) -> NDArray[np.float32]:
        """Probability of every class at every pixel, float32 (K, ..., Y, X); options as in `predict`."""
        maps = self.predict_maps(image, uncertainty=False, **options)
        assert maps.probabilities is not None
        return maps.probabilities

    def uncertainty(self, image: Any, **options: Unpack[PredictionOptions]) -> NDArray[np.float32]:
        """Closeness of the second class to the first, float32 (..., Y, X), 0 (certain) to 1 (a tie).

        Options as in `predict`.
        """
        maps = self.predict_maps(image, probabilities=False, **options)
        assert maps.uncertainty is not None
        return maps.uncertainty

    def predict_maps(
        self,
        image: Any,
        *,
        probabilities: bool = True,
        uncertainty: bool = True,
        device: str = "auto",
        channel_axis: ChannelAxis = "auto",
        precision: str = "float32",
        progress: Callable[[float], None] | None = None,
        stop: StopFlag | Callable[[], bool] | None = None,
    ) -> Prediction:
        """Labels, probabilities and uncertainty of an image in one pass.

        A model that learned with `normalise="image"` normalises this image, too, by its own grey values.

        Parameters
        ----------
        image : array
            Numpy, dask or zarr, with the channels the model was trained on; stacks are predicted plane by
            plane, those before and behind it seen with it if the model learned so. It is read tile by tile.
        probabilities, uncertainty : bool
            False: leave that map out.
        device : str
            "auto", "cpu", "cuda", "cuda:1" or "mps".
        channel_axis : int, None or "auto"
            Axis that holds the channels.
        precision : str
            "float32", or "bfloat16": faster where the processor has instructions for it; pixels near a tie
            may change their class.
        progress : callable, optional
            Called with the share of pixels done, 0..1, after every tile.
        stop : threading.Event or callable, optional
            Asked several times per tile; what is not predicted by then is 0 in the result.

        Returns
        -------
        Prediction
            `labels` (..., Y, X), `probabilities` (K, ..., Y, X) and `uncertainty` (..., Y, X).

        Raises
        ------
        ImageError
            If the image does not have the model's channels, or is a single plane where the model sees more.
        DsparseError
            If there is no such device or precision.
        """
        source = self._source(image, channel_axis)
        checks.function("progress", progress)
        return predict_image(
            Predictor(as_learned(self.classifier, source), device, precision=precision),
            source,
            probabilities=probabilities,
            uncertainty=uncertainty,
            progress=progress,
            stop=stop,
        )

    def objects(
        self,
        image: Any,
        *,
        classes: Sequence[int] | None = None,
        min_size: int = 0,
        max_hole: int = 0,
        separate: bool = True,
        splitting: float = SPLITTING,
        border_objects: bool = True,
        volume: bool = False,
        z_step: float = 1.0,
        **options: Unpack[PredictionOptions],
    ) -> NDArray[np.uint32]:
        """Numbered objects of every class but the first, uint32 (..., Y, X), 0 between them.

        `prediction.objects.find_objects` finds the objects of labels that are at hand already.

        Parameters
        ----------
        image : array
            As in `predict`.
        classes : sequence of int, optional
            Classes that are objects, 1..K; without it, every class but the first.
        min_size : int
            Objects of fewer pixels are left out.
        max_hole : int
            Holes of at most so many pixels are filled.
        separate : bool
            Cut touching objects of one class apart.
        splitting : float
            Strength of cutting apart: 0 never, 1 at every neck.
        border_objects : bool
            False leaves out objects that touch the image's edge.
        volume : bool
            True connects the planes of a stack, to objects in 3-D; z_step is then the distance of planes in
            pixel widths.
        **options
            As in `predict`.

        Raises
        ------
        ImageError
            If the image does not have the model's channels.
        DsparseError
            If an option is not possible.
        """
        from napari_dsparse.prediction.objects import find_objects  # scikit-image: not needed to train

        wanted = ObjectOptions(
            classes=None if classes is None else tuple(classes),
            min_size=min_size,
            max_hole=max_hole,
            separate=separate,
            splitting=splitting,
            border_objects=border_objects,
            volume=volume,
            z_step=z_step,
        )
        self._check_classes(wanted.classes or ())
        return find_objects(self.predict(image, **options), wanted)

    def _check_classes(self, numbers: Sequence[int]) -> None:
        beyond = [number for number in numbers if number > len(self.classes)]
        if beyond:
            names = ", ".join(f"{number} {entry.name}" for number, entry in enumerate(self.classes, start=1))
            raise DsparseError(f"The model has no class {beyond[0]}; its classes are {names}.")

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
        file = checks.path("path", path)
        return save_classifier(self.classifier, file, overwrite=checks.truth("overwrite", overwrite))

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
    depth: str = "off",
    normalise: str = "together",
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
    depth : str
        "off", or "neighbours": the planes before and behind each plane of a stack are looked at, too.
    normalise : str
        "together", or "image": each image by its own grey values, here and whenever the model predicts. Right
        where exposure or camera differ between images and contents do not.
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
            depth=depth,
            normalise=normalise,
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
    return Model(read_classifier(checks.path("path", path)))
