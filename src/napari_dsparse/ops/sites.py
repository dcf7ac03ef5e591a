"""The same layer operations at active sites only: gather, then one dense product.

A map is held as rows, one per active site: (S, C). A kernel map says which input row each tap of each
output site reads. Every operation has a fixed order of summation, so results repeat bit for bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from napari_dsparse.errors import ShapeError

#: Bytes of gathered rows handled at a time: small enough to stay in a core's cache until the product.
CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, eq=False)
class KernelMap:
    """Which input row each tap of each output site reads, and the other way round.

    Parameters
    ----------
    rows : Tensor of int, shape (S, T)
        Input row of tap t at output site s; taps in row-major order of the kernel.
    inverse : Tensor of int, shape (M, T)
        Output site that reads input row m through tap t; S where there is none.
    """

    rows: Tensor
    inverse: Tensor

    @property
    def outputs(self) -> int:
        """Number of output sites, S."""
        return self.rows.shape[0]

    @property
    def inputs(self) -> int:
        """Number of input sites, M."""
        return self.inverse.shape[0]

    def to(self, device: torch.device) -> KernelMap:
        """The same map on `device`."""
        return KernelMap(self.rows.to(device), self.inverse.to(device))


def site_conv2d(
    x: Tensor, weight: Tensor, bias: Tensor | None, kernel_map: KernelMap, groups: int = 1
) -> Tensor:
    """Convolution at active sites.

    Parameters
    ----------
    x : Tensor, shape (M, C)
        Input sites.
    weight : Tensor, shape (K, C / groups, kh, kw)
    bias : Tensor, shape (K,), optional
    kernel_map : KernelMap
        With T = kh kw taps.
    groups : int
        Channel groups, as in `torch.nn.Conv2d`.

    Returns
    -------
    Tensor, shape (S, K)

    Raises
    ------
    ShapeError
        If rows, channels or taps do not fit.
    """
    taps = weight.shape[2] * weight.shape[3]
    _check_sites(x, kernel_map, taps)
    if x.shape[1] != weight.shape[1] * groups:
        raise ShapeError(
            f"The sites have {x.shape[1]} channels; this convolution takes {weight.shape[1] * groups}."
        )
    parts = []
    for rows, kernels in zip(x.chunk(groups, 1), weight.chunk(groups, 0), strict=True):
        # (K, C, kh, kw) -> (T C, K): the gathered taps of a site lie tap by tap, channels innermost.
        matrix = kernels.permute(2, 3, 1, 0).reshape(-1, kernels.shape[0])
        part: Tensor = _GatherProduct.apply(rows, matrix, kernel_map.rows, kernel_map.inverse)  # type: ignore[no-untyped-call]
        parts.append(part)
    out = parts[0] if groups == 1 else torch.cat(parts, 1)
    return out if bias is None else out + bias


def site_max_pool2d(x: Tensor, kernel_map: KernelMap) -> Tensor:
    """Max over the taps of each site: (M, C) -> (S, C); the first largest tap takes the gradient."""
    _check_sites(x, kernel_map, kernel_map.rows.shape[1])
    out: Tensor = _SiteMaxPool.apply(x, kernel_map.rows, kernel_map.inverse)  # type: ignore[no-untyped-call]
    return out


def site_avg_pool2d(x: Tensor, kernel_map: KernelMap, divisor: int | None = None) -> Tensor:
    """Mean over the taps of each site: (M, C) -> (S, C), or their sum over `divisor`."""
    _check_sites(x, kernel_map, kernel_map.rows.shape[1])
    out: Tensor = _SiteSum.apply(x, kernel_map.rows, kernel_map.inverse)  # type: ignore[no-untyped-call]
    return out / (divisor or kernel_map.rows.shape[1])


def _check_sites(x: Tensor, kernel_map: KernelMap, taps: int) -> None:
    if x.ndim != 2 or x.shape[0] != kernel_map.inputs:
        raise ShapeError(
            f"The sites are {tuple(x.shape)}; this kernel map takes ({kernel_map.inputs}, channels)."
        )
    if kernel_map.rows.shape[1] != taps:
        raise ShapeError(f"The kernel has {taps} taps; the kernel map has {kernel_map.rows.shape[1]}.")


def _chunk_rows(columns: int, x: Tensor) -> int:
    return max(64, CHUNK_BYTES // max(1, columns * x.element_size()))


def _with_zero_row(x: Tensor) -> Tensor:
    """`x` and a last row of zeros, which is what "no such site" reads."""
    return torch.cat([x, x.new_zeros(1, x.shape[1])])


def _gather_matmul(x: Tensor, rows: Tensor, matrix: Tensor) -> Tensor:
    """Rows of `x` gathered tap by tap, times `matrix` (T C, K), chunk by chunk: (S, K)."""
    sites, taps = rows.shape
    width = taps * x.shape[1]
    out = x.new_empty(sites, matrix.shape[1])
    step = _chunk_rows(width, x)
    flat = rows.reshape(-1)
    for start in range(0, sites, step):
        stop = min(sites, start + step)
        gathered = x.index_select(0, flat[start * taps : stop * taps]).view(stop - start, width)
        torch.mm(gathered, matrix, out=out[start:stop])
    return out


class _GatherProduct(torch.autograd.Function):
    """out[s] = sum over taps t of x[rows[s, t]] @ matrix[t]."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, matrix: Tensor, rows: Tensor, inverse: Tensor) -> Tensor:
        ctx.save_for_backward(x, matrix, rows, inverse)
        return _gather_matmul(x, rows, matrix)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        x, matrix, rows, inverse = ctx.saved_tensors
        grad = grad.contiguous()
        taps, channels = rows.shape[1], x.shape[1]
        grad_x = grad_matrix = None
        if ctx.needs_input_grad[0]:
            # The transposed product is itself a gather through the inverse map: no scatter, no atomics.
            turned = matrix.view(taps, channels, -1).transpose(1, 2).reshape(-1, channels)
            grad_x = _gather_matmul(_with_zero_row(grad), inverse, turned)
        if ctx.needs_input_grad[1]:
            grad_matrix = torch.zeros_like(matrix)
            step = _chunk_rows(taps * channels, x)
            flat = rows.reshape(-1)
            for start in range(0, rows.shape[0], step):
                stop = min(rows.shape[0], start + step)
                gathered = x.index_select(0, flat[start * taps : stop * taps]).view(stop - start, -1)
                grad_matrix.addmm_(gathered.t(), grad[start:stop])
        return grad_x, grad_matrix, None, None


class _SiteMaxPool(torch.autograd.Function):
    """The largest tap of each site; a byte per value remembers which tap that was."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, rows: Tensor, inverse: Tensor) -> Tensor:
        out = x.index_select(0, rows[:, 0])
        for tap in range(1, rows.shape[1]):
            torch.maximum(out, x.index_select(0, rows[:, tap]), out=out)
        if ctx.needs_input_grad[0]:
            ctx.save_for_backward(_first_winners(x, rows, out), rows, inverse)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        winner, rows, inverse = ctx.saved_tensors
        grad_x = grad.new_zeros(inverse.shape[0], grad.shape[1])
        if grad.device.type == "cpu":
            # One pass, and in a fixed order: on the CPU a scatter is sequential.
            return grad_x.scatter_add_(0, rows.long().gather(1, winner.long()), grad), None, None
        padded = _with_zero_row(grad)
        winners = torch.cat([winner, winner.new_zeros(1, winner.shape[1])])
        for tap in range(inverse.shape[1]):
            read_by = inverse[:, tap]
            grad_x += padded.index_select(0, read_by) * (winners.index_select(0, read_by) == tap)
        return grad_x, None, None


def _first_winners(x: Tensor, rows: Tensor, out: Tensor) -> Tensor:
    """Which tap first reached the maximum: the number of taps after which the running maximum was less.

    Counting is several times faster than a masked write for each tap that takes the lead.
    """
    # More than 256 taps in a pool are unheard of, but correct.
    winner = torch.zeros(
        out.shape, dtype=torch.uint8 if rows.shape[1] <= 256 else torch.int32, device=x.device
    )
    running = x.index_select(0, rows[:, 0])
    for tap in range(1, rows.shape[1]):
        winner += (running != out) & (running == running)  # NaN, once there, has won
        torch.maximum(running, x.index_select(0, rows[:, tap]), out=running)
    return winner


class _SiteSum(torch.autograd.Function):
    """The sum over the taps of each site."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, rows: Tensor, inverse: Tensor) -> Tensor:
        ctx.save_for_backward(inverse)
        out = x.index_select(0, rows[:, 0])
        for tap in range(1, rows.shape[1]):
            out += x.index_select(0, rows[:, tap])
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (inverse,) = ctx.saved_tensors
        padded = _with_zero_row(grad)
        grad_x = padded.index_select(0, inverse[:, 0])
        for tap in range(1, inverse.shape[1]):
            grad_x += padded.index_select(0, inverse[:, tap])
        return grad_x, None, None
