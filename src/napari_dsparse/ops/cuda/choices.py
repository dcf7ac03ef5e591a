"""Choice between our kernel and PyTorch's, which is cuDNN, for convolutions of whole maps that both can run.

A choice is measured (`choose`), or else counted (`by_count`). Measured ones serve from disk only, where they
lie beside the compiled kernels and are the same for every later run: results change neither from call to call
nor from run to run, until somebody deletes that folder. That is also why PyTorch serves with cuDNN's
deterministic algorithms, picked by its own fixed rules.
"""

from __future__ import annotations

import functools
import math
import statistics
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from napari_dsparse.machine.measured import MeasuredTimes, Seconds, fastest
from napari_dsparse.ops import reference
from napari_dsparse.ops.schemas import argument_names
from napari_dsparse.ops.shapes import layout_of

#: The operators that PyTorch may serve.
OPERATORS = ("conv2d", "conv2d_input_grad", "conv2d_weight_grad")

#: Channels per group from which on, without dilation, PyTorch serves unmeasured.
DEEP = 64

BY_COUNT = (
    f"Without dilation and with {DEEP} or more channels per group on both sides, "
    "PyTorch's convolution serves: counted, not measured."
)

#: Share of our time that PyTorch's may take at most to be chosen, so that noise does not decide.
CLEARLY = 0.95

RUNS = 5

_flags = threading.Lock()


@dataclass(frozen=True, slots=True)
class OperatorWork:
    """A class of calls that take about the same time per pixel, on one device with one version of PyTorch.

    Parameters
    ----------
    pixels : int
        Of the first map that is given, over all images, rounded up to a power of two.
    device, torch : str
        Names, with the version of CUDA.
    """

    operator: str
    dtype: str
    layout: str
    channels: int
    outputs: int
    groups: int
    kernel: tuple[int, int]
    dilation: tuple[int, int]
    pixels: int
    device: str
    torch: str

    def describe(self) -> str:
        """A description for people."""
        (ky, kx), (dy, dx) = self.kernel, self.dilation
        groups = f" in {self.groups} groups" if self.groups > 1 else ""
        return (
            f"{self.operator} {ky} x {kx}, {self.channels} -> {self.outputs}{groups}, "
            f"taps {dy} x {dx} apart, {self.dtype}, {self.layout}, up to {self.pixels:,} pixels"
        )


@dataclass(frozen=True, slots=True)
class Measured:
    """Seconds of one call: by our kernel, and by PyTorch."""

    ours: float
    pytorch: float

    @property
    def by_pytorch(self) -> bool:
        """True if PyTorch is clearly faster."""
        return fastest({"ours": self.ours, "pytorch": self.pytorch}, "ours", CLEARLY) == "pytorch"

    def describe(self) -> str:
        """The implementation that serves and both times, for people."""
        server = "PyTorch" if self.by_pytorch else "our kernel"
        return (
            f"{server}, measured here: {self.ours * 1e3:.3f} ms ours, {self.pytorch * 1e3:.3f} ms PyTorch's"
        )


#: Times measured on this machine.
times: MeasuredTimes[OperatorWork] = MeasuredTimes(".choice")


def work_of(operator: str, args: tuple[Any, ...]) -> OperatorWork:
    """The class that a call belongs to."""
    given = dict(zip(argument_names(operator), args, strict=True))
    first: Tensor = args[0]
    if operator == "conv2d_weight_grad":
        kernel, channels, outputs = given["kernel"], first.shape[1], given["grad"].shape[1]
    else:
        weight: Tensor = given["weight"]
        kernel, channels, outputs = weight.shape[2:], weight.shape[1] * given["groups"], weight.shape[0]
    pixels = first.shape[0] * first.shape[2] * first.shape[3]
    return OperatorWork(
        operator,
        str(first.dtype).removeprefix("torch."),
        "channels-last" if layout_of(first) == torch.channels_last else "plain",
        channels,
        outputs,
        given["groups"],
        (int(kernel[0]), int(kernel[1])),
        (int(given["dilation"][0]), int(given["dilation"][1])),
        1 << (pixels - 1).bit_length(),
        *machine(first.device),
    )


@functools.cache
def machine(device: torch.device) -> tuple[str, str]:
    """Names of the device and of PyTorch with its CUDA; times hold for these."""
    return torch.cuda.get_device_name(device), f"{torch.__version__}, CUDA {torch.version.cuda}"


def choose(operator: str, args: tuple[Any, ...], ours: Callable[[], Any] | None) -> str | None:
    """Why PyTorch serves this call, as a sentence; None if our kernel does.

    Our kernel always serves where `torch.use_deterministic_algorithms` is on.

    Parameters
    ----------
    ours : callable, optional
        The call by our kernel, if it may be timed: it is for the first of its class, unless a CUDA graph is
        being captured, and the times are kept on disk. Where they can't be kept, they are not used.
    """
    if operator not in OPERATORS or torch.are_deterministic_algorithms_enabled():
        return None
    work = work_of(operator, args)
    found = times.find(work)
    if found is None and ours is not None and not torch.cuda.is_current_stream_capturing():
        found = times.find_or_measure(work, lambda: _measured(operator, args, ours))
    if found is not None:
        measured = Measured(**found)
        return f"For {work.describe()}: {measured.describe()}." if measured.by_pytorch else None
    return by_count(work)


def exceptions(operator: str, device: torch.device) -> tuple[str, ...]:
    """Calls of an operator that PyTorch may serve on this device, and the times measured, as sentences."""
    if operator not in OPERATORS:
        return ()
    if torch.are_deterministic_algorithms_enabled():
        return ("Always our kernel, since torch.use_deterministic_algorithms is on.",)
    return BY_COUNT, *(
        f"{work.describe()}: {measured.describe()}." for work, measured in _kept(operator, device)
    )


def by_count(work: OperatorWork) -> str | None:
    """Reason why PyTorch serves work that was never measured, as a sentence; None if our kernel does.

    Deep products without dilation are what cuDNN is made for, and where our kernels are bound by shared
    memory at 40 % of the tensor cores' rate (`bench.roofline`: counted, not measured).
    """
    if work.dilation == (1, 1) and min(work.channels, work.outputs) >= DEEP * work.groups:
        return BY_COUNT
    return None


def by_pytorch(operator: str, args: tuple[Any, ...]) -> Any:
    """The result by PyTorch, the same bits at every run."""
    cudnn = torch.backends.cudnn
    with _flags:  # two threads must not restore each other's
        before = cudnn.deterministic, cudnn.benchmark
        cudnn.deterministic, cudnn.benchmark = True, False
        try:
            return getattr(reference, operator)(*args)
        finally:
            cudnn.deterministic, cudnn.benchmark = before


def _measured(operator: str, args: tuple[Any, ...], ours: Callable[[], Any]) -> Seconds:
    device = args[0].device
    own = seconds(ours, device)
    try:
        return {"ours": own, "pytorch": seconds(lambda: by_pytorch(operator, args), device)}
    except RuntimeError:  # no such algorithm, or no memory for its workspace
        return {"ours": own, "pytorch": math.inf}


def seconds(call: Callable[[], Any], device: torch.device) -> float:
    """Median time of a few calls on the current stream, after two that do not count."""
    call(), call()
    stream, event = torch.cuda.current_stream(device), functools.partial(torch.cuda.Event, enable_timing=True)
    times: list[float] = []
    for _ in range(RUNS):
        start, end = event(), event()
        start.record(stream)
        call()
        end.record(stream)
        end.synchronize()
        times.append(start.elapsed_time(end) / 1e3)
    return statistics.median(times)


def _kept(operator: str, device: torch.device) -> list[tuple[OperatorWork, Measured]]:
    """Everything measured of an operator on this device, sorted by its description."""
    found = []
    for fields, own in times.kept():
        work = OperatorWork(**fields | {name: tuple(fields[name]) for name in ("kernel", "dilation")})
        if work.operator == operator and (work.device, work.torch) == machine(device):
            found.append((work, Measured(**own)))
    return sorted(found, key=lambda pair: pair[0].describe())
