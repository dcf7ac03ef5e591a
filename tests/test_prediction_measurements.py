"""Measurements of objects: scikit-image's numbers, in physical units, a row per object."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray
from skimage.draw import disk, ellipse
from skimage.measure import perimeter_crofton, regionprops

import napari_dsparse as nd
from napari_dsparse.errors import DsparseError, ImageError, LabelsError
from napari_dsparse.prediction.measurement_table import measurement_table
from napari_dsparse.prediction.measurements import crofton_perimeters
from napari_dsparse.prediction.object_options import ObjectOptions
from napari_dsparse.prediction.objects import find_objects

LENGTHS = ["centroid-0", "centroid-1", "perimeter", "equivalent_diameter", "axis_major_length"]

numbered = arrays(
    np.uint32, array_shapes(min_dims=2, max_dims=4, max_side=6), elements=st.sampled_from([0, 1, 2, 90_000])
)


@given(numbered)
def test_every_object_of_every_plane_has_a_row_with_its_area(objects: NDArray[np.uint32]) -> None:
    table = nd.measure(objects)
    flat = objects.reshape(-1, *objects.shape[-2:])
    places = [
        (plane, number) for plane, numbers in enumerate(flat) for number in np.unique(numbers[numbers > 0])
    ]
    assert len(table) == len(places)
    assert table["area"].sum() == np.count_nonzero(objects)
    assert list(table["label"]) == [number for _, number in places]
    leading = [name for name in table.columns if name.startswith("plane-")]
    assert leading == [f"plane-{axis}" for axis in range(objects.ndim - 2)]
    if leading and len(table):
        found = np.ravel_multi_index([table[name].astype(int) for name in leading], objects.shape[:-2])
        assert list(found) == [plane for plane, _ in places]


@given(numbered, st.floats(0.01, 100))
def test_lengths_grow_with_the_pixel_and_areas_with_its_square(
    objects: NDArray[np.uint32], step: float
) -> None:
    assume(objects.any())
    pixels, scaled = nd.measure(objects), nd.measure(objects, scale=(step, step))
    np.testing.assert_allclose(scaled["area"], pixels["area"] * step**2)
    for name in LENGTHS:
        np.testing.assert_allclose(scaled[name], pixels[name] * step, rtol=1e-6, atol=1e-6 * step)


@given(numbered)
def test_the_class_is_the_one_most_pixels_have(objects: NDArray[np.uint32]) -> None:
    rng = np.random.default_rng(int(objects.sum()) % 1000)
    classes = rng.integers(1, 4, objects.shape)
    table = nd.measure(objects, classes=classes)
    for index, number in enumerate(table["label"]):
        plane = tuple(int(table[f"plane-{axis}"][index]) for axis in range(objects.ndim - 2))
        votes = np.bincount(classes[plane][objects[plane] == number])
        assert table["class"][index] == votes.argmax()


def blobs() -> NDArray[np.uint8]:
    labels = np.ones((60, 80), np.uint8)
    labels[disk((20, 20), 12)] = 2
    labels[ellipse(40, 55, 8, 18, rotation=0.4)] = 3
    return labels


def test_numbers_are_scikit_images_own() -> None:
    labels = blobs()
    image = np.random.default_rng(0).normal(100, 10, (*labels.shape, 3)).astype(np.float32)
    objects = find_objects(labels)
    table = nd.measure(objects, image, classes=labels, scale=(0.5, 0.5))
    assert list(table["class"]) == [2, 3]
    for index, region in enumerate(regionprops(objects.astype(int), image, spacing=(0.5, 0.5))):
        for name in ("area", "perimeter", "eccentricity", "orientation", "axis_minor_length"):
            assert table[name][index] == pytest.approx(region[name])
        for channel in range(3):
            assert table[f"intensity_mean-{channel}"][index] == pytest.approx(region.intensity_mean[channel])
            assert table[f"intensity_max-{channel}"][index] == pytest.approx(region.intensity_max[channel])


def test_a_grey_image_has_one_intensity_and_channels_may_come_first() -> None:
    objects = find_objects(blobs())
    grey = np.arange(objects.size).reshape(objects.shape)
    assert "intensity_mean" in nd.measure(objects, grey)
    both = nd.measure(objects, np.stack([grey, 2 * grey]))
    np.testing.assert_allclose(both["intensity_mean-1"], 2 * both["intensity_mean-0"])


def test_oblong_pixels_are_measured_as_square_ones_are() -> None:
    objects = find_objects(blobs())
    table = nd.measure(objects, scale=(1.0, 0.5))
    assert list(table.columns) == list(nd.measure(objects).columns)
    np.testing.assert_allclose(table["area"], nd.measure(objects)["area"] / 2)
    assert table["eccentricity"][0] > 0.8  # the disk, half as wide as high
    nearly = nd.measure(objects, scale=(0.325, 0.32500001))  # as float32 in a file is
    np.testing.assert_allclose(nearly["perimeter"], nd.measure(objects, scale=(0.325, 0.325))["perimeter"])


@pytest.mark.parametrize("ratio", [0.1, 0.4, 0.75, 1.6, 3, 8.3])
def test_perimeters_of_oblong_pixels_are_those_of_the_shapes(ratio: float) -> None:
    height, width = ratio, 1.0
    y, x = np.mgrid[: round(420 / height), :420].astype(float)
    y, x = y * height, x * width
    objects = ((y - 90.3) ** 2 + (x - 90.7) ** 2 < 60**2).astype(np.uint8)  # a disc,
    objects[(y - 250 < x) & (x < y - 190) & (440 - y < x) & (x < 500 - y)] = 2  # a square on its corner,
    objects[(y > 200) & (y <= 260) & (x > 10) & (x <= 60)] = 3  # an upright rectangle
    table = nd.measure(objects, scale=(height, width))
    sides = np.count_nonzero((objects == 3).any(1)) * height + 50
    np.testing.assert_allclose(table["perimeter"], [2 * np.pi * 60, 4 * 60 / np.sqrt(2), 2 * sides], rtol=0.1)
    assert table["perimeter"][0] == pytest.approx(2 * np.pi * 60, rel=0.03)


@given(arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=9), elements=st.integers(0, 2)))
def test_perimeters_of_square_pixels_are_scikit_images_croftons(objects: NDArray[np.uint8]) -> None:
    found = crofton_perimeters(objects, 2, (1.0, 1.0))
    expected = [perimeter_crofton(np.pad(objects == number, 1), directions=4) for number in (1, 2)]
    np.testing.assert_allclose(found, expected, atol=1e-9)


def test_a_stack_takes_the_pixel_size_of_all_its_axes() -> None:
    stack = find_objects(np.stack([blobs(), blobs()]))
    np.testing.assert_allclose(
        nd.measure(stack, scale=(7, 0.5, -0.5))["area"], nd.measure(stack, scale=(0.5, 0.5))["area"]
    )


def test_volumes_have_a_row_each_in_cubic_units() -> None:
    rng = np.random.default_rng(0)
    labels = np.ones((9, 20, 30), np.uint8)
    labels[2:6, 3:12, 4:14] = 2
    labels[7, 15:18, 20:24] = 3
    image = rng.normal(100, 10, (2, *labels.shape))
    objects = find_objects(labels, volume=True)
    table = nd.measure(objects, image, classes=labels, scale=(2, 0.5, 0.25), channel_axis=0, volume=True)
    assert list(table["label"]) == [1, 2]
    assert list(table["class"]) == [2, 3]
    np.testing.assert_allclose(table["volume"], [4 * 9 * 10 * 0.25, 12 * 0.25])
    np.testing.assert_allclose(
        table[["centroid-0", "centroid-1", "centroid-2"]], [[7, 3.5, 2.125], [14, 8, 5.375]]
    )
    for number in (1, 2):
        for channel in (0, 1):
            mean = image[channel][objects == number].mean()
            assert table[f"intensity_mean-{channel}"][number - 1] == pytest.approx(mean)
    both = nd.measure(np.stack([objects, objects]), volume=True)
    assert list(both["plane-0"]) == [0, 0, 1, 1]
    assert len(nd.measure(np.zeros_like(objects), volume=True)) == 0
    with pytest.raises(LabelsError, match="need a stack"):
        nd.measure(objects[0], volume=True)


@pytest.mark.parametrize("shape", [(4, 5), (2, 4, 5)])
def test_no_objects_make_an_empty_table_with_all_columns(shape: tuple[int, ...]) -> None:
    empty = np.zeros(shape, np.uint32)
    table = nd.measure(empty, np.zeros(shape), classes=np.ones(shape, int))
    assert len(table) == 0
    assert {"label", "class", "area", "perimeter", "intensity_mean"} <= set(table.columns)


OBJECTS = np.ones((4, 5), np.uint32)


@pytest.mark.parametrize(
    ("given_", "error", "sentence"),
    [
        ({"objects": OBJECTS / 2}, LabelsError, "Objects came as float64"),
        ({"objects": -OBJECTS.astype(int)}, LabelsError, "Objects hold the number -1"),
        ({"objects": OBJECTS, "classes": OBJECTS[:2]}, LabelsError, "give both of one image"),
        ({"objects": OBJECTS, "image": np.zeros((9, 9))}, ImageError, "labels must have the image's shape"),
        ({"objects": OBJECTS, "scale": (1, 2, 3)}, DsparseError, "scale of 3 entries"),
        ({"objects": OBJECTS, "scale": (1, 0)}, DsparseError, "pixel size of 0.0 is not possible"),
    ],
)
def test_what_cannot_be_measured_is_refused(given_: dict[str, Any], error: type, sentence: str) -> None:
    with pytest.raises(error, match=sentence):
        nd.measure(**given_)


def test_a_distance_of_planes_in_another_unit_is_brought_to_that_of_the_columns():
    scale, units = (500, 0.1, 0.1), ("nanometer", "micrometer", "micrometer")
    assert ObjectOptions().at_scale(scale, units).z_step == pytest.approx(5)
    assert ObjectOptions().at_scale((5.0, 0.1, 0.1), ("second", *units[1:])).z_step == 1
    objects = np.ones((2, 3, 4), np.uint8)
    table = measurement_table(objects, scale=scale, units=units, volume=True)
    assert table["volume"][0] == pytest.approx(2 * 3 * 4 * 0.5 * 0.1 * 0.1)
    assert table["unit"][0] == "micrometer"
