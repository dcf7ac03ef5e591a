"""Windows of a TIFF, read strip by strip or tile by tile, hold what tifffile reads whole."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_dsparse.images import tiff_array
from napari_dsparse.images.boxes import box_of
from napari_dsparse.images.tiff_array import TiffArray

RNG = np.random.default_rng(0)


def noise(*shape: int, dtype: Any = np.uint16) -> np.ndarray:
    return RNG.integers(0, 200, shape).astype(dtype)


#: How the same pixels can be stored: keyword arguments of tifffile, shape and dtype.
LAYOUTS: dict[str, tuple[dict[str, Any], tuple[int, ...], Any]] = {
    "one strip": ({"rowsperstrip": 70}, (70, 53), "u2"),
    "strips": ({"rowsperstrip": 16}, (70, 53), "u2"),
    "strips, zlib": ({"rowsperstrip": 16, "compression": "zlib"}, (70, 53), "u2"),
    "lzw": ({"rowsperstrip": 9, "compression": "lzw", "predictor": True}, (70, 53), "u1"),
    "packbits": ({"rowsperstrip": 9, "compression": "packbits"}, (70, 53), "u1"),
    "float, predicted": ({"compression": "zlib", "predictor": 3}, (70, 53), "f4"),
    "tiles": ({"tile": (32, 16)}, (70, 53), "u2"),
    "tiles, zstd": ({"tile": (32, 16), "compression": "zstd"}, (70, 53), "u2"),
    "tiles, jpeg": ({"tile": (32, 16), "compression": "jpeg"}, (70, 53), "u1"),
    "big endian": ({"byteorder": ">"}, (70, 53), "u2"),
    "big endian, lzw": ({"byteorder": ">", "compression": "lzw"}, (70, 53), "i2"),
    "colour": ({"photometric": "rgb"}, (70, 53, 3), "u1"),
    "colour, jpeg": ({"photometric": "rgb", "tile": (32, 32), "compression": "jpeg"}, (70, 53, 3), "u1"),
    "colour, apart": ({"photometric": "rgb", "planarconfig": "separate"}, (3, 70, 53), "u1"),
    "colour, apart, tiles": (
        {"photometric": "rgb", "planarconfig": "separate", "tile": (16, 16), "compression": "zlib"},
        (3, 70, 53),
        "u1",
    ),
    "stack": ({}, (5, 30, 21), "u2"),
    "stack, zlib": ({"compression": "zlib"}, (5, 30, 21), "f4"),
    "stack of ImageJ": ({"imagej": True, "metadata": {"axes": "ZYX"}}, (5, 30, 21), "u2"),
    "stack in time, OME": ({"ome": True, "metadata": {"axes": "TZCYX"}}, (2, 3, 2, 20, 21), "u2"),
    "in depth": ({"volumetric": True, "tile": (16, 16, 16)}, (20, 30, 21), "u2"),
    "bits": ({}, (70, 53), "?"),
    "one row": ({}, (1, 53), "u2"),
    "one column": ({}, (70, 1), "u2"),
    "thin": ({}, (70, 2), "u2"),
    "wide": ({"rowsperstrip": 8}, (12, 20_000), "u2"),
}


def stored(folder: Path, layout: str) -> tuple[np.ndarray, TiffArray]:
    options, shape, dtype = LAYOUTS[layout]
    data = noise(*shape, dtype=dtype)
    path = folder / "cells.tif"
    tifffile.imwrite(path, data, **{"photometric": "minisblack", **options})
    with tifffile.TiffFile(path) as tiff:
        assert TiffArray.fits(tiff.series[0])
        return tiff.series[0].asarray(), TiffArray(tiff.series[0])


@st.composite
def indices(draw: st.DrawFn, shape: tuple[int, ...]) -> tuple[Any, ...]:
    """Any of numpy's basic indices that suit a shape."""
    entries: list[Any] = []
    for n in shape[: draw(st.integers(0, len(shape)))]:
        whole = st.integers(-n, n - 1)
        bound = st.none() | st.integers(-n - 2, n + 2)
        step = st.none() | st.sampled_from([1, 2, 3, -1, -2])
        entries.append(draw(whole | st.builds(slice, bound, bound, step)))
    if draw(st.booleans()):
        entries.append(Ellipsis)
    return tuple(entries)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_window_of_any_layout_is_read(tmp_path_factory: pytest.TempPathFactory, layout: str) -> None:
    whole, lazy = stored(tmp_path_factory.mktemp("tiff"), layout)
    lazy.keep_at_most(3000)  # some segments are let go and read anew
    assert (lazy.shape, lazy.ndim, len(lazy)) == (whole.shape, whole.ndim, len(whole))
    assert lazy.dtype == whole.dtype.newbyteorder("=")

    @settings(max_examples=25, deadline=None)
    @given(indices(whole.shape))
    def check(index: tuple[Any, ...]) -> None:
        found = lazy[index]
        np.testing.assert_array_equal(found, whole[index])
        assert found.dtype == lazy.dtype

    check()
    np.testing.assert_array_equal(np.asarray(lazy), whole)


def test_wrong_indices_are_refused_as_numpy_does(tmp_path: Path) -> None:
    _, lazy = stored(tmp_path, "stack")
    for wrong in ((5,), (0, 0, 0, 0), (-6,)):
        with pytest.raises(IndexError):
            lazy[wrong]


def test_an_index_costs_nothing_by_the_sizes_that_a_file_claims() -> None:
    far = 2**60
    box, picks = box_of((slice(None), slice(None, None, -3), far - 1), (far, 2 * far, far))
    assert box == [(0, far), ((2 * far - 1) % 3, 2 * far), (far - 1, far)]
    assert picks == (slice(None, None, 1), slice(None, None, -3), 0)


def test_only_what_a_window_touches_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counts: list[int] = []
    read = tiff_array._Files.read

    def counting(self: Any, path: Path, offset: int, count: int) -> bytes:
        counts.append(count)
        return read(self, path, offset, count)

    monkeypatch.setattr(tiff_array._Files, "read", counting)
    data = noise(512, 512)
    path = tmp_path / "cells.tif"
    for options in ({"tile": (64, 64), "compression": "zlib"}, {"rowsperstrip": 512}):
        tifffile.imwrite(path, data, **options)
        with tifffile.TiffFile(path) as tiff:
            lazy = TiffArray(tiff.series[0])
        counts.clear()
        np.testing.assert_array_equal(lazy[100:140, 200:230], data[100:140, 200:230])
        assert 0 < sum(counts) <= 2 * 2 * 64 * 64 * 2 + 40 * 512 * 2
        counts.clear()
        lazy[100:140, 200:230]
        assert bool(counts) == ("tile" not in options)  # decoded tiles are kept


def test_planes_never_written_are_the_files_empty_value(tmp_path: Path) -> None:
    path = tmp_path / "cells.tif"
    with tifffile.TiffWriter(path) as tiff:
        tiles = (tile for tile in (noise(16, 16), None, noise(16, 16), None))
        tiff.write(tiles, shape=(32, 32), dtype="u2", tile=(16, 16), compression="zlib")
    with tifffile.TiffFile(path) as tiff:
        whole, lazy = tiff.series[0].asarray(), TiffArray(tiff.series[0])
    assert whole.any()
    np.testing.assert_array_equal(lazy[...], whole)


def test_a_set_of_more_files_than_may_be_open_is_read(tmp_path: Path) -> None:
    data = noise(40, 20, 20)
    names = [f"z{i}.ome.tif" for i in range(len(data))]
    planes = "".join(
        f'<TiffData FirstZ="{i}" IFD="0" PlaneCount="1">'
        f'<UUID FileName="{name}">urn:uuid:{i}</UUID></TiffData>'
        for i, name in enumerate(names)
    )
    for i, (name, plane) in enumerate(zip(names, data, strict=True)):
        xml = (
            f'<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:{i}">'
            '<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint16" SizeX="20" '
            f'SizeY="20" SizeZ="{len(data)}" SizeC="1" SizeT="1">'
            f'<Channel ID="Channel:0" SamplesPerPixel="1"/>{planes}</Pixels></Image></OME>'
        )
        tifffile.imwrite(tmp_path / name, plane, description=xml, metadata=None)
    with tifffile.TiffFile(tmp_path / "z7.ome.tif") as tiff:
        lazy = TiffArray(tiff.series[0])
    np.testing.assert_array_equal(lazy[...], data)
    assert len(lazy._readers[0]._files._open) <= 16  # type: ignore[attr-defined]


@pytest.mark.parametrize("layout", ["one strip", "tiles, zstd", "stack of ImageJ"])
def test_a_file_cut_short_while_it_is_read_raises_and_does_not_kill(tmp_path: Path, layout: str) -> None:
    _, lazy = stored(tmp_path, layout)
    path = tmp_path / "cells.tif"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(OSError, match=r"cells\.tif"):
        lazy[...]
    path.unlink()


def test_a_damaged_part_is_named(tmp_path: Path) -> None:
    _, lazy = stored(tmp_path, "strips, zlib")
    path = tmp_path / "cells.tif"
    content = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as tiff:
        start = tiff.pages.first.dataoffsets[2]
    content[start : start + 8] = b"damaged!"
    path.write_bytes(content)
    lazy[:30]
    with pytest.raises(OSError, match=r"cells\.tif cannot be decoded"):
        lazy[40]


def test_threads_read_side_by_side(tmp_path: Path) -> None:
    whole, lazy = stored(tmp_path, "tiles, zstd")
    lazy.keep_at_most(2000)

    def differing(first: int) -> list[int]:
        tops = [(first + 7 * i) % 50 for i in range(60)]
        return [t for t in tops if not np.array_equal(lazy[t : t + 20, 3:40], whole[t : t + 20, 3:40])]

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(differing, range(0, 44, 11))) == [[]] * 4


def test_values_are_turned_round_and_transparency_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "cells.tif"
    data = noise(20, 30, 4, dtype=np.uint8)
    tifffile.imwrite(path, data, photometric="rgb", extrasamples=["unassalpha"])
    with tifffile.TiffFile(path) as tiff:
        lazy = TiffArray(tiff.series[0], drop_last_sample=True, invert=True)
    assert lazy.shape == (20, 30, 3)
    np.testing.assert_array_equal(lazy[5:, :, 1:], 255 - data[5:, :, 1:3])
    np.testing.assert_array_equal(lazy[..., -1], 255 - data[..., 2])
