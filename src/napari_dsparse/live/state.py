"""The complete state of a live session, as one frozen value; a window draws it and nothing else."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path

from napari_dsparse.classifier.classes import ClassInfo
from napari_dsparse.classifier.trained import TrainedClassifier
from napari_dsparse.live.chosen import ChosenImage, ChosenStrokes, CurrentModel
from napari_dsparse.live.finished import Finished
from napari_dsparse.live.labelled_image import LabelledImage, are_deep
from napari_dsparse.prediction.tiles import FieldOfView, Tile
from napari_dsparse.training.progress import TrainingProgress


class Training(Enum):
    """Phase of the trainer: fitting the last layer, judging the fit, taking steps, or resting."""

    IDLE = "idle"
    FITTING = "fitting"
    LEARNING = "learning"
    PAUSED = "paused"
    STEADY = "steady"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class WholeImage:
    """Progress of the segmentation of the whole image.

    Parameters
    ----------
    fraction : float
        0..1.
    pixels_per_second, seconds_left : float
    """

    fraction: float = 0.0
    pixels_per_second: float = 0.0
    seconds_left: float = float("inf")


@dataclass(frozen=True, slots=True, eq=False)
class Preview:
    """The last request to segment the view."""

    classifier: TrainedClassifier
    view: FieldOfView


@dataclass(frozen=True, slots=True)
class ExportRequest:
    """A file that is to be written as soon as the whole image is segmented."""

    path: Path
    overwrite: bool


@dataclass(frozen=True, slots=True, eq=False)
class LiveState:
    """Everything that a window draws from and the schedule decides by.

    Parameters
    ----------
    chosen : ChosenImage or None
    study : tuple of LabelledImage
        Images that one model learns from together; the one in front need not be among them.
    study_classes : tuple of ClassInfo
        The table of classes of the list, while an image beside it is in front.
    study_named : bool
        The user has named classes of the list, or a project has: they hold before anything is painted.
    by_image : tuple of (key, strokes, pixels)
        Paint by image, as counted last.
    strokes_layer : ChosenStrokes or None
    view : FieldOfView or None
        What is on screen; the schedule needs it from the choice of an image on.
    classes : tuple of ClassInfo
    counts : tuple of (strokes, pixels)
        Paint by class.
    brush : int
        Class that the brush paints, from 1; 0 is the eraser.
    live : bool
        Learn from every stroke as soon as it is painted.
    device, network : str
    depth : str
        "off" or "neighbours", as the user wants it; see `learns_depth`.
    uncertainty, probabilities : bool
        Maps wanted besides labels.
    match_exposure : bool
        Normalise every image by its own grey values, as the user wants it; see `matches_exposure`.
    exposure_said : frozenset of str
        Sentences on differences in exposure that were said already.
    training : Training
    progress : TrainingProgress or None
        Of the newest fit or step.
    judged : TrainingProgress or None
        With the newest held-out figures; while a fit is judged, those of the one before.
    fit_seconds : float
        What the newest fit took.
    seconds_left : float or None
        Until the round of gradient steps ends, where that can be estimated.
    stopping : bool
        Learning was stopped; its last model, after the current step, is still to come.
    fitted : tuple of (strokes, pixels)
        What was painted when the newest model was fitted.
    model : CurrentModel or None
    applied : bool
        The model segments the image in front: it learned from its strokes, or the user asked for it.
    whole : WholeImage or None
        None while no whole-image prediction runs or waits.
    whole_job : int
        Number of the newest whole-image prediction.
    whole_due : bool
        The whole image waits for a model that is still to come.
    complete : bool
        The whole image was segmented by the newest model, with all maps that are wanted.
    finished : frozenset of Finished
        Images, also behind, whose segmentation layers hold the newest model's labels at every pixel.
    done : frozenset of Tile
        Exact tiles on screen by the newest model, with all maps that are wanted.
    done_since : int
        Tiles of jobs before this number are by an older model.
    predicting : int
        Number of the prediction whose end is awaited; 0 if there is none.
    trainer_waits : int
        Number of the training that waits for the preview; 0 if none does.
    preview : Preview or None
    view_due : bool
        The view is to be segmented once the whole image is done.
    sketch_due : bool
        What is on screen is out of date throughout.
    sketched : bool
        On screen, pixels are interpolated that will be computed in a moment.
    resting : int
        Number of the prediction after which previews pause, for training to get its share; 0 in no pause.
    visited : tuple of pixel indices
        Spots already shown.
    export : ExportRequest or None
    writing : bool
        A file is being written or read.
    problem : str or None
        The last failure, until something succeeds.
    note : str or None
        The last success worth a sentence.
    jobs, images : int
        Numbers given out so far.
    worker : int
        Number of the current threads; events of earlier ones are dropped.
    lineage : int
        Number of resets of the model.
    stopped_job, superseded_job : int
        Training up to the first was stopped; models of training up to the second gave way to another.
    cancelled_job : int
        Tiles of predictions up to this one are not wanted any more.
    left_job : int
        Training up to this one was of a strokes layer that was left.
    dropped : int
        Events that did not match the state when they came.
    """

    chosen: ChosenImage | None = None
    study: tuple[LabelledImage, ...] = ()
    study_classes: tuple[ClassInfo, ...] = ()
    study_named: bool = False
    by_image: tuple[tuple[Hashable, int, int], ...] = ()
    strokes_layer: ChosenStrokes | None = None
    view: FieldOfView | None = None
    classes: tuple[ClassInfo, ...] = ()
    counts: tuple[tuple[int, int], ...] = ()
    brush: int = 1
    live: bool = True
    device: str = "auto"
    network: str = "auto"
    depth: str = "off"
    uncertainty: bool = False
    probabilities: bool = False
    match_exposure: bool = False
    exposure_said: frozenset[str] = frozenset()
    # training
    training: Training = Training.IDLE
    progress: TrainingProgress | None = None
    judged: TrainingProgress | None = None
    fit_seconds: float = 0.0
    seconds_left: float | None = None
    stopping: bool = False
    fitted: tuple[tuple[int, int], ...] = ()
    # model and what it has segmented
    model: CurrentModel | None = None
    applied: bool = False
    whole: WholeImage | None = None
    whole_job: int = 0
    whole_due: bool = False
    complete: bool = False
    finished: frozenset[Finished] = frozenset()
    done: frozenset[Tile] = field(default_factory=frozenset)
    done_since: int = 0
    predicting: int = 0
    trainer_waits: int = 0
    preview: Preview | None = None
    view_due: bool = False
    sketch_due: bool = True
    sketched: bool = False
    resting: int = 0
    visited: tuple[tuple[int, ...], ...] = ()
    # files and words
    export: ExportRequest | None = None
    writing: bool = False
    problem: str | None = None
    note: str | None = None
    # numbers
    jobs: int = 0
    images: int = 0
    worker: int = 1
    lineage: int = 0
    stopped_job: int = 0
    superseded_job: int = 0
    cancelled_job: int = 0
    left_job: int = 0
    dropped: int = 0

    @property
    def image(self) -> str | None:
        """Name of the image in front."""
        return None if self.chosen is None else self.chosen.name

    @property
    def strokes(self) -> str | None:
        """Name of the strokes layer in front."""
        return None if self.strokes_layer is None else self.strokes_layer.name

    @property
    def has_model(self) -> bool:
        """True if a model exists that can segment the image in front, or any image if there is none."""
        if self.model is None:
            return False
        return self.chosen is None or self.model.classifier.misfit(self.chosen.source) is None

    @property
    def has_depth(self) -> bool:
        """True if all images to learn from are stacks whose planes have others before and behind them."""
        if self.chosen is None:
            return False
        others = [each.source for each in self.study] if self.studied else []
        return are_deep((self.chosen.source, *others))

    @property
    def learns_depth(self) -> str:
        """Depth that the next model is trained with: what the user wants, where there is any."""
        return self.depth if self.has_depth else "off"

    @property
    def exposure_fixed(self) -> bool:
        """True if the model is from a file, and learned by each image's own grey values: it segments so."""
        return self.model is not None and not self.model.keys and self.model.classifier.per_image

    @property
    def matches_exposure(self) -> bool:
        """True if images are segmented by their own grey values: learned so, or wished of another's model."""
        by_own = self.model is not None and self.model.classifier.per_image
        learned_here = self.model is not None and (self.of_study or not self.foreign)
        return by_own or (self.match_exposure and not learned_here)

    @property
    def finished_here(self) -> Finished | None:
        """The image in front, if its layer holds the newest model's labels at every pixel."""
        if self.chosen is None or not self.has_model:
            return None
        here = self.chosen.key, self.matches_exposure
        return next((each for each in self.finished if (each.key, each.matched) == here), None)

    @property
    def foreign(self) -> bool:
        """True if the model learned from anything but strokes on the image in front."""
        return self.model is not None and (self.chosen is None or self.chosen.key not in self.model.keys)

    @property
    def studied(self) -> bool:
        """True if the image in front is one of the list."""
        return self.chosen is not None and any(each.key == self.chosen.key for each in self.study)

    @property
    def of_study(self) -> bool:
        """True if the model learned from the list of images that the one in front is of."""
        return self.model is not None and self.studied and any(e.key in self.model.keys for e in self.study)

    @property
    def painted_classes(self) -> int:
        """Number of classes with paint."""
        return sum(pixels > 0 for _, pixels in self.counts)

    @property
    def learning(self) -> bool:
        """True if the model is about to change by itself."""
        return self.training in (Training.FITTING, Training.LEARNING)

    @property
    def stepping(self) -> bool:
        """True if a round of gradient steps is under way, or held."""
        at_it = self.training in (Training.LEARNING, Training.PAUSED)
        return at_it and self.progress is not None and not self.progress.steady

    @property
    def expected(self) -> Mapping[int, tuple[float, float]]:
        """By class that is painted, the range of IoU to expect where nothing is.

        Gradient steps change the model that was judged, so nothing is known of it after them.
        """
        if self.judged is None or self.progress is None or self.progress.step > 0:
            return {}
        painted = {number for number, (_, pixels) in enumerate(self.counts, start=1) if pixels}
        ranges = {n: span for n, span in self.judged.held_out_range.items() if n in painted}
        return ranges if len(painted) > 1 else {}

    @property
    def busy(self) -> bool:
        """True if Stop has anything to stop."""
        return self.stepping or self.whole is not None


def named_classes(state: LiveState, classifier: TrainedClassifier) -> tuple[ClassInfo, ...]:
    """The classifier's classes under their present names and colours."""
    now = state.classes
    return tuple(now[i] if i < len(now) else info for i, info in enumerate(classifier.classes))


def newest_classifier(state: LiveState) -> TrainedClassifier | None:
    """The newest model as it is saved or applied elsewhere: with present class names and its full record."""
    if state.model is None:
        return None
    classifier = state.model.classifier
    return replace(
        classifier,
        classes=named_classes(state, classifier),
        record=state.model.record or classifier.record,
    )
