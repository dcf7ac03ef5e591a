"""Every kernel builds for every architecture a user may have, within the registers it is laid out for."""

from __future__ import annotations

import multiprocessing
import os
import re
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import pytest

from napari_dsparse.errors import KernelError
from napari_dsparse.ops.cuda import compiler
from napari_dsparse.ops.cuda.kernels import KERNELS_BY_NAME, Kernel, headers
from napari_dsparse.ops.cuda.nvrtc import find_nvrtc

pytestmark = pytest.mark.alone

ARCHITECTURES = (75, 80, 86, 89, 90, 100, 120)

#: Registers of a multiprocessor, and threads it holds at most.
REGISTERS = 65536
THREADS = {75: 1024, 80: 2048, 86: 1536, 89: 1536, 90: 2048, 100: 2048, 120: 1536}


def kernels_for(architecture: int) -> list[Kernel]:
    """Those that are launched there: tensor cores from sm_80 on, and 16-bit multiply-adds only before."""
    if architecture < 80:
        return [kernel for kernel in KERNELS_BY_NAME.values() if not kernel.tensor_cores]
    return [k for k in KERNELS_BY_NAME.values() if not re.search("f16_fma", k.name)]


def problem(name: str, architecture: int, cuda: str) -> str | None:
    """Description of a fault in a kernel's machine code, if any."""
    kernel, nvrtc = KERNELS_BY_NAME[name], find_nvrtc(cuda)
    options = (*compiler.options(architecture), "--ptxas-options=-v")
    cubin, log = nvrtc.compile(kernel.source, headers(), options)
    if not cubin.startswith(b"\x7fELF") or kernel.name.encode() not in cubin:
        return f"{kernel.name}: no machine code"
    used = re.search(r"Used (\d+) registers", log)
    spilled = re.search(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", log)
    if used is None or spilled is None:
        return f"{kernel.name}: ptxas did not say what it used: {log}"
    if set(spilled.groups()) != {"0"}:
        return f"{kernel.name}: {spilled[0]}"
    blocks = min(kernel.blocks, THREADS[architecture] // kernel.threads)
    granted = -(-int(used[1]) // 8) * 8  # registers are given out in eights
    if granted * kernel.threads * blocks > REGISTERS:
        return f"{kernel.name}: {used[1]} registers leave no room for {blocks} blocks of {kernel.threads}"
    return None


@pytest.fixture(scope="module")
def workers() -> Iterator[ProcessPoolExecutor]:
    """A process a core: within one process, NVRTC compiles one program at a time."""
    context = multiprocessing.get_context("forkserver" if sys.platform == "linux" else "spawn")
    context.set_forkserver_preload(["napari_dsparse.ops.cuda.compiler"])
    with ProcessPoolExecutor(os.cpu_count(), context) as pool:
        yield pool


@pytest.mark.timeout(600)
@pytest.mark.parametrize("cuda", ["13.0", "12.8"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_kernel_builds_without_spills(
    workers: ProcessPoolExecutor, cuda: str, architecture: int
) -> None:
    try:
        nvrtc = find_nvrtc(cuda)
    except KernelError as error:
        pytest.skip(str(error))
    assert architecture in nvrtc.architectures
    names = [kernel.name for kernel in kernels_for(architecture)]
    found = workers.map(partial(problem, architecture=architecture, cuda=cuda), names, chunksize=4)
    assert [text for text in found if text] == []
