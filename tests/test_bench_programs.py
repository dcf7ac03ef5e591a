"""Every benchmark program runs to its end on tiny sizes and prints its table; times are not judged here."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from bench import __main__ as everything
from bench import (
    cost,
    depth,
    latency,
    loop,
    memory,
    networks,
    objects,
    open_data,
    overview,
    paint,
    paper,
    report,
    scale,
    scenes,
    sessions,
    shares,
    training,
    trust,
    users,
    work,
    workers,
)
from bench.report import Curves, Report
from torch import nn

from napari_dsparse import prediction
from napari_dsparse.classifier import NetworkSpec
from napari_dsparse.errors import DsparseError
from napari_dsparse.images import resolve_image
from napari_dsparse.network import densify
from napari_dsparse.prediction import Predictor, plan_tiles, predict_image
from napari_dsparse.training import find_strokes

PROGRAMS: dict[str, Callable[[bool], Report]] = {
    "training": training.measure,
    "paper": paper.measure,
    "memory": memory.measure,
    "latency": latency.measure,
    "scale": scale.measure,
    "cost": cost.measure,
    "workers": workers.measure,
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

    def quick(name: str) -> Report:
        return Report(name.title(), report.table(["pixels"], [[256]]), {}, (curves,))

    monkeypatch.setattr(open_data, "DATA", tmp_path / "nowhere")
    for name in everything.PROGRAMS:
        if name not in ("quality", "depth", "sessions", "objects", "study"):
            monkeypatch.setitem(everything.PROGRAMS, name, lambda is_quick, name=name: quick(name))
    everything.main(["--quick", "--output", str(tmp_path)])
    page = (tmp_path / "RESULTS.md").read_text()
    assert page.count("| 256 |") == len(everything.PROGRAMS) - 5
    assert "Not measured: the open data sets are not here" in page
    if "(plots/speed.svg)" in page and report.can_draw():
        assert "<svg" in (tmp_path / "plots" / "speed.svg").read_text()


def test_some_programs_renew_their_part_of_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for found in ("1.0", "2.0"):
        for name in ("paper", "training"):
            text = report.table(["seconds"], [[found]])
            monkeypatch.setitem(
                everything.PROGRAMS, name, lambda is_quick, name=name, text=text: Report(name, text, {})
            )
        names = "paper,training" if found == "1.0" else "training"
        everything.main(["--only", names, "--output", str(tmp_path)])
    page = (tmp_path / "RESULTS.md").read_text()
    paper_part, training_part = page.split("## training")
    assert "| 1.0 |" in paper_part
    assert "| 2.0 |" in training_part
    assert "| 1.0 |" not in training_part
    assert page.count("## paper") == page.count("# Benchmark results") == 1


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


@pytest.mark.parametrize("channels", [1, 3])
def test_the_loop_answers_every_stroke(channels: int) -> None:
    found = loop.run(96, 64, 2, channels)
    rounds = [found["first"], *found["strokes"], *found["elsewhere"]]
    assert len(rounds) == 7
    assert all(0 < s["classifier"] < s["first_tile"] <= s["sketch"] <= s["view"] for s in rounds)
    assert all(s["first_tile"] <= s["agreed"] <= s["view"] for s in rounds)
    assert all(s["classifier"] < s["judged"] for s in rounds)


def test_an_overview_is_timed_until_its_sketches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prediction.overview, "OVERVIEW_PIXELS", 96 * 96)
    monkeypatch.setattr(prediction.overview, "LEAST_PITCH", 4)
    found = overview.run(96, 1)
    assert max(found["first"]["sketches"]) in (36, 12, 4)
    for one in (found["first"], *found["strokes"]):
        assert 0 < one["classifier"] < one["sketches"][4]


def test_paint_is_as_much_as_its_name_says_in_separate_strokes() -> None:
    for kind, pixels, count in (("10,000 pixels", 10_000, 30), ("100,000 pixels in many strokes", 1e5, 1400)):
        labels = paint.PAINT[kind](1024)
        assert pixels <= np.count_nonzero(labels) < 1.01 * pixels + 300
        assert 0.8 * count < len(find_strokes(labels)) < 1.2 * count
    assert len(find_strokes(paint.boxes(1024))) == 60
    assert paint.quarters(100).all()


def test_work_backward_is_twice_that_forward_but_for_layers_that_read_the_image() -> None:
    network = densify(nn.Sequential(nn.Conv2d(1, 2, 3), nn.MaxPool2d(2), nn.Conv2d(2, 4, 2)))
    first, second = 2 * 9, 4 * 2 * 4
    assert work.on_a_patch(network) == 16 * first + second
    assert work.on_a_patch(network, backward=True) == 16 * first + 2 * second
    assert work.on_map(network, 6, 6, backward=True) == 16 * first + 2 * second


def test_plain_layers_give_what_the_default_network_gives() -> None:
    network = networks.default_network(3)
    x = torch.randn(1, 1, 230, 224)
    with torch.no_grad():
        torch.testing.assert_close(networks.plain_forward(network, x), network(x), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("user", sessions.USERS)
def test_a_session_adds_a_stroke_a_round(user: str, request: pytest.FixtureRequest) -> None:
    if user.startswith("forest"):
        request.getfixturevalue("open_data")  # the forest's program lies beside the data
    rows, columns = np.mgrid[:96, :96]
    truth = (1 + ((rows - 48) ** 2 + (columns - 48) ** 2 < 30**2)).astype(np.uint8)
    image = truth * 50 + np.random.default_rng(0).normal(0, 8, truth.shape)
    found = list(sessions.session(user, "disc", (image, truth), 0, 3))
    assert [row.strokes for row in found] == [2, 3, 4]
    assert found[0].pixels < found[2].pixels
    assert found[0].seconds < found[2].seconds
    assert found[2].iou > 0.8


def test_users_paint_the_true_class_where_they_mean_to() -> None:
    truth = np.ones((80, 80), np.uint8)
    truth[:, 40:] = 2
    canvas = users.Canvas(truth, 0)
    canvas.begin()
    assert set(np.unique(canvas.labels)) == {0, 1, 2}
    assert (canvas.labels[canvas.labels > 0] == truth[canvas.labels > 0]).all()
    found = truth.copy()
    found[60:70, 5:15] = 2
    y, x = users.worst_error(canvas, found, lambda: None)
    assert 60 <= y < 70
    assert 5 <= x < 15
    y, x = users.pointed_at(canvas, truth, lambda: (8, 72))
    assert y < 24
    assert x >= 56
    free = canvas.labels == 0
    y, x = users.pointed_at(canvas, truth, lambda: None)
    assert free[y, x]


def test_a_session_ends_with_what_the_window_s_model_predicts() -> None:
    rows, columns = np.mgrid[:80, :90]
    truth = (1 + ((rows - 40) ** 2 + (columns - 40) ** 2 < 25**2)).astype(np.uint8)
    image = truth * 50 + np.random.default_rng(0).normal(0, 30, truth.shape)
    canvas, method = users.Canvas(truth, 0), sessions.Ours(image, truth)
    canvas.begin()
    try:
        for _ in range(2):
            found = method.learn(canvas.labels)
            model = method._window.state.model
            assert model is not None
            whole = predict_image(Predictor(model.classifier), resolve_image(image)).labels
            np.testing.assert_array_equal(found, whole)
            spot = method.next_spot()
            assert spot is not None
            canvas.stroke(*users.pointed_at(canvas, found, lambda spot=spot: spot))
    finally:
        method.close()


def test_a_job_that_fails_ends_the_session(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object) -> None:
        raise DsparseError("The strokes are unreadable.")

    monkeypatch.setattr("napari_dsparse.live.trainer_thread.find_strokes", fail)
    truth = np.ones((40, 40), np.uint8)
    truth[:, 20:] = 2
    method = sessions.Ours(truth.astype(np.float32), truth)
    try:
        with pytest.raises(RuntimeError, match="trainer failed: The strokes are unreadable"):
            method.learn(truth)
    finally:
        method.close()


def test_strokes_to_a_goal_are_counted_and_the_worst_stroke_is_told() -> None:
    assert sessions.strokes_to_reach(0.5, [0.1, 0.5, 0.4]) == 1
    assert sessions.strokes_to_reach(0.9, [0.1, 0.5, 0.4]) is None
    rows = [
        sessions.Round(user, "cells", 0, strokes, strokes, iou, float(strokes))
        for user in sessions.USERS
        for strokes, iou in ((2, 0.5), (3, 0.7), (4, 0.4))
    ]
    text = sessions.report_of("Sessions", rows).text
    assert "-0.300 at worst (cells, ours, errors corrected, stroke 4)" in text
    assert "after 1 strokes instead of 1" in text


def test_objects_are_counted_as_found_where_most_of_their_union_is_shared() -> None:
    outlined = np.array([[1, 1, 1, 0, 2, 2, 0, 3]])
    found = np.array(
        [[1, 1, 0, 0, 2, 2, 2, 0]]
    )  # two thirds of the union of each of two; the third is missed
    counts = objects.matches(found, outlined)
    assert counts.tolist() == [2, 2, 3]
    assert objects.f1(counts) == pytest.approx(0.8)


def test_objects_are_measured_on_the_open_sets(open_data: Path) -> None:
    f1 = objects.measure(quick=True).numbers["f1"]
    assert f1["fluo_nuclei_dsb"]["annotation, separated"] > f1["fluo_nuclei_dsb"]["annotation, components"]


def test_neighbouring_planes_are_measured_on_the_stacks(open_data: Path) -> None:
    found = depth.measure(quick=True)
    (row,) = found.numbers["rows"]
    assert row["set"] == "ovule_membrane_3d"
    assert min(row["off"], row["neighbours"]) > 0
    assert f"{row['off']:.3f} | {row['neighbours']:.3f}" in found.text


def test_calibration_error_is_the_gap_between_confidence_and_accuracy() -> None:
    confidence = np.repeat(np.float32([0.9, 0.6]), 10)
    right = np.arange(20) % 10 < np.repeat([9, 6], 10)
    assert trust.calibration_error(confidence, right) == pytest.approx(0, abs=1e-6)
    assert trust.calibration_error(confidence, np.ones(20, bool)) == pytest.approx(0.25, abs=1e-6)


def test_uncertainty_that_ranks_errors_has_a_high_auroc() -> None:
    wrong = np.arange(100) < 20
    assert trust.error_auroc(wrong.astype(np.float32), wrong) == 1
    assert trust.error_auroc(np.zeros(100, np.float32), wrong) == 0.5
    assert np.isnan(trust.error_auroc(np.zeros(100, np.float32), np.zeros(100, bool)))


def test_a_predicted_image_takes_as_long_as_the_busier_side() -> None:
    rates = cost.Rates(
        block=0.5, tile=2.0, read=0.01, send=0.02, keep=0.1, write=0.2, task=0.1, operations=1.0
    )
    counts = shares.Counts(
        pieces=40, sent=150.0, blocks=900, tiles=60, busiest_blocks=450, busiest_tiles=30, megapixels=100.0
    )
    client, worker = 0.1 * 40 + 0.03 * 150 + 0.1 * 100, 0.5 * 450 + 2 * 30
    assert cost.seconds(rates, counts) == pytest.approx(worker + 20)
    assert cost.bound(rates, counts) == "workers"
    assert cost.seconds(rates, counts, cores=1) == pytest.approx(client + 0.5 * 900 + 2 * 60 + 20)
    many = replace(counts, busiest_blocks=9, busiest_tiles=1)
    assert cost.seconds(rates, many) == pytest.approx(client + 20)
    assert cost.bound(rates, many) == "client"


def test_a_client_whose_workers_read_is_soon_done() -> None:
    rates = cost.Rates(
        block=0.5, tile=2.0, read=0.01, send=0.02, keep=0.1, write=0.2, task=0.1, operations=1.0,
        refer=0.05, result=0.01,
    )  # fmt: skip
    counts = shares.Counts(
        pieces=40, sent=150.0, blocks=900, tiles=60, busiest_blocks=9, busiest_tiles=3, megapixels=100.0
    )
    client, worker = 0.15 * 40 + 0.11 * 100, 0.5 * 9 + 2 * 3 + 0.01 * 150 * 3 / 60
    assert cost.worker_seconds(rates, counts, shipped=False) == pytest.approx(worker)
    assert cost.seconds(rates, counts, shipped=False) == pytest.approx(client + 20)
    assert client < cost.client_seconds(rates, counts, shipped=True)
    assert cost.seconds(rates, counts, cores=1, shipped=False) == pytest.approx(
        client + 0.5 * 900 + 2 * 60 + 0.01 * 150 + 20
    )


def test_shares_are_those_of_all_workers() -> None:
    spec = NetworkSpec("context", 1, 2)
    one, two, many = (shares.count(spec, 6000, workers) for workers in (1, 2, 50))
    assert one.tiles == two.tiles == many.tiles == len(plan_tiles((6000, 6000), spec))
    assert one.busiest_tiles == one.tiles
    assert one.busiest_blocks == one.blocks < two.blocks < many.blocks
    assert one.blocks / 2 < two.busiest_blocks < one.blocks / 1.8
    assert one.sent > one.megapixels == 36
