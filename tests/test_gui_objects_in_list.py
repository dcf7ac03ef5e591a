"""Objects of images that are behind others: their table, and what is said of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from napari.layers import Image
from qtpy.QtWidgets import QFileDialog

from gui_session import Desk
from napari_dsparse.gui.layers.viewer import camera_of
from napari_dsparse.gui.widgets import dialogs
from napari_dsparse.live.state import Training
from test_gui_objects import label, spots


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Two images of one kind, in files."""
    paths = [tmp_path / "a.tif", tmp_path / "b.tif"]
    for path, image in zip(paths, (spots(), spots()[:, ::-1]), strict=True):
        tifffile.imwrite(path, image)
    return paths


def learned(at: Desk) -> None:
    at.wait(lambda: at.session.training is Training.STEADY)


def refined(at: Desk) -> bool:
    return not (at.session.predicting or at.session.view_due or at.session.sketched)


def measure(at: Desk, image: str) -> str:
    """Measure the objects of the image in front; returns the note on their table."""
    at.wait(at.find("measure_button").isEnabled)
    at.click("measure_button")
    measured = at.dock.objects._measured
    at.wait(lambda: measured.image == image and at.find("objects_button").isEnabled())
    return str(measured._widget.note.text())


def test_a_row_of_the_table_brings_its_image_to_the_front(
    desk: Callable[..., Desk], files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = desk()
    at.add_files(files)
    at.dock.study.pick(0)
    strokes = at.layer("a.tif strokes")
    at.paint(strokes, 1, (8, 60), (88, 66))
    at.paint(strokes, 2, (16, 20), (24, 28))
    learned(at)
    at.find("only_this_check").setChecked(True)
    note = measure(at, "a.tif")
    found = label(at)
    measured = at.dock.objects._measured
    assert note == f"Objects of a.tif: {len(measured.table)} rows."
    objects = at.layer("a.tif objects")

    # Files are saved beside the image, which our reader opened and not napari's, until a folder is chosen.
    starts: list[Path] = []
    monkeypatch.setattr(dialogs, "_FOLDERS", dialogs._Folders())
    monkeypatch.setattr(
        QFileDialog, "getSaveFileName", lambda *about, **more: starts.append(Path(about[2])) or ("", "")
    )
    for name in ("export_button", "save_model_button", "project_save_button"):
        at.click(name)
    at.find("export_menu").aboutToShow.emit()
    at.dock.exports._actions["objects"].trigger()
    measured._widget.save_button.click()
    assert [start.parent for start in starts] == 5 * [tmp_path]

    # Another image in front, and this one again, change nothing about them.
    for row, said in ((1, ""), (0, found)):
        at.dock.study.pick(row)
        at.wait(lambda: refined(at) and measured._widget.note.text() == note)
        assert label(at) == said
    at.dock.study.pick(1)
    assert not objects.visible
    at.wait(lambda: measured._widget.note.text() == note)
    measured._widget.view.selectRow(2)
    assert at.session.image == "a.tif"
    assert {each.name for each in at.viewer.layers if each.visible} >= {"a.tif", "a.tif objects"}
    assert not at.layer("b.tif").visible
    assert objects.selected_label == measured.table["label"][2]
    centre = measured.table[["centroid-0", "centroid-1"]].iloc[2]
    np.testing.assert_allclose(camera_of(at.viewer).center[-2:], centre)

    # So does that of an image beside the list.
    at.viewer.add_layer(Image(spots()[::-1], name="beside"))
    at.find("image_combo").setCurrentText("beside")
    measure(at, "beside")
    at.dock.study.pick(0)
    measured._widget.view.selectRow(1)
    assert at.session.image == "beside"
    centre = measured.table[["centroid-0", "centroid-1"]].iloc[1]
    np.testing.assert_allclose(camera_of(at.viewer).center[-2:], centre)
