"""What the window shows, as one frozen value, and the sentence that says it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from napari_dsparse.gui.expected_iou import mean_range, range_text
from napari_dsparse.network.trained import ClassInfo
from napari_dsparse.training.progress import TrainingProgress


class Training(Enum):
    """What the trainer is at: fitting the last layer, judging the fit or taking steps, or resting."""

    IDLE = "idle"
    FITTING = "fitting"
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
        Of the newest fit or step.
    judged : TrainingProgress or None
        With the newest held-out figures; while a fit is judged, those of the one before.
    fit_seconds : float
        What the newest fit took.
    seconds_left : float or None
        Until the round of gradient steps ends, where that can be told.
    stopping : bool
        Learning was stopped and its last model, by the step at hand, is still to come.
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
    judged: TrainingProgress | None = None
    fit_seconds: float = 0.0
    seconds_left: float | None = None
    stopping: bool = False
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
    def learning(self) -> bool:
        """Whether the model is about to change by itself."""
        return self.training in (Training.FITTING, Training.LEARNING)

    @property
    def stepping(self) -> bool:
        """Whether a round of gradient steps is under way, or held."""
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
        """Whether Stop has anything to stop."""
        return self.stepping or self.whole is not None


def describe(session: Session) -> str:
    """The status sentence: what is going on and what to do next."""
    if session.problem:
        return session.problem
    return _state(session) + (" Coarse preview, being refined." if session.sketched else "")


def _state(session: Session) -> str:
    if session.image is None:
        return "Open an image to start; File > Open Sample has some with strokes."
    if session.training is Training.PAUSED:
        return f"Paused after {_step(session)}; press Pause again to go on."
    if session.learning and (session.stepping or session.whole is not None or not _is_fitted(session)):
        return _learning(session) + (" The whole image is next." if session.whole is not None else "")
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
    if session.training is Training.STOPPED:
        return f"Stopped after {_step(session)}; the model is kept."
    if _is_fitted(session) and session.training is not Training.IDLE:
        return f"{_learned(session)} Paint where it is wrong."
    return f"Press Train to learn from {_strokes(session)}, or switch on Live."


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


def _learning(session: Session) -> str:
    if not _is_fitted(session):
        return f"Learning from {_strokes(session)}…"
    if not session.stepping:
        return _learned(session)
    left = "" if session.seconds_left is None else f", about {max(1, round(session.seconds_left))} s left"
    return f"Refining: {_step(session)}{left}."


def _learned(session: Session) -> str:
    """What the model rests on."""
    progress = session.progress
    if progress is None:
        return ""
    text = f"Learned from {_count(progress.strokes, 'stroke')}"
    if progress.step:
        return f"{text}, then took {_count(progress.step, 'gradient step')}."
    return f"{text} in {session.fit_seconds:.1f} s{_expected(session)}."


def _expected(session: Session) -> str:
    """What accuracy to expect, averaged over the classes of which anything can be said."""
    ranges = session.expected
    mean = mean_range(ranges)
    if mean is None:
        return ""
    few = len(ranges) < session.painted_classes
    classes = f" for {len(ranges)} of {session.painted_classes} classes" if few else ""
    return f"; expected IoU {range_text(*mean)}{classes}"


def _is_fitted(session: Session) -> bool:
    return session.progress is not None and session.training is not Training.FITTING


def _step(session: Session) -> str:
    progress = session.progress
    return "no step" if progress is None else f"gradient step {progress.step} of {progress.planned_steps}"


def _strokes(session: Session) -> str:
    return _count(sum(strokes for strokes, _ in session.counts), "stroke")


def _count(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")
