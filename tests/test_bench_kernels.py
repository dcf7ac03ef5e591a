"""`python -m bench.kernels` runs to its end where there is no GPU, and says what it could not measure."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from bench import roofline
from bench.checks import error
from bench.kernels import NEEDS_A_GPU, main
from bench.measurements import KernelRow
from bench.roofline import H100, Layer, SiteLayer
from bench.targets import TARGETS, verdicts

from napari_dsparse import ops
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
    assert list(report["targets"].values()) == ["not measurable (no CUDA device)"] * len(TARGETS)
    assert "Not measured, for want of a CUDA device" in capsys.readouterr().out


def test_predicted_times_follow_from_the_counts() -> None:
    pool = Layer("", 32, 32, 2048, 2, 2).pool(winners=True)
    assert pool.seconds(H100) == (pytest.approx(pool.bytes / 3.35e12), "DRAM")
    conv = SiteLayer("", 32, 48, 1000, 2000, 25).conv()
    assert conv.flops == 2 * 1000 * 25 * 32 * 48
    assert conv.seconds(H100)[0] >= conv.flops / 67e12


def row(name: str, others: dict[str, float | None], share: float | None = None) -> KernelRow:
    return KernelRow(name, "float32", 1.0, others, share, share)


def test_targets_are_met_missed_or_not_measurable() -> None:
    rows = [
        row("max-pool 2x2, d 2", {"ATen": 3.0}, 0.8),
        row("max-pool 2x2, d 8, backward", {"ATen": 11.0}, 0.6),
        row("network forward, 2048 x 2048", {"plain PyTorch": None}),
        row("training step, 9 labels", {"masked whole image": 19.0}),
    ]
    met, failed, missed, share = (v for _, v in verdicts(rows, on_gpu=True, size=2048))
    assert (met, missed, share) == ("met (11.00)", "missed (19.00)", "missed (0.60)")
    assert "failed" in failed
    assert [v.startswith("not") for _, v in verdicts(rows, on_gpu=True, size=512)] == [
        False,
        True,
        True,
        False,
    ]
    assert all("no CUDA device" in v for _, v in verdicts(rows, on_gpu=False, size=2048))


def test_a_nan_is_an_error() -> None:
    assert error(torch.tensor([1.0, torch.nan]), torch.ones(2).double()) == math.inf


def test_the_kernels_page_shows_the_predictions_that_are_computed(capsys: pytest.CaptureFixture[str]) -> None:
    roofline.main()
    table = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    page = Path(ops.__file__).with_name("README.md").read_text(encoding="utf-8")
    assert len(table) > 30
    assert "\n".join(table) in page
