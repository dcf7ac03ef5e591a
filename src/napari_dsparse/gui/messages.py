"""What crosses between the window and the two worker threads: frozen values, nothing else.

Jobs go in, events come out. Every job carries a generation number that its events repeat, so that what has
become stale on the way is dropped where it arrives, and nobody waits for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from napari_dsparse.images.source import ImageSource
from napari_dsparse.network.trained import ClassInfo, TrainedClassifier, TrainingRecord
from napari_dsparse.prediction.tiles import Tile
from napari_dsparse.training.progress import TrainingProgress

# -- to the trainer -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class TrainingJob:
    """Count the strokes and, if asked, learn from them.

    Parameters
    ----------
    generation : int
    source : ImageSource
    labels : ndarray of int, shape of the source
        The painted layer's own array, read in the trainer's thread, never written.
    classes : tuple of ClassInfo
    network, device : str
    learn : bool
        False: only count the strokes.
    asked : bool
        The user pressed Train: if the model knows these strokes already, take a round of gradient steps.
    """

    generation: int
    source: ImageSource
    labels: npt.NDArray[Any]
    classes: tuple[ClassInfo, ...]
    network: str
    device: str
    learn: bool
    asked: bool = False


# -- from the trainer ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StrokesCounted:
    """How much paint there is.

    Parameters
    ----------
    generation : int
    counts : tuple of (strokes, pixels)
        By class.
    learning : bool
        The trainer goes on to learn from it.
    """

    generation: int
    counts: tuple[tuple[int, int], ...]
    learning: bool = False


@dataclass(frozen=True, slots=True)
class StepTaken:
    """The trainer fitted the last layer, judged the fit, or began or made a gradient step.

    Parameters
    ----------
    generation : int
    progress : TrainingProgress
    judged : bool
        The held-out figures of `progress` are new; without it, they are not known yet or known already.
    seconds_left : float or None
        Until the round of gradient steps ends; None where nothing can be said of it.
    """

    generation: int
    progress: TrainingProgress
    judged: bool = False
    seconds_left: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class SnapshotTaken:
    """A classifier to predict with; it replaces every earlier one."""

    generation: int
    classifier: TrainedClassifier


@dataclass(frozen=True, slots=True)
class TrainingEnded:
    """The trainer rests: it is steady, was stopped, or has nothing to learn from yet.

    Parameters
    ----------
    generation : int
    steady : bool
    record : TrainingRecord or None
        How the newest classifier came to be, held-out figures included; None where there is none.
    """

    generation: int
    steady: bool
    record: TrainingRecord | None = None


# -- to the predictor ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FieldOfView:
    """What is on screen: one plane and a half-open range of its rows and columns, in pixels."""

    plane: tuple[int, ...]
    rows: tuple[int, int]
    columns: tuple[int, int]

    def touches(self, tile: Tile) -> bool:
        """Whether any of `tile` is on screen."""
        return (
            tile.plane == self.plane
            and tile.rows[0] < self.rows[1]
            and tile.rows[1] > self.rows[0]
            and tile.columns[0] < self.columns[1]
            and tile.columns[1] > self.columns[0]
        )


@dataclass(frozen=True, slots=True, eq=False)
class PredictionJob:
    """Segment what is on screen or, if `whole`, the whole image with what is on screen first.

    Parameters
    ----------
    generation : int
    classifier : TrainedClassifier
    source : ImageSource
    view : FieldOfView
    whole : bool
    done : frozenset of Tile
        Tiles this classifier has already segmented; they are left out.
    device : str
    quick : bool
        For a preview that the next stroke may replace: of what is on screen alone, in one symmetry, from
        remembered features.
    sketch : bool
        Send a coarse sketch of all tiles first: what is on screen is out of date throughout.
    foreign : bool
        The classifier learned from another image, which may have been exposed otherwise.
    match_exposure : bool
        Normalise the image by its own grey values, not by those that the classifier learned from.
    uncertainty, probabilities : bool
        Send these maps along with the labels.
    """

    generation: int
    classifier: TrainedClassifier
    source: ImageSource
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
class ExportJob:
    """Write labels to a file; what `files.export_labels` takes."""

    path: Path
    labels: npt.NDArray[Any]
    classes: tuple[ClassInfo, ...]
    scale: tuple[float, ...]
    units: tuple[str, ...]
    axes: str | None
    overwrite: bool


@dataclass(frozen=True, slots=True, eq=False)
class SaveModelJob:
    """Write a classifier to a file."""

    path: Path
    classifier: TrainedClassifier
    overwrite: bool


@dataclass(frozen=True, slots=True)
class LoadModelJob:
    """Read a classifier from a file."""

    path: Path


@dataclass(frozen=True, slots=True, eq=False)
class SpotJob:
    """Find the most uncertain place away from the paint.

    Parameters
    ----------
    uncertainty : ndarray of float32, shape (..., rows, columns)
        Block means, NaN where nothing was segmented yet; see `next_spot.UncertaintyGrid`.
    labels : ndarray of int
        The painted labels at full resolution.
    visited : tuple of tuple of int
        Spots already shown, as pixel indices; the next one is elsewhere.
    """

    uncertainty: npt.NDArray[np.float32]
    labels: npt.NDArray[Any] | None
    visited: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True, eq=False)
class LookAheadJob:
    """While nothing else is to do, compute what the first preview of the next stroke will read.

    Parameters
    ----------
    generation : int
    source : ImageSource
    view : FieldOfView
    device : str
    """

    generation: int
    source: ImageSource
    view: FieldOfView
    device: str


@dataclass(frozen=True, slots=True)
class ForgetImageJob:
    """Let go of the image, and of what is remembered of it."""


PredictorJob: TypeAlias = (
    PredictionJob | ExportJob | SaveModelJob | LoadModelJob | SpotJob | LookAheadJob | ForgetImageJob
)

# -- from the predictor -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class TileDone:
    """One tile of the result.

    Parameters
    ----------
    generation : int
    quick : bool
        As the job had it.
    exact : bool
        False of a sketch, where most pixels are interpolated.
    tile : Tile
    labels : ndarray of uint8 or uint16, shape (h, w)
    block_uncertainty : ndarray of float32
        Means over the blocks of the uncertainty grid that the tile touches.
    uncertainty : ndarray of float32, shape (h, w), or None
    probabilities : ndarray of float32, shape (K, h, w), or None
    fraction : float
        Share of the job that is done, 0..1.
    pixels_per_second : float
    seconds_left : float
    """

    generation: int
    quick: bool
    exact: bool
    tile: Tile
    labels: npt.NDArray[Any]
    block_uncertainty: npt.NDArray[np.float32]
    uncertainty: npt.NDArray[np.float32] | None
    probabilities: npt.NDArray[np.float32] | None
    fraction: float
    pixels_per_second: float
    seconds_left: float


@dataclass(frozen=True, slots=True)
class PredictionEnded:
    """No more tiles of this job will come."""

    generation: int
    complete: bool
    seconds: float


@dataclass(frozen=True, slots=True)
class ExposureDiffers:
    """Grey values of this job's image spread `ratio` times as wide as where its classifier learned."""

    generation: int
    ratio: float


@dataclass(frozen=True, slots=True)
class FileWritten:
    """An export or a model is complete under its name."""

    path: Path
    what: str


@dataclass(frozen=True, slots=True, eq=False)
class ModelLoaded:
    """A classifier was read from a file."""

    path: Path
    classifier: TrainedClassifier


@dataclass(frozen=True, slots=True)
class SpotFound:
    """Where to look next, as a pixel index (..., row, column); None where nothing is left to show."""

    position: tuple[int, ...] | None


@dataclass(frozen=True, slots=True)
class JobFailed:
    """What went wrong, as one sentence."""

    job: str
    sentence: str


Event: TypeAlias = (
    StrokesCounted
    | StepTaken
    | SnapshotTaken
    | TrainingEnded
    | TileDone
    | PredictionEnded
    | ExposureDiffers
    | FileWritten
    | ModelLoaded
    | SpotFound
    | JobFailed
)
