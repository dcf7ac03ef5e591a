"""Whatever form a network runs in, row by row or whole, the numbers are the patch classifier's."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from napari_dsparse import train
from napari_dsparse.errors import DsparseError
from napari_dsparse.images import ImageSource
from napari_dsparse.machine.measured import fastest
from napari_dsparse.network import calibration, densify, plan
from napari_dsparse.ops.fragments import join_phases, split_phases
from napari_dsparse.prediction import Predictor, plan_tiles
from networks import every_patch, gradients, patch_networks

CLOSE = {"rtol": 1e-9, "atol": 1e-10}
seeds = st.integers(0, 2**16)
pairs = st.tuples(st.integers(1, 5), st.integers(1, 5))


RELU, NONE = ("relu", 0.1), ("none", 0.0)


def prefer(form):
    """A chooser of one form wherever it is possible."""
    return lambda *layer: form if form in plan.possible_forms(*layer) else plan.by_rule(*layer)


@settings(max_examples=90, deadline=None)
@given(patch_networks(), seeds, st.integers(1, 9), st.integers(1, 2), st.sampled_from(plan.FORMS))
def test_streamed_rows_equal_patch_by_patch(network, seed, band, images, form):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan, "BAND_ROWS", (band, band))
        dense = densify(network).planned(torch.float64, prefer(form))
        torch.manual_seed(seed)
        rows, columns = dense.patch
        batch = torch.randn(images, network.in_channels, rows + 6, columns + 3, dtype=torch.float64)
        with torch.no_grad():
            streamed = dense(batch)
            patches = torch.stack([every_patch(network, image, dense.patch) for image in batch])
    torch.testing.assert_close(streamed, patches, **CLOSE)


@settings(max_examples=30, deadline=None)
@given(seeds, st.sampled_from([2, 3]), st.booleans(), st.booleans(), st.sampled_from(plan.FORMS))
def test_groups_that_never_meet_run_alone(seed, groups, biased, meets, form):
    torch.manual_seed(seed)
    first, last = plan.GROUP_CHANNELS, plan.GROUP_CHANNELS + 2
    layers = [
        nn.Conv2d(2 * groups, first * groups, 3, groups=groups, bias=biased),
        nn.LeakyReLU(0.1),
        nn.MaxPool2d(2, 2),
        nn.Conv2d(first * groups, last * groups, (1, 2), groups=groups),
        nn.Tanh(),
        nn.AvgPool2d((2, 1)),
        nn.Conv2d(last * groups, 3, 1) if meets else nn.Sigmoid(),
    ]
    network = nn.Sequential(*layers).double().eval()
    dense = densify(network).planned(torch.float64, prefer(form))
    assert len(dense.plan.streams) == (0 if meets else groups)
    assert len(dense.plan.part(dense.geometry.steps[:4]).streams) == groups
    image = torch.randn(2 * groups, dense.patch[0] + 20, dense.patch[1] + 3, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(dense(image[None])[0], every_patch(network, image, dense.patch), **CLOSE)


def test_groups_of_few_channels_stay_together():
    network = nn.Sequential(nn.Conv2d(4, 8, 3, groups=4), nn.ReLU(), nn.Conv2d(8, 16, 3, groups=4)).eval()
    assert not densify(network).planned(torch.float32).plan.streams


@settings(max_examples=60, deadline=None)
@given(seeds, pairs, pairs, st.integers(0, 7), st.integers(0, 7), st.sampled_from([1, 2]))
def test_fragments_equal_taps_apart_with_their_gradients(
    seed, taps, dilation, more_rows, more_columns, groups
):
    torch.manual_seed(seed)
    size = [(taps[i] - 1) * dilation[i] + 1 + more for i, more in enumerate((more_rows, more_columns))]
    x = torch.randn(2, 2, *size, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(4, 2 // groups, *taps, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(4, dtype=torch.float64, requires_grad=True)
    apart = nn.functional.conv2d(x, weight, bias, dilation=dilation, groups=groups)
    fragments = nn.functional.conv2d(split_phases(x, dilation), weight, bias, groups=groups)
    joined = join_phases(fragments, dilation, apart.shape[2:])
    torch.testing.assert_close(joined, apart, **CLOSE)
    seed_gradient, inputs = torch.randn_like(apart), [x, weight, bias]
    for ours, plain in zip(
        gradients(joined, seed_gradient, inputs), gradients(apart, seed_gradient, inputs), strict=True
    ):
        torch.testing.assert_close(ours, plain, **CLOSE)


@given(pairs, st.integers(1, 13), st.integers(1, 13))
def test_phases_come_together_again(dilation, rows, columns):
    x = torch.arange(3.0 * rows * columns).reshape(1, 3, rows, columns)
    assert torch.equal(join_phases(split_phases(x, dilation), dilation, (rows, columns)), x)


def test_maps_may_be_narrow_wide_empty_of_batch_or_just_one_patch():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 3, 3), nn.LeakyReLU(0.1), nn.MaxPool2d(3, 2), nn.Conv2d(3, 2, 2))
    dense = densify(network)
    learning = densify(network.requires_grad_())
    for size in ((7, 7), (7, 200), (130, 7), (33, 34)):
        x = torch.randn(1, 1, *size)
        with torch.no_grad():
            streamed = dense(x)
        torch.testing.assert_close(streamed, learning(x).detach())
    with torch.no_grad():
        assert dense(torch.zeros(0, 1, 9, 9)).shape == (0, 2, 3, 3)


def layers_of(network):
    return [step for step in densify(network.eval()).geometry.steps if step.window]


def test_forms_by_rule_follow_number_types_and_distances():
    network = nn.Sequential(
        nn.Conv2d(2, 4, 3, groups=2), nn.MaxPool2d(2, 2), nn.Conv2d(4, 4, 3, dilation=8), nn.Conv2d(4, 2, 1)
    )
    grouped, pool, far, last = layers_of(network)
    assert [plan.by_rule(step, NONE, torch.float32) for step in (grouped, pool, far, last)] == [
        "taps", "whole", "taps", "products",
    ]  # fmt: skip
    assert plan.by_rule(far, NONE, torch.bfloat16) == "fragments"
    assert "products" not in plan.possible_forms(far, NONE, torch.bfloat16)
    assert plan.possible_forms(grouped, NONE, torch.float32) == ("taps",)


def test_a_fused_layer_gives_the_numbers_of_its_two_passes():
    """In float32, which oneDNN is for: the tests in float64 do not reach it."""
    if not plan.can_fuse(torch.float32):
        pytest.skip("this build of PyTorch has no convolution with an activation in one pass")
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(2, 8, 3, bias=False), nn.LeakyReLU(0.2), nn.MaxPool2d(2, 2), nn.Conv2d(8, 8, 3, groups=4),
        nn.ReLU(), nn.Conv2d(8, 6, 1), nn.LeakyReLU(0.1), nn.Conv2d(6, 3, 1),
    )  # fmt: skip
    fused, apart = (densify(network).planned(torch.float32, prefer(form)) for form in ("fused", "taps"))
    assert [layer.form for layer in fused.plan.layers].count("fused") == 3
    x = torch.randn(2, 2, 90, 40)
    with torch.no_grad():
        torch.testing.assert_close(fused(x), apart(x))
        half = torch.bfloat16
        if not plan.can_fuse(half):
            pytest.skip("this processor has no such convolution in bfloat16")
        network.to(half)
        fused, apart = (densify(network).planned(half, prefer(form)) for form in ("fused", "taps"))
        torch.testing.assert_close(fused(x.to(half)), apart(x.to(half)), rtol=0.05, atol=0.05)


def test_every_number_type_runs_on_every_processor():
    """A form that oneDNN refuses for want of instructions is not chosen."""
    network = nn.Sequential(nn.Conv2d(2, 8, 3), nn.LeakyReLU(0.1), nn.Conv2d(8, 3, 1)).eval()
    x = torch.randn(1, 2, 9, 11)
    with torch.no_grad():
        expected = network(x)
        for dtype in (torch.bfloat16, torch.float16, torch.float64):
            found = densify(network.to(dtype))(x.to(dtype))
            torch.testing.assert_close(found.float(), expected, rtol=0.05, atol=0.05)


def test_where_pytorch_lacks_the_fused_operator_nothing_is_lost(monkeypatch):
    def absent(*arguments):
        raise AttributeError("no such operator")

    monkeypatch.setattr(plan, "_fused", absent)
    monkeypatch.setattr(plan, "can_fuse", plan.can_fuse.__wrapped__)
    assert not plan.can_fuse(torch.float32)
    step = layers_of(nn.Sequential(nn.Conv2d(3, 4, 1)))[0]
    assert plan.by_rule(step, RELU, torch.float32) == "products"


@pytest.fixture
def calibrated(monkeypatch, tmp_path):
    """A machine without measured times, with a temporary cache."""
    monkeypatch.setenv("DSPARSE_PLAN", "auto")
    monkeypatch.setenv("DSPARSE_KERNEL_CACHE", str(tmp_path))
    calibration.times.forget()
    yield tmp_path
    calibration.times.forget()


def test_every_form_is_timed_once_a_machine_and_kept(calibrated, monkeypatch):
    step = layers_of(nn.Sequential(nn.Conv2d(3, 4, 3, dilation=2)))[0]
    first = calibration.seconds_of(step, RELU, torch.float32)
    assert set(first) - {"fused"} == {"taps", "fragments", "products"}
    assert min(first.values()) > 0
    monkeypatch.setattr(calibration, "_time_all", None)  # another process must not time again
    calibration.times.forget()
    assert calibration.seconds_of(step, RELU, torch.float32) == first
    assert calibration.measured(step, RELU, torch.float32) in first


def test_a_form_must_be_clearly_faster_to_be_chosen():
    assert fastest({"taps": 1.0, "products": 0.9}, "taps", 0.75) == "taps"
    assert fastest({"taps": 1.0, "products": 0.5, "fragments": 0.6}, "taps", 0.75) == "products"
    assert fastest(None, "fragments", 0.75) == "fragments"


def test_a_measured_form_serves_prediction_and_gives_the_same_numbers(calibrated, monkeypatch):
    monkeypatch.setattr(
        calibration,
        "_time_all",
        lambda work: {form: 1.0 - 0.3 * (form == "products") for form in work.forms},
    )
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.MaxPool2d(2, 2), nn.Conv2d(3, 2, 2))
    ruled = densify(network)
    chosen = ruled.planned(torch.float32, calibration.measured)
    x = torch.randn(1, 2, 20, 30)
    assert [layer.form for layer in chosen.plan.layers] == ["products", "whole", "products"]
    with torch.no_grad():
        torch.testing.assert_close(chosen(x), ruled(x))


@pytest.mark.parametrize("form", plan.FORMS)
def test_without_a_plan_what_is_learned_is_seen_at_once_and_a_plan_keeps_its_weights(form):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.MaxPool2d(2, 2), nn.Conv2d(3, 2, 2)).double()
    live = densify(network)
    planned = densify(copy.deepcopy(network)).planned(torch.float64, prefer(form))
    x = torch.randn(1, 1, 12, 14, dtype=torch.float64)
    with torch.no_grad():
        before = live(x)
        for parameter in network.parameters():
            parameter += 0.1
        rows, columns = live.patch
        torch.testing.assert_close(live(x)[0], every_patch(network, x[0], (rows, columns)), **CLOSE)
        torch.testing.assert_close(planned(x), before, **CLOSE)


def test_prediction_plans_once_and_not_per_tile(monkeypatch):
    asked = []

    def chooser(*layer):
        asked.append(layer)
        return plan.by_rule(*layer)

    monkeypatch.setattr(calibration, "measured", chooser)
    rng = np.random.default_rng(0)
    image, labels = rng.random((600, 700), np.float32), np.zeros((600, 700), np.uint8)
    labels[20, 20:25], labels[40, 20:25] = 1, 2
    classifier = train(image, labels, steps=0, device="cpu").classifier
    predictor = Predictor(classifier, "cpu", 1)
    planned = len(asked)
    tiles = plan_tiles(image.shape, classifier.spec)
    assert len(tiles) > 1
    assert len(list(predictor.stream(ImageSource(image), tiles))) == len(tiles)
    assert planned == len(asked) > 0


def test_nothing_is_chosen_where_times_cannot_be_kept(calibrated, monkeypatch):
    (calibrated / "file").write_text("no folder")
    monkeypatch.setenv("DSPARSE_KERNEL_CACHE", str(calibrated / "file" / "below"))
    step = layers_of(nn.Sequential(nn.Conv2d(3, 4, 3)))[0]
    assert calibration.seconds_of(step, RELU, torch.float32) is None
    assert calibration.measured(step, RELU, torch.float32) == plan.by_rule(step, RELU, torch.float32)


def test_an_unknown_plan_is_refused(calibrated, monkeypatch):
    monkeypatch.setenv("DSPARSE_PLAN", "fast")
    step = layers_of(nn.Sequential(nn.Conv2d(3, 4, 3)))[0]
    with pytest.raises(DsparseError, match="'fast'; set it to one of auto, rule"):
        calibration.measured(step, RELU, torch.float32)


def test_training_does_not_ask_what_was_measured(calibrated):
    image, labels = np.random.default_rng(0).random((60, 60), np.float32), np.zeros((60, 60), np.uint8)
    labels[20, 20:25], labels[40, 20:25] = 1, 2
    train(image, labels, steps=1, device="cpu")
    assert not list(calibrated.glob("*.plan"))
