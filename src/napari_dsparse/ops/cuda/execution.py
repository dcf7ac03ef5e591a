"""Execution of a kernel: compiled, loaded, and enqueued on PyTorch's current stream."""

from __future__ import annotations

import ctypes
import functools

import torch

from napari_dsparse.ops.cuda.compiler import cubin_for
from napari_dsparse.ops.cuda.driver import open_driver
from napari_dsparse.ops.cuda.kernels import KERNELS_BY_NAME, Kernel


def capability(device: torch.device) -> tuple[int, int]:
    """Compute capability of `device`."""
    return torch.cuda.get_device_capability(device)


def run(kernel: Kernel, blocks: int, shared: int, arguments: ctypes.Structure, device: torch.device) -> None:
    """Launch `kernel` on the current stream of `device`, with `shared` bytes of shared memory per block.

    Raises
    ------
    KernelError
        If the kernel is not available.
    """
    loaded = _loaded(kernel.name, capability(device))
    stream = torch.cuda.current_stream(device)
    open_driver().launch(
        loaded, stream.device_index, stream.cuda_stream, blocks, kernel.threads, shared, arguments
    )


@functools.cache
def _loaded(name: str, device_capability: tuple[int, int]) -> ctypes.c_void_p:
    # Two threads at once load it twice, which is harmless.
    return open_driver().load(cubin_for(KERNELS_BY_NAME[name], device_capability), name)
