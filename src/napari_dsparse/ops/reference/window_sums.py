"""Sums over windows of any number of taps, in a number of additions that grows with its logarithm.

A window of m taps joined with itself, m taps further on, is one of 2 m; joined with one more tap, of 2 m + 1.
So k taps along one axis take at most 2 log2(k) additions per pixel: 4 for 9 taps, 6 for 25, 7 for 49. Columns
follow rows. Nothing is ever subtracted, unlike with running totals, and so:

- The rounding error is that of a sum of a few terms: it does not grow along the map, and a window feels no
  pixel outside it, however large, infinite or NaN.
- Every window adds its taps in the same order, so it comes out the same, bit for bit, wherever a tile is cut
  and in either layout.
- The gradient is the same sum over the gradient with zeros around it.

On a CPU, adding two maps that do not fit its caches means waiting for memory. So a map is summed in parts
small enough to stay there, each for all taps of one axis.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor

from napari_dsparse.ops.doubling import doublings
from napari_dsparse.ops.reference.arithmetic import sum_dtype
from napari_dsparse.ops.shapes import Two, grown, layout_of, shrunk

#: Values in a part, roughly. Smaller parts spend more time on starting threads; three buffers of float32 take
#: 6 MiB. Measured from 2^15 to 2^21.
PART = 1 << 19
#: Neighbours in memory that a part takes from each line at least.
LEAST_RUN = 64


def window_sums(x: Tensor, kernel: Two, dilation: Two, divisor: int) -> Tensor:
    """Returns the sum of each window, divided by `divisor`.

    With u the unit roundoff of the type that sums are kept in (2^-24 for float32 and the 16-bit types), a
    result is off by at most (2 log2 kh + 2 log2 kw + 1) u times the sum of its taps' magnitudes over
    `divisor`, to first order in u and with logarithms rounded down; and by one more rounding if its own type
    is a 16-bit one.

    Parameters
    ----------
    x : Tensor, shape (N, C, H, W)
    kernel, dilation : (rows, columns)
    divisor : int

    Returns
    -------
    Tensor, shape (N, C, H - (kh - 1) dh, W - (kw - 1) dw)
        With the type and layout of `x`.
    """
    return _pool(x, shrunk(x, kernel, dilation), kernel, dilation, divisor, padded=False)


def spread_sums(grad: Tensor, kernel: Two, dilation: Two, divisor: int) -> Tensor:
    """The transpose of `window_sums`: the sum of all windows that hold a pixel, divided by `divisor`.

    Parameters
    ----------
    grad : Tensor, shape (N, C, Ho, Wo)
    kernel, dilation : (rows, columns)
    divisor : int

    Returns
    -------
    Tensor, shape (N, C, Ho + (kh - 1) dh, Wo + (kw - 1) dw)
        With the type and layout of `grad`.
    """
    return _pool(grad, grown(grad, kernel, dilation), kernel, dilation, divisor, padded=True)


def _pool(x: Tensor, size: list[int], kernel: Two, dilation: Two, divisor: int, *, padded: bool) -> Tensor:
    layout = layout_of(x)
    out = torch.empty((*x.shape[:2], *size), dtype=x.dtype, device=x.device, memory_format=layout)
    if out.numel() == 0:
        return out
    # In plain order a plane is one channel of an image. Channels last it is an image, C values per pixel.
    inner = x.shape[1] if layout == torch.channels_last else 1
    planes, results = (_planes(one, layout) for one in (x.contiguous(memory_format=layout), out))
    part = PART if x.device.type == "cpu" else x.numel()
    step = min(len(planes), max(1, part // planes[0].numel()))
    scratch = _Scratch(x)
    for start in range(0, len(planes), step):
        some, result = planes[start : start + step], results[start : start + step]
        between = some  # a window of one row is summed along its columns alone
        if kernel[0] > 1:
            between = scratch.take("by row", (len(some), size[0], planes.shape[2]))
            _sum_along(some, between, kernel[0], dilation[0], None, padded, part, scratch)
        lines, result = (one.view(len(some) * size[0], -1, inner) for one in (between, result))
        _sum_along(lines, result, kernel[1], dilation[1], divisor, padded, part, scratch)
    return out


def _planes(x: Tensor, layout: torch.memory_format) -> Tensor:
    """A dense map as (planes, rows, values of a row)."""
    return x.permute(0, 2, 3, 1).flatten(2) if layout == torch.channels_last else x.flatten(0, 1)


class _Scratch:
    """Buffers that one part after another goes through: new memory costs more than the additions."""

    def __init__(self, like: Tensor) -> None:
        self.dtype = sum_dtype(like.dtype)
        self._like = like
        self._flat: dict[str, Tensor] = {}

    def take(self, name: str, shape: Sequence[int]) -> Tensor:
        """The buffer of that name, in this shape; it holds anything."""
        size = prod(shape)
        if name not in self._flat or self._flat[name].numel() < size:
            self._flat[name] = self._like.new_empty(size, dtype=self.dtype)
        return self._flat[name][:size].view(shape)


def _sum_along(
    x: Tensor,
    out: Tensor,
    taps: int,
    dilation: int,
    divisor: int | None,
    padded: bool,
    part: int,
    scratch: _Scratch,
) -> None:
    """Write sums along the middle axis of `x` to `out`, part by part, divided if there is a divisor.

    Parameters
    ----------
    x, out : Tensor, shape (outer, length, inner)
    padded : bool
        True if windows reach beyond both ends, where there are zeros.
    """
    padding = (taps - 1) * dilation if padded else 0
    outer, length, inner = x.shape[0], x.shape[1] + 2 * padding, x.shape[2]
    run = min(inner, max(LEAST_RUN, part // length))
    step = max(1, part // (length * run))
    for start in range(0, outer, step):
        for first in range(0, inner, run):
            lines, result = (one[start : start + step, :, first : first + run] for one in (x, out))
            distance = dilation
            if result.shape[1] < dilation:
                # No two windows share a tap: what lies between the taps is left alone.
                lines = lines.unfold(1, result.shape[1], dilation)
                result = result.transpose(1, 2).unsqueeze(1)
                distance = 1
            lines = _widened(lines, padding, scratch)
            if divisor is None:
                _sum_taps(lines, taps, distance, scratch, result)
            else:
                torch.div(_sum_taps(lines, taps, distance, scratch, None), divisor, out=result)


def _widened(lines: Tensor, padding: int, scratch: _Scratch) -> Tensor:
    """`lines` in the type of sums, with zeros before and after them."""
    if not padding and lines.dtype == scratch.dtype:
        return lines
    length = lines.shape[1]
    wide = scratch.take("lines", (lines.shape[0], length + 2 * padding, *lines.shape[2:]))
    wide.narrow(1, 0, padding).zero_()
    wide.narrow(1, padding, length).copy_(lines)
    wide.narrow(1, padding + length, padding).zero_()
    return wide


def _sum_taps(x: Tensor, taps: int, dilation: int, scratch: _Scratch, out: Tensor | None) -> Tensor:
    """Sums of `taps` neighbours along axis 1 of `x`, in `out` or, if that is None, anywhere."""
    joins: list[bool] = []  # True for one more tap
    for odd in doublings(taps):
        joins += [False, True] if odd else [False]
    if not joins:
        return x if out is None else out.copy_(x)
    total, window = x, 1
    for number, one_more in enumerate(joins, 1):
        later = x if one_more else total
        length = later.shape[1] - window * dilation
        last = number == len(joins) and out is not None
        into = out if last else scratch.take(f"sum {number % 2}", (x.shape[0], length, *x.shape[2:]))
        earlier, later = total.narrow(1, 0, length), later.narrow(1, window * dilation, length)
        total = torch.add(earlier, later, out=into)
        window += 1 if one_more else window
    return total
