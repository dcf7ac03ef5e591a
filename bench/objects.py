"""Objects against manually outlined ones: F1 at an IoU of 0.5, beside plain connected components.

    DSPARSE_DATA=... python -m bench.objects [--images N] [--pixels N] [--quick] [--json FILE]

On the open sets that come with outlines of single objects: once from the annotation's own classes, which
leaves separation alone to be judged, and once from what a model segments that has learned from strokes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray
from skimage.io import imread
from skimage.segmentation import relabel_sequential

from bench import open_data
from bench.report import Report, program, say, table
from napari_dsparse import train
from napari_dsparse.prediction.objects import find_objects

#: An image, its class 1..K and the number of the outlined object at every pixel, both (Y, X).
Outlined = tuple[NDArray[np.generic], NDArray[np.uint8], NDArray[np.integer]]
#: True positives, objects found, objects outlined.
Counts = NDArray[np.integer]

TITLE = "Objects against outlined ones"
#: Specks of fewer pixels are no objects, either way.
SMALLEST = 20
WAYS: dict[str, Callable[[NDArray[np.generic]], NDArray[np.integer]]] = {
    "components": partial(find_objects, min_size=SMALLEST, separate=False),
    "separated": partial(find_objects, min_size=SMALLEST),
}


def measure(quick: bool = False, images: int = 4, pixels: int = 1500) -> Report:
    """Both ways on every set, from both kinds of classes."""
    if not open_data.DATA.is_dir():
        return Report(TITLE, open_data.ABSENT, {})
    found: dict[str, dict[str, Counts]] = {}
    seconds, pixels_seen = 0.0, 0
    for name, number, (image, truth, outlined) in outlined_samples(1 if quick else images):
        say(f"{name} {number}")
        row = found.setdefault(name, {})
        sources = {"annotation": truth}
        if not quick:
            sources["segmentation"] = segmented(image, truth, pixels)
        inside = np.bincount(truth[outlined > 0]).argmax()
        for source, classes in sources.items():
            inside_or_not = np.where(truth == 0, 0, np.where(classes == inside, 2, 1))
            for way, find in WAYS.items():
                started = time.perf_counter()
                objects = find(inside_or_not)
                if way == "separated":
                    seconds += time.perf_counter() - started
                    pixels_seen += truth.size
                key = f"{source}, {way}"
                row[key] = row.get(key, np.zeros(3, int)) + matches(objects, outlined)
    return _report(found, 1e6 * seconds / pixels_seen)


def segmented(image: NDArray[np.generic], truth: NDArray[np.uint8], pixels: int) -> NDArray[np.integer]:
    """Segmentation by a model trained on `pixels` painted pixels of the same image."""
    strokes = open_data.load_program("scribble").scribbles(truth, seed=0, n_pixels=pixels)
    return train(image, strokes, seed=0).predict(image)


def outlined_samples(images: int, sets: Sequence[str] = ()) -> Iterator[tuple[str, int, Outlined]]:
    """The first images of these sets, or of every set in the plane, that has outlines of single objects."""
    names = sets or open_data.set_names()
    names = [name for name in names if list((open_data.DATA / name).glob("instances_*.png"))]
    for name, number, (image, truth) in open_data.samples(names, images):
        file = open_data.DATA / name / f"instances_{number:02d}.png"
        if file.exists():
            yield name, number, (image, truth, relabel_sequential(imread(file))[0].astype(int))


def matches(objects: NDArray[np.integer], outlined: NDArray[np.integer]) -> Counts:
    """Objects that share more than half of their union with an outlined one, and how many there are."""
    counts = int(objects.max()), int(outlined.max())
    shared = np.zeros((counts[0] + 1, counts[1] + 1), int)
    np.add.at(shared, (objects.ravel(), outlined.ravel()), 1)
    union = shared.sum(1, keepdims=True) + shared.sum(0) - shared
    return np.array([np.count_nonzero(2 * shared[1:, 1:] > union[1:, 1:]), *counts])


def f1(counts: Counts) -> float:
    """F1 of true positives, found and outlined."""
    return float(2 * counts[0] / max(1, counts[1] + counts[2]))


def _report(found: dict[str, dict[str, Counts]], seconds: float) -> Report:
    columns = list(dict.fromkeys(key for row in found.values() for key in row))
    rows = [
        (name, int(next(iter(row.values()))[2]), *(f"{f1(row[key]):.3f} ({row[key][1]})" for key in columns))
        for name, row in found.items()
    ]
    text = f"F1 at an IoU of 0.5, and in brackets the objects found, of at least {SMALLEST} pixels.\n\n"
    text += table(("set", "outlined", *columns), rows)
    text += f"\n\n{seconds:.2g} s per megapixel with separation."
    numbers = {name: {key: f1(counts) for key, counts in row.items()} for name, row in found.items()}
    counted = {name: {key: counts.tolist() for key, counts in row.items()} for name, row in found.items()}
    return Report(TITLE, text, {"f1": numbers, "counts": counted, "seconds_per_megapixel": seconds})


if __name__ == "__main__":
    program(
        __doc__,
        measure,
        own={
            "images": (int, "images per set (default: 4)"),
            "pixels": (int, "painted pixels per image (default: 1500)"),
        },
    )
