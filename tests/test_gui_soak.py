"""A long sitting, pressed into a minute: memory, threads and open files stay as they were.

`DSPARSE_SOAK=600 python -m pytest tests/test_gui_soak.py -s` is a day of it, and prints what it measures.
"""

from __future__ import annotations

import gc
import os
import statistics
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import pytest
from napari.layers import Image, Labels
from qtpy.QtWidgets import QFileDialog

from gui_session import Desk, two_textures
from napari_dsparse.live.state import Training

pytestmark = [pytest.mark.alone, pytest.mark.first]

#: Rounds; in each of them two strokes are painted and taken back, everything else happens now and then.
ROUNDS = int(os.environ.get("DSPARSE_SOAK", "21"))
#: Rounds that do not count: caches fill, code is loaded.
WARM = 6

#: Growth from the first rounds that count to the last ones, beyond which something is kept.
MEGABYTES, FILES, THREADS = 40.0, 2, 2


@dataclass(frozen=True, slots=True)
class Reading:
    """Holdings of the process after a round, and the seconds that a stroke took to be learned."""

    megabytes: float
    files: int
    threads: int
    seconds: float


def read(seconds: float) -> Reading:
    gc.collect()
    process = psutil.Process()
    files = process.num_fds() if hasattr(process, "num_fds") else process.num_handles()
    return Reading(process.memory_info().rss / 2**20, files, threading.active_count(), seconds)


def learned(at: Desk, strokes: Labels, number: int, row: float) -> float:
    """Paint a stroke and wait until it is learned; the seconds that takes."""
    width = strokes.data.shape[1]
    column = (0.2, 0.7)[number - 1] * width
    before = at.strokes_of(number)
    started = time.perf_counter()
    at.paint(strokes, number, (row, column), (row, column + 8))
    at.wait(lambda: at.strokes_of(number) != before)
    at.wait(lambda: at.session.training is Training.STEADY)
    return time.perf_counter() - started


def test_a_long_sitting_keeps_nothing(
    desk: Callable[..., Desk], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = desk(*(Image(two_textures(seed=seed), name=f"image {seed}") for seed in range(2)))
    at.find("image_combo").setCurrentText("image 0")
    at.click("new_labels_button")
    strokes = at.layer("image 0 strokes")
    at.paint_two_classes(strokes)
    at.wait(lambda: at.session.training is Training.STEADY)
    readings = []
    for number in range(ROUNDS):
        seconds = learned(at, strokes, 1 + number % 2, 44.0 + number % 8)
        strokes.undo()
        at.wait(lambda: at.strokes_of(1) == at.strokes_of(2) == 2)
        at.wait(lambda: at.session.training is Training.STEADY)
        if number % 3 == 0:
            at.click("predict_button")
            at.wait(lambda: at.session.whole is None and at.has_layer("image 0 segmentation"))
        if number % 5 == 0:
            path = tmp_path / f"{number}.ome.tif"
            monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *a, path=path, **k: (str(path), ""))
            at.click("export_button")
            at.wait(path.exists)
            path.unlink()
        if number % 7 == 0:
            at.find("image_combo").setCurrentText("image 1")
            at.wait(lambda: at.session.image == "image 1")
            at.find("image_combo").setCurrentText("image 0")
            at.wait(lambda: at.strokes_of(1) == at.strokes_of(2) == 2)
            at.wait(lambda: at.session.training is Training.STEADY)
        if number >= WARM:
            readings.append(read(seconds))
    third = max(1, len(readings) // 3)
    first, last = readings[:third], readings[-third:]
    for name, most in (("megabytes", MEGABYTES), ("files", FILES), ("threads", THREADS)):
        before, after = (statistics.median(getattr(one, name) for one in part) for part in (first, last))
        print(f"{name}: {before:.0f} -> {after:.0f}")
        assert after - before <= most, f"{name}: {before} -> {after}"
    before, after = (statistics.median(one.seconds for one in part) for part in (first, last))
    print(f"seconds of a stroke: {before:.3f} -> {after:.3f}")
    assert after < 3 * before, "strokes take longer and longer"  # loosely: the machine may be busy
    assert np.asarray(strokes.data).max() == 2
