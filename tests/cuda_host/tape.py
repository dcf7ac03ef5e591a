"""Records launches, with all they read and wrote, for programs without Python to replay.

A sanitizer then watches the kernels alone, with buffers that end where their tensors do.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from torch import Tensor

from cuda_host.shim import Shim
from napari_dsparse.ops.cuda import execution
from napari_dsparse.ops.cuda.kernels import Kernel


@contextmanager
def recording(shim: Shim, path: Path) -> Iterator[None]:
    """Launches made meanwhile go to `path`, after they ran."""
    tensors: dict[int, Tensor] = {}
    launches: list[bytes] = []
    data_ptr = Tensor.data_ptr

    def remembered(tensor: Tensor) -> int:
        address = data_ptr(tensor)
        tensors[address] = tensor
        return address

    def run(
        kernel: Kernel, blocks: int, shared: int, arguments: ctypes.Structure, device: torch.device
    ) -> None:
        pointers = [(at, tensors[address]) for at, address in _pointers(arguments)]
        before = [_bytes(tensor, data_ptr(tensor)) for _, tensor in pointers]
        shim.run(kernel, blocks, shared, arguments, device)
        name = kernel.name.encode()
        record = [struct.pack("Q", len(name)), name]
        record += [struct.pack("QQQ", blocks, shared, ctypes.sizeof(arguments)), bytes(arguments)]
        record.append(struct.pack("Q", len(pointers)))
        for (at, tensor), content in zip(pointers, before, strict=True):
            record += [struct.pack("QQ", at, len(content)), content, _bytes(tensor, data_ptr(tensor))]
        launches.append(b"".join(record))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Tensor, "data_ptr", remembered)
        patch.setattr(execution, "run", run)
        yield
    path.write_bytes(struct.pack("Q", len(launches)) + b"".join(launches))


def _pointers(arguments: ctypes.Structure, start: int = 0) -> Iterator[tuple[int, int]]:
    """Place and value of every pointer that is not null."""
    for name, kind in arguments._fields_:  # type: ignore[misc]
        at, value = start + getattr(type(arguments), name).offset, getattr(arguments, name)
        if isinstance(value, ctypes.Structure):
            yield from _pointers(value, at)
        elif kind is ctypes.c_void_p and value is not None:
            yield at, value


def _bytes(tensor: Tensor, address: int) -> bytes:
    return ctypes.string_at(address, tensor.numel() * tensor.element_size())
