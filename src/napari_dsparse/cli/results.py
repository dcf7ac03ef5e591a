"""Whole images segmented and written, as `predict` and `demo` do it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from napari_dsparse.classifier import ClassInfo, TrainedClassifier
from napari_dsparse.cli.inputs import InputImage
from napari_dsparse.cli.outputs import Outputs
from napari_dsparse.cli.progress import Progress
from napari_dsparse.cli.report import Report
from napari_dsparse.files.atomic import complete_or_absent
from napari_dsparse.files.export import export_array, export_labels, takes_objects
from napari_dsparse.files.parts import Parts
from napari_dsparse.machine.memory import MOST_BAND
from napari_dsparse.prediction import (
    Prediction,
    Tile,
    TilePrediction,
    TilePredictor,
    label_dtype,
    predict_image,
    predict_into,
)
from napari_dsparse.prediction.object_options import ObjectOptions

#: Seconds of computing that are worth keeping where it cannot be finished.
_WORTH_KEEPING = 10.0


def segment(predictor: TilePredictor, image: InputImage, report: Report) -> Prediction:
    """Labels of an image, in memory, with a line of progress."""
    return predict_image(predictor, image.source, progress=Progress(report).of(image))


@contextmanager
def segmented(
    predictor: TilePredictor,
    image: InputImage,
    outputs: Outputs,
    key: Mapping[str, str],
    report: Report,
    *,
    resume: bool,
    band: int = MOST_BAND,
    progress: Callable[[float], None] | None = None,
) -> Iterator[Mapping[str, Any]]:
    """Results of an image, kept in files: memory does not grow with them, and a later run can go on.

    Parameters
    ----------
    predictor : TilePredictor
    image : InputImage
    outputs : Outputs
        Which maps are wanted, and where they will be written.
    key : mapping of str to str
        All that decides the results, beside the classifier's size.
    report : Report
    resume : bool
        True to go on from what a former run with the same key has left.
    band : int
        Width in pixels of the bands in which tiles are computed.
    progress : callable, optional
        Called with the share of pixels done, 0..1, after every tile.

    Yields
    ------
    mapping of str to array
        "labels", and "probabilities" and "uncertainty" if wanted, read window by window. What was computed is
        removed at the end of the block; if it does not get there and took long, it is kept.
    """
    parts = Parts(outputs.labels, key, _arrays(predictor.classifier, image, outputs), resume=resume)
    started, finished = time.monotonic(), False
    try:
        if parts.left and not parts.resumed:
            report.say(
                f"What a former run computed of {outputs.labels} is computed anew"
                f"{', since image, model, options or versions differ.' if resume else ' without --resume.'}"
            )
        predict_into(predictor, image.source, _PartResults(parts), band=band, progress=progress)
        yield parts.arrays
        finished = True
    finally:
        keep = not finished and (parts.resumed or time.monotonic() - started > _WORTH_KEEPING)
        parts.close(keep=keep)
        if keep:
            report.keep()


class _PartResults:
    """Takes tiles and keeps them as parts."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._numbers: dict[Tile, int] = {}

    def missing(self, tiles: Sequence[Tile]) -> Sequence[Tile]:
        self._numbers = {tile: number for number, tile in enumerate(tiles)}
        return [tiles[number] for number in self._parts.missing([tile.slices for tile in tiles])]

    def put(self, tile: TilePrediction) -> None:
        values = {name: getattr(tile, name) for name in self._parts.arrays}
        self._parts.put(self._numbers[tile.tile], tile.tile.slices, values)


def _arrays(classifier: TrainedClassifier, image: InputImage, outputs: Outputs) -> dict[str, Any]:
    """Shape and dtype of the results that are wanted, by the name of a tile's attribute."""
    classes, shape = len(classifier.classes), image.source.shape
    arrays: dict[str, Any] = {"labels": (shape, label_dtype(classes))}
    if outputs.probabilities is not None:
        arrays["probabilities"] = ((classes, *shape), "<f4")
    if outputs.uncertainty is not None:
        arrays["uncertainty"] = (shape, "<f4")
    return arrays


def write(
    results: Mapping[str, Any],
    image: InputImage,
    classes: Sequence[ClassInfo],
    outputs: Outputs,
    report: Report,
    *,
    overwrite: bool,
    finding: ObjectOptions | None = None,
) -> None:
    """Write what was predicted, arrays by name, with the image's pixel size.

    Objects are found as `finding` says, at that size.
    """
    place: dict[str, Any] = {
        "scale": image.scale,
        "units": image.units,
        "axes": image.axes,
        "overwrite": overwrite,
    }
    outputs.labels.parent.mkdir(parents=True, exist_ok=True)
    named: dict[str, Any] = {"classes": classes, "image_name": image.path.name}
    export_labels(outputs.labels, results["labels"], **named, **place)
    report.wrote(outputs.labels, "Labels")
    if outputs.probabilities is not None:
        probabilities = results["probabilities"]
        export_array(outputs.probabilities, probabilities, name="probability", channels=classes, **place)
        report.wrote(outputs.probabilities, "Probabilities")
    if outputs.uncertainty is not None:
        export_array(outputs.uncertainty, results["uncertainty"], name="uncertainty", **place)
        report.wrote(outputs.uncertainty, "Uncertainty")
    if outputs.objects is not None or outputs.measurements is not None:
        wanted = (finding or ObjectOptions()).at_scale(image.scale, image.units)
        _write_objects(results["labels"], image, outputs, report, named, place, wanted)


def _write_objects(
    labels: Any,
    image: InputImage,
    outputs: Outputs,
    report: Report,
    named: Mapping[str, Any],
    place: Mapping[str, Any],
    finding: ObjectOptions,
) -> None:
    """Find objects, which takes memory for the whole image, and write what is wanted of them."""
    from napari_dsparse.prediction.measurement_table import measurement_table
    from napari_dsparse.prediction.objects import find_objects  # scikit-image: not needed otherwise

    objects = find_objects(labels, finding)
    if outputs.objects is not None:
        if takes_objects(outputs.objects):
            export_labels(outputs.objects, labels, objects=objects, **named, **place)
        else:
            export_labels(outputs.objects, objects, classes=(), **place)
        report.wrote(outputs.objects, "Objects")
    if outputs.measurements is not None:
        measured = 3 if finding.volume else 2
        table = measurement_table(
            objects,
            image.source.data,
            classes=labels,
            names=[info.name for info in named["classes"]],
            scale=image.scale[-measured:],
            units=image.units[-measured:],
            image_name=image.path.name,
            channel_axis=image.source.channel_axis,
            volume=finding.volume,
        )
        with complete_or_absent(outputs.measurements, overwrite=place["overwrite"]) as partial:
            table.to_csv(partial, index=False)
        report.wrote(outputs.measurements, "Measurements")
