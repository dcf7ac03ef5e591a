"""Maps as fragments: the d x d phases of a map, side by side in the batch axis.

Taps d apart in a map are neighbours in its fragments, so a convolution with dilation d is a dense one there.
Plain arithmetic of views and copies: gradients flow through.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def split_phases(x: Tensor, dilation: tuple[int, int]) -> Tensor:
    """Phases of a map: pixel (y, x) goes to fragment (y mod dy, x mod dx).

    Parameters
    ----------
    x : Tensor, shape (N, C, H, W)
    dilation : (int, int)
        dy and dx.

    Returns
    -------
    Tensor, shape (N dy dx, C, ceil(H / dy), ceil(W / dx)), channels-last
        Zeros fill the last row and column of phases that end earlier.
    """
    (count, channels, height, width), (dy, dx) = x.shape, dilation
    if height % dy or width % dx:
        x = F.pad(x, (0, -width % dx, 0, -height % dy))
    rows, columns = x.shape[2] // dy, x.shape[3] // dx
    phases = x.permute(0, 2, 3, 1).reshape(count, rows, dy, columns, dx, channels).permute(0, 2, 4, 1, 3, 5)
    return phases.reshape(count * dy * dx, rows, columns, channels).permute(0, 3, 1, 2)


def join_phases(fragments: Tensor, dilation: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """The map of `size` (rows, columns) whose phases are `fragments`; the inverse of `split_phases`."""
    (count, channels, rows, columns), (dy, dx) = fragments.shape, dilation
    phases = fragments.permute(0, 2, 3, 1).reshape(count // (dy * dx), dy, dx, rows, columns, channels)
    whole = phases.permute(0, 3, 1, 4, 2, 5).reshape(-1, rows * dy, columns * dx, channels)
    return whole.permute(0, 3, 1, 2)[:, :, : size[0], : size[1]]
