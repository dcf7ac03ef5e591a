"""Exports keep what a microscopist needs: every label, its type, the pixel size, the names of the classes."""

from __future__ import annotations

import struct
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from napari_dsparse.errors import DsparseError, ExportError
from napari_dsparse.files import ome_tiff
from napari_dsparse.files.export import SUFFIXES, export_array, export_labels
from napari_dsparse.images.reading import read_image, read_labels
from napari_dsparse.network.trained import ClassInfo, default_class

CLASSES = (ClassInfo('back & "ground"', "#102030"), ClassInfo("Zellkern µ 核", "#e69f00"))
OME = "{http://www.openmicroscopy.org/Schemas/OME/2016-06}"
STACKS = {"YX": (40, 50), "ZYX": (3, 40, 50), "TYX": (2, 40, 50), "TZYX": (2, 3, 40, 50)}
SIZES = {"T": (2.5, "second"), "Z": (1.5, "micrometer"), "Y": (0.25, "micrometer"), "X": (0.2, "micrometer")}


def random_labels(shape: tuple[int, ...], dtype: Any = np.uint8, highest: int = 2) -> np.ndarray:
    return np.random.default_rng(0).integers(0, highest, shape, endpoint=True).astype(dtype)


def sizes(axes: str) -> dict[str, Any]:
    scale, units = zip(*(SIZES[letter] for letter in axes), strict=True)
    return {"axes": axes, "scale": scale, "units": units}


def ome_of(path: Path, element: str = "Pixels") -> ET.Element:
    with tifffile.TiffFile(path) as tiff:
        found = ET.fromstring(tiff.ome_metadata).find(f".//{OME}{element}")
    assert found is not None
    return found


# Every format: labels come back


@pytest.mark.parametrize(
    ("suffix", "axes"),
    [
        (suffix, axes)
        for format, suffixes in SUFFIXES.items()
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


# OME-TIFF


@pytest.mark.parametrize("axes", STACKS)
def test_ome_tiff_states_physical_size_and_units(tmp_path: Path, axes: str) -> None:
    path = export_labels(
        tmp_path / "out.ome.tif", random_labels(STACKS[axes]), classes=CLASSES, **sizes(axes)
    )
    with tifffile.TiffFile(path) as tiff:
        assert tiff.is_ome
        assert tiff.series[0].axes == axes
    found = ome_of(path).attrib
    assert (found["PhysicalSizeX"], found["PhysicalSizeXUnit"]) == ("0.2", "µm")
    assert (found["PhysicalSizeY"], found["PhysicalSizeYUnit"]) == ("0.25", "µm")
    if "Z" in axes:
        assert (found["PhysicalSizeZ"], found["PhysicalSizeZUnit"]) == ("1.5", "µm")
    if "T" in axes:
        assert (found["TimeIncrement"], found["TimeIncrementUnit"]) == ("2.5", "s")
    assert found["Type"] == "uint8"
    assert [found[f"Size{letter}"] for letter in "XYCZT"] == [
        "50",
        "40",
        "1",
        str(3 if "Z" in axes else 1),
        str(2 if "T" in axes else 1),
    ]


def test_ome_tiff_states_the_pixel_size_to_plain_tiff_readers_too(tmp_path: Path) -> None:
    path = export_labels(tmp_path / "out.tif", random_labels((40, 50)), classes=CLASSES, **sizes("YX"))
    with tifffile.TiffFile(path) as tiff:
        tags = tiff.pages.first.tags
        x, y = (np.divide(*tags.valueof(name)) for name in ("XResolution", "YResolution"))
        assert (x, y) == (pytest.approx(1e4 / 0.2), pytest.approx(1e4 / 0.25))
        assert tags.valueof("ResolutionUnit") == 3  # centimetres


@pytest.mark.parametrize(
    ("spelling", "symbol", "name"),
    [
        ("micrometer", "µm", "micrometer"),
        ("um", "µm", "micrometer"),
        ("\u03bcm", "µm", "micrometer"),
        ("micron", "µm", "micrometer"),
        ("nanometers", "nm", "nanometer"),
        ("nm", "nm", "nanometer"),
        ("angstrom", "Å", "angstrom"),
        ("millimetre", "mm", "millimeter"),
        ("meter", "m", "meter"),
        ("inch", "in", "inch"),
    ],
)
def test_units_are_known_by_the_names_people_use(
    tmp_path: Path, spelling: str, symbol: str, name: str
) -> None:
    path = tmp_path / "out.ome.tif"
    export_labels(path, random_labels((4, 5)), classes=CLASSES, scale=(0.5, 0.5), units=(spelling, spelling))
    assert ome_of(path).get("PhysicalSizeXUnit") == symbol
    assert read_image(path).units == (name, name)


def test_units_of_napari_itself_are_taken(tmp_path: Path) -> None:
    pint = pytest.importorskip("pint")
    unit = pint.Unit("um")
    path = tmp_path / "out.ome.tif"
    export_labels(
        path, random_labels((4, 5)), classes=CLASSES, scale=np.array([0.5, 0.5]), units=(unit, unit)
    )
    assert read_image(path).units == ("micrometer", "micrometer")


def test_a_pixel_of_unknown_size_gets_none(tmp_path: Path) -> None:
    path = tmp_path / "out.ome.tif"
    export_labels(path, random_labels((3, 4, 5)), classes=CLASSES, scale=(1, 1, 1), units=("pixel",) * 3)
    assert not [name for name in ome_of(path).attrib if name.startswith("Physical")]
    assert read_image(path).scale == (1.0, 1.0, 1.0)
    assert read_image(path).units == ("pixel",) * 3


def test_a_scale_without_a_unit_keeps_the_ratio_of_the_axes(tmp_path: Path) -> None:
    path = export_labels(tmp_path / "out.ome.tif", random_labels((3, 4, 5)), classes=CLASSES, scale=(4, 1, 1))
    assert read_image(path).scale == (4.0, 1.0, 1.0)
    assert set(read_image(path).units) == {"pixel"}


def test_a_view_turned_over_keeps_its_pixel_size(tmp_path: Path) -> None:
    path = tmp_path / "out.ome.tif"
    export_labels(path, random_labels((4, 5)), classes=CLASSES, scale=(-0.5, 0.5), units=("um", "um"))
    assert read_image(path).scale == (0.5, 0.5)


def test_one_length_for_all_axes_says_nothing_about_time(tmp_path: Path) -> None:
    path = tmp_path / "out.ome.tif"
    labels = random_labels((2, 3, 4, 5))
    export_labels(path, labels, classes=CLASSES, scale=(1, 2, 0.5, 0.5), units=("micrometer",) * 4)
    assert "TimeIncrement" not in ome_of(path).attrib
    assert read_image(path).units == ("pixel", *("micrometer",) * 3)


def test_three_axes_are_a_stack_in_time_if_the_first_has_such_a_unit(tmp_path: Path) -> None:
    units = ("second", "micrometer", "micrometer")
    path = tmp_path / "out.ome.tif"
    export_labels(path, random_labels((3, 4, 5)), classes=CLASSES, scale=(30, 0.5, 0.5), units=units)
    assert read_image(path).axes == "TYX"


def test_ome_tiff_holds_names_and_colours_of_the_classes(tmp_path: Path) -> None:
    path = export_labels(tmp_path / "out.ome.tif", random_labels((4, 5)), classes=CLASSES)
    with tifffile.TiffFile(path) as tiff:
        root = ET.fromstring(tiff.ome_metadata)
    maps = {
        annotation.get("Namespace"): {entry.get("K"): entry.text for entry in annotation.iter(f"{OME}M")}
        for annotation in root.iter(f"{OME}MapAnnotation")
    }
    assert maps == {
        "napari-dsparse/class-names": {"1": CLASSES[0].name, "2": CLASSES[1].name},
        "napari-dsparse/class-colors": {"1": "#102030", "2": "#e69f00"},
    }
    description = root.find(f"{OME}Image/{OME}Description")
    assert description is not None
    assert description.text == f"Class of every pixel: 0 = none, 1 = {CLASSES[0].name}, 2 = {CLASSES[1].name}"


def test_names_with_characters_that_xml_lacks_do_no_harm(tmp_path: Path) -> None:
    classes = (ClassInfo("a\x00b\ud800<c>", "#102030"),)
    path = export_labels(tmp_path / "out.ome.tif", random_labels((4, 5)), classes=classes)
    assert "1 = a b <c>" in "".join(ome_of(path, "Image").itertext())


def test_large_planes_are_tiled_and_small_ones_are_for_every_reader(tmp_path: Path) -> None:
    large = np.zeros((600, 5000), np.uint8)
    large[500:, 4500:] = 2
    for labels, tiled in ((large, True), (large[:, :4000], False)):
        path = tmp_path / f"{tiled}.ome.tif"
        export_labels(path, labels, classes=CLASSES)
        with tifffile.TiffFile(path) as tiff:
            assert tiff.pages.first.is_tiled == tiled
        np.testing.assert_array_equal(read_labels(path), labels)


def test_large_planes_have_a_pyramid_whose_levels_are_labels(tmp_path: Path) -> None:
    labels = np.zeros((2, 600, 4500), np.uint8)
    labels[1, :, 1000:] = np.random.default_rng(0).integers(0, 3, (600, 3500))
    path = export_labels(tmp_path / "out.ome.tif", labels, classes=CLASSES, **sizes("ZYX"))
    with tifffile.TiffFile(path) as tiff:
        (series,) = tiff.series
        assert len(series.levels) == 5
        for number, level in enumerate(series.levels):
            step = 2**number
            np.testing.assert_array_equal(level.asarray(), labels[:, ::step, ::step])
            x, unit = (level.keyframe.tags.valueof(name) for name in ("XResolution", "ResolutionUnit"))
            assert (np.divide(*x), unit) == (pytest.approx(1e4 / 0.2 / step), 3)
        assert max(level.shape[1:]) <= 512
    np.testing.assert_array_equal(read_labels(path), labels)
    assert read_image(path).scale == (1.5, 0.25, 0.2)


class Blank:
    """Labels that take no memory, however many."""

    def __init__(self, *shape: int) -> None:
        self.shape, self.dtype = shape, np.dtype(np.uint8)

    def __getitem__(self, window: tuple[Any, ...]) -> np.ndarray:
        return np.zeros([part.stop - part.start for part in window[-2:]], np.uint8)


def test_a_tiff_beyond_four_gigabytes_has_offsets_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ome_tiff, "_LARGEST_CLASSIC", 1_000_000)
    for edge, is_big in ((999, False), (1001, True)):
        path = export_labels(tmp_path / f"{edge}.ome.tif", Blank(edge, edge), classes=CLASSES)
        with tifffile.TiffFile(path) as tiff:
            assert tiff.is_bigtiff == is_big


# PNG


@pytest.mark.parametrize("dtype", ["bool", "uint8", "uint16", "int64"])
def test_png_values_are_labels_and_its_palette_the_class_colours(tmp_path: Path, dtype: str) -> None:
    labels = random_labels((40, 50), dtype, 1 if dtype == "bool" else 2)
    path = export_labels(tmp_path / "out.png", labels, classes=CLASSES, **sizes("YX"))
    with Image.open(path) as picture:
        assert picture.mode == "P"
        np.testing.assert_array_equal(np.asarray(picture), labels)
        palette = picture.getpalette()
        assert palette is not None
        assert palette[:9] == [0, 0, 0, 0x10, 0x20, 0x30, 0xE6, 0x9F, 0x00]
        shown = np.asarray(picture.convert("RGB"))
    assert (shown[labels == 0] == 0).all()
    assert (shown[labels == 1] == (0x10, 0x20, 0x30)).all()


def test_png_states_its_pixel_size_and_has_eight_bits(tmp_path: Path) -> None:
    path = export_labels(tmp_path / "out.png", random_labels((40, 50)), classes=CLASSES, **sizes("YX"))
    content = path.read_bytes()
    assert content[24] == 8  # bit depth
    start = content.index(b"pHYs") + 4
    assert struct.unpack(">IIB", content[start : start + 9]) == (5_000_000, 4_000_000, 1)  # per metre: x, y
    unsized = export_labels(tmp_path / "unsized.png", random_labels((40, 50)), classes=CLASSES)
    assert b"pHYs" not in unsized.read_bytes()


def test_png_gives_a_label_without_a_class_its_default_colour(tmp_path: Path) -> None:
    path = export_labels(tmp_path / "out.png", np.array([[0, 1, 5]], np.uint8), classes=CLASSES)
    with Image.open(path) as picture:
        shown = np.asarray(picture.convert("RGB"))
    assert bytes(shown[0, 2]).hex() == default_class(5).color[1:]


def test_png_holds_no_stack_and_no_label_above_255(tmp_path: Path) -> None:
    for labels, word in ((np.zeros((2, 4, 5), np.uint8), "stack"), (np.full((4, 5), 256), "255")):
        with pytest.raises(ExportError, match=f"{word}.*OME-TIFF"):
            export_labels(tmp_path / "out.png", labels, classes=CLASSES)
    assert not list(tmp_path.iterdir())


# OME-Zarr


def test_ome_zarr_is_a_label_image_of_version_0_5(tmp_path: Path) -> None:
    zarr = pytest.importorskip("zarr")
    labels = random_labels((3, 1100, 1300))
    path = export_labels(tmp_path / "out.ome.zarr", labels, classes=CLASSES, **sizes("ZYX"))
    group = zarr.open_group(str(path), mode="r")
    assert group.metadata.zarr_format == 3
    ome = group.attrs["ome"]
    assert ome["version"] == "0.5"
    assert ome["image-label"]["properties"][1] == {"label-value": 2, "name": CLASSES[1].name}
    assert ome["image-label"]["colors"][1] == {"label-value": 2, "rgba": [0xE6, 0x9F, 0x00, 255]}
    multiscale = ome["multiscales"][0]
    assert multiscale["axes"] == [{"name": n, "type": "space", "unit": "micrometer"} for n in "zyx"]
    for level, dataset in enumerate(multiscale["datasets"]):
        step = 2**level
        array = group[dataset["path"]]
        assert array.metadata.dimension_names == ("z", "y", "x")
        np.testing.assert_array_equal(array[...], labels[:, ::step, ::step])
        assert dataset["coordinateTransformations"] == [
            {"type": "scale", "scale": [1.5, 0.25 * step, 0.2 * step]}
        ]
    assert max(array.shape[1:]) <= 512


def test_ome_zarr_is_what_other_programs_take_for_one(tmp_path: Path) -> None:
    zarr = pytest.importorskip("zarr")
    models = pytest.importorskip("ome_zarr_models.v05")
    reader = pytest.importorskip("ome_zarr.reader")
    io = pytest.importorskip("ome_zarr.io")
    labels = random_labels((2, 3, 40, 50))
    path = export_labels(tmp_path / "out.ome.zarr", labels, classes=CLASSES, **sizes("TZYX"))
    models.ImageLabel.from_zarr(zarr.open_group(str(path), mode="r"))
    node = next(iter(reader.Reader(io.parse_url(str(path)))()))
    np.testing.assert_array_equal(np.asarray(node.data[0]), labels)
    assert node.metadata["properties"][1]["name"] == CLASSES[0].name
    assert set(node.metadata["color"]) == {1, 2}


def test_ome_zarr_has_time_first(tmp_path: Path) -> None:
    pytest.importorskip("zarr")
    with pytest.raises(ExportError, match="time first"):
        export_labels(tmp_path / "out.ome.zarr", random_labels((3, 2, 4, 5)), classes=CLASSES, axes="ZTYX")
    assert not list(tmp_path.iterdir())


def write_zarr(folder: Path) -> object:
    return export_labels(folder / "out.ome.zarr", random_labels((4, 5)), classes=CLASSES)


@pytest.mark.parametrize(
    "job",
    [
        write_zarr,
        lambda folder: read_image(folder / "in.zarr"),
        lambda folder: read_labels(folder / "in.zarr"),
    ],
)
def test_a_missing_zarr_package_is_said_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, job: Callable[[Path], object]
) -> None:
    (tmp_path / "in.zarr").mkdir()
    (tmp_path / "in.zarr" / "zarr.json").write_text("{}")
    monkeypatch.setitem(sys.modules, "zarr", None)
    with pytest.raises(DsparseError, match=r"pip install 'napari-dsparse\[zarr\]'") as caught:
        job(tmp_path)
    assert "\n" not in str(caught.value)
    assert [p.name for p in tmp_path.iterdir()] == ["in.zarr"]


def test_a_folder_that_is_no_zarr_store_is_never_replaced(tmp_path: Path) -> None:
    pytest.importorskip("zarr")
    precious = tmp_path / "results.zarr"
    precious.mkdir()
    (precious / "thesis.txt").write_text("precious")
    with pytest.raises(ExportError, match="not a Zarr store"):
        export_labels(precious, random_labels((4, 5)), classes=CLASSES, overwrite=True)
    assert (precious / "thesis.txt").read_text() == "precious"
    store = tmp_path / "store.zarr"
    for highest in (1, 2):
        export_labels(store, np.full((4, 5), highest, np.uint8), classes=CLASSES, overwrite=True)
    assert read_labels(store).max() == 2


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
