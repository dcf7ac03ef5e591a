"""An image whose pixel size or place changes while it is worked on: strokes, results and files follow."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from napari.layers import Image, Labels
from qtpy.QtWidgets import QFileDialog

from gui_session import Desk, two_textures
from napari_dsparse.gui.layers.exporting import image_of
from napari_dsparse.gui.layers.image_frame import ChannelChoice, frame_of, placement_of
from napari_dsparse.gui.layers.marks import mark_ours
from napari_dsparse.gui.layers.placement_watch import PlacementWatch
from napari_dsparse.live.state import Training


def calibrate(layer: Image) -> None:
    layer.scale = (0.5, 0.25)
    layer.units = ("micrometer", "micrometer")
    layer.translate = (10, 20)


def test_what_was_made_of_an_image_follows_its_calibration(
    desk: Callable[..., Desk], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = desk(Image(two_textures(), name="cells"))
    image = at.layer("cells")
    at.click("new_labels_button")
    strokes = at.layer("cells strokes")
    at.paint_two_classes(strokes)
    at.wait(lambda: at.session.training is Training.STEADY)
    at.click("predict_button")
    at.wait(lambda: at.session.complete)
    own = Labels(np.zeros((96, 128), np.uint8), name="mine")
    at.viewer.add_layer(own)
    calibrate(image)
    segmentation = at.layer("cells segmentation")
    at.wait(lambda: bool(np.allclose(segmentation.scale, (0.5, 0.25))))
    for layer in (strokes, segmentation):
        for name, value in placement_of(image).items():
            assert str(placement_of(layer)[name]) == str(value), f"{name} of {layer.name}"
    assert np.allclose(own.scale, 1), "is the user's"
    frame = at.dock.controller.frame
    assert frame is not None
    assert image_of(frame).scale == (0.5, 0.25)
    assert image_of(frame).units == ("micrometer", "micrometer")
    at.click("objects_button")
    at.wait(lambda: at.has_layer("cells objects"))
    assert np.allclose(at.layer("cells objects").scale, (0.5, 0.25))
    assert at.session.complete, "nothing is computed anew"
    image.scale = (2, 2)
    at.wait(lambda: bool(np.allclose(at.layer("cells objects").scale, 2)))
    path = tmp_path / "labels.ome.tif"
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *a, **k: (str(path), ""))
    at.click("export_button")
    at.wait(path.exists)
    with tifffile.TiffFile(path) as file:
        assert 'PhysicalSizeX="2.0"' in (file.ome_metadata or "")


def test_an_image_behind_is_followed_too_and_a_layer_that_was_moved_stays(desk: Callable[..., Desk]) -> None:
    at = desk(Image(two_textures(), name="cells"))
    image = at.layer("cells")
    at.click("new_labels_button")
    strokes = at.layer("cells strokes")
    strokes.translate = (3, 3)
    other = Image(two_textures(seed=1), name="other")
    at.viewer.add_layer(other)
    at.dock.show_image(other, None, None)
    at.click("new_labels_button")
    at.dock.show_image(image, None, strokes)
    calibrate(other)
    behind = at.layer("other strokes")
    at.wait(lambda: bool(np.allclose(behind.scale, (0.5, 0.25))))
    calibrate(image)
    at.wait(lambda: at.dock.controller.frame.placement["translate"][0] == 10)
    assert np.allclose(strokes.translate, 3)
    assert np.allclose(strokes.scale, 1)


@pytest.mark.parametrize("axis", [0, 2])
def test_layers_of_an_image_with_channels_lie_on_its_pixels(desk: Callable[..., Desk], axis: int) -> None:
    at = desk(Image(two_textures(), name="cells"))
    shape = (3, 30, 40) if axis == 0 else (30, 40, 3)
    image = Image(np.zeros(shape, np.uint8), name="channels", rgb=False)
    at.viewer.add_layer(image)
    frame = frame_of(image, ChannelChoice(axis, "known"))
    layer = Labels(np.zeros(frame.layer_shape, np.uint8), **frame.placement)
    mark_ours(layer, "segmentation", image)
    at.viewer.add_layer(layer)
    watch = PlacementWatch(at.viewer, at.dock)
    watch.watch(image, frame)
    image.scale = (2, 3, 4)
    found = frame_of(image, ChannelChoice(axis, "known")).placement
    at.wait(lambda: bool(np.allclose(layer.scale, found["scale"])))
    assert np.allclose(layer.translate, found["translate"])
    watch.close()
    image.scale = (1, 1, 1)
    at.wait(lambda: True)
    assert np.allclose(layer.scale, found["scale"])
