"""Objects of a segmentation: numbered, whole, and cut apart at their necks."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray
from scipy import ndimage
from skimage.draw import disk, ellipse

from napari_dsparse import train
from napari_dsparse.errors import DsparseError, LabelsError
from napari_dsparse.prediction.objects import find_objects
from napari_dsparse.samples import load

CORNERS_CONNECT = np.ones((3, 3), bool)


@st.composite
def segmentations(draw: st.DrawFn) -> NDArray[np.uint8]:
    """Stacks of planes with classes 0 to 3 in blots, as classifiers leave them."""
    shape = draw(array_shapes(min_dims=2, max_dims=4, max_side=3))
    grain = draw(st.integers(1, 6))
    coarse = draw(arrays(np.uint8, shape, elements=st.integers(0, 3)))
    return coarse.repeat(grain, axis=-2).repeat(grain, axis=-1)


def planes(stack: NDArray[np.generic]) -> NDArray[np.generic]:
    return stack.reshape(-1, *stack.shape[-2:])


@given(segmentations(), st.integers(0, 12), st.booleans(), st.integers(0, 3))
def test_objects_are_connected_pixels_of_one_class(
    labels: NDArray[np.uint8], min_size: int, separate: bool, background: int
) -> None:
    found = find_objects(labels, min_size=min_size, separate=separate, background=background)
    assert found.shape == labels.shape
    assert found.dtype == np.uint32
    seen: set[int] = set()
    for numbers, classes in zip(planes(found), planes(labels), strict=True):
        for number in np.unique(numbers[numbers > 0]):
            inside = numbers == number
            assert number not in seen
            seen.add(int(number))
            assert len(np.unique(classes[inside])) == 1
            assert classes[inside][0] not in (0, background)
            assert ndimage.label(inside, CORNERS_CONNECT)[1] == 1
            assert inside.sum() >= min_size
    assert seen == set(range(1, len(seen) + 1))


@given(segmentations(), st.booleans(), st.integers(1, 30))
def test_only_small_objects_are_left_out(labels: NDArray[np.uint8], separate: bool, min_size: int) -> None:
    every = find_objects(labels, separate=separate)
    np.testing.assert_array_equal(every > 0, labels > 1)
    sizes = np.bincount(every.ravel())
    kept = find_objects(labels, separate=separate, min_size=min_size)
    np.testing.assert_array_equal(kept > 0, (every > 0) & (sizes[every] >= min_size))


@given(segmentations())
def test_the_same_labels_give_the_same_objects_in_any_kind_of_array(labels: NDArray[np.uint8]) -> None:
    found = find_objects(labels)
    np.testing.assert_array_equal(found, find_objects(labels.astype(np.int64)))
    np.testing.assert_array_equal(found, find_objects(da.from_array(labels, chunks=2)))


@given(segmentations())
def test_parts_refine_connected_regions(labels: NDArray[np.uint8]) -> None:
    whole, parts = find_objects(labels, separate=False), find_objects(labels)
    for number in range(1, int(parts.max(initial=0)) + 1):
        assert len(np.unique(whole[parts == number])) == 1


@given(segmentations())
def test_a_stack_is_its_planes_numbered_on(labels: NDArray[np.uint8]) -> None:
    count = 0
    for plane, numbers in zip(planes(labels), planes(find_objects(labels)), strict=True):
        alone = find_objects(plane)
        np.testing.assert_array_equal(numbers, np.where(alone > 0, alone + count, 0))
        count += int(alone.max(initial=0))


def two_disks(radius: int, distance: float) -> NDArray[np.uint8]:
    labels = np.ones((3 * radius, 5 * radius), np.uint8)
    for column in (1.2 * radius, 1.2 * radius + distance):
        labels[disk((1.5 * radius, column), radius, shape=labels.shape)] = 2
    return labels


@pytest.mark.parametrize("radius", [6, 12, 40])
def test_touching_disks_are_two_objects_at_any_size(radius: int) -> None:
    labels = two_disks(radius, 1.7 * radius)
    assert find_objects(labels, separate=False).max() == 1
    found = find_objects(labels)
    assert found.max() == 2
    left, right = (np.argwhere(found == number)[:, 1].mean() for number in (1, 2))
    assert abs(left - 1.2 * radius) < 0.1 * radius + 1
    assert abs(right - 2.9 * radius) < 0.1 * radius + 1


@pytest.mark.parametrize("radius", [6, 12, 40])
def test_disks_that_mostly_overlap_are_one_object(radius: int) -> None:
    assert find_objects(two_disks(radius, 0.5 * radius)).max() == 1


@pytest.mark.parametrize("axes", [(8, 40), (20, 80), (3, 60)])
def test_elongated_objects_with_a_rough_outline_stay_whole(axes: tuple[int, int]) -> None:
    labels = np.ones((220, 220), np.uint8)
    labels[ellipse(110, 110, *axes, rotation=0.5)] = 2
    rim = ndimage.binary_dilation(labels == 2) & (labels == 1)
    rng = np.random.default_rng(0)
    labels[rim & (rng.random(labels.shape) < 0.5)] = 2
    assert find_objects(labels).max() == 1


def test_classes_that_touch_are_different_objects() -> None:
    labels = np.repeat([[1, 2, 3, 1]], 4, axis=0)
    found = find_objects(labels, separate=False)
    np.testing.assert_array_equal(found[0], [0, 1, 2, 0])


def test_holes_stay_holes() -> None:
    labels = np.full((9, 9), 2, np.uint8)
    labels[4, 4] = 1
    assert find_objects(labels)[4, 4] == 0


def test_objects_are_numbered_in_reading_order() -> None:
    labels = np.ones((5, 7), np.uint8)
    labels[0, 6] = labels[2, 0] = labels[4, 3] = 2
    found = find_objects(labels)
    assert [found[0, 6], found[2, 0], found[4, 3]] == [1, 2, 3]


def test_another_class_can_be_the_background() -> None:
    mask = np.array([[0, 1], [0, 1]])
    assert find_objects(mask).max() == 0
    np.testing.assert_array_equal(find_objects(mask, background=0), mask)


@pytest.mark.parametrize(
    ("labels", "sentence"),
    [
        (np.zeros((3, 3)), "Labels came as float64 of shape"),
        (np.zeros(3, int), "give whole numbers with rows and columns"),
        ([[1, 2]], "Labels came as a list"),
        (np.array([[-1, 2]]), "Labels hold the number -1"),
    ],
)
def test_what_is_no_segmentation_is_refused(labels: object, sentence: str) -> None:
    with pytest.raises(LabelsError, match=sentence):
        find_objects(labels)


def test_a_negative_size_is_refused() -> None:
    with pytest.raises(DsparseError, match="min_size is -1"):
        find_objects(np.ones((2, 2), int), min_size=-1)


def test_a_model_finds_the_objects_of_what_it_predicts() -> None:
    sample = load("nuclei")
    model = train(sample.image, sample.strokes, steps=0, device="cpu")
    found = model.objects(sample.image, min_size=30, device="cpu")
    np.testing.assert_array_equal(found, find_objects(model.predict(sample.image), min_size=30))
    touching = model.objects(sample.image, min_size=30, separate=False, device="cpu")
    assert 0 < touching.max() < found.max()
