"""One program at a time: the lock says who has it, and outlives nobody."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from napari_dsparse.errors import ProjectError
from napari_dsparse.files.lock import LOCK, FolderLock, held_elsewhere, remove_held_elsewhere
from napari_dsparse.files.unfinished import owner

#: Locks a folder, says so, and waits.
HOLDER = """
import sys
from pathlib import Path
from napari_dsparse.files.lock import FolderLock
try:
    lock = FolderLock(Path(sys.argv[1]))
    print("locked", flush=True)
except ValueError as error:
    print(error, flush=True)
sys.stdin.read()
"""


def start_holder(folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def said_by(holder: subprocess.Popen[str]) -> str:
    assert holder.stdout is not None
    return holder.stdout.readline().strip()


def end(holder: subprocess.Popen[str]) -> None:
    holder.kill()
    holder.communicate()


def change_lock(folder: Path, **fields: object) -> None:
    content = json.loads((folder / LOCK).read_text())
    (folder / LOCK).write_text(json.dumps({**content, **fields}))


def test_a_lock_is_a_file_that_goes_when_it_is_released(tmp_path: Path) -> None:
    lock = FolderLock(tmp_path)
    lock.check()
    assert f"-{os.getpid()}-" in json.loads((tmp_path / LOCK).read_text())["owner"]
    lock.release()
    assert not list(tmp_path.iterdir())
    with pytest.raises(ProjectError, match="no longer open"):
        lock.check()
    lock.release()


def test_a_lock_goes_with_its_last_reference(tmp_path: Path) -> None:
    lock = FolderLock(tmp_path)
    del lock
    gc.collect()
    assert not list(tmp_path.iterdir())


def test_another_program_is_named_and_a_dead_one_is_followed(tmp_path: Path) -> None:
    holder = start_holder(tmp_path)
    assert said_by(holder) == "locked"
    with pytest.raises(
        ProjectError, match=rf"process {holder.pid}\) since 2\d+.*close it there first"
    ) as told:
        FolderLock(tmp_path)
    assert "\n" not in str(told.value)
    end(holder)
    lock = FolderLock(tmp_path)
    lock.check()
    assert [path.name for path in tmp_path.iterdir()] == [LOCK]


def test_the_same_program_opens_it_once(tmp_path: Path) -> None:
    lock = FolderLock(tmp_path)
    with pytest.raises(ProjectError, match="in this program already"):
        FolderLock(tmp_path)
    lock.check()


def test_of_several_that_follow_a_dead_one_one_gets_the_lock(tmp_path: Path) -> None:
    dead = start_holder(tmp_path)
    assert said_by(dead) == "locked"
    end(dead)
    holders = [start_holder(tmp_path) for _ in range(4)]
    said = [said_by(holder) for holder in holders]
    assert said.count("locked") == 1, said
    assert sum("is open in" in line for line in said) == 3, said
    for holder in holders:
        end(holder)


def test_a_number_that_a_later_process_has_again_is_no_owner(tmp_path: Path) -> None:
    lock = FolderLock(tmp_path)
    host, pid, _ = owner().split("-")
    change_lock(tmp_path, owner=f"{host}-{pid}-1000")
    again = FolderLock(tmp_path)
    again.check()
    lock.release()  # it was another's by then
    again.check()


def test_a_program_of_another_computer_may_be_alive(tmp_path: Path) -> None:
    lock = FolderLock(tmp_path)
    change_lock(tmp_path, owner="aaaaaaaa-1-1000", computer="microscope-3")
    with pytest.raises(ProjectError, match=r"on the computer 'microscope-3' .* remove the file .*lock.json'"):
        FolderLock(tmp_path)
    held = held_elsewhere(tmp_path)
    assert held is not None
    remove_held_elsewhere(tmp_path, held.replace("microscope-3", "microscope-4"))
    assert held_elsewhere(tmp_path) == held  # another one has it than was told of
    remove_held_elsewhere(tmp_path, held)
    FolderLock(tmp_path).check()
    lock.release()


def test_a_lock_that_was_taken_away_is_noticed(tmp_path: Path) -> None:
    lock = FolderLock(tmp_path)
    (tmp_path / LOCK).unlink()
    with pytest.raises(ProjectError, match="open it again"):
        lock.check()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"owner": 3}', '{"owner": "x"}', "\0\1"])
def test_a_damaged_lock_is_said_to_be_one(tmp_path: Path, content: str) -> None:
    (tmp_path / LOCK).write_text(content)
    with pytest.raises(ProjectError, match="remove that file if no program has the project open"):
        FolderLock(tmp_path)
    assert (tmp_path / LOCK).read_text() == content


@pytest.mark.skipif(os.name != "posix" or os.getuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_to_is_said_to_be_one(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(ProjectError, match="cannot be locked"):
            FolderLock(tmp_path)
    finally:
        tmp_path.chmod(0o700)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_does_not_give_the_lock_up(tmp_path: Path) -> None:
    lock = FolderLock(tmp_path)
    child = os.fork()
    if child == 0:
        lock.release()
        os._exit(0)
    os.waitpid(child, 0)
    lock.check()
