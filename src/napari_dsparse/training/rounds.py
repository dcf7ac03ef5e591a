"""Rounds of training: their length and learning rate."""

from __future__ import annotations

import math


class Round:
    """From one change of the labels to the next calm.

    Parameters
    ----------
    start : int
        Steps taken before it.
    steps : int, optional
        Its length in steps.
    clock : (float, float), optional
        Seconds on the clock at its start, and how many more are allowed; whichever limit comes first ends it.
    peak_rate : float
        Highest learning rate in it.
    warm_up : float
        Share of it in which the rate rises; then it falls as a cosine.
    reach : int
        Steps at the full rate. A longer round learns at a lower one, so that in the end weights have moved no
        further from where they began, so that pretrained knowledge is kept.
    """

    def __init__(
        self,
        start: int,
        steps: int | None,
        clock: tuple[float, float] | None,
        peak_rate: float,
        warm_up: float,
        reach: int,
    ) -> None:
        self.start = start
        self._steps = steps
        self._clock = clock
        self._peak_rate = peak_rate
        self._warm_up = warm_up
        self._reach = reach

    def done(self, step: int, seconds: float = 0.0) -> float:
        """Share of the round that has passed at a step and a time, 0..1."""
        shares = [1.0] if self._steps == 0 else []
        if self._steps:
            shares.append((step - self.start) / self._steps)
        if self._clock:
            shares.append((seconds - self._clock[0]) / self._clock[1] if self._clock[1] > 0 else 1.0)
        return min(1.0, max(shares))

    def late(self, seconds: float) -> bool:
        """True if its time is up."""
        return self._clock is not None and seconds >= sum(self._clock)

    def rate(self, step: int, seconds: float = 0.0) -> float:
        """Learning rate there."""
        steps = max(1, self.planned_steps(step, seconds) - self.start)
        peak = self._peak_rate * min(1.0, self._reach / steps)
        return learning_rate(self.done(step, seconds), peak, self._warm_up)

    def planned_steps(self, step: int, seconds: float) -> int:
        """Value of `step` at its end; an estimate under a time limit."""
        done = self.done(step, seconds)
        estimate = self.start + round((step - self.start) / done) if done else step
        return self.start + self._steps if self._steps and not self._clock else max(step, estimate)


def learning_rate(done: float, peak: float, warm_up: float) -> float:
    """Learning rate when `done` (0..1) of a round has passed: a linear rise, then half a cosine."""
    if done < warm_up:
        return peak * (0.1 + 0.9 * done / warm_up)
    return peak * max(0.01, 0.5 * (1 + math.cos(math.pi * min(1.0, (done - warm_up) / (1 - warm_up)))))
