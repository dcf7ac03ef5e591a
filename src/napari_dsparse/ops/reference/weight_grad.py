"""The gradient to a convolution's weights on a processor, where taps lie apart.

Measured with AVX2, PyTorch's own (oneDNN, which unfolds the map for one matrix product) runs at a fifth of
the forward pass's rate for 3 x 3 taps that lie apart, and at a four-hundredth for 7 x 7 taps 16 apart.
Products of bands that stay in cache run nearly at the rate of the forward pass.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from napari_dsparse.ops.shapes import Two

#: Types in which sums over a band of rows lose nothing that a convolution keeps.
TYPES = (torch.float32, torch.float64)
#: Each group takes products of its own; with many of them they are too small to be worth it.
MOST_GROUPS = 8
#: Bytes of pixels laid out for one product: they stay in cache.
BAND_BYTES = 4 << 20


def in_bands(x: Tensor, kernel: Two, dilation: Two, groups: int) -> bool:
    """True if `weight_grad_in_bands` can run a call, and faster than PyTorch's own."""
    apart = any(k > 1 and d > 1 for k, d in zip(kernel, dilation, strict=True))
    return apart and x.device.type == "cpu" and x.dtype in TYPES and groups <= MOST_GROUPS


def weight_grad_in_bands(x: Tensor, grad: Tensor, kernel: Two, dilation: Two, groups: int) -> Tensor:
    """Output gradients times what each tap read, one matrix product for each row of taps and band of rows.

    The pixels that one row of taps reads are laid side by side, once for all rows of taps: an input row is
    read by kh of them, from kh output rows.

    Parameters
    ----------
    x : Tensor, shape (N, C, H, W)
    grad : Tensor, shape (N, K, H - (kh - 1) dh, W - (kw - 1) dw)
    kernel, dilation : (int, int)
    groups : int

    Returns
    -------
    Tensor, shape (K, C / groups, kh, kw)
    """
    (kh, kw), (dh, _) = kernel, dilation
    channels, outputs = x.shape[1] // groups, grad.shape[1] // groups
    rows = grad.shape[2]
    sums = x.new_zeros((groups, kh, kw * channels, outputs))
    for image, top, band in _bands(x, grad.shape[3], kw, dilation[1], groups):
        bottom = top + band.shape[1]
        for tap in range(kh):
            first, last = max(0, top - tap * dh), min(rows, bottom - tap * dh)
            if first < last:
                given = grad[image, :, first:last].permute(1, 2, 0).reshape(-1, grad.shape[1])
                for group, read in enumerate(band[:, first + tap * dh - top : last + tap * dh - top]):
                    own = given[:, group * outputs : (group + 1) * outputs]
                    sums[group, tap].addmm_(read.reshape(-1, kw * channels).t(), own)
    taps = sums.view(groups, kh, kw, channels, outputs).permute(0, 4, 3, 1, 2)
    return taps.reshape(-1, channels, kh, kw).contiguous()


def _bands(
    x: Tensor, columns: int, taps: int, dilation: int, groups: int
) -> Iterator[tuple[int, int, Tensor]]:
    """Image number, first row, and (groups, rows, columns, taps, C / groups) of bands of a map.

    A band is overwritten by the next one.
    """
    count, channels, height, _ = x.shape
    one_row = columns * taps * channels * x.element_size()
    most = max(1, min(height, BAND_BYTES // max(1, one_row)))
    room = x.new_empty((groups, most, columns, taps, channels // groups))
    for image in range(count):
        for top in range(0, height, most):
            pixels = x[image, :, top : top + most].permute(1, 2, 0).contiguous()
            pixels = pixels.view(*pixels.shape[:2], groups, -1).permute(2, 0, 1, 3)
            band = room[:, : pixels.shape[1]]
            for tap in range(taps):
                band[:, :, :, tap] = pixels[:, :, tap * dilation : tap * dilation + columns]
            yield image, top, band
