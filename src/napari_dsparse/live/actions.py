"""Requests of the schedule other than jobs: to the threads, and to the display of results."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from napari_dsparse.classifier.class_edits import ClassEdit
from napari_dsparse.classifier.classes import ClassInfo
from napari_dsparse.live.messages import Job, TileDone

# -- of the threads -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PauseTraining:
    """Pause gradient steps after the current one, or resume them."""

    paused: bool


@dataclass(frozen=True, slots=True)
class StopTraining:
    """End the training of `job` and all before it; its last snapshot still comes."""

    job: int


@dataclass(frozen=True, slots=True)
class ReleaseTrainer:
    """Training `job` need not wait for the preview of its snapshot any longer."""

    job: int


@dataclass(frozen=True, slots=True)
class StopPredicting:
    """End the prediction of `job` and all before it."""

    job: int


@dataclass(frozen=True, slots=True)
class DismissThreads:
    """End trainer and predictor without waiting; their remaining events are dropped."""


# -- of the display of results ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class ShowTile:
    """Put the tile into the result layers; its maps alone where `labels` is false."""

    tile: TileDone
    labels: bool = True


@dataclass(frozen=True, slots=True)
class ShowClasses:
    """Show these names and colours on strokes and results."""

    classes: tuple[ClassInfo, ...]


@dataclass(frozen=True, slots=True)
class RenumberResults:
    """Give what is segmented the numbers that its classes have after the edit."""

    edit: ClassEdit


@dataclass(frozen=True, slots=True)
class FinishDrawing:
    """No tile is under way: perform the redraws that were put off."""


@dataclass(frozen=True, slots=True)
class GoTo:
    """Bring this pixel, (..., row, column), to the middle of the view."""

    position: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ReadLabels:
    """Answer with `events.LabelsRead`: the whole segmentation is about to be written."""

    path: Path
    overwrite: bool


@dataclass(frozen=True, slots=True)
class Wake:
    """Answer with `events.RestOver` of that job after `seconds`."""

    job: int
    seconds: float


Control: TypeAlias = PauseTraining | StopTraining | ReleaseTrainer | StopPredicting | DismissThreads
Effect: TypeAlias = ShowTile | ShowClasses | RenumberResults | FinishDrawing | GoTo | ReadLabels | Wake
Action: TypeAlias = Job | Control | Effect
