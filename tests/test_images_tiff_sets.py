"""TIFFs of a set: the file that is named is read, however odd the set, and what is missing has a name."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tifffile

from napari_dsparse.batch.inputs import read_input
from napari_dsparse.batch.segmenter import file_state
from napari_dsparse.errors import ImageError
from napari_dsparse.images.reading import read_image

SCHEMA = "http://www.openmicroscopy.org/Schemas/OME/2016-06"


def plane(value: int, *shape: int) -> npt.NDArray[np.uint8]:
    """Pixels that tell the file they are in."""
    return (value + np.arange(72) % 3).astype(np.uint8).reshape(shape or (9, 8))


def ome(*images: str, uuid: str = "") -> str:
    stated = f' UUID="{uuid}"' if uuid else ""
    return f'<OME xmlns="{SCHEMA}"{stated}>{"".join(images)}</OME>'


def image(*planes: str, number: int = 0, rows: int = 9, columns: int = 8) -> str:
    return (
        f'<Image ID="Image:{number}"><Pixels ID="Pixels:{number}" DimensionOrder="XYZCT" Type="uint8" '
        f'SizeX="{columns}" SizeY="{rows}" SizeZ="{len(planes)}" SizeC="1" SizeT="1" PhysicalSizeX="0.5">'
        f'<Channel ID="Channel:{number}" SamplesPerPixel="1"/>{"".join(planes)}</Pixels></Image>'
    )


def held(name: str, uuid: str = "", z: int = 0, ifd: str = 'IFD="0" PlaneCount="1"') -> str:
    """A plane that is in a file of the set."""
    return f'<TiffData FirstZ="{z}" {ifd}><UUID FileName="{name}">{uuid}</UUID></TiffData>'


def write(path: Path, value: int, text: str | None, **options: Any) -> Path:
    tifffile.imwrite(path, plane(value), description=text, metadata=None, **options)
    return path


def values(path: Path) -> list[int]:
    """The least value of each plane."""
    data = np.asarray(read_image(path).data)
    return data.reshape(-1, *data.shape[-2:]).min((1, 2)).tolist()


# Which pixels


def test_a_renamed_file_is_read_and_not_the_one_whose_name_it_holds(tmp_path: Path) -> None:
    for uuid in ("", "urn:uuid:1"):  # older writers give the planes one and the file none
        text = ome(image(held("old.ome.tif", "urn:uuid:1")), uuid=uuid)
        write(tmp_path / "old.ome.tif", 10, text)
        renamed = write(tmp_path / "new.ome.tif", 50, text)
        assert values(renamed) == [50]
        assert read_image(renamed).scale == (1.0, 0.5)
        (tmp_path / "old.ome.tif").unlink()
        assert values(renamed) == [50]


@pytest.mark.parametrize("uuid", ["", "urn:uuid:0"])
def test_files_without_identifiers_of_their_own_are_told_by_their_names(tmp_path: Path, uuid: str) -> None:
    stack = ome(image(*(held(f"z{i}.ome.tif", uuid, z=i) for i in range(3))))
    for i in range(3):
        write(tmp_path / f"z{i}.ome.tif", 10 * i, stack)
    for i in range(3):
        assert values(tmp_path / f"z{i}.ome.tif") == [0, 10, 20]
    places = [image(held(f"p{i}.ome.tif", uuid), number=i) for i in range(3)]
    for i in range(3):
        write(tmp_path / f"p{i}.ome.tif", 10 * i, ome(*places))
        assert values(tmp_path / f"p{i}.ome.tif") == [10 * i]


def test_a_file_whose_description_is_of_others_is_read_as_it_is(tmp_path: Path) -> None:
    places = [image(held(f"p{i}.ome.tif", f"urn:uuid:{i}"), number=i) for i in range(2)]
    for i in range(2):
        write(tmp_path / f"p{i}.ome.tif", 10 * i, ome(*places, uuid=f"urn:uuid:{i}"))
    other = write(tmp_path / "other.ome.tif", 90, ome(*places, uuid="urn:uuid:7"))
    found = read_image(other)
    assert values(other) == [90]
    assert "describes other files" in found.remarks[0]


def test_names_in_a_description_choose_no_folder(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    write(tmp_path / "z1.ome.tif", 90, None)  # outside
    for outside in ("../z1.ome.tif", str(tmp_path / "z1.ome.tif"), "C:\\data\\z1.ome.tif"):
        text = ome(image(held("z0.ome.tif", "urn:uuid:0"), held(outside, "urn:uuid:1", z=1)))
        first = write(folder / "z0.ome.tif", 0, text)
        with pytest.raises(ImageError, match=r"'z1\.ome\.tif' is missing"):
            read_image(first)
        write(folder / "z1.ome.tif", 10, text)
        assert values(first) == [0, 10]
        (folder / "z1.ome.tif").unlink()


def test_a_companion_gives_axes_and_sizes(tmp_path: Path) -> None:
    planes = [held(f"s{i}.ome.tif", f"urn:uuid:{i}", z=i) for i in range(2)]
    companion = tmp_path / "set.companion.ome"
    companion.write_text(f'<?xml version="1.0" encoding="UTF-8"?>{ome(image(*planes), uuid="urn:uuid:9")}')
    only = '<BinaryOnly MetadataFile="set.companion.ome" UUID="urn:uuid:9"/>'
    for i in range(2):
        write(tmp_path / f"s{i}.ome.tif", 10 * i, ome(only, uuid=f"urn:uuid:{i}"))
    for i in range(2):
        found = read_image(tmp_path / f"s{i}.ome.tif")
        assert (values(found.path), found.axes, found.scale, found.remarks) == (
            [0, 10],
            "ZYX",
            (1, 1, 0.5),
            (),
        )
    (tmp_path / "s1.ome.tif").unlink()
    with pytest.raises(ImageError, match=r"'s1\.ome\.tif' is missing"):
        read_image(tmp_path / "s0.ome.tif")
    companion.write_text("nonsense")
    found = read_image(tmp_path / "s0.ome.tif")
    assert (values(found.path), len(found.remarks)) == ([0], 1)


def test_the_second_file_of_micromanager_is_described_in_the_first(tmp_path: Path) -> None:
    text = ome(
        image(held("a.ome.tif", "urn:uuid:0"), held("a_1.ome.tif", "urn:uuid:1", z=1)), uuid="urn:uuid:0"
    )
    write(tmp_path / "a.ome.tif", 0, text)
    only = ome('<BinaryOnly MetadataFile="a.ome.tif" UUID="urn:uuid:0"/>', uuid="urn:uuid:1")
    assert values(write(tmp_path / "a_1.ome.tif", 10, only)) == [0, 10]


@pytest.mark.parametrize("described", [True, False])
def test_of_micromanagers_positions_the_one_that_is_named_is_read(tmp_path: Path, described: bool) -> None:
    places = [image(held(f"x_MMStack_Pos{i}.ome.tif", f"urn:uuid:{i}"), number=i) for i in range(2)]
    for i in range(2):
        text = ome(*places, uuid=f"urn:uuid:{i}") if described else "ImageJ=1.53t\nimages=1\n"
        micromanager(tmp_path / f"x_MMStack_Pos{i}.ome.tif", 10 * i, i, text)
    for i in range(2):
        path = tmp_path / f"x_MMStack_Pos{i}.ome.tif"
        assert (values(path), read_image(path).data.shape) == ([10 * i], (9, 8))


def micromanager(path: Path, value: int, position: int, text: str) -> None:
    """A TIFF with Micro-Manager's header: a summary, and an index of planes by position and more."""
    summary = {"MicroManagerVersion": "1.4", "Prefix": "x", "Positions": 2}
    words = json.dumps(summary | dict.fromkeys(("Frames", "Slices", "Channels"), 1)).encode()
    start, description = 40 + len(words), text.encode() + b"\0"
    pixels = start + 162  # Micro-Manager's distance from a directory to its pixels
    entries = [
        *((256, 4, 1, 8), (257, 4, 1, 9), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1)),
        *((270, 2, len(description), pixels + 72), (273, 4, 1, pixels), (278, 4, 1, 9), (279, 4, 1, 72)),
        (51123, 2, len(words), 40),
    ]
    directory = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *entry) for entry in entries)
    index = pixels + 72 + len(description)
    path.write_bytes(
        struct.pack("<2sHI", b"II", 42, start)
        + struct.pack("<8I", 54773648, index, 0, 0, 0, 0, 2355492, len(words))
        + words
        + directory.ljust(162, b"\0")
        + plane(value).tobytes()
        + description
        + struct.pack("<7I", 3453623, 1, 0, 0, 0, position, start)
    )
    with tifffile.TiffFile(path) as tiff:
        assert tiff.is_mmstack


# What is missing or wrong


def test_a_sibling_that_is_damaged_or_too_short_is_named(tmp_path: Path) -> None:
    for ifd in ('IFD="0" PlaneCount="1"', ""):
        text = ome(image(held("z0.ome.tif", "urn:uuid:0", ifd=ifd), held("z1.ome.tif", "urn:uuid:1", 1, ifd)))
        first = write(tmp_path / "z0.ome.tif", 0, text)
        with pytest.raises(ImageError, match=r"'z1\.ome\.tif' is missing"):
            read_image(first)
        for content in (b"", b"II*\0nonsense", first.read_bytes()[:50]):
            (tmp_path / "z1.ome.tif").write_bytes(content)
            with pytest.raises(ImageError, match=r"'z1\.ome\.tif' .*cannot be read"):
                read_image(first)
        (tmp_path / "z1.ome.tif").unlink()
    text = ome(image(held("z0.ome.tif", "a"), held("z1.ome.tif", "b", 1, 'IFD="3" PlaneCount="1"')))
    first = write(tmp_path / "z0.ome.tif", 0, text)
    write(tmp_path / "z1.ome.tif", 10, text)
    with pytest.raises(ImageError, match=r"'z1\.ome\.tif' .*cannot be read"):
        read_image(first)


def test_siblings_may_be_stored_otherwise_but_not_of_another_size(tmp_path: Path) -> None:
    text = ome(image(*(held(f"z{i}.ome.tif", f"urn:uuid:{i}", z=i) for i in range(4))))
    first = write(tmp_path / "z0.ome.tif", 0, text)
    write(tmp_path / "z1.ome.tif", 10, text, compression="zlib")
    write(tmp_path / "z2.ome.tif", 20, text, compression="lzw", tile=(16, 16), byteorder=">")
    write(tmp_path / "z3.ome.tif", 30, text, rowsperstrip=2)
    for i in range(4):
        assert values(tmp_path / f"z{i}.ome.tif") == [0, 10, 20, 30]
    np.testing.assert_array_equal(read_image(first).data[2], plane(20))
    tifffile.imwrite(tmp_path / "z2.ome.tif", plane(20, 8, 9), description=text, metadata=None)
    with pytest.raises(ImageError, match=r"'z2\.ome\.tif' .*\(8, 9\)"):
        read_image(first)
    tifffile.imwrite(tmp_path / "z2.ome.tif", plane(20).astype("u2"), description=text, metadata=None)
    with pytest.raises(ImageError, match=r"'z2\.ome\.tif' .*uint16"):
        read_image(first)


def test_a_file_of_another_image_may_be_missing(tmp_path: Path) -> None:
    places = [
        image(held("p0.ome.tif", "urn:uuid:0"), '<TiffData FirstZ="1" IFD="9" PlaneCount="1"/>', number=0),
        image(held("gone.ome.tif", "urn:uuid:1", ifd=""), number=1),
    ]
    found = read_image(write(tmp_path / "p0.ome.tif", 0, ome(*places, uuid="urn:uuid:0")))
    assert found.data.shape == (2, 9, 8)
    assert "lacks 1 of 2 planes" in found.remarks[-1]


def test_a_change_of_any_file_of_a_set_is_seen(tmp_path: Path) -> None:
    planes = [held(f"s{i}.ome.tif", f"urn:uuid:{i}", z=i) for i in range(2)]
    companion = tmp_path / "set.companion.ome"
    companion.write_text(ome(image(*planes), uuid="urn:uuid:9"))
    only = ome('<BinaryOnly MetadataFile="set.companion.ome" UUID="urn:uuid:9"/>')
    first, second = (write(tmp_path / f"s{i}.ome.tif", 10 * i, only) for i in range(2))
    before = {file_state(read_input(first, "auto"))}
    for number, path in enumerate((first, second, companion)):
        os.utime(path, ns=(2**61 + number, 2**61 + number))
        before.add(file_state(read_input(first, "auto")))
        assert len(before) == number + 2


# Layout


def test_strips_of_a_later_page_may_lie_anywhere(tmp_path: Path) -> None:
    path, stack = tmp_path / "cells.tif", np.stack([plane(0), plane(10)])
    tifffile.imwrite(path, stack[:, ::-1], rowsperstrip=1, photometric="minisblack", metadata=None)
    with tifffile.TiffFile(path, mode="r+") as tiff:
        for page in tiff.pages:
            assert isinstance(page, tifffile.TiffPage)
            if page.index:  # the first one stays as it was written
                page.tags["StripOffsets"].overwrite(page.dataoffsets[::-1])
    found = np.asarray(read_image(path).data)
    np.testing.assert_array_equal(found, [stack[0, ::-1], stack[1]])
