"""The sentence under the buttons: what is going on and what to do next."""

from __future__ import annotations

from napari_dsparse.images.painted import is_painted
from napari_dsparse.live.expected_iou import mean_range, range_text
from napari_dsparse.live.state import LiveState, Training, WholeImage


def describe(state: LiveState) -> str:
    """The status sentence: what is going on and what to do next."""
    if state.problem:
        return state.problem
    return _state(state) + (" Coarse preview, being refined." if state.sketched else "")


def _state(state: LiveState) -> str:
    if state.image is None:
        return state.note or "Open an image to start; File > Open Sample has some with strokes."
    if state.training is Training.PAUSED:
        return f"Paused after {_step(state)}; press Pause again to go on."
    if state.learning and (state.stepping or state.whole is not None or not _is_fitted(state)):
        return _learning(state) + (" The whole image is next." if state.whole is not None else "")
    if state.whole is not None:
        return "Segmenting the whole image…"
    if state.writing:
        return "Writing the file…"
    if state.note:
        return state.note
    if state.strokes is None:
        return f"{_model_at_hand(state)}ress New for a strokes layer, then paint."
    if is_uncounted(state):
        return "Counting the strokes…"
    if state.painted_classes < 2:
        return _what_to_paint(state)
    if state.training is Training.STOPPED:
        return f"Stopped after {_step(state)}; the model is kept."
    if _is_fitted(state) and state.training is not Training.IDLE:
        return f"{_learned(state)} Paint where it is wrong."
    more = "paint on" if state.live else "switch on Live"
    return f"Press Train to learn from {_strokes(state)}, or {more}."


def is_uncounted(state: LiveState) -> bool:
    """True if something is painted, and how much is not known yet."""
    if state.counts or state.strokes_layer is None:
        return False
    listed = state.studied and any(each.labels is not None for each in state.study)
    return listed or is_painted(state.strokes_layer.labels)


def describe_model(state: LiveState) -> str:
    """One sentence about the current model."""
    if state.model is None:
        return "No model yet"
    model = state.model
    source = f"file {model.origin}" if not model.keys else f"strokes on {model.origin}"
    return f"Model: {source}" if state.applied else f"Not applied: {source}"


def _model_at_hand(state: LiveState) -> str:
    """Start of a sentence that continues with "press New"."""
    if state.model is None or not state.has_model:
        return "P"
    if state.applied:
        return "The model is ready; segment, or p"
    return f"Segment whole image applies the model from {state.model.origin}; or p"


def progress_text(whole: WholeImage) -> str:
    """Text on the progress bar: share, speed and time left."""
    text = f"{whole.fraction:.0%}".replace("%", " %")
    if whole.pixels_per_second > 0:
        minutes, seconds = divmod(round(whole.seconds_left), 60)
        text += f"  {_short(whole.pixels_per_second / 1e6)} Mpx/s  {minutes}:{seconds:02d} left"
    return text


def _short(number: float) -> str:
    return f"{number:.0f}" if number >= 10 else f"{number:.2g}"


def _what_to_paint(state: LiveState) -> str:
    painted = {number for number, (_, pixels) in enumerate(state.counts, start=1) if pixels}
    missing = [
        f"'{info.name}' (key {number})"
        for number, info in enumerate(state.classes, start=1)
        if number not in painted
    ]
    if state.painted_classes == 0:
        return f"Paint a stroke of {' and one of '.join(missing[:2])}."
    return f"Now paint a stroke of {missing[0]}: learning takes two classes."


def _learning(state: LiveState) -> str:
    if not _is_fitted(state):
        return f"Learning from {_strokes(state)}…"
    if not state.stepping:
        return _learned(state)
    left = "" if state.seconds_left is None else f", about {max(1, round(state.seconds_left))} s left"
    return f"Refining: {_step(state)}{left}."


def _learned(state: LiveState) -> str:
    """Phrase on the data that the model learned from."""
    progress = state.progress
    if progress is None:
        return ""
    text = f"Learned from {_count(progress.strokes, 'stroke')}"
    if progress.step:
        return f"{text}, then took {_count(progress.step, 'gradient step')}."
    return f"{text} in {state.fit_seconds:.1f} s{_expected(state)}."


def _expected(state: LiveState) -> str:
    """Phrase on expected accuracy, averaged over the classes that were measured."""
    ranges = state.expected
    mean = mean_range(ranges)
    if mean is None:
        return ""
    few = len(ranges) < state.painted_classes
    classes = f" for {len(ranges)} of {state.painted_classes} classes" if few else ""
    return f"; expected IoU {range_text(*mean)}{classes}"


def _is_fitted(state: LiveState) -> bool:
    return state.progress is not None and state.training is not Training.FITTING


def _step(state: LiveState) -> str:
    progress = state.progress
    return "no step" if progress is None else f"gradient step {progress.step} of {progress.planned_steps}"


def _strokes(state: LiveState) -> str:
    return _count(sum(strokes for strokes, _ in state.counts), "stroke")


def _count(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")
