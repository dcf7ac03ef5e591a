"""Objects of images that are behind others: their table, and what is said of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from napari.layers import Image

from gui_session import Desk
from napari_dsparse.gui.layers.viewer import camera_of
from napari_dsparse.live.state import Training
from test_gui_objects import spots


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Two images of one kind, in files."""
    paths = [tmp_path / "a.tif", tmp_path / "b.tif"]
    for path, image in zip(paths, (spots(), spots()[:, ::-1]), strict=True):
        tifffile.imwrite(path, image)
    return paths


def learned(at: Desk) -> None:
    at.wait(lambda: at.session.training is Training.STEADY)


def measure(at: Desk, image: str) -> str:
    """Measure the objects of the image in front; returns the note on their table."""
    at.wait(at.find("measure_button").isEnabled)
    at.click("measure_button")
    measured = at.dock.objects._measured
    at.wait(lambda: measured.image == image and at.find("objects_button").isEnabled())
    return str(measured._widget.note.text())


def test_a_row_of_the_table_brings_its_image_to_the_front(
    desk: Callable[..., Desk], files: list[Path]
) -> None:
    at = desk()
    at.add_files(files)
    at.dock.study.pick(0)
    strokes = at.layer("a.tif strokes")
    at.paint(strokes, 1, (8, 60), (88, 66))
    at.paint(strokes, 2, (16, 20), (24, 28))
    learned(at)
    at.find("only_this_check").setChecked(True)
    measure(at, "a.tif")
    at.dock.study.pick(1)
    objects = at.layer("a.tif objects")
    assert not objects.visible
    measured = at.dock.objects._measured
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
