"""Neighbouring planes in the window: offered for stacks in depth, learned live, kept in the project."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import tifffile
from napari.layers import Image

import napari_dsparse as nd
from gui_session import Desk, two_textures
from napari_dsparse.live.state import Training
from napari_dsparse.training import train_classifier
from whole_images import predict_labels


def test_neighbouring_planes_are_offered_for_stacks_and_learned_live(
    desk: Callable[..., Desk], tmp_path: Path
) -> None:
    planes = np.stack([two_textures((64, 80), seed=seed) for seed in range(3)])
    tifffile.imwrite(tmp_path / "stack.tif", planes, metadata={"axes": "ZYX"}, ome=True)
    painted = np.zeros(planes.shape, np.uint8)
    painted[1, 10:14, 5:30], painted[1, 40:44, 50:75] = 1, 2
    with nd.Project.create(tmp_path / "cells.dsparse") as project:
        project.add(tmp_path / "stack.tif", painted)
        project.depth = "neighbours"
        project.save()
    at = desk(Image(planes[0], name="flat"), Image(255 - planes, name="series", axis_labels=("t", "y", "x")))
    check, combo = at.find("depth_check"), at.find("image_combo")
    for name in ("flat", "series"):
        combo.setCurrentIndex(combo.findText(name))
        assert at.session.image == name
        assert check.isHidden()
    at.dock.projects.open(tmp_path / "cells.dsparse")
    at.wait(lambda: at.session.training is Training.STEADY)
    assert not check.isHidden()
    assert check.isChecked()
    at.click("predict_button")
    at.wait(lambda: at.session.complete)
    shown = next(layer for layer in at.viewer.layers if layer.name.endswith("segmentation"))
    wanted = train_classifier(planes, painted, depth="neighbours", device="cpu", classes=("a", "b"))
    np.testing.assert_array_equal(shown.data, predict_labels(wanted, at.session.chosen.source))
    at.click("train_button")
    at.wait(lambda: "no gradient steps" in at.status)
    check.click()
    assert at.session.training is Training.FITTING
    at.wait(lambda: at.session.training is Training.STEADY)
    assert at.session.model.classifier.spec.depth == "off"
    at.dock.projects.save_now()
    at.dock.projects.wait()
    with nd.Project.open(tmp_path / "cells.dsparse", read_only=True) as project:
        assert project.depth == project.model.classifier.spec.depth == "off"
