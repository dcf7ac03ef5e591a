"""Exposure in the window: suggested where it differs, taken out of every image by one tick, kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from qtpy.QtWidgets import QFileDialog

import napari_dsparse as nd
from gui_session import Desk, two_textures
from napari_dsparse.live.state import Training


def test_one_tick_takes_exposure_out_of_all_images_of_the_list(
    desk: Callable[..., Desk], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = [two_textures().astype(np.float32), two_textures(seed=1) * np.float32(0.2) + 5]
    painted = np.zeros((96, 128), np.uint8)
    painted[20:24, 10:40], painted[60:64, 80:110] = 1, 2
    with nd.Project.create(tmp_path / "days.dsparse") as project:
        for name, image in zip(("bright", "dim"), images, strict=True):
            tifffile.imwrite(tmp_path / f"{name}.tif", image)
            project.add(tmp_path / f"{name}.tif", painted)
        project.save()
    at = desk()
    check = at.find("exposure_check")
    at.dock.projects.open(tmp_path / "days.dsparse")
    at.wait(lambda: "match exposure" in at.status)
    seen = "Grey values of bright.tif spread 5.0 times as widely as those of dim.tif."
    assert at.status.startswith(f"{seen} If only the exposure differs, tick 'match exposure' under Model.")
    assert not check.isChecked()
    check.click()
    at.wait(lambda: at.session.model is not None and at.session.model.classifier.per_image)
    at.wait(lambda: at.session.training is Training.STEADY)
    assert "exposure" not in at.status
    assert at.session.model is not None
    wanted = nd.train(images, [painted, painted], normalise="image")
    for name, value in wanted.classifier.weights.items():
        np.testing.assert_array_equal(at.session.model.classifier.weights[name], value)
    shown = at.find("images_list")
    shown.itemClicked.emit(shown.item(1))
    at.wait(lambda: at.session.training is Training.STEADY)
    at.click("predict_button")
    at.wait(lambda: at.session.complete)
    np.testing.assert_array_equal(at.layer("dim.tif segmentation").data, wanted.predict(images[1]))
    at.dock.projects.save_now()
    at.dock.projects.wait()
    with nd.Project.open(tmp_path / "days.dsparse", read_only=True) as project:
        assert project.normalise == "image"
        assert project.model is not None
        assert project.model.classifier.per_image

    saved = wanted.save(tmp_path / "own.safetensors")
    check.click()
    assert not at.session.match_exposure
    other = two_textures(seed=2) * np.float32(30)
    at.viewer.add_image(other, name="other")
    at.find("image_combo").setCurrentText("other")
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *a, **k: (str(saved), ""))
    at.click("load_model_button")
    at.wait(lambda: not check.isEnabled())  # the model cannot do otherwise
    assert check.isChecked()
    assert "Reset" in check.toolTip()
    at.click("predict_button")
    at.wait(lambda: at.session.complete)
    np.testing.assert_array_equal(at.layer("other segmentation").data, wanted.predict(other))
    for name, normalise in (("plain", "together"), ("more", "image")):
        with nd.Project.create(tmp_path / f"{name}.dsparse") as project:
            project.normalise = normalise
            project.save()
    opened = tmp_path / "plain.dsparse"
    at.dock.projects.open(opened)
    at.wait(lambda: at.dock.projects.folder == opened)
    assert check.isChecked()
    assert not check.isEnabled()
    assert not at.session.match_exposure
    at.click("reset_button")
    assert check.isEnabled()
    assert not check.isChecked()
    opened = tmp_path / "more.dsparse"
    at.dock.projects.open(opened)
    at.wait(lambda: at.dock.projects.folder == opened)
    assert check.isChecked()
