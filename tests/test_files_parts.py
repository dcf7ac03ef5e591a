"""Results in the making: arrays in files equal arrays in memory, and only what was written so counts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_dsparse.errors import ExportError
from napari_dsparse.files import parts as parts_module
from napari_dsparse.files.parts import Parts
from napari_dsparse.files.scratch import ScratchArray

SHAPES = [(7, 9), (3, 7, 9), (2, 3, 5, 4), (1, 1), (4, 300)]


@st.composite
def windows(draw: st.DrawFn, shape: tuple[int, ...], steps: bool) -> tuple[Any, ...]:
    """A window as tiles and pyramids ask for it: planes by number or span, rows and columns by span."""
    entries: list[Any] = []
    for axis, n in enumerate(shape):
        start = draw(st.integers(0, n - 1))
        stop = draw(st.integers(start + 1, n))
        step = draw(st.sampled_from([None, 1, 2, 3])) if steps else None
        whole = axis < len(shape) - 2 and draw(st.booleans())
        entries.append(start if whole else slice(start, stop, step))
    return tuple(entries)


@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
@pytest.mark.parametrize("shape", SHAPES)
def test_an_array_in_a_file_equals_one_in_memory(
    tmp_path_factory: pytest.TempPathFactory, shape: tuple[int, ...], dtype: str
) -> None:
    path = tmp_path_factory.mktemp("scratch") / "array"
    stored, memory = ScratchArray(path, shape, dtype), np.zeros(shape, dtype)
    rng = np.random.default_rng(0)

    @settings(max_examples=40, deadline=None)
    @given(windows(shape, steps=False), windows(shape, steps=True))
    def check(written: tuple[Any, ...], read: tuple[Any, ...]) -> None:
        block = rng.integers(0, 200, memory[written].shape).astype(dtype)
        stored[written] = block
        memory[written] = block
        found = stored[read]
        assert found.dtype == memory.dtype
        np.testing.assert_array_equal(found, memory[read])

    check()
    np.testing.assert_array_equal(np.asarray(stored), memory)
    np.testing.assert_array_equal(stored[0], memory[0])
    np.testing.assert_array_equal(stored[..., 0], memory[..., 0])
    stored.close()
    np.testing.assert_array_equal(ScratchArray(path, shape, dtype)[...], memory)


KEY = {"model": "a", "image": "b"}
ARRAYS: Any = {"labels": ((6, 8), "u1"), "probabilities": ((2, 6, 8), "f4")}
WINDOWS = [(slice(0, 3), slice(0, 8)), (slice(3, 6), slice(0, 4)), (slice(3, 6), slice(4, 8))]


def values(number: int) -> dict[str, np.ndarray]:
    rows, columns = (part.stop - part.start for part in WINDOWS[number])
    rng = np.random.default_rng(number)
    return {"labels": rng.integers(1, 3, (rows, columns)), "probabilities": rng.random((2, rows, columns))}


def interrupted(final: Path, numbers: tuple[int, ...] = (0, 2)) -> Path:
    """The folder of a run that ended after some of the windows."""
    parts = Parts(final, KEY, ARRAYS, resume=False)
    for number in numbers:
        parts.put(number, WINDOWS[number], values(number))
    parts.close(keep=True)
    return parts.folder


def test_the_next_run_goes_on_from_what_is_there(tmp_path: Path) -> None:
    interrupted(tmp_path / "l.tif")
    parts = Parts(tmp_path / "l.tif", KEY, ARRAYS, resume=True)
    assert parts.resumed
    assert parts.missing(WINDOWS) == [1]
    parts.put(1, WINDOWS[1], values(1))
    for number, window in enumerate(WINDOWS):
        for name, array in parts.arrays.items():
            np.testing.assert_array_equal(array[(..., *window)], values(number)[name].astype(array.dtype))
    parts.close(keep=False)
    assert not list(tmp_path.iterdir())


def test_another_result_beside_it_is_another_one(tmp_path: Path) -> None:
    interrupted(tmp_path / "l.tif")
    other = Parts(tmp_path / "other.tif", KEY, ARRAYS, resume=True)
    assert not other.left
    other.close(keep=False)
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("name", ["labels", "probabilities"])
def test_a_part_that_is_not_as_it_was_written_is_missing(tmp_path: Path, name: str) -> None:
    folder = interrupted(tmp_path / "l.tif")
    content = bytearray((folder / name).read_bytes())
    content[-1] ^= 1  # in window 2
    (folder / name).write_bytes(content)
    parts = Parts(tmp_path / "l.tif", KEY, ARRAYS, resume=True)
    assert parts.missing(WINDOWS) == [1, 2]


def test_a_file_that_was_cut_short_is_missing_there(tmp_path: Path) -> None:
    folder = interrupted(tmp_path / "l.tif")
    (folder / "labels").write_bytes((folder / "labels").read_bytes()[:24])
    (folder / "probabilities").unlink()
    parts = Parts(tmp_path / "l.tif", KEY, ARRAYS, resume=True)
    assert parts.missing(WINDOWS) == [0, 1, 2]


@pytest.mark.parametrize("damage", ["", "{", "[1, 2]\n", "\x00\x00", '{"key": {}}\n', None])
def test_a_damaged_journal_is_none(tmp_path: Path, damage: str | None) -> None:
    folder = interrupted(tmp_path / "l.tif")
    if damage is None:
        (folder / "journal").unlink()
    else:
        (folder / "journal").write_text(damage)
    parts = Parts(tmp_path / "l.tif", KEY, ARRAYS, resume=True)
    assert not parts.resumed
    assert parts.missing(WINDOWS) == [0, 1, 2]


def test_a_journal_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    folder = interrupted(tmp_path / "l.tif")
    for added in ('[1, ["ab', '[99, ["x"]]\n', "null\n", "[[1], 2]\n", "[5]\n"):
        with (folder / "journal").open("a") as journal:
            journal.write(added)
        parts = Parts(tmp_path / "l.tif", KEY, ARRAYS, resume=True)
        assert parts.missing(WINDOWS) == [1]
        parts.close(keep=True)


@pytest.mark.parametrize(
    ("key", "arrays"),
    [
        ({**KEY, "model": "other"}, ARRAYS),
        (KEY, {**ARRAYS, "labels": ((6, 8), "u2")}),
        (KEY, {"labels": ARRAYS["labels"]}),
    ],
)
def test_parts_of_another_model_image_or_kind_do_not_count(
    tmp_path: Path, key: dict[str, str], arrays: Any
) -> None:
    interrupted(tmp_path / "l.tif")
    parts = Parts(tmp_path / "l.tif", key, arrays, resume=True)
    assert (parts.left, parts.resumed) == (True, False)
    assert not parts.arrays["labels"][...].any()


def test_what_is_there_does_not_count_unasked(tmp_path: Path) -> None:
    interrupted(tmp_path / "l.tif")
    parts = Parts(tmp_path / "l.tif", KEY, ARRAYS, resume=False)
    assert (parts.left, parts.resumed) == (True, False)
    assert parts.missing(WINDOWS) == [0, 1, 2]


def test_two_processes_do_not_write_one_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = Parts(tmp_path / "l.tif", KEY, ARRAYS, resume=False)
    first.put(0, WINDOWS[0], values(0))
    monkeypatch.setattr(parts_module, "owner", lambda: "another")
    with pytest.raises(ExportError, match="Another process is writing"):
        Parts(tmp_path / "l.tif", KEY, ARRAYS, resume=True)
    monkeypatch.undo()
    assert first.missing(WINDOWS) == [0, 1, 2]  # those of a former run; there was none
    journal = [json.loads(line) for line in (first.folder / "journal").read_text().splitlines()[1:]]
    assert [number for number, _ in journal] == [0]
