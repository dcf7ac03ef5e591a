"""Wording of the accuracy to expect where nothing is painted."""

from __future__ import annotations

from collections.abc import Mapping

#: Tooltip of the figures.
WHAT_IT_IS = (
    "<p>How well each class is likely to be found where nothing is painted, as intersection over union: 1 is "
    "perfect. It is estimated from what becomes of the image when the classifier is fitted without some of "
    "the strokes.</p>"
    "<p>It is a range because few strokes say little; strokes near each other count as one.</p>"
    "<p>A stroke on a difficult place may lower the estimate, which then knows of that place. The "
    "segmentation is better for it all the same.</p>"
)
#: Shown in place of the figures while there are none.
NOTHING_YET = "Paint each class\nin a few places."
#: Shown in their place once gradient steps have changed the model that they were estimated for.
NOT_AFTER_STEPS = "Not estimated after gradient steps."
#: Ranges at least this wide are given to one decimal place; narrower ones would round to a single number.
ONE_DECIMAL_WIDTH = 0.15


def range_text(low: float, high: float) -> str:
    """A range of IoU to as many decimals as tell its ends apart: 0.6–0.8, 0.92–0.95.

    Parameters
    ----------
    low, high : float
        0..1.
    """
    decimals = 1 if high - low >= ONE_DECIMAL_WIDTH else 2
    ends = f"{low:.{decimals}f}", f"{high:.{decimals}f}"
    return ends[0] if ends[0] == ends[1] else "–".join(ends)


def mean_range(ranges: Mapping[int, tuple[float, float]]) -> tuple[float, float] | None:
    """The mean of the lower and of the upper ends over all classes; None where there are no ranges."""
    if not ranges:
        return None
    lows, highs = zip(*ranges.values(), strict=True)
    return sum(lows) / len(lows), sum(highs) / len(highs)
