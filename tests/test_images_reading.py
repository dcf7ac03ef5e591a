"""Files open with the axes, channels and pixel sizes they state, and what cannot be read says why."""

from __future__ import annotations

import os
import struct
import zlib
from importlib import import_module
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from numpy.testing import assert_array_equal
from PIL import Image

from napari_dsparse.errors import ImageError, LabelsError, ModelFileError
from napari_dsparse.files.model import read_classifier
from napari_dsparse.images.npy_file import NpyArray
from napari_dsparse.images.reading import Expected, read_image, read_labels
from napari_dsparse.images.zarr_codecs import codecs_are_lossy

DATA = Path(os.environ.get("DSPARSE_DATA", Path(__file__).parents[1] / "../shared/data"))


def counted(*shape: int, dtype: Any = np.uint16) -> np.ndarray:
    return (np.arange(np.prod(shape)) % 250).astype(dtype).reshape(shape)


# TIFF


@pytest.mark.parametrize(
    ("axes", "shape", "channel_axis", "left"),
    [
        ("YX", (9, 8), None, "YX"),
        ("ZYX", (4, 9, 8), None, "ZYX"),
        ("TYX", (4, 9, 8), None, "TYX"),
        ("TZYX", (2, 4, 9, 8), None, "TZYX"),
        ("CYX", (2, 9, 8), 0, "YX"),
        ("ZCYX", (4, 2, 9, 8), 1, "ZYX"),
        ("TZCYX", (2, 4, 3, 9, 8), 2, "TZYX"),
        ("CTZYX", (3, 2, 4, 9, 8), 0, "TZYX"),
    ],
)
def test_ome_tiff_tells_its_axes_and_pixel_size(
    tmp_path: Path, axes: str, shape: tuple[int, ...], channel_axis: int | None, left: str
) -> None:
    path = tmp_path / "cells.ome.tif"
    metadata = {
        "axes": axes,
        "PhysicalSizeX": 0.2,
        "PhysicalSizeXUnit": "µm",
        "PhysicalSizeY": 250,
        "PhysicalSizeYUnit": "nm",
        "PhysicalSizeZ": 1.5,  # without a unit: micrometres, says the schema
        "TimeIncrement": 2,
        "TimeIncrementUnit": "min",
    }
    data = counted(*shape)
    tifffile.imwrite(path, data, ome=True, photometric="minisblack", metadata=metadata)
    image = read_image(path)
    sizes = {
        "X": (0.2, "micrometer"),
        "Y": (250.0, "nanometer"),
        "Z": (1.5, "micrometer"),
        "T": (2.0, "minute"),
    }
    assert image.channel_axis == channel_axis
    assert image.axes == left
    assert image.scale == tuple(sizes[letter][0] for letter in left)
    assert image.units == tuple(sizes[letter][1] for letter in left)
    np.testing.assert_array_equal(image.data, data)
    assert image.source().name == "cells.ome.tif"
    assert len(image.source().shape) == len(left)


@pytest.mark.parametrize(
    ("unit", "name"),
    [("um", "micrometer"), ("micron", "micrometer"), ("\\u00B5m", "micrometer"), ("nm", "nanometer")],
)
def test_imagej_tiff_tells_its_axes_and_pixel_size(tmp_path: Path, unit: str, name: str) -> None:
    path = tmp_path / "cells.tif"
    tifffile.imwrite(
        path,
        counted(2, 4, 3, 9, 8),
        imagej=True,
        resolution=(5.0, 4.0),
        metadata={"axes": "TZCYX", "spacing": 1.5, "unit": unit, "finterval": 2.5},
    )
    image = read_image(path)
    assert (image.axes, image.channel_axis) == ("TZYX", 2)
    assert image.scale == pytest.approx((2.5, 1.5, 0.25, 0.2))
    assert image.units == ("second", name, name, name)


def test_a_plain_tiff_has_pixels_of_unknown_size(tmp_path: Path) -> None:
    path = tmp_path / "cells.tif"
    tifffile.imwrite(path, counted(5, 9, 8), resolution=(72, 72))
    image = read_image(path)
    assert (image.axes, image.channel_axis) == ("ZYX", None)
    assert image.scale == (1.0, 1.0, 1.0)
    assert image.units == ("pixel",) * 3


def test_colour_tiff_has_its_channels_last_and_no_transparency(tmp_path: Path) -> None:
    for name, samples, more in (("rgb", 3, {}), ("rgba", 4, {"extrasamples": ["unassalpha"]})):
        path = tmp_path / f"{name}.tif"
        tifffile.imwrite(path, counted(9, 8, samples, dtype=np.uint8), photometric="rgb", **more)
        source = read_image(path).source()
        assert (source.shape, source.channels) == ((9, 8), 3)


def test_labels_settle_what_an_unnamed_axis_is(tmp_path: Path) -> None:
    path = tmp_path / "cells.tif"
    tifffile.imwrite(path, counted(2, 9, 8), photometric="minisblack")
    assert read_image(path).axes == "ZYX"
    assert read_image(path, labels_shape=(9, 8)).channel_axis == 0
    assert read_image(path, labels_shape=(9, 8)).axes == "YX"
    assert read_image(path, expected=Expected(2)).channel_axis == 0
    assert read_image(path, labels_shape=(2, 9, 8)).channel_axis is None


def test_labels_settle_an_axis_the_file_names_wrongly(tmp_path: Path) -> None:
    path = tmp_path / "cells.ome.tif"
    tifffile.imwrite(path, counted(3, 9, 8), ome=True, photometric="minisblack", metadata={"axes": "ZYX"})
    assert read_image(path).axes == "ZYX"
    image = read_image(path, labels_shape=(9, 8))
    assert (image.axes, image.channel_axis) == ("YX", 0)
    with pytest.raises(ImageError, match="labels have shape"):
        read_image(path, labels_shape=(9, 9))
    with pytest.raises(ImageError, match="3 channels are expected"):
        read_image(path, expected=Expected(3))


def test_two_axes_of_channels_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "cells.ome.tif"
    data = counted(2, 9, 8, 3, dtype=np.uint8)
    tifffile.imwrite(path, data, ome=True, photometric="rgb", metadata={"axes": "CYXS"})
    with pytest.raises(ImageError, match="CYXS"):
        read_image(path)


# Pictures and arrays


@pytest.mark.parametrize(
    ("mode", "suffix", "channels", "dtype"),
    [
        ("L", ".png", 1, "uint8"),
        ("L", ".bmp", 1, "uint8"),
        ("L", ".jpg", 1, "uint8"),
        ("1", ".png", 1, "bool"),
        ("I;16", ".png", 1, "uint16"),
        ("LA", ".png", 1, "uint8"),
        ("P", ".png", 3, "uint8"),
        ("RGB", ".png", 3, "uint8"),
        ("RGB", ".jpeg", 3, "uint8"),
        ("RGBA", ".png", 3, "uint8"),
        ("CMYK", ".jpg", 3, "uint8"),
    ],
)
def test_pictures_of_every_kind_open(
    tmp_path: Path, mode: str, suffix: str, channels: int, dtype: str
) -> None:
    path = tmp_path / f"cells{suffix}"
    Image.new(mode, (8, 9)).save(path)
    image = read_image(path)
    source = image.source()
    assert (source.shape, source.channels, image.data.dtype) == ((9, 8), channels, dtype)
    assert (image.axes, image.units) == ("YX", ("pixel", "pixel"))


def test_sixteen_bits_of_a_png_are_kept(tmp_path: Path) -> None:
    data = np.array([[0, 255, 256, 65_535]], np.uint16).repeat(2, axis=0)
    Image.fromarray(data).save(tmp_path / "cells.png")
    np.testing.assert_array_equal(read_image(tmp_path / "cells.png").data, data)


def test_sixteen_bits_of_colours_and_of_grey_with_transparency_are_kept(tmp_path: Path) -> None:
    data = np.random.default_rng(0).integers(0, 65_536, (5, 6, 4)).astype(np.uint16)
    path = tmp_path / "cells.png"
    for samples, wanted in ((3, data[..., :3]), (4, data[..., :3]), (2, data[..., 0])):
        path.write_bytes(imagecodecs.png_encode(data[..., :samples].copy()))
        image = read_image(path)
        np.testing.assert_array_equal(image.data, wanted)
        assert image.channel_axis == (None if samples == 2 else 2)


def test_npy_stays_on_disk_and_its_axes_follow_from_what_is_known(tmp_path: Path) -> None:
    path = tmp_path / "cells.npy"
    np.save(path, counted(2, 9, 8))
    image = read_image(path)
    assert isinstance(image.data, NpyArray)
    assert (image.axes, image.channel_axis) == ("ZYX", None)
    assert read_image(path, labels_shape=(9, 8)).axes == "YX"
    np.save(path, counted(9, 8, 3))
    assert read_image(path).channel_axis == 2
    np.save(path, counted(2, 2, 2, 9, 8))
    assert read_image(path).axes == "?TZYX"


# Zarr


def test_a_zarr_array_may_name_its_axes(tmp_path: Path) -> None:
    zarr = pytest.importorskip("zarr")
    cases: list[tuple[str, str, int | None]] = [
        ("c y x", "CYX", 0),
        ("t y x", "TYX", None),
        ("y x channel", "YXC", 2),
        ("a y x", "???", None),
        ("x y z", "???", None),
    ]
    for names, letters, channel_axis in cases:
        path = tmp_path / f"{names}.zarr"
        zarr.create_array(str(path), shape=(5, 6, 7), dtype="u1", dimension_names=names.split())
        image = read_image(path)
        assert (image.letters, image.channel_axis) == (letters, channel_axis)


@pytest.mark.parametrize("version", [2, 3])
def test_a_zarr_array_stays_on_disk(tmp_path: Path, version: int) -> None:
    zarr = pytest.importorskip("zarr")
    data = counted(4, 9, 8)
    array = zarr.create_array(
        str(tmp_path / "cells.zarr"), shape=data.shape, dtype=data.dtype, zarr_format=version
    )
    array[...] = data
    image = read_image(tmp_path / "cells.zarr")
    assert isinstance(image.data, zarr.Array)
    assert image.axes == "ZYX"
    np.testing.assert_array_equal(image.source().read((1,), (0, 9), (0, 8))[0], data[1])


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_ome_zarr_tells_its_axes_and_pixel_size(tmp_path: Path, version: str) -> None:
    zarr = pytest.importorskip("zarr")
    writer = pytest.importorskip("ome_zarr.writer")
    formats = pytest.importorskip("ome_zarr.format")
    data = counted(2, 3, 4, 64, 48)
    names = "tczyx"
    path = tmp_path / "cells.ome.zarr"
    group = zarr.open_group(str(path), mode="w", zarr_format=2 if version == "0.4" else 3)
    writer.write_image(
        data,
        group,
        axes=list(names),
        fmt=formats.format_from_version(version),
        scale={"t": 2.0, "c": 1.0, "z": 1.5, "y": 0.25, "x": 0.2},
        axes_units={"t": "second", "z": "micrometer", "y": "micrometer", "x": "micrometer"},
    )
    image = read_image(path)
    assert (image.axes, image.channel_axis) == ("TZYX", 1)
    assert image.scale == pytest.approx((2.0, 1.5, 0.25, 0.2))
    assert image.units == ("second", "micrometer", "micrometer", "micrometer")
    np.testing.assert_array_equal(image.data[...], data)


def test_a_converted_file_opens_at_its_first_image(tmp_path: Path) -> None:
    zarr = pytest.importorskip("zarr")
    root = zarr.create_group(str(tmp_path / "cells.zarr"))
    root.attrs["ome"] = {"version": "0.5", "bioformats2raw.layout": 3}
    image = root.create_group("0")
    image.create_array("0", shape=(9, 8), dtype="uint8")
    axes = [{"name": name, "type": "space", "unit": "nanometer"} for name in "yx"]
    scale = {"type": "scale", "scale": [2.0, 3.0]}
    datasets = [{"path": "0", "coordinateTransformations": [scale]}]
    double = [{"type": "scale", "scale": [10.0, 10.0]}]
    image.attrs["ome"] = {
        "multiscales": [{"axes": axes, "datasets": datasets, "coordinateTransformations": double}]
    }
    opened = read_image(tmp_path / "cells.zarr")
    assert (opened.axes, opened.scale, opened.units) == ("YX", (20.0, 30.0), ("nanometer", "nanometer"))


def test_a_zarr_group_that_is_no_image_is_refused(tmp_path: Path) -> None:
    zarr = pytest.importorskip("zarr")
    zarr.create_group(str(tmp_path / "cells.zarr"))
    with pytest.raises(ImageError, match="not an OME-Zarr image"):
        read_image(tmp_path / "cells.zarr")
    (tmp_path / "cells.zarr" / "zarr.json").write_text("{")
    with pytest.raises(ImageError, match="cannot be read"):
        read_image(tmp_path / "cells.zarr")


# Labels


def save_npy(path: Path, data: np.ndarray) -> None:
    np.save(path, data)


def save_png(path: Path, data: np.ndarray) -> None:
    Image.fromarray(data).save(path)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize(
    ("suffix", "save"), [(".tif", tifffile.imwrite), (".png", save_png), (".npy", save_npy)]
)
def test_labels_come_as_they_are_stored(tmp_path: Path, suffix: str, save: Any, dtype: str) -> None:
    path = tmp_path / f"labels{suffix}"
    data = np.random.default_rng(0).integers(0, 3, (9, 8)).astype(dtype)
    save(path, data)
    labels = read_labels(path)
    assert type(labels) is np.ndarray
    assert labels.dtype == dtype
    np.testing.assert_array_equal(labels, data)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_labels_in_few_bits_are_the_stored_numbers_not_their_brightness(tmp_path: Path, bits: int) -> None:
    labels = np.random.default_rng(0).integers(0, 2**bits, (5, 16)).astype(np.uint8)
    rows = [np.packbits(np.unpackbits(row[:, None], axis=1)[:, -bits:]).tobytes() for row in labels]
    parts = {
        b"IHDR": struct.pack(">IIBBBBB", 16, 5, bits, 0, 0, 0, 0),
        b"IDAT": zlib.compress(b"".join(b"\0" + row for row in rows)),
        b"IEND": b"",
    }
    framed = (
        struct.pack(">I", len(v)) + k + v + struct.pack(">I", zlib.crc32(k + v)) for k, v in parts.items()
    )
    (tmp_path / "labels.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(framed))
    np.testing.assert_array_equal(read_labels(tmp_path / "labels.png"), labels)


def test_labels_may_have_an_axis_of_one_channel(tmp_path: Path) -> None:
    zarr = pytest.importorskip("zarr")
    group = zarr.create_group(str(tmp_path / "labels.zarr"))
    group.create_array("0", shape=(1, 9, 8), dtype="uint8")[...] = 2
    axes = [{"name": "c", "type": "channel"}, *({"name": name, "type": "space"} for name in "yx")]
    group.attrs["ome"] = {"multiscales": [{"axes": axes, "datasets": [{"path": "0"}]}]}
    labels = read_labels(tmp_path / "labels.zarr")
    assert labels.shape == (9, 8)
    assert (labels == 2).all()


def test_labels_with_a_damaged_chunk_are_refused(tmp_path: Path) -> None:
    zarr = pytest.importorskip("zarr")
    path = tmp_path / "labels.zarr"
    zarr.create_array(str(path), shape=(9, 8), dtype="uint8")[...] = 2
    for chunk in (path / "c").rglob("*"):
        if chunk.is_file():
            chunk.write_bytes(b"damaged")
    with pytest.raises(LabelsError, match="cannot be read"):
        read_labels(path)


def test_a_mask_of_truths_is_one_class(tmp_path: Path) -> None:
    np.save(tmp_path / "labels.npy", np.array([[True, False]]))
    labels = read_labels(tmp_path / "labels.npy")
    assert labels.dtype == np.uint8
    assert labels.tolist() == [[1, 0]]


def test_of_indexed_colours_the_indices_are_the_labels(tmp_path: Path) -> None:
    picture = Image.fromarray(np.array([[0, 1, 2]], np.uint8))
    picture.putpalette([0, 0, 0, 200, 0, 0, 0, 200, 0])
    picture.save(tmp_path / "labels.png")
    assert read_labels(tmp_path / "labels.png").tolist() == [[0, 1, 2]]


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (np.zeros((9, 8), np.float32), "float32"),
        (np.zeros((9, 8), complex), "complex128"),
        (np.full((9, 8), -1), "-1"),
        (np.zeros(9, np.uint8), "rows and columns"),
    ],
)
def test_values_that_are_no_labels_are_refused(tmp_path: Path, data: np.ndarray, word: str) -> None:
    np.save(tmp_path / "labels.npy", data)
    with pytest.raises(LabelsError, match=word):
        read_labels(tmp_path / "labels.npy")


def test_labels_that_were_compressed_with_loss_are_refused(tmp_path: Path) -> None:
    data = np.random.default_rng(0).integers(0, 3, (40, 40)).astype(np.uint8)
    Image.fromarray(data).save(tmp_path / "labels.jpg")
    Image.fromarray(data).save(tmp_path / "labels.tif", compression="jpeg")
    for name in ("labels.jpg", "labels.tif"):
        with pytest.raises(LabelsError, match="compressed with loss"):
            read_labels(tmp_path / name)
        assert read_image(tmp_path / name).source().shape == (40, 40)


@pytest.mark.parametrize(
    ("compression", "lossy", "kept"),
    [
        ("jpeg", {}, {"lossless": True}),
        ("jpeg2000", {"level": 30}, {"reversible": True}),
        ("jpegxl", {"distance": 3.0, "lossless": False}, {"lossless": True}),
        ("lerc", {"level": 2}, {}),
        ("jpegxr", {"level": 0.3}, None),  # it is not looked up which
    ],
)
@pytest.mark.parametrize("shape", [(40, 41), (64, 64)])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_a_codec_of_both_kinds_is_refused_where_it_alters_labels(
    tmp_path: Path,
    compression: str,
    lossy: dict[str, Any],
    kept: dict[str, Any] | None,
    shape: Any,
    dtype: str,
) -> None:
    path, data = tmp_path / "labels.tif", np.random.default_rng(0).integers(0, 4, shape).astype(dtype)
    bits = {"bitspersample": 12} if (compression, dtype) == ("jpeg", "uint16") else {}
    for given, more in ((lossy, bits), (kept, {})):
        if given is not None:
            tifffile.imwrite(
                path, data, compression=compression, compressionargs=given, photometric="minisblack", **more
            )
        if given is lossy:
            with pytest.raises(LabelsError, match="compressed with loss"):
                read_labels(path)
        elif given is not None:
            np.testing.assert_array_equal(read_labels(path), data)


ROUNDED = {"offset": 0, "dtype": "u2", "astype": "u1"}


@pytest.mark.parametrize("sharded", [False, True])
@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize(
    ("codec", "options", "lossy"),
    [
        ("FixedScaleOffset", {**ROUNDED, "scale": 0.1}, True),
        ("AsType", {"encode_dtype": "u1", "decode_dtype": "u2"}, True),
        ("AsType", {"encode_dtype": "u4", "decode_dtype": "u2"}, False),
        ("Delta", {"dtype": "u2"}, False),
        (None, {}, False),
    ],
)
def test_codecs_of_zarr_that_alter_labels_are_refused(
    tmp_path: Path, codec: str | None, options: dict[str, Any], lossy: bool, zarr_format: int, sharded: bool
) -> None:
    zarr = pytest.importorskip("zarr")
    if sharded and zarr_format == 2:
        pytest.skip("version 2 has no shards")
    codecs = import_module("numcodecs" if zarr_format == 2 else "zarr.codecs.numcodecs")
    data = np.arange(64, dtype=np.uint16).reshape(8, 8)
    zarr.create_array(
        str(tmp_path / "labels.zarr"),
        data=data,
        chunks=(4, 4),
        shards=(8, 8) if sharded else None,
        filters=[] if codec is None else [getattr(codecs, codec)(**options)],
        zarr_format=zarr_format,
    )
    assert read_image(tmp_path / "labels.zarr").source().shape == (8, 8)
    if lossy:
        with pytest.raises(LabelsError, match="compressed with loss"):
            read_labels(tmp_path / "labels.zarr")
    else:
        np.testing.assert_array_equal(read_labels(tmp_path / "labels.zarr"), data)


@pytest.mark.parametrize(
    ("codec", "lossy"),
    [
        ({"id": "quantize", "digits": 1, "dtype": "<f4"}, True),
        ({"id": "bitround", "keepbits": 3}, True),
        ({"id": "zfpy", "mode": 4, "tolerance": 0.1}, True),
        ({"id": "zfpy", "mode": 5}, False),
        ({"id": "imagecodecs_jpeg", "level": 90}, True),
        ({"id": "imagecodecs_jpeg2k", "level": 30, "reversible": False}, True),
        ({"id": "imagecodecs_jpeg2k", "reversible": True}, False),
        ({"id": "imagecodecs_jpegxl", "lossless": True}, False),
        ({"id": "imagecodecs_jpegls", "level": 2}, True),
        ({"id": "imagecodecs_jpegls", "level": None}, False),
        ({"id": "imagecodecs_png"}, False),
        ({"name": "numcodecs.bitround", "configuration": {"keepbits": 3}}, True),
        ({"name": "blosc", "configuration": {"cname": "zstd"}}, False),
    ],
)
def test_codecs_that_alter_values_are_known_by_name_and_options(codec: dict[str, Any], lossy: bool) -> None:
    assert codecs_are_lossy({"compressor": codec}) is lossy
    shards = {"name": "sharding_indexed", "configuration": {"codecs": [codec]}}
    assert codecs_are_lossy({"codecs": [shards]}) is lossy


@pytest.mark.parametrize("name", ["labels.png", "labels.tif", "labels.bmp"])
def test_colours_are_no_labels(tmp_path: Path, name: str) -> None:
    Image.new("RGB", (8, 9)).save(tmp_path / name)
    with pytest.raises(LabelsError, match="3 values per pixel"):
        read_labels(tmp_path / name)


# Files that cannot be read


@pytest.mark.parametrize("name", ["a.tif", "a.png", "a.jpg", "a.bmp", "a.npy"])
@pytest.mark.parametrize(
    "content", [b"", b"hello", b"\x89PNG\r\n\x1a\n", b"\x93NUMPY\x01\x00", b"II*\x00\xff\xff\xff\x7f"]
)
def test_a_damaged_file_is_said_to_be_so_in_one_sentence(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    for read, error in ((read_image, ImageError), (read_labels, LabelsError)):
        with pytest.raises(error, match="cannot be read") as caught:
            read(path)
        assert name in str(caught.value)
        assert "\n" not in str(caught.value)
        assert "install" not in str(caught.value), "nothing is missing"


@pytest.mark.parametrize("suffix", [".tif", ".png", ".jpg", ".npy"])
def test_a_truncated_file_is_refused(tmp_path: Path, suffix: str) -> None:
    data = np.random.default_rng(0).integers(0, 255, (200, 200)).astype(np.uint8)
    path = tmp_path / f"cells{suffix}"
    if suffix == ".tif":
        tifffile.imwrite(path, data, compression="zlib")
    elif suffix == ".npy":
        np.save(path, data)
    else:
        Image.fromarray(data).save(path)
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(ImageError, match=r"(cannot|could not) be read"):
        read_image(path).source().read((), (0, 200), (0, 200))  # a TIFF's pixels are read only now


def test_arrays_of_objects_are_never_unpickled(tmp_path: Path) -> None:
    path = tmp_path / "cells.npy"
    np.save(path, np.array([[{}]], object), allow_pickle=True)
    with pytest.raises(ImageError, match="cannot be read"):
        read_image(path)


def test_missing_and_unknown_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "folder").mkdir()
    for read, error in ((read_image, ImageError), (read_labels, LabelsError)):
        with pytest.raises(error, match=r"no file .*none\.tif"):
            read(tmp_path / "none.tif")
        for name in ("notes.txt", "folder"):
            with pytest.raises(error, match=r"not read; choose one of \.tif"):
                read(tmp_path / name)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_said_to_be_one_and_not_waited_for(tmp_path: Path) -> None:
    for name in ("cells.tif", "cells.npy", "cells.png", "model.safetensors"):
        os.mkfifo(tmp_path / name)
    for name in ("cells.tif", "cells.npy", "cells.png"):
        for read, error in ((read_image, ImageError), (read_labels, LabelsError)):
            with pytest.raises(error, match="is a pipe or a device"):
                read(tmp_path / name)
    with pytest.raises(ModelFileError, match="is a pipe or a device"):
        read_classifier(tmp_path / "model.safetensors")


# Real files


@pytest.mark.parametrize("kind", ["image", "label"])
def test_real_microscopy_files_open(kind: str) -> None:
    files = sorted(DATA.glob(f"*/{kind}_*.*"))
    if not files:
        pytest.skip(f"no data sets in {DATA} (set DSPARSE_DATA)")
    for path in files:
        if kind == "label":
            labels = read_labels(path)
            painted = next(path.parent.glob(f"{path.stem.replace('label', 'image')}.*"))
            image = read_image(painted, labels_shape=labels.shape)
            assert image.source().shape == labels.shape
        else:
            source = read_image(path).source()
            plane = next(source.planes())
            block = source.read(plane, (-3, 20), (-3, 20))
            assert block.shape == (source.channels, 23, 23)
            assert np.ptp(source.read(plane, (0, source.shape[-2]), (0, source.shape[-1]))) > 0


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["u1", ">u2", "f4", "?", "c8"])
def test_npy_files_are_read_window_by_window(tmp_path: Path, order: str, dtype: str) -> None:
    values = np.asarray(np.arange(3 * 20 * 30).reshape(3, 20, 30) % 251, dtype, order=order)
    np.save(tmp_path / "a.npy", values)
    read = NpyArray(tmp_path / "a.npy")
    assert (read.shape, read.dtype, read.ndim, len(read)) == (values.shape, values.dtype, 3, 3)
    for index in (
        np.s_[...],
        np.s_[1],
        np.s_[1, 5:9, 20:],
        np.s_[:, 3],
        np.s_[0:2, ::2, -1],
        np.s_[2, 4:4],
        np.s_[2, 19:3:-3, 1],
        np.s_[-1, -1, -1],
        np.s_[..., 7],
    ):
        assert_array_equal(read[index], values[index])
    assert_array_equal(np.asarray(read), values)


def test_a_npy_file_that_is_cut_short_while_it_is_read_is_said(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    np.save(path, np.ones((600, 700), np.uint16))
    source = read_image(path).source()
    with path.open("r+b") as file:
        file.truncate(50_000)
    assert source.read((), (0, 20), (0, 700)).all()
    with pytest.raises(ImageError, match=r"a\.npy ends too early"):
        source.read((), (300, 320), (0, 700))
