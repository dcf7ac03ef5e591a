"""Sketches of overviews for the thread that predicts, and what is remembered for the next one."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from napari_dsparse.images import ImageSource
from napari_dsparse.live.messages import PredictionJob
from napari_dsparse.prediction.overview import STEPS, Lattice, SiteFeatures, Sketch, learn_sites, sketches
from napari_dsparse.prediction.predictor import Predictor
from napari_dsparse.prediction.tile_prediction import TilePrediction
from napari_dsparse.prediction.tiles import FieldOfView, Tile, even_parts
from napari_dsparse.prediction.view_memory import ViewMemory

#: A sketch is shown in so many parts per axis at most, and each has at least so many pixels along it: what a
#: window puts into a layer without a pause that is felt.
_PARTS, _LEAST_PART = 4, 2048


class Overviews:
    """Remembers the features of the newest overview's lattice; lives in one thread.

    As `ViewMemory` does: they are valid as long as the network's trunk is that of the warm start.
    """

    def __init__(self) -> None:
        self._known: tuple[tuple[object, ...], SiteFeatures] | None = None
        self._shown: tuple[object, ...] = ()

    def clear(self) -> None:
        """Forget all."""
        self._known, self._shown = None, ()

    def sketches(
        self, job: PredictionJob, predictor: Predictor, stopped: Callable[[], bool]
    ) -> Iterator[Sketch]:
        """Sketches of an overview on screen, coarse to fine; none if it is none, or was sketched already."""
        lattice = None if job.whole else Lattice.over(job.source.shape, job.view)
        if lattice is None:
            return
        showing = job.classifier, job.source, job.match_exposure, lattice
        if showing == self._shown:
            return
        predictor.classifier.check_fits(job.source)
        for sketch in sketches(predictor, self._features(predictor, job.source, lattice), stopped):
            yield sketch
            if sketch.cell == lattice.pitch:
                self._shown = showing

    def look_ahead(
        self, predictor: Predictor, source: ImageSource, view: FieldOfView, stopped: Callable[[], bool]
    ) -> None:
        """Compute what sketches of an overview need."""
        lattice = Lattice.over(source.shape, view)
        if lattice is not None:
            features = self._features(predictor, source, lattice)
            for step in STEPS:
                if not learn_sites(predictor, features, stopped, step):
                    return

    def _features(self, predictor: Predictor, source: ImageSource, lattice: Lattice) -> SiteFeatures:
        classifier = predictor.classifier
        if not ViewMemory.is_valid_for(classifier):
            return SiteFeatures(source, lattice)
        of = (source, classifier.spec.name, classifier.normalisation, predictor.device, lattice)
        if self._known is None or self._known[0] != of:
            self._known = of, SiteFeatures(source, lattice)
        return self._known[1]


def parts_of(sketch: Sketch) -> Iterator[TilePrediction]:
    """A sketch in parts, with one value per cell; each cell lies in one part."""
    whole, cell = sketch.cells, sketch.cell
    (top, bottom), (left, right) = whole.tile.rows, whole.tile.columns
    cuts = [
        even_parts(0, count, max(-(-count // _PARTS), -(-_LEAST_PART // cell)))
        for count in whole.labels.shape
    ]
    for rows in cuts[0]:
        for columns in cuts[1]:
            tile = Tile(
                whole.tile.plane,
                (top + rows[0] * cell, min(bottom, top + rows[1] * cell)),
                (left + columns[0] * cell, min(right, left + columns[1] * cell)),
            )
            index = slice(*rows), slice(*columns)
            yield TilePrediction(tile, whole.labels[index], whole.painted[:, *index], whole.present)
