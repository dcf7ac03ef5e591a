"""Arrays in chunks behave as numpy's do, whatever fits into memory."""

from __future__ import annotations

import gc
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from napari_dsparse.classifier.classes import default_classes
from napari_dsparse.files import chunked
from napari_dsparse.files.chunk_store import ChunkStore
from napari_dsparse.files.chunked import ChunkedArray
from napari_dsparse.files.export import export_labels

SHAPE = (2, 30, 41)
spans = st.tuples(st.integers(0, 45), st.integers(0, 45)).map(lambda ends: slice(min(ends), max(ends)))
windows = st.tuples(st.one_of(st.integers(-2, 1), st.just(slice(None))), spans, spans)


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunked, "CHUNK", 8)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(windows, st.integers(0, 250)), max_size=8), windows, st.sampled_from([1, 300, 10**6])
)
def test_it_is_written_and_read_like_an_array(small_chunks, tmp_path, writes, window, most_bytes):  # type: ignore[no-untyped-def]
    array = ChunkedArray(SHAPE, np.uint8, ChunkStore(most_bytes, tmp_path))
    plain = np.zeros(SHAPE, np.uint8)
    for number, (index, value) in enumerate(writes):
        before, kept = array.copy(), plain.copy()
        values = (np.arange(plain[index].size).reshape(plain[index].shape) % 7 * value).astype(np.uint8)
        array[index], plain[index] = values, values
        if number % 3 == 0:
            np.testing.assert_array_equal(before[...], kept)
    np.testing.assert_array_equal(array[window], plain[window])
    np.testing.assert_array_equal(array[0, 1::3, ::4], plain[0, 1::3, ::4])
    np.testing.assert_array_equal(np.asarray(array), plain)
    array.apply(lambda values: np.where(values == 7, 9, values).astype(np.uint8))
    np.testing.assert_array_equal(array[...], np.where(plain == 7, 9, plain))


def test_only_what_is_written_takes_memory_and_the_rest_goes_to_a_file(tmp_path: Path) -> None:
    store = ChunkStore(3 * chunked.CHUNK**2, tmp_path / "here")
    array = ChunkedArray((100_000, 100_000), np.uint8, store)
    assert array[50_000:50_100, :80].sum() == 0
    for number in range(6):
        array[1000 * number : 1000 * number + 10, 99_000:99_010] = number
    assert store.file_bytes == 2 * chunked.CHUNK**2, "five chunks were written to, three of them fit"
    assert [int(array[1000 * n + 9, 99_009]) for n in range(6)] == list(range(6))
    assert not list((tmp_path / "here").iterdir()), "the file has no name that a killed process could leave"


def test_a_full_disk_is_said_and_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = ChunkStore(chunked.CHUNK**2, tmp_path)
    array = ChunkedArray((2000, 2000), np.uint8, store)
    array[:10, :10] = 1

    def full(chunk: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store, "_write", full)
    with pytest.raises(OSError, match="No space"):
        array[1500:1510, :10] = 2
    assert array[5, 5] == 1
    assert array[1505, 5] == 2


def _full(chunk: object) -> None:
    raise OSError(28, "No space left on device")


def test_a_full_disk_stops_neither_reading_nor_the_rest_of_a_window(
    small_chunks: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = ChunkStore(64, tmp_path)
    array = ChunkedArray((8, 24), np.uint8, store)
    array[:, :8] = 1
    array[:, 8:16] = 2  # the first is in the file
    snapshot = array.copy()
    monkeypatch.setattr(store, "_write", _full)
    np.testing.assert_array_equal(array[0], [1] * 8 + [2] * 8 + [0] * 8)
    with pytest.raises(OSError, match="No space"):
        array[2:4] = 3
    assert (array[2:4] == 3).all()
    np.testing.assert_array_equal(snapshot[2], [1] * 8 + [2] * 8 + [0] * 8)
    with pytest.raises(OSError, match="No space"):
        array.apply(lambda values: np.where(values > 0, values + 5, values).astype(np.uint8))
    wanted = np.tile(np.repeat(np.uint8([6, 7, 0]), 8), (8, 1))
    wanted[2:4] = 8
    np.testing.assert_array_equal(array[...], wanted)
    array.add(snapshot)  # nothing is written: it is added as it is read
    np.testing.assert_array_equal(array[...], wanted + snapshot[...])
    monkeypatch.undo()
    monkeypatch.setattr(chunked, "CHUNK", 8)
    array[0, 0] = 99
    assert store._used == 64, "there is room again, and it is taken"
    assert (array[0, 0], array[1, 1], array[2, 23]) == (99, 7, 8)


def test_what_nobody_has_any_more_leaves_its_room(small_chunks: None, tmp_path: Path) -> None:
    store = ChunkStore(128, tmp_path)
    array = ChunkedArray((8, 32), np.uint8, store)
    for number in range(1, 30):
        snapshot = array.copy()
        array[...] = number
        assert (snapshot[...] == number - 1).all()
    del snapshot
    assert store.file_bytes <= 8 * 64, "four chunks, and four of a snapshot"
    assert (array[...] == 29).all()
    del array
    other = ChunkedArray((8, 32), np.uint8, store)
    other[...] = 5
    assert store._used <= 128
    assert store.file_bytes <= 8 * 64
    assert (other[...] == 5).all()


def test_a_large_one_is_exported_window_by_window(tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile")
    array = ChunkedArray((1300, 700), np.uint8, ChunkStore(2 * chunked.CHUNK**2, tmp_path))
    wanted = (np.arange(1300 * 700).reshape(1300, 700) // 777 % 3).astype(np.uint8)
    array[...] = wanted
    export_labels(tmp_path / "labels.ome.tif", array, classes=default_classes(2))
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "labels.ome.tif"), wanted)
    zarr = pytest.importorskip("zarr")
    export_labels(tmp_path / "labels.ome.zarr", array, classes=default_classes(2))
    level = zarr.open_group(str(tmp_path / "labels.ome.zarr"))["labels/segmentation/1"]
    np.testing.assert_array_equal(level[...], wanted[::2, ::2])


@pytest.mark.skipif(sys.platform == "win32", reason="a process is killed by a signal")
def test_a_killed_process_leaves_no_file(tmp_path: Path) -> None:
    program = f"""
import os, signal, numpy as np, pathlib
from napari_dsparse.files.chunk_store import ChunkStore
from napari_dsparse.files.chunked import ChunkedArray
array = ChunkedArray((4000, 4000), np.uint8, ChunkStore(1, pathlib.Path({str(tmp_path)!r})))
array[...] = 1
os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", program]).returncode == -9
    gc.collect()
    assert not list(tmp_path.iterdir())


def test_changes_are_made_as_values_are_read_and_kept_where_it_is_written(
    small_chunks: None, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    store = ChunkStore(300, tmp_path)
    arrays = [ChunkedArray(SHAPE, np.uint8, store) for _ in range(2)]
    plain = [rng.integers(0, 5, SHAPE).astype(np.uint8) for _ in range(2)]
    plain[0][:, :, 20:] = plain[1][:, :20] = 0
    for array, values in zip(arrays, plain, strict=True):
        array[...] = values
    table = np.array([0, 3, 1, 7, 2], np.uint8)
    before = arrays[0].copy()
    arrays[0].look_up(table)
    arrays[0].add(arrays[1])
    arrays[1][...] = 9
    wanted = table[plain[0]] + plain[1]
    np.testing.assert_array_equal(arrays[0][1, 3:29:2, 1::3], wanted[1, 3:29:2, 1::3])
    for array in (arrays[0], arrays[0].copy()):
        np.testing.assert_array_equal(np.asarray(array), wanted)
        places = np.array([0, 1, 1]), np.array([29, 0, 7]), np.array([40, 3, 8])
        np.testing.assert_array_equal(array[places], wanted[places])
    np.testing.assert_array_equal(np.asarray(before), plain[0], "a copy made before stays")
    assert not arrays[0].is_same(before)
    arrays[0][0, 5:20, 5:33] = wanted[0, 5:20, 5:33] = 6
    arrays[0].look_up(np.arange(256, dtype=np.uint8)[::-1] * (np.arange(256) > 0))
    np.testing.assert_array_equal(np.asarray(arrays[0]), np.where(wanted, 255 - wanted, 0))
