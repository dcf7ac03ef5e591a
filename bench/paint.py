"""Training time by amount of paint: the same image with little paint, much paint, and every pixel painted.

Every kind of paint is learned from in a separate process (`bench.training`), by the trainer as the dock
uses it: strokes are found, the last layer is fitted (which gives the first model), and judged. The time in
the training record is shown beside the wall time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.memory import most_resident, run_in_process
from bench.report import say, table
from bench.scenes import CLASSES, brush, strokes
from bench.targets import FIRST_MODEL, FIT_MEMORY, FLAT_IN_PAINT, TRAINED
from napari_dsparse.classifier import default_classes
from napari_dsparse.images import ImageSource
from napari_dsparse.training import Trainer, find_strokes

Labels = NDArray[np.uint8]


def pixels_of_strokes(size: int, count: int, pixels: int) -> Labels:
    """At least `pixels` labelled pixels in about `count` strokes that do not touch; fewer if none fits in."""
    rng, labels = np.random.default_rng(0), np.zeros((size, size), np.uint8)
    length = max(1, round((pixels / count - 20) / 5))  # a dot of the brush, and 5 pixels more per step
    painted = number = 0
    for _ in range(50 * count):
        if painted >= pixels:
            break
        spots = brush(rng.uniform(8, size - 8, 2), length, rng)
        low, high = spots.min(0), spots.max(0)
        if low.min() < 1 or high.max() > size - 2:
            continue
        if labels[low[0] - 1 : high[0] + 2, low[1] - 1 : high[1] + 2].any():
            continue
        number += 1
        labels[spots[:, 0], spots[:, 1]] = number % CLASSES + 1
        painted += len(spots)
    return labels


def boxes(size: int, count: int = 60) -> Labels:
    """Filled boxes on a grid, with gaps between them."""
    labels, side = np.zeros((size, size), np.uint8), int(np.ceil(np.sqrt(count)))
    cell = size // side
    for number in range(count):
        y, x = (place * cell for place in divmod(number, side))
        labels[y + cell // 8 : y + cell * 7 // 8, x + cell // 8 : x + cell * 7 // 8] = number % CLASSES + 1
    return labels


def quarters(size: int) -> Labels:
    """All pixels, a class in each quarter."""
    half = np.arange(size) * 2 // size
    return (1 + 2 * half[:, None] + half).astype(np.uint8)


#: Kinds of paint by name; the targets are for the second.
PAINT: Mapping[str, Callable[[int], Labels]] = {
    "1,000 pixels": lambda size: pixels_of_strokes(size, 4, 1_000),
    "10,000 pixels": lambda size: pixels_of_strokes(size, 30, 10_000),
    "100,000 pixels in many strokes": lambda size: pixels_of_strokes(size, 1_400, 100_000),
    "60 filled boxes": boxes,
    "all pixels": quarters,
}
JUDGED = "10,000 pixels"


@dataclass(frozen=True, slots=True)
class Learned:
    """Training on one kind of paint; wall-clock seconds unless stated otherwise.

    Parameters
    ----------
    paint : str
    strokes, pixels : int
    first_model : float
        Until the first classifier.
    trained : float
        Until it has been judged on held-out strokes.
    told : float
        Time in the training record.
    one_more : float
        One stroke more, from its paint to a classifier that knows it; None where all pixels are painted.
    megabytes : float
        Peak resident, beyond Python, torch, image and paint.
    """

    paint: str
    strokes: int
    pixels: int
    first_model: float
    trained: float
    told: float
    one_more: float | None
    megabytes: float


def measure(size: int) -> list[Learned]:
    """All kinds of paint on an RGB image, each in a separate process."""
    found = []
    for paint in PAINT:
        say(f"training: {paint}, {size} x {size}")
        found.append(Learned(**run_in_process("bench.paint", "learn", paint=paint, size=size)))
    return found


def learn(paint: str, size: int) -> dict[str, Any]:
    """Train on one kind of paint, in this process."""
    image = np.random.default_rng(0).integers(0, 256, (size, size, 3), np.uint8)
    labels = PAINT[paint](size)
    more = np.where(labels > 0, labels, strokes(labels.shape, 1, length=20, seed=9, within=size))
    before, started = most_resident(), time.perf_counter()
    own = find_strokes(labels)
    trainer = Trainer([ImageSource(image, channel_axis=2)], default_classes(CLASSES), device="cpu")
    trainer.update(own)
    trainer.snapshot()
    first = time.perf_counter() - started
    trainer.judge()
    trained, told = time.perf_counter() - started, trainer.record()
    most = most_resident()
    started, one_more = time.perf_counter(), None
    if trainer.update(find_strokes(more)):
        trainer.snapshot()
        one_more = time.perf_counter() - started
    megabytes = (most - before) / 1e6
    return asdict(
        Learned(paint, told.strokes, told.pixels, first, trained, told.seconds, one_more, megabytes)
    )


def text(rows: list[Learned], size: int) -> str:
    """The table, and whether more paint takes longer."""
    lines = []
    for row in rows:
        judged = row.paint == JUDGED
        lines.append([
            row.paint, f"{row.strokes:,}", f"{row.pixels:,}",
            f"{row.first_model:.2f}", FIRST_MODEL.verdict(row.first_model) if judged else "-",
            f"{row.trained:.2f}", TRAINED.verdict(row.trained) if judged else "-",
            f"{row.told:.2f}", "-" if row.one_more is None else f"{row.one_more:.2f}",
            f"{row.megabytes:.0f}", FIT_MEMORY.verdict(row.megabytes),
        ])  # fmt: skip
    at = next(number for number, row in enumerate(rows) if row.paint == JUDGED)
    ratio = max(row.trained for row in rows[at:]) / rows[at].trained
    header = [
        "paint", "strokes", "pixels", "first model (s)", "target", "trained (s)", "target", "recorded (s)",
        "one stroke more (s)", "memory (MB)", "target",
    ]  # fmt: skip
    return (
        f"Training of the default network as in the dock, on an RGB image of {size} x {size}; each row "
        "in a separate process. Trained: until the model is judged on held-out strokes. Recorded: the time "
        "in the training record, without finding strokes and measuring the image.\n\n"
        + table(header, lines)
        + f"\n\nMore paint than {JUDGED} takes at most {ratio:.2f} times as long: "
        f"{FLAT_IN_PAINT.verdict(ratio)}."
    )
