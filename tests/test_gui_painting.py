"""Painting in napari: the overlay over the image, keys and focus, the brush, paint on the segmentation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from napari.layers import Image, Labels
from qtpy.QtCore import QPoint, QPointF, Qt
from qtpy.QtGui import QWheelEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QComboBox, QLabel

from gui_session import Desk, two_textures
from napari_dsparse.classifier import default_classes
from napari_dsparse.gui.layers.brush import LEAST_ON_SCREEN
from napari_dsparse.gui.layers.class_look import class_features, classes_of, show_classes
from napari_dsparse.gui.layers.hold_key import CANDIDATES, free_key
from napari_dsparse.gui.layers.marks import mark_ours
from napari_dsparse.gui.layers.objects_layer import OBJECTS
from napari_dsparse.gui.layers.overlay import Overlay
from napari_dsparse.gui.layers.strokes_layer import tool_keys
from napari_dsparse.gui.widgets.canvas_focus import canvas_of
from napari_dsparse.gui.widgets.status_label import StatusLabel, StatusPlace
from napari_dsparse.live.state import Training


def small(**options: Any) -> Labels:
    return Labels(np.eye(4, dtype=np.uint8) + 1, **options)


def test_one_opacity_holds_for_every_segmentation_and_follows_naparis_own_slider() -> None:
    overlay, first, second = Overlay(), small(), small()
    told: list[float] = []
    overlay.opacity_changed.connect(told.append)
    overlay.take(first)
    overlay.set_opacity(0.7)
    assert first.opacity == 0.7
    first.opacity = 0.2
    assert told == [0.2]
    overlay.take(second)
    assert second.opacity == 0.2
    first.opacity = 0.9
    assert second.opacity == 0.2


def test_a_hidden_background_keeps_its_labels_its_name_and_its_colour() -> None:
    overlay, layer, classes = Overlay(), small(), default_classes(2)
    overlay.take(layer)
    overlay.show_classes(classes)
    overlay.hide_background(True)
    assert layer.get_color(1)[3] == 0
    assert layer.get_color(2)[3] == 1
    assert classes_of(layer) == tuple(classes)
    assert set(np.unique(layer.data)) == {1, 2}
    overlay.hide_background(False)
    assert layer.get_color(1)[3] == 1
    unnamed = small()
    assert [info.name for info in classes_of(unnamed)] == [info.name for info in default_classes(2)]


def test_held_results_are_see_through_and_come_back_as_they_were() -> None:
    overlay, layer, map_ = Overlay(), small(), Image(np.zeros((4, 4)), opacity=0.8)
    overlay.take(layer)
    overlay.cover(map_)
    overlay.hold(True)
    late = Image(np.zeros((4, 4)), opacity=0.6)
    overlay.cover(late)
    assert (layer.opacity, map_.opacity, late.opacity) == (0, 0, 0)
    overlay.set_opacity(0.5)
    overlay.leave(late)
    assert late.opacity == 0.6
    assert layer.opacity == 0
    overlay.hold(False)
    assert (layer.opacity, map_.opacity) == (0.5, 0.8)


def test_a_key_that_is_taken_is_left_alone(make_napari_viewer_proxy: Any) -> None:
    viewer = make_napari_viewer_proxy()
    first = free_key(viewer)
    assert first == CANDIDATES[0]
    viewer.bind_key(first, lambda viewer: None)
    assert free_key(viewer) == CANDIDATES[1]


def test_hints_name_the_keys_of_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    from napari.settings import get_settings

    assert tool_keys()["paint"] == "<P> paint"
    shortcuts = get_settings().shortcuts.shortcuts
    monkeypatch.setitem(shortcuts, "napari:activate_labels_paint_mode", ["2", "Q"])
    monkeypatch.setitem(shortcuts, "napari:activate_labels_fill_mode", ["4"])
    assert tool_keys()["paint"] == "<Q> paint"
    assert "fill" not in tool_keys()


def test_nothing_below_the_status_moves_however_long_it_is(qtbot: Any) -> None:
    label = StatusLabel()
    place = StatusPlace(label)
    qtbot.addWidget(place)
    heights = set()
    for sentence in ("Short.", "A sentence that goes on. " * 20):
        label.say(sentence, failed=len(sentence) > 20)
        heights.add(place.sizeHint().height() if place.height() < 0 else place.height())
        assert place.minimumHeight() == place.maximumHeight()
    assert len(heights) == 1


def trained(desk: Callable[..., Desk], show: bool = False) -> tuple[Desk, Labels, Labels]:
    at = desk(Image(two_textures(), name="textures"), show=show)
    at.click("new_labels_button")
    strokes = at.layer("textures strokes")
    at.paint_two_classes(strokes)
    at.wait(lambda: at.has_layer("textures segmentation") and at.session.training is Training.STEADY)
    at.wait(lambda: at.session.predicting == 0)
    return at, strokes, at.layer("textures segmentation")


def test_paint_on_the_segmentation_is_a_stroke_that_undo_takes_back(desk: Callable[..., Desk]) -> None:
    at, strokes, result = trained(desk)
    at.find("live_check").setChecked(False)
    painted, shown = strokes.data.copy(), result.data.copy()
    active = at.viewer.layers.selection
    active.active = result
    result.mode = "fill"
    at.qtbot.wait(20)
    assert result.selected_label == strokes.selected_label  # the class that the table shows
    number = 3 - int(result.data[4, 4])
    result.fill((4, 4), number)
    at.wait(lambda: not np.array_equal(strokes.data, painted))
    np.testing.assert_array_equal(result.data, shown)
    filled = strokes.data != painted
    assert filled[4, 4]
    assert set(strokes.data[filled]) == {number}
    assert active.active == strokes
    assert strokes.mode == "paint"
    at.wait(lambda: at.session.counts[number - 1][1] >= filled.sum())
    strokes.undo()
    np.testing.assert_array_equal(strokes.data, painted)

    # The brush and the number keys belong to the strokes, whichever of these layers is selected.
    active.active = result
    result.mode = "paint"
    at.wait(lambda: active.active == strokes)
    assert (str(result.mode), str(strokes.mode)) == ("pan_zoom", "paint")
    for layer in (result, at.layer("textures")):
        assert {"1", "2", "9"} <= {str(key) for key in layer.keymap}

    # Without a strokes layer there is one for the paint to go to.
    at.viewer.layers.remove(strokes)
    at.wait(lambda: at.session.strokes is None)
    assert not result.keymap
    with result.block_history():
        result.data_setitem((np.array([8, 9]), np.array([5, 5])), 2)
    at.wait(lambda: at.session.strokes is not None)
    fresh = at.dock.controller.strokes.layer
    assert set(zip(*np.nonzero(fresh.data), strict=True)) == {(8, 5), (9, 5)} or (
        (shown[8:10, 5] == 2).any()  # pixels that had the class already were no change
    )


def test_paint_on_the_segmentation_of_an_image_behind_is_not_lost(desk: Callable[..., Desk]) -> None:
    at, strokes, result = trained(desk)
    at.find("live_check").setChecked(False)
    at.viewer.add_image(two_textures(seed=3), name="other")
    at.find("image_combo").setCurrentText("other")
    painted, shown = strokes.data.copy(), result.data.copy()
    number = 3 - int(result.data[4, 4])
    result.fill((4, 4), number)  # with strokes behind it counts for these
    at.wait(lambda: not np.array_equal(strokes.data, painted))
    np.testing.assert_array_equal(result.data, shown)
    assert strokes.data[4, 4] == number
    result.mode = "paint"
    at.wait(lambda: at.viewer.layers.selection.active == strokes)
    assert str(strokes.mode) == "paint"

    at.viewer.layers.remove(strokes)  # without them, it is the user's
    result.mode = "paint"
    at.qtbot.wait(20)
    assert str(result.mode) == "paint"
    at.paint(result, number, (4, 4), (9, 9))
    at.qtbot.wait(20)
    assert result.data[4, 4] == number
    kept = result.data.copy()
    at.find("image_combo").setCurrentText("textures")
    at.click("predict_button")
    at.wait(lambda: at.session.complete)
    assert at.dock.controller.results.segmentation is not result
    np.testing.assert_array_equal(result.data, kept)


def test_the_brush_is_visible_at_every_zoom_until_the_user_chooses_one(desk: Callable[..., Desk]) -> None:
    image = Image(np.zeros((4000, 4000), np.uint8), name="large", scale=(0.5, 0.5))
    at = desk(image)
    at.click("new_labels_button")
    strokes, camera = at.layer("large strokes"), at.viewer.scene.camera
    for zoom in (0.1, 20.0, 0.02):
        camera.zoom = zoom
        at.wait(lambda zoom=zoom: strokes.brush_size == max(10, int(np.ceil(LEAST_ON_SCREEN / zoom / 0.5))))
    strokes.brush_size = 3
    camera.zoom = 0.05
    at.qtbot.wait(300)
    assert strokes.brush_size == 3
    chosen = Labels(np.zeros((4000, 4000), np.uint8), name="chosen", scale=(0.5, 0.5))
    chosen.brush_size = 4
    at.viewer.add_layer(chosen)
    at.find("labels_combo").setCurrentText("chosen")
    assert at.session.strokes == "chosen"
    assert chosen.brush_size == 4
    at.find("labels_combo").setCurrentText("large strokes")
    assert strokes.brush_size == 3


def test_keys_go_to_the_canvas_after_a_click_and_the_title_is_short(desk: Callable[..., Desk]) -> None:
    at, strokes, result = trained(desk, show=True)
    window = at.dock.window()
    window.activateWindow()
    canvas = canvas_of(at.dock)
    assert canvas is not None
    assert canvas.inherits("QOpenGLWidget")
    table = at.find("class_table")

    for widget, place in (
        (table.viewport(), table.visualItemRect(table.item(1, 2)).center()),
        (at.find("next_spot_button"), QPoint(5, 5)),
        (at.find("hide_background_check"), QPoint(5, 5)),
    ):
        window.setFocus()
        QTest.mouseClick(widget, Qt.MouseButton.LeftButton, pos=place)
        at.wait(lambda: QApplication.focusWidget() is canvas)
    assert strokes.selected_label == 2
    assert result.get_color(1)[3] == 0
    table.editItem(table.item(0, 2))
    editor = QApplication.focusWidget()
    assert editor is not canvas
    QTest.keyClicks(editor, "ground")
    QTest.keyClick(editor, Qt.Key.Key_Return)
    at.wait(lambda: QApplication.focusWidget() is canvas)
    assert at.session.classes[0].name == "ground"
    assert classes_of(result)[0].name == "ground"
    assert result.get_color(1)[3] == 0, "what is hidden stays so when the table changes"
    table.setFocus()
    QTest.keyClick(table, Qt.Key.Key_E)  # a letter is for the canvas
    at.wait(lambda: str(strokes.mode) == "erase")

    key = at.find("hold_label").text().split()[1]
    before = result.opacity
    objects = Labels(np.zeros_like(result.data), name="objects", opacity=0.6)
    mark_ours(objects, OBJECTS)
    at.viewer.add_layer(objects)
    at.viewer.layers.selection.active = strokes
    QTest.keyPress(canvas, key)
    assert (result.opacity, objects.opacity) == (0, 0)
    assert strokes.opacity > 0
    QTest.keyRelease(canvas, key)
    assert (result.opacity, objects.opacity) == (before, 0.6)
    at.find("overlay_opacity").setValue(75)
    assert result.opacity == 0.75
    result.opacity = 0.25
    assert at.find("overlay_opacity").value() == 25

    combo: QComboBox = at.find("device_combo")
    place = QPointF(5, 5)
    turn = QWheelEvent(
        place, combo.mapToGlobal(place), QPoint(0, -120), QPoint(0, -120), Qt.MouseButton.NoButton,
        Qt.KeyboardModifier.NoModifier, Qt.ScrollPhase.NoScrollPhase, False,
    )  # fmt: skip
    QApplication.sendEvent(combo, turn)
    assert combo.currentText() == "auto"

    around = at.dock.parent()
    for floating in (True, False):
        around.setFloating(floating)
        at.qtbot.wait(50)
        titles = [label.text() for label in around.titleBarWidget().findChildren(QLabel)]
        assert "Sparse-label segmentation" in titles
        assert not any("(napari-dsparse)" in title for title in titles)
    at.find("hide_background_check").setChecked(False)
    show_classes(strokes, default_classes(2))
    assert list(strokes.features["class"]) == class_features(default_classes(2))["class"]
