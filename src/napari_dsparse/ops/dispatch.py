"""Choice of the implementation of an operator on a CUDA device: our compiled kernel, or plain PyTorch.

The environment variable DSPARSE_KERNELS, read at every call, sets how kernels are used:

``auto`` (the default)
    A kernel where one can run; for a convolution of whole maps, PyTorch (cuDNN) where it was measured to be
    faster, or by a counted rule where nothing was measured (`cuda.choices`). Where no kernel is available
    at all, plain PyTorch on the same device, and one warning with cause and remedy. A call that kernels do
    not support (float64, say) goes to plain PyTorch silently; `why_not` gives the reason.
``measure``
    As ``auto``, and convolutions of a kind met for the first time are timed both ways; the times are kept in
    the cache folder, for every later run. So any training or prediction run serves as the measurement.
``require``
    A kernel, or KernelError with the reason, without fallback: for tests and benchmarks.
``off``
    Plain PyTorch.

Nothing here imports or looks for CUDA before the first tensor on such a device arrives.
"""

from __future__ import annotations

import os
import threading
import warnings
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from napari_dsparse.errors import DsparseError, KernelError
from napari_dsparse.ops import reference
from napari_dsparse.ops.schemas import SCHEMAS, argument_names
from napari_dsparse.ops.shapes import layout_of

VARIABLE = "DSPARSE_KERNELS"
MODES = ("auto", "measure", "require", "off")

#: Kernels that could not be compiled or loaded: not tried again, since the next step would fail as slowly.
_failed: dict[tuple[str, torch.dtype, torch.device], str] = {}
_told: set[str] = set()
_telling = threading.Lock()


class KernelWarning(RuntimeWarning):
    """Compiled kernels are not available; plain PyTorch is used, which is slower."""


@dataclass(frozen=True, slots=True)
class Service:
    """Implementation of one operator on one device.

    Parameters
    ----------
    operator : str
        A name in `schemas.SCHEMAS`.
    kernel : str or None
        Summary of our kernel; None where plain PyTorch serves.
    reason : str
        Reason for plain PyTorch, one sentence; "" where a kernel serves.
    exceptions : tuple of str
        Calls that PyTorch serves although there is a kernel, and the times measured.
    """

    operator: str
    kernel: str | None
    reason: str
    exceptions: tuple[str, ...] = ()


def kernel_mode() -> str:
    """The mode set by DSPARSE_KERNELS: one of `MODES`.

    Raises
    ------
    DsparseError
        If the variable holds anything else.
    """
    mode = os.environ.get(VARIABLE, "auto")
    if mode not in MODES:
        raise DsparseError(f"{VARIABLE} is {mode!r}; set it to one of {', '.join(MODES)}, or unset it.")
    return mode


def run(operator: str, *args: Any) -> Any:
    """Compute `operator` on the CUDA tensors in `args`, by kernel or in plain PyTorch.

    Raises
    ------
    KernelError
        If kernels are required and this call cannot have one.
    """
    mode = kernel_mode()
    if mode == "off" or _nothing_to_do(args):
        return getattr(reference, operator)(*args)
    args = _dense(operator, args)
    launch = _launch()
    missing = _unavailable_reason(operator, args)
    reason = missing or launch.can_run(operator, *args)
    if reason is None:
        ours = partial(getattr(launch, operator), *args)
        try:
            if mode != "require" and _choices().choose(operator, args, ours if mode == "measure" else None):
                return _choices().by_pytorch(operator, args)
            return ours()
        except KernelError as error:
            reason = missing = _failed[_kind(operator, args)] = str(error)
    if mode == "require":
        raise KernelError(f"{VARIABLE}=require, but this dsparse::{operator} has no kernel: {reason}")
    if missing:
        _warn_once(missing)
    return getattr(reference, operator)(*args)


def why_not(operator: str, *args: Any) -> str | None:
    """Reason why this call is not served by a kernel, as a sentence; None if it is."""
    device = _device(args)
    if device.type != "cuda":
        return _no_kernels_for(device)
    if kernel_mode() == "off":
        return f"{VARIABLE} is set to off."
    if _nothing_to_do(args):
        return "The result is empty, or a sum over nothing."
    args = _dense(operator, args)
    reason: str | None = _unavailable_reason(operator, args) or _launch().can_run(operator, *args)
    if reason is None and kernel_mode() != "require":
        reason = _choices().choose(operator, args, None)
    return reason


def services(device: torch.device) -> tuple[Service, ...]:
    """Implementation of each operator on `device`, in the order of `schemas.SCHEMAS`.

    A kernel named here may still leave single calls to plain PyTorch; see `why_not`.
    """
    if device.type != "cuda":
        return tuple(Service(name, None, _no_kernels_for(device)) for name in SCHEMAS)
    if kernel_mode() == "off":
        return tuple(Service(name, None, f"{VARIABLE} is set to off.") for name in SCHEMAS)
    launch = _launch()
    reason = launch.unavailable(device)
    if reason is not None:
        return tuple(Service(name, None, reason) for name in SCHEMAS)
    required = kernel_mode() == "require"
    return tuple(
        Service(
            name, launch.KERNEL_SUMMARIES[name], "", () if required else _choices().exceptions(name, device)
        )
        for name in SCHEMAS
    )


def _launch() -> ModuleType:
    return import_module("napari_dsparse.ops.cuda.launch")


def _choices() -> ModuleType:
    return import_module("napari_dsparse.ops.cuda.choices")


def _unavailable_reason(operator: str, args: tuple[Any, ...]) -> str | None:
    """Reason why no kernel is available here for any call; None if they are."""
    reason: str | None = _launch().unavailable(_device(args))
    return reason or _failed.get(_kind(operator, args))


def _kind(operator: str, args: tuple[Any, ...]) -> tuple[str, torch.dtype, torch.device]:
    return operator, args[0].dtype, _device(args)


def _no_kernels_for(device: torch.device) -> str:
    return f"There are kernels for CUDA devices only; {device.type} runs plain PyTorch."


def _device(args: tuple[Any, ...]) -> torch.device:
    first: Tensor = args[0]
    return first.device


def _nothing_to_do(args: tuple[Any, ...]) -> bool:
    return any(isinstance(arg, Tensor) and arg.numel() == 0 for arg in args)


def _dense(operator: str, args: tuple[Any, ...]) -> tuple[Any, ...]:
    """Arguments as kernels take them: maps dense in the layout of the first, all else plain."""
    maps = () if operator.startswith("site_") else ("x", "grad", "winners")
    layout = layout_of(args[0]) if maps else torch.contiguous_format
    return tuple(
        arg.contiguous(memory_format=layout if name in maps else torch.contiguous_format)
        if isinstance(arg, Tensor)
        else arg
        for name, arg in zip(argument_names(operator), args, strict=True)
    )


def _warn_once(reason: str) -> None:
    with _telling:
        if reason in _told:
            return
        _told.add(reason)
    warnings.warn(
        f"Layers run in plain PyTorch, not in this package's CUDA kernels, which is slower: {reason} "
        f"(Set {VARIABLE}=off to run so without this warning.)",
        KernelWarning,
        stacklevel=2,
    )
