"""The same tiles, the same bytes, computed by the workers of a dask scheduler.

The image is read here; every task carries the pixels of a piece with all it reads, and the model. So workers
need neither the files nor shared storage, a task whose worker is lost can be done again by any other, and
only as many pieces as keep workers busy are on their way at a time.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError
from dataclasses import replace
from typing import Any

from napari_dsparse.classifier import TrainedClassifier
from napari_dsparse.errors import DsparseError
from napari_dsparse.images import ImageSource
from napari_dsparse.prediction.blocks import BlockGrid
from napari_dsparse.prediction.cluster import Cluster, lacks_package
from napari_dsparse.prediction.pieces import Piece, Setting, do_job, make_job, plan_pieces, share_out
from napari_dsparse.prediction.predictor import TilePrediction, check_fits
from napari_dsparse.prediction.tiles import Tile
from napari_dsparse.stopping import StopFlag, as_stop_callable

#: Losses of a piece after which it is given up.
MOST_LOSSES = 3
#: Seconds between two looks at what is done, and for a result to arrive before it is asked for again.
LOOK_EVERY, FETCH_WITHIN = 0.02, 30.0


class ClusterPredictor:
    """`Predictor`, with the computing done by the workers of a dask scheduler.

    Parameters
    ----------
    classifier : TrainedClassifier
    cluster : Cluster
        Open for as long as tiles are streamed.
    device : str
        What each worker computes on: "auto", "cpu", "cuda", "cuda:1" or "mps".
    precision : str
        "float32" or "bfloat16"; see `Predictor`.
    """

    def __init__(
        self,
        classifier: TrainedClassifier,
        cluster: Cluster,
        device: str = "auto",
        precision: str = "float32",
    ) -> None:
        self.classifier = classifier
        self._cluster = cluster
        self._setting = Setting.of(classifier, device, precision)
        self._source: ImageSource | None = None
        self._tiles: frozenset[Tile] = frozenset()
        self._grid = BlockGrid((), (), 0)

    def begin(self, source: ImageSource, tiles: Sequence[Tile]) -> None:
        """Say which tiles of an image may be asked for: their blocks are computed, whatever part is streamed.

        Raises
        ------
        ImageError
            If the image has other channels than those the classifier was trained on.
        """
        check_fits(self.classifier, source)
        self._source, self._tiles = source, frozenset(tiles)
        self._grid = BlockGrid.over(tiles, self.classifier.spec.block_halo)

    def stream(
        self,
        source: ImageSource,
        tiles: Iterable[Tile],
        stop: StopFlag | Callable[[], bool] | None = None,
    ) -> Iterator[TilePrediction]:
        """Predictions of `tiles` as they arrive, until `stop` is set: heard at any time.

        Raises
        ------
        ImageError
            If the image has other channels than those the classifier was trained on.
        DsparseError
            If the scheduler ends, its workers stay away, or some die over a piece.
        """
        stopped = as_stop_callable(stop)
        tiles = tuple(tiles)
        if tiles and not (source is self._source and self._tiles.issuperset(tiles)):
            self.begin(source, tiles)
        grid = self._grid
        waiting = plan_pieces(tiles)
        shared_among = 0
        underway: dict[Piece, Any] = {}
        losses: Counter[Piece] = Counter()
        try:
            while (waiting or underway) and not stopped():
                moved = False
                threads = self._cluster.threads()
                if waiting and len(underway) < window(threads):
                    if threads != shared_among:
                        waiting, shared_among = share_out(waiting, threads, grid), threads
                    piece = waiting.pop(0)
                    job = make_job(self._setting, source, piece, grid, self.classifier.spec.local_patch)
                    underway[piece] = self._cluster.submit(do_job, job)
                    moved = True
                for piece in [piece for piece, future in underway.items() if future.done()]:
                    found = _result(underway[piece], piece, source.name)
                    if found is None and not underway[piece].cancelled():
                        continue  # its worker was lost with it, and another one does it again
                    underway.pop(piece).release()
                    moved = True
                    if found is not None:
                        yield from found
                        continue
                    losses[piece] += 1
                    if losses[piece] == MOST_LOSSES:
                        raise DsparseError(
                            f"Of image {source.name!r}, {piece} were lost {MOST_LOSSES} times, as the "
                            "scheduler was restarted, or somebody cancelled them there; let it run, then run "
                            "this again."
                        )
                    waiting.insert(0, piece)
                if not moved:
                    time.sleep(LOOK_EVERY)
        finally:
            for future in underway.values():
                future.release()


def window(threads: int) -> int:
    """Pieces on their way at most: one that each thread computes, and one that waits for every second."""
    return threads + threads // 2 + 1 if threads else 0


def _result(future: Any, piece: Piece, name: str) -> list[TilePrediction] | None:
    """Predictions of a piece that is done; None if they are lost."""
    from distributed import KilledWorker

    try:
        found = future.result(timeout=FETCH_WITHIN)
    except KilledWorker as error:
        raise DsparseError(
            f"Of image {name!r}, {piece} ended every worker that computed them ({error}); most often memory "
            "runs out, which the workers' logs say: give each more of it, or fewer threads."
        ) from error
    except (ImportError, AttributeError) as error:
        if future.status != "error":
            raise
        raise lacks_package("A worker", error) from error
    except (CancelledError, TimeoutError, OSError):
        if future.status == "error":  # of the computation itself
            raise
        return None
    return [replace(one, tile=tile) for one, tile in zip(found, piece.tiles, strict=True)]
