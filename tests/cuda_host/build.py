"""Compiles the CUDA sources of the package with g++, for the tests."""

from __future__ import annotations

import functools
import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from napari_dsparse.ops.cuda.kernels import KERNELS_BY_NAME, Kernel, headers

HERE = Path(__file__).parent

#: One compiler process a core.
JOBS = max(1, os.cpu_count() or 1)


def compiler() -> str | None:
    """g++, if there is one."""
    return shutil.which("g++")


@dataclass(frozen=True, slots=True)
class Grid:
    """Execution model of blocks: the host sources, and compiler flags for everything.

    Parameters
    ----------
    sources : tuple of str
        In this folder.
    flags : tuple of str
        For host sources, kernels and linking.
    watched : tuple of str
        For kernels and linking only.
    shared : bool
        A shared library, or a program.
    """

    sources: tuple[str, ...]
    flags: tuple[str, ...] = ("-O1",)
    watched: tuple[str, ...] = ()
    shared: bool = False


#: For ctypes; for a stand-in driver; to replay recorded launches, plain and under the sanitizers.
LIBRARY = Grid(("numbers.cpp", "fibres.cpp", "library.cpp"), shared=True)
DRIVER = Grid(("numbers.cpp", "fibres.cpp", "fake_cuda.cpp"), shared=True)
FIBRES = Grid(("numbers.cpp", "fibres.cpp", "replay.cpp"))
ADDRESSES = Grid(FIBRES.sources, ("-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"))
RACES = Grid(FIBRES.sources, ("-O1", "-DWATCHED"), ("-fsanitize=thread",))


def build(
    output: Path,
    grid: Grid,
    kernels: Iterable[Kernel] = tuple(KERNELS_BY_NAME.values()),
    *,
    sources: Mapping[str, str] | None = None,
) -> Path:
    """Compile kernels and a grid to run them into `output`.

    `sources` replaces the package's own (with a fault planted, say).
    """
    folder = output.parent / f"{output.name}.build"
    folder.mkdir(parents=True)
    for name, text in (headers() if sources is None else sources).items():
        if name != "port.cuh":
            (folder / name).write_text(text)
    by_header: dict[str, list[Kernel]] = {}
    for kernel in kernels:
        # Two units a header, so that several compilers share the work.
        by_header.setdefault(f"{kernel.header}.{'mma' if kernel.tensor_cores else 'fma'}", []).append(kernel)
    units = []
    for name, group in by_header.items():
        units.append(folder / f"{name}.cpp")
        units[-1].write_text("".join(kernel.source for kernel in group))
    with ThreadPoolExecutor(JOBS) as pool:
        compiled = list(
            pool.map(lambda unit: _compile(unit, folder, folder, (*grid.flags, *grid.watched)), units)
        )
    # Not those of another version of this folder, nor of other flags.
    key = hashlib.sha256(repr((digest(), grid)).encode()).hexdigest()[:16]
    for name in grid.sources:
        compiled.append(_compile(HERE / name, output.parent / f"host-{key}", folder, grid.flags))
    link = ("-shared",) if grid.shared else ("-rdynamic",)
    _call(*link, *map(str, compiled), "-o", str(output), "-pthread", "-ldl", *grid.flags, *grid.watched)
    shutil.rmtree(folder)
    return output


def _compile(unit: Path, into: Path, headers: Path, flags: tuple[str, ...]) -> Path:
    compiled = into / f"{unit.name}.o"
    if not compiled.exists():
        into.mkdir(exist_ok=True)
        _call("-c", str(unit), "-o", str(compiled), f"-I{HERE}", f"-I{headers}", "-fPIC", *_FLAGS, *flags)
    return compiled


#: Sanitizers need frames; the fortified longjmp checks would mistake a fibre's stack for a smashed one.
_FLAGS = (
    "-std=c++17",
    "-g1",
    "-fno-omit-frame-pointer",
    "-U_FORTIFY_SOURCE",
    "-Wall",
    "-Werror",
    "-Wno-unknown-pragmas",
    "-Wno-psabi",
)


def _call(*arguments: str) -> None:
    done = subprocess.run(["g++", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"g++ {' '.join(arguments)}\n{done.stderr}")


@functools.cache
def digest() -> str:
    """Changes with every source that goes into a build."""
    texts = [k.source for k in KERNELS_BY_NAME.values()] + list(headers().values())
    texts += [p.read_text() for p in sorted(HERE.iterdir()) if p.is_file()]
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:16]
