"""Progress is drawn on a terminal, and logged where there is none."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from napari_dsparse.cli import progress, report
from napari_dsparse.cli.progress import Progress
from napari_dsparse.cli.report import Report


class Clock:
    """Time that passes when a test says so."""

    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(report, "time", clock)
    return clock


def logged(clock: Clock, capsys: Any, seconds: float, steps: int = 1000) -> list[str]:
    """Lines that a job of `seconds` leaves in a log."""
    job = Report("predict")
    for step in range(1, steps + 1):
        clock.now += seconds / steps
        job.progress(f"{100 * step // steps} %", step / steps)
    said = capsys.readouterr()
    assert said.out == ""
    return said.err.splitlines()


def test_a_log_gets_a_line_for_every_tenth_of_the_work(clock: Clock, capsys: Any) -> None:
    lines = logged(clock, capsys, 200)
    assert lines == [f"{10 * tenth} %" for tenth in range(1, 11)]


def test_a_log_of_long_work_gets_a_line_every_half_minute(clock: Clock, capsys: Any) -> None:
    lines = logged(clock, capsys, 3000, steps=30_000)
    assert 95 <= len(lines) <= 105


def test_short_work_leaves_no_line_in_a_log(clock: Clock, capsys: Any) -> None:
    assert logged(clock, capsys, 9.9) == []


def test_each_image_of_several_is_logged(clock: Clock, capsys: Any) -> None:
    job = Report("predict")
    for image in ("a", "b"):
        for tenth in range(1, 11):
            clock.now += 12
            job.progress(f"{image}: {10 * tenth} %", tenth / 10)
    lines = capsys.readouterr().err.splitlines()
    assert [line for line in lines if line.startswith("a")] == [f"a: {10 * t} %" for t in range(1, 11)]
    assert [line for line in lines if line.startswith("b")] == [f"b: {10 * t} %" for t in range(1, 11)]


def test_work_of_unknown_length_is_logged_every_half_minute(clock: Clock, capsys: Any) -> None:
    job = Report("train")
    for step in range(100):
        clock.now += 1
        job.progress(f"step {step}")
    assert capsys.readouterr().err.splitlines() == ["step 29", "step 59", "step 89"]


def test_a_terminal_has_one_line_that_is_redrawn(clock: Clock, capsys: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    job = Report("predict")
    for step in range(100):
        clock.now += 0.0625
        job.progress(f"{step} %", step / 100)
    drawn = capsys.readouterr().err
    assert drawn.count("\r") == 50
    assert "\n" not in drawn


def test_progress_of_several_images_says_which_and_the_time_left_for_all(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "time", clock)
    said: list[tuple[str, float]] = []
    shown = Progress(SimpleNamespace(progress=lambda *told: said.append(told)), 4)  # type: ignore[arg-type]
    source = SimpleNamespace(shape=(1000, 2000), name="cells.tif")
    for number in range(2):
        show = shown.of(SimpleNamespace(source=source), number)  # type: ignore[arg-type]
        for share in (0.25, 0.5, 1.0):
            clock.now += 40 * share
            show(share)
    assert said[1] == ("Segmenting 1 of 4, cells.tif: 50 %, 0.03 MP/s, 40 s left", 0.125)
    assert said[4] == ("Segmenting 2 of 4, cells.tif: 50 %, 0.03 MP/s, 40 s left; 3 min left for all", 0.375)
    assert [share for _, share in said] == sorted(share for _, share in said)


def test_progress_of_one_image_is_of_that_alone(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "time", clock)
    said: list[str] = []
    report = SimpleNamespace(progress=lambda line, share: said.append(line))
    image = SimpleNamespace(source=SimpleNamespace(shape=(10, 10), name="cells.tif"))
    Progress(report).of(image)(0.5)  # type: ignore[arg-type]
    assert said == ["Segmenting cells.tif: 50 %"]
