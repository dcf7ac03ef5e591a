"""From a kernel's name to the machine code of one architecture."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping

import torch

from napari_dsparse.errors import KernelError
from napari_dsparse.machine import cache
from napari_dsparse.ops.cuda.kernels import Kernel, headers
from napari_dsparse.ops.cuda.nvrtc import Nvrtc, find_nvrtc

#: Oldest compute capability the kernels are written for.
OLDEST = (7, 5)


def options(architecture: int) -> tuple[str, ...]:
    """Compiler options. A real architecture (sm_90, not compute_90) makes NVRTC give out a cubin:
    PTX would fail to load wherever the driver is older than the compiler."""
    return (f"--gpu-architecture=sm_{architecture}", "--std=c++17")


def architecture_for(capability: tuple[int, int], nvrtc: Nvrtc) -> int:
    """The architecture to compile for: the device's own, or the last of its family that NVRTC knows.

    Raises
    ------
    KernelError
        If the device is older than the kernels, or newer than NVRTC.
    """
    major, minor = capability
    if capability < OLDEST:
        raise KernelError(
            f"This GPU has compute capability {major}.{minor}; kernels need {OLDEST[0]}.{OLDEST[1]} or later."
        )
    # Machine code runs on later devices of the same major capability.
    fitting = [a for a in nvrtc.architectures if a // 10 == major and a % 10 <= minor]
    if not fitting:
        version = f"{nvrtc.version[0]}.{nvrtc.version[1]}"
        raise KernelError(
            f"NVRTC {version} does not know compute capability {major}.{minor}; install a PyTorch built for "
            "a CUDA version that does."
        )
    return max(fitting)


def cubin_for(kernel: Kernel, capability: tuple[int, int]) -> bytes:
    """The machine code of `kernel`: from the cache, or compiled now and kept there.

    Raises
    ------
    KernelError
        If there is no compiler, or it does not know the device.
    """
    nvrtc = find_nvrtc(torch.version.cuda)
    architecture = architecture_for(capability, nvrtc)
    folder, name = cache.cache_folder(), f"{cache_key(kernel, architecture, nvrtc)}.cubin"
    cubin = cache.load(folder, name)
    if cubin is None:
        cubin, _ = nvrtc.compile(kernel.source, _headers(), options(architecture))
        cache.store(folder, name, cubin)
    return cubin


def cache_key(kernel: Kernel, architecture: int, nvrtc: Nvrtc) -> str:
    """Names everything the machine code follows from."""
    digest = hashlib.sha256()
    parts = [kernel.source, *options(architecture), str(nvrtc.version)]
    parts += [text for item in sorted(_headers().items()) for text in item]
    for part in parts:
        digest.update(f"{len(part)}:{part}".encode())
    return digest.hexdigest()


@functools.cache
def _headers() -> Mapping[str, str]:
    return headers()
