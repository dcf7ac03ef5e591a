"""A study of six images in the real window, from an empty viewer to a table of objects: clicks and seconds.

    DSPARSE_DATA=... python -m bench.study [--set NAME] [--strokes N] [--pictures FOLDER] [--quick]

Six fields of an open set (halves of its first three images, as TIFF files) are added to the list; on three of
them a simulated user paints a stroke of every class and then corrects the largest error shown, with the
mouse, in napari's canvas; "Segment many…" writes the objects of all six, and one table of them is saved.
Every press of a button, a key or the mouse counts as one action, a stroke too, and a file dialog as two
(files chosen, Open). Seconds are those the user waits for the program, from the open dock on, and how long
the whole took at the speed of the simulated hand. Without a screen: under ``xvfb-run``.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray
from skimage.morphology import skeletonize
from skimage.segmentation import relabel_sequential

from bench import open_data
from bench.objects import f1, matches, outlined_samples
from bench.report import Report, program, table
from bench.users import Canvas, worst_error

TITLE = "A study of six images"
ABSENT = "Not measured: napari and a screen are needed (`xvfb-run` is one)."
#: Images that are painted on, by their place in the list.
PAINTED = (0, 2, 4)
#: Longest wait for anything, in seconds, and milliseconds between two positions of the mouse.
PATIENCE, STEP = 120.0, 4


@dataclass(slots=True)
class Field:
    """One of the six images: its file, class and outlined object of every pixel."""

    path: Path
    truth: NDArray[np.uint8]
    outlined: NDArray[np.integer]


@dataclass(slots=True)
class Effort:
    """Actions of a user by their kind, and seconds of waiting."""

    actions: dict[str, int] = field(default_factory=dict)
    waited: float = 0.0

    def count(self, kind: str, times: int = 1) -> None:
        """Note so many actions of a kind."""
        self.actions[kind] = self.actions.get(kind, 0) + times


def measure(
    quick: bool = False, set: str = "fluo_nuclei_dsb", strokes: int = 2, pictures: Path | None = None
) -> Report:
    """One study; `strokes` are corrections per painted image, after one stroke of every class."""
    if not open_data.DATA.is_dir():
        return Report(TITLE, open_data.ABSENT, {})
    if not has_screen():
        return Report(TITLE, ABSENT, {})
    with tempfile.TemporaryDirectory() as place:
        kept = os.environ.get("DSPARSE_USER_DATA")
        os.environ["DSPARSE_USER_DATA"] = str(Path(place) / "user")  # nothing of former sittings is offered
        try:
            fields = write_fields(set, Path(place) / "images")
            return Study(fields, 1 if quick else strokes, pictures).run(set)
        finally:
            os.environ.pop("DSPARSE_USER_DATA")
            if kept is not None:
                os.environ["DSPARSE_USER_DATA"] = kept


def has_screen() -> bool:
    """True if napari can open a window here."""
    screen = sys.platform != "linux" or "DISPLAY" in os.environ or "WAYLAND_DISPLAY" in os.environ
    return find_spec("napari") is not None and screen and os.environ.get("QT_QPA_PLATFORM") != "offscreen"


def write_fields(name: str, folder: Path) -> list[Field]:
    """Left and right halves of the first three images of a set, as TIFF files."""
    import tifffile

    folder.mkdir()
    fields = []
    for _, number, (image, truth, outlined) in outlined_samples(3, [name]):
        middle = truth.shape[1] // 2
        for side, columns in (("left", np.s_[:middle]), ("right", np.s_[middle:])):
            path = folder / f"{number}_{side}.tif"
            tifffile.imwrite(path, np.ascontiguousarray(image[:, columns]))
            objects = relabel_sequential(outlined[:, columns])[0].astype(int)
            fields.append(Field(path, truth[:, columns], objects))
    return fields


class Study:
    """The user at the window.

    Parameters
    ----------
    fields : sequence of Field
    corrections : int
        Per painted image.
    pictures : Path, optional
        Folder for a picture of the window after every stage.
    """

    def __init__(self, fields: Sequence[Field], corrections: int, pictures: Path | None) -> None:
        import napari

        self._fields, self._corrections, self._pictures = fields, corrections, pictures
        self._effort = Effort()
        self._viewer = napari.Viewer()
        self._viewer.window.resize(1280, 850)
        _, self._dock = self._viewer.window.add_plugin_dock_widget(
            "napari-dsparse", "Sparse-label segmentation"
        )
        self._effort.count("menu", 3)  # Plugins, napari-dsparse, the dock

    def run(self, name: str) -> Report:
        """All of it; closes the window."""
        started = time.perf_counter()
        try:
            self._add_files()
            for number in PAINTED:
                self._paint_on(number)
            saved = self._segment_all()
            seconds = time.perf_counter() - started
        finally:
            self._viewer.close()
        return self._report(name, saved, seconds)

    # -- stages ---------------------------------------------------------------------------------------------

    def _add_files(self) -> None:
        button = self._dock.panel.add_image_button
        choice = next(each for each in button.menu().actions() if each.text() == "Files…")
        with chosen_files([each.path for each in self._fields]):
            self._effort.count("click", 2)  # the button and the entry of its menu
            choice.trigger()
            self._effort.count("file dialog", 2)
        self._wait(lambda: len(self._dock.study.study.images) == len(self._fields))
        self._picture("added")

    def _paint_on(self, number: int) -> None:
        shown = self._dock.panel.images_list
        if number:  # the first is opened as there is none
            self._click(shown.viewport(), shown.visualItemRect(shown.item(number)).center())
        name, stem = self._fields[number].path.name, self._fields[number].path.stem
        self._wait(lambda: self._state.image in (name, stem) and self._controller.strokes.layer is not None)
        user = Canvas(self._fields[number].truth, seed=number)
        user.begin()
        for one in np.unique(user.labels[user.labels > 0]):
            self._stroke(int(one), user.labels == one)
        self._settle()
        for _ in range(self._corrections):
            before = user.labels.copy()
            user.stroke(*worst_error(user, self._on_screen(user.truth.shape), lambda: None))
            new = (user.labels != before) & (user.labels > 0)
            self._stroke(int(user.labels[new][0]), new)
            self._settle()
        self._picture(f"painted-{number}")

    def _segment_all(self) -> Path:
        self._click(self._dock.panel.batch_button)
        dialog = self._dock.batch.dialog
        for check in (dialog.batch_objects_check, dialog.batch_measurements_check):
            if not check.isChecked():
                self._click(check)
        self._click(dialog.batch_start_button)
        self._wait(lambda: dialog.batch_cancel_button.isVisible() or dialog.batch_copy_button.isEnabled())
        self._wait(lambda: dialog.batch_copy_button.isEnabled())
        self._picture("batch", dialog)
        folder = Path(dialog.batch_output_edit.text())
        target = folder / "study.csv"
        with chosen_files([target]):
            self._effort.count("file dialog", 2)
            self._click(dialog.batch_measured_button)
        self._wait(target.exists)
        self._picture("saved", dialog)
        dialog.hide()
        return target

    # -- hand and eye ---------------------------------------------------------------------------------------

    @property
    def _controller(self) -> Any:
        return self._dock.controller

    @property
    def _state(self) -> Any:
        return self._controller.state

    def _click(self, widget: Any, place: Any = None) -> None:
        from qtpy.QtCore import QPoint, Qt
        from qtpy.QtTest import QTest

        if place is None:
            place = QPoint(8, widget.height() // 2)
        QTest.mouseClick(widget, Qt.MouseButton.LeftButton, pos=place)
        self._effort.count("click")

    def _stroke(self, number: int, mask: NDArray[np.bool_]) -> None:
        """Press the key of a class if another is in hand, and draw through the pixels of `mask`."""
        from qtpy.QtCore import QEvent, QPointF, Qt
        from qtpy.QtGui import QMouseEvent
        from qtpy.QtTest import QTest
        from qtpy.QtWidgets import QApplication

        from napari_dsparse.gui.widgets.canvas_focus import canvas_of

        canvas = canvas_of(self._dock)
        layer = self._controller.strokes.layer
        layer.brush_size = 3
        if self._state.brush != number:
            QTest.keyClick(canvas, str(number))
            self._effort.count("key")
            self._wait(lambda: self._state.brush == number)
        before = int((np.asarray(layer.data) == number).sum())
        points = [self._on_canvas(place, canvas) for place in path_of(mask)]
        left, none, plain = Qt.MouseButton.LeftButton, Qt.MouseButton.NoButton, Qt.KeyboardModifier.NoModifier

        def send(kind: QEvent.Type, point: Any, button: Any, held: Any) -> None:
            place, on_screen = QPointF(point), QPointF(canvas.mapToGlobal(point))
            QApplication.sendEvent(canvas, QMouseEvent(kind, place, on_screen, button, held, plain))
            QTest.qWait(STEP)

        send(QEvent.Type.MouseMove, points[0], none, none)
        send(QEvent.Type.MouseButtonPress, points[0], left, left)
        for point in points[1:]:
            send(QEvent.Type.MouseMove, point, none, left)
        send(QEvent.Type.MouseButtonRelease, points[-1], left, none)
        self._effort.count("stroke")
        if int((np.asarray(layer.data) == number).sum()) == before:
            raise RuntimeError("The mouse painted nothing; is the window on a screen?")

    def _on_canvas(self, place: tuple[int, int], canvas: Any) -> Any:
        """Position of a pixel of the image in front on the canvas."""
        from qtpy.QtCore import QPoint

        from napari_dsparse.gui.layers.viewer import camera_of

        layer = self._controller.strokes.layer
        camera = camera_of(self._viewer)
        world = np.asarray(layer.data_to_world(place))[-2:]
        row, column = (world - np.asarray(camera.center)[-2:]) * camera.zoom
        return QPoint(round(canvas.width() / 2 + column), round(canvas.height() / 2 + row))

    def _on_screen(self, shape: tuple[int, ...]) -> NDArray[np.integer]:
        """The segmentation as it is shown; 0 where there is none yet."""
        name = f"{self._state.image} segmentation"
        layer = next((each for each in self._viewer.layers if each.name == name), None)
        return np.zeros(shape, int) if layer is None else np.asarray(layer.data)

    def _settle(self) -> None:
        """Wait until all that is on screen is exact and by the newest paint."""
        from napari_dsparse.live.state import Training

        painted = time.perf_counter()
        self._wait(lambda: time.perf_counter() > painted + 0.3)  # the brush rests
        self._wait(
            lambda: (
                self._state.training is Training.STEADY
                and not self._state.predicting
                and not self._state.sketched
                and not self._state.view_due
            )
        )

    def _wait(self, condition: Callable[[], bool]) -> None:
        from qtpy.QtWidgets import QApplication

        started = time.perf_counter()
        while not condition():
            if time.perf_counter() > started + PATIENCE:
                raise RuntimeError(f"Waited in vain; the dock says: {self._dock.panel.status_label.text()}")
            QApplication.processEvents()
            time.sleep(0.002)
        self._effort.waited += time.perf_counter() - started

    def _picture(self, name: str, widget: Any = None) -> None:
        if self._pictures is None:
            return
        self._pictures.mkdir(parents=True, exist_ok=True)
        file = str(self._pictures / f"{name}.png")
        if widget is None:
            self._viewer.screenshot(file, canvas_only=False, flash=False)
        else:
            widget.grab().save(file)

    # -- result ---------------------------------------------------------------------------------------------

    def _report(self, name: str, saved: Path, seconds: float) -> Report:
        import pandas as pd
        import tifffile

        measured = pd.read_csv(saved)
        rows, counts = [], np.zeros(3, int)
        for number, each in enumerate(self._fields):
            found = tifffile.imread(saved.parent / f"{each.path.stem}_objects.ome.tif")
            numbered = np.unique(np.where(each.truth == 0, 0, found), return_inverse=True)[1]
            one = matches(numbered.reshape(found.shape), each.outlined)
            counts += one
            in_table = int((measured["image"] == each.path.name).sum())
            painted = "yes" if number in PAINTED else ""
            rows.append((each.path.stem, painted, in_table, int(one[2]), f"{f1(one):.3f}"))
        actions = self._effort.actions
        plural = {"click": "clicks", "key": "keys", "stroke": "strokes"}
        what = ", ".join(f"{count} {plural.get(kind, f'in {kind}s')}" for kind, count in actions.items())
        text = table(("image", "painted", "objects in the table", "outlined", "F1 at IoU 0.5"), rows)
        text += (
            f"\n\n{name}: {sum(actions.values())} actions ({what}) from an empty viewer to a table of the "
            f"objects of all six. {self._effort.waited:.0f} s of waiting; {seconds:.0f} s in all, by a hand "
            f"that never hesitates. F1 over the six: {f1(counts):.3f}."
        )
        numbers = {"actions": actions, "waited": self._effort.waited, "seconds": seconds, "f1": f1(counts)}
        return Report(TITLE, text, numbers)


@contextmanager
def chosen_files(paths: Sequence[Path]) -> Iterator[None]:
    """Within, the user chooses these paths in every file dialog."""
    from qtpy.QtWidgets import QFileDialog

    names = [str(path) for path in paths]
    answers = {"getOpenFileNames": (names, ""), "getSaveFileName": (names[0], "")}
    with ExitStack() as stack:
        for method, answer in answers.items():
            stack.enter_context(patch.object(QFileDialog, method, lambda *a, answer=answer, **k: answer))
        yield


def path_of(mask: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Pixels along the middle of a stroke, from one end to the other."""
    left = np.argwhere(skeletonize(mask) if mask.sum() > 3 else mask)
    neighbours = (np.abs(left[:, None] - left[None]).max(2) == 1).sum(1)
    place = int(neighbours.argmin())  # an end has one neighbour
    path = []
    while True:
        here, left = left[place], np.delete(left, place, axis=0)
        path.append((int(here[0]), int(here[1])))
        if not len(left):
            return path
        place = int(((left - here) ** 2).sum(1).argmin())


if __name__ == "__main__":
    program(
        __doc__,
        measure,
        own={
            "set": (str, "open set with outlined objects (default: fluo_nuclei_dsb)"),
            "strokes": (int, "corrections per painted image (default: 2)"),
            "pictures": (Path, "folder for pictures of the window"),
        },
    )
