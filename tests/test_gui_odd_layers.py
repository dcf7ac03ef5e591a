"""Whatever layers are open and whatever is typed, the dock works or says one clear sentence."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from napari.layers import Image, Labels
from napari.utils.notifications import notification_manager
from tests import odd_layers as odd

from gui_session import Desk
from napari_dsparse.gui import numbered_layers
from napari_dsparse.gui.widgets.class_table import NAME
from napari_dsparse.live.state import Training

pytestmark = pytest.mark.filterwarnings("ignore")  # of numpy and napari, on values that are odd


@contextmanager
def told(at: Desk, what: str) -> Iterator[None]:
    """Within, napari shows no notification; what the dock says is one sentence, without a traceback."""
    before = len(notification_manager.records)
    yield
    new = [str(each.message) for each in list(notification_manager.records)[before:]]
    assert not new, f"{what}: {new}"
    assert "Traceback" not in at.status, what
    assert len(at.status) < 700, what


def made(data: Any) -> Any:
    return data() if callable(data) else data


def learns(at: Desk) -> bool:
    """True once it has learned, False if it said why it does not."""
    at.wait(lambda: at.session.problem is not None or at.session.training is Training.STEADY)
    return at.session.problem is None


def paint(layer: Any) -> None:
    """Two classes in two corners of the last plane."""
    data = np.array(layer.data)
    rows, columns = (max(1, n // 3) for n in data.shape[-2:])
    last = data.reshape(-1, *data.shape[-2:])[-1]
    last[:rows, :columns], last[-rows:, -columns:] = 1, 2
    layer.data = data


@pytest.mark.slow
def test_images_strokes_and_names(desk: Callable[..., Desk], monkeypatch: pytest.MonkeyPatch) -> None:
    at = desk()
    for what, data, options, comes in odd.IMAGES:
        with told(at, what):
            at.viewer.add_layer(Image(made(data), **options))
            if comes not in ("right", "New") and not at.find("new_labels_button").isEnabled():
                assert comes in at.status, what
            else:
                at.click("new_labels_button")
                assert at.find("labels_combo").layer is not None, what
                if comes != "New":
                    paint(at.find("labels_combo").layer)
                    assert learns(at) == (comes == "right"), f"{what}: {at.status}"
                    assert comes == "right" or comes in at.status, what
            at.viewer.layers.clear()

    asked: list[str] = []
    monkeypatch.setattr(
        numbered_layers, "ask_about_instances", lambda *given, few, mappable: asked.append("objects")
    )
    at.viewer.add_layer(Image(odd.IMAGE, name="image"))
    for what, data, options, comes in odd.LABELS:
        asked.clear()
        with told(at, what):
            layer = Labels(made(data), name="odd", **options)
            at.viewer.add_layer(layer)
            combo = at.find("labels_combo")
            combo.setCurrentIndex(combo.findText("odd"))
            if comes == "right":
                assert learns(at), f"{what}: {at.status}"
            elif comes == "one more":
                at.wait(lambda: "paint a stroke" in at.status.lower())
            elif comes != "objects":
                at.wait(lambda word=comes: word in at.status)
            assert (comes == "objects") == bool(asked), what
            at.viewer.layers.remove(layer)

    at.click("new_labels_button")
    table = at.find("class_table")
    for typed, name in odd.NAMES:
        before = at.session.classes[1].name
        with told(at, repr(typed)):
            table.item(1, NAME).setText(typed)
            wanted = before if name is None else name
            assert at.session.classes[1].name == wanted, repr(typed)
            assert table.item(1, NAME).text() == wanted, repr(typed)


def test_the_table_is_as_long_as_it_says() -> None:
    assert len(odd.IMAGES) + len(odd.LABELS) + len(odd.NAMES) >= 45
