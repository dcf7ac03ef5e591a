"""Leftovers of dead processes are taken away or put back; nothing of living ones is touched."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from napari_dsparse.files import unfinished
from napari_dsparse.files.atomic import complete_or_absent
from napari_dsparse.files.unfinished import FORMER, PARTIAL, clear_leftovers, clear_leftovers_once, new_folder

#: Writes without end: the same results over and over, until it is killed.
WRITER = """
import sys
from pathlib import Path
from napari_dsparse.files import unfinished
from napari_dsparse.files.atomic import complete_or_absent

folder = Path(sys.argv[1])
print("ready", flush=True)
while True:
    for name in ("labels.tif", "labels.zarr"):
        with complete_or_absent(folder / name, overwrite=True) as partial:
            if name.endswith("zarr"):
                for i in range(20):
                    (partial / str(i)).mkdir(parents=True)
                    (partial / str(i) / "chunk").write_text("whole")
            else:
                with partial.open("w") as file:
                    for i in range(200):
                        file.write("whole" * 100)
                        file.flush()
"""


def left_by(pid: int, started: int, folder: Path, kind: str) -> Path:
    """A folder as another process on this computer leaves it."""
    _, host, _, _, number = new_folder(folder / "x", kind).name.split("-")
    left = folder / f"{kind}-{host}-{pid}-{started}-{number}"
    left.mkdir()
    return left


def dead_process() -> int:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    return ended.pid


def test_what_a_dead_process_left_is_removed_by_the_next_that_writes(tmp_path: Path) -> None:
    left = left_by(dead_process(), int(time.time()), tmp_path, PARTIAL)
    (left / "labels.zarr" / "0").mkdir(parents=True)
    with complete_or_absent(tmp_path / "new.txt") as partial:
        partial.write_text("new")
    assert [path.name for path in tmp_path.iterdir()] == ["new.txt"]


def test_what_a_living_process_writes_is_not_touched(tmp_path: Path) -> None:
    with complete_or_absent(tmp_path / "slow.txt") as slow:
        slow.write_text("half")
        with complete_or_absent(tmp_path / "quick.txt") as quick:
            quick.write_text("whole")
        assert slow.read_text() == "half"
    assert (tmp_path / "slow.txt").read_text() == "half"


def test_a_number_that_a_later_process_has_again_does_not_keep_it(tmp_path: Path) -> None:
    left_by(os.getpid(), 1000, tmp_path, PARTIAL)  # this process began long after
    clear_leftovers(tmp_path)
    assert not list(tmp_path.iterdir())


def test_what_another_computer_writes_is_left_for_a_week(tmp_path: Path) -> None:
    fresh = tmp_path / f"{PARTIAL}-aaaaaaaa-1-1000-aaaaaaaa"
    stale = tmp_path / f"{PARTIAL}-aaaaaaaa-1-1000-bbbbbbbb"
    for folder in (fresh, stale):
        folder.mkdir()
        (folder / "labels.tif").write_text("half")
    for path in (stale / "labels.tif", stale):
        os.utime(path, (1e9, 1e9))
    (tmp_path / f"{PARTIAL}-is what a user calls a folder").mkdir()
    clear_leftovers(tmp_path)
    assert fresh.exists()
    assert not stale.exists()
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("arrived", [True, False], ids=["the new one is there", "the new one is not there"])
def test_a_store_that_was_being_replaced_is_there_old_or_new(tmp_path: Path, arrived: bool) -> None:
    left = left_by(dead_process(), int(time.time()), tmp_path, FORMER)
    (left / "labels.zarr").mkdir()
    (left / "labels.zarr" / "zarr.json").write_text("old")
    if arrived:
        (tmp_path / "labels.zarr").mkdir()
        (tmp_path / "labels.zarr" / "zarr.json").write_text("new")
    clear_leftovers(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["labels.zarr"]
    assert (tmp_path / "labels.zarr" / "zarr.json").read_text() == ("new" if arrived else "old")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_killed_at_any_moment_names_hold_whole_results_and_the_next_run_cleans_up(tmp_path: Path) -> None:
    for number in range(25):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE)
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"ready\n"
        time.sleep(0.002 + 0.0043 * number)
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        writer.stdout.close()
        clear_leftovers(tmp_path)
        assert {path.name for path in tmp_path.iterdir()} <= {"labels.tif", "labels.zarr"}
        if (tmp_path / "labels.tif").exists():
            assert (tmp_path / "labels.tif").read_text() == "whole" * 20_000
        if (tmp_path / "labels.zarr").exists():
            chunks = [path.read_text() for path in (tmp_path / "labels.zarr").glob("*/chunk")]
            assert chunks == ["whole"] * 20
    assert {path.name for path in tmp_path.iterdir()} == {"labels.tif", "labels.zarr"}


def test_a_folder_is_listed_once_however_many_results_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = []
    monkeypatch.setattr(unfinished, "clear_leftovers", listed.append)
    for number in range(5):
        with complete_or_absent(tmp_path / f"{number}.txt") as partial:
            partial.write_text("whole")
    assert listed == [tmp_path]
    monkeypatch.setattr(unfinished, "_CLEARED_SECONDS", 0.0)
    clear_leftovers_once(tmp_path)
    assert listed == [tmp_path, tmp_path]
