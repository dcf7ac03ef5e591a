"""Forward-mode derivatives are the backward ones, whether anything requires a gradient or not."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import forward_ad
from torch.func import functional_call, hessian, jacfwd, jacrev, jvp

from graph_networks import graph_networks
from napari_dsparse import ops
from napari_dsparse.network import dense as dense_network
from napari_dsparse.network import densify
from napari_dsparse.network.work import PositionsWork
from napari_dsparse.ops.library import OPS
from napari_dsparse.ops.schemas import SCHEMAS
from operators import Case, arguments

CASES = (
    Case("all of it", channels=4, outputs=6, groups=2, activation="tanh", sites=9),
    Case("no activation"),
    Case("no bias", bias=False, activation="relu", slope=0.1),
    Case("channels-last", channels=3, channels_last=True, activation="relu"),
)


def scalar(operator, case):
    """A function of the operator's differentiable arguments, and their values."""
    args = arguments(operator, case, requires_grad=True)
    places = [i for i, arg in enumerate(args) if isinstance(arg, torch.Tensor) and arg.is_floating_point()]

    def function(*values):
        given = list(args)
        for place, value in zip(places, values, strict=True):
            given[place] = value
        out = getattr(OPS, operator)(*given)
        return (out[0] if isinstance(out, tuple) else out).square().sum()

    return function, [args[i].detach() for i in places]


def backward(function, values):
    values = [value.clone().requires_grad_() for value in values]
    return torch.autograd.grad(function(*values), values)


def forward(function, values, tangents, requires_grad=False):
    """The tangent of `function` by dual numbers; only the values with a tangent are dual."""
    with forward_ad.dual_level():
        values = [value.clone().requires_grad_(requires_grad) for value in values]
        dual = [v if t is None else forward_ad.make_dual(v, t) for v, t in zip(values, tangents, strict=True)]
        return forward_ad.unpack_dual(function(*dual)).tangent


@pytest.mark.parametrize("requires_grad", [False, True], ids=["values alone", "with gradients"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@pytest.mark.parametrize("operator", SCHEMAS)
def test_tangents_of_every_operator_are_products_with_its_gradient(operator, case, requires_grad):
    function, values = scalar(operator, case)
    torch.manual_seed(0)
    tangents = [torch.randn_like(value) for value in values]
    shares = [(g * t).sum() for g, t in zip(backward(function, values), tangents, strict=True)]
    torch.testing.assert_close(forward(function, values, tangents, requires_grad), sum(shares))
    for place, share in enumerate(shares):  # one argument alone
        alone = [t if i == place else None for i, t in enumerate(tangents)]
        torch.testing.assert_close(forward(function, values, alone, requires_grad), share)


@pytest.mark.parametrize("operator", SCHEMAS)
def test_tangents_under_transforms_and_behind_gradients(operator):
    function, values = scalar(operator, CASES[0])
    torch.manual_seed(0)
    tangents = [torch.randn_like(value) for value in values]
    wanted = sum((g * t).sum() for g, t in zip(backward(function, values), tangents, strict=True))
    torch.testing.assert_close(jvp(function, tuple(values), tuple(tangents))[1], wanted)
    torch.testing.assert_close(jacfwd(function)(*values), jacrev(function)(*values))
    # A gradient of the tangent itself, as in a product with the Hessian.
    values = [value.clone().requires_grad_() for value in values]
    with forward_ad.dual_level():
        out = function(*(forward_ad.make_dual(v, t) for v, t in zip(values, tangents, strict=True)))
        tangent = forward_ad.unpack_dual(out).tangent
        found = torch.autograd.grad(tangent, values)
    gradients = torch.autograd.grad(function(*values), values, create_graph=True)
    along = sum((g * t).sum() for g, t in zip(gradients, tangents, strict=True))
    torch.testing.assert_close(found, torch.autograd.grad(along, values))


def test_second_derivatives_forward_over_backward():
    x = torch.randn(1, 1, 3, 3, dtype=torch.float64)
    weight = torch.randn(1, 1, 2, 2, dtype=torch.float64)

    def function(x):
        return ops.conv2d(ops.avg_pool2d(x, (1, 2)), weight, None, 1, 1, "tanh").square().sum()

    torch.testing.assert_close(hessian(function)(x), jacrev(jacrev(function))(x))


def test_winners_have_no_tangent_and_other_results_none_where_nothing_moves():
    x = torch.randn(1, 1, 4, 4, dtype=torch.float64)
    with forward_ad.dual_level():
        out, winners = OPS.max_pool2d(forward_ad.make_dual(x, torch.ones_like(x)), (2, 2), (1, 1), False)
        assert winners.shape == (0,)
        torch.testing.assert_close(forward_ad.unpack_dual(out).tangent, torch.ones_like(out))
        assert forward_ad.unpack_dual(ops.avg_pool2d(x, 2)).tangent is None


@settings(max_examples=30, deadline=None)
@given(graph_networks(), st.integers(0, 2**16), st.booleans(), st.sampled_from(["whole", "sites", "patches"]))
def test_tangents_go_through_a_densified_network_in_every_form(made, seed, learns, form):
    network, patch = made
    dense = densify(copy.deepcopy(network).requires_grad_(learns), patch)
    torch.manual_seed(seed)
    size = tuple(side + (form != "patches") for side in dense.patch)
    image = torch.randn(network.in_channels, *size, dtype=torch.float64)
    parameters = {name: value.detach() for name, value in dense.named_parameters()}
    names, values = list(parameters), [image, *parameters.values()]
    tangents = [torch.randn_like(value) for value in values]

    class Positions(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.dense = dense

        def forward(self, image):
            if form == "whole":
                return self.dense(image[None])
            return self.dense.at(image, torch.tensor([[0, 0]] if form == "patches" else [[0, 0], [1, 1]]))

    def function(image, *parameters):
        named = {f"dense.{name}": value for name, value in zip(names, parameters, strict=True)}
        return functional_call(Positions(), named, (image,)).square().sum()

    with pytest.MonkeyPatch.context() as forced:
        forced.setattr(dense_network, "positions_work", lambda *_: PositionsWork(0, 0, 1))
        wanted = sum((g * t).sum() for g, t in zip(backward(function, values), tangents, strict=True))
        found = forward(function, values, tangents, learns)
    torch.testing.assert_close(found, wanted, rtol=1e-8, atol=1e-10)
