"""The window without a window: its schedule and worker threads, driven by a program.

`LiveLoop` and `Workers` are the ones that napari's dock runs; the queue of answers and the clock for pauses
stand in for Qt.
"""

from __future__ import annotations

import queue
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from napari_dsparse.classifier import default_classes
from napari_dsparse.images import ImageSource
from napari_dsparse.live import actions as act
from napari_dsparse.live import events as ev
from napari_dsparse.live import messages as msg
from napari_dsparse.live.loop import LiveLoop
from napari_dsparse.live.state import LiveState
from napari_dsparse.live.workers import Workers
from napari_dsparse.prediction.tiles import FieldOfView

#: Seconds without any answer after which something is wrong.
PATIENCE = 120.0


class HeadlessWindow:
    """The live loop on one image, whose events a program supplies.

    Parameters
    ----------
    source : ImageSource
    view : FieldOfView
        The part that is on screen.
    classes : int
        Classes that the strokes layer names.
    show : callable
        Takes the effects that a window draws: tiles, classes, where to go.
    device : str
    """

    def __init__(
        self,
        source: ImageSource,
        view: FieldOfView,
        classes: int,
        show: Callable[[act.Effect], None],
        device: str = "auto",
    ) -> None:
        self._answers: queue.SimpleQueue[msg.WorkerEvent] = queue.SimpleQueue()
        self._workers = Workers(self._answers.put)
        self._loop = LiveLoop(self._workers, self._on_effect, lambda state: None, LiveState(device=device))
        self._show = show
        self._wake: tuple[float, int] | None = None
        self.handle(ev.ImageChosen(0, source.name, source, view))
        nothing = np.zeros(source.shape, np.uint8)
        palette = default_classes(max(9, classes))
        self.handle(ev.StrokesChosen("strokes", nothing, default_classes(classes), palette, brush=1))

    @property
    def state(self) -> LiveState:
        """Everything that a window would draw."""
        return self._loop.state

    def handle(self, event: ev.UserEvent) -> None:
        """Act as the user or the window does."""
        self._loop.handle(event)

    def paint(self, labels: NDArray[np.uint8]) -> None:
        """Tell of paint; `labels`, shape of the source, is copied."""
        self.handle(ev.Painted(labels.copy()))

    def run_until(self, over: Callable[[msg.WorkerEvent], bool]) -> None:
        """Handle the threads' events; the last is the one that `over`, asked before, returns True for.

        Raises
        ------
        RuntimeError
            If a job fails, or no thread answers within `PATIENCE`.
        """
        ended = False
        while not ended:
            event = self._next_answer(PATIENCE)
            if event is None:
                continue
            if isinstance(event, msg.JobFailed):
                raise RuntimeError(f"The {event.worker} failed: {event.sentence}")
            ended = over(event)
            self._loop.handle(event)

    def rest(self, seconds: float) -> None:
        """Let so much time pass, as a user does who looks at the result."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            event = self._next_answer(left)
            if event is not None:
                self._loop.handle(event)

    def close(self) -> None:
        """End the threads."""
        self._workers.shutdown()

    def _next_answer(self, patience: float) -> msg.WorkerEvent | None:
        """The next event of a thread; None after `patience`, or if a pause came to its end before.

        Silence for `PATIENCE` is an error unless a pause is what everything waits for.
        """
        if self._wake is not None:
            patience = min(patience, max(0.0, self._wake[0] - time.monotonic()))
        try:
            return self._answers.get(timeout=patience)
        except queue.Empty:
            if self._wake is None and patience == PATIENCE:
                raise RuntimeError(f"No thread has answered for {PATIENCE:.0f} s.") from None
        if self._wake is not None and time.monotonic() >= self._wake[0]:
            job, self._wake = self._wake[1], None
            self._loop.handle(ev.RestOver(job))
        return None

    def _on_effect(self, effect: act.Effect) -> None:
        if isinstance(effect, act.Wake):
            self._wake = time.monotonic() + effect.seconds, effect.job
        else:
            self._show(effect)
