"""Networks with branches: whole image, active sites and patch by patch mean the same, with gradients."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.func import functional_call

from graph_networks import GraphNetwork, graph_networks
from napari_dsparse.errors import ConversionError, ShapeError
from napari_dsparse.network import dense as dense_network
from napari_dsparse.network import densify, patch_size, trace
from napari_dsparse.network.work import PositionsWork, positions_work
from napari_dsparse.sites import active_sites, dependency_closure, join
from networks import every_patch, gradients

CLOSE = {"rtol": 1e-9, "atol": 1e-10}
seeds = st.integers(0, 2**16)


def image_for(network, dense, seed, room=(3, 4), ties=False):
    torch.manual_seed(seed)
    size = dense.patch[0] + room[0], dense.patch[1] + room[1]
    image = torch.randn(network.in_channels, *size, dtype=torch.float64)
    return (image.round() if ties else image).requires_grad_()


def assert_equal(ours, wanted, inputs):
    """The same values, and the same gradients to all of `inputs`."""
    torch.testing.assert_close(ours, wanted, **CLOSE)
    seed = torch.randn_like(wanted)
    for one, other in zip(gradients(ours, seed, inputs), gradients(wanted, seed, inputs), strict=True):
        torch.testing.assert_close(one, other, **CLOSE)


@settings(max_examples=120, deadline=None)
@given(graph_networks(), seeds)
def test_whole_image_equals_patch_by_patch(made, seed):
    network, patch = made
    dense = densify(network, patch)
    assert all(own <= given for own, given in zip(dense.patch, patch, strict=True))
    image = image_for(network, dense, seed)
    patches = every_patch(network, image, dense.patch)
    assert_equal(dense(image[None])[0], patches, [image, *network.parameters()])
    with torch.no_grad():
        torch.testing.assert_close(dense(image[None])[0], patches, **CLOSE)


@settings(max_examples=60, deadline=None)
@given(graph_networks(), seeds, st.booleans())
def test_the_stages_one_after_another_are_the_whole_network(made, seed, learns):
    network, patch = made
    dense = densify(network, patch)
    image = image_for(network, dense, seed)
    with torch.set_grad_enabled(learns):
        features = dense.features(image[None])
        local = dense.local_scores(features)
        deep = dense.deep_features(features)
        assert torch.equal(dense.last_scores(deep), local)
        assert deep.shape[1] == round(dense.deep_growth * features.shape[1])
        staged, whole = dense.gathered(local), dense(image[None])
    size = tuple(n - p + 1 for n, p in zip(image.shape[1:], dense.trunk_patch, strict=True))
    assert features.shape[2:] == local.shape[2:] == size
    torch.testing.assert_close(dense.scores(features), staged, **CLOSE)
    if learns:
        assert_equal(staged, whole, [image, *network.parameters()])
    else:
        torch.testing.assert_close(staged, whole, **CLOSE)


@settings(max_examples=120, deadline=None)
@given(graph_networks(), seeds, st.integers(0, 12), st.booleans())
def test_some_positions_equal_the_whole_image_by_either_way(made, seed, count, at_sites):
    network, patch = made
    dense = densify(network, patch)
    image = image_for(network, dense, seed, room=(5, 6))
    yx = torch.stack([torch.randint(0, 6, (count,)), torch.randint(0, 7, (count,))], 1)
    with pytest.MonkeyPatch.context() as forced:
        work = PositionsWork(0, 0, 1) if at_sites else PositionsWork(1, 0, 0)
        forced.setattr(dense_network, "positions_work", lambda *_: work)
        forced.setattr(dense_network.DenseNetwork, "_reads_all_of", lambda *_: False)
        some = dense.at(image, yx)
    whole = dense(image[None])[0][:, yx[:, 0], yx[:, 1]].t()
    assert_equal(some, whole, [image, *network.parameters()])


@settings(max_examples=60, deadline=None)
@given(
    graph_networks(),
    seeds,
    st.lists(st.sets(st.integers(0, 41), min_size=1, max_size=6), min_size=1, max_size=4),
)
def test_joined_closures_give_each_its_own(made, seed, groups):
    network, patch = made
    dense = densify(network, patch)
    image = image_for(network, dense, seed, room=(5, 6))
    width, whole = image.shape[2], dense(image[None])[0]
    own = [np.array(sorted(n // 7 * width + n % 7 for n in group)) for group in groups]
    closures = [dependency_closure(dense.geometry.windows, sites, width) for sites in own]
    joined = join(closures)
    assert joined.outputs == sum(map(len, own))
    pixels = image.flatten(1)[:, joined.pixels].t()
    wanted = torch.cat([whole[:, sites // width, sites % width].t() for sites in map(torch.from_numpy, own)])
    assert_equal(dense.on_sites(pixels, joined), wanted, [image, *network.parameters()])


@settings(max_examples=40, deadline=None)
@given(graph_networks(), seeds, st.sampled_from([1, 2, 35]))
def test_isolated_clicks_run_as_patches_where_these_are_read_whole(made, seed, count):
    network, patch = made
    dense = densify(network, patch)
    image = image_for(network, dense, seed, room=(5, 6))
    yx = torch.stack([torch.randint(0, 6, (count,)), torch.randint(0, 7, (count,))], 1)
    rows, columns = dense.patch
    click = dependency_closure(dense.geometry.windows, np.zeros(1, np.int64), columns)
    pixels = torch.cat([
        image[:, y : y + rows, x : x + columns].reshape(image.shape[0], -1)[:, click.pixels].t()
        for y, x in yx.tolist()
    ])  # fmt: skip
    clicks = join([click] * count)
    assert clicks.is_disjoint
    whole = dense(image[None])[0][:, yx[:, 0], yx[:, 1]].t()
    assert_equal(dense.on_sites(pixels, clicks), whole, [image, *network.parameters()])


@settings(max_examples=60, deadline=None)
@given(graph_networks(exact=True), seeds)
def test_of_equal_pixels_the_same_one_wins_in_every_form(made, seed):
    network, patch = made
    dense = densify(network, patch)
    image = image_for(network, dense, seed, ties=True)
    inputs, size = [image, *network.parameters()], (4, 5)
    assert_equal(dense(image[None])[0], every_patch(network, image, dense.patch), inputs)
    sites = np.add.outer(np.arange(size[0]) * image.shape[2], np.arange(size[1])).ravel()
    closure = dependency_closure(dense.geometry.windows, sites, image.shape[2])
    at_sites = dense.on_sites(image.flatten(1)[:, closure.pixels].t(), closure)
    assert_equal(at_sites.t().reshape(-1, *size), every_patch(network, image, dense.patch), inputs)


class Context(nn.Module):
    """Detail beside the means of wide windows, as scores of four branches that are summed."""

    def __init__(self, channels, classes):
        super().__init__()
        c = channels
        self.trunk = nn.Sequential(
            nn.Conv2d(c, 4 * c, 3, groups=c), nn.LeakyReLU(0.1), nn.MaxPool2d(3, 2),
            nn.Conv2d(4 * c, 4 * c, 3, groups=c), nn.LeakyReLU(0.1), nn.MaxPool2d(3, 2),
            nn.Conv2d(4 * c, 8 * c, 3, groups=c), nn.LeakyReLU(0.1),
        )  # fmt: skip
        self.head = nn.Conv2d(8 * c, 4 * classes, 1)
        self.near, self.wide, self.widest = (nn.AvgPool2d(k, 1) for k in (9, 25, 49))
        self.classes = classes

    def forward(self, x):
        k, y = self.classes, self.head(self.trunk(x))
        out = y[:, :k, 24:-24, 24:-24] + self.near(y[:, k : 2 * k, 20:-20, 20:-20])
        return out + self.wide(y[:, 2 * k : 3 * k, 12:-12, 12:-12]) + self.widest(y[:, 3 * k :])


@pytest.fixture
def context():
    torch.manual_seed(0)
    return Context(1, 2).double().eval()


def test_a_trunk_with_wide_means_is_exact_in_every_form(context):
    dense = densify(context)
    assert dense.geometry.stride == (4, 4)
    side = dense.patch[0]
    assert dense.patch == (side, side)
    assert side == dense.trunk_patch[0] + 48 * 4
    image = torch.randn(1, side + 2, side + 3, dtype=torch.float64, requires_grad=True)
    inputs = [image, *context.parameters()]
    patches = every_patch(context, image, dense.patch)
    assert_equal(dense(image[None])[0], patches, inputs)
    sites = np.array([1, 2, 2 * image.shape[2]])
    closure = dependency_closure(dense.geometry.windows, sites, image.shape[2])
    taps = max(found.rows.shape[1] for found in closure.maps)
    assert taps == 49  # not 49 x 49
    patches = every_patch(context, image, dense.patch)
    wanted = torch.stack([patches[:, 0, 1], patches[:, 0, 2], patches[:, 2, 0]])
    assert_equal(dense.on_sites(image.flatten(1)[:, closure.pixels].t(), closure), wanted, inputs)


def test_a_trunk_with_wide_means_runs_strided_on_maps_as_it_stands(context):
    dense = densify(context)
    image = torch.randn(1, 1, dense.patch[0] + 8, dense.patch[1] + 12, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(context(image), dense(image)[:, :, ::4, ::4], **CLOSE)


def test_parameters_are_swapped_copied_and_pickled_with_the_network(context):
    dense = densify(context)
    image = torch.randn(1, 1, dense.patch[0] + 1, dense.patch[1], dtype=torch.float64)
    other = Context(1, 2).double()
    named = {f"network.{name}": value.detach() for name, value in other.named_parameters()}
    wanted = densify(other)(image)
    torch.testing.assert_close(functional_call(dense, named, (image,)), wanted, **CLOSE)
    for again in (copy.deepcopy(dense), pickle.loads(pickle.dumps(dense))):
        torch.testing.assert_close(again(image), dense(image), **CLOSE)
        again.network.load_state_dict(other.state_dict())
        torch.testing.assert_close(again(image), wanted, **CLOSE)
    with torch.device("meta"):
        assert trace(Context(1, 2).eval()).patch == dense.patch


def test_local_scores_too_small_for_the_branches_are_refused(context):
    dense = densify(context)
    local = torch.zeros(1, 8, 192, 193, dtype=torch.float64)
    assert dense.gathered(torch.zeros(1, 8, 193, 193, dtype=torch.float64)).shape == (1, 2, 1, 1)
    with pytest.raises(ShapeError, match="213 x 213, the patch, gives 193 x 193"):
        dense.gathered(local)


def test_few_far_positions_run_at_sites_and_a_full_rectangle_as_a_map(context):
    geometry = trace(context)
    width = 2000

    def work(yx):
        yx = np.array(sorted(yx))
        rows, columns = yx.max(0) - yx.min(0) + 1
        return positions_work(
            geometry, active_sites(geometry.windows, yx[:, 0] * width + yx[:, 1], width), rows, columns
        )

    assert work([(0, 0), (1500, 1500)]).at_sites
    full = work([(y, x) for y in range(30) for x in range(30)])
    assert not full.at_sites
    assert full.sites == pytest.approx(full.box, rel=0.2)  # the same sites, counted two ways


class Written(nn.Module):
    """A network whose forward is the function it is given."""

    def __init__(self, function, **layers):
        super().__init__()
        self.function = function
        for name, layer in layers.items():
            setattr(self, name, layer)

    def forward(self, x):
        return self.function(self, x)


def same_as_patches(network, channels=2, in_shape=None):
    network = network.double().eval()
    dense = densify(network, in_shape)
    image = torch.randn(channels, dense.patch[0] + 3, dense.patch[1] + 2, dtype=torch.float64)
    whole = dense(image[None])[0]
    torch.testing.assert_close(whole, every_patch(network, image, dense.patch), **CLOSE)
    return dense


@pytest.mark.parametrize(
    "head",
    [
        lambda n, x: n.linear(x.mean((2, 3))),
        lambda n, x: n.linear(F.adaptive_avg_pool2d(x, 1).flatten(1)),
        lambda n, x: n.linear(torch.amax(x, (-1, -2))),
        lambda n, x: n.linear(n.pool(x).view(x.size(0), -1)),
        lambda n, x: n.linear(n.pool(x).reshape(x.shape[0], -1)),
        lambda n, x: F.softmax(n.linear(torch.flatten(n.pool(x), 1)), dim=1),
        lambda n, x: n.linear(F.max_pool2d(F.gelu(x, approximate="tanh"), 4).flatten(start_dim=1)),
    ],
)
def test_pools_over_the_whole_map_may_be_written_in_many_ways(head):
    torch.manual_seed(0)
    network = Written(
        lambda n, x: head(n, n.conv(x)),
        conv=nn.Conv2d(2, 5, 3),
        pool=nn.AdaptiveMaxPool2d((1, 1)),
        linear=nn.Linear(5, 3),
    )
    dense = same_as_patches(network, in_shape=(6, 6))
    assert dense.patch == (6, 6)


def test_a_pool_over_the_whole_map_needs_the_patch_unless_another_layer_tells_it():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(2, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    with pytest.raises(ConversionError, match=r"takes patches of 3 rows, 4 and more.*in_shape="):
        densify(network)
    assert patch_size(network, (9, 8)) == (9, 8)
    told = Written(
        lambda n, x: n.pool(x)[:, :2] + n.conv(x), pool=nn.AdaptiveAvgPool2d(1), conv=nn.Conv2d(2, 2, 7)
    )
    assert same_as_patches(told).patch == (7, 7)


def test_slopes_behind_flatten_are_exact_for_one_pixel_and_refused_for_more():
    torch.manual_seed(0)
    one = nn.Sequential(nn.Conv2d(2, 3, 4), nn.Flatten(), nn.PReLU(3), nn.Linear(3, 2))
    nn.init.normal_(one[2].weight)
    same_as_patches(one)
    for slopes in (3, 12):
        more = nn.Sequential(nn.Conv2d(2, 3, 3), nn.Flatten(), nn.PReLU(slopes), nn.Linear(12, 2))
        with pytest.raises(ConversionError, match=r"'2' \(PReLU\).*flattened map as a whole.*2 x 2"):
            densify(more)
    same_as_patches(nn.Sequential(nn.Conv2d(2, 3, 3), nn.Flatten(), nn.PReLU(), nn.Linear(12, 2)))


def test_layers_that_another_thread_runs_meanwhile_are_not_traced(monkeypatch):
    """`torch.fx.symbolic_trace` patches the class of all modules; here nothing but copies is touched."""
    before = nn.Module.__call__, nn.Module.__getattr__
    seen = []

    def forward(n, x):
        seen.append((nn.Module.__call__, nn.Module.__getattr__) == before)
        return n.conv(x)

    densify(Written(forward, conv=nn.Conv2d(1, 1, 2)))
    assert seen == [True]


def depends_on_values(n, x):
    return n.conv(x) if x.sum() > 0 else x


def overwrites(n, x):
    y = n.conv(x)
    return F.relu(y[..., 1:-1, 1:-1], inplace=True) + y[..., 1:-1, 1:-1]


def adds_in_place(n, x):
    y = n.conv(x)
    z = torch.tanh(y)
    y += z
    return y + z


def hooked():
    network = nn.Sequential(nn.Conv2d(1, 1, 3))
    network.register_forward_hook(lambda *_: None)
    return network


REFUSED = [
    (lambda n, x: n.conv(x) * 2, "operation mul .*layers that can be converted"),
    (lambda n, x: n.conv(x) + x, r"maps of .* rows meet here.*slicing"),
    (lambda n, x: torch.cat([n.conv(x), n.conv(x)], 2), "along axis 2; only the channels"),
    (lambda n, x: n.conv(x)[0:1], "some of the patches"),
    (lambda n, x: n.conv(x)[:, 0], "only slices with fixed bounds"),
    (lambda n, x: n.conv(x).mean(1), "only rows and columns"),
    (lambda n, x: n.norm(n.conv(x)), r"'norm' \(LayerNorm\).*one pixel"),
    (lambda n, x: n.padded(x) + x, r"'padded' \(Conv2d\).*padding=0.*patch minus 1.*crop the other branch"),
    (lambda n, x: (n.conv(x), x), "returns tuple"),
    (lambda n, x: n.strided(x)[..., :3, :3] + n.conv(x)[..., :3, :3], "1 and 2 apart.*3 wide"),
    (lambda n, x: F.conv2d(x, n.conv.weight), "operation conv2d"),
    (lambda n, x: F.avg_pool2d(x, 3, padding=1), "avg_pool2d.*pads"),
    (lambda n, x: F.dropout(x, training=n.training), "operation dropout"),
    (lambda n, x: torch.cat([x.flatten(1), x.flatten(1)], 1), "flattened maps side by side"),
    (lambda n, x: x + x.flatten(1), "flatten all or none"),
    (lambda n, x: n.linear(n.conv(x)), "no Flatten"),
    (lambda n, x: n.conv(x) if n.training else x, "depends on self.training"),
    (lambda n, x: n.conv(x) if n.training is True or n.training == 1 else x, "depends on self.training"),
    (depends_on_values, "cannot be traced by torch.fx"),
    (overwrites, "writes into a map that another branch reads"),
]  # fmt: skip


@pytest.mark.parametrize(("forward", "reason"), REFUSED)
def test_what_is_not_exact_is_refused_with_the_reason(forward, reason):
    network = Written(
        forward,
        conv=nn.Conv2d(1, 1, 3),
        strided=nn.Conv2d(1, 1, 3, stride=2),
        padded=nn.Conv2d(1, 1, 3, padding=1),
        norm=nn.LayerNorm((1, 1, 1)),
        linear=nn.Linear(4, 2),
    ).eval()
    with pytest.raises(ConversionError, match=reason):
        densify(network, (8, 8))


def test_sums_in_place_are_told_from_sums():
    with pytest.raises(ConversionError, match="writes into a map"):
        densify(Written(adds_in_place, conv=nn.Conv2d(1, 1, 3)))

    def fine(n, x):
        y = n.conv(x)
        y += n.other(x)
        return y

    same_as_patches(Written(fine, conv=nn.Conv2d(2, 3, 3), other=nn.Conv2d(2, 3, 3)))


def test_hooks_of_what_is_run_are_refused_and_others_are_not():
    with pytest.raises(ConversionError, match=r"'block' .*hooks"):
        densify(Written(lambda n, x: n.block(x), block=hooked()))
    same_as_patches(Written(lambda n, x: n.conv(x), conv=nn.Conv2d(2, 1, 3), block=hooked()))


def test_what_a_result_does_not_need_is_not_asked_for():
    def forward(n, x):
        n.strange(x)
        return n.conv(x)

    same_as_patches(Written(forward, conv=nn.Conv2d(2, 1, 3), strange=nn.InstanceNorm2d(2)))


def test_layers_used_twice_count_twice():
    torch.manual_seed(0)
    twice = Written(lambda n, x: n.conv(torch.relu(n.conv(x))) + n.conv(n.conv(x)), conv=nn.Conv2d(2, 2, 3))
    assert same_as_patches(twice).patch == (5, 5)


def test_steps_of_a_slice_are_strides():
    torch.manual_seed(0)
    network = Written(
        lambda n, x: n.last(n.conv(x)[:, 1::2, 1::2, ::3]), conv=nn.Conv2d(2, 4, 3), last=nn.Conv2d(2, 2, 2)
    )
    assert same_as_patches(network).geometry.stride == (2, 3)


def test_a_program_of_its_own_is_a_network_too():
    network = GraphNetwork([nn.Conv2d(1, 2, 3)], [("layer", (0,), 0), ("function", (1,), "relu")], 1)
    same_as_patches(network, channels=1)


@pytest.mark.parametrize("dynamic", [None, True], ids=["sizes as met", "any size"])
def test_branches_compile_whole(context, dynamic):
    torch._dynamo.reset()
    dense = densify(context)
    compiled = torch.compile(dense, fullgraph=True, backend="aot_eager", dynamic=dynamic)
    for more in (2, 5):
        x = torch.randn(1, 1, dense.patch[0] + more, dense.patch[1] + 1, dtype=torch.float64)
        torch.testing.assert_close(compiled(x), dense(x), **CLOSE)


def test_branches_compile_whole_at_sites(context):
    torch._dynamo.reset()
    dense = densify(context)
    closure = dependency_closure(dense.geometry.windows, np.array([0, 3]), 222)
    pixels = torch.randn(len(closure.pixels), 1, dtype=torch.float64)
    at_sites = torch.compile(dense.on_sites, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(at_sites(pixels, closure), dense.on_sites(pixels, closure), **CLOSE)


@pytest.mark.parametrize("strict", [False, True])
def test_branches_export_for_any_image_size(context, strict):
    dense = densify(context)
    side = dense.patch[0]
    sizes = {2: torch.export.Dim("rows", min=side + 2), 3: torch.export.Dim("columns", min=side + 2)}
    x = torch.randn(1, 1, side + 9, side + 7, dtype=torch.float64)
    exported = torch.export.export(dense, (x,), dynamic_shapes={"x": sizes}, strict=strict)
    other = torch.randn(1, 1, side + 3, side + 12, dtype=torch.float64)
    torch.testing.assert_close(exported.module()(other), dense(other), **CLOSE)
