"""A fingerprint knows an image again and tells any other one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from napari_dsparse.images.identity import Fingerprint, describe_difference, take_fingerprint
from napari_dsparse.images.reading import ImageFile, read_image

NUMBERS = st.one_of(
    npst.integer_dtypes(endianness="=", sizes=(8, 16, 32)),
    npst.unsigned_integer_dtypes(endianness="=", sizes=(8, 16, 32)),
    npst.boolean_dtypes(),
)


def save(path: Path, pixels: np.ndarray) -> Path:
    np.save(path, pixels)
    return path


def fingerprint(path: Path, channel_axis: int | None = None) -> Fingerprint:
    return take_fingerprint(read_image(path), channel_axis)


@settings(max_examples=60, deadline=None)
@given(data=st.data(), shape=npst.array_shapes(min_dims=2, max_dims=5, max_side=6), dtype=NUMBERS)
def test_any_changed_pixel_of_a_small_image_is_noticed(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, shape: tuple[int, ...], dtype: np.dtype
) -> None:
    folder = tmp_path_factory.mktemp("images")
    axis = data.draw(st.sampled_from([None, *range(len(shape))])) if len(shape) > 2 else None
    pixels = data.draw(npst.arrays(dtype, shape))
    known = fingerprint(save(folder / "a.npy", pixels), axis)
    assert describe_difference(read_image(save(folder / "b.npy", pixels.copy())), axis, known) is None
    changed = pixels.copy()
    place = tuple(data.draw(st.integers(0, n - 1)) for n in shape)
    changed[place] = ~changed[place]
    difference = describe_difference(read_image(save(folder / "c.npy", changed)), axis, known)
    assert difference == "its pixels have other values"


def test_every_pixel_of_images_of_up_to_512_pixels_counts(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 255, (512, 512, 3), np.uint8)
    known = fingerprint(save(tmp_path / "a.npy", pixels), 2)
    for row, column in rng.integers(0, 512, (30, 2)):
        pixels[row, column, 1] += 1
        assert describe_difference(read_image(save(tmp_path / "b.npy", pixels)), 2, known) is not None
        pixels[row, column, 1] -= 1


def test_byte_order_and_format_do_not_matter_but_size_does(tmp_path: Path) -> None:
    pixels = np.arange(600, dtype=np.uint16).reshape(20, 30)
    little = fingerprint(save(tmp_path / "a.npy", pixels))
    big = fingerprint(save(tmp_path / "b.npy", pixels.astype(">u2")))
    assert little == big
    tifffile.imwrite(tmp_path / "c.tif", pixels, compression="zlib")
    said = describe_difference(read_image(tmp_path / "c.tif"), None, little)
    assert said is not None
    assert said.startswith("its size in bytes is")


@pytest.mark.parametrize(
    ("other", "told"),
    [
        (np.zeros((20, 31), np.uint16), "its shape is (20, 31), not (20, 30)"),
        (np.zeros((30, 20), np.uint16), "its shape is"),
        (np.zeros((20, 30), np.int16), "its pixels are int16, not uint16"),
        (np.ones((20, 30), np.uint16), "its pixels have other values"),
    ],
)
def test_a_difference_is_said(tmp_path: Path, other: np.ndarray, told: str) -> None:
    known = fingerprint(save(tmp_path / "a.npy", np.zeros((20, 30), np.uint16)))
    said = describe_difference(read_image(save(tmp_path / "b.npy", other)), None, known)
    assert said is not None
    assert told in said


def test_series_of_one_file_are_told_apart(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as tiff:
        for _ in range(2):
            tiff.write(np.zeros((20, 30), np.uint8), metadata=None)
            tiff.write(np.zeros((25, 30), np.uint8), metadata=None)
    known = take_fingerprint(read_image(tmp_path / "a.tif", series=0), None)
    said = describe_difference(read_image(tmp_path / "a.tif", series=1), None, known)
    assert said is not None


def test_a_zarr_store_is_known_again(tmp_path: Path) -> None:
    zarr = pytest.importorskip("zarr")
    for name in ("a.zarr", "b.zarr"):
        store = zarr.create_array(str(tmp_path / name), shape=(3, 200, 300), chunks=(1, 64, 64), dtype="u2")
        store[...] = np.arange(3 * 200 * 300).reshape(3, 200, 300) % 60_000
    known = fingerprint(tmp_path / "a.zarr")
    assert known.file_size is None
    assert describe_difference(read_image(tmp_path / "b.zarr"), None, known) is None
    store[1, 100, 100] = 0
    assert describe_difference(read_image(tmp_path / "b.zarr"), None, known) is not None


class Recorder:
    """A huge image that keeps count of the pixels that are read of it."""

    shape, dtype, read = (60, 50_000, 40_000), np.dtype(np.uint8), 0

    def __getitem__(self, window: tuple[int | slice, ...]) -> np.ndarray:
        pixels = np.zeros(
            [len(range(n)[part]) for part, n in zip(window[1:], self.shape[1:], strict=True)], np.uint8
        )
        self.read += pixels.size
        return pixels


def test_a_huge_image_is_sampled_and_not_read(tmp_path: Path) -> None:
    path, data = save(tmp_path / "a.npy", np.zeros((2, 2))), Recorder()
    take_fingerprint(ImageFile(data, None, "ZYX", (1.0,) * 3, ("pixel",) * 3, path, "ZYX"), None)
    assert 50_000 < data.read <= 64 * 64 * 64
