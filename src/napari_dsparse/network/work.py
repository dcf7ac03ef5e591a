"""Cost of a network, counted before it runs: on a map, or at active sites."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from napari_dsparse.network.geometry import Geometry, Step, runs_by_axis
from napari_dsparse.network.layer_operations import convolves, kernel
from napari_dsparse.network.supported import AVG_POOLS
from napari_dsparse.ops.doubling import additions
from napari_dsparse.sites.closure import Indices

#: How many times as long a multiply-add takes at active sites, gathered row by row, as on a map.
SITES_OVER_MAP = 2.0
#: Multiply-adds on a map that take as long as one tap of a kernel map takes to look up, once.
LOOK_UP = 1000.0


@dataclass(frozen=True, slots=True)
class PositionsWork:
    """Two ways to the scores of some positions, in multiply-adds and taps read.

    Parameters
    ----------
    sites : float
        At active sites, the dependency closure of the positions.
    taps : float
        Of that closure's kernel maps, which must be made first.
    box : float
        On a whole map, the smallest rectangle that holds all of them.
    """

    sites: float
    taps: float
    box: float

    @property
    def at_sites(self) -> bool:
        """True if active sites take less time."""
        return SITES_OVER_MAP * self.sites + LOOK_UP * self.taps < self.box


def positions_work(geometry: Geometry, active: Sequence[Indices], rows: int, columns: int) -> PositionsWork:
    """The work of both ways.

    Parameters
    ----------
    geometry : Geometry
    active : sequence of arrays
        Sites by reader, as `active_sites` finds them.
    rows, columns : int
        Size of the rectangle that holds all positions.
    """
    counts = [len(sites) for sites in active]
    taps = 0.0
    for reader, count in zip(geometry.windows, counts, strict=False):
        own = reader.window.kernel if reader.window else (1, 1)
        taps += count * own[0] * own[1] * sum(reader.mapped)
    return PositionsWork(sites_work(geometry, counts), taps, map_work(geometry, rows, columns))


def map_work(geometry: Geometry, rows: int, columns: int) -> float:
    """Multiply-adds, taps and additions of the whole-image form that gives `rows` x `columns` scores."""
    return float(
        sum(
            _per_pixel(step) * (rows + step.margin[0]) * (columns + step.margin[1]) for step in geometry.steps
        )
    )


def sites_work(geometry: Geometry, counts: Sequence[int]) -> float:
    """Multiply-adds and taps at active sites, for `counts` sites per reader of `geometry.windows`."""
    total, numbers = 0.0, iter(counts)
    for step, readers in zip(geometry.steps, geometry.reads, strict=True):
        sites = [next(numbers) for _ in readers]
        own = _per_site(step)
        total += np.dot(own, sites) if len(own) == len(sites) else sum(own) * sites[-1]
    return total


def _per_pixel(step: Step) -> int:
    """Work per pixel of the step's map where all of the map is computed.

    Neighbouring windows share sums there: an average pool takes additions by the logarithm of its taps.
    """
    if step.window is not None and isinstance(step.module, AVG_POOLS):
        return (step.channels or 1) * sum(additions(taps) for taps in step.window.kernel)
    return sum(_per_site(step))


def _per_site(step: Step) -> tuple[int, ...]:
    """Work per site of the step's map; of a large pool, along columns and along rows."""
    if step.window is None:
        return (0,)
    if convolves(step):
        return (kernel(step)[0].numel(),)
    rows, columns = step.window.kernel
    taps = (columns, rows) if runs_by_axis(step) else (rows * columns,)
    return tuple((step.channels or 1) * own for own in taps)
