"""Polygons, ROIs and masks hold exactly the pixels of every region, in terms that other programs read."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pycocotools.coco import COCO
from roifile import ImagejRoi, roiread
from skimage.measure import label
from skimage.morphology import disk

from exports import CLASSES
from napari_dsparse.classifier.classes import ClassInfo
from napari_dsparse.errors import ExportError
from napari_dsparse.files.export import check_export, export_labels
from napari_dsparse.files.outlines import outlines
from napari_dsparse.prediction.objects import find_objects

#: Small images, in which regions meet at corners in every way.
LABELS = st.integers(1, 3).flatmap(
    lambda highest: arrays.arrays(
        np.uint8,
        arrays.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=9),
        elements=st.integers(0, highest),
    )
)

#: A ring whose hole touches the outside at a corner; pixels that touch at corners; a region in a hole.
CORNERS = np.array(
    [
        [1, 1, 1, 0, 2, 0],
        [1, 0, 1, 2, 0, 2],
        [1, 1, 0, 1, 2, 0],
        [0, 1, 1, 1, 0, 1],
        [2, 2, 2, 2, 2, 0],
        [2, 1, 1, 1, 2, 1],
        [2, 1, 2, 1, 2, 0],
        [2, 1, 1, 1, 2, 0],
        [2, 2, 2, 2, 2, 1],
    ],
    np.uint8,
)


def inside(geometry: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Pixels whose centres lie in a geometry."""
    rows, columns = np.indices(shape)
    return shapely.contains_xy(geometry, columns + 0.5, rows + 0.5)


def features(path: Path) -> list[dict[str, Any]]:
    collection = json.loads(path.read_text(encoding="utf-8"))
    assert collection["type"] == "FeatureCollection"
    return collection["features"]


def geojson(folder: Path, labels: np.ndarray, **more: Any) -> list[dict[str, Any]]:
    return features(
        export_labels(folder / "o.geojson", labels, **{"classes": CLASSES, "overwrite": True, **more})
    )


def roi_mask(roi: ImagejRoi, shape: tuple[int, ...]) -> np.ndarray:
    """Pixels that ImageJ fills: those whose centres an odd number of lines surround."""
    found = np.zeros(shape, bool)
    for ring in roi.coordinates(multi=True):
        found ^= inside(shapely.Polygon(ring), shape)
    return found


@settings(max_examples=150, deadline=None)
@given(labels=LABELS)
def test_outlines_are_valid_and_hold_the_pixels_of_their_region_and_no_others(labels: np.ndarray) -> None:
    for regions in (labels, label(labels, background=0, connectivity=2)):
        seen = []
        for number, polygons in outlines(regions):
            seen.append(number)
            shape = shapely.MultiPolygon([(outer, holes) for outer, *holes in polygons])
            assert shape.is_valid
            assert shape.area == np.count_nonzero(regions == number)
            np.testing.assert_array_equal(inside(shape, regions.shape), regions == number)
            rings = [ring for polygon in polygons for ring in polygon]
            assert all(len(ring) == len(np.unique(ring, axis=0)) for ring in rings)
        assert seen == [number for number in np.unique(regions) if number]


def test_a_hole_that_touches_the_outside_is_a_ring_of_its_own() -> None:
    ((_, polygons),) = outlines((CORNERS[:4, :4] == 1).astype(np.uint8))
    (polygon,) = polygons
    _, *holes = polygon
    assert len(holes) == 2
    areas = [shapely.LinearRing(ring) for ring in polygon]
    assert [ring.is_ccw for ring in areas] == [True, False, False]
    assert {(2, 2)} <= {tuple(point) for point in holes[0].tolist()}


def test_corners_alone_remain_of_a_long_outline() -> None:
    ((_, ((outer,),)),) = outlines(np.ones((300, 200), np.uint8))
    assert sorted(map(tuple, outer.tolist())) == [(0, 0), (0, 300), (200, 0), (200, 300)]
    spiral = np.zeros((201, 201), np.uint8)
    for edge in range(0, 100, 4):
        spiral[edge : 201 - edge, [edge, 200 - edge]] = spiral[[edge, 200 - edge], edge : 201 - edge] = 1
    assert sum(len(polygons) for _, polygons in outlines(spiral)) == 25


@settings(max_examples=60, deadline=None)
@given(labels=LABELS)
def test_every_format_gives_the_labels_back(
    tmp_path_factory: pytest.TempPathFactory, labels: np.ndarray
) -> None:
    folder = tmp_path_factory.mktemp("labels")
    classes = (*CLASSES, ClassInfo("third", "#00ff00"))
    numbers = {info.name: number for number, info in enumerate(classes, start=1)}
    back = np.zeros((3, *labels.shape), np.uint8)
    for feature in geojson(folder, labels, classes=classes):
        shape = shapely.from_geojson(json.dumps(feature["geometry"]))
        assert shape.is_valid
        back[0] += inside(shape, labels.shape) * np.uint8(
            numbers[feature["properties"]["classification"]["name"]]
        )
    export_labels(folder / "o.roi.zip", labels, classes=classes)
    with zipfile.ZipFile(folder / "o.roi.zip") as archive:
        rois = [ImagejRoi.frombytes(archive.read(name)) for name in archive.namelist()]
    colours = {bytes((255, *info.rgb)): number for number, info in enumerate(classes, start=1)}
    for roi in rois:
        back[1] += roi_mask(roi, labels.shape) * np.uint8(colours[roi.stroke_color])
    export_labels(folder / "o.coco.json", labels, classes=classes)
    coco = COCO(folder / "o.coco.json")
    regions = label(labels, background=0, connectivity=2)
    assert len(coco.anns) == regions.max()
    for annotation in coco.loadAnns(coco.getAnnIds()):
        mask = coco.annToMask(annotation)
        back[2] += mask * np.uint8(annotation["category_id"])
        rows, columns = np.nonzero(mask)
        left, top = int(columns.min()), int(rows.min())
        size = [int(columns.max()) - left + 1, int(rows.max()) - top + 1]
        assert (annotation["bbox"], annotation["area"]) == ([left, top, *size], mask.sum())
    for found in back:
        np.testing.assert_array_equal(found, labels)


def test_geojson_says_class_and_colour_as_qupath_reads_them(tmp_path: Path) -> None:
    found = geojson(tmp_path, np.array([[1, 2], [1, 1]]))
    assert found[1] == {
        "type": "Feature",
        "geometry": {"type": "Polygon", "coordinates": [[[1, 0], [2, 0], [2, 1], [1, 1], [1, 0]]]},
        "properties": {
            "objectType": "annotation",
            "classification": {"name": "Zellkern µ 核", "color": [0xE6, 0x9F, 0x00]},
        },
    }


@pytest.mark.parametrize(
    ("axes", "plane"), [("ZYX", {"c": -1, "z": 1, "t": 0}), ("TYX", {"c": -1, "z": 0, "t": 1})]
)
def test_regions_of_a_stack_say_their_plane(tmp_path: Path, axes: str, plane: dict[str, int]) -> None:
    labels = np.zeros((3, 4, 5), np.uint8)
    labels[1, 1:3, 1:3] = 2
    (feature,) = geojson(tmp_path, labels, axes=axes)
    assert feature["geometry"]["plane"] == plane
    (roi,) = roiread(export_labels(tmp_path / "o.zip", labels, classes=CLASSES, axes=axes))
    assert (roi.position, roi.z_position, roi.t_position) == (2, 0, 0)


def test_regions_of_a_hyperstack_say_slice_and_frame(tmp_path: Path) -> None:
    labels = np.zeros((2, 3, 4, 5), np.uint8)
    labels[1, 2, 1, 1] = 1
    (feature,) = geojson(tmp_path, labels)
    assert feature["geometry"]["plane"] == {"c": -1, "z": 2, "t": 1}
    (roi,) = roiread(export_labels(tmp_path / "o.zip", labels, classes=CLASSES))
    assert (roi.position, roi.z_position, roi.t_position) == (0, 3, 2)


def test_objects_are_exported_one_by_one_with_their_class(tmp_path: Path) -> None:
    labels = np.ones((40, 60), np.uint8)
    for column in (2, 16):  # overlap: one region, two objects
        labels[5:26, column : column + 21][disk(10) > 0] = 2
    objects = find_objects(labels)
    assert objects.max() == 2
    found = geojson(tmp_path, labels, objects=objects)
    assert [each["properties"]["name"] for each in found] == ["Zellkern µ 核 1", "Zellkern µ 核 2"]
    rois = roiread(export_labels(tmp_path / "o.zip", labels, classes=CLASSES, objects=objects))
    path = export_labels(tmp_path / "o.json", labels, classes=CLASSES, objects=objects, image_name="a.tif")
    coco = COCO(path)
    assert coco.imgs[1]["file_name"] == "a.tif"
    assert [entry["id"] for entry in coco.dataset["categories"]] == [1, 2]
    for number in (1, 2):
        expected = objects == number
        shape = shapely.from_geojson(json.dumps(found[number - 1]["geometry"]))
        np.testing.assert_array_equal(inside(shape, labels.shape), expected)
        np.testing.assert_array_equal(roi_mask(rois[number - 1], labels.shape), expected)
        np.testing.assert_array_equal(coco.annToMask(coco.anns[number]), expected)
        assert coco.anns[number]["category_id"] == 2
        assert coco.anns[number]["iscrowd"] == 0


def test_labels_without_classes_are_objects_by_number(tmp_path: Path) -> None:
    labels = np.array([[7, 0, 300], [7, 0, 7]])
    found = geojson(tmp_path, labels, classes=())
    assert [each["properties"] for each in found] == [
        {"objectType": "annotation", "name": "object 7"},
        {"objectType": "annotation", "name": "object 300"},
    ]
    coco = COCO(export_labels(tmp_path / "o.json", labels, classes=()))
    assert [entry["name"] for entry in coco.dataset["categories"]] == ["object"]
    assert [annotation["area"] for annotation in coco.anns.values()] == [3, 1]


def test_empty_labels_make_files_without_regions(tmp_path: Path) -> None:
    labels = np.zeros((3, 4), np.uint8)
    assert geojson(tmp_path, labels) == []
    assert roiread(export_labels(tmp_path / "o.zip", labels, classes=CLASSES)) == []
    assert not COCO(export_labels(tmp_path / "o.json", labels, classes=CLASSES)).anns


def test_names_of_classes_choose_no_path_and_steer_nothing(tmp_path: Path) -> None:
    classes = (ClassInfo("../../a\n\x1b[2Jb\\c:d", "#102030"), ClassInfo("\U0001f52c", "#102030"))
    labels = np.array([[1, 2]])
    (first, _) = geojson(tmp_path, labels, classes=classes)
    assert first["properties"]["classification"]["name"] == "../../a  [2Jb\\c:d"
    path = export_labels(tmp_path / "o.roi.zip", labels, classes=classes)
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == ["_.._a  [2Jb_c_d 1.roi", "_ 1.roi"]
        names = [ImagejRoi.frombytes(archive.read(name)).name for name in archive.namelist()]
    assert names == ["_.._a  [2Jb_c_d 1", "_ 1"]


def test_classes_of_one_name_have_rois_of_their_own(tmp_path: Path) -> None:
    same = (ClassInfo("a", "#102030"), ClassInfo("a", "#302010"))
    with zipfile.ZipFile(export_labels(tmp_path / "o.zip", np.array([[1, 2]]), classes=same)) as archive:
        assert archive.namelist() == ["a 1.roi", "a 1 (2).roi"]


def test_rois_of_a_class_with_an_endless_name_are_files_all_the_same(tmp_path: Path) -> None:
    classes = (ClassInfo("核" * 70_000, "#102030"),)
    labels = np.array([[1, 0, 1]])
    with zipfile.ZipFile(export_labels(tmp_path / "o.zip", labels, classes=classes)) as archive:
        first, second = archive.namelist()
    assert len(first.encode()) < 255
    assert (first[-6:], second[-6:]) == (" 1.roi", " 2.roi")


@pytest.mark.parametrize("suffix", [".geojson", ".roi.zip", ".coco.json"])
def test_equal_labels_make_equal_bytes_and_nothing_is_half_written(tmp_path: Path, suffix: str) -> None:
    one, two = (
        export_labels(tmp_path / f"{name}{suffix}", CORNERS, classes=CLASSES, image_name="i") for name in "ab"
    )
    assert one.read_bytes() == two.read_bytes()
    with pytest.raises(ExportError, match="already exists"):
        export_labels(one, CORNERS, classes=CLASSES)

    class Broken:
        """Labels that cannot be read."""

        shape, dtype = (4, 5), np.dtype(np.uint8)

        def __getitem__(self, window: Any) -> np.ndarray:
            raise OSError("the drive was pulled")

    with pytest.raises(ExportError, match="the drive was pulled"):
        export_labels(tmp_path / f"c{suffix}", Broken(), classes=CLASSES)
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"a{suffix}", f"b{suffix}"]


@pytest.mark.parametrize(
    ("name", "shape", "word"),
    [
        ("o.coco.json", (2, 4, 5), "COCO holds one plane; choose GeoJSON"),
        ("o.roi.zip", (1, 60_001), "60000 pixels that ImageJ's ROIs span; choose GeoJSON"),
    ],
)
def test_labels_that_a_format_cannot_hold_are_refused_beforehand(
    tmp_path: Path, name: str, shape: tuple[int, ...], word: str
) -> None:
    with pytest.raises(ExportError, match=word):
        check_export(tmp_path / name, shape)
    with pytest.raises(ExportError, match=word):
        export_labels(tmp_path / name, np.zeros(shape, np.uint8), classes=CLASSES)
    assert not list(tmp_path.iterdir())


def test_formats_of_regions_hold_no_maps_and_formats_of_pixels_no_objects_beside(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="choose one of ome-tiff"):
        check_export(tmp_path / "o.geojson", (4, 5), channels=1)
    with pytest.raises(ExportError, match="export the objects as labels"):
        export_labels(tmp_path / "o.tif", CORNERS, classes=CLASSES, objects=CORNERS)
    with pytest.raises(ExportError, match="give both of one image"):
        export_labels(tmp_path / "o.geojson", CORNERS, classes=CLASSES, objects=CORNERS[1:])
