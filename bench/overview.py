"""Strokes on a large image that is on screen as a whole: until a sketch of it shows what they changed.

As `bench.loop` it drives the window's schedule and threads without the window, in a process of its own. The
image is one of cells, repeated, so that it is there in a moment; strokes lie in its middle.
"""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from typing import Any

import numpy as np

from bench.loop import DEBOUNCE, LOOK, cells
from bench.scenes import brush
from bench.window import HeadlessWindow
from napari_dsparse.images import ImageSource
from napari_dsparse.live import actions as act
from napari_dsparse.live import messages as msg
from napari_dsparse.prediction.tiles import FieldOfView

#: Pixels per side of the part that is repeated, and that all strokes lie in.
PART = 1024


class Overview:
    """A user's strokes on an image of which all is on screen.

    Parameters
    ----------
    size : int
        Pixels per side, a multiple of `PART` or less than that.
    """

    def __init__(self, size: int) -> None:
        part, self._inside = cells(min(size, PART))
        self._image = np.tile(part, (max(1, size // PART),) * 2)
        self._labels = np.zeros(self._image.shape, np.uint8)
        self._rng = np.random.default_rng(1)
        source = ImageSource(self._image, name="cells")
        view = FieldOfView((), (0, size), (0, size))
        self._window = HeadlessWindow(source, view, 2, self._show, device="cpu")

    def close(self) -> None:
        """End the threads."""
        self._window.close()

    def paint(self, label: int) -> None:
        """One stroke, mostly on one side of the border of a blob."""
        corner = (self._image.shape[0] - len(self._inside)) // 2 // PART * PART
        for start in self._rng.permutation(np.argwhere(self._inside == (label == 2))):
            spots = brush(start, 12, self._rng).clip(0, len(self._inside) - 1)
            if (self._inside[spots[:, 0], spots[:, 1]] == (label == 2)).mean() > 0.95:
                self._labels[spots[:, 0] + corner, spots[:, 1] + corner] = label
                return

    def learn(self) -> dict[str, Any]:
        """Seconds from the stroke to a classifier that knows it, and to sketches by size of their cells."""
        started, asked = time.perf_counter(), self._window.state.jobs
        found: dict[str, Any] = {"sketches": {}}
        pixels: Counter[int] = Counter()
        self._window.paint(self._labels)

        def over(event: msg.WorkerEvent) -> bool:
            now = time.perf_counter() - started
            match event:
                case msg.SnapshotTaken() if event.envelope.job > asked:
                    found["classifier"] = now
                case msg.TileDone() if event.envelope.job > asked and "classifier" in found:
                    if event.exact:
                        return bool(found["sketches"])
                    pixels[event.cell] += event.tile.pixels
                    if pixels[event.cell] == self._image.size:
                        found["sketches"][event.cell] = now
            return False

        self._window.run_until(over)
        return found

    def rest(self, seconds: float) -> None:
        """Let so much time pass."""
        self._window.rest(seconds)

    def _show(self, effect: act.Effect) -> None:
        """Nothing is drawn."""


def run(size: int, strokes: int) -> dict[str, Any]:
    """The first four strokes at once, with nothing remembered; then `strokes` more, one by one."""
    loop = Overview(size)
    try:
        for label in (1, 2, 1, 2):
            loop.paint(label)
        found = [loop.learn()]
        for number in range(strokes):
            loop.rest(LOOK)
            loop.paint(1 + number % 2)
            found.append(loop.learn())
    finally:
        loop.close()
    return {"first": found[0], "strokes": found[1:], "debounce": DEBOUNCE}


if __name__ == "__main__":
    print(json.dumps(run(*map(int, sys.argv[1:3]))))
