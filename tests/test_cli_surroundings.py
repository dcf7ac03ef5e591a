"""The command line in odd surroundings: closed streams, full disks, no home, another language."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

import napari_dsparse as nd

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="shells of POSIX")

PROGRAM = f"{sys.executable} -m napari_dsparse"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("surroundings")
    image = np.random.default_rng(0).normal(0, 1, (64, 64)).astype(np.float32)
    image[:, 32:] += 6
    strokes = np.zeros((64, 64), np.uint8)
    strokes[5:20, 5:10], strokes[5:20, 50:55] = 1, 2
    np.save(folder / "image.npy", image)
    nd.train(image, strokes).save(folder / "model.safetensors")
    return folder


def shell(
    folder: Path, line: str, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    kept = dict(os.environ) if environment is None else dict(environment)
    if "PYTHONPATH" in os.environ:
        kept["PYTHONPATH"] = os.environ["PYTHONPATH"]
    return subprocess.run(
        ["bash", "-c", line], cwd=folder, env=kept, capture_output=True, text=True, timeout=120, check=False
    )


def predict(output: Path) -> str:
    return f"{PROGRAM} predict -m model.safetensors -o {output} image.npy --json"


def test_a_closed_standard_output_or_error_changes_nothing(folder: Path, tmp_path: Path) -> None:
    for number, closed in enumerate((">&-", "2>&-", ">&- 2>&-")):
        output = tmp_path / f"{number}.tif"
        ran = shell(folder, f"{predict(output)} {closed}")
        assert ran.returncode == 0, ran.stderr
        assert output.exists()
        assert "Traceback" not in ran.stdout + ran.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_where_nothing_can_be_printed_files_are_complete_and_that_is_said(
    folder: Path, tmp_path: Path
) -> None:
    output = tmp_path / "l.tif"
    ran = shell(folder, f"{predict(output)} > /dev/full")
    assert ran.returncode == 1
    assert output.exists()
    *progress, sentence = ran.stderr.splitlines()
    assert sentence.startswith("napari-dsparse predict: Standard output cannot be written (No space left")
    assert all(line.startswith("Segmenting ") for line in progress)  # of a run that takes long
    both = shell(
        folder, f"{PROGRAM} predict -m none -o {tmp_path / 'm.tif'} image.npy > /dev/full 2> /dev/full"
    )
    assert (both.returncode, both.stdout, both.stderr) == (1, "", "")


def test_a_reader_that_goes_away_ends_it_without_a_word(folder: Path) -> None:
    ran = shell(folder, f"{PROGRAM} doctor | head -1")
    assert ran.stdout.startswith("napari-dsparse")
    assert "Traceback" not in ran.stderr
    assert "Exception" not in ran.stderr


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"LC_ALL": "C"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"HOME": "/nonexistent", "XDG_CACHE_HOME": "/proc/nowhere"},
        {"TMPDIR": "/nonexistent"},
    ],
)
def test_neither_home_nor_language_is_needed(
    folder: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    (tmp_path / "µ 核.npy").write_bytes((folder / "image.npy").read_bytes())
    names = f"-o '{tmp_path}/Å.ome.tif' '{tmp_path}/µ 核.npy'"
    ran = shell(folder, f"{PROGRAM} predict -m model.safetensors {names} --json", environment)
    assert ran.returncode == 0, ran.stderr
    assert (tmp_path / "Å.ome.tif").exists()
    assert json.loads(ran.stdout.splitlines()[-1])["ok"] is True


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="there is no /proc to read signals from")
@pytest.mark.parametrize("seconds", [0.0, 0.05, 0.15, 0.3])
def test_an_early_interrupt_is_one_line(folder: Path, tmp_path: Path, seconds: float) -> None:
    output = tmp_path / "l.tif"
    program = subprocess.Popen(
        shlex.split(predict(output)),
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=heed_interrupts,
    )
    until_interrupts_are_caught(program.pid)
    time.sleep(seconds)
    program.send_signal(signal.SIGINT)
    _, said = program.communicate(timeout=60)
    if "napari_dsparse/" not in said and "Traceback" in said:  # (it may name the folder that it looks into)
        pytest.skip("Python itself had not begun")
    assert program.returncode == 130
    assert len(said.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_nothing_is_imported_before_interrupts_are_heeded() -> None:
    told = (
        "import sys; old = set(sys.modules); import napari_dsparse.__main__; print(*set(sys.modules) - old)"
    )
    there = str(Path(nd.__file__).parents[1])
    ran = subprocess.run(  # (without site, which may have imported anything)
        [sys.executable, "-S", "-c", told],
        env={**os.environ, "PYTHONPATH": there},
        capture_output=True,
        text=True,
        check=True,
    )
    assert set(ran.stdout.split()) == {"napari_dsparse", "napari_dsparse.__main__"}


def heed_interrupts() -> None:
    """Undo what a shell does to programs in the background: they inherit that interrupts are ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def until_interrupts_are_caught(pid: int) -> None:
    """Wait for Python to take over SIGINT; until then it ends any program without a word."""
    for _ in range(3000):
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        caught = next(line for line in lines if line.startswith("SigCgt:")).split()[1]
        if int(caught, 16) >> (signal.SIGINT - 1) & 1:
            return
        time.sleep(0.01)
    raise AssertionError("Python did not begin within half a minute")
