"""The same layer operations at active sites only.

A map is held as rows, one per active site: (S, C). A kernel map says which input row each tap of each
output site reads. Every operation has a fixed order of summation, so results repeat bit for bit.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from napari_dsparse.errors import ShapeError
from napari_dsparse.ops.library import OPS
from napari_dsparse.ops.schemas import MOST_WINNER_TAPS
from napari_dsparse.ops.shapes import check_activation


@dataclass(frozen=True, slots=True, eq=False)
class KernelMap:
    """The input row that each tap of each output site reads, and the inverse.

    Parameters
    ----------
    rows : Tensor of int, shape (S, T)
        Input row of tap t at output site s; taps in row-major order of the kernel.
    inverse : Tensor of int, shape (M, T)
        Output site that reads input row m through tap t; S or more where there is none.
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
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    kernel_map: KernelMap,
    groups: int = 1,
    activation: str = "none",
    slope: float = 0.0,
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
    activation : {"none", "relu", "tanh"}
        Applied to the sum in the same pass.
    slope : float
        What "relu" multiplies negative sums by, >= 0: 0 is ReLU, 0.01 the usual LeakyReLU.

    Returns
    -------
    Tensor, shape (S, K)

    Raises
    ------
    ShapeError
        If rows, channels or taps do not fit.
    DsparseError
        If the activation is not one of these.
    """
    _check_sites(x, kernel_map, weight.shape[2] * weight.shape[3])
    check_activation(activation, slope)
    if x.shape[1] != weight.shape[1] * groups:
        raise ShapeError(
            f"The sites have {x.shape[1]} channels; this convolution takes {weight.shape[1] * groups}."
        )
    rows, inverse = kernel_map.rows, kernel_map.inverse
    out: Tensor = OPS.site_conv2d(x, weight, bias, rows, inverse, groups, activation, slope)
    return out


def site_max_pool2d(x: Tensor, kernel_map: KernelMap) -> Tensor:
    """Max over the taps of each site: (M, C) -> (S, C); the first largest tap takes the gradient."""
    _check_sites(x, kernel_map, kernel_map.rows.shape[1])
    # Without a gradient to come, the winners need not be found.
    record = torch.is_grad_enabled() and x.requires_grad
    # A winner is one byte: a larger window is the winner among parts of itself.
    parts = zip(
        torch.split(kernel_map.rows, MOST_WINNER_TAPS, 1),
        torch.split(kernel_map.inverse, MOST_WINNER_TAPS, 1),
        strict=True,
    )
    results: list[Tensor] = [OPS.site_max_pool2d(x, rows, inverse, record)[0] for rows, inverse in parts]
    out = results[0]
    for later in results[1:]:
        out = torch.where((later > out) | later.isnan(), later, out)
    return out


def site_avg_pool2d(x: Tensor, kernel_map: KernelMap, divisor: int | None = None) -> Tensor:
    """Mean over the taps of each site: (M, C) -> (S, C), or their sum over `divisor`."""
    _check_sites(x, kernel_map, kernel_map.rows.shape[1])
    divisor = divisor or kernel_map.rows.shape[1]
    out: Tensor = OPS.site_avg_pool2d(x, kernel_map.rows, kernel_map.inverse, divisor)
    return out


def _check_sites(x: Tensor, kernel_map: KernelMap, taps: int) -> None:
    if x.ndim != 2 or x.shape[0] != kernel_map.inputs:
        raise ShapeError(
            f"The sites are {tuple(x.shape)}; this kernel map takes ({kernel_map.inputs}, channels)."
        )
    if kernel_map.rows.shape[1] != taps:
        raise ShapeError(f"The kernel has {taps} taps; the kernel map has {kernel_map.rows.shape[1]}.")
