"""The thread that segments, tile by tile, and records where it is uncertain."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import takewhile

import numpy as np
import numpy.typing as npt

from napari_dsparse.errors import ImageError
from napari_dsparse.images import ImageSource, Normalisation
from napari_dsparse.images.exposure import describe_ratio, is_notable
from napari_dsparse.live.messages import (
    ExposureDiffers,
    ForgetImageJob,
    LookAheadJob,
    PredictionEnded,
    PredictionJob,
    PredictorJob,
    SpotFound,
    SpotJob,
    TileDone,
    WorkerEvent,
)
from napari_dsparse.live.overviews import Overviews, parts_of
from napari_dsparse.live.worker import Worker
from napari_dsparse.machine.cores import CoreShare
from napari_dsparse.machine.lanes import in_lanes
from napari_dsparse.prediction.exposure import normalised_to, range_ratio
from napari_dsparse.prediction.next_spot import DoubtMap, block_means
from napari_dsparse.prediction.overview import is_overview, is_wide, uncertainty_of_blocks
from napari_dsparse.prediction.predictor import Predictor
from napari_dsparse.prediction.tile_prediction import TilePrediction
from napari_dsparse.prediction.tiles import FieldOfView, Tile, nearest_first, plan_tiles, tiles_of_view
from napari_dsparse.prediction.view_memory import ViewMemory, default_view_bytes, warm_start_classifier

#: Tiles that may wait for the window; more would only accumulate in memory.
TILES_IN_FLIGHT = 4


class PredictorThread(Worker[PredictorJob]):
    """Segments what is on screen, or the whole image, with the newest classifier it was given.

    A view job gives way to a better one; a whole-image job goes on until done or stopped, so that the image
    is segmented by one classifier throughout.

    Parameters
    ----------
    post : callable
        Takes this thread's events.
    cores : CoreShare
    view_bytes : int
        Most bytes of features of the view that are kept.
    """

    def __init__(
        self, post: Callable[[WorkerEvent], None], cores: CoreShare, view_bytes: int | None = None
    ) -> None:
        super().__init__("predictor", post)
        self._cores = cores
        self._stopped_job = -1
        self._in_flight = threading.Semaphore(TILES_IN_FLIGHT)
        self._predictor: Predictor | None = None
        self._predicts_with: tuple[object, ...] | None = None
        self._compared: tuple[Normalisation, ImageSource] | None = None
        self._memory = ViewMemory(default_view_bytes() if view_bytes is None else view_bytes)
        self._ahead: tuple[tuple[object, ...], Predictor] | None = None
        self._unsure: dict[Hashable, DoubtMap] = {}  # by key of the image
        self._overviews = Overviews()

    # -- called by the window's thread ----------------------------------------------------------------------

    def stop(self, job: int) -> None:
        """End the prediction of `job` and all before it, in the middle of a tile if need be."""
        self._stopped_job = max(self._stopped_job, job)

    def tile_taken(self) -> None:
        """The window has displayed a tile; another may be posted."""
        self._in_flight.release()

    def limit_memory(self, view_bytes: int) -> None:
        """Keep at most so many bytes of features of the view."""
        self._memory.most_bytes = view_bytes

    # -- the thread -----------------------------------------------------------------------------------------

    def _supersedes(self, job: PredictorJob, waiting: PredictorJob) -> bool:
        if isinstance(waiting, LookAheadJob):
            return isinstance(job, LookAheadJob)
        return (
            isinstance(job, PredictionJob)
            and isinstance(waiting, PredictionJob)
            and (job.whole or not waiting.whole)
        )

    def _work(self, job: PredictorJob) -> None:
        match job:
            case PredictionJob():
                with self._cores.working():
                    self._predict(job)
            case LookAheadJob():
                with self._cores.working():
                    self._look_ahead(job)
            case ForgetImageJob():
                kept = {key: doubts for key, doubts in self._unsure.items() if key in job.finished}
                self._let_go()
                self._unsure = kept
            case SpotJob():
                self._find_spot(job)

    def _let_go(self) -> None:
        self._memory.clear()
        self._predictor = self._predicts_with = self._compared = self._ahead = None
        self._unsure = {}
        self._overviews.clear()

    def _find_spot(self, job: SpotJob) -> None:
        doubts = self._unsure.get(job.key)
        spot = None if doubts is None else doubts.find_spot(job.labels, job.visited)
        self._post(SpotFound(job.envelope, spot))

    def _remember_doubt(self, job: PredictionJob, prediction: TilePrediction) -> float:
        """Note where the predictions of a tile are uncertain; the mean of that over the tile."""
        tile = prediction.tile
        uncertainty = prediction.uncertainty.astype(np.float32, copy=False)
        means = block_means(uncertainty, tile.rows, tile.columns)
        self._store_doubt(job, tile, means)
        return float(means.mean())

    def _store_doubt(self, job: PredictionJob, tile: Tile, means: npt.NDArray[np.float32]) -> None:
        if job.key not in self._unsure:
            self._unsure[job.key] = DoubtMap(job.source.shape)
        self._unsure[job.key].store(means, tile.plane, tile.rows, tile.columns)

    def _predict(self, job: PredictionJob) -> None:
        started = time.monotonic()
        self._cores.apply_thread_limit()
        predictor = self._predictor_for(job)
        self._sketch_overview(job, predictor)
        tiles = _tiles_of(job)
        if tiles:
            predictor.begin(job.source, tiles)
            if job.quick:
                self._memory.retain(predictor.classifier, job.source, predictor.blocks_of(tiles))
        pixels = sum(tile.pixels for tile in tiles)
        done = 0
        compute = partial(predictor.tile, job.source, stopped=lambda: self._is_unwanted(job))
        due = takewhile(lambda tile: not self._is_over(job), self._in_order(job, predictor, tiles))
        for prediction in in_lanes(compute, due, predictor.most_lanes, lambda: self._cores.share):
            if prediction is None:
                break
            done += prediction.tile.pixels
            self._remember_doubt(job, prediction)
            seconds = max(time.monotonic() - started, 1e-6)
            speed = done / seconds
            if not self._post_when_due(
                _describe(job, prediction, done / pixels, speed, (pixels - done) / speed)
            ):
                break
            self._cores.apply_thread_limit()
        complete = done == pixels
        self._post(PredictionEnded(job.envelope, complete, time.monotonic() - started))
        if complete and job.foreign and not job.classifier.per_image:
            self._compare_exposure(job)

    def _in_order(self, job: PredictionJob, predictor: Predictor, tiles: Sequence[Tile]) -> Iterator[Tile]:
        """Tiles that are remembered; then a sketch of the others, and those first that it leaves in doubt."""
        yield from (tile for tile in tiles if predictor.remembers(tile))
        others = [tile for tile in tiles if not predictor.remembers(tile)]
        # With a stride of 1 a sketch is all there is to compute; of a wide view, one takes too long.
        if job.sketch and predictor.stride != (1, 1) and not is_wide(job.source.shape, job.view):
            doubts = self._sketch(job, predictor, others)
            others = sorted(others, key=lambda tile: -doubts.get(tile, 0.0))
        yield from others

    def _look_ahead(self, job: LookAheadJob) -> None:
        wanted = (job.source, job.device, job.depth)
        if self._ahead is None or self._ahead[0] != wanted:
            try:
                classifier = warm_start_classifier(job.source, job.depth)
            except ImageError:  # no finite pixel: training will say so
                return
            self._ahead = wanted, Predictor(classifier, job.device, memory=self._memory)
        predictor = self._ahead[1]
        tiles = _on_screen(job.source, job.view)
        if not tiles:
            return

        def over() -> bool:
            return self._is_waiting or self._is_unwanted(job)

        def stopped() -> bool:
            self._cores.apply_thread_limit()
            self._answer_spots()
            return over()

        self._overviews.look_ahead(predictor, job.source, job.view, stopped)
        if stopped():
            return
        predictor.begin(job.source, tiles)
        self._memory.retain(predictor.classifier, job.source, predictor.blocks_of(tiles))
        compute = partial(predictor.prepare, job.source, stopped=over)
        due = takewhile(lambda block: not stopped(), predictor.unknown(tiles))
        for kept in in_lanes(compute, due, predictor.most_lanes, lambda: self._cores.share):
            if not kept:
                return

    def _compare_exposure(self, job: PredictionJob) -> None:
        """Say, once for an image and what a classifier learned from, if they were exposed otherwise."""
        compared = job.classifier.normalisation, job.source
        if self._compared is not None and all(a is b for a, b in zip(self._compared, compared, strict=True)):
            return
        self._compared = compared
        try:
            ratio = range_ratio(job.classifier, job.source)
        except ImageError:  # no finite pixel to measure: nothing to say of its exposure
            return
        if is_notable(ratio):
            spread = (
                f"Grey values of {job.source.name} spread {describe_ratio(ratio)} where the model learned."
            )
            self._post(ExposureDiffers(job.envelope, spread))

    def _sketch_overview(self, job: PredictionJob, predictor: Predictor) -> None:
        """Show a lattice over what is on screen, if that is an overview, until the job is over."""
        for sketch in self._overviews.sketches(job, predictor, lambda: self._is_over(job)):
            for part in parts_of(sketch):
                kept = tuple(tile for tile in job.done if tile.meets(part.tile))
                event = _describe(job, part, 0.0, 0.0, math.inf, exact=False)
                if not self._post_when_due(replace(event, cell=sketch.cell, kept=kept)):
                    return
            if not job.done:
                tile = sketch.cells.tile
                self._store_doubt(job, tile, uncertainty_of_blocks(sketch))
            self._cores.apply_thread_limit()

    def _sketch(self, job: PredictionJob, predictor: Predictor, tiles: Sequence[Tile]) -> dict[Tile, float]:
        """Show a coarse form of all tiles; how much doubt each leaves, in tenths, until the job is over.

        Doubt is the mean uncertainty: large where classes are near a tie, and where neighbours on the lattice
        disagree, since between them the interpolated probabilities pass a tie.
        """
        doubts: dict[Tile, float] = {}
        for tile in tiles:
            if self._is_over(job):
                break
            prediction = predictor.sketch(job.source, tile)
            if not self._post_when_due(_describe(job, prediction, 0.0, 0.0, math.inf, exact=False)):
                break
            doubts[tile] = round(self._remember_doubt(job, prediction), 1)
        return doubts

    def _post_when_due(self, event: TileDone) -> bool:
        """Post a tile once fewer than the limit are in flight; False if the thread is closing."""
        while not self._in_flight.acquire(timeout=0.1):
            if self._closing.is_set():
                return False
        self._post(event)
        return True

    def _is_over(self, job: PredictionJob) -> bool:
        if self._is_unwanted(job):
            return True
        self._answer_spots()
        return not job.whole and any(_is_better(waiting, job) for waiting in tuple(self._jobs))

    def _is_unwanted(self, job: PredictionJob | LookAheadJob) -> bool:
        """True if the user wants no more of `job`; for a newer job, the tile under way is still finished."""
        return self._closing.is_set() or job.envelope.job <= self._stopped_job

    def _answer_spots(self) -> None:
        """Answer jobs that take no time without waiting for the last tile."""
        with self._changed:
            spots = [job for job in self._jobs if isinstance(job, SpotJob)]
            for job in spots:
                self._jobs.remove(job)
        for job in spots:
            self._work(job)

    def _predictor_for(self, job: PredictionJob) -> Predictor:
        by_own = job.match_exposure or job.classifier.per_image
        wanted = (job.classifier, job.device, job.quick, job.source if by_own else None)
        if self._predictor is None or self._predicts_with != wanted:
            classifier = normalised_to(job.classifier, job.source) if by_own else job.classifier
            memory = self._memory if job.quick and self._memory.is_valid_for(classifier) else None
            n_symmetries = 1 if job.quick else None
            self._predictor = Predictor(
                classifier, device=job.device, n_symmetries=n_symmetries, memory=memory
            )
            self._predicts_with = wanted
        return self._predictor


def _is_better(waiting: PredictorJob, job: PredictionJob) -> bool:
    """True if `job` should be left unfinished for `waiting`.

    A preview is not left for the next one of the same view: with a new one every half second, the tiles at
    the edge of the screen would never get their turn. One of an overview is: its tiles take minutes, and the
    next one begins with a sketch of all.
    """
    if not isinstance(waiting, PredictionJob):
        return False
    same = waiting.quick and job.quick and waiting.view == job.view and waiting.source is job.source
    if same and is_overview(job.source.shape, job.view):
        return waiting.classifier is not job.classifier
    return waiting.whole or not same


def _tiles_of(job: PredictionJob) -> tuple[Tile, ...]:
    """The tiles still to do, what is on screen first."""
    if job.quick and not job.whole:
        return _on_screen(job.source, job.view)
    view = job.view
    tiles = [tile for tile in plan_tiles(job.source.shape, job.classifier.spec) if tile not in job.done]
    if not job.whole:
        tiles = [tile for tile in tiles if view.touches(tile)]
    return nearest_first(tiles, view.plane, view.rows, view.columns)


def _on_screen(source: ImageSource, view: FieldOfView) -> tuple[Tile, ...]:
    """Tiles of a preview, from the middle of the screen outwards."""
    tiles = tiles_of_view(source.shape, view.plane, view.rows, view.columns)
    return nearest_first(tiles, view.plane, view.rows, view.columns)


def _describe(
    job: PredictionJob,
    prediction: TilePrediction,
    fraction: float,
    speed: float,
    seconds_left: float,
    *,
    exact: bool = True,
) -> TileDone:
    tile = prediction.tile
    uncertainty = prediction.uncertainty.astype(np.float32, copy=False)
    return TileDone(
        envelope=job.envelope,
        classes=job.classes,
        quick=job.quick,
        exact=exact,
        tile=tile,
        labels=prediction.labels,
        uncertainty=uncertainty if job.uncertainty else None,
        probabilities=prediction.probabilities if job.probabilities else None,
        fraction=fraction,
        pixels_per_second=speed,
        seconds_left=seconds_left,
    )
