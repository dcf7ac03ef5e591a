"""Edits of the table of classes: paint follows its class, and undo gives all of it back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from classifiers import classifier_for
from napari_dsparse.classifier import class_edits
from napari_dsparse.classifier.class_edits import ClassEdit, DoneEdit, done
from napari_dsparse.classifier.classes import ClassInfo, default_classes, next_class
from napari_dsparse.classifier.renumbering import renumbered
from napari_dsparse.errors import DsparseError, LabelsError
from napari_dsparse.files.model import read_classifier, save_classifier

LABELS = st.lists(st.integers(0, 5), min_size=24, max_size=24).map(
    lambda numbers: np.array(numbers, np.uint8).reshape(4, 6)
)


@st.composite
def edits(draw: st.DrawFn, classes: tuple[ClassInfo, ...]) -> ClassEdit:
    """Any edit of `classes`."""
    number, other = (draw(st.integers(1, len(classes))) for _ in range(2))
    kinds = ["change", "move"]
    if len(classes) > 2:
        kinds += ["remove"] + ["merge"] * (number != other)
    match draw(st.sampled_from(kinds)):
        case "change":
            return class_edits.change(classes, number, replace(classes[number - 1], color="#010203"))
        case "move":
            return class_edits.move(classes, number, other)
        case "remove":
            return class_edits.remove(classes, number)
        case _:
            return class_edits.merge(classes, number, other)


def names_of(labels: np.ndarray, classes: tuple[ClassInfo, ...]) -> np.ndarray:
    """Name of every pixel's class, "" where nothing is painted."""
    return np.array(["", *(info.name for info in classes)])[labels]


@given(LABELS, st.data())
def test_paint_stays_with_its_class(labels: np.ndarray, data: st.DataObject) -> None:
    classes = default_classes(5)
    edit = data.draw(edits(classes))
    before, after = names_of(labels, classes), names_of(edit.apply(labels), edit.classes)
    kept = labels != edit.gone if edit.gone else np.full(labels.shape, True)
    np.testing.assert_array_equal(after[kept], before[kept])
    assert set(edit.mapping) - {0} <= set(range(1, len(edit.classes) + 1))
    if edit.gone:
        into = edit.mapping[edit.gone - 1]
        assert (edit.apply(labels)[labels == edit.gone] == into).all()


@given(LABELS, st.data())
def test_undoing_everything_restores_paint_and_table(labels: np.ndarray, data: st.DataObject) -> None:
    classes, paint = default_classes(5), labels
    steps: list[DoneEdit] = []
    for _ in range(data.draw(st.integers(1, 6))):
        edit = data.draw(edits(classes))
        steps.append(done(classes, edit, paint))
        classes, paint = edit.classes, edit.apply(paint)
    for step in reversed(steps):
        paint = step.restore(paint, classes)
        classes = step.inverse(classes).classes
    np.testing.assert_array_equal(paint, labels)
    assert classes == default_classes(5)


@given(LABELS, LABELS, st.data())
def test_undo_keeps_what_was_painted_since(
    labels: np.ndarray, strokes: np.ndarray, data: st.DataObject
) -> None:
    classes = default_classes(5)
    edit = data.draw(edits(classes))
    step = done(classes, edit, labels)
    after = edit.apply(labels)
    now = edit.classes
    if data.draw(st.booleans()):
        now = (*now, ClassInfo("added", "#abcdef"))
    strokes = np.minimum(strokes, len(now)).astype(np.uint8)
    painted = np.where(strokes > 0, strokes, after)
    restored, table = step.restore(painted, now), step.inverse(now).classes
    since = painted != after
    was, is_now = names_of(labels, classes), names_of(restored, table)
    np.testing.assert_array_equal(is_now[~since], was[~since])
    np.testing.assert_array_equal(is_now[since], names_of(painted, now)[since])


@given(st.data())
def test_the_inverse_of_an_edit_undoes_its_numbers(data: st.DataObject) -> None:
    classes = default_classes(5)
    edit = data.draw(edits(classes))
    inverse = done(classes, edit, np.zeros((2, 2), np.uint8)).inverse(edit.classes)
    for old in range(1, 8):
        if old != edit.gone:
            assert inverse.number(edit.number(old)) == old


def test_names_given_since_outlive_an_undo() -> None:
    classes = default_classes(4)
    step = done(classes, class_edits.remove(classes, 2), np.zeros((2, 2), np.uint8))
    now = (replace(step.edit.classes[0], name="glass"), *step.edit.classes[1:])
    now = (*now, next_class(now))
    names = [info.name for info in step.inverse(now).classes]
    assert names == ["glass", "object", "class 3", "class 4", "class 5"]


def test_numbers_beyond_the_table_stay_beyond_it() -> None:
    edit = class_edits.remove(default_classes(3), 1)
    labels = np.array([[0, 1, 2, 3, 4, 900]], np.int32)
    np.testing.assert_array_equal(edit.apply(labels), [[0, 0, 1, 2, 3, 899]])
    assert edit.apply(labels).dtype == np.int32


@pytest.mark.parametrize(
    "wrong",
    [
        lambda classes: class_edits.remove(classes, 4),
        lambda classes: class_edits.remove(classes[:2], 1),
        lambda classes: class_edits.merge(classes, 1, 1),
        lambda classes: class_edits.move(classes, 1, 0),
    ],
)
def test_edits_that_cannot_be_are_refused(wrong: Any) -> None:
    with pytest.raises(DsparseError):
        wrong(default_classes(3))


# -- the classifier -----------------------------------------------------------------------------------------


def scores(classifier: Any) -> torch.Tensor:
    network = classifier.spec.empty()
    network.load_state_dict(classifier.weights, assign=True)
    patch = classifier.spec.patch
    pixels = torch.linspace(-1, 1, patch * patch).reshape(1, 1, patch, patch)
    with torch.no_grad():
        found: torch.Tensor = network.eval()(pixels)[0, :, 0, 0]
    return found


@pytest.mark.parametrize("network", ["compact", "context"])
def test_a_classifier_gives_every_class_the_score_it_had(network: str) -> None:
    old = classifier_for(classes=4, priors=(0.1, 0.2, 0.3, 0.4), network=network)
    edit = class_edits.move(old.classes, 4, 1)
    new = renumbered(old, edit)
    assert new is not None
    assert [info.name for info in new.classes] == ["class 4", "background", "object", "class 3"]
    assert new.priors == pytest.approx((0.4, 0.1, 0.2, 0.3))
    torch.testing.assert_close(scores(new), scores(old)[[3, 0, 1, 2]])


def test_a_classifier_without_a_class_shares_its_prior_among_the_others(tmp_path: Path) -> None:
    old = classifier_for(classes=4, priors=(0.1, 0.2, 0.3, 0.4), network="context")
    new = renumbered(old, class_edits.remove(old.classes, 2))
    assert new is not None
    assert new.spec.classes == 3
    assert new.priors == pytest.approx((0.125, 0.375, 0.5))
    torch.testing.assert_close(scores(new), scores(old)[[0, 2, 3]])
    path = tmp_path / "model.safetensors"
    save_classifier(new, path)
    assert [info.name for info in read_classifier(path).classes] == ["background", "class 3", "class 4"]


def test_a_class_that_comes_back_is_not_predicted_before_it_is_learned() -> None:
    old = classifier_for(classes=3, network="context")
    step = done(old.classes, class_edits.remove(old.classes, 2), np.zeros((2, 2), np.uint8))
    less = renumbered(old, step.edit)
    assert less is not None
    again = renumbered(less, step.inverse(less.classes))
    assert again is not None
    assert again.classes == old.classes
    assert again.priors == pytest.approx((0.5, 0, 0.5))
    torch.testing.assert_close(scores(again)[[0, 2]], scores(old)[[0, 2]])


def test_merged_classes_take_a_new_fit() -> None:
    old = classifier_for(classes=3)
    step = done(old.classes, class_edits.merge(old.classes, 3, 1), np.zeros((2, 2), np.uint8))
    assert renumbered(old, step.edit) is None
    merged = classifier_for(classes=2)
    assert renumbered(merged, step.inverse(merged.classes)) is None
    unlearned = classifier_for(classes=3, priors=(0.5, 0.5, 0.0))
    assert renumbered(unlearned, step.edit) is not None


def test_a_classifier_of_one_class_is_none() -> None:
    old = classifier_for(classes=3, priors=(0.5, 0.5, 0.0))
    assert renumbered(old, class_edits.remove(old.classes, 2)) is None


def test_a_classifier_may_know_more_classes_than_the_table() -> None:
    old = classifier_for(classes=5)
    new = renumbered(old, class_edits.remove(default_classes(3), 1))
    assert new is not None
    assert [info.name for info in new.classes] == ["object", "class 3", "class 4", "class 5"]


@pytest.mark.parametrize(
    ("given", "painted", "after", "numbers"),
    [
        ("cd", {1, 2}, "cdab", [3, 4]),  # painted classes are never given another meaning
        ("cd", set(), "cd", [1, 2]),
        ("bca", {1, 2}, "bca", [3, 1]),  # paint follows its class by name
        ("c", {1}, "ca", [2, 1]),
        ("ab", {1, 2}, "ab", [1, 2]),
    ],
)
def test_classes_are_taken_over_with_their_paint(
    given: str, painted: set[int], after: str, numbers: list[int]
) -> None:
    classes = tuple(ClassInfo(name, "#000000") for name in "ab")
    others = tuple(ClassInfo(name, "#ffffff") for name in given)
    table, edit = class_edits.take_over(classes, others, painted, "x.dsparse")
    assert table[:2] == classes
    assert [info.name for info in edit.classes] == list(after)
    assert [edit.number(old) for old in (1, 2)] == numbers
    assert sorted(edit.mapping) == list(range(1, len(edit.classes) + 1))
    assert edit.classes[: len(given)] == others
    labels = np.array([0, 1, 2], np.uint8)
    step = done(table, edit, labels)
    np.testing.assert_array_equal(step.restore(edit.apply(labels), edit.classes), labels)
    assert step.inverse(edit.classes).classes == table


def test_classes_left_behind_get_colours_that_none_of_the_others_has() -> None:
    classes = (*default_classes(2), ClassInfo("rim", "#E69F00"))
    given = (ClassInfo("nucleus", "#0072b2"), ClassInfo("object", "#ff0000"))
    table, edit = class_edits.take_over(classes, given, {1, 2, 3}, "x.dsparse")
    assert [info.name for info in edit.classes] == ["nucleus", "object", "background", "rim"]
    assert edit.classes[:2] == given
    assert edit.classes[3] == classes[2], "a colour that nobody took stays"
    assert len({info.color.lower() for info in edit.classes}) == 4
    assert done(table, edit, np.array([1], np.uint8)).inverse(edit.classes).classes == table


def test_a_name_that_another_class_has_is_refused() -> None:
    classes = default_classes(3)
    with pytest.raises(
        LabelsError, match="Class 1 is called 'background' already; give class 2 another name"
    ):
        class_edits.change(classes, 2, replace(classes[1], name="background "))
    old = (ClassInfo("a", "#000000"), ClassInfo("a", "#ffffff"))  # from a file of before
    assert class_edits.change(old, 2, ClassInfo("a", "#123456")).classes[1].color == "#123456"
    assert class_edits.change(old, 2, ClassInfo("b", "#ffffff")).classes[1].name == "b"


def test_a_class_that_comes_back_differs_from_one_added_since() -> None:
    classes = default_classes(3)
    step = done(classes, class_edits.remove(classes, 3), np.array([3], np.uint8))
    now = (*step.edit.classes, classes[2])  # the next class to add is called as the one removed
    after = step.inverse(now).classes
    assert [info.name for info in after] == ["background", "object", "class 3 2", "class 3"]
    assert len({info.color for info in after}) == 4
