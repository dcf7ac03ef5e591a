"""Take the README's picture: the real napari on a bundled sample, strokes painted, the model at rest.

    python docs/take_screenshot.py                      # docs/images/screenshot.png
    python docs/take_screenshot.py --theme light --output /tmp/light.png

Without a screen: ``xvfb-run -a -s "-screen 0 1400x950x24" python docs/take_screenshot.py``.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import napari
import numpy as np
from qtpy.QtWidgets import QApplication

from napari_dsparse.live.state import Training
from napari_dsparse.samples import load

#: Brush strokes in the picture, of each class: enough to say how well it is likely to be found.
STROKES_PER_CLASS = 6
#: Longest wait for training and for the whole image, in seconds.
PATIENCE = 300.0


def wait(condition: Callable[[], bool]) -> None:
    """Let napari run until `condition` holds."""
    end = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > end:
            raise SystemExit("It took too long; see what the status line of the window says.")
        QApplication.processEvents()
        time.sleep(0.01)


def more_strokes(painted: np.ndarray, truth: np.ndarray) -> Iterator[np.ndarray]:
    """`painted` with short strokes inside the classes, one more each time, away from those there are."""
    rng = np.random.default_rng(3)
    strokes = painted.copy()
    for _ in range(STROKES_PER_CLASS - 2):
        for number in (1, 2):
            inside = truth == number
            for _ in range(200):
                row, column = (int(rng.integers(40, size - 60)) for size in truth.shape)
                window = np.s_[row : row + 3, column : column + 16]
                around = np.s_[row - 40 : row + 43, column - 40 : column + 56]
                if inside[window].all() and not (strokes[around] == number).any():
                    strokes[window] = number
                    yield strokes.copy()
                    break


def main() -> None:
    """Read the command line, take the picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--sample", default="nuclei")
    parser.add_argument("--theme", default="dark", choices=["dark", "light"])
    parser.add_argument("--size", default="1400x900", help="of the window, in pixels")
    default = Path(__file__).parent / "images" / "screenshot.png"
    parser.add_argument("--output", type=Path, default=default)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["DSPARSE_USER_DATA"] = folder  # nothing is kept, and nothing that was kept is offered
        take(options)
    print(options.output)


def take(options: argparse.Namespace) -> None:
    """Open, paint, train, segment, save the picture."""
    viewer = napari.Viewer()
    viewer.theme = options.theme
    width, height = (int(number) for number in options.size.split("x"))
    viewer.window.resize(width, height)
    viewer.open_sample("napari-dsparse", options.sample)
    strokes = viewer.layers[f"{options.sample} strokes"]
    _, dock = viewer.window.add_plugin_dock_widget("napari-dsparse", "Sparse-label segmentation")
    controller = dock.controller
    wait(lambda: controller.state.training is Training.STEADY)
    for painted in more_strokes(np.asarray(strokes.data), load(options.sample).truth):
        before = controller.state.progress
        strokes.data = painted
        wait(lambda before=before: controller.state.progress is not before)
        wait(lambda: controller.state.training is Training.STEADY)
    dock.panel.predict_button.click()
    wait(lambda: controller.state.complete)
    controller.strokes.pick_class(2)
    controller.changed.emit(replace(controller.state, note=None))  # the lasting sentence, with the figure
    settled = time.monotonic() + 1
    wait(lambda: time.monotonic() > settled)  # the dock lays itself out anew where the progress bar was
    options.output.parent.mkdir(parents=True, exist_ok=True)
    viewer.screenshot(str(options.output), canvas_only=False, flash=False)
    viewer.close()


if __name__ == "__main__":
    main()
