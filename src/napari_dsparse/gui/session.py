"""What the window shows, as one frozen value, and the sentence that says it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from napari_dsparse.network.trained import ClassInfo
from napari_dsparse.training.progress import TrainingProgress

#: The first steps are slower than the rest and say little about the time that is left.
STEPS_TO_ESTIMATE = 4


class Training(Enum):
    """What the trainer is at."""

    IDLE = "idle"
    LEARNING = "learning"
    PAUSED = "paused"
    STEADY = "steady"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class WholeImage:
    """How far the whole image has been segmented.

    Parameters
    ----------
    fraction : float
        0..1.
    pixels_per_second, seconds_left : float
    """

    fraction: float = 0.0
    pixels_per_second: float = 0.0
    seconds_left: float = float("inf")


@dataclass(frozen=True, slots=True)
class Session:
    """Everything the dock draws from; the controller replaces it, the dock compares and redraws.

    Parameters
    ----------
    image, strokes : str or None
        Names of the chosen layers.
    classes : tuple of ClassInfo
    counts : tuple of (strokes, pixels)
        Paint by class.
    brush : int
        Class that the brush paints, from 1; 0 is the eraser.
    live : bool
    training : Training
    progress : TrainingProgress or None
        Of the newest step.
    has_model : bool
    whole : WholeImage or None
        None while no whole-image prediction runs.
    complete : bool
        The whole image was segmented by the newest model.
    sketched : bool
        On screen, pixels are interpolated that will be computed in a moment.
    writing : bool
        A file is being written or read.
    problem : str or None
        What went wrong last, until something goes right.
    note : str or None
        What went right last, worth a sentence.
    """

    image: str | None = None
    strokes: str | None = None
    classes: tuple[ClassInfo, ...] = ()
    counts: tuple[tuple[int, int], ...] = ()
    brush: int = 1
    live: bool = True
    training: Training = Training.IDLE
    progress: TrainingProgress | None = None
    has_model: bool = False
    whole: WholeImage | None = None
    complete: bool = False
    sketched: bool = False
    writing: bool = False
    problem: str | None = None
    note: str | None = None

    @property
    def painted_classes(self) -> int:
        """How many classes have paint."""
        return sum(pixels > 0 for _, pixels in self.counts)

    @property
    def busy(self) -> bool:
        """Whether Stop has anything to stop."""
        return self.training in (Training.LEARNING, Training.PAUSED) or self.whole is not None


def describe(session: Session) -> str:
    """The status sentence: what is going on and what to do next."""
    if session.problem:
        return session.problem
    return _state(session) + (" Coarse preview, being refined." if session.sketched else "")


def _state(session: Session) -> str:
    if session.image is None:
        return "Open an image to start; File > Open Sample has some with strokes."
    if session.training is Training.LEARNING:
        then = "; then the whole image is segmented" if session.whole is not None else ""
        return f"Learning: {_progress(session)}{_time_left(session)}{then}."
    if session.training is Training.PAUSED:
        return f"Paused after {_progress(session)}; press Pause again to go on."
    if session.whole is not None:
        return "Segmenting the whole image…"
    if session.writing:
        return "Writing the file…"
    if session.note:
        return session.note
    if session.strokes is None:
        model = "The model is ready; segment, or p" if session.has_model else "P"
        return f"{model}ress New for a strokes layer, then paint."
    if session.painted_classes < 2:
        return _what_to_paint(session)
    if session.training is Training.STEADY:
        return f"Steady after {_progress(session)}. Paint where it is wrong."
    if session.training is Training.STOPPED:
        return f"Stopped after {_progress(session)}; the model is kept."
    strokes = sum(count for count, _ in session.counts)
    return f"Press Train to learn from {strokes} strokes, or switch on Live."


def progress_text(whole: WholeImage) -> str:
    """What stands on the progress bar: share, speed and time left."""
    text = f"{whole.fraction:.0%}".replace("%", " %")
    if whole.pixels_per_second > 0:
        minutes, seconds = divmod(round(whole.seconds_left), 60)
        text += f"  {_short(whole.pixels_per_second / 1e6)} Mpx/s  {minutes}:{seconds:02d} left"
    return text


def _short(number: float) -> str:
    return f"{number:.0f}" if number >= 10 else f"{number:.2g}"


def _what_to_paint(session: Session) -> str:
    painted = {number for number, (_, pixels) in enumerate(session.counts, start=1) if pixels}
    missing = [
        f"'{info.name}' (key {number})"
        for number, info in enumerate(session.classes, start=1)
        if number not in painted
    ]
    if session.painted_classes == 0:
        return f"Paint a stroke of {' and one of '.join(missing[:2])}."
    return f"Now paint a stroke of {missing[0]}: learning takes two classes."


def _progress(session: Session) -> str:
    progress = session.progress
    if progress is None:
        return "0 steps"
    text = f"{progress.step} step" + ("s" if progress.step != 1 else "")
    if progress.held_out_iou:
        mean = sum(progress.held_out_iou.values()) / len(progress.held_out_iou)
        strokes = "stroke" if progress.held_out_strokes == 1 else "strokes"
        text += f", held-out IoU {mean:.2f} from {progress.held_out_strokes} {strokes}"
    return text


def _time_left(session: Session) -> str:
    progress = session.progress
    if progress is None or progress.step < STEPS_TO_ESTIMATE:
        return ""
    left = max(0, progress.planned_steps - progress.step) * progress.seconds / progress.step
    return f", steady in about {max(1, round(left))} s"
