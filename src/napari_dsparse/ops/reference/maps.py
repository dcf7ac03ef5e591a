"""Layer operations on whole maps, in plain PyTorch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.grad import conv2d_weight

from napari_dsparse.ops.reference.arithmetic import (
    activate_,
    choose,
    needs_care,
    sum_dtype,
    takes_lead,
    won_by,
)
from napari_dsparse.ops.reference.weight_grad import in_bands, weight_grad_in_bands
from napari_dsparse.ops.reference.window_sums import spread_sums, window_sums
from napari_dsparse.ops.shapes import Two, layout_of

ROWS, COLUMNS = 2, 3
#: Taps of both axes together, from which on a max-pool's gradient is added place by place.
SCATTERED_TAPS = 8


def conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    dilation: Two,
    groups: int,
    activation: str,
    slope: float,
) -> Tensor:
    """Sum of products over taps, plus bias, then the activation."""
    total = F.conv2d(x, weight, bias, dilation=dilation, groups=groups)
    return activate_(total, activation, slope).contiguous(memory_format=layout_of(x))


def conv2d_input_grad(grad: Tensor, weight: Tensor, dilation: Two, groups: int) -> Tensor:
    """Gradient to the input: each output's gradient, through each tap, back to the pixel it read."""
    spread = F.conv_transpose2d(grad, weight, dilation=dilation, groups=groups)
    return spread.contiguous(memory_format=layout_of(grad))


def conv2d_weight_grad(x: Tensor, grad: Tensor, kernel: Two, dilation: Two, groups: int) -> Tensor:
    """Gradient to the weights: for each tap, output gradients times what that tap read."""
    if in_bands(x, kernel, dilation, groups):
        return weight_grad_in_bands(x, grad, kernel, dilation, groups)
    size = (grad.shape[1], x.shape[1] // groups, *kernel)
    product: Tensor = conv2d_weight(  # type: ignore[no-untyped-call]
        x, size, grad, dilation=dilation, groups=groups
    )
    return product.contiguous()


def max_pool2d(x: Tensor, kernel: Two, dilation: Two, record: bool) -> tuple[Tensor, Tensor]:
    """Maxima over taps, and which tap won.

    Columns first, then rows: the first largest tap of the first row that holds it is the first in row-major
    order.
    """
    if not record:
        out = _window_max(_window_max(x, kernel[1], dilation[1], COLUMNS), kernel[0], dilation[0], ROWS)
        return _own(out, x), x.new_empty(0, dtype=torch.uint8)
    careful = needs_care(x)
    winners = torch.zeros_like(x, dtype=torch.uint8)
    out, winners = _window_winner(x, winners, kernel[1], dilation[1], COLUMNS, 1, careful)
    out, winners = _window_winner(out, winners, kernel[0], dilation[0], ROWS, kernel[1], careful)
    return _own(out, x), winners.contiguous(memory_format=layout_of(x))


def _own(out: Tensor, x: Tensor) -> Tensor:
    """`out` in the layout of `x`, never `x` itself: a window of one tap has made nothing new."""
    return x.clone(memory_format=layout_of(x)) if out is x else out.contiguous(memory_format=layout_of(x))


def _window_max(x: Tensor, taps: int, dilation: int, axis: int) -> Tensor:
    """Maxima of `taps` neighbours along one axis in about log2(taps) passes.

    A running window of w taps joined with itself, shifted by at most w taps, is a window of up to 2 w.
    """
    window = 1
    while window < taps:
        step = min(window, taps - window)
        length = x.shape[axis] - step * dilation
        x = torch.maximum(x.narrow(axis, 0, length), x.narrow(axis, step * dilation, length))
        window += step
    return x


def _window_winner(
    x: Tensor, winners: Tensor, taps: int, dilation: int, axis: int, stride: int, careful: bool
) -> tuple[Tensor, Tensor]:
    """`_window_max` that keeps the winners; a tap along this axis counts `stride` in their number.

    Where the two windows overlap, the later one can only be larger by a tap that the earlier one lacks.
    """
    window = 1
    while window < taps:
        step = min(window, taps - window)
        length = x.shape[axis] - step * dilation
        earlier, later = x.narrow(axis, 0, length), x.narrow(axis, step * dilation, length)
        wins = takes_lead(later, earlier, careful)
        before = winners.narrow(axis, 0, length)
        winners = choose(wins, winners.narrow(axis, step * dilation, length) + step * stride, before)
        x = torch.maximum(earlier, later)
        window += step
    return x, winners


def max_pool2d_backward(grad: Tensor, winners: Tensor, kernel: Two, dilation: Two) -> Tensor:
    """Gradient to the input: each output's gradient goes to its winner, all others get nothing.

    Windows side by side in a column read the same taps in a row they share, so those whose winner lies in
    that row agree on it (`schemas`). So the gradient goes back by rows first, then by columns: kh + kw
    passes, not kh kw. Masks are factors here, so an infinite gradient makes NaN of its neighbours. On a CPU,
    one pass that adds each gradient at its winner's place takes less from `SCATTERED_TAPS` on (8 + 8: 0.3).
    """
    (kh, kw), (dh, dw) = kernel, dilation
    if grad.device.type == "cpu" and kh + kw >= SCATTERED_TAPS:
        return _to_winning_places(grad, winners, kernel, dilation)
    count, channels, rows, columns = grad.shape
    wide_enough = grad.to(sum_dtype(grad.dtype))

    tall = (count, channels, rows + (kh - 1) * dh, columns)
    by_row = _zeros(tall, wide_enough)
    winning_column = _zeros(tall, winners)
    for ty in range(kh):
        column = (winners - ty * kw).clamp_(
            max=kw
        )  # kw where another row has won, above or (modulo 256) below
        won = (kw - column).clamp_(max=1)
        by_row.narrow(ROWS, ty * dh, rows).addcmul_(wide_enough, won.to(by_row.dtype))
        seen = winning_column.narrow(ROWS, ty * dh, rows)
        torch.maximum(seen, column.mul_(won), out=seen)

    out = _zeros((*tall[:3], columns + (kw - 1) * dw), wide_enough)
    for tx in range(kw):
        won = won_by(winning_column, tx)
        out.narrow(COLUMNS, tx * dw, columns).addcmul_(by_row, won.to(by_row.dtype))
    return out.to(grad.dtype)


def _to_winning_places(grad: Tensor, winners: Tensor, kernel: Two, dilation: Two) -> Tensor:
    """`max_pool2d_backward` by ATen's own, which wants the winner's place in the input, y * width + x."""
    (kh, kw), (dh, dw) = kernel, dilation
    count, channels, rows, columns = grad.shape
    size = (count, channels, rows + (kh - 1) * dh, columns + (kw - 1) * dw)
    taps = (torch.arange(kh)[:, None] * (dh * size[3]) + torch.arange(kw) * dw).flatten()
    begins = torch.arange(rows)[:, None] * size[3] + torch.arange(columns)
    # Looked up in the order of memory, channels last or not.
    winners = winners.contiguous(memory_format=layout_of(winners))
    flat = winners.as_strided((winners.numel(),), (1,)).int()
    places = taps.index_select(0, flat).as_strided(winners.shape, winners.stride()) + begins
    # It asks the map for its size and layout alone: this one is never written, so it takes no memory.
    like = torch.empty(size, dtype=sum_dtype(grad.dtype), memory_format=layout_of(grad))
    back: Tensor = torch.ops.aten.max_pool2d_with_indices_backward(
        grad.to(like.dtype), like,
        [kh, kw], [1, 1], [0, 0], [dh, dw], False, places,
    )  # fmt: skip
    return back.to(grad.dtype).contiguous(memory_format=layout_of(grad))


def avg_pool2d(x: Tensor, kernel: Two, dilation: Two, divisor: int) -> Tensor:
    """Sums over taps, axis by axis, divided by `divisor`; see `window_sums`."""
    return window_sums(x, kernel, dilation, divisor)


def avg_pool2d_backward(grad: Tensor, kernel: Two, dilation: Two, divisor: int) -> Tensor:
    """Gradient to the input: each output's gradient over `divisor`, to all of its taps."""
    return spread_sums(grad, kernel, dilation, divisor)


def _zeros(size: Sequence[int], like: Tensor) -> Tensor:
    """Zeros with the type, device and layout of a map."""
    return torch.empty(size, dtype=like.dtype, device=like.device, memory_format=layout_of(like)).zero_()
