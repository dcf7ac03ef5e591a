"""The operators under `torch.func` are what they are under autograd."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.func import functional_call, grad, jacrev, vjp, vmap

from napari_dsparse import densify, ops
from napari_dsparse.ops.library import OPS
from napari_dsparse.ops.schemas import SCHEMAS
from operators import Case, arguments

CASE = Case("all of it", channels=4, outputs=6, groups=2, activation="tanh", sites=9)


def scalar(operator, args):
    """A function of the operator's differentiable arguments, their places, and their values."""
    places = [i for i, arg in enumerate(args) if isinstance(arg, torch.Tensor) and arg.is_floating_point()]

    def function(*values):
        given = list(args)
        for place, value in zip(places, values, strict=True):
            given[place] = value
        out = getattr(OPS, operator)(*given)
        return (out[0] if isinstance(out, tuple) else out).square().sum()

    return function, tuple(range(len(places))), tuple(args[i].detach() for i in places)


def by_autograd(function, values, create_graph=False):
    values = [value.clone().requires_grad_() for value in values]
    return torch.autograd.grad(function(*values), values, create_graph=create_graph), values


@pytest.mark.parametrize("operator", SCHEMAS)
def test_first_and_second_derivatives_are_those_of_autograd(operator):
    function, which, values = scalar(operator, arguments(operator, CASE, requires_grad=True))
    wanted, inputs = by_autograd(function, values, create_graph=True)
    torch.testing.assert_close(grad(function, which)(*values), wanted)

    def steepness(*values):
        return sum(g.square().sum() for g in grad(function, which)(*values))

    twice = torch.autograd.grad(sum(g.square().sum() for g in wanted), inputs)
    torch.testing.assert_close(grad(steepness, which)(*values), twice)
    # A transform within autograd, as in a meta-learning step.
    inputs = [value.clone().requires_grad_() for value in values]
    torch.testing.assert_close(torch.autograd.grad(steepness(*inputs), inputs), twice)


@pytest.mark.parametrize("operator", SCHEMAS)
def test_a_batch_of_calls_is_mapped_one_by_one(operator):
    function, which, values = scalar(operator, arguments(operator, CASE, requires_grad=True))
    batch = tuple(torch.stack([value, 2 * value - 1], 1) for value in values)
    each = [tuple(value[:, item] for value in batch) for item in (0, 1)]
    dims = (1,) * len(values)
    torch.testing.assert_close(vmap(function, dims)(*batch), torch.stack([function(*one) for one in each]))
    gradients = [by_autograd(function, one)[0] for one in each]
    wanted = [torch.stack(both) for both in zip(*gradients, strict=True)]
    torch.testing.assert_close(vmap(grad(function, which), dims)(*batch), tuple(wanted))
    summed = grad(lambda *batch: vmap(function, dims)(*batch).sum(), which)(*batch)
    torch.testing.assert_close(summed, tuple(torch.movedim(one, 0, 1) for one in wanted))


@pytest.fixture
def network():
    torch.manual_seed(0)
    return densify(
        nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(3, 2, 2), nn.AvgPool2d(2))
    ).double()


def test_a_densified_network_is_a_function_of_its_parameters(network):
    images = torch.randn(3, 1, 12, 11, dtype=torch.float64)
    parameters = {name: parameter.detach() for name, parameter in network.named_parameters()}

    def loss(parameters, image):
        return functional_call(network, parameters, (image[None],)).square().sum()

    by_sample = vmap(grad(loss), (None, 0))(parameters, images)
    for item, image in enumerate(images):
        wanted = torch.autograd.grad(network(image[None]).square().sum(), list(network.parameters()))
        for one, two in zip(by_sample.values(), wanted, strict=True):
            torch.testing.assert_close(one[item], two)


def test_jacobians_and_products_with_them():
    x, weight = torch.randn(1, 1, 4, 4, dtype=torch.float64), torch.randn(1, 1, 2, 2, dtype=torch.float64)

    def function(x):
        return ops.max_pool2d(ops.conv2d(x, weight), 2).flatten()

    torch.testing.assert_close(jacrev(function)(x), torch.autograd.functional.jacobian(function, x))
    out, back = vjp(function, x)
    seed = torch.randn_like(out)
    wanted = torch.autograd.functional.vjp(function, x, seed)[1]
    torch.testing.assert_close(back(seed)[0], wanted)


def test_winners_stay_empty_when_nobody_asked_for_them():
    x = torch.randn(2, 1, 1, 4, 4, dtype=torch.float64, requires_grad=True)
    out, winners = vmap(lambda x: OPS.max_pool2d(x, (2, 2), (1, 1), False))(x)
    assert winners.shape == (2, 0)
    assert out.requires_grad


def test_a_batch_of_nothing_is_refused_in_a_sentence():
    with pytest.raises(ValueError, match="batch of no items"):
        vmap(lambda x: ops.avg_pool2d(x, 2))(torch.zeros(0, 1, 1, 3, 3))
