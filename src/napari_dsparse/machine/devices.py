"""Choice of the device, and of the number type, to compute with."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from napari_dsparse.errors import DsparseError

#: Number types that prediction can run in, by name; the first is the default.
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def available_devices() -> tuple[str, ...]:
    """Names that `pick_device` takes here, fastest first; "cpu" is always among them."""
    names = []
    if torch.cuda.is_available():
        count = torch.cuda.device_count()
        names += ["cuda"] if count == 1 else [f"cuda:{i}" for i in range(count)]
    if torch.backends.mps.is_available():
        names.append("mps")
    return (*names, "cpu")


def pick_device(name: str = "auto") -> torch.device:
    """The device called `name`; "auto" is the fastest one here (CUDA, then Apple's MPS, then the CPU).

    Raises
    ------
    DsparseError
        If there is no such device here.
    """
    here = available_devices()
    if name == "auto":
        return torch.device(here[0])
    known = {*here, "cuda"} if any(n.startswith("cuda") for n in here) else set(here)
    known |= {f"cuda:{i}" for i in range(torch.cuda.device_count())} if torch.cuda.is_available() else set()
    if not isinstance(name, str) or name not in known:
        raise DsparseError(f"Device {name!r} is not available here; choose one of auto, {', '.join(here)}.")
    return torch.device(name)


def pick_precision(name: str) -> torch.dtype:
    """The number type called `name`.

    Raises
    ------
    DsparseError
        If prediction can't run in it.
    """
    if not isinstance(name, str) or name not in PRECISIONS:
        raise DsparseError(f"Precision {name!r} is not known; choose one of {', '.join(PRECISIONS)}.")
    return PRECISIONS[name]


class _FullFloat32:
    """Count of threads that want full float32 precision, and the setting to restore after the last."""

    lock = threading.Lock()
    wanted = 0
    before = True


@contextmanager
def full_float32(device: torch.device) -> Iterator[None]:
    """Context with full-precision float32 convolutions; the caller's setting is restored afterwards.

    PyTorch lets CUDA convolutions round to tf32 (10 bits) by default. The built-in networks tell classes
    apart by small differences of large values, and need more. The switch is
    the whole program's, so the last of several threads to leave restores it.
    """
    if device.type != "cuda":
        yield
        return
    with _FullFloat32.lock:
        if not _FullFloat32.wanted:
            _FullFloat32.before = _tf32(None)
            _tf32(False)
        _FullFloat32.wanted += 1
    try:
        yield
    finally:
        with _FullFloat32.lock:
            _FullFloat32.wanted -= 1
            if not _FullFloat32.wanted:
                _tf32(_FullFloat32.before)


def _tf32(allowed: bool | None) -> bool:
    """True if convolutions may use tf32; set first, unless None.

    torch 2.9 renamed the switch, and refuses the old name to programs that have used the new one.
    """
    try:
        if allowed is not None:
            torch.backends.cudnn.allow_tf32 = allowed
        return bool(torch.backends.cudnn.allow_tf32)
    except RuntimeError:
        convolutions: Any = getattr(torch.backends.cudnn, "conv")  # noqa: B009 (absent before 2.9)
        if allowed is not None:
            convolutions.fp32_precision = "tf32" if allowed else "ieee"
        return bool(convolutions.fp32_precision == "tf32")
