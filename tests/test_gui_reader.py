"""Our own label files through napari's File > Open."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from napari.layers import Image, Labels, Layer
from npe2 import PluginManager
from PIL import Image as Picture

from napari_dsparse.classifier import ClassInfo
from napari_dsparse.errors import ImageError
from napari_dsparse.files.export import export_array, export_labels
from napari_dsparse.files.label_classes import read_label_classes
from napari_dsparse.gui.contributions.reader import get_reader, open_labels
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


@pytest.mark.parametrize("suffix", [".ome.tif", ".ome.tiff", ".tif", ".tiff", ".png", ".ome.zarr", ".zarr"])
def test_labels_exported_under_any_name_are_known_by_what_is_in_them(
    labels: np.ndarray, tmp_path: Path, suffix: str
) -> None:
    if suffix.endswith("zarr"):
        pytest.importorskip("zarr")
    place: dict[str, Any] = {"scale": (0.5, 0.25), "units": ("micrometer", "micrometer")}
    path = export_labels(tmp_path / f"mine{suffix}", labels, classes=CLASSES, **place)
    assert get_reader(str(path)) is not None
    layer = Layer.create(*open_labels(path / "zarr.json" if path.is_dir() else path)[0])
    assert isinstance(layer, Labels)
    assert layer.name == "mine"
    np.testing.assert_array_equal(layer.data, labels)
    np.testing.assert_allclose(layer.scale, (0.5, 0.25), rtol=1e-4)  # (PNG has whole pixels per metre)
    assert classes_of(layer) == CLASSES


@pytest.mark.parametrize("suffix", [".ome.tif", ".ome.zarr"])
def test_objects_come_back_without_classes(labels: np.ndarray, tmp_path: Path, suffix: str) -> None:
    if suffix.endswith("zarr"):
        pytest.importorskip("zarr")
    objects = labels.astype(np.uint32) * 1000
    more = {"objects": objects} if suffix.endswith("zarr") else {}
    path = export_labels(
        tmp_path / f"o{suffix}", labels if more else objects, classes=CLASSES if more else (), **more
    )
    ((data, attributes, kind),) = open_labels(path)
    assert kind == "labels"
    assert "features" not in attributes
    np.testing.assert_array_equal(data, objects)


def test_files_of_other_programs_are_left_to_them(labels: np.ndarray, tmp_path: Path) -> None:
    names = [tmp_path / f"a segmentation{suffix}" for suffix in (".ome.tif", ".png", ".ome.zarr")]
    tifffile.imwrite(names[0], labels, ome=True)
    Picture.fromarray(labels, mode="P").save(names[1])
    export_array(names[2], labels / 3, name="uncertainty")
    (tmp_path / "folder").mkdir()
    for path in (*names, tmp_path / "folder", tmp_path / "nothing.png"):
        assert get_reader(str(path)) is None
        with pytest.raises(ImageError):
            open_labels(path)
    assert get_reader([str(path) for path in names]) is None


def test_napari_asks_nobody_about_other_images(
    make_napari_viewer_proxy: Any, labels: np.ndarray, tmp_path: Path
) -> None:
    viewer = make_napari_viewer_proxy()
    for name in ("cells.tif", "cells.ome.tif", "cells.png"):
        export_labels(tmp_path / name, labels, classes=CLASSES)  # even about ours, of names that all have
        (plain,) = viewer.open(tmp_path / name, plugin=None)  # there is no choice to be made
        assert isinstance(plain, Image)
    readers = PluginManager.instance().iter_compatible_readers
    for name in ("a_segmentation.png", "b strokes.ome.tiff", "c_objects.tif"):
        assert "napari-dsparse" in {reader.plugin_name for reader in readers(name)}
    assert "napari-dsparse" not in {reader.plugin_name for reader in readers(str(tmp_path))}


def test_damaged_descriptions_name_default_classes_or_none(tmp_path: Path, labels: np.ndarray) -> None:
    path = export_labels(tmp_path / "a.ome.tif", labels, classes=CLASSES)
    content = path.read_bytes()
    path.write_bytes(content.replace(b"#112233", b"#11223g"))
    assert read_label_classes(path)[0].color == "#0072b2"
    path.write_bytes(content.replace(b'K="3"', b'K="x"'))
    assert len(read_label_classes(path)) == 2
    path.write_bytes(content.replace(b"</OME>", b"</OMA>"))
    assert read_label_classes(path) is None
    path.write_bytes(content[:40])
    assert read_label_classes(path) is None


def test_a_name_in_a_store_never_chooses_a_folder(tmp_path: Path, labels: np.ndarray) -> None:
    pytest.importorskip("zarr")
    for name in ("a.zarr", "b.zarr"):
        export_labels(tmp_path / name, labels, classes=CLASSES)
    listed = tmp_path / "a.zarr" / "labels" / "zarr.json"
    described = json.loads(listed.read_text())
    described["attributes"]["ome"]["labels"] = ["../../b.zarr/labels/segmentation"]
    listed.write_text(json.dumps(described))
    assert read_label_classes(tmp_path / "b.zarr")
    assert read_label_classes(tmp_path / "a.zarr") is None
