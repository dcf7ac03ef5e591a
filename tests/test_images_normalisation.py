"""Intensities reach the network in one range, whatever the camera."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_dsparse.errors import ImageError
from napari_dsparse.images import ImageSource, Normalisation


def whole(source: ImageSource) -> np.ndarray:
    return source.read((0,) * (len(source.shape) - 2), (0, source.shape[-2]), (0, source.shape[-1]))


def normalised(data: np.ndarray, channel_axis: int | None = None) -> np.ndarray:
    source = ImageSource(data, channel_axis)
    return Normalisation.measure([source]).apply(whole(source))


@settings(max_examples=80, deadline=None)
@given(
    seed=st.integers(0, 999),
    gain=st.floats(1e-3, 1e4) | st.floats(-1e4, -1e-3),
    offset=st.floats(-1e3, 1e3),
)
def test_gain_and_offset_of_the_camera_do_not_matter(seed: int, gain: float, offset: float) -> None:
    image = np.random.default_rng(seed).gamma(2.0, size=(20, 30))
    once, twice = normalised(image), normalised(gain * image + offset)
    # float32 holds pixels about `offset` with that much less precision.
    tolerance = 1e-5 * (1 + abs(offset / gain))
    np.testing.assert_allclose(np.sign(gain) * twice, once, atol=tolerance * np.ptp(once))


def test_most_pixels_lie_between_minus_one_and_one() -> None:
    image = np.random.default_rng(0).uniform(200, 1200, size=(100, 100))
    values = normalised(image)
    assert abs(np.median(values)) < 0.01
    assert np.mean(np.abs(values) <= 1.0) >= 0.95
    assert values.max() < 1.1


def test_a_few_hot_pixels_change_nothing() -> None:
    image = np.random.default_rng(0).uniform(size=(100, 100)).astype(np.float32)
    hot = image.copy()
    hot[::25, ::25] = 1e6
    cool, warm = (Normalisation.measure([ImageSource(data)]) for data in (image, hot))
    assert warm.scale == pytest.approx(cool.scale, rel=0.02)
    assert warm.offset == pytest.approx(cool.offset, rel=0.02)


def test_each_channel_has_its_own_range() -> None:
    image = np.random.default_rng(0).uniform(size=(2, 50, 50)) * [[[1.0]], [[1000.0]]]
    found = Normalisation.measure([ImageSource(image, 0)])
    assert found.offset == pytest.approx((0.5, 500), rel=0.1)
    assert found.scale == pytest.approx((0.49, 490), rel=0.1)


def test_unknown_pixels_are_left_out_and_become_zero() -> None:
    image = np.random.default_rng(0).uniform(5, 6, size=(40, 40))
    holes = image.copy()
    holes[::3, ::2] = np.nan
    holes[1, 1], holes[1, 3] = np.inf, -np.inf
    source = ImageSource(holes)
    found = Normalisation.measure([source])
    assert found.offset == pytest.approx((5.5,), abs=0.1)
    values = found.apply(whole(source))
    assert np.isfinite(values).all()
    assert (values[0][~np.isfinite(holes)] == 0).all()


def test_a_constant_channel_becomes_zero() -> None:
    found = Normalisation.measure([ImageSource(np.full((9, 9), 7, np.uint8))])
    assert found == Normalisation((7.0,), (1.0,))
    assert not normalised(np.full((9, 9), 7, np.uint8)).any()


def test_an_almost_empty_channel_keeps_its_range() -> None:
    image = np.zeros((100, 100), np.uint16)
    image[50, 50] = 60_000
    assert Normalisation.measure([ImageSource(image)]) == Normalisation((0.0,), (30_000.0,))


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int16", "uint64", "float16", "float64"])
def test_every_numeric_dtype_is_measured(dtype: str) -> None:
    image = (np.arange(400).reshape(20, 20) % 7).astype(dtype)
    found = Normalisation.measure([ImageSource(image)])
    assert found.scale[0] > 0


def test_a_channel_without_any_value_is_refused_by_name() -> None:
    image = np.zeros((2, 8, 8))
    image[1] = np.nan
    with pytest.raises(ImageError, match=r"Channel 1 of image 'cells'"):
        Normalisation.measure([ImageSource(image, 0, "cells")])


def test_several_images_are_measured_together() -> None:
    dark, bright = np.zeros((30, 30)), np.full((50, 50), 10.0)
    found = Normalisation.measure([ImageSource(dark), ImageSource(bright)])
    assert found.scale == (5.0,)
    assert Normalisation.measure([ImageSource(np.full((9, 9), np.nan)), ImageSource(bright)]).offset == (
        10.0,
    )


def test_images_of_different_channels_are_refused() -> None:
    with pytest.raises(ImageError, match="equally many"):
        Normalisation.measure([ImageSource(np.zeros((9, 9))), ImageSource(np.zeros((2, 9, 9)), 0, "two")])
    with pytest.raises(ImageError, match="No image"):
        Normalisation.measure([])


class Large:
    """A ramp of any size, computed where it is read."""

    def __init__(self, *shape: int) -> None:
        self.shape, self.dtype, self.pixels = shape, np.dtype(np.float32), 0

    def __getitem__(self, index: tuple[Any, ...]) -> np.ndarray:
        rows, columns = (np.arange(part.start, part.stop, dtype=np.float32) for part in index[-2:])
        block = rows[:, np.newaxis] / self.shape[-2] + columns / self.shape[-1]
        self.pixels += block.size
        return block + sum(index[:-2])


@pytest.mark.parametrize("shape", [(16_384, 16_384), (200_000, 40), (30, 5_000, 5_000), (5_000, 300, 300)])
def test_a_large_image_is_measured_from_a_million_pixels(shape: tuple[int, ...]) -> None:
    image = Large(*shape)
    found = Normalisation.measure([ImageSource(image)])
    assert image.pixels <= 2**20
    assert found == Normalisation.measure([ImageSource(Large(*shape))])
    # The sum of ramps from 0 to 1 along rows, columns and (in steps of 1) planes.
    planes = shape[0] if len(shape) == 3 else 1
    centre = 1.0 + (planes - 1) / 2
    assert found.offset[0] == pytest.approx(centre, rel=0.05)
    if planes == 1:
        assert found.scale[0] == pytest.approx(0.859, rel=0.06)


def test_a_normalisation_that_makes_no_sense_is_refused() -> None:
    for offset, scale in [((0.0,), (0.0,)), ((0.0,), (-1.0,)), ((np.nan,), (1.0,)), ((0.0, 1.0), (1.0,))]:
        with pytest.raises(ImageError, match="not allowed"):
            Normalisation(offset, scale)
    with pytest.raises(ImageError, match="2 channels"):
        Normalisation((0.0,), (1.0,)).apply(np.zeros((2, 3, 3), np.float32))


def test_far_values_grow_as_a_logarithm_only_and_keep_their_order_and_sign():
    normalisation = Normalisation((10.0,), (2.0,))
    near = np.array([[[4.0, 10.0, 16.0]]], np.float32)
    np.testing.assert_array_equal(normalisation.apply(near), [[[-3, 0, 3]]])
    far = np.array([[[-60_000.0, 3.0, 16.1, 60_000.0, np.inf]]], np.float32)
    values = normalisation.apply(far)[0, 0]
    assert -14 < values[0] < values[1] < -3
    assert 3 < values[2] < 3.06
    assert values[2] < values[3] < 14
    assert values[4] == 0  # unknown
