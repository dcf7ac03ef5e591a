"""Average pools with windows of many taps: which form is cheaper, and the launches of sums by doubling.

The additions, and their order, are those of the plain PyTorch form (`ops.doubling`): rows first, then
columns. So results have the bits that it gives on a CPU, wherever a tile is cut and in either layout, and
keep to the error that it states.

A pass over a map doubles windows up to `MOST_DOUBLINGS` times, in registers: with one doubling per pass the
map would be read and written three times as often. Threads of one pass add up some windows more than once;
passes, and so the cost, grow with the logarithm of the window.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from napari_dsparse.ops.cuda import execution
from napari_dsparse.ops.cuda.arguments import MOST_DOUBLINGS, WindowSumsArguments
from napari_dsparse.ops.cuda.kernels import ELEMENTS, KERNELS_BY_NAME
from napari_dsparse.ops.doubling import doublings
from napari_dsparse.ops.reference.arithmetic import sum_dtype
from napari_dsparse.ops.shapes import layout_of

#: Values that the load units read from caches in the time that one takes from or to DRAM: 9 on an H100, 12 on
#: an A100, by published rates. Reasoned, not measured.
LOADS_PER_DRAM_VALUE = 8

#: Values summed at once, roughly: a map is summed in parts of whole planes, so that what lies between passes
#: (three buffers at most) stays small beside the maps that a network keeps: 64 MiB each in float32.
PART = 1 << 24


@dataclass(frozen=True, slots=True)
class Pass:
    """One launch: windows of `window` taps become windows of `taps`.

    Parameters
    ----------
    window : int
        Taps of the windows that are read.
    odd : tuple of bool
        For each doubling, whether one more tap follows.
    """

    window: int
    odd: tuple[bool, ...]

    @property
    def windows(self) -> tuple[int, ...]:
        """Taps of a window before each doubling, and after the last."""
        found = [self.window]
        for one_more in self.odd:
            found.append(2 * found[-1] + one_more)
        return tuple(found)

    @property
    def taps(self) -> int:
        """Taps of the windows that are written."""
        return self.windows[-1]

    @property
    def loads(self) -> int:
        """Values that a thread loads."""
        doubled = len(self.odd)
        return (1 << doubled) + sum(1 << doubled - 1 - number for number, odd in enumerate(self.odd) if odd)

    @property
    def maps(self) -> int:
        """Maps that come from DRAM or go there."""
        return 2 + (self.window > 1 and any(self.odd))

    @property
    def cost(self) -> int:
        """Per result, in loads from caches."""
        return self.loads + LOADS_PER_DRAM_VALUE * self.maps


@cache
def passes(taps: int) -> tuple[Pass, ...]:
    """The cheapest launches that sum `taps` along one axis; none for one tap."""
    return _cheapest(1, doublings(taps))


@cache
def _cheapest(window: int, odd: tuple[bool, ...]) -> tuple[Pass, ...]:
    if not odd:
        return ()
    found = []
    for count in range(1, min(MOST_DOUBLINGS, len(odd)) + 1):
        first = Pass(window, odd[:count])
        found.append((first, *_cheapest(first.taps, odd[count:])))
    return min(found, key=cost)


def cost(launches: Sequence[Pass]) -> int:
    """Per result, in loads from caches."""
    return sum(one.cost for one in launches)


def doubling_pays(kernel: Sequence[int]) -> bool:
    """True if sums by doubling cost no more than a thread that reads all taps of its window.

    It follows from the window alone, so that a tile is pooled like the whole image.
    """
    launches = [one for taps in kernel for one in passes(taps)]
    direct = kernel[0] * kernel[1] + 2 * LOADS_PER_DRAM_VALUE
    return bool(launches) and cost(launches) <= direct


def pool(x: Tensor, out: Tensor, kernel: Sequence[int], dilation: Sequence[int], divisor: int) -> None:
    """Write sums of windows over `divisor` to `out`: of those within `x`, or, if `out` is larger, of all that
    meet it, the transpose.

    Parameters
    ----------
    x, out : Tensor
        Maps, dense in one layout.
    kernel, dilation : (rows, columns)
        Of two taps at least, on one axis at least.
    divisor : int
    """
    padded = out.shape[2:].numel() > x.shape[2:].numel()
    # A plane is one channel of an image or, channels last, an image whose pixels hold all channels.
    last = layout_of(x) == torch.channels_last
    inner = x.shape[1] if last else 1
    planes, results = (one.permute(0, 2, 3, 1) if last else one.flatten(0, 1) for one in (x, out))
    step = max(1, PART // max(planes[0].numel(), results[0].numel()))
    by_column = kernel[1] > 1
    for start in range(0, len(planes), step):
        some, into = planes[start : start + step], results[start : start + step]
        if kernel[0] > 1:
            axis = _Axis(len(some), x.shape[3] * inner, kernel[0], dilation[0], padded)
            some = axis.sums(some, x.shape[2], None if by_column else into, 1 if by_column else divisor)
        if by_column:
            axis = _Axis(len(some) * out.shape[2], inner, kernel[1], dilation[1], padded)
            axis.sums(some, x.shape[3], into, divisor)


@dataclass(frozen=True, slots=True)
class _Axis:
    """Sums along one axis: `lines` of places, `inner` values at each place (window_sums.cuh)."""

    lines: int
    inner: int
    taps: int
    dilation: int
    padded: bool

    def sums(self, x: Tensor, length: int, out: Tensor | None, divisor: int) -> Tensor:
        """Sums of windows of `x` over `divisor`, in `out` or, if that is None, anywhere.

        `length` is the number of places of a line of `x`.
        """
        sums = x
        launches = passes(self.taps)
        for one in launches:
            result = out if one is launches[-1] else None
            if result is None:
                size = (self.lines, self._length(length, one.taps), self.inner)
                result = x.new_empty(size, dtype=sum_dtype(x.dtype))
            self._launch(one, x, sums, result, length, divisor if one is launches[-1] else 1)
            sums = result
        return sums

    def _length(self, length: int, window: int) -> int:
        """Windows that fit into a line or, padded, meet it."""
        span = (window - 1) * self.dilation
        return length + span if self.padded else length - span

    def _first(self, window: int) -> int:
        """Place of the first window's first tap."""
        return -(window - 1) * self.dilation if self.padded else 0

    def _launch(self, one: Pass, x: Tensor, sums: Tensor, out: Tensor, length: int, divisor: int) -> None:
        names = (ELEMENTS[tensor.dtype][0] for tensor in (x, sums, out))
        run = KERNELS_BY_NAME["_".join(("window_sums", *names))]
        arguments = WindowSumsArguments(
            x=x.data_ptr(),
            sums=sums.data_ptr(),
            out=out.data_ptr(),
            total=out.numel(),
            inner=self.inner,
            length=length,
            sums_length=self._length(length, one.window),
            out_length=self._length(length, one.taps),
            sums_first=self._first(one.window),
            out_first=self._first(one.taps),
            window=one.window,
            digits=int("1" + "".join("1" if odd else "0" for odd in one.odd), 2),
            dilation=self.dilation,
            divisor=divisor,
        )
        execution.run(run, -(-out.numel() // run.threads), 0, arguments, x.device)
