"""Progress reports of the trainer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class TrainingProgress:
    """Report of the trainer after a step; the only thing that a view needs to draw.

    Parameters
    ----------
    step : int
        Steps taken since the strokes last changed.
    planned_steps : int
        Value of `step` when the present round of training ends; an estimate under a time limit.
    loss : float
        Class-balanced cross-entropy of this step, in nats; NaN before the first.
    held_out_iou : mapping of int to float
        Intersection over union by class on held-out strokes, 0..1; empty while there are too few strokes.
    held_out_confusion : tuple of tuple of int
        Held-out pixels by class painted, then by class found; empty while there are too few strokes.
    held_out_strokes : int
        Number of strokes that those figures are based on.
    seconds : float
        Time spent in steps so far.
    steady : bool
        Nothing is left to gain until the labels change.
    strokes : int
        Number of strokes learned from.
    held_out_range : mapping of int to pair of float
        By class, the range in which the intersection over union on the whole image probably lies; its middle
        is `held_out_iou`. Empty while there are too few strokes.
    """

    step: int
    planned_steps: int
    loss: float
    held_out_iou: Mapping[int, float]
    held_out_strokes: int
    seconds: float
    steady: bool
    strokes: int = 0
    held_out_confusion: tuple[tuple[int, ...], ...] = ()
    held_out_range: Mapping[int, tuple[float, float]] = field(default_factory=dict)
