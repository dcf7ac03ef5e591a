"""Scenes and episodes that warm starts are learned from, and the learning itself."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from pretraining import warm_file
from pretraining.__main__ import main
from pretraining.draws import SIZE, Stream, generator
from pretraining.episodes import draw_episode, draw_strokes
from pretraining.head import Paint, RidgeHead, fit_ridge
from pretraining.layouts import KINDS, draw_layout
from pretraining.learn import MetaLearner, Recipe, log_priors
from pretraining.scenes import SceneSet, scene, scene_set
from pretraining.trunk import Fragments

from napari_dsparse.classifier import NetworkSpec, default_classes, warm_start
from napari_dsparse.classifier.warm_start import Opinion
from napari_dsparse.errors import DsparseError, ExportError, LabelsError, ModelFileError
from napari_dsparse.images import ImageSource, resolve_image
from napari_dsparse.network import densify
from napari_dsparse.training import Trainer, find_strokes
from napari_dsparse.training.head import Head, Rows
from napari_dsparse.training.priors import LEAST, TRUST
from scenes import stripes, strokes_on
from whole_images import predict_labels

#: Small enough for a test, and otherwise as the shipped weights were learned.
TINY = replace(Recipe(), steps=6, batch=2, crop=64, queries=300, warm_up=1, report_every=3)
PATCH = NetworkSpec("compact", 1, 2).patch


@pytest.fixture(scope="module")
def few() -> SceneSet:
    """Parts of a few scenes."""
    drawn = scene_set(Stream.SCENES, 0, 6)
    return SceneSet(drawn.images[:, :80, :80], drawn.labels[:, :80, :80])


@pytest.fixture(scope="module")
def none() -> SceneSet:
    return SceneSet(np.zeros((0, SIZE, SIZE), np.float32), np.zeros((0, SIZE, SIZE), np.uint8))


@pytest.mark.parametrize("number", range(12))
def test_a_scene_is_a_normalised_image_of_at_least_two_classes(number: int) -> None:
    image, labels = scene(generator(Stream.SCENES, 1, number))
    assert image.shape == labels.shape == (SIZE, SIZE)
    assert image.dtype == np.float32
    assert labels.dtype == np.int64
    assert np.isfinite(image).all()
    assert abs(np.median(image)) < 1e-3
    assert_array_equal(np.unique(labels), np.arange(labels.max() + 1))
    assert 2 <= labels.max() + 1 <= 5
    assert np.bincount(labels.ravel()).min() > 250


@pytest.mark.parametrize("kind", sorted(set(KINDS), key=lambda kind: kind.__name__))
def test_every_kind_of_specimen_covers_the_scene(kind) -> None:
    layout = kind(np.random.default_rng(0))
    for own in (layout.labels, layout.objects, layout.depth):
        assert own.shape == (SIZE, SIZE)
    assert layout.labels.min() >= 0
    assert layout.objects.min() >= 0
    assert np.isfinite(layout.depth).all()


def test_some_things_look_like_a_class_they_are_not_of() -> None:
    layouts = [draw_layout(np.random.default_rng(seed)) for seed in range(40)]
    assert all(np.isin(layout.seen_as(), layout.labels).all() for layout in layouts)
    misleading = [np.mean(layout.seen_as() != layout.labels) for layout in layouts]
    assert sum(share > 0.01 for share in misleading) >= 4
    assert sum(share == 0 for share in misleading) >= 10
    assert max(misleading) < 0.5


def test_scenes_repeat_by_seed_whoever_draws_them() -> None:
    alone, shared = (scene_set(Stream.SCENES, 3, 3, processes) for processes in (1, 2))
    assert_array_equal(alone.images, shared.images)
    assert_array_equal(alone.labels, shared.labels)
    for stream, seed in ((Stream.SCENES, 4), (Stream.HELD_SCENES, 3)):
        assert not np.array_equal(scene_set(stream, seed, 1).images, alone.images[:1])


@pytest.mark.parametrize("seed", range(4))
def test_strokes_are_thin_paths_within_their_class(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = np.zeros((70, 90), np.int64)
    labels[20:50, 30:], labels[60:] = 1, 2
    places = draw_strokes(rng, labels, 120)
    assert len(np.unique(places)) == len(places)
    assert (np.diff(labels.ravel()[places]) >= 0).all(), "strokes come class by class"
    counts = np.bincount(labels.ravel()[places])
    assert (counts >= 59).all()
    assert (counts <= 120 * np.exp(0.7) + 60).all()
    painted = np.where(np.isin(np.arange(labels.size), places), labels.ravel() + 1, 0).reshape(labels.shape)
    strokes = find_strokes(painted)
    assert {stroke.label for stroke in strokes} == {1, 2, 3}
    assert min(len(stroke.yx) for stroke in strokes) < 80


def test_strokes_keep_off_borders_where_there_is_room() -> None:
    labels = np.zeros((80, 80), np.int64)
    labels[:, 40:] = 1
    depth = np.abs(np.arange(80) - 39.5) + 0.5
    at_border = [
        (depth[draw_strokes(np.random.default_rng(seed), labels, 100) % 80] <= 1).mean() for seed in range(20)
    ]
    assert np.mean(at_border) < 0.02  # a fair share would be 2 of 80 columns
    assert max(at_border) < 0.2


def test_an_episode_lies_in_its_scene_with_paint_on_every_class(few: SceneSet) -> None:
    rng = np.random.default_rng(0)
    episodes = [draw_episode(rng, few.images[i % 6], few.labels[i % 6], 64, PATCH) for i in range(24)]
    drawn = [episode for episode in episodes if episode is not None]
    assert drawn
    for episode in drawn:
        assert episode.image.shape == (64, 64)
        assert episode.image.dtype == np.float32
        assert episode.labels.shape == (64 - PATCH + 1, 64 - PATCH + 1)
        assert_array_equal(np.unique(episode.labels.ravel()[episode.strokes]), np.unique(episode.labels))


def test_image_and_answer_of_an_episode_are_turned_together() -> None:
    y, x = np.indices((SIZE, SIZE))
    labels = ((y > 70) * 2 + (x > 90)).astype(np.uint8)
    for seed in range(16):
        rng = np.random.default_rng(seed)
        episode = draw_episode(rng, labels.astype(np.float32), labels, SIZE, PATCH)
        assert episode is not None
        inner = episode.image[PATCH // 2 : -(PATCH // 2), PATCH // 2 : -(PATCH // 2)].ravel()
        gain, offset = np.polyfit(episode.labels.ravel(), inner, 1)
        np.testing.assert_allclose(gain * episode.labels.ravel() + offset, inner, atol=1e-5)


def test_a_part_with_one_class_only_is_no_episode() -> None:
    labels = np.zeros((SIZE, SIZE), np.uint8)
    assert draw_episode(np.random.default_rng(0), labels.astype(np.float32), labels, 64, PATCH) is None


STRIDED = torch.nn.Sequential(
    torch.nn.Conv2d(1, 4, 3, 2), torch.nn.Tanh(), torch.nn.MaxPool2d(3, 3), torch.nn.Conv2d(4, 5, 2)
)


@pytest.mark.parametrize("size", [27, 40, 43])
@pytest.mark.parametrize("trunk", [NetworkSpec("compact", 1, 2).build()[:-1], STRIDED])
def test_fragments_are_the_whole_image_form(trunk: torch.nn.Sequential, size: int) -> None:
    trunk = copy.deepcopy(trunk).double()
    images = torch.randn(2, 1, size, size + 3, dtype=torch.float64, requires_grad=True)
    ours, plain = Fragments(trunk)(images), densify(trunk)(images)
    torch.testing.assert_close(ours, plain, rtol=1e-9, atol=1e-10)
    weight = torch.randn_like(plain)
    inputs = [images, *trunk.parameters()]
    for own, other in zip(
        torch.autograd.grad(ours, inputs, weight), torch.autograd.grad(plain, inputs, weight), strict=True
    ):
        torch.testing.assert_close(own, other, rtol=1e-9, atol=1e-10)


def test_bfloat16_comes_close() -> None:
    trunk = NetworkSpec("compact", 1, 2).build()[:-1]
    images = torch.randn(2, 1, 40, 40)
    rough, exact = Fragments(trunk, bfloat16=True)(images), Fragments(trunk)(images)
    assert rough.dtype == torch.float32
    assert 0 < (rough - exact).abs().max() < 0.05 * exact.abs().max()


def test_priors_are_those_of_the_package() -> None:
    logits = torch.randn(500, 3) + torch.tensor([3.0, 0.0, -3.0])
    means = logits.softmax(1).mean(0)
    expected = means.clamp(min=LEAST / 3) ** TRUST
    torch.testing.assert_close(log_priors(logits).exp(), expected / expected.sum())


def test_the_head_that_learns_is_the_head_that_is_used() -> None:
    torch.manual_seed(0)
    targets = torch.arange(3).repeat_interleave(torch.tensor([40, 7, 90]))
    features = (torch.randn(137, 20) * 3 + 5 + targets[:, None]).double()
    weights = torch.rand(137, dtype=torch.float64) + 0.1
    groups = torch.tensor([0] * 12 + [1] * 8)
    ridge = torch.tensor([0.11, 1.7], dtype=torch.float64)
    head = Head(Rows((features[:, :12], features[:, 12:]), targets, weights))
    for ours, theirs in zip(
        fit_ridge(features, targets, weights, ridge, groups),
        head.fit([Opinion(1.0, tuple(ridge.tolist()))]),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)


def test_the_scale_of_features_means_nothing() -> None:
    """Else learning could change the ridge by shrinking all features, unseen by the head that is used."""
    torch.manual_seed(0)
    head, features = RidgeHead().double(), torch.randn(60, 5).double()
    targets, paint = (features[:, 0] > 0).long(), Paint(torch.tensor([2.0, 3.0]), torch.ones(60).double())
    scale = torch.tensor(1.0, dtype=torch.float64, requires_grad=True)
    whole, tiny = (head(features * size, targets, paint, features * size) for size in (scale, scale * 1e-4))
    torch.testing.assert_close(whole, tiny)
    (slope,) = torch.autograd.grad(torch.nn.functional.cross_entropy(whole, targets), scale)
    assert abs(slope) < 1e-9


def test_gradients_reach_features_and_all_that_governs_the_fit() -> None:
    torch.manual_seed(0)
    head, paint = RidgeHead(), Paint(torch.tensor([1.0, 4.0]), torch.rand(30))
    features = torch.randn(30, 5, requires_grad=True)
    head(features, torch.arange(30) % 2, paint, features).square().sum().backward()
    for parameter in (features, head.log_ridge, head.log_scale, head.log_small_sample_penalty):
        assert parameter.grad is not None
        assert parameter.grad.abs().sum() > 0


def test_scenes_of_one_class_are_refused_and_do_not_hang(few: SceneSet, none: SceneSet) -> None:
    plain = SceneSet(few.images, np.zeros_like(few.labels))
    with pytest.raises(LabelsError, match="give more scenes"):
        next(MetaLearner("compact", 0).learn(plain, none, TINY))


def test_a_few_steps_reduce_the_loss(few: SceneSet, none: SceneSet) -> None:
    """Measured on the same episodes before and after: they differ more than a few steps teach."""
    learner = MetaLearner("compact", 0)

    @torch.no_grad()
    def loss() -> float:
        return learner._loss(generator(Stream.EPISODES, 9, 0), few, replace(TINY, batch=24)).item()

    before = loss()
    list(learner.learn(few, none, replace(TINY, steps=24, batch=3, warm_up=5)))
    assert loss() < 0.95 * before


def test_the_same_seed_learns_the_same_weights_bit_for_bit(few: SceneSet, none: SceneSet) -> None:
    learners = [MetaLearner("compact", seed) for seed in (0, 0, 1)]
    state = torch.get_rng_state()
    for learner in learners:
        list(learner.learn(few, none, replace(TINY, steps=3)))
    one, two, other = (learner.trunk.state_dict() for learner in learners)
    assert all(torch.equal(weight, two[name]) for name, weight in one.items())
    assert any(not torch.equal(weight, other[name]) for name, weight in one.items())
    assert torch.equal(torch.get_rng_state(), state)


def test_the_rate_rises_then_falls_and_never_vanishes() -> None:
    recipe = Recipe()
    rates = [recipe.rate(step) for step in range(recipe.steps)]
    assert 0.9 * recipe.peak_rate < max(rates) <= recipe.peak_rate
    assert rates[0] < 0.1 * recipe.peak_rate
    assert rates[-1] == pytest.approx(recipe.lowest * recipe.peak_rate)


def test_the_package_begins_where_the_written_file_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, few: SceneSet
) -> None:
    learner = MetaLearner("compact", 0)
    reports = list(learner.learn(few, few, TINY))
    assert [report.step for report in reports] == [3, 6]
    assert all(0 < report.held_iou < 1 for report in reports)
    (tmp_path / "warm").mkdir()
    warm_file.write(tmp_path / "warm" / "compact.safetensors", learner.trunk, learner.head)
    monkeypatch.setattr(warm_start, "files", lambda package: tmp_path)
    monkeypatch.setattr(warm_start, "_stored", warm_start._stored.__wrapped__)
    start = warm_start.warm_start(NetworkSpec("compact", 1, 2))
    assert start.ridge == pytest.approx((reports[-1].ridge,))
    assert start.scale == pytest.approx(reports[-1].scale)
    assert start.small_sample_penalty == pytest.approx((reports[-1].small_sample_penalty,))
    for name, weight in learner.trunk.state_dict().items():
        assert torch.equal(start.weights[name], weight)
    image, truth = stripes()
    trainer = Trainer([ImageSource(image)], default_classes(2), network="compact")
    trainer.update(find_strokes(strokes_on(truth)))
    found = predict_labels(trainer.snapshot(), resolve_image(image))
    well_inside = np.abs(np.arange(truth.shape[1]) % 24 - 12) < 6
    assert (found == truth)[:, well_inside].mean() > 0.9


def test_learning_goes_on_from_a_file_also_of_a_narrower_last_layer(tmp_path: Path) -> None:
    learner = MetaLearner("compact", 0)
    learner.head = RidgeHead(0.2, 3, 4)
    warm_file.write(tmp_path / "whole.safetensors", learner.trunk, learner.head)
    last = learner.trunk[-2]
    narrow = learner.trunk[:-2].append(torch.nn.Conv2d(last.in_channels, 5, 1))
    warm_file.write(tmp_path / "narrow.safetensors", narrow, learner.head)

    whole = MetaLearner("compact", 1, tmp_path / "whole.safetensors")
    assert all(torch.equal(w, learner.trunk.state_dict()[n]) for n, w in whole.trunk.state_dict().items())
    assert whole.head.ridge.item() == pytest.approx(0.2)
    assert whole.head.scale.item() == pytest.approx(3)
    assert whole.head.small_sample_penalty.item() == pytest.approx(4)
    taken, fresh = (
        MetaLearner("compact", 1, file).trunk[-2] for file in (tmp_path / "narrow.safetensors", None)
    )
    assert torch.equal(taken.weight[:5], narrow[-1].weight)
    assert torch.equal(taken.weight[5:], fresh.weight[5:])


def test_a_file_of_another_network_is_refused(tmp_path: Path) -> None:
    other = torch.nn.Sequential(torch.nn.Conv2d(1, 3, 3))
    warm_file.write(tmp_path / "other.safetensors", other, RidgeHead())
    (tmp_path / "torn.safetensors").write_bytes(b"no tensors")
    sentences = {"other": "another network", "torn": "cannot be read", "absent": "cannot be read"}
    for name, sentence in sentences.items():
        with pytest.raises(ModelFileError, match=sentence):
            MetaLearner("compact", 0, tmp_path / f"{name}.safetensors")
    with pytest.raises(DsparseError, match="not known"):
        MetaLearner("gigantic", 0)


def test_an_interrupted_writing_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def half_written(tensors, name):
        Path(name).write_bytes(b"half")
        raise KeyboardInterrupt

    learner, file = MetaLearner("compact", 0), tmp_path / "compact.safetensors"
    monkeypatch.setattr(warm_file, "save_file", half_written)
    with pytest.raises(KeyboardInterrupt):
        warm_file.write(file, learner.trunk, learner.head)
    assert list(tmp_path.iterdir()) == []
    file.write_bytes(b"of an earlier run")
    with pytest.raises(KeyboardInterrupt):
        warm_file.write(file, learner.trunk, learner.head)
    assert file.read_bytes() == b"of an earlier run"
    assert list(tmp_path.iterdir()) == [file]
    with pytest.raises(ExportError, match="does not exist"):
        warm_file.write(tmp_path / "none" / "compact.safetensors", learner.trunk, learner.head)


def test_the_program_runs_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("pretraining.__main__.HELD_SCENES", 2)
    threads = str(torch.get_num_threads())
    output, report = tmp_path / "first.safetensors", tmp_path / "run.json"
    common = ["--steps", "1", "--scenes", "2", "--threads", threads]
    main([*common, "--output", str(output), "--json", str(report)])
    main([*common, "--start", str(output), "--output", str(output)])
    assert [own["step"] for own in json.loads(report.read_text())["reports"]] == [1]
    assert capsys.readouterr().out.count("held IoU") == 2
    with pytest.raises(SystemExit, match="does not exist"):
        main([*common, "--output", str(tmp_path / "none" / "compact.safetensors")])
