"""Planes of a stack with their neighbours against each plane alone: mean IoU from the same strokes, and time.

    DSPARSE_DATA=... python -m bench.depth [--budgets 200,500,1500] [--seeds 0,1] [--noise 0,40] [--quick]

On the stacks of the open data: simulated strokes of a pixel budget, all on the middle plane or shared by
three planes; with `--noise` also under noise of that standard deviation in grey values, of its own on every
plane. Measured on planes spread over the stack, where the class is known and nothing is painted: mean over
classes of intersection over union. Times are of the whole stack.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tifffile import imread

from bench import open_data
from bench.report import Report, program, say, several, table
from napari_dsparse import Model, train
from napari_dsparse.images import ImageSource
from napari_dsparse.prediction import Predictor, plan_tiles

TITLE = "Planes of a stack with their neighbours"
#: Planes measured, spread over the stack.
MEASURED = 4

Stack = NDArray[Any]


@dataclass(frozen=True, slots=True)
class DepthRow:
    """Mean IoU on one stack from one set of strokes, of planes alone and of planes with their neighbours."""

    set: str
    noise: float
    planes: int  # with strokes
    budget: int
    seed: int
    off: float
    neighbours: float


def measure(
    quick: bool = False,
    budgets: Sequence[int] = (200, 500, 1500),
    seeds: Sequence[int] = (0, 1),
    noise: Sequence[float] = (0.0, 40.0),
) -> Report:
    """All stacks, noises, budgets and seeds; without the data, a message."""
    found = list(stacks(quick)) if open_data.DATA.is_dir() else []
    if not found:
        return Report(TITLE, open_data.ABSENT, {})
    rows, seconds = [], {"off": 0.0, "neighbours": 0.0}
    for name, image, truth in found:
        for sigma in noise[: 1 if quick else None]:
            for row in compare(name, image, truth, sigma, budgets, seeds[: 1 if quick else None], quick):
                place = f"{name}, noise {sigma:g}, {row.planes} planes, {row.budget}"
                say(f"{place}: {row.off:.3f}, {row.neighbours:.3f}")
                rows.append(row)
        for depth, own in whole_stack_seconds(image, truth).items():
            seconds[depth] += own
    return Report(TITLE, text_of(rows, seconds), {"rows": [asdict(row) for row in rows], "seconds": seconds})


def stacks(quick: bool = False) -> Iterator[tuple[str, Stack, NDArray[np.uint8]]]:
    """The first stack of every set that has any, and its classes, both (Z, Y, X)."""
    for name in open_data.set_names():
        folder = open_data.DATA / name
        if json.loads((folder / "meta.json").read_text(encoding="utf-8")).get("axes") == "ZYX":
            window = np.s_[:5, :40, :48] if quick else np.s_[:]
            yield name, imread(folder / "image_00.tif")[window], imread(folder / "label_00.tif")[window]


def compare(
    name: str,
    image: Stack,
    truth: NDArray[np.uint8],
    noise: float,
    budgets: Sequence[int],
    seeds: Sequence[int],
    quick: bool = False,
) -> Iterator[DepthRow]:
    """Rows of one stack, one at a time."""
    scribble, miou = open_data.load_program("scribble"), open_data.load_program("rf_baseline").miou
    last = len(image) - 1
    noisy = image + np.random.default_rng(0).normal(0, noise, image.shape) if noise else image
    measured = np.unique(np.linspace(1, last - 1, 1 if quick else MEASURED).round().astype(int))
    for painted in [(last // 2,), (last // 5, last // 2, last - last // 5)][: 1 if quick else None]:
        for budget in budgets[: 1 if quick else None]:
            for seed in seeds:
                labels = np.zeros(truth.shape, np.uint8)
                for number, z in enumerate(painted):
                    labels[z] = scribble.scribbles(
                        truth[z], seed=seed + 10 * number, n_pixels=budget // len(painted)
                    )
                known = ((truth > 0) & (labels == 0))[measured]
                scores = [
                    miou(
                        planes_of(train(noisy, labels, depth=depth), noisy, measured), truth[measured], known
                    )
                    for depth in ("off", "neighbours")
                ]
                yield DepthRow(name, noise, len(painted), budget, seed, *scores)


def planes_of(model: Model, image: Stack, planes: NDArray[np.integer]) -> NDArray[np.unsignedinteger]:
    """Segmentation of some planes of a stack."""
    source = ImageSource(image)
    tiles = [tile for tile in plan_tiles(source.shape, model.classifier.spec) if tile.plane[0] in planes]
    found = np.zeros(image.shape, np.uint8)
    for prediction in Predictor(model.classifier).stream(source, tiles):
        found[prediction.tile.slices] = prediction.labels
    chosen: NDArray[np.unsignedinteger] = found[planes]
    return chosen


def whole_stack_seconds(image: Stack, truth: NDArray[np.uint8]) -> dict[str, float]:
    """Seconds for a whole stack by depth, in turn."""
    labels = np.zeros(truth.shape, np.uint8)
    labels[len(truth) // 2, ::16] = truth[len(truth) // 2, ::16]
    models = {depth: train(image, labels, depth=depth) for depth in ("off", "neighbours")}
    seconds = dict.fromkeys(models, np.inf)
    for _ in range(2):
        for depth, model in models.items():
            started = time.perf_counter()
            model.predict(image)
            seconds[depth] = min(seconds[depth], time.perf_counter() - started)
    return seconds


def text_of(rows: Sequence[DepthRow], seconds: dict[str, float]) -> str:
    """A table of means over seeds, their mean, and what neighbours cost."""
    groups: dict[tuple[str, float, int, int], list[DepthRow]] = {}
    for row in rows:
        groups.setdefault((row.set, row.noise, row.planes, row.budget), []).append(row)
    lines = []
    for (name, noise, planes, budget), group in groups.items():
        off, with_them = (
            float(np.mean([getattr(row, key) for row in group])) for key in ("off", "neighbours")
        )
        lines.append(
            [name, f"{noise:g}", planes, budget, f"{off:.3f}", f"{with_them:.3f}", f"{with_them - off:+.3f}"]
        )
    header = ["stack", "noise", "planes painted", "pixels", "alone", "with neighbours", "difference"]
    means = []
    for noise in sorted({row.noise for row in rows}):
        gain = np.mean([row.neighbours - row.off for row in rows if row.noise == noise])
        means.append(f"{gain:+.3f} with noise of {noise:g}")
    alone, with_them = seconds["off"], seconds["neighbours"]
    return (
        f"{table(header, lines)}\n\nOn average {', '.join(means)}. A whole stack takes "
        f"{with_them / alone:.2f} times as long with neighbours, {with_them:.1f} s against {alone:.1f} s: "
        "features of a plane are computed once, and what they give its neighbours is kept."
    )


if __name__ == "__main__":
    program(
        __doc__,
        measure,
        own={
            "budgets": (
                several(int),
                "labelled pixels in all, comma-separated; 200, 500 and 1500 by default",
            ),
            "seeds": (several(int), "of strokes, comma-separated; 0 and 1 by default"),
            "noise": (
                several(float),
                "standard deviations in grey values, comma-separated; 0 and 40 by default",
            ),
        },
    )
