"""The run-time compiler of CUDA builds of PyTorch: search and calls."""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch

from napari_dsparse.errors import KernelError


class Nvrtc:
    """One loaded NVRTC.

    Parameters
    ----------
    path : str
        Its library: a path, or a name for the system to find.

    Raises
    ------
    KernelError
        If it can't be loaded.
    """

    def __init__(self, path: str) -> None:
        if Path(path).is_absolute():
            # Wheels of NVRTC 13 do not find their own second library unless it is loaded first.
            for builtins in sorted(Path(path).parent.glob("*nvrtc-builtins*")):
                if ".alt" not in builtins.name:
                    ctypes.CDLL(str(builtins))
        try:
            self._library = ctypes.CDLL(path)
        except OSError as error:
            raise KernelError(
                f"NVRTC at {path} can't be loaded ({error}); reinstall PyTorch for CUDA."
            ) from error
        self._library.nvrtcGetErrorString.restype = ctypes.c_char_p

    @functools.cached_property
    def version(self) -> tuple[int, int]:
        """Its CUDA version."""
        major, minor = ctypes.c_int(), ctypes.c_int()
        self._check(self._library.nvrtcVersion(ctypes.byref(major), ctypes.byref(minor)), "tell its version")
        return major.value, minor.value

    @functools.cached_property
    def architectures(self) -> tuple[int, ...]:
        """Architectures it compiles for, as 10 major + minor, ascending."""
        count = ctypes.c_int()
        self._check(self._library.nvrtcGetNumSupportedArchs(ctypes.byref(count)), "count architectures")
        numbers = (ctypes.c_int * count.value)()
        self._check(self._library.nvrtcGetSupportedArchs(numbers), "list architectures")
        return tuple(sorted(numbers))

    def compile(self, source: str, headers: Mapping[str, str], options: Sequence[str]) -> tuple[bytes, str]:
        """Compile to a cubin.

        Returns
        -------
        (bytes, str)
            The cubin, and the log of the compiler.

        Raises
        ------
        KernelError
            If it does not compile; with the compiler's log.
        """
        library, program = self._library, ctypes.c_void_p()
        names = (ctypes.c_char_p * len(headers))(*(name.encode() for name in headers))
        texts = (ctypes.c_char_p * len(headers))(*(text.encode() for text in headers.values()))
        self._check(
            library.nvrtcCreateProgram(
                ctypes.byref(program), source.encode(), b"kernel.cu", len(headers), texts, names
            ),
            "read the source",
        )
        try:
            words = (ctypes.c_char_p * len(options))(*(option.encode() for option in options))
            result = library.nvrtcCompileProgram(program, len(options), words)
            log = self._text(program).strip()
            if result:
                raise KernelError(
                    f"NVRTC {self.version[0]}.{self.version[1]} could not compile a kernel; please report "
                    f"what it said: {log or library.nvrtcGetErrorString(result).decode()}"
                )
            size = ctypes.c_size_t()
            self._check(library.nvrtcGetCUBINSize(program, ctypes.byref(size)), "size the cubin")
            cubin = ctypes.create_string_buffer(size.value)
            self._check(library.nvrtcGetCUBIN(program, cubin), "give the cubin")
            return cubin.raw, log
        finally:
            library.nvrtcDestroyProgram(ctypes.byref(program))

    def _text(self, program: ctypes.c_void_p) -> str:
        size = ctypes.c_size_t()
        self._check(self._library.nvrtcGetProgramLogSize(program, ctypes.byref(size)), "size its log")
        log = ctypes.create_string_buffer(size.value)
        self._check(self._library.nvrtcGetProgramLog(program, log), "give its log")
        return log.value.decode(errors="replace")

    def _check(self, result: int, what: str) -> None:
        if result:
            text = self._library.nvrtcGetErrorString(result).decode()
            raise KernelError(f"NVRTC could not {what}: {text}; reinstall PyTorch for CUDA.")


def _candidates(major: int) -> Iterator[Path]:
    """Paths where NVRTC of CUDA `major` may be: NVIDIA's packages, then PyTorch's own folder."""
    spec = importlib.util.find_spec("nvidia")
    for root in (spec.submodule_search_locations or ()) if spec else ():
        for package in (f"cu{major}", "cuda_nvrtc"):
            yield from sorted(Path(root, package).glob(f"lib/libnvrtc.so.{major}*"))
            yield from sorted(Path(root, package).glob(f"bin/**/nvrtc64_{major}*.dll"))
    torch_lib = Path(torch.__file__).parent / "lib"
    yield from sorted(torch_lib.glob(f"nvrtc64_{major}*.dll"))
    yield from sorted(torch_lib.glob(f"libnvrtc*.so.{major}*"))


@functools.cache
def find_nvrtc(cuda: str | None) -> Nvrtc:
    """The NVRTC that fits PyTorch's CUDA version, `torch.version.cuda`.

    Raises
    ------
    KernelError
        If PyTorch has no CUDA, or there is no such NVRTC here.
    """
    if cuda is None:
        raise KernelError("This PyTorch is built without CUDA; install a CUDA build to use a GPU.")
    major = int(cuda.split(".")[0])
    for path in _candidates(major):
        if ".alt" not in path.name and "builtins" not in path.name:
            return Nvrtc(str(path))
    try:
        return Nvrtc(f"nvrtc64_{major}0_0.dll" if sys.platform == "win32" else f"libnvrtc.so.{major}")
    except KernelError as error:
        name = "nvidia-cuda-nvrtc" if major >= 13 else f"nvidia-cuda-nvrtc-cu{major}"
        raise KernelError(
            f"NVRTC of CUDA {major}, the compiler for kernels, is neither in PyTorch nor on this system; "
            f"install it with: pip install {name}."
        ) from error
