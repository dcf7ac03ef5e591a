"""Every way to change a Labels layer is noticed once, shortly after."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from bench import loop
from napari.layers import Labels

from napari_dsparse.gui.layers.paint_watch import DEBOUNCE_MILLISECONDS, STROKE_MILLISECONDS, PaintWatch


@pytest.fixture
def viewer(make_napari_viewer_proxy: Any) -> Any:
    return make_napari_viewer_proxy()


@pytest.fixture
def layer(viewer: Any) -> Labels:
    layer = Labels(np.zeros((32, 32), np.uint8))
    viewer.add_layer(layer)
    layer.paint((5, 5), 1)
    return layer


def replace_data(layer: Labels) -> None:
    layer.data = np.ones((32, 32), np.uint8)


def drag(layer: Labels) -> None:
    with layer.block_history():
        for column in range(5, 25):
            layer.paint((10, column), 2)


CHANGES: dict[str, Callable[[Labels], Any]] = {
    "painting": lambda layer: layer.paint((20, 20), 2),
    "a drag of the brush": drag,
    "filling": lambda layer: layer.fill((30, 30), 3),
    "erasing": lambda layer: layer.paint((5, 5), 0),
    "undo": lambda layer: layer.undo(),
    "new data": replace_data,
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_change_is_told_once(
    change: Callable[[Labels], Any], layer: Labels, viewer: Any, qtbot: Any
) -> None:
    watch = PaintWatch(viewer)
    watch.watch(layer)
    told: list[int] = []
    watch.changed.connect(lambda: told.append(1))
    change(layer)
    assert not told  # not before the brush rests
    qtbot.wait(4 * DEBOUNCE_MILLISECONDS)
    assert len(told) == 1
    watch.watch(None)


def test_redo_is_told_too(layer: Labels, viewer: Any, qtbot: Any) -> None:
    layer.undo()
    watch = PaintWatch(viewer)
    watch.watch(layer)
    with qtbot.waitSignal(watch.changed, timeout=2000):
        layer.redo()
    watch.watch(None)


def test_a_layer_no_longer_watched_is_no_longer_heard(layer: Labels, viewer: Any, qtbot: Any) -> None:
    watch = PaintWatch(viewer)
    watch.watch(layer)
    watch.watch(None)
    with qtbot.assertNotEmitted(watch.changed, wait=3 * DEBOUNCE_MILLISECONDS):
        layer.paint((20, 20), 2)


def test_another_plane_is_no_change_but_undo_beside_it_is(viewer: Any, qtbot: Any) -> None:
    stack = viewer.add_labels(np.zeros((3, 32, 32), np.uint8))
    stack.paint((1, 5, 5), 1)
    watch = PaintWatch(viewer)
    watch.watch(stack)
    with qtbot.assertNotEmitted(watch.changed, wait=3 * DEBOUNCE_MILLISECONDS):
        viewer.dims.set_current_step(0, 2)
    with qtbot.waitSignal(watch.changed, timeout=2000):
        stack.undo()
    with qtbot.waitSignal(watch.changed, timeout=2000):
        stack.data[2, 3, 3] = 2  # by a script, which tells it so
        stack.refresh()
    with qtbot.waitSignal(watch.changed, timeout=2000):
        stack.paint((2, 5, 5), 1)
        viewer.dims.set_current_step(0, 1)
    watch.watch(None)


def test_benchmarks_wait_as_long_as_the_window() -> None:
    assert STROKE_MILLISECONDS / 1000 == loop.DEBOUNCE
