"""Choice of the fastest form of a layer on this processor: measured once per machine, and kept.

The rule of `plan` holds for the processors it was measured on. Elsewhere another form may be several times as
fast: builds of PyTorch without oneDNN unfold a map before they convolve it. So prediction measures.

Measured times are used from disk only, beside compiled kernels, and stay the same for every later run; a
form that is not clearly faster than the rule's is left alone. So results change neither from call to call nor
from run to run until somebody deletes that folder. Training never measures: the same seed gives the same
weights, whatever was measured. The environment variable DSPARSE_PLAN, read when a plan is made, is ``auto``
(the default), or ``rule``, which neither measures nor reads measured times.
"""

from __future__ import annotations

import os
import platform
import time
from dataclasses import dataclass

import torch

from napari_dsparse.errors import DsparseError
from napari_dsparse.machine.measured import MeasuredTimes, Seconds, fastest
from napari_dsparse.network.geometry import Step
from napari_dsparse.network.layer_operations import Activation, kernel
from napari_dsparse.network.plan import by_rule, convolution, possible_forms

VARIABLE = "DSPARSE_PLAN"
MODES = ("auto", "rule")

#: Share of the rule's time that another form may take at most to be chosen, so that noise does not decide.
CLEARLY = 0.75
#: Rows and columns of the output of a layer while it is timed, about those of a band.
ROWS, COLUMNS = 32, 128
#: Timed runs, of which the fastest counts; one more runs first and does not count.
RUNS = 4


@dataclass(frozen=True, slots=True)
class LayerWork:
    """Convolutions that take about the same time per pixel, on one machine with one version of PyTorch."""

    dtype: str
    channels: int
    outputs: int
    groups: int
    kernel: tuple[int, int]
    dilation: tuple[int, int]
    activation: Activation
    forms: tuple[str, ...]
    machine: str


#: Times measured on this machine.
times: MeasuredTimes[LayerWork] = MeasuredTimes(".plan")


def measured(step: Step, activation: Activation, dtype: torch.dtype) -> str:
    """The form of a layer for maps of `dtype`, by what was measured here; timed now if it never was.

    Raises
    ------
    DsparseError
        If DSPARSE_PLAN holds anything but its modes.
    """
    return fastest(seconds_of(step, activation, dtype), by_rule(step, activation, dtype), CLEARLY)


def seconds_of(step: Step, activation: Activation, dtype: torch.dtype) -> Seconds | None:
    """Seconds of a layer's forms on a map of `ROWS` x `COLUMNS`; None where there is nothing to choose.

    None, too, where times cannot be stored: a choice that may change from run to run is worse than a slow
    one.
    """
    forms = possible_forms(step, activation, dtype)
    if _mode() == "rule" or len(forms) < 2:
        return None
    work = _work_of(step, activation, dtype)
    return times.find_or_measure(work, lambda: _time_all(work))


def _mode() -> str:
    mode = os.environ.get(VARIABLE, "auto")
    if mode not in MODES:
        raise DsparseError(f"{VARIABLE} is {mode!r}; set it to one of {', '.join(MODES)}, or unset it.")
    return mode


def _work_of(step: Step, activation: Activation, dtype: torch.dtype) -> LayerWork:
    weight, _, groups = kernel(step)
    assert step.window is not None
    machine = f"{platform.machine()}, {torch.backends.cpu.get_cpu_capability()}, {os.cpu_count()} cores"
    return LayerWork(
        str(dtype).removeprefix("torch."),
        weight.shape[1] * groups,
        weight.shape[0],
        groups,
        step.window.kernel,
        step.window.dilation,
        activation,
        possible_forms(step, activation, dtype),
        f"{machine}, torch {torch.__version__}",
    )


def _time_all(work: LayerWork) -> Seconds:
    """Times of the forms, run in turn, so that other load on the machine affects all of them."""
    dtype = getattr(torch, work.dtype)
    spans = [(k - 1) * d for k, d in zip(work.kernel, work.dilation, strict=True)]
    with torch.inference_mode():
        weight = torch.full((work.outputs, work.channels // work.groups, *work.kernel), 0.01, dtype=dtype)
        size = (1, work.channels, ROWS + spans[0], COLUMNS + spans[1])
        x = torch.full(size, 0.5, dtype=dtype).contiguous(memory_format=torch.channels_last)
        bias = torch.zeros(work.outputs, dtype=dtype)
        layer = weight, bias, work.dilation, work.groups, work.activation
        runs = {form: convolution(form, *layer) for form in work.forms}
        times: dict[str, list[float]] = {form: [] for form in work.forms}
        for _ in range(1 + RUNS):
            for form, run in runs.items():
                started = time.perf_counter()
                run(x)
                times[form].append(time.perf_counter() - started)
    return {form: min(own[1:]) for form, own in times.items()}
