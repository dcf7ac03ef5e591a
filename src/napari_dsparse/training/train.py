"""Training in one call: images and labels in, a classifier out."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from napari_dsparse import checks
from napari_dsparse.classifier import DEPTHS, ClassInfo, TrainedClassifier, default_classes
from napari_dsparse.classifier.classes import named_classes
from napari_dsparse.errors import ImageError, LabelsError
from napari_dsparse.images import NORMALISATIONS, ImageSource, resolve_image
from napari_dsparse.stopping import StopFlag, as_stop_callable
from napari_dsparse.training.progress import TrainingProgress
from napari_dsparse.training.strokes import Stroke, find_strokes
from napari_dsparse.training.trainer import Trainer


def train_classifier(
    images: Any,
    labels: Any,
    *,
    classes: Sequence[str | ClassInfo] | None = None,
    network: str = "auto",
    depth: str = "off",
    normalise: str = "together",
    seconds: float | None = None,
    steps: int | None = None,
    seed: int = 0,
    device: str = "auto",
    progress: Callable[[TrainingProgress], None] | None = None,
    stop: StopFlag | Callable[[], bool] | None = None,
    channel_axis: int | Literal["auto"] | None = "auto",
    hold_out: bool = True,
) -> TrainedClassifier:
    """Train a patch classifier on sparse labels.

    Parameters
    ----------
    images : array or ImageSource, or list of these
        (Y, X) grey, with a channel axis anywhere, or stacks of these; numpy, dask or zarr; any numeric dtype.
        Pixels that are NaN, infinite or masked are unknown: they are read as the image's median.
    labels : integer array, or list of arrays
        The image's shape without the channel axis; 0 or masked = not annotated, 1..K = classes.
    classes : sequence of str or ClassInfo, optional
        Names of classes 1..K; default names otherwise.
    network : str
        Name of a built-in network, or "auto".
    depth : str
        "off": every plane of a stack is seen by itself. "neighbours": the last layer also sees the mean of a
        pixel's features in the planes before and behind it; at either end of the stack, the plane itself
        stands for the one that is missing. Planes follow one another along the last axis before rows and
        columns. For the network "context" alone, and without gradient steps.
    normalise : str
        "together": grey values of all images are normalised in one way. "image": those of each image by its
        own range, which takes differences in exposure out; whatever the classifier segments is normalised by
        its own range, too. Of a single image both learn the same.
    seconds : float, optional
        Time limit; the classifier learned by then is returned. The first fit is always finished.
    steps : int, optional
        Gradient steps through all layers that follow the fit; none by default.
    seed : int
        From 0 to 2**63 - 1. Same seed, same data, same `steps`: the same weights, bit for bit on a CPU.
    device : str
        "auto", "cpu", "cuda", "cuda:1" or "mps".
    progress : callable, optional
        Called with a TrainingProgress after every step.
    stop : threading.Event or callable, optional
        Checked before every step; the classifier learned so far is returned.
    channel_axis : int, None or "auto"
        Axis of the images that holds the channels; an ImageSource knows its own.
    hold_out : bool
        True to measure accuracy on held-out strokes.

    Returns
    -------
    TrainedClassifier

    Raises
    ------
    LabelsError, ImageError, DsparseError
        If labels do not fit their image, fewer than two classes are painted, an image cannot be read or is no
        stack where `depth` asks for one, or another argument is not as above.
    """
    started = time.perf_counter()
    network, device = checks.text("network", network), checks.text("device", device)
    depth = checks.one_of("depth", depth, DEPTHS)
    normalise = checks.one_of("normalise", normalise, NORMALISATIONS)
    seed = checks.whole_number("seed", seed)
    steps = None if steps is None else checks.whole_number("steps", steps)
    seconds = None if seconds is None else checks.duration("seconds", seconds)
    hold_out = checks.truth("hold_out", hold_out)
    checks.function("progress", progress)
    stopped = as_stop_callable(stop)
    named = None if classes is None else named_classes(classes)
    sources, strokes = _gather(images, labels, channel_axis)
    known = named or default_classes(max((stroke.label for stroke in strokes), default=0))
    trainer = Trainer(
        sources,
        known,
        network=network,
        depth=depth,
        normalise=normalise,
        seed=seed,
        device=device,
        hold_out=hold_out,
    )
    if seconds is not None:
        seconds = max(0.0, seconds - (time.perf_counter() - started))
    trainer.update(strokes, steps=steps, seconds=seconds)
    if not trainer.out_of_time:
        trainer.judge()
    while not trainer.steady and not stopped():
        state = trainer.step()
        if progress:
            progress(state)
    classifier = trainer.snapshot()
    seconds = round(time.perf_counter() - started, 3)  # strokes found and images measured, too
    return replace(classifier, record=replace(classifier.record, seconds=seconds))


def _gather(
    images: Any, labels: Any, channel_axis: int | Literal["auto"] | None
) -> tuple[list[ImageSource], list[Stroke]]:
    several = isinstance(images, list | tuple)
    if several != isinstance(labels, list | tuple) or (several and len(images) != len(labels)):
        got = [f"{len(v)}" if isinstance(v, list | tuple) else "one" for v in (images, labels)]
        raise LabelsError(
            f"There are {got[0]} images and {got[1]} label arrays; "
            "give one of each, or two lists of equal length."
        )
    pairs = list(zip(images, labels, strict=True)) if several else [(images, labels)]
    sources: list[ImageSource] = []
    strokes: list[Stroke] = []
    if not pairs:
        raise LabelsError("There are no images; give at least one, with its labels.")
    for number, (image, paint) in enumerate(pairs):
        if not hasattr(paint, "shape") or not hasattr(paint, "dtype"):
            raise LabelsError(
                f"Labels are a {type(paint).__name__}, not an array; give a numpy, dask or zarr array."
            )
        title = f"image {number + 1}" if several else "image"
        sources.append(_as_source(image, paint, channel_axis, title))
        strokes += find_strokes(np.ma.filled(paint, 0) if np.ma.isMaskedArray(paint) else paint, number)
    return sources, strokes


def _as_source(image: Any, paint: Any, channel_axis: int | Literal["auto"] | None, title: str) -> ImageSource:
    if not isinstance(image, ImageSource):
        return resolve_image(image, labels_shape=paint.shape, channel_axis=channel_axis, name=title)
    if image.shape != tuple(paint.shape):
        raise ImageError(
            f"Image {image.name!r} has rows and columns {image.shape} and its labels {tuple(paint.shape)}; "
            "give labels of the image's shape."
        )
    return image
