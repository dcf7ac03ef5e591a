"""Our own label files through napari's File > Open."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from napari.layers import Image, Labels

from napari_dsparse.classifier import ClassInfo
from napari_dsparse.files.export import export_labels
from napari_dsparse.files.label_classes import read_label_classes
from napari_dsparse.gui.layers.class_look import classes_of

CLASSES = (ClassInfo("stroma & <co>", "#112233"), ClassInfo("tumour", "#ff8800"), ClassInfo("µ", "#00ff00"))


@pytest.fixture
def labels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 4, (20, 30)).astype(np.uint8)


def test_a_segmentation_comes_back_with_names_colours_and_scale(
    make_napari_viewer_proxy: Any, labels: np.ndarray, tmp_path: Path
) -> None:
    path = export_labels(
        tmp_path / "cells segmentation.ome.tif",
        labels,
        classes=CLASSES,
        scale=(0.5, 0.25),
        units=("micrometer", "micrometer"),
    )
    viewer = make_napari_viewer_proxy()
    (layer,) = viewer.open(path, plugin="napari-dsparse")
    assert isinstance(layer, Labels)
    assert layer.name == "cells segmentation"
    np.testing.assert_array_equal(layer.data, labels)
    np.testing.assert_allclose(layer.scale, (0.5, 0.25))
    assert [str(unit) for unit in layer.units] == ["micrometer", "micrometer"]
    assert classes_of(layer) == CLASSES


def test_other_files_are_left_to_napari_and_a_namesake_is_an_image(
    make_napari_viewer_proxy: Any, labels: np.ndarray, tmp_path: Path
) -> None:
    viewer = make_napari_viewer_proxy()
    tifffile.imwrite(tmp_path / "cells.tif", labels)
    (plain,) = viewer.open(tmp_path / "cells.tif", plugin=None)  # there is no choice to be made
    assert isinstance(plain, Image)
    tifffile.imwrite(tmp_path / "a segmentation.ome.tif", labels.astype(np.float32))
    (namesake,) = viewer.open(tmp_path / "a segmentation.ome.tif", plugin="napari-dsparse")
    assert isinstance(namesake, Image)


def test_damaged_descriptions_name_default_classes_or_none(tmp_path: Path, labels: np.ndarray) -> None:
    path = export_labels(tmp_path / "a.ome.tif", labels, classes=CLASSES)
    content = path.read_bytes()
    path.write_bytes(content.replace(b"#112233", b"#11223g"))
    assert read_label_classes(path)[0].color == "#0072b2"
    path.write_bytes(content.replace(b'K="3"', b'K="x"'))
    assert len(read_label_classes(path)) == 2
    path.write_bytes(content.replace(b"</OME>", b"</OMA>"))
    assert read_label_classes(path) == ()
    path.write_bytes(content[:40])
    assert read_label_classes(path) == ()
