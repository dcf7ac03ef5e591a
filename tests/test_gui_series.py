"""Files with several images: the window asks which of them to add."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QDialog

import napari_dsparse as nd
from gui_session import Desk, two_textures
from napari_dsparse.gui.study_files import read_file
from napari_dsparse.gui.widgets.series_dialog import SeriesDialog


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
