"""Several images, one model: the list in the dock, driven as a user does."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from napari.layers import Image, Labels
from qtpy.QtCore import QMimeData, QPointF, Qt, QUrl
from qtpy.QtGui import QDropEvent
from qtpy.QtWidgets import QFileDialog, QMessageBox

import napari_dsparse as nd
from gui_session import Desk, two_textures
from napari_dsparse.gui import added_files, class_actions, removing
from napari_dsparse.gui.layers.layer_choice import likely_strokes, strokes_of
from napari_dsparse.gui.layers.marks import mark_ours
from napari_dsparse.gui.layers.objects_layer import OBJECTS
from napari_dsparse.gui.layers.viewer import camera_of
from napari_dsparse.gui.study_files import read_file
from napari_dsparse.gui.widgets.images_list import ImagesList
from napari_dsparse.gui.widgets.objects_panel import OVER_PLANES
from napari_dsparse.live.state import Training


def rows(at: Desk) -> list[str]:
    shown = at.find("images_list")
    return [shown.item(number).text() for number in range(shown.count())]


def add(at: Desk, entry: str) -> None:
    """Choose an entry of the Add button's menu."""
    menu = at.find("add_image_button").menu()
    menu.aboutToShow.emit()
    action = next(each for each in menu.actions() if each.text() == entry)
    assert action.isEnabled(), f"{entry} cannot be chosen"
    action.trigger()


def pick(at: Desk, row: int) -> None:
    shown = at.find("images_list")
    shown.itemClicked.emit(shown.item(row))


def learned(at: Desk) -> None:
    at.wait(lambda: at.session.training is Training.STEADY)


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Three images of one kind, in files."""
    paths = [tmp_path / f"{name}.tif" for name in ("a", "b", "c")]
    for seed, path in enumerate(paths):
        tifffile.imwrite(path, two_textures(seed=seed))
    return paths


def test_strokes_of_all_images_make_one_model_the_same_as_without_a_window(
    desk: Callable[..., Desk], files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    at = desk()
    monkeypatch.setattr(QFileDialog, "getOpenFileNames", lambda *a, **k: ([str(p) for p in files], ""))
    add(at, "Files…")
    at.dock.study.wait()
    assert rows(at) == ["○ a.tif", "○ b.tif", "○ c.tif"]
    assert {layer.name for layer in at.viewer.layers} == {"a.tif", "a.tif strokes"}  # the others when chosen
    pick(at, 0)
    first = at.layer("a.tif strokes")
    at.paint(first, 1, (20, 20), (30, 30))
    at.paint(first, 2, (20, 100), (30, 110))
    learned(at)
    assert rows(at)[0].startswith("○ a.tif: 2 strokes, ")
    pick(at, 1)
    assert at.find("image_combo").currentText() == "b.tif"
    at.wait(lambda: at.has_layer("b.tif segmentation"))  # by the model of the list, unasked
    second = at.layer("b.tif strokes")
    at.paint(second, 1, (60, 20), (70, 40))
    at.wait(lambda: at.session.model is not None and len(at.session.model.keys) == 2)
    learned(at)
    assert at.strokes_of(1) == 2
    assert at.session.model is not None
    classifier = at.session.model.classifier
    expected = nd.train([np.asarray(tifffile.imread(p)) for p in files[:2]], [first.data, second.data])
    for name, value in expected.classifier.weights.items():
        np.testing.assert_array_equal(classifier.weights[name], value)
    pick(at, 2)
    assert at.session.applied
    at.click("predict_button")
    at.wait(lambda: at.session.complete)
    assert [row[0] for row in rows(at)] == ["○", "○", "●"]


def test_going_back_brings_the_strokes_and_learns_nothing_anew(
    desk: Callable[..., Desk], files: list[Path]
) -> None:
    at = desk()
    at.add_files(files[:2])
    pick(at, 0)
    at.paint_two_classes(at.layer("a.tif strokes"))
    learned(at)
    model = at.session.model
    assert model is not None
    pick(at, 1)
    pick(at, 0)
    assert at.session.strokes == "a.tif strokes"
    learned(at)
    assert at.session.model is not None
    assert at.session.model.classifier is model.classifier
    assert at.strokes_of(1) == 2


def test_a_whole_result_is_known_again_for_as_long_as_its_layer_holds_it(
    desk: Callable[..., Desk], files: list[Path]
) -> None:
    at = desk()
    at.add_files(files[:2])
    pick(at, 0)
    at.paint_two_classes(at.layer("a.tif strokes"))
    learned(at)
    at.click("predict_button")
    at.wait(lambda: at.session.complete)
    result = at.layer("a.tif segmentation")
    result.data[:] = 7  # whatever is computed again would be written over it
    pick(at, 1)
    at.wait(lambda: at.has_layer("b.tif segmentation"))
    assert [row[0] for row in rows(at)] == ["●", "○"]
    at.layer("a.tif").name = "renamed"
    pick(at, 0)
    assert at.session.complete
    learned(at)
    assert at.session.complete
    assert at.dock.controller.results is not None
    assert at.dock.controller.results.segmentation is result
    assert (result.data == 7).all()
    pick(at, 1)
    at.viewer.layers.remove(result.name)
    assert [row[0] for row in rows(at)] == ["○", "○"]
    pick(at, 0)
    assert not at.session.complete
    at.wait(lambda: at.dock.controller.results is not None and at.dock.controller.results.labels is not None)


def test_strokes_survive_the_removal_of_their_layers(desk: Callable[..., Desk], files: list[Path]) -> None:
    at = desk()
    at.add_files(files[:2])
    pick(at, 0)
    at.paint_two_classes(at.layer("a.tif strokes"))
    painted = at.layer("a.tif strokes").data.copy()
    learned(at)
    pick(at, 1)
    for name in ("a.tif strokes", "a.tif"):
        at.viewer.layers.remove(name)
    pick(at, 0)
    np.testing.assert_array_equal(at.layer("a.tif strokes").data, painted)
    learned(at)
    assert rows(at)[0].startswith("○ a.tif: 4 strokes")


def test_open_images_are_added_with_the_strokes_that_they_had(desk: Callable[..., Desk]) -> None:
    at = desk(Image(two_textures(seed=1), name="one"), Image(two_textures(seed=2), name="two"))
    at.click("new_labels_button")
    at.paint_two_classes(at.layer("two strokes"))
    learned(at)
    at.find("image_combo").setCurrentText("one")
    assert at.session.strokes is None  # strokes of another image are not taken for this one's
    add(at, "All open images")
    assert [row.split(":")[0] for row in rows(at)] == ["○ one", "○ two"]
    at.click("new_labels_button")
    at.wait(lambda: at.strokes_of(1) == 2)
    assert rows(at)[1].startswith("○ two: 4 strokes")


def test_what_cannot_be_added_is_said(desk: Callable[..., Desk], files: list[Path], tmp_path: Path) -> None:
    colour = tmp_path / "colour.png"
    from PIL import Image as Picture

    Picture.fromarray(np.zeros((20, 20, 3), np.uint8)).save(colour)
    (tmp_path / "broken.tif").write_bytes(b"no image")
    at = desk()
    at.add_files([tmp_path])
    assert rows(at) == ["○ a.tif", "○ b.tif", "○ c.tif"]
    assert "broken.tif" in at.status
    assert "Another one was not added either" in at.status
    at.add_files([files[0]])
    assert at.status == "Image 'a.tif' is in the list already."
    (tmp_path / "else").mkdir()
    link = tmp_path / "else" / "link.tif"
    link.symlink_to(files[0])
    at.add_files([link])
    assert at.status == "Image 'link.tif' is in the list already."
    at.add_files([colour])
    assert at.status.startswith("Image 'colour.png' has 3 channels and the others in the list have 1")


def test_only_the_image_in_front_is_shown_where_that_is_wanted(
    desk: Callable[..., Desk], files: list[Path]
) -> None:
    at = desk()
    at.add_files(files[:2])
    pick(at, 0)
    pick(at, 1)
    at.find("only_this_check").setChecked(True)
    objects = Labels(np.zeros(at.layer("a.tif").data.shape, np.uint32), name="a.tif objects")
    mark_ours(objects, OBJECTS, at.layer("a.tif"))
    at.viewer.add_layer(objects)
    pick(at, 1)
    assert not objects.visible
    shown = {layer.name for layer in at.viewer.layers if layer.visible}
    assert shown == {"b.tif", "b.tif strokes"}
    pick(at, 0)
    found = {layer.name for layer in at.viewer.layers if layer.visible}
    assert found == {"a.tif", "a.tif strokes", "a.tif objects"}
    at.find("only_this_check").setChecked(False)
    assert all(layer.visible for layer in at.viewer.layers)


def test_a_renamed_image_keeps_its_results(desk: Callable[..., Desk], files: list[Path]) -> None:
    at = desk()
    at.add_files(files[:2])
    pick(at, 0)
    strokes = at.layer("a.tif strokes")
    at.paint(strokes, 1, (20, 20), (30, 30))
    at.paint(strokes, 2, (20, 100), (30, 110))
    learned(at)
    at.click("predict_button")
    at.wait(lambda: at.session.complete)
    image, result = at.layer("a.tif"), at.layer("a.tif segmentation")
    image.name = "my favourite"
    pick(at, 1)
    at.wait(lambda: at.has_layer("b.tif segmentation"))
    at.layer("b.tif").name = "a.tif"  # the name of another image before
    at.find("only_this_check").setChecked(True)
    assert not result.visible, "is the other image's"
    pick(at, 0)
    assert at.dock.controller.results.segmentation is result
    assert result.visible
    assert not at.layer("b.tif segmentation").visible
    names = [layer.name for layer in at.viewer.layers]
    assert "my favourite segmentation" not in names, "nothing was made twice"
    result.name = "to keep"
    removing.close_layers(at.dock, at.dock.study.study.images)
    assert [layer.name for layer in at.viewer.layers] == ["to keep"]


def test_strokes_on_a_renamed_image_are_its_likely_ones(
    desk: Callable[..., Desk],
) -> None:
    at = desk(Image(two_textures(), name="first"))
    at.click("new_labels_button")
    at.paint(at.dock.controller.strokes.layer, 1, (20, 20), (30, 30))
    own = at.dock.controller.strokes.layer
    other = Image(two_textures(seed=1), name="other")
    at.viewer.add_layer(other)
    at.dock.show_image(other, None, None)
    at.click("new_labels_button")
    at.paint(at.dock.controller.strokes.layer, 2, (20, 20), (30, 30))
    at.viewer.layers[0].name = "renamed"
    assert likely_strokes(strokes_of(at.viewer), at.dock.controller.frame, at.viewer.layers[0]) is own


def test_a_removed_image_has_no_part_in_learning(
    desk: Callable[..., Desk], files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(QMessageBox, "question", lambda *a, **k: QMessageBox.StandardButton.Yes)
    at = desk()
    at.add_files(files[:2])
    pick(at, 0)
    at.paint_two_classes(at.layer("a.tif strokes"))
    pick(at, 1)
    at.paint_two_classes(at.layer("b.tif strokes"))
    at.wait(lambda: at.strokes_of(1) == 4)
    at.find("images_list").setCurrentRow(0)
    at.click("remove_image_button")
    assert [row.split(":")[0] for row in rows(at)] == ["○ b.tif"]
    at.wait(lambda: at.strokes_of(1) == 2)
    assert at.has_layer("a.tif strokes")


def test_a_few_planes_of_which_nothing_is_said_are_channels(
    desk: Callable[..., Desk], tmp_path: Path
) -> None:
    planes = np.stack([two_textures(seed=1), two_textures(seed=2)])
    np.save(tmp_path / "pair.npy", planes)
    at = desk()
    at.add_files([tmp_path / "pair.npy"])
    pick(at, 0)
    assert at.find("channels_combo").currentText() == "axis 0: 2 channels"
    assert at.layer("pair.npy strokes").data.shape == (96, 128)
    at.paint_two_classes(at.layer("pair.npy strokes"))
    learned(at)
    assert at.session.model is not None
    assert at.session.model.classifier.spec.channels == 2


def test_files_can_be_dropped_on_the_list(desk: Callable[..., Desk], files: list[Path]) -> None:
    at = desk()
    shown: ImagesList = at.find("images_list")
    mime = QMimeData()
    mime.setUrls([QUrl.fromLocalFile(str(files[0]))])
    event = QDropEvent(
        QPointF(5, 5),
        Qt.DropAction.CopyAction,
        mime,
        Qt.MouseButton.LeftButton,
        Qt.KeyboardModifier.NoModifier,
    )
    shown.dropEvent(event)
    at.dock.study.wait()
    assert rows(at) == ["○ a.tif"]


def test_an_edit_of_the_classes_and_its_undo_reach_the_strokes_of_all_images(
    desk: Callable[..., Desk], files: list[Path]
) -> None:
    at = desk()
    at.add_files(files[:2])
    pick(at, 0)
    at.click("add_class_button")
    first = at.layer("a.tif strokes")
    for number, x in ((1, 20), (2, 80), (3, 110)):
        at.paint(first, number, (20, x), (30, x))
    at.wait(lambda: at.strokes_of(3) == 1)
    pick(at, 1)
    second = at.layer("b.tif strokes")
    at.paint(second, 1, (20, 20), (30, 20))
    at.paint(second, 3, (60, 100), (70, 100))
    at.wait(lambda: at.strokes_of(3) == 2)
    painted = first.data.copy(), second.data.copy()
    behind = Labels(painted[0].copy(), name="a.tif segmentation")
    mark_ours(behind, "segmentation", at.layer("a.tif"))
    at.viewer.add_layer(behind)
    at.dock.class_actions.merge_class(3, 2)
    at.wait(lambda: at.strokes_of(2) >= 2)
    learned(at)
    assert len(at.session.classes) == 2
    for layer, before in zip((first, second), painted, strict=True):
        np.testing.assert_array_equal(layer.data, np.where(before == 3, 2, before))
    np.testing.assert_array_equal(behind.data, first.data, "what is shown of an image behind follows")
    merged = first.data.copy()
    first.undo()
    np.testing.assert_array_equal(first.data, np.where(painted[0] == 3, 0, merged))
    first.redo()
    np.testing.assert_array_equal(first.data, merged)
    at.click("undo_class_button")
    at.wait(lambda: at.strokes_of(3) == 2)
    np.testing.assert_array_equal(behind.data, np.where(painted[0] == 1, 1, 0), "two classes were one there")
    for layer, before in zip((first, second), painted, strict=True):
        np.testing.assert_array_equal(layer.data, before)
    pick(at, 0)
    assert at.session.strokes == "a.tif strokes"
    assert [info.name for info in at.session.classes] == ["background", "object", "class 3"]
    first.undo()  # the last stroke, and in the numbers of the present table
    np.testing.assert_array_equal(first.data, np.where(painted[0] == 3, 0, painted[0]))
    first.redo()
    np.testing.assert_array_equal(first.data, painted[0])


def test_classes_edited_beside_the_list_leave_it_and_its_model_right(
    desk: Callable[..., Desk], files: list[Path]
) -> None:
    at = desk()
    at.add_files(files[:1])
    pick(at, 0)
    at.click("add_class_button")
    first = at.layer("a.tif strokes")
    for number, x in ((1, 20), (2, 80), (3, 110)):
        at.paint(first, number, (20, x), (30, x))
    at.wait(lambda: at.strokes_of(3) == 1)
    learned(at)
    before = first.data.copy()
    at.viewer.add_image(two_textures(seed=7), name="beside")
    at.find("image_combo").setCurrentText("beside")
    at.dock.class_actions.move_class(1, 3)
    pick(at, 0)
    np.testing.assert_array_equal(first.data, before)
    assert [info.name for info in at.session.classes] == ["background", "object", "class 3"]
    learned(at)
    assert at.session.model is not None
    assert [info.name for info in at.session.model.classifier.classes] == ["background", "object", "class 3"]


def test_paint_on_another_image_is_asked_about_before_a_class_is_removed(
    desk: Callable[..., Desk], files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    at = desk()
    at.add_files(files[:2])
    pick(at, 0)
    at.click("add_class_button")
    first = at.layer("a.tif strokes")
    at.paint(first, 3, (20, 20), (30, 20))
    at.wait(lambda: at.strokes_of(3) == 1)
    before = first.data.copy()
    pick(at, 1)
    at.wait(lambda: at.strokes_of(3) == 1)
    asked: list[int] = []
    monkeypatch.setattr(
        class_actions, "ask_removal", lambda parent, name, pixels, others: asked.append(pixels)
    )
    at.dock.class_actions.remove_class(3)
    assert asked == [np.count_nonzero(before)]
    np.testing.assert_array_equal(first.data, before)
    second = at.layer("b.tif strokes")
    at.paint(second, 3, (20, 20), (30, 20))
    pick(at, 0)
    at.paint(first, 3, (60, 20), (60, 30))
    at.dock.class_actions.remove_class(3)  # before anything was counted anew
    assert asked[1] == np.count_nonzero(first.data) + np.count_nonzero(second.data)


def test_a_file_is_in_the_list_once_however_it_was_opened(
    desk: Callable[..., Desk], files: list[Path]
) -> None:
    at = desk()
    at.add_files(files[:1])
    at.viewer.open(files[0])
    add(at, "All open images")
    assert rows(at) == ["○ a.tif"]
    assert at.status == "Image 'a' is in the list already."
    pick(at, 0)
    at.find("images_list").setCurrentRow(0)
    at.click("remove_image_button")
    add(at, "This image")
    assert at.dock.study.study.images[0].path == files[0]


def test_a_folder_is_looked_into_beside_the_window(
    desk: Callable[..., Desk], files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    at, go_on, listing = desk(), threading.Event(), Path.iterdir

    def slowly(path: Path) -> object:
        go_on.wait(60)
        if path.name == "closed":
            raise PermissionError(13, "Permission denied")
        return listing(path)

    folder, empty, closed = files[0].parent, files[0].parent / "empty", files[0].parent / "closed"
    empty.mkdir()
    closed.mkdir()
    (folder / "notes.txt").write_text("no image")
    at.viewer.open(files[1])
    monkeypatch.setattr(Path, "iterdir", slowly)
    at.dock.study.add_files([files[2], folder, empty, closed])
    assert rows(at)[1] == f"… {folder.name}: being read"
    go_on.set()
    at.dock.study.wait()
    assert sorted(rows(at)) == ["○ a.tif", "○ b", "○ c.tif"]
    assert at.status.startswith("Image 'c.tif' is in the list already.") or "There are no images" in at.status
    at.dock.study.add_files([closed])
    at.dock.study.wait()
    assert at.status == f"Folder '{closed}' cannot be listed (Permission denied); choose another one."
    at.dock.study.add_files([empty])
    at.dock.study.wait()
    assert at.status == "There are no images in 'empty'; choose another folder."


def test_files_are_read_beside_the_window_and_may_be_taken_out_meanwhile(
    desk: Callable[..., Desk], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at, go_on, names = desk(), threading.Event(), ("a", "b", "c", "large")
    for name in names:
        np.save(tmp_path / f"{name}.npy", two_textures((96, 128) if name != "large" else (3000, 2000)))
    (tmp_path / "c.npy").write_bytes(b"damaged")

    def slowly(path: Path, series: int | None) -> object:
        go_on.wait(60)
        return read_file(path, series)

    monkeypatch.setattr(added_files, "read_file", slowly)
    at.dock.study.add_files([tmp_path / f"{name}.npy" for name in names])
    shown = at.find("images_list")
    assert [shown.item(n).text() for n in range(4)] == [f"… {name}.npy: being read" for name in names]
    at.dock.study.pick(0)  # not yet
    shown.setCurrentRow(1)
    at.click("remove_image_button")
    go_on.set()
    at.dock.study.wait()
    assert [shown.item(n).text() for n in range(shown.count())] == ["○ a.npy", "○ large.npy"]
    assert "c.npy" in at.status
    at.dock.study.pick(1)
    assert not at.has_layer("large.npy")  # its pixels are read first
    at.dock.study.wait()
    assert at.has_layer("large.npy strokes")


def test_an_image_is_fitted_when_it_is_opened_and_comes_back_as_it_was_left(
    desk: Callable[..., Desk], files: list[Path], tmp_path: Path
) -> None:
    large = tmp_path / "large.tif"
    tifffile.imwrite(large, two_textures((600, 800)))
    at = desk()
    at.add_files([files[0], large])
    pick(at, 0)
    camera = camera_of(at.viewer)
    camera.center, camera.zoom = (0, 40, 30), 17
    pick(at, 1)
    np.testing.assert_allclose(camera.center[-2:], (299.5, 399.5))
    assert camera.zoom < 5
    pick(at, 0)
    np.testing.assert_allclose(camera.center[-2:], (40, 30))
    assert camera.zoom == 17


def test_a_series_in_time_is_one_in_the_list_too(desk: Callable[..., Desk], tmp_path: Path) -> None:
    film = np.stack([two_textures(seed=seed) for seed in range(5)])
    tifffile.imwrite(tmp_path / "film.tif", film, imagej=True, metadata={"axes": "TYX"})
    tifffile.imwrite(tmp_path / "stack.tif", film, imagej=True, metadata={"axes": "ZYX"})
    tifffile.imwrite(tmp_path / "plane.tif", two_textures((300, 400)))
    at = desk()
    at.add_files([tmp_path / "film.tif", tmp_path / "stack.tif"])
    pick(at, 0)
    assert at.layer("film.tif").axis_labels == ("t", "y", "x")
    assert at.find("depth_check").isHidden()
    planes = at.find("planes_combo")
    assert planes.isHidden()
    pick(at, 1)
    assert not planes.isHidden()
    planes.setCurrentText(OVER_PLANES)
    assert at.dock.panel.objects_panel.options.volume
    pick(at, 0)
    assert not at.dock.panel.objects_panel.options.volume
    pick(at, 1)
    assert at.layer("stack.tif").axis_labels == ("z", "y", "x")
    at.add_files([tmp_path / "plane.tif"])
    pick(at, 2)  # of fewer axes than the viewer has now
    assert at.find("image_combo").currentText() == "plane.tif"
    camera = camera_of(at.viewer)
    np.testing.assert_allclose(camera.center[-2:], (149.5, 199.5))
    assert camera.zoom * 400 <= at.viewer.canvas.size[1]
    assert at.find("depth_check").isHidden()
    one, other, _ = (image.source.depth_problem for image in at.dock.study.study.images)
    assert "in time" in str(one)
    assert other is None
