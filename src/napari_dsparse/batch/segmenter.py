"""A model applied to whole images, whose results go to files: the one way of commands and of the window."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.metadata import version
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

import numpy as np

from napari_dsparse.batch.inputs import InputImage, WantedImage
from napari_dsparse.batch.outputs import Outputs, check_names, check_room
from napari_dsparse.batch.results import Listener, segmented, write
from napari_dsparse.classifier import TrainedClassifier
from napari_dsparse.errors import DsparseError, ExportError, ImageError
from napari_dsparse.files.export import check_export
from napari_dsparse.files.model import checksum
from napari_dsparse.files.pixels import Pixels
from napari_dsparse.images.exposure import describe_ratio, is_notable
from napari_dsparse.images.fingerprint import fingerprint
from napari_dsparse.images.microscope_file import ChunkArray
from napari_dsparse.images.origin import state_of
from napari_dsparse.images.reading import Expected
from napari_dsparse.images.tiff_array import TiffArray
from napari_dsparse.machine.cores import available_cores
from napari_dsparse.machine.devices import pick_device
from napari_dsparse.machine.memory import MOST_BAND, plan_memory, resident_memory
from napari_dsparse.prediction import Predictor, TilePredictor
from napari_dsparse.prediction.exposure import normalised_to, range_ratio
from napari_dsparse.prediction.object_options import ObjectOptions
from napari_dsparse.stopping import never

#: Faults of one image, after which the next one can be segmented.
FAULTS_OF_AN_IMAGE = (ImageError, ExportError, OSError, MemoryError)

#: Makes the predictor of a classifier: in this process, or on a cluster.
PredictorMaker: TypeAlias = Callable[[TrainedClassifier], TilePredictor]


@dataclass(frozen=True, slots=True)
class Choices:
    """A user's choices that hold for all images of a batch.

    Parameters
    ----------
    device, precision : str
        As `Predictor` takes them.
    on_workers : bool
        True if others compute: neither the device nor the memory is ours.
    normalise : "model" or "image"
        Grey values as the model learned, or by each image's own; a model may have learned that way itself.
    exposure_remedy : str
        What the user chooses for the latter.
    memory : int, optional
        Most bytes to take; by default half of what is free.
    jobs : int
        Images that are segmented at a time, each by a `Segmenter` of its own: they share the memory.
    resume, overwrite : bool
        Go on from what an interrupted run has computed; replace files that exist.
    finding : ObjectOptions
        How objects are found, if they are wanted.
    planes_apart : bool
        Of images whose planes do not lie in depth, find objects plane by plane where `finding` connects
        planes; such images are refused otherwise.
    """

    device: str = "auto"
    precision: str = "float32"
    on_workers: bool = False
    normalise: Literal["model", "image"] = "model"
    exposure_remedy: str = "--normalise image"
    memory: int | None = None
    jobs: int = 1
    resume: bool = False
    overwrite: bool = False
    finding: ObjectOptions = field(default_factory=ObjectOptions)
    planes_apart: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class OpenedImage:
    """An image that is about to be segmented.

    Parameters
    ----------
    image : InputImage
    outputs : Outputs
    predictor : TilePredictor
    finding : ObjectOptions
        How its objects are found.
    key : dict of str to str
        All that decides what is computed of its pixels.
    results_key : dict of str to str
        All that decides the results.
    """

    image: InputImage
    outputs: Outputs
    predictor: TilePredictor
    finding: ObjectOptions
    key: dict[str, str]
    results_key: dict[str, str]


class Segmenter:
    """Segments one image after another by one model, and writes the results.

    Parameters
    ----------
    classifier : TrainedClassifier
    predictor_of : callable
        Makes the predictor of a classifier.
    choices : Choices
    listener : Listener
    stop : callable
        Asked several times per tile, and while results are written; once it says yes, `Stopped` is raised.
    resident : int, optional
        Bytes of the program and the model, before any image; by default those that are in memory now.
    """

    def __init__(
        self,
        classifier: TrainedClassifier,
        predictor_of: PredictorMaker,
        choices: Choices,
        listener: Listener,
        stop: Callable[[], bool] = never,
        resident: int | None = None,
    ) -> None:
        #: Bytes of the program and the model, before any image.
        self.resident = resident_memory() if resident is None else resident
        self._classifier, self._predictor_of = classifier, predictor_of
        self._choices, self._stop = choices, stop
        #: Told the news of each image.
        self.listener = listener
        by_own = choices.normalise == "image" or classifier.per_image
        self._shared = None if by_own else predictor_of(classifier)

    def open(self, wanted: WantedImage, outputs: Outputs) -> OpenedImage:
        """Read an image's description, and refuse results that could not be written.

        Raises
        ------
        ImageError, OSError
            If it cannot be read, or is not as the model expects.
        ExportError
            If its results cannot be written.
        """
        check_names(outputs)
        classifier = self._classifier
        image = wanted.open(Expected(classifier.spec.channels, classifier.channel_axis, classifier.letters))
        finding = self._finding_in(image, outputs)
        place: dict[str, Any] = {"scale": image.scale, "units": image.units, "axes": image.axes}
        for name, output in outputs.images.items():
            channels = 0 if name in ("labels", "objects") else 1
            check_export(output, image.source.shape, channels=channels, **place)
        check_room(outputs, image.source.shape, len(classifier.classes))
        for remark in image.remarks:
            self.listener.say(remark)
        if self._shared is not None and not wanted.learned_from:
            self._mention_exposure(image)
        predictor = self._shared or self._predictor_of(normalised_to(classifier, image.source))
        key = _key(predictor.classifier, image, self._choices)
        return OpenedImage(image, outputs, predictor, finding, key, {**key, "objects": repr(finding)})

    def segment(
        self,
        opened: OpenedImage,
        progress: Callable[[float], None],
        *,
        given: Mapping[str, Any] = MappingProxyType({}),
        journal: Callable[[dict[str, Any]], AbstractContextManager[None]] | None = None,
        overwrite: bool = False,
    ) -> dict[str, Any]:
        """Segment an image and write the results; returns facts on them.

        Parameters
        ----------
        opened : OpenedImage
        progress : callable
            Called with the share of pixels done, 0..1.
        given : mapping of str to array, shape of the image
            Results that are written in place of those computed: "objects" that were found otherwise, say.
        journal : callable, optional
            Gives, for the facts, a context in which the results are written.
        overwrite : bool
            True if files may be replaced here, whatever the choices say.

        Raises
        ------
        ImageError, ExportError, OSError, MemoryError
            If that is not possible.
        Stopped
            If it was told to stop.
        """
        image, outputs = opened.image, opened.outputs
        band = self._share_memory(opened)
        started = time.perf_counter()
        outputs.labels.parent.mkdir(parents=True, exist_ok=True)
        with segmented(
            opened.predictor,
            image,
            outputs,
            opened.key,
            self.listener,
            resume=self._choices.resume and image.in_file,  # of pixels in memory, none can tell a change
            band=band,
            progress=progress,
            stop=self._stop,
        ) as results:
            seconds = time.perf_counter() - started
            facts = _facts(image, results["labels"], outputs, seconds)
            with nullcontext() if journal is None else journal(facts):
                write(
                    {**results, **given},
                    image,
                    opened.predictor.classifier.classes,
                    outputs,
                    self.listener,
                    overwrite=overwrite or self._choices.overwrite,
                    finding=opened.finding,
                    stop=self._stop,
                )
            return facts

    def _finding_in(self, image: InputImage, outputs: Outputs) -> ObjectOptions:
        """The choices for objects as they hold for this image."""
        finding, problem = self._choices.finding, image.source.depth_problem
        if not self._choices.planes_apart or not finding.volume or problem is None:
            check_volume(image, finding)
            return finding
        of_objects = outputs.objects is not None or outputs.measurements is not None
        if of_objects and len(image.source.shape) > 2:
            self.listener.say(
                f"Planes of {image.source.name} follow one another in time: objects are of each by itself."
            )
        return replace(finding, volume=False)

    def _mention_exposure(self, image: InputImage) -> None:
        try:
            ratio = range_ratio(self._classifier, image.source)
        except ImageError:  # no finite pixel to measure: nothing to say of its exposure
            return
        if is_notable(ratio):
            self.listener.say(
                f"Grey values of {image.source.name} spread {describe_ratio(ratio)} where the model learned; "
                "if it was exposed otherwise, and is not just empty or overfull, "
                f"{self._choices.exposure_remedy} takes that out."
            )

    def _share_memory(self, opened: OpenedImage) -> int:
        """Say how much of an image may be kept for later; returns the width of the bands that it allows.

        Raises
        ------
        ImageError
            If the limit is less than the image needs in any case.
        """
        predictor, source = opened.predictor, opened.image.source
        if not isinstance(predictor, Predictor):
            return MOST_BAND  # tiles are computed elsewhere
        plane = _whole_bytes(source.data)
        if opened.outputs.labels.suffix.lower() == ".png":
            plane += 2 * math.prod(source.shape)  # the labels, and Pillow's copy
        needs = replace(predictor.needs, plane=plane)
        try:
            choices = self._choices
            plan = plan_memory(choices.memory, self.resident, needs, choices.jobs, available_cores())
        except DsparseError as error:
            raise ImageError(f"Image {source.name!r} cannot be segmented: {error}") from None
        predictor.limit_memory(plan)
        if isinstance(source.data, TiffArray | ChunkArray):
            source.data.keep_at_most(plan.segments)
        return plan.band


def check_volume(image: InputImage, finding: ObjectOptions) -> None:
    """Refuse objects over planes where planes do not lie in depth.

    Raises
    ------
    ImageError
        If they do not.
    """
    problem = image.source.depth_problem if finding.volume else None
    if problem is not None:
        raise ImageError(f"Objects over planes (volume) need a stack in depth. {problem}")


def _whole_bytes(data: Any) -> int:
    """Bytes of an image that are in memory in one piece: all of it, or a part that is decoded, twice."""
    if isinstance(data, np.ndarray):
        return 0 if isinstance(data, np.memmap) else int(data.nbytes)
    if isinstance(data, TiffArray | ChunkArray):
        return 2 * data.part_bytes
    part = getattr(data, "shards", None) or getattr(data, "chunks", None) or ()
    return 2 * math.prod(part) * int(np.dtype(data.dtype).itemsize)


def _key(classifier: TrainedClassifier, image: InputImage, choices: Choices) -> dict[str, str]:
    """All that decides the results of an image."""
    return {
        **_versions(),
        "model": checksum(classifier),
        "image": fingerprint(image.source),
        "file": file_state(image),
        "device": "workers" if choices.on_workers else pick_device(choices.device).type,
        "precision": choices.precision,
    }


def file_state(image: InputImage) -> str:
    """State of all of an image's files; empty for one that is in memory alone."""
    if not image.in_file:
        return ""
    inside = sorted(image.path.rglob("*")) if image.path.is_dir() else (image.path, *image.files)
    return state_of(path for path in inside if path.is_file())


@cache  # reading a package's description takes milliseconds
def _versions() -> dict[str, str]:
    return {"version": version("napari-dsparse"), "torch": version("torch")}


def _facts(image: InputImage, labels: Any, outputs: Outputs, seconds: float) -> dict[str, Any]:
    counts = np.zeros(np.iinfo(labels.dtype).max + 1, np.int64)
    for window in Pixels(labels, labels.dtype).windows():
        found = np.bincount(labels[window].ravel())
        counts[: len(found)] += found
    pixels = int(counts.sum())
    return {
        "labels": str(outputs.labels),
        "shape": list(labels.shape),
        "scale": list(image.scale),
        "units": list(image.units),
        "series": image.series,
        "remarks": list(image.remarks),
        "class_pixels": {str(number): int(n) for number, n in enumerate(counts) if n},
        "seconds": round(seconds, 3),
        "megapixels_per_second": round(pixels / 1e6 / max(seconds, 1e-9), 3),
    }
