"""Indexed PNGs show the classes in their colours; OME-Zarr holds label images that others take for one."""

from __future__ import annotations

import struct
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from exports import CLASSES, random_labels, sizes
from napari_dsparse.classifier.classes import default_class, default_classes
from napari_dsparse.errors import DsparseError, ExportError
from napari_dsparse.files import ome_zarr
from napari_dsparse.files.export import export_array, export_labels
from napari_dsparse.images.reading import read_image, read_labels

# PNG


@pytest.mark.parametrize("dtype", ["bool", "uint8", "uint16", "int64"])
def test_png_values_are_labels_and_its_palette_the_class_colours(tmp_path: Path, dtype: str) -> None:
    labels = random_labels((40, 50), dtype, 1 if dtype == "bool" else 2)
    path = export_labels(tmp_path / "out.png", labels, classes=CLASSES, **sizes("YX"))
    with Image.open(path) as picture:
        assert picture.mode == "P"
        np.testing.assert_array_equal(np.asarray(picture), labels)
        palette = picture.getpalette()
        assert palette is not None
        assert palette[:9] == [0, 0, 0, 0x10, 0x20, 0x30, 0xE6, 0x9F, 0x00]
        shown = np.asarray(picture.convert("RGB"))
    assert (shown[labels == 0] == 0).all()
    assert (shown[labels == 1] == (0x10, 0x20, 0x30)).all()


def test_png_states_its_pixel_size_and_has_eight_bits(tmp_path: Path) -> None:
    path = export_labels(tmp_path / "out.png", random_labels((40, 50)), classes=CLASSES, **sizes("YX"))
    content = path.read_bytes()
    assert content[24] == 8  # bit depth
    start = content.index(b"pHYs") + 4
    assert struct.unpack(">IIB", content[start : start + 9]) == (5_000_000, 4_000_000, 1)  # per metre: x, y
    unsized = export_labels(tmp_path / "unsized.png", random_labels((40, 50)), classes=CLASSES)
    assert b"pHYs" not in unsized.read_bytes()


@pytest.mark.parametrize("suffix", [".png", ".ome.tif"])
@pytest.mark.parametrize(("scale", "unit"), [(1.0, "angstrom"), (1e-9, "nanometer"), (1e-320, "meter")])
def test_a_pixel_size_that_a_field_cannot_hold_costs_no_export(
    tmp_path: Path, suffix: str, scale: float, unit: str
) -> None:
    labels = random_labels((40, 50))
    path = tmp_path / f"out{suffix}"
    export_labels(path, labels, classes=CLASSES, scale=(scale, scale), units=(unit, unit))
    np.testing.assert_array_equal(read_labels(path), labels)
    if suffix == ".ome.tif":
        assert read_image(path).scale == (scale, scale)


def test_png_gives_a_label_without_a_class_its_default_colour(tmp_path: Path) -> None:
    path = export_labels(tmp_path / "out.png", np.array([[0, 1, 5]], np.uint8), classes=CLASSES)
    with Image.open(path) as picture:
        shown = np.asarray(picture.convert("RGB"))
    assert bytes(shown[0, 2]).hex() == default_class(5).color[1:]


def test_png_holds_no_stack_and_no_label_above_255(tmp_path: Path) -> None:
    for labels, word in ((np.zeros((2, 4, 5), np.uint8), "stack"), (np.full((4, 5), 256), "255")):
        with pytest.raises(ExportError, match=f"{word}.*OME-TIFF"):
            export_labels(tmp_path / "out.png", labels, classes=CLASSES)
    assert not list(tmp_path.iterdir())


# OME-Zarr


def test_ome_zarr_is_a_label_image_of_version_0_5(tmp_path: Path) -> None:
    zarr = pytest.importorskip("zarr")
    labels = random_labels((3, 1100, 1300))
    path = export_labels(tmp_path / "out.ome.zarr", labels, classes=CLASSES, **sizes("ZYX"))
    root = zarr.open_group(str(path), mode="r")
    assert root.metadata.zarr_format == 3
    assert root["labels"].attrs["ome"] == {"version": "0.5", "labels": ["segmentation"]}
    ome = root["labels/segmentation"].attrs["ome"]
    assert ome["version"] == root.attrs["ome"]["version"] == "0.5"
    assert ome["image-label"]["source"] == {"image": "../../"}
    assert ome["image-label"]["properties"][1] == {"label-value": 2, "name": CLASSES[1].name}
    assert ome["image-label"]["colors"][1] == {"label-value": 2, "rgba": [0xE6, 0x9F, 0x00, 255]}
    for group in (root, root["labels/segmentation"]):  # an image of the same arrays is around the labels
        multiscale = group.attrs["ome"]["multiscales"][0]
        assert multiscale["name"] == "segmentation"
        assert multiscale["axes"] == [{"name": n, "type": "space", "unit": "micrometer"} for n in "zyx"]
        for level, dataset in enumerate(multiscale["datasets"]):
            step = 2**level
            array = group[dataset["path"]]
            assert array.metadata.dimension_names == ("z", "y", "x")
            np.testing.assert_array_equal(array[...], labels[:, ::step, ::step])
            assert dataset["coordinateTransformations"] == [
                {"type": "scale", "scale": [1.5, 0.25 * step, 0.2 * step]}
            ]
        assert max(array.shape[1:]) <= 512
    for place in (path, path / "labels" / "segmentation"):
        np.testing.assert_array_equal(read_labels(place), labels)


def test_ome_zarr_is_what_other_programs_take_for_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    zarr = pytest.importorskip("zarr")
    models = pytest.importorskip("ome_zarr_models.v05")
    labels = random_labels((2, 3, 40, 50))
    path = export_labels(tmp_path / "out.ome.zarr", labels, classes=CLASSES, **sizes("TZYX"))
    root = zarr.open_group(str(path), mode="r")
    assert models.Image.from_zarr(root).labels is not None
    models.ImageLabel.from_zarr(root["labels/segmentation"])
    image, label = nodes_of(path)
    assert not caplog.records
    for node in (image, label):
        np.testing.assert_array_equal(np.asarray(node.data[0]), labels)
    assert image.metadata["contrast_limits"] == [[0, 2]]
    assert label.metadata["properties"][1]["name"] == CLASSES[0].name
    assert set(label.metadata["color"]) == {1, 2}


def nodes_of(path: Path) -> list[Any]:
    """Nodes with pixels that ome-zarr finds, in its order."""
    reader = pytest.importorskip("ome_zarr.reader")
    io = pytest.importorskip("ome_zarr.io")
    return [node for node in reader.Reader(io.parse_url(str(path)))() if node.data]


def test_objects_in_ome_zarr_are_called_so_and_say_their_class(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("zarr")
    objects = np.zeros((2, 20, 20), np.uint32)
    objects[0, 2:6, 2:6], objects[:, 10:14, 10:14] = 3, 70_000
    labels = np.ones(objects.shape, np.uint8) + (objects == 3)
    labels[0, 2, 2] = 1  # most pixels count
    named = export_labels(tmp_path / "n.ome.zarr", labels, classes=CLASSES, objects=objects)
    plain = export_labels(tmp_path / "p.ome.zarr", objects, classes=())
    for path, known in (
        (named, {3: {"class": CLASSES[1].name}, 70_000: {"class": CLASSES[0].name}}),
        (plain, None),
    ):
        image, label = nodes_of(path)
        assert image.metadata["name"] == label.metadata["name"] == "objects"
        assert label.metadata.get("properties") == known
        np.testing.assert_array_equal(np.asarray(label.data[0]), objects)
        assert read_labels(path).dtype == np.uint32
    assert not caplog.records


def test_label_stores_of_before_still_open(tmp_path: Path) -> None:
    zarr = pytest.importorskip("zarr")
    labels = random_labels((40, 50))
    root = zarr.create_group(store=str(tmp_path / "old.ome.zarr"), zarr_format=3)
    root.create_array("0", data=labels)
    scale = [{"type": "scale", "scale": [0.5, 0.25]}]
    axes = [{"name": name, "type": "space", "unit": "micrometer"} for name in "yx"]
    multiscale = {"axes": axes, "datasets": [{"path": "0", "coordinateTransformations": scale}]}
    root.attrs["ome"] = {"version": "0.5", "multiscales": [multiscale], "image-label": {"version": "0.5"}}
    np.testing.assert_array_equal(read_labels(tmp_path / "old.ome.zarr"), labels)
    assert read_image(tmp_path / "old.ome.zarr").scale == (0.5, 0.25)


def test_ome_zarr_has_time_first(tmp_path: Path) -> None:
    pytest.importorskip("zarr")
    with pytest.raises(ExportError, match="time first"):
        export_labels(tmp_path / "out.ome.zarr", random_labels((3, 2, 4, 5)), classes=CLASSES, axes="ZTYX")
    assert not list(tmp_path.iterdir())


def write_zarr(folder: Path) -> object:
    return export_labels(folder / "out.ome.zarr", random_labels((4, 5)), classes=CLASSES)


@pytest.mark.parametrize(
    "job",
    [
        write_zarr,
        lambda folder: read_image(folder / "in.zarr"),
        lambda folder: read_labels(folder / "in.zarr"),
    ],
)
def test_a_missing_zarr_package_is_said_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, job: Callable[[Path], object]
) -> None:
    (tmp_path / "in.zarr").mkdir()
    (tmp_path / "in.zarr" / "zarr.json").write_text("{}")
    monkeypatch.setitem(sys.modules, "zarr", None)
    with pytest.raises(DsparseError, match=r"pip install 'napari-dsparse\[zarr\]'") as caught:
        job(tmp_path)
    assert "\n" not in str(caught.value)
    assert [p.name for p in tmp_path.iterdir()] == ["in.zarr"]


def test_a_folder_that_is_no_zarr_store_is_never_replaced(tmp_path: Path) -> None:
    pytest.importorskip("zarr")
    precious = tmp_path / "results.zarr"
    precious.mkdir()
    (precious / "thesis.txt").write_text("precious")
    with pytest.raises(ExportError, match="not a Zarr store"):
        export_labels(precious, random_labels((4, 5)), classes=CLASSES, overwrite=True)
    assert (precious / "thesis.txt").read_text() == "precious"
    store = tmp_path / "store.zarr"
    for highest in (1, 2):
        export_labels(store, np.full((4, 5), highest, np.uint8), classes=CLASSES, overwrite=True)
    assert read_labels(store).max() == 2


@pytest.mark.parametrize(("dtype", "edge"), [("u1", 4), ("f4", 2)])
def test_very_many_chunks_are_put_into_shards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: str, edge: int
) -> None:
    zarr = pytest.importorskip("zarr")
    for name, value in (("_CHUNK", 16), ("_MANY_CHUNKS", 20), ("_SHARD_BYTES", (4 * 16) ** 2)):
        monkeypatch.setattr(ome_zarr, name, value)
    large = np.random.default_rng(0).integers(0, 3, (3, 100, 70)).astype(dtype)
    write: Any = export_labels if dtype == "u1" else export_array
    more: Any = {"classes": default_classes(2)} if dtype == "u1" else {"name": "uncertainty"}
    for data, shards in ((large, (1, 16 * edge, 16 * edge)), (large[0, :40], None)):
        path = tmp_path / f"{data.ndim}.ome.zarr"
        write(path, data, **more)
        array = zarr.open(path / "labels/segmentation/0" if dtype == "u1" else path / "0")
        assert (array.shards, array.chunks[-2:]) == (shards, (16, 16))
        np.testing.assert_array_equal(read_image(path).data[...], data)


@pytest.mark.parametrize("shards", [False, True])
def test_every_chunk_of_every_level_is_written_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shards: bool
) -> None:
    storage = pytest.importorskip("zarr.storage")
    written: Counter[str] = Counter()
    put = storage.LocalStore.set

    async def counted(store: Any, key: str, value: Any) -> None:
        written[key] += "/c/" in key
        await put(store, key, value)

    monkeypatch.setattr(storage.LocalStore, "set", counted)
    monkeypatch.setattr(ome_zarr, "_CHUNK", 128)
    monkeypatch.setattr(ome_zarr, "_MANY_CHUNKS", 4 if shards else 1000)
    monkeypatch.setattr(ome_zarr, "_SHARD_BYTES", 256**2)
    labels = np.random.default_rng(0).integers(1, 4, (2, 700, 900), np.uint8)
    export_labels(tmp_path / "labels.ome.zarr", labels, classes=default_classes(3))
    edge = 256 if shards else 128
    sizes = [(-(-700 // 2**level), -(-900 // 2**level)) for level in range(2)]
    chunks = {count for count in written.values() if count}
    assert chunks == {1}
    assert written.total() == 2 * sum(-(-rows // edge) * -(-columns // edge) for rows, columns in sizes)
