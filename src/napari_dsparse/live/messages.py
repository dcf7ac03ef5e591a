"""Jobs for the worker threads and the events they answer with: frozen values, nothing else.

Every job carries an `Envelope` that its events repeat. What does not match the state any more is dropped by
the schedule, in one place. Arrays in a job are never written to once it is queued.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from napari_dsparse.classifier.classes import ClassInfo
from napari_dsparse.classifier.trained import TrainedClassifier, TrainingRecord
from napari_dsparse.images.source import ImageSource
from napari_dsparse.live.envelope import Envelope
from napari_dsparse.live.labelled_image import LabelledImage
from napari_dsparse.prediction.tiles import FieldOfView, Tile
from napari_dsparse.training.progress import TrainingProgress

# -- to the trainer -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class TrainingJob:
    """Count the strokes and, if asked, learn from them.

    Parameters
    ----------
    images : tuple of LabelledImage
        All images to learn from, in a fixed order whichever of them is in front.
    front : int
        Index of the one in front.
    classes : tuple of ClassInfo
    network, device, depth, normalise : str
        As in `train`.
    learn : bool
        False: only count the strokes.
    asked : bool
        The user pressed Train: if the model knows these strokes already, take a round of gradient steps.
    lineage : int
        Jobs of another lineage start from nothing: the user pressed Reset in between.
    """

    envelope: Envelope
    images: tuple[LabelledImage, ...]
    front: int
    classes: tuple[ClassInfo, ...]
    network: str
    device: str
    learn: bool
    asked: bool = False
    lineage: int = 0
    depth: str = "off"
    normalise: str = "together"


# -- from the trainer ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StrokesCounted:
    """Amount of paint by class.

    Parameters
    ----------
    counts : tuple of (strokes, pixels)
        By class, on all images.
    learning : bool
        The trainer goes on to learn from it.
    by_image : tuple of (key, strokes, pixels)
        On each image of the job.
    """

    envelope: Envelope
    counts: tuple[tuple[int, int], ...]
    learning: bool = False
    by_image: tuple[tuple[Hashable, int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class StepTaken:
    """The trainer fitted the last layer, judged the fit, or began or made a gradient step.

    Parameters
    ----------
    progress : TrainingProgress
    judged : bool
        The held-out figures of `progress` are new; without it, they are not known yet or known already.
    seconds_left : float or None
        Until the round of gradient steps ends; None where it cannot be estimated.
    """

    envelope: Envelope
    progress: TrainingProgress
    judged: bool = False
    seconds_left: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class SnapshotTaken:
    """A classifier to predict with; it replaces every earlier one.

    Parameters
    ----------
    classifier : TrainedClassifier
    waits : bool
        The trainer waits, for a limited time, until the preview is done or not wanted.
    """

    envelope: Envelope
    classifier: TrainedClassifier
    waits: bool = False


@dataclass(frozen=True, slots=True)
class TrainingEnded:
    """The trainer rests: it is steady, was stopped, or has nothing to learn from yet.

    Parameters
    ----------
    steady : bool
    record : TrainingRecord or None
        Provenance of the newest classifier, held-out figures included; None where there is none.
    """

    envelope: Envelope
    steady: bool
    record: TrainingRecord | None = None


# -- to the predictor ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class PredictionJob:
    """Segment what is on screen or, if `whole`, the whole image with what is on screen first.

    Parameters
    ----------
    classifier : TrainedClassifier
    classes : tuple of ClassInfo
        The classifier's classes, under the user's present names.
    source : ImageSource
    key : hashable
        Of the image.
    view : FieldOfView
    whole : bool
    done : frozenset of Tile
        Tiles this classifier has already segmented; they are left out.
    device : str
    quick : bool
        For a preview that the next stroke may replace: of what is on screen alone, in one symmetry, from
        remembered features.
    sketch : bool
        Send a coarse sketch of all tiles first, since everything on screen is out of date.
    foreign : bool
        The classifier learned from another image, which may have another exposure.
    match_exposure : bool
        Normalise the image by its own grey values, whether the classifier learned so or not.
    uncertainty, probabilities : bool
        Send these maps along with the labels.
    """

    envelope: Envelope
    classifier: TrainedClassifier
    classes: tuple[ClassInfo, ...]
    source: ImageSource
    key: Hashable
    view: FieldOfView
    whole: bool
    done: frozenset[Tile]
    device: str
    quick: bool
    sketch: bool
    foreign: bool
    match_exposure: bool
    uncertainty: bool
    probabilities: bool


@dataclass(frozen=True, slots=True, eq=False)
class SpotJob:
    """Find the most uncertain place, of what has been segmented, away from the paint.

    Parameters
    ----------
    key : hashable
        Of the image.
    labels : ndarray of int or None
        The painted labels, of the source's shape.
    visited : tuple of tuple of int
        Spots already shown, as pixel indices; the next one is elsewhere.
    """

    envelope: Envelope
    key: Hashable
    labels: npt.NDArray[Any] | None
    visited: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True, eq=False)
class LookAheadJob:
    """While nothing else is to do, compute what the first preview of the next stroke will read."""

    envelope: Envelope
    source: ImageSource
    view: FieldOfView
    device: str
    depth: str = "off"


@dataclass(frozen=True, slots=True)
class ForgetImageJob:
    """Release the image in front and everything cached of it.

    Parameters
    ----------
    finished : frozenset of hashable
        Keys of images whose doubts are kept: they are not segmented again when they come back.
    """

    envelope: Envelope
    finished: frozenset[Hashable] = frozenset()


PredictorJob: TypeAlias = PredictionJob | SpotJob | LookAheadJob | ForgetImageJob

# -- from the predictor -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class TileDone:
    """One tile of the result.

    Parameters
    ----------
    classes : tuple of ClassInfo
        What the labels and probabilities stand for: those of the job.
    quick : bool
        As the job had it.
    exact : bool
        False of a sketch, where most pixels are estimated.
    tile : Tile
    labels : ndarray of uint8 or uint16, shape (h, w)
    uncertainty : ndarray of float32, shape (h, w), or None
    probabilities : ndarray of float32, shape (K, h, w), or None
    fraction : float
        Share of the job that is done, 0..1.
    pixels_per_second : float
    seconds_left : float
    cell : int
        Rows and columns of pixels that every value of the maps stands for; the last ones may be fewer.
    kept : tuple of Tile
        Exact tiles that a sketch leaves as they are.
    """

    envelope: Envelope
    classes: tuple[ClassInfo, ...]
    quick: bool
    exact: bool
    tile: Tile
    labels: npt.NDArray[Any]
    uncertainty: npt.NDArray[np.float32] | None
    probabilities: npt.NDArray[np.float32] | None
    fraction: float
    pixels_per_second: float
    seconds_left: float
    cell: int = 1
    kept: tuple[Tile, ...] = ()


@dataclass(frozen=True, slots=True)
class PredictionEnded:
    """There are no more tiles of this job."""

    envelope: Envelope
    complete: bool
    seconds: float


@dataclass(frozen=True, slots=True)
class ExposureDiffers:
    """The image of this job may be exposed otherwise than others; the sentence says which and how."""

    envelope: Envelope
    sentence: str


@dataclass(frozen=True, slots=True)
class SpotFound:
    """The next place to look at, as a pixel index (..., row, column); None where nothing is left to show."""

    envelope: Envelope
    position: tuple[int, ...] | None


# -- to the thread that reads and writes files, and from it --------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class ExportJob:
    """Write labels to a file; what `files.export_labels` takes."""

    envelope: Envelope
    path: Path
    labels: npt.NDArray[Any]
    classes: tuple[ClassInfo, ...]
    scale: tuple[float, ...]
    units: tuple[str, ...]
    axes: str | None
    overwrite: bool
    image_name: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class SaveModelJob:
    """Write a classifier to a file."""

    envelope: Envelope
    path: Path
    classifier: TrainedClassifier
    overwrite: bool


@dataclass(frozen=True, slots=True)
class LoadModelJob:
    """Read a classifier from a file."""

    envelope: Envelope
    path: Path


FileJob: TypeAlias = ExportJob | SaveModelJob | LoadModelJob


@dataclass(frozen=True, slots=True)
class FileWritten:
    """An export or a model is complete under its name."""

    envelope: Envelope
    path: Path
    what: str


@dataclass(frozen=True, slots=True, eq=False)
class ModelLoaded:
    """A classifier was read from a file."""

    envelope: Envelope
    path: Path
    classifier: TrainedClassifier


# -- from any of them ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class JobFailed:
    """The error that ended a job, as one sentence.

    Parameters
    ----------
    worker : str
        Name of the thread.
    sentence : str
    """

    envelope: Envelope
    worker: str
    sentence: str


Job: TypeAlias = TrainingJob | PredictorJob | FileJob
WorkerEvent: TypeAlias = (
    StrokesCounted
    | StepTaken
    | SnapshotTaken
    | TrainingEnded
    | TileDone
    | PredictionEnded
    | ExposureDiffers
    | SpotFound
    | FileWritten
    | ModelLoaded
    | JobFailed
)
