"""The choice of implementation for a convolution: measured once, kept, the same in every run; or counted.

No GPU is needed: times are made up, and the launcher is a stand-in.
"""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from napari_dsparse.cli import doctor
from napari_dsparse.cli.report import Report
from napari_dsparse.machine import cache
from napari_dsparse.ops import dispatch
from napari_dsparse.ops.cuda import choices
from napari_dsparse.ops.library import OPS
from napari_dsparse.ops.schemas import SCHEMAS
from operators import Case, arguments

OURS = "our kernel"
DILATED = Case("dilated", channels=3, dtype=torch.float32)
DEEP = Case("deep", dilation=(1, 1), channels=64, outputs=64, dtype=torch.float32)
CUDA = torch.device("cuda:0")


@pytest.fixture
def timer(monkeypatch, tmp_path):
    """A machine with a GPU whose clock shows the times that a test sets: `ours` and `pytorch`, in seconds."""
    clock = SimpleNamespace(ours=2e-3, pytorch=1e-3, shown=0)

    def seconds(call, device):
        clock.shown += 1
        return clock.ours if isinstance(call(), str) else clock.pytorch

    launcher = SimpleNamespace(
        unavailable=lambda device: None,
        can_run=lambda *args: None,
        KERNEL_SUMMARIES=dict.fromkeys(SCHEMAS, "stand-in"),
    )
    for name in SCHEMAS:
        setattr(launcher, name, lambda *args: OURS)

    monkeypatch.setattr(dispatch, "_launch", lambda: launcher)
    monkeypatch.setattr(dispatch, "_failed", {})
    monkeypatch.setattr(choices, "seconds", seconds)
    monkeypatch.setattr(choices, "machine", lambda device: ("A GPU", "torch, CUDA"))
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: False)
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setenv(dispatch.VARIABLE, "measure")
    new_process()
    yield clock
    new_process()


def new_process():
    choices.times.forget()


def served(case, operator="conv2d"):
    out = dispatch.run(operator, *arguments(operator, case))
    return OURS if isinstance(out, str) else "PyTorch"


@pytest.mark.parametrize("operator", choices.OPERATORS)
@pytest.mark.parametrize(("pytorch", "server"), [(1e-3, "PyTorch"), (1.99e-3, OURS), (3e-3, OURS)])
def test_the_clearly_faster_one_serves_from_the_first_call_on(timer, monkeypatch, operator, pytorch, server):
    timer.pytorch = pytorch
    assert [served(DILATED, operator) for _ in range(3)] == [server] * 3
    assert timer.shown == 2
    new_process()
    monkeypatch.setenv(dispatch.VARIABLE, "auto")
    assert served(DILATED, operator) == server
    assert timer.shown == 2


def test_pytorch_s_result_is_the_operator_s(timer):
    args = arguments("conv2d", DILATED)
    assert torch.equal(dispatch.run("conv2d", *args), OPS.conv2d(*args))


def test_every_class_of_calls_is_measured_once(timer):
    cases = [
        DILATED,
        replace(DILATED, channels_last=True),
        replace(DILATED, dtype=torch.bfloat16),
        replace(DILATED, dilation=(2, 1)),
        replace(DILATED, outputs=4),
        replace(DILATED, size=(50, 60)),
    ]
    for case in (*cases, *cases, replace(DILATED, seed=1), replace(DILATED, size=(5, 5))):
        served(case)
    assert timer.shown == 2 * len(cases)


@pytest.mark.parametrize("mode", ["auto", "require"])
def test_nothing_is_timed_unless_asked_for(timer, monkeypatch, mode):
    monkeypatch.setenv(dispatch.VARIABLE, mode)
    for operator in choices.OPERATORS:
        assert served(DILATED, operator) == OURS
        assert served(DEEP, operator) == ("PyTorch" if mode == "auto" else OURS)  # counted
    assert timer.shown == 0


def test_nothing_is_timed_while_a_graph_is_captured(timer, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
    assert served(DILATED) == OURS
    assert timer.shown == 0
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: False)
    assert served(DILATED) == "PyTorch"


def test_deterministic_algorithms_are_our_kernels(timer, monkeypatch):
    served(DILATED)
    torch.use_deterministic_algorithms(True)
    try:
        assert served(DILATED) == served(DEEP) == OURS
        assert "Always our kernel" in choices.exceptions("conv2d", CUDA)[0]
    finally:
        torch.use_deterministic_algorithms(False)


def test_a_choice_that_cannot_be_kept_is_not_used(timer, monkeypatch, tmp_path):
    """It could fall out differently in the next run."""
    (tmp_path / "a file").touch()
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "a file"))
    assert [served(DILATED) for _ in range(3)] == [OURS] * 3
    assert timer.shown == 2  # not measured again and again


def test_a_damaged_entry_is_measured_again(timer, monkeypatch, tmp_path):
    served(DILATED)
    (entry,) = (tmp_path / "cache").glob("*.choice")
    entry.write_bytes(entry.read_bytes()[:-1])
    new_process()
    timer.pytorch = 3e-3
    assert served(DILATED) == OURS
    assert timer.shown == 4


def test_where_pytorch_cannot_our_kernel_serves(timer, monkeypatch):
    def out_of_memory(*args):
        raise torch.cuda.OutOfMemoryError("no room for a workspace")

    monkeypatch.setattr(choices, "by_pytorch", out_of_memory)
    assert served(DILATED) == OURS


def test_cudnn_is_deterministic_while_it_serves_and_as_before_after(timer, monkeypatch):
    cudnn, seen = torch.backends.cudnn, []
    monkeypatch.setattr(cudnn, "benchmark", True)
    monkeypatch.setattr(
        choices.reference, "conv2d", lambda *args: seen.append((cudnn.deterministic, cudnn.benchmark))
    )
    choices.by_pytorch("conv2d", ())
    assert seen == [(True, False)]
    assert (cudnn.deterministic, cudnn.benchmark) == (False, True)


def test_who_serves_is_told(timer, monkeypatch, capsys):
    served(DILATED)
    monkeypatch.setenv(dispatch.VARIABLE, "auto")
    monkeypatch.setattr(dispatch, "_device", lambda args: CUDA)
    assert "PyTorch, measured here: 2.000 ms ours, 1.000 ms" in dispatch.why_not(
        "conv2d", *arguments("conv2d", DILATED)
    )
    monkeypatch.setattr(doctor, "pick_device", lambda: CUDA)
    doctor._kernels(Report("doctor"))
    said = capsys.readouterr().out
    assert "conv2d 3 x 2, 3 -> 3, taps 1 x 2 apart, float32, plain, up to 64 pixels: PyTorch" in said
    assert said.count("counted, not measured") == 3
    monkeypatch.setenv(dispatch.VARIABLE, "require")
    assert all(service.exceptions == () for service in dispatch.services(CUDA))


def test_calls_are_timed_by_events_on_the_current_stream(monkeypatch):
    calls, recorded = [], []

    class Event:
        def __init__(self, enable_timing):
            assert enable_timing

        def record(self, stream):
            recorded.append((stream, len(calls)))

        def synchronize(self):
            pass

        def elapsed_time(self, end):
            return [9.0, 1.0, 3.0, 2.0, 5.0][len(calls) - 3]

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: "the stream")
    assert choices.seconds(lambda: calls.append(1), CUDA) == 3e-3
    assert recorded == [("the stream", n) for run in range(5) for n in (run + 2, run + 3)]
