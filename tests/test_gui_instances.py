"""Layers of numbered objects: never learned from unasked, and of use in three ways."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from napari.layers import Image, Labels

from gui_session import Desk, two_textures
from napari_dsparse.gui import numbered_layers
from napari_dsparse.gui.layers.instances import looks_like_instances
from napari_dsparse.gui.widgets.class_dialogs import InstancesDialog, Numbered


def objects(count: int, step: int = 1) -> Labels:
    """Small squares, numbered 1, 1 + step, ..."""
    data = np.zeros((96, 128), np.int32)
    for index in range(count):
        row, column = divmod(index, 12)
        data[4 + 10 * row : 8 + 10 * row, 4 + 10 * column : 8 + 10 * column] = 1 + index * step
    return Labels(data, name="cells")


def answer(monkeypatch: pytest.MonkeyPatch, with_: Numbered) -> list[tuple[str, bool]]:
    asked: list[tuple[str, bool]] = []

    def ask(parent: object, name: str, *, few: bool) -> Numbered:
        asked.append((name, few))
        return with_

    monkeypatch.setattr(numbered_layers, "ask_about_instances", ask)
    return asked


def open_over(desk: Callable[..., Desk], layer: Labels) -> Desk:
    at = desk(Image(two_textures(), name="textures"), layer)
    assert at.session.strokes is None, "nothing is learned unasked"
    return at


def test_one_class_is_made_of_them_in_a_new_layer(
    desk: Callable[..., Desk], monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = objects(40)
    before = layer.data.copy()
    at = open_over(desk, layer)
    asked = answer(monkeypatch, Numbered.ONE_CLASS)
    learned_from: set[str | None] = set()
    at.dock.controller.changed.connect(lambda state: learned_from.add(state.strokes))
    at.find("labels_combo").setCurrentText("cells")
    assert asked == [("cells", True)]
    strokes = at.layer("cells strokes")
    assert at.session.strokes == at.find("labels_combo").currentText() == "cells strokes"
    np.testing.assert_array_equal(strokes.data, 2 * (before > 0))
    np.testing.assert_array_equal(layer.data, before)
    assert [info.name for info in at.session.classes] == ["background", "object"]
    at.wait(lambda: at.strokes_of(2) == 40)
    assert "'background' (key 1)" in at.status
    assert strokes.selected_label == 1
    assert "cells" not in learned_from


def test_ignoring_them_leaves_the_choice_as_it_was(
    desk: Callable[..., Desk], monkeypatch: pytest.MonkeyPatch
) -> None:
    at = open_over(desk, objects(90))
    asked = answer(monkeypatch, Numbered.IGNORED)
    at.find("labels_combo").setCurrentText("cells")
    assert asked == [("cells", False)]
    assert at.session.strokes is None
    assert at.find("labels_combo").currentText() == ""
    at.click("new_labels_button")
    at.find("labels_combo").setCurrentText("cells")
    assert at.session.strokes == at.find("labels_combo").currentText() == "textures strokes"


def test_few_numbers_can_be_classes(desk: Callable[..., Desk], monkeypatch: pytest.MonkeyPatch) -> None:
    at = open_over(desk, objects(12))
    at.find("live_check").setChecked(False)
    asked = answer(monkeypatch, Numbered.CLASSES)
    at.find("labels_combo").setCurrentText("cells")
    at.wait(lambda: len(at.session.classes) == 12)
    at.click("new_labels_button")
    at.find("labels_combo").setCurrentText("cells")
    assert at.session.strokes == "cells"
    assert len(asked) == 1, "asked once"


def test_strokes_and_named_classes_are_no_instances() -> None:
    assert looks_like_instances(objects(9))
    assert not looks_like_instances(objects(8))
    assert looks_like_instances(objects(3, step=40))
    named = objects(9)
    named.features = {"index": range(10), "class": list("abcdefghij")}
    assert not looks_like_instances(named)


def test_the_dialog_answers_with_its_buttons(qtbot: object) -> None:
    for name, meant in (
        ("one_class_button", Numbered.ONE_CLASS),
        ("classes_button", Numbered.CLASSES),
        ("ignore_button", Numbered.IGNORED),
    ):
        dialog = InstancesDialog("cells", few=True)
        assert dialog.answer is Numbered.IGNORED
        getattr(dialog, name).click()
        assert dialog.answer is meant
        dialog.deleteLater()
    many = InstancesDialog("cells", few=False)
    assert many.classes_button.isHidden()
    many.deleteLater()
