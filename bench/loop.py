"""The loop of the window without the window: paint, learn, segment what is on screen.

Schedule and threads are the window's own (`napari_dsparse.live`), without Qt. A process of its own runs it
(`bench.latency`), since threads are settled where torch is loaded.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from bench.scenes import brush
from bench.window import HeadlessWindow
from napari_dsparse.images import ImageSource
from napari_dsparse.live import actions as act
from napari_dsparse.live import events as ev
from napari_dsparse.live import messages as msg
from napari_dsparse.prediction.overview import in_pixels
from napari_dsparse.prediction.tiles import FieldOfView

#: A user looks at the result for so long before painting on (seconds).
LOOK = 0.3
#: The window waits so long after the end of a stroke (`gui.layers.paint_watch`).
DEBOUNCE = 0.02


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
    """The view over time."""

    def __init__(self, view: FieldOfView) -> None:
        self._view = view
        self._tiles: list[tuple[float, msg.TileDone]] = []

    def show(self, now: float, event: msg.TileDone) -> None:
        """A tile has come."""
        self._tiles.append((now, event))

    def covered(self) -> float:
        """Time at which every pixel had been shown, exact or not."""
        return self._first(lambda shown: bool((shown > 0).all()))

    def agreed(self, share: float = 0.99) -> float:
        """Time from which that share of pixels had their final class."""
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
        labels = event.labels if event.cell == 1 else in_pixels(event.labels, event.cell, event.tile)
        inside = labels[max(0, top - rows[0]) :, max(0, left - columns[0]) :]
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
    """A user's strokes on one image, and the window's schedule and threads.

    Parameters
    ----------
    size, view : int
        Pixels per side of the image, and of the part of it on screen, in its middle.
    channels : int
    """

    def __init__(self, size: int, view: int, channels: int = 1) -> None:
        image, self._inside = cells(size, channels)
        source = ImageSource(image, channel_axis=None if channels == 1 else 2, name="cells")
        start = (size - view) // 2
        self._view = FieldOfView((), (start, start + view), (start, start + view))
        self._labels = np.zeros(image.shape[:2], np.uint8)
        self._started = 0.0
        self._screen = Screen(self._view)
        self._seen = 0
        self._rng = np.random.default_rng(1)
        self._window = HeadlessWindow(source, self._view, 2, self._show, device="cpu")

    def look_elsewhere(self) -> None:
        """Move the view to a corner of the image, another one each time."""
        (top, bottom), (left, right) = self._view.rows, self._view.columns
        high, wide = bottom - top, right - left
        top, left = ((self._labels.shape[i] - n) * (self._seen >> i & 1) for i, n in enumerate((high, wide)))
        self._seen += 1
        self._view = FieldOfView((), (top, top + high), (left, left + wide))
        self._window.handle(ev.ViewRead(self._view))

    def close(self) -> None:
        """End the threads."""
        self._window.close()

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
        """Tell of the paint as the window does, and follow what comes until the view shows what it changed.

        Then the thread that predicts has nothing to do, and computes ahead what the next stroke will read.
        """
        self._screen = Screen(self._view)
        self._started = time.perf_counter()
        asked = self._window.state.jobs
        self._window.paint(self._labels)
        marks: dict[str, float] = {}

        def over(event: msg.WorkerEvent) -> bool:
            now = time.perf_counter() - self._started
            new = event.envelope.job > asked
            match event:
                case msg.SnapshotTaken() if new:
                    marks["classifier"] = now
                case msg.TrainingEnded() if new:
                    marks["judged"] = now
                case msg.TileDone() if new and "classifier" in marks:
                    marks.setdefault("first_tile", now)
                case msg.PredictionEnded() if new and event.complete and "classifier" in marks:
                    marks.setdefault("view", now)
            return {"view", "judged"} <= marks.keys()

        self._window.run_until(over)
        return Stroke(
            marks["classifier"], marks["first_tile"], self._screen.covered(), self._screen.agreed(),
            marks["view"], marks["judged"],
        )  # fmt: skip

    def rest(self, seconds: float) -> None:
        """Let so much time pass, as a user does who looks at the result."""
        self._window.rest(seconds)

    def _show(self, effect: act.Effect) -> None:
        if isinstance(effect, act.ShowTile):
            self._screen.show(time.perf_counter() - self._started, effect.tile)


def run(size: int, view: int, strokes: int, channels: int = 1) -> dict[str, Any]:
    """Paint on an image never seen before, then `strokes` strokes one by one; then one each in four views."""
    loop = Loop(size, view, channels)
    try:
        for label in (1, 2, 1, 2):
            loop.paint(label)
        first = loop.learn()
        found = []
        for number in range(strokes):
            loop.rest(LOOK)
            loop.paint(1 + number % 2)
            found.append(loop.learn())
        loop.rest(LOOK)
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
