"""Blocks, tiles, pieces and pixels of an image shared out to workers, counted; and workers made ready."""

from __future__ import annotations

import heapq
import math
from collections import Counter
from dataclasses import dataclass
from functools import cache

from napari_dsparse.classifier import NetworkSpec, TrainedClassifier
from napari_dsparse.images import ImageSource
from napari_dsparse.images.reference import refer_to
from napari_dsparse.machine.memory import MOST_SCORES
from napari_dsparse.prediction import plan_tiles
from napari_dsparse.prediction.blocks import BLOCK, BlockGrid
from napari_dsparse.prediction.cluster import Cluster
from napari_dsparse.prediction.cluster_predictor import widest_band
from napari_dsparse.prediction.pieces import Piece, Setting, do_job, make_job
from napari_dsparse.prediction.runs import Runs
from napari_dsparse.prediction.tiles import Tile, in_bands


@dataclass(frozen=True, slots=True)
class Counts:
    """An image of one size on so many worker threads of equal speed.

    Parameters
    ----------
    pieces : int
    sent : float
        Megapixels read for them, and sent unless workers read them.
    blocks, tiles : int
        Computed by all workers.
    busiest_blocks, busiest_tiles : int
        Computed by the one that is done last.
    megapixels : float
        Of the image.
    """

    pieces: int
    sent: float
    blocks: int
    tiles: int
    busiest_blocks: int
    busiest_tiles: int
    megapixels: float


@cache
def count(spec: NetworkSpec, size: int, workers: int) -> Counts:
    """Share an image out to workers as the program does, each keeping what it computed for its next piece."""
    band = widest_band(spec)
    tiles = in_bands(plan_tiles((size, size), spec), band)
    grid = BlockGrid.over(tiles, spec.block_halo)
    runs, threads = Runs(tiles), {str(number): 1 for number in range(workers)}
    most = MOST_SCORES // (BLOCK**2 * spec.classes * (len(spec.windows) + 1) * 4)
    known: dict[str, dict[Tile, None]] = {name: {} for name in threads}
    computed, taken = Counter[str](), Counter[str]()
    pieces, sent = 0, 0
    free = [(0, name) for name in threads]
    while free:
        now, name = heapq.heappop(free)
        piece = runs.take(name, threads) if runs else None
        if piece is None:
            last = name
            continue
        pieces += 1
        sent += pixels_sent(piece, grid, spec)
        before = computed[name]
        for tile in piece.tiles:
            for block in grid.of(tile):
                computed[name] += block not in known[name]
                known[name].pop(block, None)
                known[name][block] = None
                if len(known[name]) > most:
                    known[name].pop(next(iter(known[name])))
        taken[name] += len(piece.tiles)
        heapq.heappush(free, (now + computed[name] - before, name))
    return Counts(
        pieces, sent / 1e6, computed.total(), len(tiles), computed[last], taken[last], size**2 / 1e6
    )


def pixels_sent(piece: Piece, grid: BlockGrid, spec: NetworkSpec) -> int:
    """Pixels that are sent with a piece: a rectangle with all that its blocks read."""
    edges = (
        max(stop for _, stop in spans) - min(start for start, _ in spans) + spec.local_patch - 1
        for spans in zip(*((block.rows, block.columns) for block in piece.blocks(grid)), strict=True)
    )
    return math.prod(edges)


def warm_up(cluster: Cluster, classifier: TrainedClassifier, source: ImageSource) -> None:
    """Have every worker set the classifier up, on a small image that it opens."""
    tiles = plan_tiles(source.shape, classifier.spec)
    grid = BlockGrid.over(tiles, classifier.spec.block_halo)
    setting = Setting.of(classifier, "cpu", "float32")
    job = make_job(setting, source, Piece(tiles), grid, image="warm", maps=(), reference=refer_to(source))
    for future in [cluster.submit(do_job, job, worker) for worker in cluster.threads()]:
        future.result()
