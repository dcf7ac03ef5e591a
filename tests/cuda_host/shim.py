"""Stands in for `execution`: the package's own launches, run on the CPU."""

from __future__ import annotations

import ctypes
from pathlib import Path

import torch

from napari_dsparse.ops.cuda.kernels import Kernel


class Shim:
    """Kernels compiled for the host, in a library that `build` made.

    Parameters
    ----------
    library : Path
    device_capability : (int, int)
        What the launches are told about the device: decides between multiply-adds and tensor cores.
    """

    def __init__(self, library: Path, device_capability: tuple[int, int] = (9, 0)) -> None:
        self.library = ctypes.CDLL(str(library))
        self._run = self.library.host_run
        self._run.restype = ctypes.c_char_p
        self.device_capability = device_capability
        self.launched: list[str] = []

    def capability(self, device: torch.device) -> tuple[int, int]:
        """As `execution.capability`."""
        return self.device_capability

    def run(
        self, kernel: Kernel, blocks: int, shared: int, arguments: ctypes.Structure, device: torch.device
    ) -> None:
        """As `execution.run`: all blocks, in order."""
        self.run_blocks(kernel, range(blocks), shared, arguments)

    def run_blocks(self, kernel: Kernel, blocks: range, shared: int, arguments: ctypes.Structure) -> None:
        """Some blocks of a launch."""
        self.launched.append(kernel.name)
        entry = ctypes.byref(ctypes.c_char.in_dll(self.library, kernel.name))
        error = self._run(
            entry,
            ctypes.byref(arguments),
            ctypes.c_size_t(ctypes.sizeof(arguments)),
            ctypes.c_uint(kernel.threads),
            ctypes.c_uint(blocks.start),
            ctypes.c_uint(blocks.stop),
            ctypes.c_size_t(shared),
        )
        if error is not None:
            raise AssertionError(f"{kernel.name}: {error.decode()}")
