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
from napari_dsparse.network import TrainedClassifier, default_classes

#: A user looks at the result for so long before painting on (seconds).
LOOK = 0.3
#: The window waits so long for the brush to come to rest (`gui.paint_watch`).
DEBOUNCE = 0.12
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
    judged : float
        Until the classifier has been measured on held-out strokes.
    """

    classifier: float
    first_tile: float
    sketch: float
    agreed: float
    view: float
    judged: float


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


def cells(size: int, channels: int = 1, seed: int = 0) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """An image like stained nuclei, bright blobs on uneven ground with noise, and where the blobs are.

    (size, size) with one channel, else (size, size, channels), each with noise and a brightness of its own.
    """
    rng = np.random.default_rng(seed)
    spots = np.zeros((size, size), np.float32)
    number = max(8, size * size // 2500)
    spots[rng.integers(0, size, number), rng.integers(0, size, number)] = 1
    blobs = gaussian_filter(spots, 7) * (2 * np.pi * 49)
    inside = blobs > 0.5
    ground = gaussian_filter(rng.standard_normal((size, size), np.float32), size / 10) * size / 2
    clean = 60 + 15 * ground + 80 * gaussian_filter(inside.astype(np.float32), 1.5)
    stained = [clean * (1 - 0.2 * number) + rng.normal(0, 12, clean.shape) for number in range(channels)]
    image = np.stack(stained, 2).clip(0, 255).astype(np.uint8)
    return (image[:, :, 0] if channels == 1 else image), inside


class Loop:
    """A user's strokes on one image, and both threads.

    Parameters
    ----------
    size, view : int
        Pixels a side of the image, and of the part of it on screen, in its middle.
    channels : int
    """

    def __init__(self, size: int, view: int, channels: int = 1) -> None:
        image, self._inside = cells(size, channels)
        self._source = ImageSource(image, channel_axis=None if channels == 1 else 2)
        start = (size - view) // 2
        self._view = msg.FieldOfView((), (start, start + view), (start, start + view))
        self._labels = np.zeros(image.shape[:2], np.uint8)
        self._classes = default_classes(2)
        self._events: queue.SimpleQueue[msg.Event] = queue.SimpleQueue()
        cores = CoreShare()
        self._trainer = TrainerThread(self._events.put, cores)
        self._predictor = PredictorThread(self._events.put, cores)
        self._seen = 0
        self._generation = 0
        self._newest: dict[int, int] = {}  # generation of the strokes by that of the prediction
        self._rng = np.random.default_rng(1)
        self._trainer.start()
        self._predictor.start()

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

    def learn(self) -> Stroke:
        """Tell the trainer of the paint, and follow the events until the view shows what it changed.

        Then the thread that predicts has nothing to do, and computes ahead what the next stroke will read.
        """
        asked, started = self._next(), time.perf_counter()
        self._trainer.submit(
            msg.TrainingJob(
                asked, self._source, self._labels.copy(), self._classes, "auto", "cpu", learn=True
            )
        )
        marks: dict[str, float] = {}
        screen = Screen(self._view)
        while not {"view", "judged"} <= marks.keys():
            event = self._events.get(timeout=PATIENCE)
            now = time.perf_counter() - started
            match event:
                case msg.SnapshotTaken() if event.generation == asked:
                    marks["classifier"] = now
                    self._predict(asked, event.classifier)
                case msg.TrainingEnded() if event.generation == asked:
                    marks["judged"] = now
                case msg.TileDone():
                    self._predictor.tile_taken()
                    if self._newest[event.generation] == asked:
                        marks.setdefault("first_tile", now)
                        screen.show(now, event)
                case msg.PredictionEnded() if event.complete and self._newest[event.generation] == asked:
                    marks["view"] = now
                case msg.JobFailed():
                    raise RuntimeError(event.sentence)
        self._predictor.submit(msg.LookAheadJob(self._next(), self._source, self._view, "cpu"))
        return Stroke(
            marks["classifier"], marks["first_tile"], screen.covered(), screen.agreed(), marks["view"],
            marks["judged"],
        )  # fmt: skip

    def _predict(self, strokes: int, classifier: TrainedClassifier) -> None:
        generation = self._next()
        self._newest[generation] = strokes
        self._predictor.submit(
            msg.PredictionJob(
                generation, classifier, self._source, self._view, whole=False, done=frozenset(),
                device="cpu", quick=True, sketch=True, foreign=False, match_exposure=False,
                uncertainty=False, probabilities=False,
            )
        )  # fmt: skip

    def _next(self) -> int:
        self._generation += 1
        return self._generation


def run(size: int, view: int, strokes: int, channels: int = 1) -> dict[str, Any]:
    """Paint on an image never seen before, then `strokes` strokes one by one; then one each in four views."""
    loop = Loop(size, view, channels)
    try:
        for label in (1, 2, 1, 2):
            loop.paint(label)
        first = loop.learn()
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
    finally:
        loop.close()
    return {
        "first": asdict(first),
        "strokes": [asdict(stroke) for stroke in found],
        "elsewhere": [asdict(stroke) for stroke in elsewhere],
        "debounce": DEBOUNCE,
    }


if __name__ == "__main__":
    print(json.dumps(run(*map(int, sys.argv[1:5]))))
