"""The dock: every control under its name, doing what it says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from napari.layers import Image, Labels, Points
from pytestqt.qtbot import QtBot
from qtpy.QtCore import QPoint, Qt
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QColorDialog, QWidget
from superqt import QCollapsible

from gui_session import Desk, two_textures
from napari_dsparse.classifier import default_classes
from napari_dsparse.gui.widgets.class_table import COLOR, IOU, NAME, PIXELS, STROKES
from napari_dsparse.gui.widgets.confusion_table import ConfusionTable
from napari_dsparse.live.envelope import Envelope
from napari_dsparse.live.messages import StepTaken
from napari_dsparse.live.state import Training
from napari_dsparse.training import TrainingProgress

CONTROLS = (
    *("image_combo", "labels_combo", "new_labels_button", "class_table", "add_class_button"),
    *("remove_class_button", "merge_class_button", "undo_class_button"),
    *("live_check", "train_button", "pause_button", "stop_button", "status_label", "loss_plot"),
    *(
        "predict_button",
        "export_button",
        "progress_bar",
        "uncertainty_check",
        "next_spot_button",
        "batch_button",
    ),
    *("save_model_button", "load_model_button", "device_combo", "confusion_table"),
    *("object_classes_button", "splitting_slider", "min_size_spin", "max_hole_spin", "planes_combo"),
    *("border_objects_check", "preview_check", "objects_button", "measure_button", "objects_label"),
)


def textures() -> Image:
    return Image(two_textures(), name="textures")


def test_every_control_has_its_name_once(desk: Callable[..., Desk]) -> None:
    at = desk()
    for name in CONTROLS:
        assert len(at.dock.findChildren(QWidget, name)) == 1, name


def test_every_control_fits_into_a_dock_of_280_pixels(desk: Callable[..., Desk]) -> None:
    at = desk(Image(two_textures(), name="a rather long name of an image from the microscope"), show=True)
    at.dock.panel.show_progress(0.4)
    at.dock.panel.show_channels(True, True)
    at.qtbot.wait(100)  # until napari's theme is on
    assert at.dock.panel.minimumSizeHint().width() <= 280 - 16  # the scroll bar needs its place
    at.dock.panel.show_progress(None)


def test_a_panel_that_floats_and_is_docked_again_stops_nothing(desk: Callable[..., Desk]) -> None:
    at = desk(Image(two_textures(), name="textures"), show=True)
    calls: list[str] = []
    at.dock.controller.rest = lambda: calls.append("rest")
    at.dock.unsaved.may_close = lambda: calls.append("asked")
    around = at.dock.parent()
    window = around.parentWidget()
    for floating in (True, False, True):
        around.setFloating(floating)
        at.qtbot.wait(50)
    assert not calls
    assert not window.close()  # of the window it is asked, also while the panel floats
    assert calls == ["asked"]
    window.hide()
    assert calls == ["asked", "rest"]
    del at.dock.controller.rest, at.dock.unsaved.may_close


def test_without_an_image_it_says_where_to_start(desk: Callable[..., Desk]) -> None:
    at = desk()
    assert at.status.startswith("Open an image to start")
    for name in ("new_labels_button", "train_button", "predict_button", "export_button", "stop_button"):
        assert not at.find(name).isEnabled()


def test_an_image_opened_later_is_chosen(desk: Callable[..., Desk]) -> None:
    at = desk()
    at.viewer.add_layer(Points(np.zeros((2, 2)), name="spots"))
    at.viewer.add_layer(textures())
    assert at.find("image_combo").currentText() == "textures"
    at.layer("textures").name = "renamed"
    assert at.find("image_combo").currentText() == "renamed"
    at.viewer.layers.remove("renamed")
    assert at.find("image_combo").currentText() == ""
    assert at.status.startswith("Open an image")


def test_new_makes_a_strokes_layer_with_the_brush_in_hand(desk: Callable[..., Desk]) -> None:
    at = desk(textures())
    at.click("new_labels_button")
    strokes = at.layer("textures strokes")
    assert strokes.data.dtype == np.uint8
    assert strokes.data.shape == (96, 128)
    assert strokes.mode == "paint"
    assert strokes.selected_label == 1
    assert at.find("labels_combo").currentText() == "textures strokes"
    assert [info.name for info in at.session.classes] == ["background", "object"]
    assert "Paint a stroke of 'background' (key 1)" in at.status


def test_a_layer_of_the_wrong_shape_is_explained_and_does_no_harm(desk: Callable[..., Desk]) -> None:
    at = desk(textures(), Labels(np.zeros((50, 40), np.uint8), name="old"))
    assert at.session.strokes is None
    at.find("labels_combo").setCurrentText("old")
    assert "'old' has shape (50, 40)" in at.status
    at.click("new_labels_button")
    assert at.session.strokes == "textures strokes"


def test_a_finished_annotation_is_not_trained_on_unasked(desk: Callable[..., Desk]) -> None:
    at = desk(textures(), Labels(np.ones((96, 128), np.uint8), name="truth"))
    assert at.session.strokes is None
    at.find("labels_combo").setCurrentText("truth")
    assert at.session.strokes == "truth"


def test_choosing_a_users_layer_changes_nothing_of_it(desk: Callable[..., Desk]) -> None:
    data = np.zeros((96, 128), np.int32)
    data[5:9, 5:9] = 3
    layer = Labels(data.copy(), name="mine")
    before = layer.colormap
    at = desk(textures(), layer)
    assert at.session.strokes == "mine"
    at.wait(lambda: len(at.session.classes) == 3)
    assert layer.colormap is before
    np.testing.assert_array_equal(layer.data, data)
    red, green, blue, _ = layer.get_color(3)
    expected = "#" + "".join(f"{round(float(part) * 255):02x}" for part in (red, green, blue))
    assert at.session.classes[2].color == expected


def test_the_table_counts_the_paint(desk: Callable[..., Desk]) -> None:
    at = desk(textures())
    at.find("live_check").setChecked(False)
    at.click("new_labels_button")
    strokes = at.layer("textures strokes")
    strokes.data_setitem((np.array([3, 3, 4]), np.array([3, 4, 4])), 1)
    strokes.data_setitem((np.array([60, 90]), np.array([70, 9])), 2)
    at.wait(lambda: at.strokes_of(2) == 2)
    table = at.find("class_table")
    assert [table.item(row, STROKES).text() for row in (0, 1)] == ["1", "2"]
    assert [table.item(row, PIXELS).text() for row in (0, 1)] == ["3", "2"]


def test_a_class_can_be_renamed_and_recoloured(
    desk: Callable[..., Desk], monkeypatch: pytest.MonkeyPatch
) -> None:
    at = desk(textures())
    at.click("new_labels_button")
    table, strokes = at.find("class_table"), at.layer("textures strokes")
    table.item(1, NAME).setText("nucleus")
    assert at.session.classes[1].name == "nucleus"
    assert list(strokes.features["class"]) == ["not painted", "background", "nucleus"]
    monkeypatch.setattr(QColorDialog, "getColor", lambda *a, **k: QColor("#123456"))
    table.cellDoubleClicked.emit(1, COLOR)
    assert at.session.classes[1].color == "#123456"
    np.testing.assert_allclose(strokes.get_color(2)[:3], np.array([0x12, 0x34, 0x56]) / 255, atol=1e-6)


def test_a_class_always_has_a_name_of_its_own(desk: Callable[..., Desk]) -> None:
    at = desk(textures())
    at.click("new_labels_button")
    table = at.find("class_table")
    table.item(0, NAME).setText("   ")
    assert table.item(0, NAME).text() == "background"
    assert at.session.classes[0].name == "background"
    for _ in range(2):  # also when the same is said already
        table.item(1, NAME).setText("background")
        assert "Class 1 is called 'background' already" in at.status
        assert [table.item(row, NAME).text() for row in range(2)] == ["background", "object"]
        assert at.session.classes[1].name == "object"


def test_names_that_look_like_html_are_shown_as_they_are(desk: Callable[..., Desk]) -> None:
    at = desk(textures())
    at.click("new_labels_button")
    table, name = at.find("class_table"), "<img src='x'><b>bold</b>"
    table.item(1, NAME).setText(name)
    at.wait(lambda: at.session.classes[1].name == name)
    assert table.item(1, NAME).text() == name
    tip = table.item(1, NAME).toolTip()
    assert "<img" not in tip
    assert "&lt;img" in tip
    for label in ("status_label", "model_label"):
        assert at.find(label).textFormat() == Qt.TextFormat.PlainText


def test_an_added_class_has_a_colour_of_its_own_and_the_brush(desk: Callable[..., Desk]) -> None:
    at = desk(textures())
    at.click("new_labels_button")
    at.click("add_class_button")
    assert [info.name for info in at.session.classes] == ["background", "object", "class 3"]
    assert len({info.color for info in at.session.classes}) == 3
    assert at.layer("textures strokes").selected_label == 3


def test_number_keys_and_clicks_pick_the_class_to_paint(desk: Callable[..., Desk]) -> None:
    at = desk(textures())
    at.click("new_labels_button")
    at.click("add_class_button")
    strokes, table = at.layer("textures strokes"), at.find("class_table")
    for number in (2, 1, 3):
        strokes.mode = "pan_zoom"
        press(strokes, number)
        assert strokes.selected_label == number
        assert strokes.mode == "paint"
        assert table.selectionModel().selectedRows()[0].row() == number - 1
    table.cellClicked.emit(0, NAME)
    assert strokes.selected_label == 1


def press(layer: Labels, number: int) -> None:
    """Press a number key with `layer` active, as napari's canvas passes it on."""
    next(function for key, function in layer.keymap.items() if str(key) == str(number))(layer)


def test_a_layer_that_is_left_gets_its_keys_back(desk: Callable[..., Desk]) -> None:
    at = desk(textures())
    at.click("new_labels_button")
    first = at.layer("textures strokes")
    assert first.keymap
    at.click("new_labels_button")
    assert at.session.strokes == "textures strokes [1]"
    assert not first.keymap


def test_the_tool_at_hand_stays_when_a_class_is_chosen(desk: Callable[..., Desk]) -> None:
    at = desk(textures())
    at.click("new_labels_button")
    strokes = at.layer("textures strokes")
    for before, after in (("fill", "fill"), ("polygon", "polygon"), ("erase", "paint"), ("pick", "paint")):
        strokes.mode = before
        press(strokes, 2)
        assert strokes.mode == after


def test_number_keys_work_in_the_class_table_too(desk: Callable[..., Desk]) -> None:
    at = desk(textures())
    at.click("new_labels_button")
    table, strokes = at.find("class_table"), at.layer("textures strokes")
    at.qtbot.keyClick(table, Qt.Key.Key_2)
    assert strokes.selected_label == 2
    at.qtbot.keyClick(table, Qt.Key.Key_9)
    assert strokes.selected_label == 2, "there is no class 9"


def test_the_highlighted_class_is_the_one_that_is_painted(desk: Callable[..., Desk]) -> None:
    at = desk(textures())
    at.click("new_labels_button")
    table, strokes = at.find("class_table"), at.layer("textures strokes")

    def rows() -> list[int]:
        return [index.row() for index in table.selectionModel().selectedRows()]

    table.selectRow(1)
    table.cellClicked.emit(1, NAME)
    assert (rows(), strokes.selected_label) == ([1], 2)
    strokes.selected_label = 7
    assert rows() == []
    at.viewer.layers.remove(strokes)
    at.wait(lambda: at.session.strokes is None)
    table.selectRow(1)
    table.cellClicked.emit(1, NAME)
    assert rows() == []  # without a layer the brush stays as it was, of class 7, which has no row


def test_napari_tells_what_the_number_keys_do(desk: Callable[..., Desk]) -> None:
    at = desk(textures())
    at.click("new_labels_button")
    strokes = at.layer("textures strokes")
    for mode in ("pan_zoom", "paint", "fill"):
        strokes.mode = mode
        assert strokes.help.startswith("use <1> to <9> to choose a class")
        assert "<3> for" not in at.viewer.help
        assert "<1> to <9>" in at.viewer.help


def test_an_image_is_found_again_as_it_was_left(desk: Callable[..., Desk]) -> None:
    stack = Image(np.stack([two_textures(seed=seed) for seed in range(3)]), name="three")
    mine = Labels(np.zeros((96, 128), np.uint8), name="mine")
    at = desk(textures(), stack)
    images, channels, labels = at.find("image_combo"), at.find("channels_combo"), at.find("labels_combo")
    images.setCurrentText("three")
    channels.setCurrentIndex(next(i for i in range(channels.count()) if "3 channels" in channels.itemText(i)))
    at.viewer.add_layer(mine)
    at.click("new_labels_button")
    chosen = channels.currentText()
    labels.setCurrentText("mine")
    images.setCurrentText("textures")
    assert at.session.strokes != "mine" or labels.currentText() != "three strokes"
    images.setCurrentText("three")
    assert channels.currentText() == chosen
    assert labels.currentText() == "mine"
    assert at.session.strokes == "mine"


def test_reset_leaves_strokes_and_no_model(desk: Callable[..., Desk]) -> None:
    at = desk(textures())
    at.click("new_labels_button")
    strokes = at.layer("textures strokes")
    at.paint_two_classes(strokes)
    at.wait(lambda: at.session.training is Training.STEADY)
    assert at.find("model_label").text() == "Model: strokes on textures"
    painted = strokes.data.copy()
    at.click("reset_button")
    assert not at.session.has_model
    assert at.find("model_label").text() == "No model yet"
    assert not at.find("predict_button").isEnabled()
    np.testing.assert_array_equal(strokes.data, painted)
    at.click("train_button")
    at.wait(lambda: at.session.has_model)


def test_next_spot_goes_where_the_model_is_unsure(desk: Callable[..., Desk]) -> None:
    at = desk(textures())
    at.click("new_labels_button")
    at.paint_two_classes(at.layer("textures strokes"))
    at.wait(lambda: at.has_layer("textures segmentation"))
    before = tuple(at.viewer.scene.camera.center)
    at.click("next_spot_button")
    at.wait(lambda: at.session.note is not None)
    after = tuple(at.viewer.scene.camera.center)
    assert ("unsure in the middle" in at.status and after != before) or "Nothing uncertain" in at.status


def test_the_loss_is_drawn_while_steps_are_taken_and_only_then(desk: Callable[..., Desk]) -> None:
    at = desk(textures())
    curves = at.dock.panel.curves
    at.click("new_labels_button")
    strokes = at.layer("textures strokes")
    at.paint_two_classes(strokes)
    at.wait(lambda: at.session.training is Training.STEADY)
    assert curves.loss_points == ([], [])
    assert not curves.shows_loss
    height = at.dock.panel.sizeHint().height()
    at.click("train_button")
    at.wait(lambda: at.session.progress is not None and at.session.progress.step > 5)
    steps, losses = curves.loss_points
    assert len(steps) >= 2
    assert all(loss > 0 for loss in losses)
    assert curves.shows_loss
    assert at.dock.panel.sizeHint().height() == height, "nothing below the curves moves"
    at.paint(strokes, 1, (50.0, 20.0), (60.0, 30.0))
    at.wait(lambda: at.session.progress is not None and at.session.progress.step == 0)
    assert not curves.shows_loss


def test_the_range_to_expect_is_shown_where_the_classes_are(desk: Callable[..., Desk]) -> None:
    at = desk(textures())
    at.click("new_labels_button")
    at.paint_two_classes(at.layer("textures strokes"))
    at.wait(lambda: at.session.training is Training.STEADY)
    fit = replace(at.session.progress, held_out_range={})
    table, loop = at.find("class_table"), at.dock.controller

    def judge(progress: TrainingProgress, **changes: Any) -> None:
        envelope = Envelope(loop.state.images, loop.state.jobs, loop.state.worker)
        loop.send(StepTaken(envelope, progress, **changes))

    judge(fit, judged=True)
    at.wait(lambda: "IoU" not in at.status)
    assert table.isColumnHidden(IOU)
    judged = replace(fit, held_out_range={1: (0.6, 0.8), 2: (0.8, 1.0)})
    judge(judged, judged=True)
    at.wait(lambda: not table.isColumnHidden(IOU))
    assert [table.item(row, IOU).text() for row in (0, 1)] == ["0.6–0.8", "0.8–1.0"]
    assert "expected IoU 0.7–0.9" in at.status
    for tip in (at.find("status_label").toolTip(), table.item(0, IOU).toolTip()):
        assert "where nothing is painted" in tip
    judge(replace(judged, step=3, steady=False))
    at.wait(lambda: table.isColumnHidden(IOU))
    assert "after gradient steps" in at.find("confusion_table").item(0, 0).text()


def test_one_line_of_status_or_two_leave_the_rest_in_its_place(desk: Callable[..., Desk]) -> None:
    at = desk(textures(), show=True)
    label, curves = at.find("status_label"), at.find("loss_plot")
    places = set()
    for sentence in ("Short.", "Longer than a line. " * 5, "Short again."):
        label.say(sentence)
        at.qtbot.wait(100)
        places.add(curves.mapTo(at.dock.panel, curves.rect().topLeft()).y())
    assert len(places) == 1


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_curves_and_arrows_are_readable_in_every_theme(theme: str, desk: Callable[..., Desk]) -> None:
    from napari.utils.theme import get_theme

    at = desk(textures())
    at.viewer.theme = theme
    text = QColor(get_theme(theme).text.as_hex())
    assert at.dock.panel.curves.foreground == text.name()
    for section in at.dock.findChildren(QCollapsible):
        for icon in (section.expandedIcon(), section.collapsedIcon()):
            assert icon.pixmap(12, 12).toImage().pixelColor(6, 6).name() == text.name()


def test_curves_take_the_background_of_a_theme_chosen_later(desk: Callable[..., Desk]) -> None:
    at = desk(textures(), show=True)
    curves, title = at.find("loss_plot"), at.find("status_label")
    for theme in ("light", "dark", "light"):
        at.viewer.theme = theme
        at.qtbot.wait(100)  # until it is drawn
        picture = at.dock.panel.grab().toImage()
        behind = [
            picture.pixelColor(widget.mapTo(at.dock.panel, widget.rect().topRight()) - QPoint(2, -2)).name()
            for widget in (curves, title)
        ]
        assert behind[0] == behind[1], theme


def test_devices_are_those_of_the_engine(desk: Callable[..., Desk]) -> None:
    combo = desk().find("device_combo")
    names = [combo.itemText(i) for i in range(combo.count())]
    assert names[0] == "auto"
    assert "cpu" in names


def test_a_table_that_does_not_know_the_keyboard_still_lists_every_class(desk: Callable[..., Desk]) -> None:
    at = desk(textures())
    at.click("new_labels_button")
    for _ in range(9):
        at.click("add_class_button")
    table = at.find("class_table")
    assert table.rowCount() == 11
    assert table.item(10, 0).text() == ""
    assert table.item(10, NAME).flags() & Qt.ItemFlag.ItemIsEditable


def test_mistakes_on_held_out_strokes_stand_in_a_table(qtbot: QtBot) -> None:
    table = ConfusionTable()
    qtbot.addWidget(table)
    table.show_classes(default_classes(3))
    assert "a few places" in table.item(0, 0).text()
    progress = TrainingProgress(
        step=1, planned_steps=60, loss=0.5, held_out_iou={1: 0.6, 3: 0.5}, held_out_strokes=4, seconds=0.1,
        steady=False, held_out_confusion=((90, 0, 30), (0, 0, 0), (20, 0, 60)),
        held_out_range={1: (0.5, 0.7)},
    )  # fmt: skip
    table.show_progress(replace(progress, held_out_range={}))
    assert table.rowCount() == 1, "too few strokes to say anything"
    table.show_progress(progress)
    shown = [[table.item(row, column).text() for column in range(5)] for row in range(table.rowCount())]
    assert shown == [["background", "75", "0", "25", "0.5–0.7"], ["class 3", "25", "0", "75", ""]]
    assert "fitted without" in table.item(0, 4).toolTip()
    assert "30 of 120 held-out pixels of 'background' were found as 'class 3'" in table.item(0, 3).toolTip()
    table.show_classes(default_classes(2))
    assert [table.item(0, column).text() for column in range(4)] == ["background", "75", "0", "0.5–0.7"]
    table.show_progress(None)
    assert table.rowCount() == 1
    assert "a few places" in table.item(0, 0).text()
