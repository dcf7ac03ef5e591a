"""Layers of numbered objects: never learned from unasked, and of use in three ways."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from napari.layers import Image, Labels
from qtpy.QtWidgets import QDialog

from gui_session import Desk, two_textures
from napari_dsparse.gui import numbered_layers
from napari_dsparse.gui.layers.instances import looks_like_instances
from napari_dsparse.gui.widgets.class_dialogs import InstancesDialog, Numbered
from napari_dsparse.gui.widgets.numbers_dialog import NumbersDialog


def objects(count: int, step: int = 1) -> Labels:
    """Small squares, numbered 1, 1 + step, ..."""
    data = np.zeros((96, 128), np.int32)
    for index in range(count):
        row, column = divmod(index, 12)
        data[4 + 10 * row : 8 + 10 * row, 4 + 10 * column : 8 + 10 * column] = 1 + index * step
    return Labels(data, name="cells")


def answer(monkeypatch: pytest.MonkeyPatch, with_: Numbered) -> list[tuple[str, bool]]:
    asked: list[tuple[str, bool]] = []

    def ask(parent: object, name: str, *, few: bool, mappable: bool) -> Numbered:
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
        ("map_button", Numbered.MAPPED),
        ("ignore_button", Numbered.IGNORED),
    ):
        dialog = InstancesDialog("cells", few=True, mappable=True)
        assert dialog.answer is Numbered.IGNORED
        getattr(dialog, name).click()
        assert dialog.answer is meant
        dialog.deleteLater()
    many = InstancesDialog("cells", few=False, mappable=False)
    assert many.classes_button.isHidden()
    assert many.map_button.isHidden()
    many.deleteLater()


def test_a_class_is_chosen_for_every_number(
    desk: Callable[..., Desk], monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = objects(4, step=60)  # 1, 61, 121, 181
    at = open_over(desk, layer)
    at.find("live_check").setChecked(False)
    answer(monkeypatch, Numbered.MAPPED)

    def choose(dialog: NumbersDialog) -> QDialog.DialogCode:
        assert [combo.currentText() for combo in dialog.combos.values()] == [
            "background",
            "object",
            "a new class",
            "a new class",
        ]
        dialog.combos[61].setCurrentIndex(0)
        dialog.combos[181].setCurrentText("background")
        return QDialog.DialogCode.Accepted

    monkeypatch.setattr(NumbersDialog, "exec", choose)
    at.find("labels_combo").setCurrentText("cells")
    strokes = at.layer("cells strokes")
    expected = np.select([layer.data == 1, layer.data == 121, layer.data == 181], [1, 3, 1])
    np.testing.assert_array_equal(strokes.data, expected)
    at.wait(lambda: [info.name for info in at.session.classes] == ["background", "object", "class 3"])
    assert at.session.strokes == "cells strokes"


def test_choosing_no_classes_leaves_the_choice_as_it_was(
    desk: Callable[..., Desk], monkeypatch: pytest.MonkeyPatch
) -> None:
    at = open_over(desk, objects(4, step=60))
    answer(monkeypatch, Numbered.MAPPED)
    monkeypatch.setattr(NumbersDialog, "exec", lambda dialog: QDialog.DialogCode.Rejected)
    at.find("labels_combo").setCurrentText("cells")
    assert at.session.strokes is None
    assert [layer.name for layer in at.viewer.layers if "strokes" in layer.name] == []
