"""Files as programs write them: several images, sets of files, odd descriptions, stated resolutions."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_dsparse.errors import ImageError
from napari_dsparse.images.reading import Expected, read_image, read_labels
from napari_dsparse.images.units import find_unit, size_from_resolution
from napari_dsparse.training import train_classifier

SCHEMA = "http://www.openmicroscopy.org/Schemas/OME/2016-06"


def counted(*shape: int, dtype: Any = np.uint8) -> np.ndarray:
    return (np.arange(np.prod(shape)) % 250).astype(dtype).reshape(shape)


def ome(inner: str, **attributes: str) -> str:
    stated = "".join(f' {name}="{value}"' for name, value in attributes.items())
    return f'<OME xmlns="{SCHEMA}"{stated}>{inner}</OME>'


def ome_image(number: int, inner: str, z: int = 1, name: str = "", size: str = "") -> str:
    return (
        f'<Image ID="Image:{number}" Name="{name}"><Pixels ID="Pixels:{number}" DimensionOrder="XYZCT" '
        f'Type="uint8" SizeX="8" SizeY="9" SizeZ="{z}" SizeC="1" SizeT="1" {size}>'
        f'<Channel ID="Channel:{number}" SamplesPerPixel="1"/>{inner}</Pixels></Image>'
    )


def in_file(name: str, number: int, z: int = 0) -> str:
    return (
        f'<TiffData FirstZ="{z}" IFD="0" PlaneCount="1"><UUID FileName="{name}">urn:uuid:{number}</UUID>'
        "</TiffData>"
    )


# Several images in one file


def several(path: Path, *shapes: tuple[int, ...], **options: Any) -> list[np.ndarray]:
    images = [counted(*shape) for shape in shapes]
    with tifffile.TiffWriter(path, **options) as tiff:
        for image in images:
            tiff.write(image, photometric="minisblack", metadata={} if options else None)
    return images


@pytest.mark.parametrize("options", [{}, {"ome": True}])
def test_of_several_images_the_largest_is_read_and_that_is_said(tmp_path: Path, options: Any) -> None:
    path = tmp_path / "cells.ome.tif"
    images = several(path, (5, 4), (40, 30), (20, 10), **options)
    found = read_image(path)
    np.testing.assert_array_equal(found.data, images[1])
    assert found.series == 1
    assert found.remarks == (
        "cells.ome.tif holds 3 images (0: 5 x 4, 1: 40 x 30, 2: 20 x 10); "
        "series 1 is read, the largest: choose another by its number.",
    )
    other = read_image(path, series=2)
    np.testing.assert_array_equal(other.data, images[2])
    assert (other.series, other.remarks) == (2, ())
    with pytest.raises(ImageError, match="series 0 to 2; series 3 is not among them"):
        read_image(path, series=3)


def test_a_file_of_one_image_has_series_0_only(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "cells.tif", counted(9, 8))
    Image.new("L", (8, 9)).save(tmp_path / "cells.png")
    for name in ("cells.tif", "cells.png"):
        assert read_image(tmp_path / name, series=0).remarks == ()
        with pytest.raises(ImageError, match="series 1 is not"):
            read_image(tmp_path / name, series=1)


def test_each_image_has_its_own_pixel_size(tmp_path: Path) -> None:
    path = tmp_path / "cells.ome.tif"
    with tifffile.TiffWriter(path, ome=True) as tiff:
        for i, shape in enumerate([(4, 5), (40, 50)]):
            tiff.write(counted(*shape), metadata={"axes": "YX", "PhysicalSizeX": i + 1.0, "PhysicalSizeY": 7})
    assert read_image(path).scale == (7.0, 2.0)
    assert read_image(path, series=0).scale == (7.0, 1.0)


def test_of_a_converted_file_the_largest_image_is_read(tmp_path: Path) -> None:
    zarr = pytest.importorskip("zarr")
    root = zarr.create_group(str(tmp_path / "cells.zarr"))
    root.attrs["ome"] = {"version": "0.5", "bioformats2raw.layout": 3}
    for i, shape in enumerate([(4, 5), (40, 50), (4, 5)]):
        image = root.create_group(str(i))
        image.create_array("0", shape=shape, dtype="uint8")[...] = i
        image.attrs["ome"] = {
            "multiscales": [{"axes": [{"name": n} for n in "yx"], "datasets": [{"path": "0"}]}]
        }
    found = read_image(tmp_path / "cells.zarr")
    assert (found.series, found.data.shape, len(found.remarks)) == (1, (40, 50), 1)
    assert read_image(tmp_path / "cells.zarr", series=2).source().read((), (0, 1), (0, 1)) == 2
    with pytest.raises(ImageError, match="series 0 to 2"):
        read_image(tmp_path / "cells.zarr", series=3)


def test_of_a_plate_a_well_or_an_image_is_chosen(tmp_path: Path) -> None:
    zarr = pytest.importorskip("zarr")
    plate = zarr.create_group(str(tmp_path / "plate.zarr"))
    plate.attrs["ome"] = {"version": "0.5", "plate": {"wells": [{"path": "A/1"}, {"path": "B/2"}]}}
    well = plate.create_group("A/1")
    well.attrs["ome"] = {"version": "0.5", "well": {"images": [{"path": "0"}, {"path": "1"}]}}
    for field, edge in enumerate((8, 12)):
        image = well.create_group(str(field))
        image.create_array("0", shape=(edge, edge), dtype="uint8")[...] = field + 1
        image.attrs["ome"] = {
            "multiscales": [{"axes": [{"name": n} for n in "yx"], "datasets": [{"path": "0"}]}]
        }
    with pytest.raises(ImageError, match=r"a plate of 2 wells; choose a well .*plate\.zarr.A.1'"):
        read_image(tmp_path / "plate.zarr")
    found = read_image(tmp_path / "plate.zarr" / "A" / "1")
    assert (found.series, found.data.shape, len(found.remarks)) == (1, (12, 12), 1)
    assert read_image(tmp_path / "plate.zarr" / "A" / "1", series=0).data.shape == (8, 8)
    assert read_image(tmp_path / "plate.zarr" / "A" / "1" / "0").data.shape == (8, 8)
    shutil.rmtree(tmp_path / "plate.zarr" / "A" / "1" / "1")
    with pytest.raises(ImageError, match="names the image '1', which is missing"):
        read_image(tmp_path / "plate.zarr" / "A" / "1")


# Sets of files


def test_of_a_set_of_positions_the_file_that_is_named_is_read(tmp_path: Path) -> None:
    described = [ome_image(i, in_file(f"pos{i}.ome.tif", i), name=f"pos{i}") for i in range(3)]
    for i in range(3):
        text = ome("".join(described), UUID=f"urn:uuid:{i}")
        tifffile.imwrite(
            tmp_path / f"pos{i}.ome.tif", np.full((9, 8), 10 * i, np.uint8), description=text, metadata=None
        )
    for i in range(3):
        found = read_image(tmp_path / f"pos{i}.ome.tif")
        assert np.unique(found.data).tolist() == [10 * i]
        assert "the one stored in this file" in found.remarks[0]
    assert np.unique(read_image(tmp_path / "pos0.ome.tif", series=2).data).tolist() == [20]
    (tmp_path / "pos2.ome.tif").unlink()  # of another position: nothing that is read is missing
    assert np.unique(read_image(tmp_path / "pos1.ome.tif").data).tolist() == [10]


@pytest.mark.parametrize("kept", [(0,), (1,), (0, 2)])
def test_a_missing_file_of_a_set_is_an_error_with_its_name(tmp_path: Path, kept: tuple[int, ...]) -> None:
    planes = "".join(in_file(f"z{i}.ome.tif", i, z=i) for i in range(3))
    for i in kept:
        text = ome(ome_image(0, planes, z=3), UUID=f"urn:uuid:{i}")
        tifffile.imwrite(tmp_path / f"z{i}.ome.tif", counted(9, 8), description=text, metadata=None)
    gone = min(set(range(3)) - set(kept))
    with pytest.raises(ImageError, match=rf"'z{gone}\.ome\.tif'.* is missing; put it into"):
        read_image(tmp_path / f"z{kept[0]}.ome.tif")


def test_planes_that_were_never_written_are_mentioned(tmp_path: Path) -> None:
    text = ome(ome_image(0, '<TiffData IFD="0" PlaneCount="1"/>', z=3))
    tifffile.imwrite(tmp_path / "cells.ome.tif", counted(9, 8), description=text, metadata=None)
    found = read_image(tmp_path / "cells.ome.tif")
    assert found.data.shape == (3, 9, 8)
    assert found.remarks == ("cells.ome.tif lacks 2 of 3 planes, never written: they are read as 0.",)
    np.testing.assert_array_equal(found.data[0], counted(9, 8))
    assert not found.data[1:].any()


def test_a_description_in_a_companion_file_is_mentioned(tmp_path: Path) -> None:
    text = ome('<BinaryOnly MetadataFile="set.companion.ome" UUID="urn:uuid:9"/>')
    tifffile.imwrite(tmp_path / "cells.ome.tif", counted(9, 8), description=text, metadata=None)
    found = read_image(tmp_path / "cells.ome.tif")
    np.testing.assert_array_equal(found.data, counted(9, 8))
    assert "set.companion.ome" in found.remarks[0]


# Odd descriptions


def test_an_ampersand_in_a_name_does_not_cost_the_pixel_size(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    size = 'PhysicalSizeX="0.5" PhysicalSizeY="0.25"'
    text = ome(ome_image(0, "<TiffData/>", name="DAPI & GFP &amp; more &#181;", size=size))
    tifffile.imwrite(tmp_path / "cells.ome.tif", counted(9, 8), description=text, metadata=None)
    with caplog.at_level(logging.WARNING):
        found = read_image(tmp_path / "cells.ome.tif")
    assert (found.scale, found.remarks, caplog.records) == ((0.25, 0.5), (), [])


def test_a_broken_description_does_not_cost_the_pixels(tmp_path: Path) -> None:
    whole = ome(ome_image(0, "<TiffData/>"))
    for text in (
        whole[:-9],
        whole.replace(" DimensionOrder=", " Order="),
        whole.replace("SizeX=", "SizeX='x' S="),
    ):
        tifffile.imwrite(tmp_path / "cells.ome.tif", counted(9, 8), description=text, metadata=None)
        try:
            found = read_image(tmp_path / "cells.ome.tif")
        except ImageError as error:  # pragma: no cover
            pytest.fail(str(error))
        np.testing.assert_array_equal(found.data, counted(9, 8))
        if " Order=" in text:  # of the others, tifffile makes plain TIFF by itself
            assert "axes and pixel size are unknown" in found.remarks[0]


def test_zarr_of_the_first_versions_has_the_axes_these_prescribe(tmp_path: Path) -> None:
    zarr = pytest.importorskip("zarr")
    for version in ("0.1", "0.2"):
        group = zarr.open_group(str(tmp_path / f"{version}.zarr"), mode="w", zarr_format=2)
        group.create_array("0", shape=(1, 2, 3, 9, 8), dtype="uint8", chunks=(1, 1, 1, 9, 8))
        group.attrs["multiscales"] = [{"version": version, "datasets": [{"path": "0"}]}]
        found = read_image(tmp_path / f"{version}.zarr")
        assert (found.letters, found.channel_axis, found.axes) == ("TCZYX", 1, "TZYX")


# Values


@pytest.mark.parametrize("dtype", ["u1", "u2"])
def test_min_is_white_is_turned_round_for_images_and_not_for_labels(tmp_path: Path, dtype: str) -> None:
    data = counted(9, 8, dtype=dtype) % 3
    for compression in (None, "zlib"):
        path = tmp_path / f"{compression}.tif"
        tifffile.imwrite(path, data[..., None], photometric="miniswhite", compression=compression)
        found = read_image(path)  # not whole pages, by that last axis
        np.testing.assert_array_equal(found.data, np.iinfo(dtype).max - data[..., None])
        tifffile.imwrite(path, data, photometric="miniswhite", compression=compression)
        found = read_image(path)
        np.testing.assert_array_equal(found.data, np.iinfo(dtype).max - data)
        assert "min-is-white" in found.remarks[0]
        np.testing.assert_array_equal(read_labels(path), data)


def test_masked_pixels_are_unknown_and_masked_labels_are_not_painted() -> None:
    rng = np.random.default_rng(0)
    image = rng.normal(0, 1, (60, 60)).astype(np.float32)
    image[:, 30:] += 6
    labels = np.zeros((60, 60), np.uint8)
    labels[5:20, 5:9], labels[5:20, 50:54] = 1, 2
    bad = image.copy()
    bad[40:45] = 1e6
    masked = np.ma.masked_greater(bad, 1e5)
    wrong = labels.copy()
    wrong[50:55, 5:9] = 2
    masked_labels = np.ma.array(wrong, mask=False)
    masked_labels.mask[50:] = True
    with_mask = train_classifier(masked, masked_labels, steps=0, hold_out=False)
    unknown = bad.copy()
    unknown[40:45] = np.nan
    with_nan = train_classifier(unknown, labels, steps=0, hold_out=False)
    assert with_mask.normalisation == with_nan.normalisation
    for name, weights in with_nan.weights.items():
        np.testing.assert_array_equal(with_mask.weights[name], weights)


# Stated resolutions


@pytest.mark.parametrize(
    ("per", "unit", "micrometres"),
    [
        (20_000, "cm", 0.5),
        (25_400, "inch", 1.0),
        (101, "cm", 99.00990099009901),
        (72, "inch", None),
        (96, "inch", None),
        (300, "inch", None),
        (600.0001, "inch", None),
        (299.9994, "inch", None),
        (100, "cm", None),
        (0, "cm", None),
        (-5, "cm", None),
        (float("nan"), "cm", None),
        (float("inf"), "cm", None),
    ],
)
def test_a_resolution_is_a_pixel_size_where_it_is_no_documents(
    per: float, unit: str, micrometres: float | None
) -> None:
    known = find_unit(unit)
    assert known is not None
    expected = None if micrometres is None else (pytest.approx(micrometres), "micrometer")
    assert size_from_resolution(per, known) == expected


def test_resolution_tags_give_the_pixel_size(tmp_path: Path) -> None:
    path = tmp_path / "cells.tif"
    for unit, resolution, scale in (
        ("CENTIMETER", (20_000, 40_000), (0.25, 0.5)),
        ("INCH", (25_400, 25_400), (1.0, 1.0)),
    ):
        tifffile.imwrite(path, counted(9, 8), resolution=resolution, resolutionunit=unit, metadata=None)
        found = read_image(path)
        assert found.scale == pytest.approx(scale)
        assert set(found.units) == {"micrometer"}
    tifffile.imwrite(path, counted(9, 8), resolution=(20_000, 1), resolutionunit="NONE", metadata=None)
    assert read_image(path).units == ("pixel", "pixel")


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp"])
def test_resolution_of_pictures_gives_the_pixel_size(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"cells{suffix}"
    Image.new("L", (8, 9)).save(path, dpi=(50_800, 50_800))
    assert read_image(path).scale == pytest.approx((0.5, 0.5), rel=1e-4)
    Image.new("RGB", (8, 9)).save(path, dpi=(300, 300))
    assert read_image(path).units == ("pixel", "pixel")


@pytest.mark.parametrize(
    ("metadata", "scale", "units"),
    [
        ({"axes": "ZYX", "unit": "micron", "zunit": "nm", "spacing": 300.0}, (300, 0.5, 0.5), "nmm"),
        ({"axes": "ZYX", "unit": "micron", "yunit": "nm", "spacing": 2.0}, (2, 0.5, 0.5), "mnm"),
        ({"axes": "ZYX", "unit": "micron", "spacing": -0.3}, (0.3, 0.5, 0.5), "mmm"),
        ({"axes": "TYX", "unit": "micron", "finterval": 2.0, "tunit": "min"}, (2, 0.5, 0.5), "imm"),
        ({"axes": "TYX", "unit": "micron", "finterval": 2.0}, (2, 0.5, 0.5), "smm"),
    ],
)
def test_imagej_states_units_of_single_axes(
    tmp_path: Path, metadata: Any, scale: tuple[float, ...], units: str
) -> None:
    path = tmp_path / "cells.tif"
    tifffile.imwrite(path, counted(2, 9, 8), imagej=True, resolution=(2, 2), metadata=metadata)
    names = {"n": "nanometer", "m": "micrometer", "i": "minute", "s": "second"}
    found = read_image(path)
    assert found.scale == pytest.approx(scale)
    assert found.units == tuple(names[letter] for letter in units)


# What training settled


def test_letters_that_a_file_only_guesses_are_not_believed(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "cells.tif", counted(9, 8, 2), photometric="minisblack")
    assert read_image(tmp_path / "cells.tif").letters == "???"
    found = read_image(tmp_path / "cells.tif", expected=Expected(2, -1, "???"))
    assert (found.channel_axis, found.axes) == (2, "YX")
    tifffile.imwrite(
        tmp_path / "named.tif", counted(3, 9, 8), photometric="minisblack", metadata={"axes": "CYX"}
    )
    assert read_image(tmp_path / "named.tif").channel_axis == 0
    tifffile.imwrite(tmp_path / "rgb.tif", counted(9, 8, 3), photometric="rgb")
    assert read_image(tmp_path / "rgb.tif").letters == "??S"


def test_what_training_settled_against_the_file_holds_for_files_named_alike(tmp_path: Path) -> None:
    path = tmp_path / "cells.ome.tif"
    tifffile.imwrite(path, counted(3, 9, 8), ome=True, photometric="minisblack", metadata={"axes": "ZYX"})
    settled = read_image(path, labels_shape=(9, 8)).source()
    assert (settled.channel_axis, settled.letters) == (0, "ZYX")
    assert read_image(path, expected=Expected(3, 0, "ZYX")).channel_axis == 0
    with pytest.raises(ImageError, match="3 channels are expected"):
        read_image(path, expected=Expected(3, 0, "TYX"))
    tifffile.imwrite(path, counted(4, 9, 8), ome=True, photometric="minisblack", metadata={"axes": "ZYX"})
    with pytest.raises(ImageError, match="3 channels are expected"):
        read_image(path, expected=Expected(3, 0, "ZYX"))
