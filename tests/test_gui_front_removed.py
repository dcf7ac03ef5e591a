"""The layer of the image in front is removed: the next one is opened, or nothing is in front."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import tifffile

from gui_session import Desk, two_textures
from test_gui_projects import pick


def test_the_image_that_follows_one_that_was_removed_is_on_screen(
    desk: Callable[..., Desk], tmp_path: Path
) -> None:
    at = desk()
    paths = [tmp_path / f"{name}.tif" for name in "ab"]
    for seed, path in enumerate(paths):
        tifffile.imwrite(path, two_textures(seed=seed))
    at.add_files(paths)
    at.find("only_this_check").setChecked(True)
    pick(at, 1)
    pick(at, 0)
    at.paint_two_classes(at.layer("a.tif strokes"))
    at.wait(lambda: at.has_layer("a.tif segmentation"))
    at.viewer.layers.remove("a.tif")
    assert at.find("image_combo").currentText() == "b.tif"
    at.wait(lambda: at.layer("b.tif").visible, timeout=5000)
    shown = {layer.name for layer in at.viewer.layers if layer.visible}
    assert {"b.tif", "b.tif strokes"} <= shown
    assert not any(name.startswith("a.tif") for name in shown)
    assert at.viewer.layers.selection.active.name == at.session.strokes == "b.tif strokes"
    assert at.find("images_list").currentRow() == 1

    at.viewer.layers.remove("b.tif")
    at.qtbot.wait(50)
    assert at.session.chosen is None, "nothing is opened of itself"
    assert not at.has_layer("b.tif")
    pick(at, 0)
    assert np.count_nonzero(at.layer("a.tif strokes").data)
    assert at.layer("a.tif strokes").visible
