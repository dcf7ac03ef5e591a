"""The operators on a GPU, with the signatures of `schemas`, and the reasons where they cannot run.

`dispatch` is the only caller: it passes dense tensors on one CUDA device, none of them empty.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from napari_dsparse.errors import KernelError
from napari_dsparse.ops.cuda import compiler, execution
from napari_dsparse.ops.cuda.convolutions import conv2d, conv2d_input_grad, conv2d_weight_grad
from napari_dsparse.ops.cuda.driver import open_driver
from napari_dsparse.ops.cuda.gathers import site_conv2d, site_conv2d_input_grad, site_conv2d_weight_grad
from napari_dsparse.ops.cuda.kernels import ELEMENTS, PRODUCT_DTYPES
from napari_dsparse.ops.cuda.nvrtc import find_nvrtc
from napari_dsparse.ops.cuda.pools import (
    avg_pool2d,
    avg_pool2d_backward,
    max_pool2d,
    max_pool2d_backward,
    site_avg_pool2d,
    site_avg_pool2d_backward,
    site_max_pool2d,
    site_max_pool2d_backward,
)
from napari_dsparse.ops.schemas import argument_names
from napari_dsparse.ops.shapes import grown

#: Summary of the kernel that serves each operator, for people.
KERNEL_SUMMARIES: Mapping[str, str] = {
    "conv2d": "implicit GEMM, strips shared by taps",
    "conv2d_input_grad": "implicit GEMM over turned weights",
    "conv2d_weight_grad": "split GEMM over pixels, summed in order",
    "max_pool2d": "one thread per value, uint8 winners",
    "max_pool2d_backward": "gather of winners, k^2 per value",
    "avg_pool2d": "one thread per value; many taps by doubling",
    "avg_pool2d_backward": "gather, k^2 per value; many taps by doubling",
    "site_conv2d": "gather-GEMM",
    "site_conv2d_input_grad": "gather-GEMM through the inverse map",
    "site_conv2d_weight_grad": "split GEMM over sites, summed in order",
    "site_max_pool2d": "gather, uint8 winners",
    "site_max_pool2d_backward": "gather through the inverse map",
    "site_avg_pool2d": "gather",
    "site_avg_pool2d_backward": "gather through the inverse map",
}

#: Numbers that kernels keep in 32 bits: rows, columns and channels of a plane, sites.
MOST = 2**31 - 1


@functools.cache
def unavailable(device: torch.device) -> str | None:
    """Reason why no kernel is available on `device`, as a sentence; None if they are."""
    if device.type != "cuda":
        return f"Kernels run on CUDA devices; this tensor is on {device}."
    try:
        compiler.architecture_for(execution.capability(device), find_nvrtc(torch.version.cuda))
        open_driver()
    except KernelError as error:
        return str(error)
    return None


def can_run(operator: str, *args: Any) -> str | None:
    """Reason why this call has no kernel, as a sentence; None if it has.

    Parameters
    ----------
    operator : str
        A name in `schemas.SCHEMAS`.
    *args
        Arguments of the operator.
    """
    x: Tensor = args[0]
    types = PRODUCT_DTYPES if "conv" in operator else tuple(ELEMENTS)
    if x.dtype not in types:
        names = ", ".join(str(t).removeprefix("torch.") for t in types)
        return (
            f"There is no kernel of {operator} for {str(x.dtype).removeprefix('torch.')}, only for {names}."
        )
    tensors = [arg for arg in args if isinstance(arg, Tensor)]
    if any(t.device != x.device for t in tensors):
        return "Tensors of one call must be on one device: " + ", ".join(str(t.device) for t in tensors) + "."
    if any(t.dtype != x.dtype for t in tensors if t.is_floating_point()):
        return "Kernels take one number type a call; these differ: " + ", ".join(
            str(t.dtype) for t in tensors
        )
    if operator.startswith("site_"):
        if max(t.shape[0] for t in tensors) > MOST:
            return f"A kernel map of more than {MOST} sites has no kernel."
    else:
        rows, columns = _larger(operator, args)
        if rows > MOST or x.shape[1] * columns > MOST:
            size = (*x.shape[:2], rows, columns)
            return f"A map of {size} is too wide; kernels take {MOST} values per row."
    if "max_pool" in operator and _taps(operator, args) > 256:
        return f"A window of {_taps(operator, args)} taps is too large; a winner of one byte tells 256 apart."
    return None


def _larger(operator: str, args: tuple[Any, ...]) -> Sequence[int]:
    """Rows and columns of the larger map of a call, the one that is read or, backward, may be written."""
    if operator.endswith("pool2d_backward"):
        named = dict(zip(argument_names(operator), args, strict=True))
        return grown(named["grad"], named["kernel"], named["dilation"])
    x: Tensor = args[0]
    return x.shape[2:]


def _taps(operator: str, args: tuple[Any, ...]) -> int:
    if operator.startswith("site_"):
        rows: Tensor = args[1] if operator == "site_max_pool2d" else args[2]
        return rows.shape[1]
    kernel = args[1] if operator == "max_pool2d" else args[2]
    return int(kernel[0] * kernel[1])


__all__ = [
    "KERNEL_SUMMARIES",
    "avg_pool2d",
    "avg_pool2d_backward",
    "can_run",
    "conv2d",
    "conv2d_input_grad",
    "conv2d_weight_grad",
    "max_pool2d",
    "max_pool2d_backward",
    "site_avg_pool2d",
    "site_avg_pool2d_backward",
    "site_conv2d",
    "site_conv2d_input_grad",
    "site_conv2d_weight_grad",
    "site_max_pool2d",
    "site_max_pool2d_backward",
    "unavailable",
]
