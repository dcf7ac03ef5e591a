"""Every way to change a Labels layer is noticed once, shortly after."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from napari.layers import Labels

from napari_dsparse.gui.layers.paint_watch import DEBOUNCE_MILLISECONDS, PaintWatch


@pytest.fixture
def layer(make_napari_viewer_proxy: Any) -> Labels:
    layer = Labels(np.zeros((32, 32), np.uint8))
    make_napari_viewer_proxy().add_layer(layer)
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
def test_a_change_is_told_once(change: Callable[[Labels], Any], layer: Labels, qtbot: Any) -> None:
    watch = PaintWatch()
    watch.watch(layer)
    told: list[int] = []
    watch.changed.connect(lambda: told.append(1))
    change(layer)
    assert not told  # not before the brush rests
    qtbot.wait(4 * DEBOUNCE_MILLISECONDS)
    assert len(told) == 1
    watch.watch(None)


def test_redo_is_told_too(layer: Labels, qtbot: Any) -> None:
    layer.undo()
    watch = PaintWatch()
    watch.watch(layer)
    with qtbot.waitSignal(watch.changed, timeout=2000):
        layer.redo()
    watch.watch(None)


def test_a_layer_no_longer_watched_is_no_longer_heard(layer: Labels, qtbot: Any) -> None:
    watch = PaintWatch()
    watch.watch(layer)
    watch.watch(None)
    with qtbot.assertNotEmitted(watch.changed, wait=3 * DEBOUNCE_MILLISECONDS):
        layer.paint((20, 20), 2)
