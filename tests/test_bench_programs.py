"""Every benchmark program runs to its end on tiny sizes and prints its table; times are not judged here."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from bench import __main__ as everything
from bench import latency, loop, memory, paper, quality, report, scenes, training
from bench.report import Curves, Report

PROGRAMS: dict[str, Callable[[bool], Report]] = {
    "training": training.measure,
    "paper": paper.measure,
    "memory": memory.measure,
    "latency": latency.measure,
}


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "gemm_rate", lambda *device_and_type: 1e9)


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_quick_look_prints_a_table(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output, threads = tmp_path / "numbers.json", str(torch.get_num_threads())
    found = report.program(
        "A program.", PROGRAMS[name], ["--quick", "--threads", threads, "--json", str(output)]
    )
    printed = capsys.readouterr().out
    assert found.text in printed
    assert "| --- |" in found.text
    assert "matrix product" in printed
    assert json.loads(output.read_text())["machine"]["threads"] == threads


def test_all_programs_make_one_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    curves = Curves("speed", "Speed", "pixels", "times", {"ours": [(256, 3.0), (1024, 9.0)]})
    quick = Report("Speed", report.table(["pixels"], [[256]]), {}, (curves,))
    monkeypatch.setattr(quality, "DATA", tmp_path / "nowhere")
    for name in everything.PROGRAMS:
        if name != "quality":
            monkeypatch.setitem(everything.PROGRAMS, name, lambda is_quick: quick)
    everything.main(["--quick", "--output", str(tmp_path)])
    page = (tmp_path / "RESULTS.md").read_text()
    assert page.count("| 256 |") == len(everything.PROGRAMS) - 1
    assert "Not measured: the open data sets are not here" in page
    if "(plots/speed.svg)" in page and report.can_draw():
        assert "<svg" in (tmp_path / "plots" / "speed.svg").read_text()


def test_a_quick_look_is_no_result(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        everything.main(["--quick"])
    assert "say with --output where" in capsys.readouterr().err


def test_targets_are_met_or_missed() -> None:
    assert report.verdict(3.0, least=3) == "met (>= 3)"
    assert report.verdict(1.2, most=1, unit=" GB") == "missed (<= 1 GB)"
    assert report.verdict(math.nan, least=1).startswith("missed")


def test_strokes_are_the_same_on_larger_images_and_clicks_do_not_meet() -> None:
    small, large = (scenes.strokes((size, size)) for size in (1024, 2048))
    assert (large[:1024, :1024] == small).all()
    assert not large[1024:].any()
    assert 3000 < (small > 0).sum() < 4500
    places = scenes.clicks((400, 400), 80).nonzero()
    assert all((abs(axis[:, None] - axis)[axis[:, None] != axis] >= 80).all() for axis in places)


def test_the_loop_answers_every_stroke() -> None:
    found = loop.run(96, 64, 2)
    assert all(0 < s["classifier"] < s["first_tile"] <= s["view"] for s in found["strokes"])
    assert found["calm"] > 0
