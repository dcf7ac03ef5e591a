"""Penalties on detail and context depend on the amount of paint, and are learned."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from pretraining import opinions, penalties, wide_fits
from pretraining.context import STEP, WINDOWS, WideFeatures, window_means
from pretraining.learn import log_priors
from pretraining.painting import choose
from pretraining.schedule import Schedule, held_scores, learn_schedule, logits
from pretraining.wide_fits import Fit, PaintedScene, make_fit

from napari_dsparse.classifier.warm_start import Opinion
from napari_dsparse.training.head import Head, Rows


def painted(seed: int = 0, tells: int = 1) -> PaintedScene:
    """Two classes with four strokes each, in two groups of features of which `tells` tells them apart."""
    torch.manual_seed(seed)
    strokes = torch.arange(8).repeat_interleave(20)
    answers = torch.arange(2).repeat(50)
    features, asked = torch.randn(160, 2, 6), torch.randn(100, 2, 6)
    features += torch.randn(8, 2, 6)[strokes]
    features[:, tells] += 4 * (strokes % 2)[:, None]
    asked[:, tells] += 4 * answers[:, None]
    places = torch.stack([strokes * 20 + torch.arange(160) % 4, torch.arange(160) % 20 // 4], 1)
    return PaintedScene(features, strokes, strokes % 2, places, asked, answers, (4, 8), 1, True)


def test_context_is_the_mean_of_detail_around() -> None:
    image = np.random.default_rng(0).normal(size=(2, 200, 200)).astype(np.float32)
    rows, columns = np.mgrid[:200:STEP, :200:STEP]
    lattice = (rows * 200 + columns).ravel()
    seen = WideFeatures().of(image, lattice)
    assert seen.shape == (2500, 1 + len(WINDOWS), 256)
    middle = 25 * 50 + 25
    near = (np.abs(rows - 100) <= 16) & (np.abs(columns - 100) <= 16)
    torch.testing.assert_close(
        seen[middle, 1], seen[near.ravel(), 0].mean(0), rtol=1e-3, atol=1e-3 * float(seen.abs().max())
    )
    with pytest.raises(AssertionError):
        torch.testing.assert_close(seen[middle, 1], seen[middle, 0])


def test_window_means_of_a_plain_map_are_plain() -> None:
    torch.testing.assert_close(window_means(torch.full((3, 60, 60), 2.5), 193), torch.full((3, 60, 60), 2.5))


def test_pixels_are_those_that_the_package_chooses() -> None:
    scene = painted()
    rows, chosen = choose(scene.places.numpy(), scene.classes.numpy(), scene.strokes.numpy())
    assert_array_equal(scene.places.numpy()[rows], chosen.yx)
    assert_array_equal(scene.classes.numpy()[rows] + 1, chosen.labels)
    assert len(rows) < len(scene.places), "a square holds more pixels than are learned from"


def test_a_fit_says_what_the_package_says() -> None:
    """Few features and no axis left out: the same scores as `Head`, in the package's units."""
    scene = painted()
    rows, chosen = choose(scene.places.numpy(), scene.classes.numpy(), scene.strokes.numpy())
    fit, features = make_fit(scene, 1), scene.features[rows]
    targets, weights = torch.from_numpy(chosen.labels - 1), torch.from_numpy(chosen.weights)
    head = Head(Rows((features[:, 0], features[:, 1]), targets, weights))
    weight, bias = head.fit([Opinion(1.0, (0.7, 0.05))])
    ours = logits(fit, torch.tensor([0.7, 0.05]) * fit.variances[0], torch.tensor(1.0))
    theirs = scene.asked.flatten(1).double() @ weight.t() + bias
    torch.testing.assert_close(ours.diff(dim=1).double(), _shared(theirs).diff(dim=1), rtol=1e-3, atol=1e-3)
    assert fit.evidence == pytest.approx(chosen.evidence)


def _shared(scores: torch.Tensor) -> torch.Tensor:
    return scores + log_priors(scores)


def test_contrast_shows_which_group_tells_classes_apart() -> None:
    for tells in (0, 1):
        found = make_fit(painted(tells=tells), 1).contrasts
        assert found[tells] > 10
        assert found[1 - tells] < 5


def test_penalties_fall_with_evidence_and_contrast() -> None:
    schedule = Schedule((1.0, 0.5))
    with torch.no_grad():
        schedule.fall.fill_(0.5)
        schedule.own.copy_(torch.tensor([0.0, 1.0]))
    few, many = (schedule.penalties(e, torch.tensor([10.0, 10.0])) for e in (10, 1000))
    torch.testing.assert_close(few, torch.tensor([1.0, 0.5]))
    torch.testing.assert_close(many, few / 10)
    torch.testing.assert_close(schedule.penalties(10, torch.tensor([10.0, 100.0])), torch.tensor([1.0, 0.05]))


def test_learning_holds_back_the_group_that_does_not_tell() -> None:
    fits: list[Fit] = [make_fit(painted(seed), 1) for seed in range(8)]
    schedule = Schedule((1.0, 1.0), contrasts=False)
    losses = learn_schedule(schedule, fits, 40, 4, 0.1)
    assert np.mean(losses[-10:]) < np.mean(losses[:10])
    assert schedule.level[0] > schedule.level[1] + 0.5
    assert not schedule.own.any()
    scores = held_scores(schedule, fits)
    assert set(scores) == {(True, 1)}
    assert scores[True, 1][0] > 0.9


def test_the_program_runs_to_its_end_and_keeps_features(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(wide_fits, "QUERIES", 50)
    monkeypatch.setattr(penalties, "AMOUNTS", wide_fits.AMOUNTS[:2])
    threads = str(torch.get_num_threads())
    common = ["--scenes", "2", "--held", "1", "--steps", "2", "--threads", threads, "--cache", str(tmp_path)]
    penalties.main(common)
    first = capsys.readouterr().out
    assert sorted(file.name for file in tmp_path.iterdir()) == ["0_0.pt", "0_1.pt", "1_0.pt"]
    penalties.main([*common, "--json", str(tmp_path / "schedule.json")])
    assert capsys.readouterr().out == first
    assert "by evidence and contrast" in (tmp_path / "schedule.json").read_text()


def test_opinions_are_compared_on_held_scenes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(wide_fits, "QUERIES", 50)
    monkeypatch.setattr(opinions, "AMOUNTS", wide_fits.AMOUNTS[:2])
    threads = str(torch.get_num_threads())
    opinions.main(["--held", "1", "--threads", threads, "--cache", str(tmp_path)])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + 2 + len(opinions.TRUST) * len(opinions.DOUBT) + len(opinions.WEIGHTS)
    assert all(0 <= float(cell) <= 1 for line in lines[1:] for cell in line[26:].split())
