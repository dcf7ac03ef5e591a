"""Whatever the format, exports keep every label, its type and the pixel size, or write nothing at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from exports import CLASSES, OME, SIZES, STACKS, ome_of, random_labels, sizes
from napari_dsparse.errors import ExportError
from napari_dsparse.files.export import OF_REGIONS, SUFFIXES, export_array, export_labels
from napari_dsparse.images.reading import read_image, read_labels

# Every format: labels come back


@pytest.mark.parametrize(
    ("suffix", "axes"),
    [
        (suffix, axes)
        for format, suffixes in SUFFIXES.items()
        if format not in OF_REGIONS
        for suffix in suffixes
        for axes in (["YX"] if format == "png" else STACKS)
    ],
)
def test_labels_come_back_with_dtype_axes_and_pixel_size(tmp_path: Path, suffix: str, axes: str) -> None:
    if "zarr" in suffix:
        pytest.importorskip("zarr")
    labels = random_labels(STACKS[axes])
    path = export_labels(tmp_path / f"out{suffix}", labels, classes=CLASSES, **sizes(axes))
    assert path == tmp_path / f"out{suffix}"
    back = read_labels(path)
    assert back.dtype == labels.dtype
    np.testing.assert_array_equal(back, labels)
    if suffix != ".png":
        image = read_image(path)
        assert image.axes == axes
        assert image.scale == tuple(SIZES[letter][0] for letter in axes)
        assert image.units == tuple(SIZES[letter][1] for letter in axes)


@settings(max_examples=60, deadline=None)
@given(
    dtype=st.sampled_from(
        ["bool", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64", ">u2"]
    ),
    highest=st.sampled_from([0, 1, 127]) | st.integers(0, 2**32 - 1),
    suffix=st.sampled_from([".ome.tif", ".ome.zarr"]),
)
def test_any_whole_numbers_come_back_in_the_type_promised(
    tmp_path_factory: pytest.TempPathFactory, dtype: str, highest: int, suffix: str
) -> None:
    if suffix == ".ome.zarr":
        pytest.importorskip("zarr")
    kind = np.dtype(dtype)
    largest = 1 if kind.kind == "b" else int(np.iinfo(kind).max)
    labels = np.array([[0, min(highest, largest)]]).astype(kind)
    path = tmp_path_factory.mktemp("labels") / f"out{suffix}"
    back = read_labels(export_labels(path, labels, classes=CLASSES))
    np.testing.assert_array_equal(back, labels)
    if kind.kind == "u" and kind.itemsize <= 4:
        assert back.dtype == kind.newbyteorder("=")
    else:
        assert back.dtype == np.min_scalar_type(int(labels.max()))


@pytest.mark.parametrize("suffix", [".ome.tif", ".ome.zarr", ".png"])
def test_labels_on_disk_are_written_without_loading_them(tmp_path: Path, suffix: str) -> None:
    dask_array = pytest.importorskip("dask.array")
    pytest.importorskip("zarr")
    labels = random_labels((70, 90), np.int64)
    stored = dask_array.from_array(labels, chunks=32)
    back = read_labels(export_labels(tmp_path / f"out{suffix}", stored, classes=CLASSES))
    assert back.dtype == np.uint8
    np.testing.assert_array_equal(back, labels)


def test_equal_labels_make_equal_bytes(tmp_path: Path) -> None:
    labels = random_labels((3, 40, 50))
    for suffix in (".ome.tif", ".png"):
        one, two = (
            export_labels(
                tmp_path / f"{name}{suffix}", labels if suffix != ".png" else labels[0], classes=CLASSES
            )
            for name in "ab"
        )
        assert one.read_bytes() == two.read_bytes()


# Probabilities and uncertainty


@pytest.mark.parametrize("suffix", [".ome.tif", ".ome.zarr"])
@pytest.mark.parametrize("axes", STACKS)
def test_probabilities_have_a_named_channel_a_class(tmp_path: Path, suffix: str, axes: str) -> None:
    if suffix == ".ome.zarr":
        pytest.importorskip("zarr")
    array = np.random.default_rng(0).random((2, *STACKS[axes])).astype(np.float32)
    path = tmp_path / f"p{suffix}"
    export_array(path, array, name="probability", channels=CLASSES, **sizes(axes))
    image = read_image(path)
    assert image.axes == axes
    assert image.scale == tuple(SIZES[letter][0] for letter in axes)
    source = image.source()
    assert (source.channels, source.shape) == (2, array.shape[1:])
    for plane in source.planes():
        block = source.read(plane, (0, 40), (0, 50))
        np.testing.assert_array_equal(block, array[(slice(None), *plane)])
    if suffix == ".ome.tif":
        named = ome_of(path).findall(f"{OME}Channel")
        assert [channel.get("Name") for channel in named] == [info.name for info in CLASSES]
        assert [int(channel.get("Color", "")) & 0xFFFFFFFF for channel in named] == [0x102030FF, 0xE69F00FF]


def test_uncertainty_is_one_plane_a_plane(tmp_path: Path) -> None:
    array = np.random.default_rng(0).random((40, 50))
    path = export_array(tmp_path / "u.ome.tif", array, name="uncertainty", **sizes("YX"))
    back = tifffile.imread(path)
    assert back.dtype == np.float32
    np.testing.assert_array_equal(back, array.astype(np.float32))
    channel = ome_of(path).find(f"{OME}Channel")
    assert channel is not None
    assert channel.get("Name") == "uncertainty"


def test_channels_must_fit_the_first_axis(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="2 channels"):
        export_array(tmp_path / "p.ome.tif", np.zeros((3, 4, 5)), name="probability", channels=CLASSES)
    with pytest.raises(ExportError, match="png"):
        export_array(tmp_path / "p.png", np.zeros((4, 5)), name="uncertainty")
    with pytest.raises(ExportError, match="complex"):
        export_array(tmp_path / "p.ome.tif", np.zeros((4, 5), complex), name="uncertainty")


# What is refused, and that nothing is left then


REFUSED: dict[str, tuple[str, Any, dict[str, Any], str]] = {
    "floats": ("o.tif", np.zeros((4, 5)), {}, "whole numbers"),
    "text": ("o.tif", np.full((4, 5), "a"), {}, "whole numbers"),
    "a list": ("o.tif", [[0, 1]], {}, "list"),
    "negative": ("o.tif", np.full((4, 5), -1), {}, "from -1"),
    "beyond 32 bits": ("o.tif", np.full((4, 5), 2**32), {}, "32 bits"),
    "a line": ("o.tif", np.zeros(4, int), {}, "rows and columns"),
    "empty": ("o.tif", np.zeros((0, 4), int), {}, "at least one pixel"),
    "five axes": ("o.tif", np.zeros((1, 1, 1, 4, 5), int), {}, "5 axes"),
    "unknown suffix": ("o.gif", np.zeros((4, 5), int), {}, "choose one of"),
    "no suffix": ("o", np.zeros((4, 5), int), {}, "choose one of"),
    "unknown format": ("o", np.zeros((4, 5), int), {"format": "hdf5"}, "choose one of"),
    "suffix of another format": ("o.png", np.zeros((4, 5), int), {"format": "ome-tiff"}, "suffix of png"),
    "scale of another image": ("o.tif", np.zeros((4, 5), int), {"scale": (1, 1, 1)}, "scale"),
    "units of another image": ("o.tif", np.zeros((4, 5), int), {"units": ("um",)}, "units"),
    "scale of zero": ("o.tif", np.zeros((4, 5), int), {"scale": (0, 1)}, "positive"),
    "scale without an end": ("o.tif", np.zeros((4, 5), int), {"scale": (np.inf, 1)}, "positive"),
    "scale not known": ("o.tif", np.zeros((4, 5), int), {"scale": (np.nan, 1)}, "positive"),
    "unknown unit": ("o.tif", np.zeros((4, 5), int), {"units": ("parsec", "parsec")}, "parsec"),
    "axes of another image": ("o.tif", np.zeros((4, 5), int), {"axes": "ZYX"}, "2 axes"),
    "axes in another order": ("o.tif", np.zeros((4, 5), int), {"axes": "XY"}, "YX"),
    "an axis twice": ("o.tif", np.zeros((2, 2, 4, 5), int), {"axes": "ZZYX"}, "twice"),
    "no folder": ("none/o.tif", np.zeros((4, 5), int), {}, "none"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_written_is_refused_in_one_sentence(tmp_path: Path, case: str) -> None:
    name, labels, more, word = REFUSED[case]
    with pytest.raises(ExportError, match=word) as caught:
        export_labels(tmp_path / name, labels, classes=CLASSES, **more)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_name_without_a_suffix_takes_the_format_asked_for(tmp_path: Path) -> None:
    path = export_labels(tmp_path / "labels", random_labels((4, 5)), classes=CLASSES, format="ome-tiff")
    with tifffile.TiffFile(path) as tiff:
        assert tiff.is_ome


@pytest.mark.parametrize("suffix", [".ome.tif", ".png", ".ome.zarr"])
def test_an_existing_result_is_kept_unless_told_otherwise(tmp_path: Path, suffix: str) -> None:
    if suffix == ".ome.zarr":
        pytest.importorskip("zarr")
    path = tmp_path / f"out{suffix}"
    first, second = np.ones((4, 5), np.uint8), np.full((4, 5), 2, np.uint8)
    export_labels(path, first, classes=CLASSES)
    with pytest.raises(ExportError, match="already exists"):
        export_labels(path, second, classes=CLASSES)
    np.testing.assert_array_equal(read_labels(path), first)
    export_labels(path, second, classes=CLASSES, overwrite=True)
    np.testing.assert_array_equal(read_labels(path), second)


@pytest.mark.parametrize("suffix", [".ome.tif", ".png", ".ome.zarr"])
def test_labels_that_fail_in_the_middle_leave_nothing(tmp_path: Path, suffix: str) -> None:
    class Broken:
        """Labels whose last rows cannot be read."""

        shape, dtype = (5000, 20), np.dtype(np.uint8)

        def __getitem__(self, window: tuple[Any, ...]) -> np.ndarray:
            if window[-2].stop is None or window[-2].stop > 4096:
                raise OSError("the drive was pulled")
            return np.zeros((5000, 20), np.uint8)[window]

    if suffix == ".ome.zarr":
        pytest.importorskip("zarr")
    with pytest.raises(ExportError, match="the drive was pulled"):
        export_labels(tmp_path / f"out{suffix}", Broken(), classes=CLASSES)
    assert not list(tmp_path.iterdir())
