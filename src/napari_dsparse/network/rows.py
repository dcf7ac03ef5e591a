"""A patch classifier over a whole map as a stream of rows: nothing is computed twice, little is kept.

A layer reads (k - 1) d rows beyond the one it gives; it keeps as many and forgets the rest. So a band of rows
goes through all layers while the processor's cache holds it, memory follows the map's width and not its area,
and no halo is computed again, as it would be on tiles.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

ROWS = 2


@dataclass(frozen=True, slots=True)
class RowLayer:
    """One layer of a stream.

    Parameters
    ----------
    run : callable
        (N, C, span + n, W) -> (N, K, n, W'), for any n >= 1.
    span : int
        Rows that it reads beyond the one it gives, (k - 1) d.
    """

    run: Callable[[Tensor], Tensor]
    span: int


def stream_rows(layers: Sequence[RowLayer], x: Tensor, band: int) -> Tensor:
    """Run `layers` over the map `x`, of which `band` rows enter at a time.

    Parameters
    ----------
    layers : sequence of RowLayer
    x : Tensor, shape (N, C, H, W)
        With more rows than all spans together.
    band : int

    Returns
    -------
    Tensor, shape (N, K, H', W')
    """
    kept: list[Tensor | None] = [None] * len(layers)
    given = []
    for top in range(0, x.shape[ROWS], band):
        rows = _through(layers, kept, x[:, :, top : top + band])
        if rows is not None:
            given.append(rows)
    return torch.cat(given, ROWS)


def _through(layers: Sequence[RowLayer], kept: list[Tensor | None], rows: Tensor) -> Tensor | None:
    """What the last layer gives when `rows` enter the first; None where a layer has too few rows as yet."""
    for number, layer in enumerate(layers):
        before = kept[number]
        if before is not None:
            rows = torch.cat((before, rows), ROWS)
        if layer.span:
            kept[number] = rows[:, :, -layer.span :]
        if rows.shape[ROWS] <= layer.span:
            return None
        rows = layer.run(rows)
    return rows
