"""The operators as PyTorch sees them: registered whole, differentiable, traceable."""

from __future__ import annotations

import inspect

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck
from torch.library import opcheck

from napari_dsparse import ops
from napari_dsparse.ops import fakes, reference
from napari_dsparse.ops.autograd import RULES
from napari_dsparse.ops.library import OPS
from napari_dsparse.ops.schemas import SCHEMAS, argument_names
from operators import CASES, Case, arguments, every_case

NAMED = [pytest.param(o, c, id=f"{o}: {c.name}") for o, c in every_case()]
OPCHECKED = [p for p in NAMED if p.values[1].name in {"rectangular", "groups", "channels-last", "no image"}]


@pytest.mark.parametrize("operator", SCHEMAS)
def test_every_implementation_has_the_schema_s_arguments(operator):
    schema = getattr(OPS, operator).default._schema
    names = argument_names(operator)
    assert tuple(a.name for a in schema.arguments) == names
    for home in (reference, fakes):
        assert tuple(inspect.signature(getattr(home, operator)).parameters) == names
    assert operator in RULES


def test_nothing_is_defined_beside_the_schemas():
    assert set(reference.__all__) == set(SCHEMAS) == set(RULES)


@pytest.mark.parametrize(("operator", "case"), OPCHECKED)
def test_operators_pass_all_of_torch_s_checks(operator, case):
    opcheck(getattr(OPS, operator).default, arguments(operator, case, requires_grad=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("operator", SCHEMAS)
def test_operators_pass_all_of_torch_s_checks_in_every_type(operator, dtype):
    case = Case("", channels=4, outputs=6, groups=2, activation="tanh", dtype=dtype, indices=torch.int64)
    opcheck(getattr(OPS, operator).default, arguments(operator, case, requires_grad=True))


@pytest.mark.parametrize(("operator", "case"), NAMED)
def test_fake_and_real_results_have_the_same_size_type_and_layout(operator, case):
    real = results(getattr(OPS, operator)(*arguments(operator, case)))
    meta = [a.to("meta") if isinstance(a, torch.Tensor) else a for a in arguments(operator, case)]
    for one, fake in zip(real, results(getattr(OPS, operator)(*meta)), strict=True):
        assert (one.shape, one.dtype) == (fake.shape, fake.dtype)
        if one.numel():
            significant = [d for d, length in enumerate(one.shape) if length > 1]
            assert [one.stride(d) for d in significant] == [fake.stride(d) for d in significant]


@pytest.mark.parametrize(("operator", "case"), NAMED)
def test_first_and_second_derivatives_are_right(operator, case):
    inputs = arguments(operator, case, requires_grad=True)
    if case.activation == "relu" and operator.endswith("conv2d"):
        sums = getattr(OPS, operator)(*inputs[:-2], "none", 0.0)
        assert sums.numel() == 0 or sums.abs().min() > 1e-4  # numeric gradients mean nothing across the kink

    def differentiable(*args):
        return results(getattr(OPS, operator)(*args))[0]

    assert gradcheck(differentiable, inputs)
    assert gradgradcheck(differentiable, inputs, fast_mode=True)


@pytest.mark.parametrize("wanted", ["x", "weight", "bias"])
@pytest.mark.parametrize("operator", ["conv2d", "site_conv2d"])
def test_gradients_nobody_wants_are_not_computed(operator, wanted):
    args = list(arguments(operator, CASES[0]))
    args[argument_names(operator).index(wanted)].requires_grad_()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        getattr(OPS, operator)(*args).sum().backward()
    called = {event.key for event in profile.key_averages()}
    assert (f"dsparse::{operator}_input_grad" in called) == (wanted == "x")
    assert (f"dsparse::{operator}_weight_grad" in called) == (wanted == "weight")


@pytest.mark.parametrize("operator", ["max_pool2d", "site_max_pool2d"])
def test_a_max_pool_without_winners_refuses_to_be_differentiated(operator):
    *args, _ = arguments(operator, CASES[0], requires_grad=True)
    with pytest.raises(RuntimeError, match="record=True"):
        getattr(OPS, operator)(*args, False)[0].sum().backward()


@pytest.mark.parametrize("operator", ["max_pool2d", "site_max_pool2d"])
def test_winners_are_kept_only_for_a_gradient_to_come(operator):
    args = arguments(operator, CASES[0], requires_grad=True)
    assert getattr(OPS, operator)(*args[:-1], True)[1].numel() > 0
    assert getattr(OPS, operator)(*args[:-1], False)[1].numel() == 0
    x = torch.randn(1, 1, 4, 4, requires_grad=True)
    assert "max_pool2d" in type(ops.max_pool2d(x, 2).grad_fn).__name__
    with torch.no_grad():
        assert ops.max_pool2d(x, 2).grad_fn is None


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("operator", ["conv2d", "site_conv2d"])
def test_autocast_runs_convolutions_in_its_precision(operator, dtype):
    args = arguments(operator, Case("float32", dtype=torch.float32), requires_grad=True)
    with torch.autocast("cpu", dtype):
        low = getattr(OPS, operator)(*args)
    assert low.dtype == dtype
    torch.testing.assert_close(low.float(), getattr(OPS, operator)(*args), rtol=0.02, atol=0.02)
    low.float().sum().backward()
    assert args[0].grad.dtype == args[1].grad.dtype == torch.float32


@pytest.mark.parametrize("operator", ["max_pool2d", "avg_pool2d", "site_max_pool2d", "site_avg_pool2d"])
def test_autocast_leaves_pools_and_float64_alone(operator):
    with torch.autocast("cpu", torch.bfloat16):
        (out, *_) = results(
            getattr(OPS, operator)(*arguments(operator, Case("float32", dtype=torch.float32)))
        )
        assert out.dtype == torch.float32
        assert OPS.conv2d(*arguments("conv2d", CASES[0])).dtype == torch.float64


def results(output):
    return output if isinstance(output, tuple) else (output,)
