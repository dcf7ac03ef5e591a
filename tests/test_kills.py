"""Kills -9: names hold whole results, the next run goes on, and windows lose nothing that was saved."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.alone

ROOT = Path(__file__).parents[1]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot fork")
def test_killed_at_any_moment_no_name_holds_half_a_result(tmp_path: Path) -> None:
    pytest.importorskip("zarr")
    ran = subprocess.run(
        [sys.executable, "-m", "tests.killing", "--kills", "6", "--edge", "260", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    found = json.loads(ran.stdout[ran.stdout.index("[\n") :])
    assert [one["job"] for one in found] == ["ome-tiff", "ome-zarr", "png", "train"]
    assert sum(one["killed"] for one in found) >= 12


@pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot fork")
def test_killed_windows_lose_nothing_that_was_saved(tmp_path: Path) -> None:
    pytest.importorskip("napari")
    ran = subprocess.run(
        [sys.executable, "-m", "tests.killing_windows", "--kills", "3", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    found = json.loads(ran.stdout[ran.stdout.index("{\n") :])
    assert found["kills"] == 3
    assert found["strokes painted"] > 0
