"""Colours and names that classes get by themselves: distinct, and the same as ever for the first eight."""

from __future__ import annotations

from itertools import combinations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from napari_dsparse.classifier.classes import MOST_CLASSES, ClassInfo, default_classes, next_class
from napari_dsparse.classifier.colors import oklab

#: A just noticeable difference in OKLab is about 0.02.
NOTICEABLE = 0.02


def distances(classes: tuple[ClassInfo, ...]) -> list[float]:
    lab = oklab(np.array([info.rgb for info in classes]))
    return [float(np.linalg.norm(one - other)) for one, other in combinations(lab, 2)]


def test_the_first_eight_classes_look_as_ever() -> None:
    first = default_classes(8)
    assert [info.color for info in first] == [
        "#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442", "#999999",
    ]  # fmt: skip
    assert [info.name for info in first] == ["background", "object", *(f"class {n}" for n in range(3, 9))]


def test_many_classes_can_be_told_apart() -> None:
    assert min(distances(default_classes(16))) > 5 * NOTICEABLE
    assert min(distances(default_classes(32))) > 4 * NOTICEABLE
    assert min(distances(default_classes(64))) > 3 * NOTICEABLE


def test_no_two_of_all_classes_there_may_be_have_one_colour() -> None:
    assert len({info.color for info in default_classes(MOST_CLASSES)}) == MOST_CLASSES


def test_further_colours_show_on_black_and_on_white() -> None:
    lightness = oklab(np.array([info.rgb for info in default_classes(64)]))[:, 0]
    assert lightness.min() > 0.4
    assert lightness.max() < 0.92


def test_oklab_of_known_colours() -> None:
    lab = oklab(np.array([[0, 0, 0], [255, 255, 255], [255, 0, 0]]))
    np.testing.assert_allclose(lab[0], 0, atol=1e-6)
    np.testing.assert_allclose(lab[1], (1, 0, 0), atol=1e-4)
    np.testing.assert_allclose(lab[2], (0.628, 0.2249, 0.1258), atol=1e-3)


@given(st.lists(st.integers(1, 40), unique=True))
def test_an_added_class_has_a_name_and_a_colour_of_its_own(numbers: list[int]) -> None:
    everything = default_classes(40)
    classes = tuple(everything[number - 1] for number in numbers)
    added = next_class(classes)
    assert added.name not in {info.name for info in classes}
    assert added.color not in {info.color for info in classes}


def test_classes_added_one_after_the_other_are_the_default_ones() -> None:
    classes: tuple[ClassInfo, ...] = ()
    for _ in range(12):
        classes = (*classes, next_class(classes))
    assert classes == default_classes(12)
