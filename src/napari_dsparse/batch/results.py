"""Results of a whole image: computed into files, and written under their final names."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from napari_dsparse.batch.inputs import InputImage
from napari_dsparse.batch.outputs import Outputs
from napari_dsparse.classifier import ClassInfo, TrainedClassifier
from napari_dsparse.files.atomic import complete_or_absent
from napari_dsparse.files.export import export_array, export_labels, takes_classes_of_objects
from napari_dsparse.files.parts import Parts
from napari_dsparse.images.plates import name_within
from napari_dsparse.machine.memory import MOST_BAND
from napari_dsparse.prediction import Tile, TilePredictor, TileResult, label_dtype, predict_into
from napari_dsparse.prediction.object_options import ObjectOptions
from napari_dsparse.stopping import never, stop_if

#: Seconds of computing that are worth keeping where it cannot be finished.
_WORTH_KEEPING = 10.0


class Listener(Protocol):
    """Anything that takes the news of a job: a command's report, or a thread that tells a window."""

    def say(self, line: str) -> None:
        """Take a remark, one line."""

    def wrote(self, path: Path, what: str) -> None:
        """Take note of a file that is complete under its final name."""

    def keep(self) -> None:
        """Take note that something unfinished was kept, to go on from."""


@contextmanager
def segmented(
    predictor: TilePredictor,
    image: InputImage,
    outputs: Outputs,
    key: Mapping[str, str],
    listener: Listener,
    *,
    resume: bool,
    band: int = MOST_BAND,
    progress: Callable[[float], None] | None = None,
    stop: Callable[[], bool] = never,
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
    listener : Listener
    resume : bool
        True to go on from what a former run with the same key has left.
    band : int
        Width in pixels of the bands in which tiles are computed.
    progress : callable, optional
        Called with the share of pixels done, 0..1, after every tile.
    stop : callable
        Asked several times per tile, and whenever the results are read.

    Raises
    ------
    Stopped
        If `stop` said yes.

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
            listener.say(
                f"What a former run computed of {outputs.labels} is computed anew"
                f"{', since image, model, options or versions differ.' if resume else ' without --resume.'}"
            )
        predict_into(predictor, image.source, _PartResults(parts), band=band, progress=progress, stop=stop)
        stop_if(stop)
        yield {name: _Stoppable(array, stop) for name, array in parts.arrays.items()}
        finished = True
    finally:
        keep = not finished and (parts.resumed or time.monotonic() - started > _WORTH_KEEPING)
        parts.close(keep=keep)
        if keep:
            listener.keep()


class _PartResults:
    """Takes tiles and keeps them as parts."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._numbers: dict[Tile, int] = {}
        self.maps = [name for name in parts.arrays if name != "labels"]

    def missing(self, tiles: Sequence[Tile]) -> Sequence[Tile]:
        self._numbers = {tile: number for number, tile in enumerate(tiles)}
        return [tiles[number] for number in self._parts.missing([tile.slices for tile in tiles])]

    def put(self, tile: TileResult) -> None:
        values = {name: tile.value(name) for name in self._parts.arrays}
        self._parts.put(self._numbers[tile.tile], tile.tile.slices, values)


class _Stoppable:
    """An array that is no longer read once `stop` says so: what writes it ends, and leaves nothing."""

    def __init__(self, data: Any, stop: Callable[[], bool]) -> None:
        self._data, self._stop = data, stop
        self.shape, self.dtype, self.ndim = data.shape, data.dtype, data.ndim

    def __getitem__(self, index: Any) -> Any:
        stop_if(self._stop)
        return self._data[index]


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
    listener: Listener,
    *,
    overwrite: bool,
    finding: ObjectOptions | None = None,
    stop: Callable[[], bool] = never,
) -> None:
    """Write what `outputs` names, with the image's pixel size.

    Parameters
    ----------
    results : mapping of str to array
        "labels", "probabilities" and "uncertainty" as far as they are written or needed. Objects are those
        under "objects", or else they are found in the labels.
    image : InputImage
    classes : sequence of ClassInfo
    outputs : Outputs
    listener : Listener
    overwrite : bool
        True if existing files may be replaced.
    finding : ObjectOptions, optional
        How objects are found, at the image's pixel size; the defaults without.
    stop : callable
        Asked while objects are found and measured.

    Raises
    ------
    ExportError, OSError
        If something cannot be written.
    Stopped
        If `stop` said yes.
    """
    place: dict[str, Any] = {
        "scale": image.scale,
        "units": image.units,
        "axes": image.axes,
        "overwrite": overwrite,
    }
    outputs.labels.parent.mkdir(parents=True, exist_ok=True)
    named: dict[str, Any] = {"classes": classes, "image_name": name_within(image.path)}
    if outputs.with_labels:
        export_labels(outputs.labels, results["labels"], **named, **place)
        listener.wrote(outputs.labels, "Labels")
    if outputs.probabilities is not None:
        probabilities = results["probabilities"]
        export_array(outputs.probabilities, probabilities, name="probability", channels=classes, **place)
        listener.wrote(outputs.probabilities, "Probabilities")
    if outputs.uncertainty is not None:
        export_array(outputs.uncertainty, results["uncertainty"], name="uncertainty", **place)
        listener.wrote(outputs.uncertainty, "Uncertainty")
    if outputs.objects is not None or outputs.measurements is not None:
        wanted = (finding or ObjectOptions()).at_scale(image.scale, image.units)
        _write_objects(results, image, outputs, listener, named, place, wanted, stop)


def _write_objects(
    results: Mapping[str, Any],
    image: InputImage,
    outputs: Outputs,
    listener: Listener,
    named: Mapping[str, Any],
    place: Mapping[str, Any],
    finding: ObjectOptions,
    stop: Callable[[], bool],
) -> None:
    """Write what is wanted of objects; finding them takes memory for the whole image."""
    from napari_dsparse.prediction.measurement_table import measurement_table
    from napari_dsparse.prediction.objects import find_objects  # scikit-image: not needed otherwise

    labels, objects = results.get("labels"), results.get("objects")
    if objects is None:
        objects = find_objects(labels, finding, stop=stop)
        stop_if(stop)
    if outputs.objects is not None:
        if takes_classes_of_objects(outputs.objects) and labels is not None:
            export_labels(outputs.objects, labels, objects=objects, **named, **place)
        else:
            export_labels(outputs.objects, objects, classes=(), **place)
        listener.wrote(outputs.objects, "Objects")
    if outputs.measurements is not None:
        measured = 3 if finding.volume else 2
        table = measurement_table(
            objects,
            image.source.data,
            classes=labels,
            names=[info.name for info in named["classes"]],
            scale=image.scale[-measured:],
            units=image.units[-measured:],
            image_name=name_within(image.path),
            channel_axis=image.source.channel_axis,
            volume=finding.volume,
            stop=stop,
        )
        stop_if(stop)
        with complete_or_absent(outputs.measurements, overwrite=place["overwrite"]) as partial:
            table.to_csv(partial, index=False)
        listener.wrote(outputs.measurements, "Measurements")
