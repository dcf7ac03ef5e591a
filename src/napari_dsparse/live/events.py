"""Events from the user and the window, as frozen values for the schedule."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy.typing as npt

from napari_dsparse.classifier import TrainedClassifier
from napari_dsparse.classifier.class_edits import ClassEdit
from napari_dsparse.classifier.classes import ClassInfo
from napari_dsparse.images.source import ImageSource
from napari_dsparse.live.labelled_image import LabelledImage
from napari_dsparse.prediction.tiles import FieldOfView

# -- image, strokes, view -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class ImageChosen:
    """Work on this image from now on.

    Parameters
    ----------
    key : hashable
        The same for the same image read in the same way.
    name : str
    source : ImageSource
    view : FieldOfView
        What of it is on screen.
    segmented : bool
        It was in front before, and its segmentation layer is as it was left.
    """

    key: Hashable
    name: str
    source: ImageSource
    view: FieldOfView
    segmented: bool = False


@dataclass(frozen=True, slots=True)
class ImageLeft:
    """There is no image to work on; `problem` is the reason if one was chosen."""

    problem: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class StrokesChosen:
    """Learn from this layer from now on; see `state.ChosenStrokes`.

    Parameters
    ----------
    name : str
    labels : ndarray of int, shape of the image's source
        A copy.
    classes : tuple of ClassInfo
        Those that the layer names.
    palette : tuple of ClassInfo
    brush : int
    """

    name: str
    labels: npt.NDArray[Any]
    classes: tuple[ClassInfo, ...]
    palette: tuple[ClassInfo, ...]
    brush: int


@dataclass(frozen=True, slots=True)
class StrokesLeft:
    """There is no strokes layer; `problem` is the reason if one was chosen."""

    problem: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class StudyChanged:
    """The list of images to learn from together is another one, or other strokes are on those behind.

    Parameters
    ----------
    images : tuple of LabelledImage
        In the order of the list; no two with one key. Of the image in front the labels are not used.
    classes : tuple of ClassInfo
        The table of classes of a list that was opened; empty to keep the present one.
    """

    images: tuple[LabelledImage, ...]
    classes: tuple[ClassInfo, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class KeptModelRead:
    """The model of a project that was opened: it learned from the strokes in the list as they are now.

    Parameters
    ----------
    classifier : TrainedClassifier
    origin : str
        Name of the project, for the user.
    """

    classifier: TrainedClassifier
    origin: str


@dataclass(frozen=True, slots=True)
class Noted:
    """Something that the user asked for is done; the sentence says what."""

    sentence: str


@dataclass(frozen=True, slots=True)
class Refused:
    """Something that the user asked for cannot be; the sentence says why."""

    sentence: str


@dataclass(frozen=True, slots=True, eq=False)
class Painted:
    """The strokes may have changed.

    Parameters
    ----------
    labels : ndarray of int, shape of the image's source
        A copy of all of them.
    """

    labels: npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class ViewRead:
    """The part on screen at the moment; requests nothing."""

    view: FieldOfView


@dataclass(frozen=True, slots=True)
class ViewChanged:
    """The user moved to other pixels and rests there."""

    view: FieldOfView


# -- classes ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class BrushChanged:
    """The brush paints this class; 0 erases."""

    number: int


@dataclass(frozen=True, slots=True)
class ClassesEdited:
    """Classes have these names and colours from now on."""

    classes: tuple[ClassInfo, ...]


@dataclass(frozen=True, slots=True, eq=False)
class ClassesRenumbered:
    """Classes were removed, merged or moved, and the strokes in front were renumbered with them.

    Parameters
    ----------
    edit : ClassEdit
        The new table, and the new number of every old class.
    labels : ndarray of int, shape of the image's source, or None
        A copy of all strokes after it; None where there is no strokes layer.
    study : tuple of LabelledImage or None
        The list of images with the strokes after it; None if it stays as it is.
    """

    edit: ClassEdit
    labels: npt.NDArray[Any] | None
    study: tuple[LabelledImage, ...] | None = None


# -- learning -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LiveSwitched:
    """Learn from every stroke, or only on request."""

    live: bool


@dataclass(frozen=True, slots=True)
class TrainPressed:
    """Learn from the strokes there are; those that are known already, by a round of gradient steps."""


@dataclass(frozen=True, slots=True)
class PausePressed:
    """Pause gradient steps after the current one, or resume them."""

    paused: bool


@dataclass(frozen=True, slots=True)
class StopPressed:
    """End gradient steps and segmenting; the last model stays."""


@dataclass(frozen=True, slots=True)
class ResetPressed:
    """Forget the model; strokes, layers and files stay."""


@dataclass(frozen=True, slots=True)
class DeviceChosen:
    """Compute on this device from now on."""

    name: str


@dataclass(frozen=True, slots=True)
class DepthChosen:
    """See every plane of a stack alone ("off"), or with those before and behind it ("neighbours")."""

    depth: str


# -- segmenting ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class WholePressed:
    """Segment the whole image."""


@dataclass(frozen=True, slots=True)
class CancelPressed:
    """Cancel the whole image and any export of it; tiles already segmented stay."""


@dataclass(frozen=True, slots=True)
class MapsWanted:
    """The maps to show beside the labels."""

    uncertainty: bool
    probabilities: bool


@dataclass(frozen=True, slots=True)
class ExposureMatched:
    """Normalise every image by its own grey values, in learning and segmenting, or all in one way."""

    matched: bool


@dataclass(frozen=True, slots=True)
class SegmentationRemoved:
    """The user removed the segmentation layer, or made it a layer of their own.

    Parameters
    ----------
    key : hashable
        Of the image; None for the one in front.
    """

    key: Hashable = None


@dataclass(frozen=True, slots=True)
class NextSpotPressed:
    """Go where a stroke would help most."""


@dataclass(frozen=True, slots=True)
class RestOver:
    """The pause after prediction `job` has passed."""

    job: int


# -- files --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ExportPressed:
    """Write the segmentation of the whole image."""

    path: Path
    overwrite: bool


@dataclass(frozen=True, slots=True, eq=False)
class LabelsRead:
    """The segmentation that `actions.ReadLabels` asked for; None if the layer is gone.

    Parameters
    ----------
    path : Path
    overwrite : bool
    labels : ndarray of int or None
        A copy, of the source's shape.
    scale, units : tuple
        Per axis of `labels`.
    axes : str or None
    image_name : str or None
    """

    path: Path
    overwrite: bool
    labels: npt.NDArray[Any] | None
    scale: tuple[float, ...] = ()
    units: tuple[str, ...] = ()
    axes: str | None = None
    image_name: str | None = None


@dataclass(frozen=True, slots=True)
class SaveModelPressed:
    """Write the newest model."""

    path: Path
    overwrite: bool


@dataclass(frozen=True, slots=True)
class LoadModelPressed:
    """Read a model and segment with it."""

    path: Path


@dataclass(frozen=True, slots=True)
class WindowHidden:
    """The window was closed, perhaps to be shown again: end the threads until there is something to do."""


UserEvent: TypeAlias = (
    ImageChosen
    | ImageLeft
    | StrokesChosen
    | StrokesLeft
    | StudyChanged
    | KeptModelRead
    | Refused
    | Noted
    | Painted
    | ViewRead
    | ViewChanged
    | BrushChanged
    | ClassesEdited
    | ClassesRenumbered
    | LiveSwitched
    | TrainPressed
    | PausePressed
    | StopPressed
    | ResetPressed
    | DeviceChosen
    | DepthChosen
    | WholePressed
    | CancelPressed
    | MapsWanted
    | ExposureMatched
    | SegmentationRemoved
    | NextSpotPressed
    | RestOver
    | ExportPressed
    | LabelsRead
    | SaveModelPressed
    | LoadModelPressed
    | WindowHidden
)
