"""Any window of any image reads like a slice of the whole image mirrored at its borders."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_dsparse.errors import ImageError
from napari_dsparse.images.source import ImageSource, resolve_image

DTYPES = (
    "bool",
    "uint8",
    "int8",
    "uint16",
    ">u2",
    "int32",
    "uint64",
    "int64",
    "float16",
    "float32",
    ">f4",
    "float64",
)


def random_array(shape: tuple[int, ...], dtype: str, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    kind = np.dtype(dtype)
    if kind.kind == "f":
        array = rng.normal(size=shape).astype(kind)
        array[rng.random(shape) < 0.1] = np.nan
        return array
    if kind.kind == "b":
        return rng.random(shape) < 0.5
    limits = np.iinfo(kind)
    return rng.integers(
        limits.min, limits.max, size=shape, dtype=kind.newbyteorder("="), endpoint=True
    ).astype(kind)


@st.composite
def images(draw: st.DrawFn) -> tuple[np.ndarray, int | None]:
    shape = draw(st.lists(st.integers(1, 7), min_size=2, max_size=4))
    channel_axis = draw(st.none() | st.integers(0, len(shape)))
    if channel_axis is not None:
        shape.insert(channel_axis, draw(st.integers(1, 4)))
    return random_array(tuple(shape), draw(st.sampled_from(DTYPES)), draw(st.integers(0, 99))), channel_axis


@st.composite
def windows(draw: st.DrawFn, size: int) -> tuple[int, int]:
    start = draw(st.integers(-3 * size - 2, 3 * size))
    return start, draw(st.integers(start + 1, 4 * size + 3))


def mirrored(data: np.ndarray, channel_axis: int | None, plane: tuple[int, ...], margin: int) -> np.ndarray:
    """The whole plane as float32 (C, Y, X), reflected `margin` pixels beyond each border."""
    channels_last = data[..., np.newaxis] if channel_axis is None else np.moveaxis(data, channel_axis, -1)
    block = np.moveaxis(channels_last[plane], -1, 0).astype(np.float32)
    return np.pad(block, ((0, 0), (margin, margin), (margin, margin)), mode="reflect")


@settings(max_examples=300, deadline=None)
@given(image=images(), draw=st.data())
def test_a_window_is_a_slice_of_the_mirrored_image(
    image: tuple[np.ndarray, int | None], draw: st.DataObject
) -> None:
    data, channel_axis = image
    source = ImageSource(data, channel_axis)
    plane = draw.draw(st.sampled_from(list(source.planes())))
    rows, columns = (draw.draw(windows(n)) for n in source.shape[-2:])
    block = source.read(plane, rows, columns)
    margin = 40
    expected = mirrored(data, channel_axis, plane, margin)[
        :, rows[0] + margin : rows[1] + margin, columns[0] + margin : columns[1] + margin
    ]
    assert block.dtype == np.float32
    assert block.flags.c_contiguous
    np.testing.assert_array_equal(block, expected)


def as_dask(array: np.ndarray, folder: Path) -> Any:
    return pytest.importorskip("dask.array").from_array(array, chunks=3)


def as_zarr(array: np.ndarray, folder: Path) -> Any:
    zarr = pytest.importorskip("zarr")
    native = array.astype(array.dtype.newbyteorder("="))
    stored = zarr.create_array(
        str(folder / "image.zarr"), shape=array.shape, chunks=(3,) * array.ndim, dtype=native.dtype
    )
    stored[...] = native
    return stored


def as_memmap(array: np.ndarray, folder: Path) -> Any:
    np.save(folder / "image.npy", array)
    return np.load(folder / "image.npy", mmap_mode="r")


@pytest.mark.parametrize("store", [as_dask, as_zarr, as_memmap])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("channel_axis", [None, 0, 1, 3])
def test_arrays_on_disk_read_like_arrays_in_memory(
    tmp_path: Path, store: Callable[[np.ndarray, Path], Any], dtype: str, channel_axis: int | None
) -> None:
    data = random_array((4, 5, 6, 3)[: 3 if channel_axis is None else 4], dtype)
    stored = ImageSource(store(data, tmp_path), channel_axis)
    plain = ImageSource(data, channel_axis)
    assert stored.shape == plain.shape
    assert stored.channels == plain.channels
    for plane in plain.planes():
        for rows, columns in (((1, 3), (0, 2)), ((-20, 9), (2, 30))):
            np.testing.assert_array_equal(stored.read(plane, rows, columns), plain.read(plane, rows, columns))


class Watched:
    """An array that records the largest block read of it."""

    def __init__(self, data: np.ndarray) -> None:
        self.data, self.shape, self.dtype, self.largest = data, data.shape, data.dtype, 0

    def __getitem__(self, index: Any) -> np.ndarray:
        piece = self.data[index]
        self.largest = max(self.largest, piece.size)
        return piece


def test_a_window_reads_no_more_than_itself_of_a_large_image() -> None:
    watched = Watched(np.zeros((3, 500, 600, 2), np.uint8))
    source = ImageSource(watched, 3)
    source.read((1,), (-10, 30), (570, 640))
    assert watched.largest <= 2 * 30 * 41


def test_what_is_read_is_never_a_view_of_the_image() -> None:
    data = np.zeros((5, 5), np.float32)
    ImageSource(data).read((), (0, 5), (0, 5))[:] = 1
    assert not data.any()


def test_infinite_and_huge_values_pass_without_a_warning() -> None:
    block = ImageSource(np.array([[np.inf, -np.inf], [1e300, np.nan]])).read((), (0, 2), (0, 2))
    np.testing.assert_array_equal(block, np.array([[[np.inf, -np.inf], [np.inf, np.nan]]], np.float32))


def test_planes_are_counted_in_order() -> None:
    assert list(ImageSource(np.zeros((4, 5))).planes()) == [()]
    assert list(ImageSource(np.zeros((2, 4, 5))).planes()) == [(0,), (1,)]
    assert list(ImageSource(np.zeros((2, 3, 2, 4, 5)), 1).planes()) == [(0, 0), (0, 1), (1, 0), (1, 1)]


@pytest.mark.parametrize("plane", [(), (2,), (-1,), (0, 0)])
def test_a_plane_that_is_not_there_is_refused(plane: tuple[int, ...]) -> None:
    with pytest.raises(ImageError, match="not one of them"):
        ImageSource(np.zeros((2, 4, 5))).read(plane, (0, 1), (0, 1))


@pytest.mark.parametrize("rows", [(2, 2), (3, 1)])
def test_an_empty_window_is_refused(rows: tuple[int, int]) -> None:
    with pytest.raises(ImageError, match="no pixel"):
        ImageSource(np.zeros((4, 5))).read((), rows, (0, 1))


def test_a_drive_that_is_gone_is_said_in_one_sentence() -> None:
    class Gone(Watched):
        def __getitem__(self, index: Any) -> np.ndarray:
            raise OSError("Input/output\nerror")

    with pytest.raises(ImageError, match=r"Image .cells. could not be read at rows .*Input/output error"):
        ImageSource(Gone(np.zeros((4, 5))), name="cells").read((), (0, 1), (0, 1))


# Axes: shape, labels, channels -> channel axis, or part of the error message.
RESOLVED = [
    ((9, 8), (9, 8), None, None),
    ((5, 9, 8), (5, 9, 8), None, None),
    ((3, 9, 8), (3, 9, 8), None, None),
    ((9, 8, 3), (9, 8), None, 2),
    ((3, 9, 8), (9, 8), None, 0),
    ((5, 3, 9, 8), (5, 9, 8), None, 1),
    ((5, 9, 8, 3), (5, 9, 8), None, 3),
    ((1, 9, 8), (9, 8), None, 0),
    ((9, 9, 9), (9, 9), None, "channel_axis"),
    ((3, 3, 9, 9), (3, 9, 9), None, "channel_axis"),
    ((4, 4, 4), (4, 4), None, 2),
    ((9, 9, 3), (9, 9), None, 2),
    ((9, 9, 3), (9, 3), None, "channel_axis"),
    ((9, 8), (8, 9), None, "labels have shape"),
    ((9, 8, 3), (9, 8, 3, 1), None, "labels have shape"),
    ((9, 8, 3), (9, 8), 3, 2),
    ((9, 8, 3), (9, 8), 2, "2 channels are expected"),
    ((9, 8), None, 1, None),
    ((5, 9, 8), None, 1, None),
    ((9, 8, 1), None, 1, 2),
    ((9, 8, 3), None, 1, "looks like colour"),
    ((9, 8, 3), None, 3, 2),
    ((3, 9, 8), None, 3, 0),
    ((5, 3, 9, 8), None, 3, 1),
    ((3, 9, 8, 3), None, 3, 3),
    ((5, 5, 9, 8), None, 5, "channel_axis"),
    ((9, 8), None, 3, "3 channels are expected"),
    ((3, 8), None, 3, "3 channels are expected"),
    ((9, 8), None, None, None),
    ((5, 9, 8), None, None, None),
    ((9, 8, 3), None, None, 2),
    ((9, 8, 4), None, None, 2),
    ((9, 8, 5), None, None, None),
]


@pytest.mark.parametrize(("shape", "labels", "channels", "found"), RESOLVED)
def test_the_channel_axis_is_found_or_asked_for(
    shape: tuple[int, ...], labels: tuple[int, ...] | None, channels: int | None, found: int | str | None
) -> None:
    image = np.zeros(shape, np.uint8)
    if isinstance(found, str):
        with pytest.raises(ImageError, match=found):
            resolve_image(image, labels_shape=labels, channels=channels)
    else:
        source = resolve_image(image, labels_shape=labels, channels=channels, name="cells")
        assert source.channel_axis == found
        assert source.name == "cells"
        assert labels is None or source.shape == labels


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(5, 8), min_size=2, max_size=4), st.integers(0, 4), st.integers(1, 4))
def test_a_channel_axis_unlike_the_others_is_always_found(
    spatial: list[int], axis: int, channels: int
) -> None:
    shape = [*spatial]
    axis = min(axis, len(shape))
    shape.insert(axis, channels)
    assert resolve_image(np.zeros(shape), labels_shape=spatial).channel_axis == axis


def test_where_images_of_a_kind_hold_their_channels_settles_a_tie() -> None:
    square = np.zeros((5, 5, 9, 8))
    assert resolve_image(square, channels=5, usual_axis=0).channel_axis == 0
    assert resolve_image(square, channels=5, usual_axis=-3).channel_axis == 1
    with pytest.raises(ImageError, match="channel_axis"):
        resolve_image(square, channels=5, usual_axis=-1)
    assert resolve_image(np.zeros((9, 8, 3)), channels=3, usual_axis=0).channel_axis == 2
    assert resolve_image(np.zeros((1, 9, 8)), channels=1, usual_axis=-3).channel_axis == 0
    assert resolve_image(np.zeros((9, 8)), channels=1, usual_axis=-3).channel_axis is None


def test_a_channel_axis_that_is_given_is_taken() -> None:
    image = np.zeros((4, 9, 8))
    assert resolve_image(image, channel_axis=-3).channel_axis == 0
    assert resolve_image(image, channel_axis=None).channel_axis is None
    assert resolve_image(np.zeros((9, 8, 3)), channel_axis=None, channels=1).shape == (9, 8, 3)
    with pytest.raises(ImageError, match="not one of them"):
        resolve_image(image, channel_axis=3)
    with pytest.raises(ImageError, match="not one of them"):
        resolve_image(image, channel_axis=-4)
    with pytest.raises(ImageError, match="labels have shape"):
        resolve_image(image, channel_axis=1, labels_shape=(9, 8))
    with pytest.raises(ImageError, match="2 channels are expected"):
        resolve_image(image, channel_axis=0, channels=2)
    with pytest.raises(ImageError, match="rows and columns"):
        resolve_image(np.zeros((9, 8)), channel_axis=1)


def test_of_a_pyramid_the_largest_level_is_read() -> None:
    levels = [np.zeros((8, 8)), np.zeros((4, 4)), np.zeros((2, 2))]
    assert resolve_image(levels).data is levels[0]


@pytest.mark.parametrize(
    ("image", "word"),
    [
        (np.zeros((4, 4), complex), "complex128"),
        (np.full((4, 4), "x"), "<U1"),
        (np.full((4, 4), None), "object"),
        (np.zeros((4, 4), "datetime64[s]"), "datetime64"),
        (np.zeros(4), "rows and columns"),
        (np.zeros(()), "rows and columns"),
        (np.zeros((0, 4)), "at least one pixel"),
        (np.zeros((4, 4, 0)), "at least one pixel"),
        ([[1, 2], [3, 4]], "list"),
        ([], "list"),
        ([np.zeros((4, 4)), np.zeros((4, 4))], "pyramid"),
        ([np.zeros((4, 4)), np.zeros((8, 8))], "pyramid"),
        ("cells.tif", "str"),
        (None, "NoneType"),
    ],
)
def test_what_is_not_an_image_is_refused_in_one_sentence(image: Any, word: str) -> None:
    with pytest.raises(ImageError, match=word) as caught:
        resolve_image(image, name="cells")
    assert "'cells'" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_torch_tensor_is_refused() -> None:
    torch = pytest.importorskip("torch")
    with pytest.raises(ImageError, match="Tensor"):
        resolve_image(torch.zeros(4, 4))


def test_a_dask_array_of_unknown_size_is_refused() -> None:
    array = pytest.importorskip("dask.array")
    data = array.ones((4, 4), chunks=2)
    with pytest.raises(ImageError, match="at least one pixel"):
        resolve_image(data[data[:, 0] > 0])
