"""The dependency closure of some output pixels: all a patch classifier must compute, and no more.

Walk back from the wanted pixels: the sites a layer must have are the sites its readers read, all of them
together where it has several. In the whole-image form every layer works in the frame of the first (its maps
only shrink at the far sides), so a site is one number, y * width + x, in all layers, and a tap or the
beginning of a slice is one fixed offset.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_dsparse.errors import ShapeError
from napari_dsparse.ops import KernelMap

Indices = NDArray[np.int64]

#: "No such site" in an inverse map, and more sites than a layer may have: it stays above all site numbers,
#: however many maps are joined.
NO_SITE = 1 << 30
#: Largest table of places: at all, and more for each site that stands in it.
TABLE_PLACES, PLACES_A_SITE = 1 << 16, 64


@dataclass(frozen=True, slots=True)
class TapWindow:
    """Pixels that one layer reads around a site: taps per axis, and their distance in pixels."""

    kernel: tuple[int, int]
    dilation: tuple[int, int]

    @property
    def span(self) -> tuple[int, int]:
        """Pixels beyond the first that the window reaches, (k - 1) d, by axis."""
        return (self.kernel[0] - 1) * self.dilation[0], (self.kernel[1] - 1) * self.dilation[1]


@dataclass(frozen=True, slots=True)
class Reader:
    """Inputs of one layer of a graph.

    Parameters
    ----------
    inputs : tuple of int
        Which layers, by number; -1 is the pixels.
    window : TapWindow or None
        Around each site; None for the site alone.
    mapped : tuple of bool
        For each input, whether a kernel map leads from its rows to this layer's: always with a window, and
        where others read that input too, which may then have more sites. Otherwise the rows are the same.
    shift : (int, int)
        Rows and columns from a site to the first that it reads.
    """

    inputs: tuple[int, ...]
    window: TapWindow | None
    mapped: tuple[bool, ...]
    shift: tuple[int, int] = (0, 0)


@dataclass(frozen=True, slots=True, eq=False)
class Closure:
    """Kernel maps from pixels to wanted outputs, first layer first.

    Parameters
    ----------
    pixels : Tensor of int64, shape (M,)
        Places of the input rows in the frame they were made in: y * width + x.
    maps : tuple of KernelMap
        One for each window of a chain; of a graph, one for each mapped input of each reader.
    is_disjoint : bool
        Outputs share nothing: the input rows are the patch of the first, row by row, then that of the next.
    """

    pixels: Tensor
    maps: tuple[KernelMap, ...]
    is_disjoint: bool = False

    @property
    def outputs(self) -> int:
        """Number of wanted outputs, S."""
        return self.maps[-1].outputs if self.maps else len(self.pixels)

    @property
    def work(self) -> int:
        """Taps read by all layers: the closure's cost, apart from channels."""
        return sum(kernel_map.rows.numel() for kernel_map in self.maps)

    def to(self, device: torch.device) -> Closure:
        """The same closure on `device`."""
        return Closure(self.pixels.to(device), tuple(m.to(device) for m in self.maps), self.is_disjoint)


def dependency_closure(windows: Sequence[TapWindow | Reader], sites: Indices, width: int) -> Closure:
    """The closure of `sites` under `windows`.

    Parameters
    ----------
    windows : sequence of TapWindow or Reader
        First layer first; a TapWindow alone reads the layer before it.
    sites : array of int64, shape (S,)
        Wanted outputs of the last layer, y * width + x: strictly increasing.
    width : int
        Columns of the frame: of the (padded) image.

    Returns
    -------
    Closure
        Its last layer gives one row per wanted output, in their order.
    """
    return link_sites(windows, active_sites(windows, sites, width), width)


def active_sites(windows: Sequence[TapWindow | Reader], sites: Indices, width: int) -> tuple[Indices, ...]:
    """The sites of every layer, increasing, and those of the pixels last; arguments as above."""
    if sites.ndim != 1 or (np.diff(sites) <= 0).any():
        raise ShapeError("Sites must be one strictly increasing list of y * width + x; sort them first.")
    readers = _as_readers(windows)
    wanted: list[list[Indices]] = [[] for _ in range(len(readers) + 1)]
    wanted[len(readers) - 1].append(sites)
    found: list[Indices] = [sites] * len(wanted)
    for number in reversed(range(len(readers))):
        reader, found[number] = readers[number], _together(wanted[number])
        read = found[number] + reader.shift[0] * width + reader.shift[1]
        if reader.window is not None:
            read = _read_sites(reader.window, read, width)
        for i in reader.inputs:
            wanted[i].append(read)
    found[-1] = _together(wanted[-1])
    return tuple(found)


def link_sites(windows: Sequence[TapWindow | Reader], active: Sequence[Indices], width: int) -> Closure:
    """The closure whose layers have the sites that `active_sites` found."""
    maps: list[KernelMap] = []
    for number, reader in enumerate(_as_readers(windows)):
        first = active[number] + reader.shift[0] * width + reader.shift[1]
        for i, mapped in zip(reader.inputs, reader.mapped, strict=True):
            if mapped:
                maps.append(_kernel_map(reader.window or _SITE_ALONE, active[i], first, width))
    outputs = active[len(active) - 2] if len(active) > 1 else active[-1]
    return Closure(torch.from_numpy(active[-1]), tuple(maps), is_disjoint=len(outputs) == 1)


_SITE_ALONE = TapWindow((1, 1), (1, 1))


def _as_readers(windows: Sequence[TapWindow | Reader]) -> list[Reader]:
    return [
        Reader((number - 1,), one, (True,)) if isinstance(one, TapWindow) else one
        for number, one in enumerate(windows)
    ]


def _together(lists: Sequence[Indices]) -> Indices:
    """All sites of increasing lists, increasing, each once."""
    first = lists[0]
    if all(other is first for other in lists[1:]):
        return first
    return np.unique(np.concatenate(lists))


def _read_sites(window: TapWindow, sites: Indices, width: int) -> Indices:
    """All sites that `sites` read: the union over rows of taps, then over columns (2 k lists, not k^2)."""
    for taps, step in zip(window.kernel, (window.dilation[0] * width, window.dilation[1]), strict=True):
        if taps > 1 and len(sites):
            sites = _union(sites, [tap * step for tap in range(taps)])
    return sites


def _kernel_map(window: TapWindow, inputs: Indices, outputs: Indices, width: int) -> KernelMap:
    taps_y, taps_x = (
        np.arange(taps) * step for taps, step in zip(window.kernel, window.dilation, strict=True)
    )
    offsets = (taps_y[:, None] * width + taps_x).ravel()
    count = len(offsets)
    _check_count(max(len(inputs), len(outputs)))
    rows = torch.from_numpy(_ranks(inputs, outputs, offsets).astype(np.int32, copy=False))
    # No two outputs read the same row through the same tap.
    places = rows.long().mul_(count).add_(torch.arange(count)).flatten()
    numbers = torch.arange(len(outputs), dtype=torch.int32).repeat_interleave(count)
    inverse = torch.full((len(inputs) * count,), NO_SITE, dtype=torch.int32).scatter_(0, places, numbers)
    return KernelMap(rows, inverse.view(-1, count))


def _union(sites: Indices, shifts: Sequence[int]) -> Indices:
    """All of `sites` moved by any of `shifts` (from 0 up), increasing."""
    first, length = int(sites[0]), int(sites[-1] - sites[0]) + shifts[-1] + 1
    if not _fits_a_table(length, len(sites)):
        return np.unique(np.add.outer(shifts, sites).ravel())
    seen = np.zeros(length, np.bool_)
    for shift in shifts:
        seen[sites - (first - shift)] = True
    return np.flatnonzero(seen) + first


def _ranks(sites: Indices, starts: Indices, offsets: Indices) -> NDArray[np.signedinteger]:
    """Positions in `sites` of each of `starts` moved by each of `offsets`: increasing, and all there."""
    first, length = (int(sites[0]), int(sites[-1] - sites[0]) + 1) if len(sites) else (0, 0)
    if not _fits_a_table(length, len(sites)):
        return np.searchsorted(sites, starts[:, None] + offsets)
    table = np.empty(length, np.int32)
    table[sites - first] = np.arange(len(sites), dtype=np.int32)
    return table.take((starts - first)[:, None] + offsets)


def _fits_a_table(places: int, sites: int) -> bool:
    """True if sites should be looked up in a table of all places between them: ten times as fast as a list.

    This holds for strokes cut along a lattice, not for a few pixels scattered over a large image.
    """
    return places < TABLE_PLACES + PLACES_A_SITE * sites


class MapBuffers:
    """Memory that one joined closure after another is written to.

    A new stroke makes all maps of a batch anew, tens of megabytes for some networks; memory fresh from the
    system takes longer to get than to fill. What was joined here before is overwritten by the next join.
    """

    def __init__(self) -> None:
        self._held: dict[object, Tensor] = {}

    def take(self, what: object, shape: tuple[int, int]) -> Tensor:
        """An uninitialised int32 array of `shape`; the one last taken for `what` is reused."""
        held = self._held.get(what)
        if held is None or held.numel() < shape[0] * shape[1]:
            held = torch.empty(shape[0] * shape[1] * 5 // 4, dtype=torch.int32)
            self._held[what] = held
        return held[: shape[0] * shape[1]].view(shape)


def join(closures: Sequence[Closure], buffers: MapBuffers | None = None) -> Closure:
    """Several closures side by side as one: their rows follow one another in every layer.

    `pixels` are concatenated as they are, each in its own frame. With `buffers`, which is then for this
    closure only, its maps are valid until the next one is joined there.
    """
    if len(closures) == 1:
        return closures[0]
    buffers = buffers or MapBuffers()
    layers = zip(*(closure.maps for closure in closures), strict=True)
    return Closure(
        torch.cat([c.pixels for c in closures]),
        tuple(_join_maps(maps, buffers, number) for number, maps in enumerate(layers)),
        all(c.is_disjoint for c in closures),
    )


def _join_maps(maps: Sequence[KernelMap], buffers: MapBuffers, layer: int) -> KernelMap:
    taps = maps[0].rows.shape[1]
    outputs, inputs = sum(m.outputs for m in maps), sum(m.inputs for m in maps)
    _check_count(max(outputs, inputs))
    rows, inverse = (
        buffers.take(("rows", layer), (outputs, taps)),
        buffers.take(("inverse", layer), (inputs, taps)),
    )
    output = input_ = 0
    for m in maps:
        torch.add(m.rows, input_, out=rows[output : output + m.outputs])
        # "No such site" stays above all sites.
        torch.add(m.inverse, output, out=inverse[input_ : input_ + m.inputs])
        output, input_ = output + m.outputs, input_ + m.inputs
    return KernelMap(rows, inverse)


def _check_count(sites: int) -> None:
    if sites >= NO_SITE:
        raise ShapeError(
            f"A layer would have {sites} sites; give less paint: fewer than {NO_SITE} are allowed."
        )
