"""Times that were measured serve again; whatever else lies in the cache folder, nothing fails."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

import pytest

from napari_dsparse.machine import cache
from napari_dsparse.machine.measured import MeasuredTimes, fastest


@dataclass(frozen=True)
class Work:
    """Something that is timed."""

    size: int


def measured(folder: Path, content: bytes | None) -> tuple[object, int]:
    """Find work whose entry holds `content`, as a new process does; with how often it was measured."""
    times: MeasuredTimes[Work] = MeasuredTimes(".test")
    name = times._entry(Work(3))
    if content is not None:
        folder.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)
    count = 0

    def measure() -> dict[str, float]:
        nonlocal count
        count += 1
        return {"a": 1.0, "b": 2.0}

    return times.find_or_measure(Work(3), measure), count


def sealed(value: object) -> bytes:
    content = json.dumps(value).encode() if not isinstance(value, bytes) else value
    return content + hashlib.sha256(content).digest()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.mark.parametrize(
    "entry",
    [
        b"",
        b"short",
        sealed({"work": {"size": 3}, "seconds": {"a": 5.0}})[:-1],
        sealed(b"no JSON"),
        sealed([]),
        sealed({}),
        sealed({"work": {"size": 3}}),
        sealed({"work": 3, "seconds": {"a": 1.0}}),
        sealed({"work": {"size": 3}, "seconds": [1, 2]}),
        sealed({"work": {"size": 3}, "seconds": {"a": None}}),
        sealed({"work": {"size": 3}, "seconds": {"a": -1.0}}),
    ],
)
def test_an_entry_of_another_shape_is_measured_anew(folder: Path, entry: bytes) -> None:
    assert measured(folder, entry) == ({"a": 1.0, "b": 2.0}, 1)
    assert measured(folder, None) == ({"a": 1.0, "b": 2.0}, 0)
    times: MeasuredTimes[Work] = MeasuredTimes(".test")
    assert [seconds for _, seconds in times.kept()] == [{"a": 1.0, "b": 2.0}]


def test_an_entry_without_the_usual_one_changes_nothing() -> None:
    assert fastest({"b": 1.0}, "a", 0.75) == "a"
    assert fastest({"a": 2.0, "b": 1.0}, "a", 0.75) == "b"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_in_the_folder_is_not_waited_for(folder: Path) -> None:
    folder.mkdir()
    times: MeasuredTimes[Work] = MeasuredTimes(".test")
    os.mkfifo(folder / times._entry(Work(3)))
    os.mkfifo(folder / "other.test")
    found: list[object] = []
    thread = threading.Thread(
        target=lambda: found.extend([measured(folder, None), list(times.kept())]), daemon=True
    )
    thread.start()
    thread.join(10)
    assert found == [({"a": 1.0, "b": 2.0}, 1), [({"size": 3}, {"a": 1.0, "b": 2.0})]]


@pytest.mark.parametrize("kind", ["a file", "a folder of that name", "read-only", "no home"])
def test_where_nothing_can_be_kept_nothing_is_chosen_by_time(
    folder: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    times: MeasuredTimes[Work] = MeasuredTimes(".test")
    if kind == "a file":
        folder.touch()
    elif kind == "a folder of that name":
        (folder / times._entry(Work(3))).mkdir(parents=True)
    elif kind == "read-only":
        if sys.platform == "win32" or os.geteuid() == 0:
            monkeypatch.setenv(cache.VARIABLE, "/proc/no/such/place")
        else:
            folder.mkdir(mode=0o500)
    else:
        monkeypatch.setattr(cache, "cache_folder", lambda: None)
    assert measured(folder, None)[0] is None
