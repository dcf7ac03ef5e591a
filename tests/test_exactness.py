"""Whole image, active sites and patch by patch: one meaning, in float64, forward and gradient."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from napari_dsparse.classifier import NETWORKS, NetworkSpec
from napari_dsparse.network import dense as dense_network
from napari_dsparse.network import densify, patch_size
from napari_dsparse.sites import dependency_closure, join
from networks import every_patch, gradients, patch_networks

pytestmark = pytest.mark.alone

CLOSE = {"rtol": 1e-9, "atol": 1e-10}
seeds = st.integers(0, 2**16)


def image_for(network, patch, seed, room=(3, 4), ties=False):
    torch.manual_seed(seed)
    image = torch.randn(network.in_channels, patch[0] + room[0], patch[1] + room[1], dtype=torch.float64)
    return (image.round() if ties else image).requires_grad_()


@settings(max_examples=60, deadline=None)
@given(patch_networks(), seeds, st.booleans())
def test_whole_image_equals_patch_by_patch(network, seed, ties):
    dense = densify(network)
    image = image_for(network, dense.patch, seed, ties=ties)
    whole, patches = dense(image[None])[0], every_patch(network, image, dense.patch)
    torch.testing.assert_close(whole, patches, **CLOSE)
    inputs = [image, *network.parameters()]
    weight = torch.randn_like(whole)
    for ours, plain in zip(gradients(whole, weight, inputs), gradients(patches, weight, inputs), strict=True):
        torch.testing.assert_close(ours, plain, **CLOSE)


@settings(max_examples=60, deadline=None)
@given(patch_networks(), seeds, st.booleans())
def test_scores_of_features_are_those_of_the_whole_network(network, seed, learns):
    dense = densify(network)
    image = image_for(network, dense.patch, seed)
    with torch.set_grad_enabled(learns):
        features = dense.features(image[None])
        in_two, whole = dense.scores(features), dense(image[None])
    assert features.shape[2:] == whole.shape[2:]
    torch.testing.assert_close(in_two, whole, **CLOSE)
    if learns:
        inputs = [image, *network.parameters()]
        weight = torch.randn_like(whole)
        both = gradients(in_two, weight, inputs), gradients(whole, weight, inputs)
        for ours, plain in zip(*both, strict=True):
            torch.testing.assert_close(ours, plain, **CLOSE)


@settings(max_examples=60, deadline=None)
@given(patch_networks(), seeds, st.integers(0, 12), st.booleans())
def test_active_sites_equal_the_whole_image(network, seed, count, ties):
    dense = densify(network)
    image = image_for(network, dense.patch, seed, room=(5, 6), ties=ties)
    yx = torch.stack([torch.randint(0, 6, (count,)), torch.randint(0, 7, (count,))], 1)
    whole = dense(image[None])[0][:, yx[:, 0], yx[:, 1]].t()
    sites = dense.at(image, yx)
    torch.testing.assert_close(sites, whole, **CLOSE)
    inputs = [image, *network.parameters()]
    weight = torch.randn_like(whole)
    for ours, plain in zip(gradients(sites, weight, inputs), gradients(whole, weight, inputs), strict=True):
        torch.testing.assert_close(ours, plain, **CLOSE)


@settings(max_examples=40, deadline=None)
@given(patch_networks(), seeds, st.sampled_from([1, 2, 35]), st.booleans())
def test_isolated_clicks_run_as_patches_and_equal_the_whole_image(network, seed, count, ties):
    dense = densify(network)
    image = image_for(network, dense.patch, seed, room=(5, 6), ties=ties)
    yx = torch.stack([torch.randint(0, 6, (count,)), torch.randint(0, 7, (count,))], 1)
    rows, columns = dense.patch
    click = dependency_closure(dense.geometry.windows, np.zeros(1, np.int64), columns)
    pixels = torch.cat([
        image[:, y : y + rows, x : x + columns].reshape(image.shape[0], -1)[:, click.pixels].t()
        for y, x in yx.tolist()
    ])  # fmt: skip
    clicks = join([click] * count)
    assert clicks.is_disjoint
    assert not join(
        [click, dependency_closure(dense.geometry.windows, np.arange(2), columns + 1)]
    ).is_disjoint
    with pytest.MonkeyPatch.context() as few:
        few.setattr(dense_network, "PATCH_PIXELS", 200)
        alone = dense.on_sites(pixels, clicks)
    whole = dense(image[None])[0][:, yx[:, 0], yx[:, 1]].t()
    torch.testing.assert_close(alone, whole, **CLOSE)
    inputs = [image, *network.parameters()]
    weight = torch.randn_like(whole)
    for ours, plain in zip(gradients(alone, weight, inputs), gradients(whole, weight, inputs), strict=True):
        torch.testing.assert_close(ours, plain, **CLOSE)


@settings(max_examples=40, deadline=None)
@given(patch_networks())
def test_patch_is_the_smallest_that_gives_one_output(network):
    rows, columns = densify(network).patch
    image = torch.randn(1, network.in_channels, rows, columns, dtype=torch.float64)
    assert network(image).numel() == 2
    for smaller in (image[..., 1:, :], image[..., 1:]):
        if smaller.numel():
            with contextlib.suppress(RuntimeError):  # too small for a kernel: as it should be
                assert network(smaller).numel() != 2


@pytest.mark.parametrize("name", NETWORKS)
def test_built_in_networks_have_an_odd_patch_and_are_exact(name):
    torch.manual_seed(0)
    network = NetworkSpec(name, 2, 3).build().double().eval()
    dense = densify(network)
    rows, columns = dense.patch
    assert rows == columns
    assert rows % 2 == 1
    image = torch.randn(2, rows + 1, columns + 2, dtype=torch.float64)
    torch.testing.assert_close(dense(image[None])[0], every_patch(network, image, dense.patch), **CLOSE)


def test_parameters_are_shared_with_the_patch_classifier():
    network = nn.Sequential(nn.Conv2d(1, 2, 3))
    dense = densify(network)
    with torch.no_grad():
        network[0].bias.add_(1.0)
    image = torch.zeros(1, 1, 3, 3)
    torch.testing.assert_close(dense(image).flatten(), network[0].bias)


def test_a_first_in_place_activation_leaves_the_image_alone():
    image = -torch.ones(1, 1, 4, 4)
    densify(nn.Sequential(nn.ReLU(inplace=True), nn.Conv2d(1, 1, 3)))(image)
    assert (image == -1).all()


def test_flattened_maps_that_are_not_square_need_the_patch():
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(2 * 2 * 3, 2)).double()
    with pytest.raises(ValueError, match="in_shape"):
        densify(network)
    assert patch_size(network, (4, 5)) == (4, 5)
    dense = densify(network, (1, 4, 5))
    image = torch.randn(1, 6, 8, dtype=torch.float64)
    torch.testing.assert_close(dense(image[None])[0], every_patch(network, image, (4, 5)), **CLOSE)


def test_pools_that_drop_a_remainder_take_the_smallest_patch():
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8, 2))
    assert patch_size(network) == 6
    assert patch_size(network, (7, 7)) == 6


def test_positions_outside_are_refused_with_the_allowed_range():
    dense = densify(nn.Sequential(nn.Conv2d(1, 1, 3)))
    with pytest.raises(ValueError, match="outside the output of 3 x 4"):
        dense.at(torch.zeros(1, 5, 6), torch.tensor([[3, 0]]))
    with pytest.raises(ValueError, match="integers"):
        dense.at(torch.zeros(1, 5, 6), torch.zeros(2, 2))


class Doubled(nn.ReLU):
    def forward(self, x):
        return 2 * x


def hooked():
    layer = nn.Conv2d(1, 1, 3)
    layer.register_forward_hook(lambda *_: None)
    return layer


REFUSED = [
    (nn.Conv2d(1, 1, 3, padding=1), "pads"),
    (nn.Conv2d(1, 1, 3, padding="same"), "pads"),
    (nn.MaxPool2d(3, padding=1), "pads"),
    (nn.MaxPool2d(2, ceil_mode=True), "ceil_mode"),
    (nn.AvgPool2d(2, ceil_mode=True), "ceil_mode"),
    (nn.MaxPool2d(2, return_indices=True), "two outputs"),
    (nn.BatchNorm2d(1), "training mode"),
    (nn.BatchNorm2d(1, track_running_stats=False).eval(), "running statistics"),
    (nn.AdaptiveAvgPool2d(2), "only 1, the whole map"),
    (nn.ConvTranspose2d(1, 1, 2), "layers that can be converted"),
    (nn.InstanceNorm2d(1), "layers that can be converted"),
    (Doubled(), "layers that can be converted"),
    (nn.Linear(4, 2), "no Flatten"),
    (nn.Softmax(dim=3), "dim=1"),
    (nn.Flatten(2), "Flatten"),
    (nn.Dropout2d(0.5), "training mode"),
    (nn.LazyConv2d(1, 3), "not initialised"),
    (hooked(), "hooks"),
]


@pytest.mark.parametrize(
    ("layer", "reason"), REFUSED, ids=lambda v: type(v).__name__ if isinstance(v, nn.Module) else v
)
def test_what_is_not_exact_is_refused_by_name(layer, reason):
    network = nn.Sequential(nn.ReLU(), nn.Sequential(layer))
    with pytest.raises(ValueError, match=reason) as refusal:
        densify(network)
    assert "'1.0'" in str(refusal.value)
    assert type(layer).__name__ in str(refusal.value)


def test_a_batchnorm_set_back_to_training_is_refused_at_the_next_run():
    dense = densify(nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)).eval())
    dense.train()
    with pytest.raises(ValueError, match=r"call \.eval\(\)"):
        dense(torch.zeros(1, 1, 5, 5))
