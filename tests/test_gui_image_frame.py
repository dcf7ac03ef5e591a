"""Axes of image layers as they are read, and positions of layers on their pixels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import dask.array as da
import numpy as np
import pytest
from napari.layers import Image, Labels

from gui_session import Desk, two_textures
from napari_dsparse.errors import ImageError
from napari_dsparse.gui.layers.image_frame import channel_choices, check_strokes, frame_of
from napari_dsparse.live.state import Training


def choices_of(shape: tuple[int, ...], **attributes: Any) -> list[int | None]:
    return [choice.axis for choice in channel_choices(Image(np.zeros(shape, np.uint8), **attributes))]


def test_a_grey_image_and_a_colour_image_leave_no_choice() -> None:
    assert choices_of((8, 9)) == [None]
    assert choices_of((8, 9, 3), rgb=True) == [2]
    assert choices_of((5, 8, 9, 4), rgb=True) == [3]


def test_an_axis_is_taken_for_channels_if_it_says_so_or_is_one_of_few_planes() -> None:
    assert choices_of((3, 8, 9)) == [0, None, 1, 2]
    assert choices_of((3, 8, 9), axis_labels=("z", "y", "x"))[0] is None
    assert choices_of((3, 8, 9), scale=(2, 1, 1))[0] is None
    assert choices_of((5, 8, 9))[0] is None
    assert choices_of((3, 2, 8, 9))[0] is None
    assert choices_of((5, 520, 520)) == [None, 0]
    assert choices_of((100, 520, 520)) == [None]
    assert choices_of((100, 520, 520), axis_labels=("c", "y", "x")) == [0, None]
    assert choices_of((3, 8, 9), axis_labels=("c", "y", "x"))[0] == 0
    assert choices_of((5, 2, 8, 9), axis_labels=("z", "channel", "y", "x"))[0] == 1
    assert sorted(choices_of((5, 2, 8, 9)), key=str) == [0, 1, 2, 3, None]


def test_a_choice_reads_in_the_users_words() -> None:
    texts = [c.text for c in channel_choices(Image(np.zeros((2, 8, 9)), axis_labels=("c", "y", "x")))]
    assert texts[0] == "axis 0 (c): 2 channels"
    assert texts[1] == "none: 2 slices"


def frame(layer: Image, axis: int | None) -> Any:
    return frame_of(layer, next(choice for choice in channel_choices(layer) if choice.axis == axis))


def test_leading_channels_go_and_the_rest_keeps_its_place() -> None:
    image = Image(
        np.zeros((2, 8, 9)),
        scale=(1, 0.5, 0.25),
        translate=(0, 3, 4),
        rotate=[30, 0, 0],
        units=("pixel", "um", "um"),
        axis_labels=("c", "y", "x"),
    )
    seen = frame(image, 0)
    labels = Labels(np.zeros(seen.layer_shape, np.uint8), **seen.placement)
    assert labels.data.shape == seen.source.shape == (8, 9)
    np.testing.assert_allclose(labels.data_to_world((5, 6)), image.data_to_world((0, 5, 6))[1:])
    assert labels.axis_labels == ("y", "x")
    assert labels.units == image.units[1:]


@pytest.mark.parametrize("axis", [1, 3])
def test_channels_between_other_axes_become_one_long_pixel(axis: int) -> None:
    shape = (3, 4, 8, 9) if axis == 1 else (3, 8, 9, 4)
    image = Image(np.zeros(shape), scale=(2, 1, 1, 1), translate=(5, 1, 1, 1))
    seen = frame(image, axis)
    labels = Labels(np.zeros(seen.layer_shape, np.uint8), **seen.placement)
    assert seen.source.shape == (3, 8, 9)
    assert seen.engine_view(labels.data).shape == (3, 8, 9)
    for channel in range(4):
        index = np.array([2, 5, 6])
        world = image.data_to_world(np.insert(index, axis, channel))
        np.testing.assert_array_equal(np.round(labels.world_to_data(world)), np.insert(index, axis, 0))
    seen.engine_view(labels.data)[1, 2, 3] = 7
    assert labels.data[seen.layer_index((1, 2, 3))] == 7


def test_multiscale_images_are_read_at_full_resolution() -> None:
    levels = [da.zeros((64, 80), chunks=32), da.zeros((32, 40), chunks=32)]
    seen = frame(Image(levels, multiscale=True), None)
    assert seen.source.shape == seen.layer_shape == (64, 80)


def test_labels_of_another_shape_are_refused_in_a_sentence() -> None:
    seen = frame(Image(np.zeros((8, 9)), name="cells"), None)
    with pytest.raises(ImageError, match=r"'old' has shape \(4, 9\), image 'cells' needs \(8, 9\)"):
        check_strokes(seen, Labels(np.zeros((4, 9), int), name="old"))


def test_a_stack_is_segmented_slice_by_slice(desk: Callable[..., Desk]) -> None:
    stack = np.stack([two_textures(seed=seed) for seed in range(3)])
    at = desk(Image(stack, name="stack", scale=(2, 1, 1), axis_labels=("z", "y", "x")))
    at.click("new_labels_button")
    at.viewer.dims.set_point(0, 2.0)
    at.paint_two_classes(at.layer("stack strokes"), plane=(1,))
    at.wait(lambda: at.session.training is Training.STEADY)
    at.wait(lambda: at.has_layer("stack segmentation"))
    result = at.layer("stack segmentation").data
    assert result.shape == stack.shape
    assert result[1].any()  # the slice on screen
    assert not result[0].any()
    at.viewer.dims.set_point(0, 4.0)
    at.wait(lambda: bool(result[2].any()))


def test_channels_chosen_by_the_user_are_all_learned_from(desk: Callable[..., Desk]) -> None:
    image = np.stack([two_textures(seed=0), two_textures(seed=1)])
    at = desk(Image(image, name="pair"))
    combo = at.find("channels_combo")
    assert combo.currentText() == "axis 0: 2 channels"
    combo.setCurrentText("none: 2 slices")
    assert at.dock.controller.frame.source.shape == (2, 96, 128)
    combo.setCurrentText("axis 0: 2 channels")
    at.click("new_labels_button")
    strokes = at.layer("pair strokes")
    assert strokes.data.shape == (96, 128)
    at.paint_two_classes(strokes)
    at.wait(lambda: at.has_layer("pair segmentation"))
    classifier = at.session.model and at.session.model.classifier
    assert classifier is not None
    assert classifier.spec.channels == 2


def test_a_multiscale_image_is_painted_and_segmented_at_level_0(desk: Callable[..., Desk]) -> None:
    full = two_textures()
    at = desk(Image([full, full[::2, ::2]], multiscale=True, name="pyramid"))
    at.click("new_labels_button")
    strokes = at.layer("pyramid strokes")
    assert not strokes.multiscale
    at.paint_two_classes(strokes)
    at.wait(lambda: at.has_layer("pyramid segmentation"))
    assert at.layer("pyramid segmentation").data.shape == (96, 128)
