"""Which device computes, and in which number type."""

from __future__ import annotations

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
    if name not in known:
        raise DsparseError(f"Device {name!r} is not available here; choose one of auto, {', '.join(here)}.")
    return torch.device(name)


def pick_precision(name: str) -> torch.dtype:
    """The number type called `name`.

    Raises
    ------
    DsparseError
        If prediction can't run in it.
    """
    if name not in PRECISIONS:
        raise DsparseError(f"Precision {name!r} is not known; choose one of {', '.join(PRECISIONS)}.")
    return PRECISIONS[name]
