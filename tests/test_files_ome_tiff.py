"""OME-TIFFs say what Fiji and QuPath ask: axes, pixel size and units, and the names of the classes."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from exports import CLASSES, OME, STACKS, ome_of, random_labels, sizes
from napari_dsparse.classifier.classes import ClassInfo
from napari_dsparse.files import ome_tiff
from napari_dsparse.files.export import export_labels
from napari_dsparse.files.pixel_copy import copy_pixels
from napari_dsparse.images.fingerprint import fingerprint
from napari_dsparse.images.reading import read_image, read_labels
from napari_dsparse.images.source import ImageSource


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
    classes = (ClassInfo("a\x00b\x0b<c>", "#102030"),)
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


@pytest.mark.parametrize("kind", ["RGBA", "masked", "masked stack", "RGB floats"])
def test_copied_pixels_are_known_again(tmp_path: Path, kind: str) -> None:
    pixels = np.random.default_rng(0).normal(90, 30, (3, 30, 4)).clip(0, 255)
    data: Any = {
        "RGBA": pixels.astype(np.uint8),
        "masked": np.ma.masked_less(pixels[0], 90),
        "masked stack": np.ma.masked_less(np.stack([pixels] * 4).astype(np.float32), 90)[..., None, :, :],
        "RGB floats": pixels[..., :3].astype(np.float32),
    }[kind]
    source = ImageSource(data, 2 if kind.startswith("RGB") else None, "cells")
    copy = read_image(copy_pixels(tmp_path, source))
    assert fingerprint(ImageSource(copy.data, source.channel_axis)) == fingerprint(source)
