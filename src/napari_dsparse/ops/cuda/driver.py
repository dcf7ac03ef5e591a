"""The CUDA driver calls needed for launches, through ctypes."""

from __future__ import annotations

import ctypes
import functools
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from napari_dsparse.errors import KernelError

#: First driver with libraries (kernels that belong to no context).
OLDEST_DRIVER = 12000


class Driver:
    """The CUDA driver.

    Parameters
    ----------
    name : str
        Its library.

    Raises
    ------
    KernelError
        If it can't be loaded, or is too old.
    """

    def __init__(self, name: str) -> None:
        try:
            self._library = ctypes.CDLL(name)
        except OSError as error:
            raise KernelError(
                f"The CUDA driver ({name}) can't be loaded; install NVIDIA's driver for this GPU."
            ) from error
        self._check(self._library.cuInit(0), "start")
        version = ctypes.c_int()
        self._check(self._library.cuDriverGetVersion(ctypes.byref(version)), "tell its version")
        if version.value < OLDEST_DRIVER:
            serves = f"{version.value // 1000}.{version.value % 1000 // 10}"
            raise KernelError(
                f"The NVIDIA driver serves CUDA {serves}; kernels need a driver for CUDA 12.0 or later: "
                "update it."
            )

    def load(self, cubin: bytes, name: str) -> ctypes.c_void_p:
        """The kernel `name` of a cubin; it belongs to no context and stays loaded.

        Raises
        ------
        KernelError
            If the driver refuses it.
        """
        library, kernel = ctypes.c_void_p(), ctypes.c_void_p()
        self._check(
            self._library.cuLibraryLoadData(ctypes.byref(library), cubin, None, None, 0, None, None, 0),
            f"load the kernel {name}",
        )
        self._check(
            self._library.cuLibraryGetKernel(ctypes.byref(kernel), library, name.encode()),
            f"find the kernel {name}",
        )
        return kernel

    def launch(
        self,
        kernel: ctypes.c_void_p,
        device: int,
        stream: int,
        blocks: int,
        threads: int,
        shared: int,
        arguments: ctypes.Structure,
    ) -> None:
        """Enqueue a launch on `stream` of `device`; `shared` in bytes.

        Raises
        ------
        KernelError
            If the driver refuses it.
        """
        parameters = (ctypes.c_void_p * 1)(ctypes.addressof(arguments))
        with self._context(device):
            self._check(
                self._library.cuLaunchKernel(
                    kernel,
                    *(ctypes.c_uint(n) for n in (blocks, 1, 1, threads, 1, 1, shared)),
                    ctypes.c_void_p(stream),
                    parameters,
                    None,
                ),
                "launch a kernel",
            )

    @contextmanager
    def _context(self, device: int) -> Iterator[None]:
        """Makes the primary context of `device`, the one PyTorch uses, current on this thread.

        A thread that has not used CUDA yet, as in a worker's first call, has none.
        """
        wanted, current = self._primary(device), ctypes.c_void_p()
        self._check(self._library.cuCtxGetCurrent(ctypes.byref(current)), "tell its context")
        if current.value == wanted.value:
            yield
            return
        self._check(self._library.cuCtxSetCurrent(wanted), "change its context")
        try:
            yield
        finally:
            if current.value is not None:
                self._check(self._library.cuCtxSetCurrent(current), "change its context")

    @functools.cache  # noqa: B019 - there is one driver, for good
    def _primary(self, device: int) -> ctypes.c_void_p:
        handle, context = ctypes.c_int(), ctypes.c_void_p()
        self._check(self._library.cuDeviceGet(ctypes.byref(handle), device), f"find device {device}")
        self._check(
            self._library.cuDevicePrimaryCtxRetain(ctypes.byref(context), handle), f"use device {device}"
        )
        return context

    def _check(self, result: int, what: str) -> None:
        if result:
            text = ctypes.c_char_p()
            self._library.cuGetErrorString(result, ctypes.byref(text))
            message = text.value.decode() if text.value else "unknown error"
            raise KernelError(f"The CUDA driver could not {what}: {message} (error {result}).")


@functools.cache
def open_driver() -> Driver:
    """The driver of this system.

    Raises
    ------
    KernelError
        If there is none, or it is too old.
    """
    return Driver("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
