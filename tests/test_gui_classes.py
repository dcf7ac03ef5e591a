"""Edits of the class table in napari: paint, table, brush and results agree, and undo gives all back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from napari.layers import Image, Labels
from qtpy.QtCore import Qt
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QColorDialog, QFileDialog

import napari_dsparse as nd
from gui_session import Desk, two_textures
from napari_dsparse.gui import class_actions
from napari_dsparse.gui.widgets.class_dialogs import RemovalDialog
from napari_dsparse.gui.widgets.class_table import COLOR, NAME
from napari_dsparse.live.state import Training


def names(at: Desk) -> list[str]:
    """Names in the table, which are those of the state and of the layer."""
    table = at.find("class_table")
    shown = [table.item(row, NAME).text() for row in range(table.rowCount())]
    assert shown == [info.name for info in at.session.classes]
    return shown


def open_with(desk: Callable[..., Desk], count: int, *, live: bool = False) -> tuple[Desk, Labels]:
    """A strokes layer with `count` classes, a block of 4 x 4 pixels painted of each."""
    at = desk(Image(two_textures(), name="textures"))
    at.find("live_check").setChecked(live)
    at.click("new_labels_button")
    for _ in range(count - 2):
        at.click("add_class_button")
    strokes = at.layer("textures strokes")
    for number in range(1, count + 1):
        block(strokes, number, number)
    at.wait(lambda: at.strokes_of(count) == 1)
    return at, strokes


def block(layer: Labels, place: int, number: int) -> None:
    """Paint a block of 4 x 4 pixels at the place of that number."""
    rows, columns = np.mgrid[8:12, 10 * place : 10 * place + 4]
    layer.data_setitem((rows.ravel(), columns.ravel()), number)


def blocks(layer: Labels, count: int) -> list[int]:
    """The label of each place."""
    return [int(layer.data[8, 10 * place]) for place in range(1, count + 1)]


def answer_removal(monkeypatch: pytest.MonkeyPatch, into: int | None) -> list[int]:
    asked: list[int] = []

    def answer(parent: object, name: str, pixels: int, others: object) -> int | None:
        asked.append(pixels)
        return into

    monkeypatch.setattr(class_actions, "ask_removal", answer)
    return asked


def test_a_removed_class_takes_its_paint_along_and_undo_brings_both_back(
    desk: Callable[..., Desk], monkeypatch: pytest.MonkeyPatch
) -> None:
    at, strokes = open_with(desk, 4)
    asked = answer_removal(monkeypatch, 0)
    at.find("class_table").cellClicked.emit(1, NAME)
    strokes.mode = "fill"
    at.click("remove_class_button")
    assert asked == [16]
    assert names(at) == ["background", "class 3", "class 4"]
    assert blocks(strokes, 4) == [1, 0, 2, 3]
    assert list(strokes.features["class"]) == ["not painted", *names(at)]
    assert strokes.mode == "fill", "the tool in hand stays"
    assert at.find("class_table").selected_class == strokes.selected_label == 2
    at.wait(lambda: at.strokes_of(3) == 1)
    at.click("undo_class_button")
    assert names(at) == ["background", "object", "class 3", "class 4"]
    assert blocks(strokes, 4) == [1, 2, 3, 4]
    assert at.find("class_table").selected_class == strokes.selected_label == 2, "the brush comes back, too"
    assert not at.find("undo_class_button").isEnabled()
    at.click("remove_class_button")
    at.find("class_table").cellClicked.emit(0, NAME)
    at.click("undo_class_button")
    assert strokes.selected_label == 1, "what was picked since stays"


def test_nothing_is_asked_about_paint_that_is_not_there(
    desk: Callable[..., Desk], monkeypatch: pytest.MonkeyPatch
) -> None:
    at, _ = open_with(desk, 2)
    asked = answer_removal(monkeypatch, 0)
    at.click("add_class_button")
    at.click("remove_class_button")
    assert not asked
    assert names(at) == ["background", "object"]
    assert not at.find("remove_class_button").isEnabled(), "two classes are the least"
    assert not at.find("merge_class_button").isEnabled()


def test_a_cancelled_removal_changes_nothing(
    desk: Callable[..., Desk], monkeypatch: pytest.MonkeyPatch
) -> None:
    at, strokes = open_with(desk, 3)
    answer_removal(monkeypatch, None)
    at.click("remove_class_button")
    assert len(names(at)) == 3
    assert blocks(strokes, 3) == [1, 2, 3]


def test_paint_of_a_removed_class_can_be_given_to_another(
    desk: Callable[..., Desk], monkeypatch: pytest.MonkeyPatch
) -> None:
    at, strokes = open_with(desk, 3)
    answer_removal(monkeypatch, 3)
    at.find("class_table").cellClicked.emit(0, NAME)
    at.click("remove_class_button")
    assert names(at) == ["object", "class 3"]
    assert blocks(strokes, 3) == [2, 1, 2]
    assert strokes.selected_label == 2, "the brush paints where its class went"


def test_the_dialog_offers_every_other_class(desk: Callable[..., Desk], qtbot: object) -> None:
    at, _ = open_with(desk, 4)
    others = {n: info for n, info in enumerate(at.session.classes, start=1) if n != 2}
    dialog = RemovalDialog("object", 1203, others, at.dock)
    assert dialog.into == 0
    dialog.into_combo.setCurrentIndex(2)
    dialog.into_combo.activated.emit(2)
    assert dialog.into == 4
    dialog.deleteLater()


def test_merging_from_the_menu_of_the_button(desk: Callable[..., Desk]) -> None:
    at, strokes = open_with(desk, 3)
    at.find("class_table").cellClicked.emit(2, NAME)
    at.click("merge_class_button")
    menu = at.find("merge_menu")
    assert [action.text() for action in menu.actions()] == ["background", "object"]
    menu.actions()[1].trigger()
    menu.close()
    assert names(at) == ["background", "object"]
    assert blocks(strokes, 3) == [1, 2, 2]
    assert strokes.selected_label == 2


def test_classes_are_moved_by_keys_and_their_numbers_with_them(desk: Callable[..., Desk]) -> None:
    at, strokes = open_with(desk, 3)
    table = at.find("class_table")
    table.cellClicked.emit(2, NAME)
    at.qtbot.keyClick(table, Qt.Key.Key_Up, Qt.KeyboardModifier.AltModifier)
    assert names(at) == ["background", "class 3", "object"]
    assert blocks(strokes, 3) == [1, 3, 2]
    assert table.selected_class == strokes.selected_label == 2
    at.qtbot.keyClick(table, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert names(at) == ["background", "object", "class 3"]
    assert blocks(strokes, 3) == [1, 2, 3]
    assert table.selected_class == strokes.selected_label == 3


def test_the_menu_of_a_row_offers_what_is_possible(desk: Callable[..., Desk]) -> None:
    at, strokes = open_with(desk, 3)
    table = at.find("class_table")
    table.fill_menu(1)
    actions = {action.text(): action for action in table.menu.actions() if action.text()}
    own = ["Rename", "Colour…", "Move up", "Move down", "Merge into", "Remove"]
    assert list(actions) == [*own, "Copy classes from project…", "Copy classes from model…", "Undo"]
    assert [title for title, action in actions.items() if not action.isEnabled()] == ["Move up", "Undo"]
    actions["Move down"].trigger()
    assert names(at) == ["object", "background", "class 3"]
    table.fill_menu(1)
    merge = next(action for action in table.menu.actions() if action.text() == "Merge into").menu()
    merge.actions()[1].trigger()
    assert names(at) == ["background", "class 3"]
    assert blocks(strokes, 3) == [1, 2, 2]
    table.fill_menu(1)
    assert table.menu.actions()[-1].text() == "Undo: Merge 'object' into 'class 3'"


def test_a_colour_is_taken_back(desk: Callable[..., Desk], monkeypatch: pytest.MonkeyPatch) -> None:
    at, strokes = open_with(desk, 2)
    before = at.session.classes
    monkeypatch.setattr(QColorDialog, "getColor", lambda *a, **k: QColor("#123456"))
    at.find("class_table").cellDoubleClicked.emit(1, COLOR)
    assert at.session.classes[1].color == "#123456"
    assert at.find("undo_class_button").toolTip() == "Undo: Recolour 'object'."
    at.click("undo_class_button")
    assert at.session.classes == before
    np.testing.assert_allclose(strokes.get_color(2)[:3], np.array(before[1].rgb) / 255, atol=1e-6)


def test_undo_on_the_canvas_takes_edits_back_in_their_turn(desk: Callable[..., Desk]) -> None:
    at, strokes = open_with(desk, 3)
    at.dock.class_actions.move_class(3, 1)
    assert blocks(strokes, 3) == [2, 3, 1]
    block(strokes, 4, 1)  # of class 3, which is the first now
    at.dock.class_actions.merge_class(2, 3)
    assert blocks(strokes, 4) == [2, 2, 1, 1]
    strokes.undo()
    assert names(at) == ["class 3", "background", "object"]
    assert blocks(strokes, 4) == [2, 3, 1, 1]
    strokes.undo()
    strokes.undo()
    assert names(at) == ["background", "object", "class 3"]
    assert blocks(strokes, 4) == [1, 2, 3, 0]
    for _ in range(3):
        strokes.redo()
    assert names(at) == ["class 3", "object"]
    assert blocks(strokes, 4) == [2, 2, 1, 1]
    assert np.array_equal(at.session.strokes_layer.labels, strokes.data)


def test_undo_keeps_strokes_painted_since(desk: Callable[..., Desk]) -> None:
    at, strokes = open_with(desk, 3)
    at.dock.class_actions.merge_class(1, 3)
    assert blocks(strokes, 3) == [2, 1, 2]
    block(strokes, 4, 1)
    block(strokes, 3, 1)
    at.click("undo_class_button")
    assert names(at) == ["background", "object", "class 3"]
    assert blocks(strokes, 4) == [1, 2, 2, 2]
    strokes.undo()  # the undo itself, on the canvas
    assert names(at) == ["object", "class 3"]
    assert blocks(strokes, 4) == [2, 1, 1, 1]
    at.click("undo_class_button")
    assert blocks(strokes, 4) == [1, 2, 2, 2]


def test_moves_of_classes_without_paint_keep_older_steps_right(desk: Callable[..., Desk]) -> None:
    at, strokes = open_with(desk, 3)
    block(strokes, 3, 0)
    at.dock.class_actions.move_class(3, 1)
    at.dock.class_actions.move_class(2, 3)
    for _ in range(3):
        strokes.undo()
    assert names(at) == ["background", "object", "class 3"]
    assert blocks(strokes, 3) == [1, 2, 3]


def test_an_edit_undone_while_another_layer_is_in_front_is_caught_up_with(desk: Callable[..., Desk]) -> None:
    at, strokes = open_with(desk, 3)
    at.dock.class_actions.move_class(3, 1)
    at.click("new_labels_button")
    strokes.undo()
    at.find("labels_combo").setCurrentText("textures strokes")
    assert names(at) == ["background", "object", "class 3"]
    assert list(strokes.features["class"]) == ["not painted", *names(at)]
    assert blocks(strokes, 3) == [1, 2, 3]


def test_the_segmentation_keeps_its_meaning_and_is_learned_anew(desk: Callable[..., Desk]) -> None:
    at = desk(Image(two_textures(), name="textures"))
    at.find("probabilities_check").setChecked(True)
    at.click("new_labels_button")
    at.click("add_class_button")
    strokes = at.layer("textures strokes")
    at.paint_two_classes(strokes)
    at.wait(lambda: at.session.training is Training.STEADY)
    at.click("predict_button")
    at.wait(lambda: at.session.complete)
    found = at.layer("textures segmentation").data.copy()
    at.find("live_check").setChecked(False)
    at.dock.class_actions.move_class(2, 1)
    np.testing.assert_array_equal(at.layer("textures segmentation").data, np.array([0, 2, 1])[found])
    at.wait(lambda: not at.session.predicting)
    at.click("predict_button")
    at.wait(lambda: at.session.complete)
    np.testing.assert_array_equal(at.layer("textures segmentation").data, np.array([0, 2, 1])[found])
    probable = at.layer("textures probability object").data > at.layer("textures probability background").data
    np.testing.assert_array_equal(probable, found == 2)
    at.find("live_check").setChecked(True)
    at.wait(lambda: at.session.training is Training.STEADY and not at.session.predicting)
    agree = (at.layer("textures segmentation").data == np.array([0, 2, 1])[found]).mean()
    assert agree > 0.99


def test_a_merge_without_live_says_to_press_train(desk: Callable[..., Desk]) -> None:
    at, _ = open_with(desk, 3)
    at.click("train_button")
    at.wait(lambda: at.session.training is Training.STEADY)
    at.dock.class_actions.merge_class(3, 2)
    assert at.status == "The classes have changed; press Train to learn them."
    assert not at.find("export_button").isEnabled()
    at.click("train_button")
    at.wait(lambda: at.session.has_model)


def test_a_key_without_a_class_leaves_the_brush(desk: Callable[..., Desk]) -> None:
    _, strokes = open_with(desk, 2)
    press = {str(key): function for key, function in strokes.keymap.items()}
    press["2"](strokes)
    press["5"](strokes)
    assert strokes.selected_label == 2


def test_paint_of_a_number_without_a_class_is_seen_once_it_is_named(desk: Callable[..., Desk]) -> None:
    at, strokes = open_with(desk, 2)
    block(strokes, 5, 4)
    at.wait(lambda: len(at.session.classes) == 4)
    assert float(strokes.get_color(4)[3]) == 1


def test_classes_are_copied_from_a_project_and_undone(
    desk: Callable[..., Desk], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other.dsparse"
    nd.Project.create(other, classes=["glass", "object", "stroma"]).close()
    at, strokes = open_with(desk, 2)
    table = at.find("class_table")
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *a, **k: str(other))
    strokes.selected_label = 2
    table.fill_menu(2)
    next(a for a in table.menu.actions() if a.text() == "Copy classes from project…").trigger()
    at.dock.projects.wait_and_tell()
    assert names(at) == ["glass", "object", "stroma", "background"]
    assert blocks(strokes, 2) == [4, 2]
    assert strokes.selected_label == 2
    assert table.selected_class == 2
    assert at.find("undo_class_button").toolTip() == "Undo: Copy the classes of other.dsparse."
    strokes.selected_label = 3
    at.click("undo_class_button")
    assert names(at) == ["background", "object"]  # those that were added went with it
    assert blocks(strokes, 2) == [1, 2]
    assert strokes.selected_label == 2
    at.click("train_button")
    at.wait(lambda: at.session.has_model and not at.session.learning)
    assert names(at) == ["background", "object"]  # a count that knew them does not bring them back
    assert at.session.model is not None
    assert len(at.session.model.classifier.classes) == 2
    strokes.redo()
    at.wait(lambda: names(at) == ["glass", "object", "stroma", "background"])
    assert blocks(strokes, 2) == [4, 2]
    block(strokes, 9, 3)
    at.wait(lambda: at.session.counts[2][1] > 0)
    at.click("undo_class_button")
    assert names(at) == [
        "background",
        "object",
        "glass",
        "stroma",
    ]  # of the last, there is paint
    at.wait(lambda: at.session.counts[3][1] > 0)
