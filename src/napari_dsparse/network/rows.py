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

from napari_dsparse.ops.shapes import layout_of

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
    buffers = [_RowBuffer(layer.span, band) for layer in layers]
    given = []
    for top in range(0, x.shape[ROWS], band):
        rows = _through(layers, buffers, x[:, :, top : top + band])
        if rows is not None:
            given.append(rows)
    return torch.cat(given, ROWS)


def _through(layers: Sequence[RowLayer], buffers: Sequence[_RowBuffer], rows: Tensor) -> Tensor | None:
    """Output of the last layer when `rows` enter the first; None where a layer has too few rows as yet."""
    for layer, buffer in zip(layers, buffers, strict=True):
        rows = buffer.with_more(rows)
        if rows.shape[ROWS] <= layer.span:
            return None
        rows = layer.run(rows)
    return rows


class _RowBuffer:
    """The last rows of a map, which a layer reads again with the next band.

    They are in one buffer. New rows are written behind them; only when they reach the end of the buffer are
    the last ones moved to its beginning.
    """

    def __init__(self, span: int, band: int) -> None:
        self._span = span
        self._room = span + 2 * max(span, band)
        self._stop = 0
        self._memory: Tensor | None = None

    def with_more(self, rows: Tensor) -> Tensor:
        """The last `span` rows, or what there is of them, and `rows`: valid until the next call."""
        if self._span == 0:
            return rows
        count, channels, new, width = rows.shape
        if self._memory is None:
            self._memory = torch.empty(
                (count, channels, self._room, width),
                dtype=rows.dtype,
                device=rows.device,
                memory_format=layout_of(rows),
            )
        if self._stop + new > self._room:
            self._memory[:, :, : self._span] = self._memory[:, :, self._stop - self._span : self._stop]
            self._stop = self._span
        self._memory[:, :, self._stop : self._stop + new] = rows
        first, self._stop = max(0, self._stop - self._span), self._stop + new
        return self._memory[:, :, first : self._stop]
