"""A real napari viewer with the dock open, and the actions of a user."""

from __future__ import annotations

import gc
import itertools
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari.layers import Image, Labels
from qtpy.QtCore import QEvent
from qtpy.QtWidgets import QApplication, QWidget

from napari_dsparse.gui.dock import SegmentationDock
from napari_dsparse.live.state import LiveState, Training

#: A round of training, a whole small image: generous, for machines that several tests share.
PATIENCE = 60_000


class Desk:
    """A viewer, the dock in it, and what a user does with them."""

    def __init__(self, viewer: Any, dock: SegmentationDock, qtbot: Any) -> None:
        self.viewer, self.dock, self.qtbot = viewer, dock, qtbot

    @property
    def session(self) -> LiveState:
        return self.dock.controller.state

    def find(self, name: str) -> Any:
        """The control of that object name."""
        control = self.dock.findChild(QWidget, name)
        assert control is not None, f"there is no {name}"
        return control

    def click(self, name: str) -> None:
        """Press a button, which must be enabled."""
        assert self.find(name).isEnabled(), f"{name} cannot be pressed: {self.status}"
        self.find(name).click()

    def add_files(self, paths: Sequence[Path]) -> None:
        """Drop files on the list, and wait until they are read."""
        self.dock.study.add_files(paths)
        self.dock.study.wait()

    def strokes_of(self, number: int) -> int:
        """Number of strokes of class `number` counted so far."""
        counts = self.session.counts
        return counts[number - 1][0] if number <= len(counts) else 0

    @property
    def status(self) -> str:
        return str(self.find("status_label").text())

    def wait(self, condition: Callable[[], bool], timeout: int = PATIENCE) -> None:
        """Let the program run until `condition` holds."""
        try:
            self.qtbot.waitUntil(condition, timeout=timeout)
        except AssertionError:
            pytest.fail(f"waited in vain; the status is: {self.status}")

    def layer(self, name: str) -> Any:
        """The layer itself, not napari's proxy of it."""
        return next(getattr(one, "__wrapped__", one) for one in self.viewer.layers if one.name == name)

    def has_layer(self, name: str) -> bool:
        return any(layer.name == name for layer in self.viewer.layers)

    def paint(self, layer: Labels, number: int, *points: tuple[float, ...], size: int = 6) -> None:
        """Draw one stroke through `points`, in data coordinates, as the brush does."""
        layer.selected_label = number
        layer.brush_size = size
        with layer.block_history():
            for start, stop in itertools.pairwise(points):
                for share in np.linspace(0, 1, 8):
                    layer.paint(tuple(np.add(start, share * np.subtract(stop, start))), number)

    def begin_round(self, layer: Labels) -> None:
        """Paint two classes, let them be learned, and press Train again: gradient steps are being taken."""
        self.paint_two_classes(layer)
        self.wait(lambda: self.session.training is Training.STEADY)
        self.click("train_button")
        self.wait(lambda: self.session.progress is not None and self.session.progress.step > 0)

    def paint_two_classes(self, layer: Labels, plane: tuple[int, ...] = ()) -> None:
        """Two strokes of class 1 on the left half, two of class 2 on the right half."""
        height, width = layer.data.shape[-2:]
        for number, column in ((1, 0.25), (2, 0.75)):
            for row in (0.25, 0.75):
                y, x = row * height, column * width
                self.paint(layer, number, (*plane, y - 6, x - 8), (*plane, y + 6, x + 8))


def two_textures(shape: tuple[int, int] = (96, 128), seed: int = 0) -> np.ndarray:
    """Dark smooth left half, bright rough right half: any classifier tells them apart."""
    rng = np.random.default_rng(seed)
    image = rng.normal(60, 4, shape)
    image[:, shape[1] // 2 :] += 60 + rng.normal(0, 20, (shape[0], shape[1] - shape[1] // 2))
    return image.clip(0, 255).astype(np.uint8)


def open_desks(make_napari_viewer_proxy: Any, qtbot: Any, request: Any) -> Iterator[Callable[..., Desk]]:
    """Opens the dock over images; once the window is closed, no thread and no widget of ours may be left."""
    docks: list[weakref.ref[Any]] = []
    viewers: list[Any] = []

    def open_desk(*layers: Image | Labels, show: bool = False) -> Desk:
        viewer = make_napari_viewer_proxy(show=show)
        for layer in layers:
            viewer.add_layer(layer)
        _, dock = viewer.window.add_plugin_dock_widget("napari-dsparse", "Sparse-label segmentation")
        viewers.append(viewer)
        docks.append(weakref.ref(dock))
        return Desk(viewer, dock, qtbot)

    yield open_desk

    while viewers:
        viewers.pop().close()
    qtbot.waitUntil(lambda: not working_threads(), timeout=5000)
    if not request.node.rep_call.failed:  # a traceback holds on to everything
        qtbot.waitUntil(lambda: all_gone(docks), timeout=5000)


def all_gone(docks: Sequence[weakref.ref[Any]]) -> bool:
    """False while a dock outlives its window; what Qt was asked to delete is deleted first."""
    QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete.value)
    QApplication.processEvents()
    gc.collect()
    return all(dock() is None for dock in docks)


def working_threads() -> list[str]:
    """Names of our threads that are alive."""
    return [
        thread.name for thread in threading.enumerate() if thread.name in ("trainer", "predictor", "batch")
    ]


def reopen(at: Desk) -> Desk:
    """Close the dock alone, as its cross does, and open it again."""
    at.viewer.window.remove_dock_widget(at.dock.parent())
    at.qtbot.wait(50)
    _, dock = at.viewer.window.add_plugin_dock_widget("napari-dsparse", "Sparse-label segmentation")
    return Desk(at.viewer, dock, at.qtbot)
