"""Layer operations at active sites, in plain PyTorch: gather, then one dense product, chunk by chunk."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from napari_dsparse.ops.reference.arithmetic import (
    activate_,
    needs_care,
    sum_dtype,
    takes_lead,
    won_by,
)
from napari_dsparse.ops.shapes import Two

#: Bytes of gathered rows handled at a time: small enough to stay in a core's cache until the product.
CHUNK_BYTES = 1 << 20
#: Where a layer has this many times as many input rows as sites, most taps of the inverse map are empty, and
#: its gradient is cheaper to compute where it comes from and add where it goes (measured: from 2 to 6 on).
SPARSE_INPUTS = 3


def site_conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    rows: Tensor,
    inverse: Tensor,
    groups: int,
    activation: str,
    slope: float,
) -> Tensor:
    """Sum of products over the taps of each site, plus bias, then the activation."""
    out = x.new_empty(rows.shape[0], weight.shape[0])
    parts = zip(x.chunk(groups, 1), weight.chunk(groups), out.chunk(groups, 1), strict=True)
    for rows_of_group, kernels, total in parts:
        # (K, C, kh, kw) -> (T C, K): the gathered taps of a site lie tap by tap, channels innermost.
        matrix = kernels.permute(2, 3, 1, 0).reshape(-1, kernels.shape[0])
        for some, gathered in _gathered(rows_of_group, rows):
            torch.mm(gathered, matrix, out=total[some])
    if bias is not None:
        out += bias
    return activate_(out, activation, slope)


def site_conv2d_input_grad(
    grad: Tensor, weight: Tensor, rows: Tensor, inverse: Tensor, groups: int
) -> Tensor:
    """Gradient to the input rows.

    The transposed product is itself a gather through the inverse map: no scatter, no atomics. Only where few
    sites read many rows, as in the last layers under thin strokes, is it a product for each site's taps.
    """
    if inverse.shape[0] >= SPARSE_INPUTS * rows.shape[0] and sum_dtype(grad.dtype) == grad.dtype:
        return _spread(grad, weight, rows, inverse.shape[0], groups)
    out = grad.new_empty(inverse.shape[0], weight.shape[1] * groups)
    padded = _with_zero_row(grad)
    parts = zip(padded.chunk(groups, 1), weight.chunk(groups), out.chunk(groups, 1), strict=True)
    for rows_of_group, kernels, total in parts:
        matrix = kernels.permute(2, 3, 0, 1).reshape(-1, kernels.shape[1])  # (T K, C)
        for some, gathered in _gathered(rows_of_group, inverse, last=len(grad)):
            torch.mm(gathered, matrix, out=total[some])
    return out


def _spread(grad: Tensor, weight: Tensor, rows: Tensor, inputs: int, groups: int) -> Tensor:
    """`site_conv2d_input_grad`, tap by tap: no two sites read the same row through the same tap."""
    channels, taps = weight.shape[1], rows.shape[1]
    out = grad.new_zeros(inputs, channels * groups)
    step = max(64, CHUNK_BYTES // max(1, taps * channels * grad.element_size()))
    by_tap = rows.t().contiguous()
    parts = zip(grad.chunk(groups, 1), weight.chunk(groups), out.chunk(groups, 1), strict=True)
    for some_grad, kernels, total in parts:
        matrix = kernels.permute(0, 2, 3, 1).reshape(kernels.shape[0], -1)  # (K, T C)
        for start in range(0, len(grad), step):
            shares = (some_grad[start : start + step] @ matrix).view(-1, taps, channels)
            for tap in range(taps):
                total.index_add_(0, by_tap[tap, start : start + step], shares[:, tap])
    return out


def site_conv2d_weight_grad(
    x: Tensor, grad: Tensor, rows: Tensor, inverse: Tensor, kernel: Two, groups: int
) -> Tensor:
    """Gradient to the weights: gathered taps against output gradients, chunk after chunk."""
    out = x.new_empty(grad.shape[1], x.shape[1] // groups, *kernel)
    parts = zip(x.chunk(groups, 1), grad.chunk(groups, 1), out.chunk(groups), strict=True)
    for rows_of_group, some_grad, result in parts:
        shape = (some_grad.shape[1], rows.shape[1] * rows_of_group.shape[1])  # (K, T C)
        total = torch.zeros(shape, dtype=sum_dtype(x.dtype), device=x.device)
        for some, gathered in _gathered(rows_of_group, rows):
            if total.dtype == x.dtype:
                total.addmm_(some_grad[some].t(), gathered)
            else:
                total += some_grad[some].t() @ gathered
        result.copy_(total.view(-1, *kernel, rows_of_group.shape[1]).permute(0, 3, 1, 2))
    return out


def site_max_pool2d(x: Tensor, rows: Tensor, inverse: Tensor, record: bool) -> tuple[Tensor, Tensor]:
    """The largest tap of each site, and which tap that was."""
    out = x.index_select(0, rows[:, 0])
    winners = torch.zeros(out.shape if record else 0, dtype=torch.uint8, device=x.device)
    careful = record and needs_care(x)
    for tap in range(1, rows.shape[1]):
        value = x.index_select(0, rows[:, tap])
        if record:
            winners += (tap - winners).mul_(takes_lead(value, out, careful))
        torch.maximum(out, value, out=out)
    return out, winners


def site_max_pool2d_backward(grad: Tensor, winners: Tensor, rows: Tensor, inverse: Tensor) -> Tensor:
    """Gradient to the input rows: each site's gradient goes to its winner."""
    total = torch.zeros(inverse.shape[0], grad.shape[1], dtype=sum_dtype(grad.dtype), device=grad.device)
    if grad.device.type == "cpu":
        # One pass, and in a fixed order: on the CPU a scatter is sequential.
        winning_rows = rows.long().gather(1, winners.long())
        return total.scatter_add_(0, winning_rows, grad.to(total.dtype)).to(grad.dtype)
    padded, won = _with_zero_row(grad), _with_zero_row(winners)
    for tap in range(inverse.shape[1]):
        readers = inverse[:, tap].clamp(max=len(grad))
        share = won_by(won.index_select(0, readers), tap).to(total.dtype)
        total.addcmul_(padded.index_select(0, readers).to(total.dtype), share)
    return total.to(grad.dtype)


def site_avg_pool2d(x: Tensor, rows: Tensor, inverse: Tensor, divisor: int) -> Tensor:
    """The sum of each site's taps, divided by `divisor`."""
    return _tap_sum(x, rows).div_(divisor).to(x.dtype)


def site_avg_pool2d_backward(grad: Tensor, rows: Tensor, inverse: Tensor, divisor: int) -> Tensor:
    """Gradient to the input rows: the sum over the sites that read each, divided by `divisor`."""
    return _tap_sum(_with_zero_row(grad), inverse.clamp(max=len(grad))).div_(divisor).to(grad.dtype)


def _tap_sum(x: Tensor, rows: Tensor) -> Tensor:
    total = x.index_select(0, rows[:, 0]).to(sum_dtype(x.dtype))
    for tap in range(1, rows.shape[1]):
        total += x.index_select(0, rows[:, tap])
    return total


def _gathered(x: Tensor, rows: Tensor, last: int | None = None) -> Iterator[tuple[slice, Tensor]]:
    """Chunks of sites, each with its taps side by side: (chunk, T C); rows beyond `last` are that one."""
    sites, taps = rows.shape
    width = taps * x.shape[1]
    step = max(64, CHUNK_BYTES // max(1, width * x.element_size()))
    flat = rows.reshape(-1)
    for start in range(0, sites, step):
        stop = min(sites, start + step)
        wanted = flat[start * taps : stop * taps]
        chunk = x.index_select(0, wanted if last is None else wanted.clamp(max=last))
        yield slice(start, stop), chunk.view(stop - start, width)


def _with_zero_row(x: Tensor) -> Tensor:
    """`x` and a last row of zeros, which is what "no such site" reads."""
    return torch.cat([x, x.new_zeros(1, x.shape[1])])
