"""CZI, ND2 and LIF: read part by part, with axes, channels, pixel size and scenes."""

from __future__ import annotations

import struct
import sys
from datetime import timedelta
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pytest

from napari_dsparse.errors import ImageError, LabelsError
from napari_dsparse.images.microscope_file import ChunkArray
from napari_dsparse.images.reading import read_image, read_labels

PIXELS: npt.NDArray[np.uint16] = np.arange(2 * 3 * 30 * 40, dtype=np.uint16).reshape(2, 3, 30, 40)


class UnsupportedFileFormatError(Exception):
    """As bioio's."""


class FakeReader:
    """The part of a bioio reader that is used: scenes, one lazy array with named axes, sizes."""

    SCENES = (PIXELS[:, :, :20], PIXELS)

    def __init__(self, path: Path) -> None:
        if path.read_bytes() != b"whole":
            raise UnsupportedFileFormatError("it is cut off")
        self.scenes, self.set = ("small", "large"), 0
        self.channel_names, self.time_interval = ["DAPI", "GFP"], timedelta(seconds=2)
        self.physical_pixel_sizes = SimpleNamespace(Z=0.5, Y=0.25, X=0.25)

    def set_scene(self, number: int) -> None:
        self.set = number

    @property
    def dims(self) -> Any:
        return SimpleNamespace(order="TZCYX")

    @property
    def xarray_dask_data(self) -> Any:
        import dask.array

        pixels = np.moveaxis(self.SCENES[self.set], 0, 1)[None]  # T, Z, C, Y, X
        lazy = dask.array.from_array(Counted(pixels), chunks=(1, 1, 2, *pixels.shape[-2:]))
        return SimpleNamespace(data=lazy, dims=tuple("TZCYX"), shape=pixels.shape)


class Counted:
    """An array that notes what is read of it."""

    read: ClassVar[list[Any]] = []

    def __init__(self, data: npt.NDArray[Any]) -> None:
        self._data = data
        self.shape, self.dtype, self.ndim = data.shape, data.dtype, data.ndim

    def __getitem__(self, index: Any) -> npt.NDArray[Any]:
        found = self._data[index]
        if found.size:  # dask asks for nothing, to see what it gets
            Counted.read.append(index)
        return found


@pytest.fixture
def nd2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An ND2 file, as far as the fake reader is concerned."""
    pytest.importorskip("dask")
    faults, reader = ModuleType("bioio_base.exceptions"), ModuleType("bioio_nd2")
    faults.UnsupportedFileFormatError = UnsupportedFileFormatError  # type: ignore[attr-defined]
    faults.UnexpectedShapeError = UnsupportedFileFormatError  # type: ignore[attr-defined]
    reader.Reader = FakeReader  # type: ignore[attr-defined]
    for module in (ModuleType("bioio_base"), faults, reader):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    Counted.read = []
    path = tmp_path / "cells.nd2"
    path.write_bytes(b"whole")
    return path


def test_a_scene_has_named_axes_channels_sizes_and_is_read_by_need(nd2: Path) -> None:
    file = read_image(nd2)
    assert (file.series, file.letters, file.channel_axis, file.axes) == (1, "ZCYX", 1, "ZYX")
    assert file.scale == (0.5, 0.25, 0.25)
    assert file.units == ("micrometer",) * 3
    assert file.choices == ((0, (3, 2, 20, 40)), (1, (3, 2, 30, 40)))
    assert any("series 1 is read" in remark for remark in file.remarks)
    assert "Channels of cells.nd2, in order: DAPI, GFP." in file.remarks
    assert Counted.read == []
    source = file.source()
    np.testing.assert_array_equal(source.read((1,), (3, 12), (5, 40)), PIXELS[:, 1, 3:12, 5:40])
    np.testing.assert_array_equal(source.read((1,), (12, 30), (0, 40)), PIXELS[:, 1, 12:])
    assert len(Counted.read) == 1  # one plane, kept for the window below
    assert read_image(nd2, series=0).data.shape == (3, 2, 20, 40)
    with pytest.raises(ImageError, match="series 0 to 1; series 2"):
        read_image(nd2, series=2)


def test_damaged_missing_and_unreadable_files_are_named(nd2: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nd2.write_bytes(b"wh")
    with pytest.raises(ImageError, match=r"cells\.nd2' cannot be read \(it is cut off\)"):
        read_image(nd2)
    with pytest.raises(LabelsError, match="not read; choose one of"):
        read_labels(nd2)
    monkeypatch.setitem(sys.modules, "bioio_nd2", None)
    with pytest.raises(ImageError, match=r"pip install 'napari-dsparse\[bioio\]'"):
        read_image(nd2)


def test_chunks_give_the_array_and_are_kept_within_a_limit() -> None:
    array = pytest.importorskip("dask.array")
    lazy = ChunkArray(array.from_array(PIXELS, chunks=(1, 2, 7, 11)), "cells")
    np.testing.assert_array_equal(np.asarray(lazy), PIXELS)
    random = np.random.default_rng(0)
    lazy.keep_at_most(2 * lazy.part_bytes)
    for _ in range(30):
        index = tuple(
            slice(*sorted(random.integers(0, n + 1, 2)), random.integers(1, 3)) for n in PIXELS.shape
        )
        np.testing.assert_array_equal(lazy[index], PIXELS[index])
    np.testing.assert_array_equal(lazy[1, ..., -3], PIXELS[1, ..., -3])
    assert sum(kept.nbytes for kept in lazy._kept.values()) == lazy._kept_bytes

    def broken(block: Any) -> Any:
        raise RuntimeError("bad\nsegment")

    lost = ChunkArray(array.from_array(PIXELS).map_blocks(broken, dtype=np.uint16), "cells.czi")
    with pytest.raises(OSError, match=r"part of cells\.czi cannot be read: bad segment"):
        lost[0]


def test_a_czi_of_zeiss_own_writer(tmp_path: Path) -> None:
    czi = pytest.importorskip("pylibCZIrw.czi")
    pytest.importorskip("bioio_czi")
    stack, colour, tiled = tmp_path / "stack.czi", tmp_path / "colour.czi", tmp_path / "tiled.czi"
    with czi.create_czi(str(stack)) as file:
        for channel, planes in enumerate(PIXELS):
            for z, plane in enumerate(planes):
                file.write(data=plane, plane={"C": channel, "Z": z, "T": 0})
        sizes = {"scale_x": 2e-7, "scale_y": 2e-7, "scale_z": 1e-6}
        file.write_metadata("stack", channel_names={0: "DAPI", 1: "GFP"}, **sizes)
    image = read_image(stack)
    assert (image.letters, image.axes) == ("CZYX", "ZYX")
    assert image.scale == pytest.approx((1, 0.2, 0.2))
    assert "Channels of stack.czi, in order: DAPI, GFP." in image.remarks
    np.testing.assert_array_equal(image.data, PIXELS)

    rgb = np.random.default_rng(0).integers(0, 255, (50, 60, 3), np.uint8)
    with czi.create_czi(str(colour)) as file:
        file.write(data=np.ascontiguousarray(rgb[..., ::-1]), plane={"C": 0})  # blue, green, red
        file.write_metadata("colour")
    image = read_image(colour)
    assert image.channel_axis == 2
    np.testing.assert_array_equal(image.data, rgb)

    plane = np.random.default_rng(0).integers(0, 60000, (200, 300), np.uint16)
    with czi.create_czi(str(tiled)) as file:
        for y in (0, 100):
            for x in (0, 100, 200):
                file.write(data=plane[y : y + 100, x : x + 100], plane={"C": 0}, location=(x, y))
        file.write_metadata("tiled")
    image = read_image(tiled)
    assert image.data.part_bytes == 100 * 100 * 2
    np.testing.assert_array_equal(image.data[90:110, 150:250], plane[90:110, 150:250])

    whole = stack.read_bytes()
    for keep in (10, len(whole) // 3, len(whole) - 40):
        stack.write_bytes(whole[:keep])
        with pytest.raises(ImageError, match=r"stack\.czi' cannot be read"):
            read_image(stack)


def test_a_lif_of_two_images(tmp_path: Path) -> None:
    pytest.importorskip("bioio_lif")
    path = tmp_path / "two.lif"
    pictures = [
        np.random.default_rng(n).integers(0, 255, shape, np.uint8)
        for n, shape in enumerate([(20, 30), (50, 60)])
    ]
    path.write_bytes(leica_file(pictures))
    image = read_image(path)
    assert (image.series, image.letters) == (1, "YX")
    assert image.scale == pytest.approx((0.5, 0.5))
    np.testing.assert_array_equal(image.data, pictures[1])
    np.testing.assert_array_equal(read_image(path, series=0).data, pictures[0])


def leica_file(pictures: list[npt.NDArray[np.uint8]]) -> bytes:
    """A LIF of planes with pixels of half a micrometre: a header in XML, and a block of memory for each."""

    def element(number: int, picture: npt.NDArray[np.uint8]) -> str:
        axes = "".join(
            f'<DimensionDescription DimID="{key}" NumberOfElements="{n}" Origin="0" '
            f'Length="{(n - 1) * 0.5e-6}" Unit="m" BitInc="0" BytesInc="{step}"/>'
            for key, n, step in ((1, picture.shape[1], 1), (2, picture.shape[0], picture.shape[1]))
        )
        return (
            f'<Element Name="image {number}" Visibility="1"><Data><Image TextDescription="">'
            "<ImageDescription><Channels>"
            '<ChannelDescription DataType="0" ChannelTag="0" Resolution="8" NameOfMeasuredQuantity="" '
            'Min="0" Max="255" Unit="" LUTName="Gray" IsLUTInverted="0" BytesInc="0" BitInc="0"/>'
            f"</Channels><Dimensions>{axes}</Dimensions></ImageDescription></Image></Data>"
            f'<Memory Size="{picture.nbytes}" MemoryBlockID="MemBlock_{number}"/></Element>'
        )

    def part(content: bytes) -> bytes:
        return struct.pack("<II", 0x70, len(content)) + content

    elements = "".join(element(number, picture) for number, picture in enumerate(pictures))
    xml = (
        '<LMSDataContainerHeader Version="2"><Element Name="two" Visibility="1"><Data/>'
        f'<Memory Size="0" MemoryBlockID="MemBlock_x"/><Children>{elements}</Children></Element>'
        "</LMSDataContainerHeader>"
    )
    file = part(struct.pack("<BI", 0x2A, len(xml)) + xml.encode("utf-16-le"))
    for number, picture in enumerate(pictures):
        name = f"MemBlock_{number}"
        told = struct.pack("<BQ", 0x2A, picture.nbytes) + struct.pack("<BI", 0x2A, len(name))
        file += part(told + name.encode("utf-16-le")) + picture.tobytes()
    return file
