"""Exports beside that of the segmentation come back through the readers that their users have."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from napari.layers import Image, Labels
from qtpy.QtWidgets import QFileDialog

from gui_session import Desk, two_textures
from napari_dsparse.gui.widgets import dialogs
from napari_dsparse.live.state import Training
from napari_dsparse.model import Model


def test_maps_and_objects_are_exported_in_the_background(
    desk: Callable[..., Desk], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place: dict[str, Any] = {"scale": (0.5, 0.25), "units": ("micrometer", "micrometer")}
    at = desk(Image(two_textures(), name="textures", **place))
    monkeypatch.setattr(dialogs, "_FOLDERS", dialogs._Folders())
    exports = at.dock.exports
    assert not exports._actions["probabilities"].isEnabled()
    at.click("new_labels_button")
    at.paint_two_classes(at.layer("textures strokes"))
    at.wait(lambda: at.session.training is Training.STEADY and at.session.has_model)

    def export(kind: str, name: str) -> Path:
        path = tmp_path / name
        monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *a, **k: (str(path), ""))
        action = exports._actions[kind]
        assert action.isEnabled()
        action.trigger()
        at.wait(lambda: not exports.running)
        assert at.status == f"Saved as {name}."
        return path

    model = Model(at.session.model.classifier)
    maps = model.predict_maps(two_textures(), probabilities=True, uncertainty=True)
    written = export("probabilities", "p.ome.tif")
    np.testing.assert_array_equal(tifffile.imread(written), maps.probabilities)
    with tifffile.TiffFile(written) as tiff:
        assert tiff.series[0].axes == "CYX"
        assert 'PhysicalSizeX="0.25"' in str(tiff.ome_metadata)
        assert all(info.name in str(tiff.ome_metadata) for info in at.session.classes)
    written = export("uncertainty", "u.ome.zarr")
    reader = pytest.importorskip("ome_zarr.reader")
    (node,) = reader.Reader(pytest.importorskip("ome_zarr.io").parse_url(written))()
    np.testing.assert_array_equal(np.asarray(node.data[0]), maps.uncertainty)

    assert not exports._actions["objects"].isEnabled()
    numbered = np.zeros((96, 128), np.int64)
    numbered[10:20, 70:90], numbered[40:60, 100:110] = 1, 2
    at.viewer.add_layer(Labels(numbered, name="textures objects", **place))
    at.click("predict_button")
    at.wait(lambda: at.session.complete)
    at.wait(lambda: exports._actions["objects"].isEnabled())
    np.testing.assert_array_equal(tifffile.imread(export("objects", "o.ome.tif")), numbered)
    features = json.loads(export("objects", "o.geojson").read_text())["features"]
    polygons = [pytest.importorskip("shapely").geometry.shape(each["geometry"]) for each in features]
    assert [polygon.area for polygon in polygons] == [200, 200]
    assert {each["properties"]["classification"]["name"] for each in features} == {"object"}
    rois = pytest.importorskip("roifile").roiread(export("objects", "o.roi.zip"))
    assert [(roi.top, roi.left, roi.bottom, roi.right) for roi in rois] == [
        (10, 70, 20, 90),
        (40, 100, 60, 110),
    ]
    coco = pytest.importorskip("pycocotools.coco").COCO(str(export("objects", "o.coco.json")))
    masks = [coco.annToMask(each) for each in coco.loadAnns(coco.getAnnIds())]
    np.testing.assert_array_equal(masks[0] + 2 * masks[1], numbered)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]
