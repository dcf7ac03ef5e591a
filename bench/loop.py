"""The loop of the window without the window: paint, learn, segment what is on screen.

The two threads are the window's own; between them stands what the window's controllers do with their events,
without Qt. A process of its own runs it (`bench.latency`), since threads are settled where torch is loaded.
"""

from __future__ import annotations

import json
import queue
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from bench.scenes import brush
from napari_dsparse.gui import messages as msg
from napari_dsparse.gui.cores import CoreShare
from napari_dsparse.gui.predictor_thread import PredictorThread
from napari_dsparse.gui.trainer_thread import TrainerThread
from napari_dsparse.images import ImageSource
from napari_dsparse.network import default_classes

#: A user looks at the result for so long before painting on (seconds).
LOOK = 0.3
#: The window waits so long for the brush to come to rest (`gui.paint_watch`).
DEBOUNCE = 0.12
#: A preview is followed by a pause of this many times its own length (`gui.segmenting`).
REST_SHARE = 1.0
#: After which something is wrong.
PATIENCE = 120.0


@dataclass(frozen=True, slots=True)
class Stroke:
    """Seconds from the end of a stroke.

    Parameters
    ----------
    classifier : float
        Until a classifier knows it.
    first_tile : float
        Until a part of the view shows what that changed, be it a sketch.
    sketch : float
        Until all of the view does.
    agreed : float
        From when on 99 % of the view's pixels have the class that they end with.
    view : float
        Until every pixel of the view is exact.
    """

    classifier: float
    first_tile: float
    sketch: float
    agreed: float
    view: float


class Screen:
    """What the view shows as time passes."""

    def __init__(self, view: msg.FieldOfView) -> None:
        self._view = view
        self._tiles: list[tuple[float, msg.TileDone]] = []

    def show(self, now: float, event: msg.TileDone) -> None:
        """A tile has come."""
        self._tiles.append((now, event))

    def covered(self) -> float:
        """When every pixel had been shown, exact or not."""
        return self._first(lambda shown: bool((shown > 0).all()))

    def agreed(self, share: float = 0.99) -> float:
        """When that share of pixels had the class that they end with."""
        final = self._blank()
        for _, event in self._tiles:
            self._put(final, event)
        return self._first(lambda shown: float((shown == final).mean()) >= share)

    def _first(self, reached: Callable[[NDArray[np.uint8]], bool]) -> float:
        shown = self._blank()
        for now, event in self._tiles:
            self._put(shown, event)
            if reached(shown):
                return now
        return float("nan")

    def _blank(self) -> NDArray[np.uint8]:
        (top, bottom), (left, right) = self._view.rows, self._view.columns
        return np.zeros((bottom - top, right - left), np.uint8)

    def _put(self, shown: NDArray[np.uint8], event: msg.TileDone) -> None:
        (top, _), (left, _) = self._view.rows, self._view.columns
        rows, columns = event.tile.rows, event.tile.columns
        inside = event.labels[max(0, top - rows[0]) :, max(0, left - columns[0]) :]
        part = shown[max(0, rows[0] - top) : rows[1] - top, max(0, columns[0] - left) : columns[1] - left]
        part[...] = inside[: part.shape[0], : part.shape[1]]


def cells(size: int, seed: int = 0) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """An image like stained nuclei, bright blobs on uneven ground with noise, and where the blobs are."""
    rng = np.random.default_rng(seed)
    spots = np.zeros((size, size), np.float32)
    number = max(8, size * size // 2500)
    spots[rng.integers(0, size, number), rng.integers(0, size, number)] = 1
    blobs = gaussian_filter(spots, 7) * (2 * np.pi * 49)
    inside = blobs > 0.5
    ground = gaussian_filter(rng.standard_normal((size, size), np.float32), size / 10) * size / 2
    image = 60 + 15 * ground + 80 * gaussian_filter(inside.astype(np.float32), 1.5)
    image += rng.normal(0, 12, image.shape)
    return image.clip(0, 255).astype(np.uint8), inside


class Loop:
    """A user's strokes on one image, and both threads.

    Parameters
    ----------
    size, view : int
        Pixels a side of the image, and of the part of it on screen, in its middle.
    """

    def __init__(self, size: int, view: int) -> None:
        image, self._inside = cells(size)
        self._source = ImageSource(image)
        start = (size - view) // 2
        self._view = msg.FieldOfView((), (start, start + view), (start, start + view))
        self._labels = np.zeros(image.shape, np.uint8)
        self._classes = default_classes(2)
        self._events: queue.SimpleQueue[msg.Event] = queue.SimpleQueue()
        cores = CoreShare()
        self._trainer = TrainerThread(self._events.put, cores)
        self._predictor = PredictorThread(self._events.put, cores)
        self._seen = 0
        self._generation = 0
        self._newest: dict[int, int] = {}  # generation of the strokes by that of the prediction
        self._rested = 0.0  # when the next preview may begin
        self._rng = np.random.default_rng(1)
        self._trainer.start(), self._predictor.start()

    def look_elsewhere(self) -> None:
        """Move the view to a corner of the image, another one each time."""
        (top, bottom), (left, right) = self._view.rows, self._view.columns
        high, wide = bottom - top, right - left
        top, left = ((self._labels.shape[i] - n) * (self._seen >> i & 1) for i, n in enumerate((high, wide)))
        self._seen += 1
        self._view = msg.FieldOfView((), (top, top + high), (left, left + wide))

    def close(self) -> None:
        """End both threads."""
        for thread in (self._trainer, self._predictor):
            thread.close()
            thread.join(10)

    def paint(self, label: int) -> None:
        """One stroke of a brush, mostly on one side of a border of a blob, somewhere in view."""
        (top, bottom), (left, right) = self._view.rows, self._view.columns
        wanted = self._inside[top:bottom, left:right] == (label == 2)
        for y, x in self._rng.permutation(np.argwhere(wanted)):
            spots = brush(np.array([y + top, x + left]), 12, self._rng)
            within = ((spots >= 0) & (spots < self._labels.shape)).all(1)
            spots = spots[within]
            if (self._inside[spots[:, 0], spots[:, 1]] == (label == 2)).mean() > 0.95:
                self._labels[spots[:, 0], spots[:, 1]] = label
                return

    def learn(self, *, until_calm: bool = False) -> Stroke:
        """Tell the trainer of the paint, and follow the events until the view shows what it changed.

        With `until_calm`, until training is over and the view is segmented with all symmetries.
        """
        asked, started = self._next(), time.perf_counter()
        self._rested = started  # new paint is shown as soon as it has been learned
        self._trainer.submit(
            msg.TrainingJob(
                asked, self._source, self._labels.copy(), self._classes, "auto", "cpu", learn=True
            )
        )
        marks: dict[str, float] = {}
        screen = Screen(self._view)
        final, due, first = -1, False, True
        while not ("calm" in marks if until_calm else "view" in marks):
            event = self._next_event(self._rested if due else None)
            now = time.perf_counter() - started
            match event:
                case msg.SnapshotTaken() if event.generation == asked:
                    marks.setdefault("classifier", now)
                    self._snapshot, due = event.classifier, True
                case msg.TrainingEnded() if event.generation == asked and until_calm:
                    final, due = self._predict(asked, quick=False), False
                case msg.TileDone():
                    self._predictor.tile_taken()
                    if self._newest[event.generation] == asked:
                        marks.setdefault("first_tile", now)
                        if "view" not in marks:
                            screen.show(now, event)
                case msg.PredictionEnded():
                    self._rested = time.perf_counter() + REST_SHARE * event.seconds
                    if event.complete and self._newest[event.generation] == asked:
                        marks.setdefault("view", now)
                        if event.generation == final:
                            marks["calm"] = now
                case msg.JobFailed():
                    raise RuntimeError(event.sentence)
            if due and time.perf_counter() >= self._rested and final < 0:
                self._predict(asked, quick=True, sketch=first)
                due = first = False
        last = marks["calm"] if until_calm else marks["view"]
        return Stroke(marks["classifier"], marks["first_tile"], screen.covered(), screen.agreed(), last)

    def _next_event(self, until: float | None) -> msg.Event | None:
        """The next event, or None at the time `until`."""
        wait = PATIENCE if until is None else max(0.0, until - time.perf_counter())
        try:
            return self._events.get(timeout=wait)
        except queue.Empty:
            if until is None:
                raise
            return None

    def _predict(self, strokes: int, *, quick: bool, sketch: bool = False) -> int:
        generation = self._next()
        self._newest[generation] = strokes
        self._predictor.submit(
            msg.PredictionJob(
                generation, self._snapshot, self._source, self._view, whole=False, done=frozenset(),
                device="cpu", quick=quick, sketch=sketch, foreign=False, match_exposure=False,
                uncertainty=False, probabilities=False,
            )
        )  # fmt: skip
        return generation

    def _next(self) -> int:
        self._generation += 1
        return self._generation


def run(size: int, view: int, strokes: int) -> dict[str, Any]:
    """Paint `strokes` strokes, each as soon as the one before is on screen; then one each in four views."""
    loop = Loop(size, view)
    try:
        for label in (1, 2, 1, 2):
            loop.paint(label)
        loop.learn()  # a first round: threads, caches, normalisation
        found = []
        for number in range(strokes):
            time.sleep(LOOK)
            loop.paint(1 + number % 2)
            found.append(loop.learn())
        elsewhere = []
        for number in range(4):
            loop.look_elsewhere()
            loop.paint(1 + number % 2)
            elsewhere.append(loop.learn())
        loop.paint(1)
        calm = loop.learn(until_calm=True)
    finally:
        loop.close()
    return {
        "strokes": [asdict(stroke) for stroke in found],
        "elsewhere": [asdict(stroke) for stroke in elsewhere],
        "calm": calm.view,
        "debounce": DEBOUNCE,
    }


if __name__ == "__main__":
    print(json.dumps(run(*map(int, sys.argv[1:4]))))
