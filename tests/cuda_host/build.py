"""Compiles the CUDA sources of the package with g++, for the tests."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from napari_dsparse.ops.cuda.kernels import KERNELS, Kernel, headers

HERE = Path(__file__).parent

#: One compiler process a core.
JOBS = max(1, os.cpu_count() or 1)


def compiler() -> str | None:
    """g++, if there is one."""
    return shutil.which("g++")


def build(
    output: Path,
    kernels: Iterable[Kernel] = tuple(KERNELS.values()),
    *,
    host: Sequence[str] = ("numbers.cpp", "fibres.cpp", "library.cpp"),
    flags: Sequence[str] = ("-O1",),
    shared: bool = True,
    sources: Mapping[str, str] | None = None,
) -> Path:
    """Compile kernels and host sources into a shared library or a program at `output`.

    `sources` replaces the package's own (with a fault planted, say).
    """
    folder = output.parent / f"{output.name}.build"
    folder.mkdir(parents=True)
    for name, text in (headers() if sources is None else sources).items():
        if name != "port.cuh":
            (folder / name).write_text(text)
    units = [HERE / name for name in host]
    by_header: dict[str, list[Kernel]] = {}
    for kernel in kernels:
        # Two units a header, so that several compilers share the work.
        by_header.setdefault(f"{kernel.header}.{'mma' if kernel.tensor_cores else 'fma'}", []).append(kernel)
    for name, group in by_header.items():
        unit = folder / f"{name}.cpp"
        unit.write_text("".join(kernel.source for kernel in group))
        units.append(unit)

    def compile_one(unit: Path) -> Path:
        compiled = folder / f"{unit.name}.o"
        _call("-c", str(unit), "-o", str(compiled), f"-I{HERE}", f"-I{folder}", "-fPIC", *_FLAGS, *flags)
        return compiled

    with ThreadPoolExecutor(JOBS) as pool:
        compiled = list(pool.map(compile_one, units))
    link = ("-shared",) if shared else ("-rdynamic",)
    _call(*link, *map(str, compiled), "-o", str(output), "-pthread", "-ldl", *flags)
    shutil.rmtree(folder)
    return output


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


def digest() -> str:
    """Changes with every source that goes into a build."""
    texts = [k.source for k in KERNELS.values()] + list(headers().values())
    texts += [p.read_text() for p in sorted(HERE.iterdir()) if p.is_file()]
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:16]
