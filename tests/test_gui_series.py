"""Files with several images: the window asks which of them to add."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import tifffile
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QDialog

import napari_dsparse as nd
from gui_session import Desk, two_textures
from napari_dsparse.gui.batch_images import items_of_files, wanted_images
from napari_dsparse.gui.study_files import read_file
from napari_dsparse.gui.widgets.plate_dialog import PlateDialog
from napari_dsparse.gui.widgets.series_dialog import SeriesDialog
from napari_dsparse.images.plates import name_within, read_plate


def several(path: Path) -> Path:
    """A TIFF of three images: one larger, two smaller."""
    with tifffile.TiffWriter(path) as tiff:
        for shape, seed in (((40, 50), 1), ((96, 128), 2), ((60, 70), 3)):
            tiff.write(two_textures(shape, seed), metadata=None)
    return path


def test_a_file_with_one_image_offers_no_choice(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "one.tif", two_textures())
    file, _ = read_file(tmp_path / "one.tif", None)
    assert file.choices == ()
    file, _ = read_file(several(tmp_path / "three.tif"), None)
    assert (file.choices, file.series) == (((0, (40, 50)), (1, (96, 128)), (2, (60, 70))), 1)


def test_the_images_that_are_checked_are_added_each_by_its_number(
    desk: Callable[..., Desk], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = several(tmp_path / "a.tif"), several(tmp_path / "b.tif")
    tifffile.imwrite(tmp_path / "c.tif", two_textures())
    asked: list[SeriesDialog] = []

    def answer(dialog: SeriesDialog) -> QDialog.DialogCode:
        asked.append(dialog)
        assert dialog.chosen == (1,)
        dialog.series_list.item(1).setCheckState(Qt.CheckState.Unchecked)
        assert not dialog.add_button.isEnabled()
        dialog.all_button.click()
        assert dialog.chosen == (0, 1, 2)
        dialog.series_list.item(1).setCheckState(Qt.CheckState.Unchecked)
        dialog.others_check.setChecked(True)
        return QDialog.DialogCode.Accepted

    monkeypatch.setattr(SeriesDialog, "exec", answer)
    at = desk()
    at.add_files([first, second, tmp_path / "c.tif"])
    assert len(asked) == 1
    images = at.dock.study.study.images
    names = ["a.tif, image 0", "a.tif, image 2", "b.tif, image 0", "b.tif, image 2", "c.tif"]
    assert [each.name for each in images] == names
    assert [each.source.shape for each in images[:2]] == [(40, 50), (60, 70)]
    at.dock.study.pick(1)
    assert at.session.image == "a.tif, image 2"
    np.testing.assert_array_equal(at.layer("a.tif, image 2").data, two_textures((60, 70), 3))
    at.add_files([first])
    assert len(images) == 5
    assert "in the list already" in at.status
    monkeypatch.setattr(SeriesDialog, "exec", lambda dialog: QDialog.DialogCode.Rejected)
    at.add_files([first])
    assert len(images) == 5


def test_images_of_one_file_are_told_apart_in_a_project_that_is_opened(
    desk: Callable[..., Desk], tmp_path: Path
) -> None:
    file, strokes = several(tmp_path / "a.tif"), np.zeros((60, 70), np.uint8)
    strokes[10, 5:9], strokes[10, 60:64] = 1, 2
    with nd.Project.create(tmp_path / "p.dsparse") as project:
        project.add(file, series=0)
        project.add(file, strokes, series=2)
        project.save()
    at = desk()
    at.dock.projects.open(tmp_path / "p.dsparse")
    at.wait(lambda: len(at.dock.study.study.images) == 2)
    assert [each.name for each in at.dock.study.study.images] == ["a.tif, image 0", "a.tif, image 2"]
    at.wait(lambda: at.has_layer("a.tif, image 2 strokes"))
    np.testing.assert_array_equal(at.layer("a.tif, image 2 strokes").data, strokes)


def plate(path: Path, wells: Sequence[str] = ("A/1", "B/3"), fields: int = 2) -> Path:
    """An OME-Zarr plate, every field another texture."""
    zarr = pytest.importorskip("zarr")
    group = zarr.create_group(str(path))
    described = {"version": "0.5", "plate": {"wells": [{"path": well} for well in wells]}}
    group.attrs["ome"] = described
    for number, name in enumerate(wells):
        well = group.create_group(name)
        images = [{"path": str(field)} for field in range(fields)]
        well.attrs["ome"] = {"version": "0.5", "well": {"images": images}}
        for field in range(fields):
            image = well.create_group(str(field))
            image.create_array("0", data=two_textures(seed=2 * number + field))
            axes = [{"name": "y", "type": "space"}, {"name": "x", "type": "space"}]
            image.attrs["ome"] = {
                "version": "0.5",
                "multiscales": [{"axes": axes, "datasets": [{"path": "0"}], "name": "0"}],
            }
    return path


def test_the_wells_of_a_plate_are_told_and_those_that_are_missing(tmp_path: Path) -> None:
    path = plate(tmp_path / "p.zarr", ("A/1", "B/3", "C/5"))
    shutil.rmtree(path / "C" / "5")
    found = read_plate(path)
    assert found is not None
    assert found.wells == {well: (path / well / "0", path / well / "1") for well in ("A/1", "B/3")}
    assert found.unread == ("C/5",)
    assert read_plate(path / "A" / "1") is None
    assert read_plate(tmp_path) is None
    group = pytest.importorskip("zarr").open_group(str(path))
    group.attrs["ome"] = {"plate": {"wells": [{"path": "../../outside"}, {"path": "A/1"}]}}
    found = read_plate(path)
    assert found is not None
    assert (list(found.wells), found.unread) == (["A/1"], ("../../outside",))
    assert name_within(path / "A" / "1" / "0") == "p.zarr/A/1/0"
    assert name_within(path) == "p.zarr"
    assert name_within(tmp_path / "a.tif") == "a.tif"


def test_wells_of_a_plate_are_chosen_named_and_kept_in_a_project(
    desk: Callable[..., Desk], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = plate(tmp_path / "p.zarr")

    def answer(dialog: PlateDialog) -> QDialog.DialogCode:
        assert [dialog.wells_list.item(row).text() for row in range(2)] == ["A/1: 2 fields", "B/3: 2 fields"]
        assert dialog.chosen == [path / "A" / "1" / "0"]
        dialog.wells_list.clearSelection()
        assert not dialog.add_button.isEnabled()
        dialog.all_button.click()
        dialog.fields_combo.setCurrentText("all")
        assert dialog.count_label.text() == "4 images to add"
        dialog.fields_combo.setCurrentText("field 1")
        return QDialog.DialogCode.Accepted

    monkeypatch.setattr(PlateDialog, "exec", answer)
    at = desk()
    at.add_files([path])
    images = at.dock.study.study.images
    names = ["p.zarr/A/1/1", "p.zarr/B/3/1"]
    assert [each.name for each in images] == names, at.status
    at.dock.study.pick(1)
    np.testing.assert_array_equal(at.layer(names[1]).data, two_textures(seed=3))
    at.paint_two_classes(at.layer(f"{names[1]} strokes"))
    at.wait(lambda: at.session.has_model)
    at.dock.projects.save_as(tmp_path / "study.dsparse")
    at.wait(lambda: at.dock.projects.folder is not None and not at.dock.projects.busy)
    at.dock.shutdown()
    (tmp_path / "moved").mkdir()
    shutil.move(path, tmp_path / "moved" / "p.zarr")  # is found by the plate's name
    with nd.Project.open(tmp_path / "study.dsparse", read_only=True) as project:
        assert [each.name for each in project.images] == ["1", "1"]
        assert project.find(project.images[1]).path == tmp_path / "moved" / "p.zarr" / "B" / "3" / "1"
    at = desk()
    at.dock.projects.open(tmp_path / "study.dsparse")
    at.wait(lambda: len(at.dock.study.study.images) == 2)
    assert [each.name for each in at.dock.study.study.images] == names


def test_wells_are_segmented_in_a_batch_each_under_its_own_name(
    desk: Callable[..., Desk], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = plate(tmp_path / "p.zarr")
    items, _, plates = items_of_files([path])
    assert (items, [each.path for each in plates]) == ([], [path])

    def answer(dialog: PlateDialog) -> QDialog.DialogCode:
        dialog.all_button.click()
        return QDialog.DialogCode.Accepted

    monkeypatch.setattr(PlateDialog, "exec", answer)
    at = desk()
    at.click("batch_button")
    at.dock.batch.add_files([path])
    table = at.dock.batch.dialog.batch_table
    at.wait(lambda: len(table.rows) == 2)
    assert [row.name for row in table.rows] == ["p.zarr/A/1/0", "p.zarr/B/3/0"]
    wanted = wanted_images(at.dock.batch._items)
    assert [each.name.name for each in wanted] == ["1_0", "3_0"]


def test_a_plate_of_384_wells_is_told_in_no_time(tmp_path: Path) -> None:
    wells = [f"{row}/{column}" for row in "ABCDEFGHIJKLMNOP" for column in range(1, 25)]
    path = plate(tmp_path / "p.zarr", wells[:1], 1)
    group = pytest.importorskip("zarr").open_group(str(path))
    group.attrs["ome"] = {"plate": {"wells": [{"path": well} for well in wells]}}
    for well in wells[1:]:
        (path / well).parent.mkdir(exist_ok=True)
        (path / well).mkdir()
        shutil.copy(path / wells[0] / "zarr.json", path / well / "zarr.json")
    started = time.perf_counter()
    found = read_plate(path)
    assert time.perf_counter() - started < 10
    assert found is not None
    assert list(found.wells) == wells
