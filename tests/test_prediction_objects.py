"""Objects of a segmentation: numbered, whole, and cut apart at their necks."""

from __future__ import annotations

from typing import Any

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
from napari_dsparse.model import Model
from napari_dsparse.prediction import tiles
from napari_dsparse.prediction.objects import find_objects
from napari_dsparse.samples import load

CORNERS_CONNECT = np.ones((3, 3), bool)


IMAGE = load("nuclei").image[:180, :240]


@pytest.fixture(scope="module")
def model() -> Model:
    sample = load("nuclei")
    return train(sample.image, sample.strokes, steps=0, device="cpu")


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


@pytest.mark.parametrize(
    ("option", "sentence"),
    [
        ({"min_size": -1}, "min_size is -1"),
        ({"max_hole": 0.5}, "max_hole is 0.5"),
        ({"splitting": 1.5}, "splitting is 1.5; give a number from 0"),
        ({"classes": 2}, "give the numbers of one class or more"),
        ({"border_objects": "no"}, "border_objects is 'no'; give True or False"),
        ({"z_step": 0}, "z_step is 0; give the distance"),
        ({"volume": True}, "are one plane; objects over planes"),
    ],
)
def test_an_option_that_is_not_possible_is_refused(option: dict[str, Any], sentence: str) -> None:
    with pytest.raises((DsparseError, LabelsError), match=sentence):
        find_objects(np.ones((2, 2), int), **option)


# -- options --------------------------------------------------------------------------------------------


@given(segmentations())
def test_only_the_chosen_classes_are_objects(labels: NDArray[np.uint8]) -> None:
    every, chosen = find_objects(labels, background=0), find_objects(labels, classes=(1, 3))
    np.testing.assert_array_equal(chosen > 0, np.isin(labels, (1, 3)))
    for number in range(1, int(chosen.max(initial=0)) + 1):
        assert len(np.unique(every[chosen == number])) == 1


@given(segmentations(), st.floats(0, 1))
def test_splitting_moves_no_pixel_and_none_of_it_is_no_separation(
    labels: NDArray[np.uint8], splitting: float
) -> None:
    np.testing.assert_array_equal(find_objects(labels, splitting=splitting) > 0, labels > 1)
    np.testing.assert_array_equal(
        find_objects(labels, splitting=0), find_objects(labels, separate=False, splitting=splitting)
    )


def test_stronger_splitting_cuts_wider_necks() -> None:
    labels = two_disks(20, 30)  # the neck has 0.66 of the disks' width
    counts = [find_objects(labels, splitting=share).max() for share in (0, 0.5, 0.6, 0.8, 0.9, 1)]
    assert counts == [1, 1, 1, 2, 2, 2]


@given(segmentations(), st.integers(0, 40))
def test_objects_at_the_edge_are_those_left_out_and_in_volumes_at_any_face(
    labels: NDArray[np.uint8], splitting: int
) -> None:
    every = find_objects(labels, splitting=splitting / 40)
    inner = find_objects(labels, splitting=splitting / 40, border_objects=False)
    for kept, numbers in zip(planes(inner), planes(every), strict=True):
        rim = np.concatenate([numbers[0], numbers[-1], numbers[:, 0], numbers[:, -1]])
        np.testing.assert_array_equal(kept > 0, (numbers > 0) & ~np.isin(numbers, rim))
    if labels.ndim > 2:
        solid = find_objects(labels, volume=True, border_objects=False)
        assert not solid[..., [0, -1], :, :].any()


def test_holes_of_one_class_are_filled_up_to_a_size_and_others_stay() -> None:
    labels = np.ones((20, 40), np.uint8)
    labels[2:12, 2:12] = labels[2:12, 14:24] = labels[2:12, 26:36] = labels[17:, 2:12] = 2
    labels[4:6, 4:6] = 1  # a hole of 4
    labels[4:9, 16:21] = 1  # of 24, around a speck that becomes a part of the object
    labels[6, 18] = 2
    labels[2:8, 31] = labels[7, 26:31] = 3
    labels[4:6, 29:31] = 1  # this one has two classes around it
    labels[18:, 5:8] = 1  # and this one is open at the edge
    options = {"splitting": 0, "classes": (2,)}
    assert find_objects(labels, max_hole=3, **options).max() == 6
    found = find_objects(labels, max_hole=4, **options)
    assert found[4, 4] == found[2, 2] > 0
    assert found[5, 17] == 0
    found = find_objects(labels, max_hole=24, **options)
    assert found[6, 18] == found[5, 17] == found[2, 14]
    assert found.max() == 5
    assert not find_objects(labels, max_hole=1000, splitting=0)[4, 29]
    assert not find_objects(labels, max_hole=1000, splitting=0)[19, 6]


def two_balls(step: int = 1) -> NDArray[np.uint8]:
    """Two balls of radius 12 that touch, every `step`-th plane of them."""
    grid = np.indices((30, 30, 56))
    inside = np.zeros(grid.shape[1:], bool)
    for column in (16, 37):
        inside |= ((grid - np.array([15, 15, column])[:, None, None, None]) ** 2).sum(0) <= 144
    return (1 + inside).astype(np.uint8)[::step]


@pytest.mark.parametrize("step", [1, 3])
def test_volumes_are_connected_over_planes_and_cut_at_their_necks(step: int) -> None:
    labels = two_balls(step)
    assert find_objects(labels, volume=True, separate=False).max() == 1
    found = find_objects(labels, volume=True, z_step=step)
    assert found.max() == 2
    np.testing.assert_array_equal(found > 0, labels > 1)
    assert set(np.unique(found[..., :26])) == {0, 1}
    assert find_objects(labels).max() > 2
    pair = find_objects(np.stack([labels, labels]), volume=True, z_step=step)
    np.testing.assert_array_equal(pair[1], np.where(found > 0, found + 2, 0))


@given(segmentations(), st.booleans(), st.booleans())
def test_options_mean_the_same_for_arrays_in_pieces(
    labels: NDArray[np.uint8], volume: bool, border_objects: bool
) -> None:
    options = {"volume": volume and labels.ndim > 2, "border_objects": border_objects, "max_hole": 4}
    np.testing.assert_array_equal(
        find_objects(labels, **options), find_objects(da.from_array(labels, chunks=2), **options)
    )


def test_finding_objects_tells_its_progress_and_can_be_stopped() -> None:
    stack = np.stack([two_disks(6, 10)] * 4)
    shares: list[float] = []
    whole = find_objects(stack, progress=shares.append)
    assert shares == sorted(shares)
    assert shares[-1] == 1
    shares.append(0)
    stopped = find_objects(stack, progress=shares.append, stop=lambda: shares[-1] >= 0.5)
    np.testing.assert_array_equal(stopped[:2], whole[:2])
    assert not stopped[2:].any()


def test_objects_across_the_borders_of_tiles_are_one(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiles, "_cuts", lambda length, halo: [(0, length)])
    whole = model.objects(IMAGE, device="cpu")
    monkeypatch.setattr(tiles, "_cuts", lambda length, halo: tiles.even_parts(0, length, 60))
    np.testing.assert_array_equal(model.objects(IMAGE, device="cpu"), whole)
    border = tiles.even_parts(0, len(IMAGE), 60)[0][1]
    assert np.any((whole[border - 1] > 0) & (whole[border - 1] == whole[border]))


def test_a_model_finds_the_objects_of_what_it_predicts(model: Model) -> None:
    labels = model.predict(IMAGE, device="cpu")
    found = model.objects(IMAGE, min_size=30, device="cpu")
    np.testing.assert_array_equal(found, find_objects(labels, min_size=30))
    touching = model.objects(IMAGE, min_size=30, separate=False, device="cpu")
    assert 0 < touching.max() < found.max()
    options = {"classes": [1], "max_hole": 9, "splitting": 0.7, "border_objects": False}
    np.testing.assert_array_equal(
        model.objects(IMAGE, device="cpu", **options), find_objects(labels, **options)
    )


def test_a_class_that_the_model_does_not_have_is_refused_before_computing(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Model, "predict", lambda *arguments, **options: pytest.fail("computed"))
    with pytest.raises(DsparseError, match=r"has no class 9; its classes are 1 \w+"):
        model.objects(IMAGE, classes=[1, 9], device="cpu")
