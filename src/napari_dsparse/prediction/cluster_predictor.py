"""The same tiles, the same bytes, computed by the workers of a dask scheduler.

Every task carries the model and a piece: a reference to the image's file, from which a worker that sees the
very same file reads all the piece needs; or these pixels, read here, for workers that do not, and of images
in no file. So workers need no shared storage, a task whose worker is lost can be done again by any other, and
only as many pieces as keep workers busy are on their way at a time. Each worker gets pieces beside those it
had before, whose local scores it keeps, and sends back what is asked for: labels, mostly.
"""

from __future__ import annotations

import time
import uuid
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, Future, wait
from dataclasses import dataclass, replace
from typing import Any

from napari_dsparse.classifier import NetworkSpec, TrainedClassifier
from napari_dsparse.errors import DsparseError
from napari_dsparse.images import ImageSource
from napari_dsparse.images.origin import unchanged
from napari_dsparse.images.reference import ImageReference, refer_to
from napari_dsparse.machine.memory import MOST_BAND, MOST_SCORES, MemoryNeeds
from napari_dsparse.prediction.blocks import BlockGrid
from napari_dsparse.prediction.cluster import Cluster, lacks_package
from napari_dsparse.prediction.pieces import Piece, Setting, Unread, do_job, make_job
from napari_dsparse.prediction.runs import Runs
from napari_dsparse.prediction.tile_prediction import MAPS, WantedResults
from napari_dsparse.prediction.tiles import Tile, in_bands
from napari_dsparse.stopping import StopFlag, as_stop_callable

#: Losses of a piece after which it is given up.
MOST_LOSSES = 3
#: Seconds between two looks at what is done.
LOOK_EVERY = 0.02
#: Seconds between two questions after pieces whose worker is gone.
CHECK_EVERY = 1.0


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
        self._band = widest_band(classifier.spec)
        self._checked = 0.0
        self._source: ImageSource | None = None
        self._tiles: frozenset[Tile] = frozenset()
        self._maps: Collection[str] = MAPS
        self._grid = BlockGrid((), (), 0)
        self._image = ""
        self._reference: ImageReference | None = None

    def begin(self, source: ImageSource, tiles: Sequence[Tile], maps: Collection[str] = MAPS) -> None:
        """Say which tiles of an image may be asked for: their blocks are computed, whatever part is streamed.

        Of the results, workers send labels and those of `maps`.

        Raises
        ------
        ImageError
            If the image has other channels than those the classifier was trained on.
        """
        self.classifier.check_fits(source)
        self._source, self._tiles = source, frozenset(tiles)
        self._maps = maps
        self._grid = BlockGrid.over(tiles, self.classifier.spec.block_halo)
        self._image = uuid.uuid4().hex
        self._reference = refer_to(source)

    def stream(
        self,
        source: ImageSource,
        tiles: Iterable[Tile],
        stop: StopFlag | Callable[[], bool] | None = None,
    ) -> Iterator[WantedResults]:
        """Results of `tiles` as they arrive, until `stop` is set: heard at any time.

        Raises
        ------
        ImageError
            If the image has other channels than those the classifier was trained on, or its file cannot be
            read, or changes meanwhile.
        DsparseError
            If the scheduler ends, its workers stay away, or some die over a piece.
        """
        stopped = as_stop_callable(stop)
        tiles = tuple(tiles)
        if tiles and not (source is self._source and self._tiles.issuperset(tiles)):
            self.begin(source, tiles)
        runs = Runs(in_bands(tiles, self._band))
        underway: dict[Piece, _Task] = {}
        lost: list[Piece] = []
        losses: Counter[Piece] = Counter()
        unread: set[Piece] = set()
        try:
            while (runs or lost or underway) and not stopped():
                moved = False
                threads = self._cluster.threads()
                for worker in _free_workers(threads, underway.values()):
                    piece = lost.pop() if lost else runs.take(worker, threads)
                    if piece is not None:
                        sees = piece not in unread and self._sees(worker)
                        underway[piece] = _Task(self._submitted(source, piece, worker, sees), worker)
                        moved = True
                        break
                for piece in self._left(threads, underway):
                    underway.pop(piece).release()
                    lost.append(piece)
                piece = self._arrived(underway)
                if piece is not None:
                    moved = True
                    found = _result(underway[piece], piece, source.name)
                    if found is None and not underway[piece].future.cancelled():
                        continue  # its worker was lost with it, and another one does it again
                    underway.pop(piece).release()
                    if isinstance(found, Unread):
                        self._learn(found)
                        unread.add(piece)
                        lost.append(piece)
                    elif found is not None:
                        yield from found
                    else:
                        losses[piece] += 1
                        if losses[piece] == MOST_LOSSES:
                            raise DsparseError(
                                f"Of image {source.name!r}, {piece} were lost {MOST_LOSSES} times, as the "
                                "scheduler was restarted, or somebody cancelled them there; let it run, then "
                                "run this again."
                            )
                        lost.append(piece)
                if not moved:
                    _rest(underway.values())
        finally:
            for task in underway.values():
                task.release()

    def _arrived(self, underway: Mapping[Piece, _Task]) -> Piece | None:
        """A piece whose results are here, or known to be lost; those of one at a time are on their way here.

        They are not waited for: what a lost worker had comes only when another one is there.
        """
        for piece, task in underway.items():
            if task.fetch is not None:
                if task.fetch.done():
                    return piece
                if task.future.done():
                    return None
                task.give_up_fetching()  # lost with its worker
        for task in underway.values():
            if task.future.done():
                task.fetch = self._cluster.fetch(task.future)
                break
        return None

    def _submitted(self, source: ImageSource, piece: Piece, worker: str, sees: bool) -> Any:
        """A future of the piece, whose pixels a worker that sees the image's file reads there."""
        known = self._reference
        with unchanged(source, None if known is None else known.state):  # in which others have read it
            job = make_job(
                self._setting,
                source,
                piece,
                self._grid,
                image=self._image,
                maps=self._maps,
                reference=known if sees else None,
            )
        return self._cluster.submit(do_job, job, worker)

    def _sees(self, worker: str) -> bool:
        return self._reference is not None and self._cluster.sight.sees(worker, self._reference)

    def _learn(self, answer: Unread) -> None:
        assert self._reference is not None
        self._cluster.sight.learn(answer, self._reference)

    def _left(self, threads: Mapping[str, int], underway: Mapping[Piece, _Task]) -> list[Piece]:
        """Pieces that no worker has, since all were lost that there were at some moment."""
        doubtful = [piece for piece, task in underway.items() if task.worker not in threads]
        now = time.monotonic()
        if not doubtful or not threads or now - self._checked < CHECK_EVERY:
            return []
        self._checked = now
        in_hand = self._cluster.in_hand(underway[piece].future for piece in doubtful)
        return [piece for piece, has in zip(doubtful, in_hand, strict=True) if not has]


def widest_band(spec: NetworkSpec) -> int:
    """Width of the bands of an image whose local scores a worker keeps from one row of tiles to the next."""
    needs = MemoryNeeds(spec.channels, spec.classes, 1, neighbours=spec.neighbours)
    return min(MOST_BAND, MOST_SCORES // needs.scores_per_column)


@dataclass(slots=True, eq=False)
class _Task:
    """A piece on its way: the future of its results, the worker it is meant for, and results that come."""

    future: Any
    worker: str
    fetch: Future[Any] | None = None

    def give_up_fetching(self) -> None:
        if self.fetch is not None:
            self.fetch.cancel()
            self.fetch = None

    def release(self) -> None:
        self.give_up_fetching()
        self.future.release()


def _rest(tasks: Iterable[_Task]) -> None:
    """Wait a moment, or until results are here."""
    fetch = next((task.fetch for task in tasks if task.fetch is not None), None)
    if fetch is None:
        time.sleep(LOOK_EVERY)
    else:
        wait([fetch], timeout=LOOK_EVERY)


def _free_workers(threads: Mapping[str, int], tasks: Iterable[_Task]) -> list[str]:
    """Workers that have less to do than they may, the one with the least for its threads first."""
    counts = Counter(task.worker for task in tasks)
    if counts.total() >= window(threads):
        return []
    free = [worker for worker, number in threads.items() if counts[worker] < _slots(number)]
    return sorted(free, key=lambda worker: counts[worker] / threads[worker])


def _slots(threads: int) -> int:
    """Pieces on their way to a worker at most: one that each thread computes, and one or more that wait."""
    return threads + max(1, threads // 2)


def window(threads: Mapping[str, int]) -> int:
    """Pieces on their way at most, for the threads of each worker."""
    return sum(map(_slots, threads.values()))


def _result(task: _Task, piece: Piece, name: str) -> list[WantedResults] | Unread | None:
    """Predictions of a piece that are here, or that its pixels are wanted; None if they are lost."""
    from distributed import KilledWorker

    fetch, task.fetch = task.fetch, None
    assert fetch is not None
    try:
        found = fetch.result()
    except KilledWorker as error:
        raise DsparseError(
            f"Of image {name!r}, {piece} ended every worker that computed them ({error}); most often memory "
            "runs out, which the workers' logs say: give each more of it, or fewer threads."
        ) from error
    except (ImportError, AttributeError) as error:
        if task.future.status != "error":
            raise
        raise lacks_package("A worker", error) from error
    except (CancelledError, TimeoutError, OSError):
        if task.future.status == "error":  # of the computation itself
            raise
        return None
    if isinstance(found, Unread):
        return found
    return [replace(one, tile=tile) for one, tile in zip(found, piece.tiles, strict=True)]
