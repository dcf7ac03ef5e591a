"""Objects in the window: found, previewed, measured, and tied to their table."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from napari.components import ViewerModel
from napari.layers import Image
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFileDialog
from skimage.draw import disk

import napari_dsparse as nd
from gui_session import Desk
from napari_dsparse.classifier.classes import default_classes
from napari_dsparse.gui import measured_objects, objects_desk
from napari_dsparse.gui.layers.image_frame import channel_choices, frame_of
from napari_dsparse.gui.layers.objects_layer import ObjectsLayers
from napari_dsparse.gui.layers.viewer import camera_of
from napari_dsparse.gui.objects_work import ObjectsWork
from napari_dsparse.gui.widgets.objects_panel import OVER_PLANES, ObjectsPanel
from napari_dsparse.gui.widgets.objects_table import ObjectsTable
from napari_dsparse.prediction.measurement_table import column_titles, measurement_table
from napari_dsparse.prediction.object_options import ObjectOptions
from napari_dsparse.prediction.objects import find_objects
from napari_dsparse.prediction.objects_in_view import objects_in_view
from napari_dsparse.prediction.tiles import FieldOfView

SCALE, UNIT = 0.5, "micrometer"


def spots() -> np.ndarray:
    """Bright disks on dark ground, two of which touch."""
    image = np.random.default_rng(0).normal(50, 4, (96, 128))
    for row, column, radius in ((20, 24, 10), (60, 30, 10), (60, 48, 10), (30, 90, 14), (80, 100, 8)):
        image[disk((row, column), radius)] += 120
    return image.clip(0, 255).astype(np.uint8)


def segmented(desk: Callable[..., Desk]) -> Desk:
    """The image with strokes on it, and a model that has learned from them."""
    at = desk(Image(spots(), name="spots", scale=(SCALE, SCALE), units=(UNIT, UNIT)))
    at.find("live_check").setChecked(False)
    at.click("new_labels_button")
    strokes = at.layer("spots strokes")
    for number, points in ((1, ((8, 60), (88, 66))), (1, ((45, 80), (50, 120))), (2, ((16, 20), (24, 28)))):
        at.paint(strokes, number, *points)
    at.paint(strokes, 2, (26, 84), (34, 96))
    at.wait(lambda: at.strokes_of(2) == 2)
    at.click("train_button")
    at.wait(lambda: at.session.has_model and not at.session.learning)
    return at


def label(at: Desk) -> str:
    return str(at.find("objects_label").text())


def test_objects_are_found_measured_and_followed(
    desk: Callable[..., Desk], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    at = segmented(desk)
    at.find("min_size_spin").setValue(12)
    at.find("preview_check").setChecked(False)

    # The whole image is segmented first, then come the objects, then their table.
    at.click("measure_button")
    at.wait(lambda: at.has_layer("spots objects"))
    objects, segmentation = at.layer("spots objects"), at.layer("spots segmentation")
    at.wait(lambda: at.find("objects_button").isEnabled())
    assert at.session.complete
    expected = find_objects(segmentation.data, min_size=12)
    np.testing.assert_array_equal(objects.data, expected)
    assert expected.max() >= 5
    np.testing.assert_allclose(objects.scale, segmentation.scale)
    assert label(at) == f"{expected.max()} objects in spots objects."

    measured = at.dock.objects._measured
    table = nd.measure(expected, spots(), classes=segmentation.data, scale=(SCALE, SCALE))
    pd.testing.assert_frame_equal(measured.table[list(table.columns)], table)
    assert set(measured.table["image"]) == {"spots"}
    widget = measured._widget
    titles = [widget.view.model().headerData(n, Qt.Orientation.Horizontal) for n in range(6)]
    assert titles[:4] == ["label", "class", "class name", "area (µm²)"]

    # A row leads to its object, and an object to its row.
    widget.view.selectRow(2)
    number = int(widget.view.model().index(2, 0).data())
    assert objects.selected_label == number
    centre = table[["centroid-0", "centroid-1"]].iloc[number - 1]
    np.testing.assert_allclose(camera_of(at.viewer).center[-2:], centre)
    objects.selected_label = 4
    assert int(widget.view.currentIndex().siblingAtColumn(0).data()) == 4
    row, column = np.argwhere(expected == 1)[0] * SCALE
    click(at, (row, column))
    assert int(widget.view.currentIndex().siblingAtColumn(0).data()) == 1

    # It is saved as it was measured, beside what is under way.
    monkeypatch.setattr(objects_desk, "ask_save_path", lambda *a: (tmp_path / "table.csv", False))
    at.dock.objects.work.begin("Finding objects", until_stopped, pytest.fail)
    widget.save_button.click()
    at.wait(lambda: widget.note.text().endswith("Saved as table.csv."))
    assert label(at) == "Finding objects ..."  # still
    at.click("objects_cancel_button")
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "table.csv"), measured.table, check_dtype=False)
    assert widget.note.text().endswith("Saved as table.csv.")

    # Other options, and another segmentation, are said.
    at.find("border_objects_check").setChecked(False)
    at.wait(lambda: "Preview: " in label(at))
    assert at.has_layer("spots objects (preview)")
    assert not objects.visible
    at.find("preview_check").setChecked(False)
    assert not at.has_layer("spots objects (preview)")
    assert objects.visible
    assert label(at).endswith(objects_desk.OTHER_OPTIONS)
    at.find("border_objects_check").setChecked(True)
    at.find("preview_check").setChecked(False)
    assert label(at) == f"{expected.max()} objects in spots objects."
    before = at.session.counts
    at.paint(at.layer("spots strokes"), 1, (60, 26), (60, 34))
    at.wait(lambda: at.session.counts != before)
    at.click("train_button")
    at.wait(lambda: label(at).endswith(objects_desk.CHANGED))
    assert objects_desk.CHANGED in widget.note.text()

    # Measured again, they are found again first.
    at.click("measure_button")
    at.wait(lambda: at.find("objects_button").isEnabled())
    again = find_objects(segmentation.data, min_size=12)
    np.testing.assert_array_equal(objects.data, again)
    assert list(measured.table["label"]) == list(range(1, again.max() + 1))

    # A table of other objects than those shown says so, and its rows lead nowhere.
    at.find("min_size_spin").setValue(13)
    at.find("preview_check").setChecked(False)
    at.wait(lambda: not at.session.learning)
    at.click("objects_button")
    at.wait(lambda: at.find("objects_button").isEnabled())
    assert measured_objects.FOUND_ANEW in widget.note.text()
    assert "area" not in objects.features
    before = objects.selected_label
    widget.view.selectRow(before % 4)
    assert objects.selected_label == before
    at.click("measure_button")
    at.wait(lambda: at.find("objects_button").isEnabled())
    assert widget.note.text() == f"Objects of spots: {again.max()} rows."

    # What the user has painted on the objects is theirs, also while another image is in front.
    at.viewer.add_image(spots(), name="others")
    images = at.find("image_combo")
    images.setCurrentIndex(images.findText("others"))
    assert "may have changed" in widget.note.text()
    at.paint(objects, 77, (4, 4), (4, 10))
    assert measured_objects.PAINTED in widget.note.text()
    mine = objects.data.copy()
    images.setCurrentIndex(images.findText("spots"))
    at.click("objects_button")
    at.wait(lambda: at.has_layer("spots objects [1]") and at.find("objects_button").isEnabled())
    np.testing.assert_array_equal(objects.data, mine)
    np.testing.assert_array_equal(
        at.layer("spots objects [1]").data, find_objects(segmentation.data, min_size=12)
    )


def until_stopped(progress: Callable[[float], None], stop: Callable[[], bool]) -> None:
    while not stop():
        time.sleep(0.01)


def click(at: Desk, position: tuple[float, float]) -> None:
    """Press and release on the canvas, as napari tells its callbacks."""
    event = SimpleNamespace(
        position=position, view_direction=None, dims_displayed=(0, 1), modifiers=(), type="mouse_press"
    )
    for callback in at.viewer.mouse_drag_callbacks:
        event.type = "mouse_press"
        steps = callback(at.viewer, event)
        next(steps, None)
        event.type = "mouse_release"
        next(steps, None)


# -- parts ----------------------------------------------------------------------------------------------


def test_objects_that_come_amid_a_stroke_leave_it_and_get_a_layer_of_their_own() -> None:
    viewer = ViewerModel()
    image = viewer.add_image(spots(), name="spots")
    layers = ObjectsLayers(viewer, image, frame_of(image, channel_choices(image)[0]))
    numbers = np.zeros((96, 128), np.uint32)
    numbers[5:9, 5:9] = 1
    first = layers.show(numbers.copy())
    assert layers.show(numbers.copy()) is first  # untouched
    with first.block_history():  # as napari's brush does while the mouse is held
        first.paint((40, 40), 7)
        second = layers.show(np.zeros_like(numbers))
        first.paint((50, 50), 7)
    assert second is not first
    assert (first.data[40, 40], first.data[50, 50], first.data[6, 6]) == (7, 7, 1)
    assert not second.data.any()


def test_only_the_newest_look_is_answered_and_a_stopped_job_is_not(qtbot: Any) -> None:
    work, answers, ready = ObjectsWork(), [], threading.Event()
    work.look("a", lambda: ready.wait(10) and "first", answers.append)
    for number in range(5):
        work.look("a", lambda number=number: number, answers.append)
    ready.set()
    qtbot.waitUntil(lambda: 4 in answers)
    assert answers == ["first", 4]
    ready.clear()
    work.begin("Working", lambda progress, stop: ready.wait(10), answers.append)
    assert work.doing == "Working"
    work.stop()
    ready.set()
    with qtbot.waitSignal(work.progressed):
        work.begin("Working", lambda progress, stop: progress(0.5) or "second", answers.append)
    qtbot.waitUntil(lambda: work.doing is None)
    assert answers == ["first", 4, "second"]
    with qtbot.waitSignal(work.failed) as failed:
        work.begin("Working", lambda progress, stop: find_objects(np.ones((2, 2))), answers.append)
    assert "Labels came as float64" in failed.args[0]
    work.shutdown()


def test_the_panel_says_what_an_object_is(qtbot: Any) -> None:
    panel = ObjectsPanel()
    qtbot.addWidget(panel)
    panel.show_classes(default_classes(3))
    assert panel.options == ObjectOptions()
    with qtbot.waitSignal(panel.changed):
        panel.splitting_slider.setValue(60)
    panel.max_hole_spin.setValue(9)
    actions = panel._classes_menu.actions()
    actions[1].trigger()
    assert panel.options == ObjectOptions(classes=(3,), splitting=0.6, max_hole=9)
    actions[2].trigger()  # the last one stays
    assert panel.options.classes == (3,)
    panel.show_planes(True)
    panel.planes_combo.setCurrentText(OVER_PLANES)
    assert panel.options.volume
    panel.show_planes(False)
    assert not panel.options.volume


def test_the_table_sorts_numbers_as_numbers_and_keeps_track_of_its_rows(qtbot: Any) -> None:
    objects = np.zeros((30, 40), np.uint32)
    for number, side in enumerate((2, 10, 4), start=1):
        objects[12 * (number - 1) : 12 * (number - 1) + min(side, 6), :side] = number
    table = measurement_table(objects, scale=(2, 2), units=("micrometer", "micrometer"), image_name="a")
    shown = ObjectsTable()
    qtbot.addWidget(shown)
    shown.show_table(table)
    model = shown.view.model()
    assert [model.index(row, 0).data() for row in range(3)] == ["1", "2", "3"]
    model.sort(1, Qt.SortOrder.DescendingOrder)  # by area: 240, 64 and 16
    assert [model.index(row, 0).data() for row in range(3)] == ["2", "3", "1"]
    with qtbot.waitSignal(shown.picked) as picked:
        shown.view.selectRow(1)
    assert picked.args == [2]
    shown.show_row(0)
    assert shown.view.currentIndex().row() == 2


def test_titles_of_columns_have_units() -> None:
    names = [
        "label",
        "area",
        "volume",
        "centroid-0",
        "equivalent_diameter",
        "orientation",
        "intensity_mean",
    ]
    assert column_titles(names, "micrometer") == [
        "label",
        "area (µm²)",
        "volume (µm³)",
        "centroid-0 (µm)",
        "equivalent diameter (µm)",
        "orientation (rad)",
        "intensity mean",
    ]
    assert column_titles(["area"], "pixel") == ["area (px²)"]


@pytest.mark.parametrize("volume", [False, True])
def test_a_look_at_the_view_shows_what_will_be_found(volume: bool) -> None:
    rng = np.random.default_rng(1)
    labels = np.ones((3, 400, 500), np.uint8)
    for row, column in rng.integers(10, 390, (120, 2)):
        labels[rng.integers(3)][disk((row, column), 8, shape=(400, 500))] = 2
    options = ObjectOptions(border_objects=False, volume=volume)
    view = FieldOfView((1,), (40, 300), (100, 350))
    seen = objects_in_view(labels, options, view)
    whole = find_objects(labels, options)[1, 40:300, 100:350]
    assert seen.corner == (40, 100)
    assert seen.whole_view
    assert seen.count == len(np.unique(whole[whole > 0]))
    pairs = np.unique(np.stack([seen.numbers.ravel(), whole.ravel()]), axis=1)
    assert pairs.shape[1] == len(np.unique(whole))  # the same objects under other numbers
    moved = objects_in_view(labels, options, FieldOfView((1,), (50, 300), (100, 350)))
    np.testing.assert_array_equal(moved.numbers, seen.numbers[10:])  # and these last
    everything = FieldOfView((1,), (0, 9000), (0, 9000))
    large = objects_in_view(np.ones((2, 9000, 9000), np.uint8), ObjectOptions(), everything)
    assert not large.whole_view
    assert large.numbers.size <= 2_000_000


def test_objects_are_exported_with_the_classes_that_they_were_found_with(
    desk: Callable[..., Desk], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = segmented(desk)
    at.click("predict_button")
    at.wait(lambda: at.session.complete and at.find("objects_button").isEnabled())
    at.click("objects_button")
    at.wait(lambda: any(layer.name == "spots objects" for layer in at.viewer.layers))
    at.layer("spots objects").name = "my spots"
    at.paint(at.layer("spots strokes"), 1, (70, 110), (72, 116))
    at.click("train_button")
    at.wait(lambda: not at.session.complete)  # the segmentation is another one now, or none yet
    path = tmp_path / "o.geojson"
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *a, **k: (str(path), ""))
    action = at.dock.exports._actions["objects"]
    assert action.isEnabled()
    action.trigger()
    at.wait(lambda: not at.dock.exports.running)
    features = json.loads(path.read_text())["features"]
    assert len(features) == at.layer("my spots").data.max() > 0
    assert {each["properties"]["classification"]["name"] for each in features} == {"object"}
