"""Windows killed -9 over and over while they paint, save by themselves, open and are saved: nothing is lost.

`python -m tests.killing_windows --kills 100 FOLDER` goes on with the same strokes in window after window, in
a project and in none, and says what it found. What may be lost is what was painted since the last saving.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import select
import shutil
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

ROOT = Path(__file__).parents[1]
EDGE = 480
#: Rows and columns between strokes.
STEP = 12, 24
#: Seconds to wait for a window on a busy machine, and the longest that one paints.
PATIENCE, LONGEST = 240.0, 8.0


def places() -> list[tuple[int, int]]:
    """Row and column of every stroke, in the order of painting."""
    return [(row, column) for row in range(6, EDGE - 6, STEP[0]) for column in range(6, EDGE - 16, STEP[1])]


def paint(layer: Any, number: int) -> None:
    """Paint stroke `number` as the brush does."""
    row, column = places()[number]
    layer.brush_size = 3
    with layer.block_history():
        for step in range(8):
            layer.paint((row, column + step), 1 + number % 2)


def every_stroke() -> np.ndarray:
    """Number of the stroke, from 1, at every pixel; 0 where none is."""
    from napari.layers import Labels

    found = np.zeros((EDGE, EDGE), np.int32)
    layer = Labels(np.zeros((EDGE, EDGE), np.uint8))
    for number in range(len(places())):
        before = layer.data.copy()
        paint(layer, number)
        found[before != layer.data] = number + 1
    return found


def strokes_in(labels: np.ndarray, order: np.ndarray) -> int:
    """Number of strokes in labels, which must be the first ones, whole.

    Raises
    ------
    AssertionError
        If they are anything else.
    """
    count = int(order[labels > 0].max(initial=0))
    expected = np.where((order > 0) & (order <= count), 1 + (order - 1) % 2, 0)
    assert np.array_equal(labels, expected), f"the labels are not those of the first {count} strokes"
    return count


# -- the window ---------------------------------------------------------------------------------------------


def work(image: Path, folder: Path | None, seed: int, out: int, order: np.ndarray) -> None:
    """Open what there is, and paint on, in a window; `folder` is the project, None for none.

    Tells, a line each, `open N` strokes, `painted N`, and `saved N`.
    """
    import napari
    from qtpy.QtTest import QTest

    from napari_dsparse.gui import project_desk

    def tell(what: str, count: int) -> None:
        os.write(out, f"{what} {count}\n".encode())

    def wait(condition: Any) -> None:
        end = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < end, "waited in vain"
            QTest.qWait(10)

    project_desk.AUTOSAVE_SECONDS = 0.15
    draw = random.Random(seed)
    viewer = napari.Viewer(show=False)
    _, dock = viewer.window.add_plugin_dock_widget("napari-dsparse", "Sparse-label segmentation")
    dock.panel.live_check.setChecked(False)
    projects, unsaved, study = dock.projects, dock.unsaved, dock.study.study
    projects.wait_and_tell()
    if folder is not None and folder.exists():
        projects.open(folder)
        wait(lambda: study.images)
    elif folder is None and unsaved._offered:
        dock.panel.unsaved_notice.open_button.click()
        wait(lambda: study.images)
    elif folder is None and seed % 2:
        viewer.add_image(tifffile.imread(image), name="pixels")  # an image in no file, and beside the list
        dock.panel.new_labels_button.click()
    else:
        dock.study.add_files([image])
        wait(lambda: study.images)
        dock.study.pick(0)
        if folder is not None:
            projects.save_as(folder)
    wait(lambda: dock.controller.strokes.layer is not None)
    layer = dock.controller.strokes.layer
    count = strokes_in(np.asarray(layer.data), order)
    tell("open", count)

    def all_saved() -> bool:
        images = study.images or unsaved.others.images
        seen = images and images[0].labels is not None and np.array_equal(images[0].labels, layer.data)
        if folder is not None:
            return bool(seen and projects.holds_list and not projects.unsaved)
        return bool(seen and unsaved._changes == unsaved._kept)

    while count < len(places()):
        for _ in range(draw.randrange(1, 5)):
            paint(layer, min(count, len(places()) - 1))
            count += 1
            tell("painted", count)
            QTest.qWait(draw.randrange(1, 60))
        if draw.random() < 0.6:
            wait(all_saved)
            tell("saved", count)
    time.sleep(PATIENCE)


def start(image: Path, folder: Path | None, seed: int, order: np.ndarray) -> tuple[int, int]:
    """Begin a window in a child process; its number, and where it tells."""
    reading, writing = os.pipe()
    child = os.fork()
    if child:
        os.close(writing)
        return child, reading
    try:
        os.close(reading)
        said = os.fdopen(os.dup(2), "w")
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        work(image, folder, seed, writing, order)
    finally:
        traceback.print_exc(file=said)
        said.flush()
        os._exit(70)


# -- killing ------------------------------------------------------------------------------------------------


def listen(reading: int, until: float) -> list[tuple[str, int]]:
    """Lines told until that time, or until `open` is told if it is infinite."""
    told, rest = [], b""
    end = min(until, time.monotonic() + PATIENCE)
    while (left := end - time.monotonic()) > 0:
        if not select.select([reading], [], [], left)[0]:
            break
        got = os.read(reading, 2**16)
        assert got, "the window ended by itself"
        *lines, rest = (rest + got).split(b"\n")
        told += [(line.split()[0].decode(), int(line.split()[1])) for line in lines]
        if until == float("inf") and told:
            return told
    assert until != float("inf"), "the window did not open"
    return told


def kept_in(folder: Path | None, home: Path, order: np.ndarray) -> int:
    """Strokes that the next window would find; 0 for none."""
    import napari_dsparse as nd
    from napari_dsparse.live.unsaved import find_unsaved

    if folder is None:
        found = find_unsaved(home)
        assert all(each.problem is None for each in found), found
        there = [each.folder for each in found]
    else:
        there = [folder] if folder.exists() else []
    most = 0
    for place in there:
        with nd.Project.open(place) as project:  # the lock of the dead is taken over
            for image in project.images:
                most = max(most, strokes_in(project.strokes(image), order))
    return most


def kill_over_and_over(base: Path, kills: int, seed: int) -> dict[str, object]:
    """Kill windows at random moments, each going on with what the one before left.

    Raises
    ------
    AssertionError
        If anything was lost that was saved, or is not whole.
    """
    draw, order = random.Random(seed), every_stroke()
    image = base / "image.tif"
    tifffile.imwrite(image, np.random.default_rng(0).integers(0, 255, (EDGE, EDGE)).astype(np.uint8))
    home = Path(os.environ["DSPARSE_USER_DATA"]) / "unsaved"
    safe: dict[bool, int] = {False: 0, True: 0}  # strokes known to be saved, in no project and in one
    figures = {"kills": 0, "while opening": 0, "strokes painted": 0, "strokes lost, at most, in a kill": 0}
    while figures["kills"] < kills:
        number = figures["kills"]
        in_project = bool(number % 2)
        folder = base / "study.dsparse" if in_project else None
        child, reading = start(image, folder, seed + number // 2, order)
        opening = draw.random() < 0.2
        if opening:
            told = listen(reading, time.monotonic() + draw.uniform(0, 6))
        else:
            told = listen(reading, float("inf"))
            told += listen(reading, time.monotonic() + draw.uniform(0, LONGEST))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status), "the window ended by itself"
        told += rest_of(reading)
        opened = [count for what, count in told if what == "open"]
        assert all(count >= safe[in_project] for count in opened), (opened, safe)
        saved = max([safe[in_project], *(count for what, count in told if what in ("saved", "open"))])
        painted = max([saved, *(count for _, count in told)])
        kept = kept_in(folder, home, order)
        assert saved <= kept <= painted + 1, (number, told, safe, kept)
        safe[in_project] = kept
        if kept > len(places()) - 100:  # the image is full: begin anew
            shutil.rmtree(folder or home)
            safe[in_project] = 0
        figures["kills"] += 1
        figures["while opening"] += not opened
        figures["strokes painted"] += painted - max([0, *opened[:1]]) if opened else 0
        lost = "strokes lost, at most, in a kill"
        figures[lost] = max(figures[lost], painted - kept)
    return {**figures, "strokes there at the end": safe[False] + safe[True]}


def rest_of(reading: int) -> list[tuple[str, int]]:
    """Whole lines that are still in the pipe of a window that is no more."""
    with os.fdopen(reading, "rb") as pipe:
        lines = pipe.read().split(b"\n")[:-1]
    return [(line.split()[0].decode(), int(line.split()[1])) for line in lines if len(line.split()) == 2]


def run() -> None:
    """Kill as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("folder", type=Path, help="an empty folder to work in")
    given = parser.parse_args()
    os.environ["DSPARSE_USER_DATA"] = str(given.folder / "user")
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    # Loaded once for all children: only what computes must not be forked.
    import napari
    import napari._qt.qt_main_window  # noqa: F401

    import napari_dsparse.gui.dock  # noqa: F401

    json.dump(kill_over_and_over(given.folder, given.kills, given.seed), sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    run()
