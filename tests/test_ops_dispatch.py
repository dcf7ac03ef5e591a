"""The choice of implementation: kernels where they can run, plain PyTorch elsewhere, and a readable reason.

No GPU is needed: `dispatch.run` is called as the CUDA implementation would be, with a stand-in launcher.
"""

from __future__ import annotations

import subprocess
import sys
import warnings
from types import SimpleNamespace

import pytest
import torch

from napari_dsparse.cli import doctor
from napari_dsparse.cli.report import Report
from napari_dsparse.errors import DsparseError, KernelError
from napari_dsparse.machine import cache
from napari_dsparse.ops import dispatch
from napari_dsparse.ops.cuda import choices
from napari_dsparse.ops.library import OPS
from napari_dsparse.ops.schemas import SCHEMAS
from operators import CASES, Case, arguments

SERVED = "served by a kernel"
PLAIN = Case("float32", channels=3, dtype=torch.float32)


@pytest.fixture
def launcher(monkeypatch, tmp_path):
    """A launcher whose kernels always run; tests override parts of it."""
    stand_in = SimpleNamespace(
        unavailable=lambda device: None,
        can_run=lambda operator, *args: None,
        KERNEL_SUMMARIES=dict.fromkeys(SCHEMAS, "stand-in"),
        calls=[],
    )
    for name in SCHEMAS:
        setattr(stand_in, name, lambda *args, _name=name: stand_in.calls.append((_name, args)) or SERVED)
    monkeypatch.setattr(dispatch, "_launch", lambda: stand_in)
    monkeypatch.setattr(dispatch, "_told", set())
    monkeypatch.setattr(dispatch, "_failed", {})
    monkeypatch.setattr(choices, "machine", lambda device: ("A GPU", "torch, CUDA"))
    choices.times.forget()
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path))
    monkeypatch.delenv(dispatch.VARIABLE, raising=False)
    yield stand_in
    choices.times.forget()


@pytest.fixture
def cuda(monkeypatch):
    """Tensors here count as being on a CUDA device."""
    monkeypatch.setattr(dispatch, "_device", lambda args: torch.device("cuda:0"))


def fails(*_):
    raise KernelError("The driver refused the kernel; update it.")


def same(one, two):
    pairs = zip(one, two, strict=True) if isinstance(one, tuple) else [(one, two)]
    return all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("operator", SCHEMAS)
def test_cuda_tensors_go_through_the_dispatcher(operator):
    assert torch._C._dispatch_has_kernel_for_dispatch_key(f"dsparse::{operator}", "CUDA")


@pytest.mark.parametrize("mode", ["auto", "require"])
@pytest.mark.parametrize("operator", SCHEMAS)
def test_a_kernel_serves_where_it_can(operator, mode, launcher, monkeypatch):
    monkeypatch.setenv(dispatch.VARIABLE, mode)
    assert dispatch.run(operator, *arguments(operator, PLAIN)) == SERVED


@pytest.mark.parametrize("operator", SCHEMAS)
def test_off_means_plain_pytorch(operator, launcher, monkeypatch):
    monkeypatch.setenv(dispatch.VARIABLE, "off")
    args = arguments(operator, PLAIN)
    assert same(dispatch.run(operator, *args), getattr(OPS, operator)(*args))
    assert not launcher.calls


def test_an_unknown_mode_is_refused(launcher, monkeypatch):
    monkeypatch.setenv(dispatch.VARIABLE, "always")
    with pytest.raises(DsparseError, match="'always'; set it to one of auto, measure, require, off"):
        dispatch.run("conv2d", *arguments("conv2d", PLAIN))


def test_no_kernels_at_all_is_told_once_with_cause_and_cure(launcher):
    launcher.unavailable = lambda device: "The driver is too old; update it to 580."
    args = arguments("conv2d", PLAIN)
    with pytest.warns(dispatch.KernelWarning, match=r"update it to 580.*DSPARSE_KERNELS=off"):
        out = dispatch.run("conv2d", *args)
    assert same(out, OPS.conv2d(*args))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dispatch.run("conv2d", *args)
        dispatch.run("avg_pool2d", *arguments("avg_pool2d", PLAIN))


def test_a_kernel_that_fails_is_replaced_and_not_tried_again(launcher):
    tried = []
    launcher.conv2d = lambda *args: tried.append(args) or fails()
    args = arguments("conv2d", PLAIN)
    with pytest.warns(dispatch.KernelWarning, match="The driver refused"):
        assert same(dispatch.run("conv2d", *args), OPS.conv2d(*args))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dispatch.run("conv2d", *args)
    assert len(tried) == 1
    assert dispatch.run("avg_pool2d", *arguments("avg_pool2d", PLAIN)) == SERVED


def test_calls_that_kernels_are_not_made_for_go_on_in_silence(launcher, cuda):
    launcher.can_run = lambda operator, *args: "There is no kernel for float64."
    args = arguments("conv2d", PLAIN)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert same(dispatch.run("conv2d", *args), OPS.conv2d(*args))
    assert dispatch.why_not("conv2d", *args) == "There is no kernel for float64."


@pytest.mark.parametrize(
    "fault",
    [
        {"unavailable": lambda device: "No NVRTC."},
        {"can_run": lambda operator, *args: "No kernel for this."},
        {"conv2d": fails},
    ],
    ids=["no kernels", "not this call", "kernel fails"],
)
def test_require_never_falls_back(fault, launcher, monkeypatch):
    monkeypatch.setenv(dispatch.VARIABLE, "require")
    vars(launcher).update(fault)
    for _ in range(2):
        with pytest.raises(KernelError, match=r"conv2d has no kernel: (No|The driver)"):
            dispatch.run("conv2d", *arguments("conv2d", PLAIN))


def test_other_errors_of_a_kernel_are_not_swallowed(launcher):
    def broken(*args):
        raise ZeroDivisionError

    launcher.conv2d = broken
    with pytest.raises(ZeroDivisionError):
        dispatch.run("conv2d", *arguments("conv2d", PLAIN))


@pytest.mark.parametrize("operator", SCHEMAS)
def test_kernels_never_see_an_empty_tensor(operator, launcher, monkeypatch):
    monkeypatch.setenv(dispatch.VARIABLE, "require")
    empty = next(case for case in CASES if case.name == "no image")
    args = arguments(operator, empty)
    assert same(dispatch.run(operator, *args), getattr(OPS, operator)(*args))
    assert not launcher.calls


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
@pytest.mark.parametrize("operator", [name for name in SCHEMAS if not name.startswith("site_")])
def test_kernels_see_dense_maps_in_one_layout_and_plain_weights(operator, layout, launcher):
    args = list(arguments(operator, PLAIN))
    args[0] = args[0].contiguous(memory_format=layout)
    for i, arg in enumerate(args[1:], start=1):
        if isinstance(arg, torch.Tensor) and arg.ndim == 4:
            args[i] = torch.cat([arg, arg], 3)[..., : arg.shape[3]]  # neither layout, and not dense
    dispatch.run(operator, *args)
    ((_, seen),) = launcher.calls
    for name, arg in zip(dispatch.argument_names(operator), seen, strict=True):
        if isinstance(arg, torch.Tensor):
            plain = name not in ("x", "grad", "winners")
            assert arg.is_contiguous(memory_format=torch.contiguous_format if plain else layout), name


def test_a_map_that_is_not_dense_is_made_so(launcher):
    x = torch.randn(1, 2, 8, 8)[..., ::2]
    dispatch.run("avg_pool2d", x, (2, 2), (1, 1), 4)
    assert launcher.calls[0][1][0].is_contiguous()


def test_who_serves_what_is_known_for_every_operator(launcher, monkeypatch):
    cuda = torch.device("cuda:0")
    assert [s.operator for s in dispatch.services(cuda)] == list(SCHEMAS)
    assert all(s.kernel == "stand-in" and not s.reason for s in dispatch.services(cuda))
    launcher.unavailable = lambda device: "No NVRTC."
    assert all(s.kernel is None and s.reason == "No NVRTC." for s in dispatch.services(cuda))
    monkeypatch.setenv(dispatch.VARIABLE, "off")
    assert all("set to off" in s.reason for s in dispatch.services(cuda))
    assert all("CUDA devices only" in s.reason for s in dispatch.services(torch.device("cpu")))


def test_the_doctor_says_who_serves_what(capsys):
    report = Report("doctor")
    doctor._kernels(report)
    assert set(report.facts["kernels"]) == set(SCHEMAS)
    if not torch.cuda.is_available():
        assert "0 of 14 operators" in (said := capsys.readouterr().out)
        assert "plain PyTorch: There are kernels for CUDA devices only" in said


def test_why_not_answers_without_computing(launcher, cuda, monkeypatch):
    args = arguments("conv2d", PLAIN)
    assert dispatch.why_not("conv2d", *args) is None
    assert "empty" in dispatch.why_not("avg_pool2d", torch.zeros(0, 1, 3, 3), (2, 2), (1, 1), 4)
    monkeypatch.setenv(dispatch.VARIABLE, "off")
    assert "off" in dispatch.why_not("conv2d", *args)
    assert not launcher.calls


def test_the_real_launcher_has_every_operator():
    launch = dispatch._launch()
    assert set(launch.KERNEL_SUMMARIES) == set(SCHEMAS)
    assert all(callable(getattr(launch, name)) for name in (*SCHEMAS, "can_run", "unavailable"))


def test_nothing_of_cuda_is_imported_before_it_is_needed():
    code = (
        "import sys, torch; from napari_dsparse import ops; ops.max_pool2d(torch.zeros(1, 1, 4, 4), 2);"
        "print([m for m in sys.modules if m.startswith('napari_dsparse.ops.cuda')])"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "[]"
