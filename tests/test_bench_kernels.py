"""`python -m bench.kernels` runs to its end where there is no GPU, and says what it could not measure."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from bench.kernels import NEEDS_A_GPU, main
from bench.roofline import H100, Layer, SiteLayer

from napari_dsparse.ops.schemas import SCHEMAS


def test_without_a_gpu_it_checks_times_and_says_what_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "results.json"
    assert main(["--device", "cpu", "--size", "70", "--seconds", "0", "--output", str(output)]) == 0
    report = json.loads(output.read_text())
    assert {check["check"].split()[0] for check in report["checks"]} >= set(SCHEMAS)
    assert all(row["seconds"] > 0 for row in report["times"])
    assert report["not_measured"] == list(NEEDS_A_GPU)
    assert "Not measured, for want of a CUDA device" in capsys.readouterr().out


def test_predicted_times_follow_from_the_counts() -> None:
    pool = Layer("", 32, 32, 2048, 2, 2).pool(winners=True)
    assert pool.seconds(H100) == (pytest.approx(pool.bytes / 3.35e12), "DRAM")
    conv = SiteLayer("", 32, 48, 1000, 2000, 25).conv()
    assert conv.flops == 2 * 1000 * 25 * 32 * 48
    assert conv.seconds(H100)[0] >= conv.flops / 67e12
