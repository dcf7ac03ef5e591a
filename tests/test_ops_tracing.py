"""Compiled and exported networks compute what the eager ones do, without a break in the graph."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from torch import nn

from napari_dsparse import densify
from napari_dsparse.ops.library import OPS
from napari_dsparse.ops.schemas import SCHEMAS
from napari_dsparse.sites import dependency_closure
from operators import Case, arguments

ROWS = COLUMNS = 8  # the patch

DTYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16)


@pytest.fixture
def dense():
    torch.manual_seed(0)
    torch._dynamo.reset()
    return densify(
        nn.Sequential(
            nn.Conv2d(1, 4, 3),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(4, 4, 2, groups=2),
            nn.Tanh(),
            nn.AvgPool2d(2),
            nn.Dropout(0.1),
            nn.Flatten(),
            nn.Linear(4, 2),
        ).eval()
    )


def with_gradients(function, x, parameters):
    x = x.clone().requires_grad_()
    out = function(x)
    return [out, *torch.autograd.grad(out.square().sum(), [x, *parameters])]


@pytest.mark.parametrize("operator", SCHEMAS)
def test_every_operator_compiles_whole_in_every_type(operator):
    torch._dynamo.reset()
    compiled = torch.compile(getattr(OPS, operator), fullgraph=True, backend="aot_eager")
    for dtype in DTYPES:
        for channels_last in (False, True):
            case = Case("", channels=3, channels_last=channels_last, activation="relu", dtype=dtype)
            results = []
            for function in (compiled, getattr(OPS, operator)):
                args = arguments(operator, case, requires_grad=True)
                out = function(*args)
                out = out[0] if isinstance(out, tuple) else out
                floating = [a for a in args if isinstance(a, torch.Tensor) and a.is_floating_point()]
                results.append([out, *torch.autograd.grad(out.square().sum(), floating)])
            torch.testing.assert_close(*results)
            if results[0][0].numel():
                assert results[0][0].stride() == results[1][0].stride()


@pytest.mark.parametrize("dynamic", [None, True], ids=["sizes as met", "any size"])
def test_a_densified_network_compiles_whole(dense, dynamic):
    compiled = torch.compile(dense, fullgraph=True, backend="aot_eager", dynamic=dynamic)
    for size in ((12, 11), (15, 20)):
        x = torch.randn(2, 1, *size)
        torch.testing.assert_close(
            with_gradients(compiled, x, dense.parameters()), with_gradients(dense, x, dense.parameters())
        )


def test_channels_last_networks_compile_whole(dense):
    compiled = torch.compile(dense, fullgraph=True, backend="aot_eager")
    x = torch.randn(2, 1, 12, 11).expand(-1, 1, -1, -1).contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(compiled(x), dense(x))


def test_autocast_compiles_whole(dense):
    compiled = torch.compile(dense, fullgraph=True, backend="aot_eager")
    x = torch.randn(1, 1, 12, 11)
    with torch.autocast("cpu", torch.bfloat16):
        low, eager = compiled(x), dense(x)
    assert low.dtype == eager.dtype == torch.bfloat16
    torch.testing.assert_close(low, eager)


def test_active_sites_compile_whole(dense):
    closure = dependency_closure(dense.geometry.windows, np.array([0, 3, 25]), 22)
    compiled = torch.compile(dense.on_sites, fullgraph=True, backend="aot_eager")
    pixels = torch.randn(len(closure.pixels), 1)
    parameters = list(dense.parameters())
    torch.testing.assert_close(
        with_gradients(lambda x: compiled(x, closure), pixels, parameters),
        with_gradients(lambda x: dense.on_sites(x, closure), pixels, parameters),
    )


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_densified_network_exports_in_every_type(dense, dtype):
    dense = dense.to(dtype)
    x = torch.randn(1, 1, 20, 22).to(dtype)
    torch.testing.assert_close(torch.export.export(dense, (x,)).module()(x), dense(x))


@pytest.mark.parametrize("strict", [False, True])
def test_a_densified_network_exports_saves_and_loads_for_any_image_size(dense, strict):
    sizes = {2: torch.export.Dim("rows", min=ROWS + 2), 3: torch.export.Dim("columns", min=COLUMNS + 2)}
    exported = torch.export.export(
        dense, (torch.randn(1, 1, 20, 22),), dynamic_shapes={"x": sizes}, strict=strict
    )
    operators = {str(node.target) for node in exported.graph.nodes}
    assert operators >= {f"dsparse.{name}.default" for name in ("conv2d", "max_pool2d", "avg_pool2d")}
    assert not operators & {"aten.relu.default", "aten.tanh.default"}  # fused into the convolutions
    file = io.BytesIO()
    torch.export.save(exported, file)
    file.seek(0)
    loaded = torch.export.load(file).module()
    x = torch.randn(1, 1, 31, 13)
    torch.testing.assert_close(loaded(x), dense(x))
