"""Mean IoU against the random forest that users have today, from the same strokes.

    python -m bench.quality [--budgets 500] [--seeds 0] [--images 2] [--sets NAME,...] [--json FILE]

For every 2-D set of the open data (`DSPARSE_DATA`, or ../shared/data beside the repository): simulated
strokes of a pixel budget, drawn by the data's own `scribble.py`; ours with default settings against the
data's `rf_baseline.py` (scikit-image multiscale filters + random forest, 100 trees), retrained in the same
run. Measured on all pixels of known class that carry no stroke: mean over classes of intersection over
union, on the painted image ("same") and on the next image of the set ("next"); on the painted image also the
expected calibration error of our probabilities, and how well uncertainty ranks errors (AUROC; 0.5 is chance),
and how far two seeds of training lie apart.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from bench import open_data
from bench.report import Report, say, verdict
from bench.trust import calibration_error, error_auroc
from napari_dsparse import train
from napari_dsparse.errors import DsparseError

#: What is added to a seed of training for the second of two; they are to differ by less than `STEADY`.
OTHER_SEED, STEADY = 1000, 0.02


@dataclass(frozen=True, slots=True)
class Row:
    """One comparison: mean IoU and seconds of both, on one image with one set of strokes."""

    set: str
    image: int
    budget: int
    seed: int
    ours: float
    forest: float
    ours_next: float | None
    forest_next: float | None
    ours_train_seconds: float
    ours_predict_seconds: float
    forest_seconds: float
    calibration_error: float
    error_auroc: float
    ours_other_seed: float  # as `ours`: the same strokes, another seed of training


def measure(quick: bool = False) -> Report:
    """One budget, one seed, the first image of every set; without the data, a word of that."""
    title = "Quality of segmentation"
    if not open_data.DATA.is_dir():
        return Report(title, open_data.ABSENT, {})
    names = open_data.set_names()[: 1 if quick else None]
    say(f"quality: {', '.join(names)}")
    rows = list(compare(names, 1, [200 if quick else 500], [0]))
    return Report(title, table(rows), {"rows": [asdict(row) for row in rows]})


def compare(names: list[str], images: int, budgets: list[int], seeds: list[int]) -> Iterator[Row]:
    """Rows, one at a time."""
    forest, scribble = open_data.load_program("rf_baseline"), open_data.load_program("scribble")
    for name, number, loaded in open_data.samples(names, images):
        following = forest.load(str(open_data.DATA / name), number + 1)
        for budget in budgets:
            for seed in seeds:
                labels = scribble.scribbles(loaded[1], seed=seed, n_pixels=budget)
                yield one(forest, name, number, budget, seed, loaded, labels, following)


def one(forest, name, number, budget, seed, loaded, labels, following) -> Row:  # type: ignore[no-untyped-def]
    """Both methods on one image with one set of strokes."""
    image, truth = loaded
    known = (truth > 0) & (labels == 0)
    started = time.perf_counter()
    model = train(image, labels, seed=seed)
    trained = time.perf_counter()
    probabilities = model.predict_proba(image)
    predicted = time.perf_counter()
    ours = forest.miou(probabilities.argmax(0) + 1, truth, known)
    first, second = -np.partition(-probabilities[:, known], 1, axis=0)[:2]
    right = probabilities[:, known].argmax(0) + 1 == truth[known]
    other_seed = train(image, labels, seed=seed + OTHER_SEED).predict(image)
    found, seconds, apply = forest.rf(image, labels)
    nexts: list[float | None] = [None, None]
    if following is not None and set(np.unique(following[1])) <= set(np.unique(truth)) | {0}:
        other, other_truth = following
        nexts = [
            forest.miou(found, other_truth, other_truth > 0) for found in (model.predict(other), apply(other))
        ]
    return Row(
        name, number, budget, seed, ours, forest.miou(found, truth, known), nexts[0], nexts[1],
        trained - started, predicted - trained, seconds,
        calibration_error(first, right), error_auroc(1 - (first - second), ~right),
        forest.miou(other_seed, truth, known),
    )  # fmt: skip


def table(rows: list[Row]) -> str:
    """A Markdown table of means by set and budget, and their mean over sets."""
    lines = [
        "| set | strokes (pixels) | ours | forest | next image: ours | forest "
        "| train (s) | predict (s) | forest (s) | calibration error | AUROC of error |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    groups: dict[tuple[str, int], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.set, row.budget), []).append(row)
    for budget in sorted({row.budget for row in rows}):
        means = []
        for (name, own), group in groups.items():
            if own == budget:
                means.append(_means(group))
                lines.append(_line(name, budget, means[-1]))
        columns = np.array(means, float)
        lines.append(_line("**mean of sets**", budget, [float(np.nanmean(c)) for c in columns.T]))
    apart = [abs(row.ours - row.ours_other_seed) for row in rows]
    mean = float(np.mean(apart))
    return "\n".join(lines) + (
        f"\n\nTwo seeds of training on the same strokes differ by {mean:.4f} on average, "
        f"{verdict(mean, most=STEADY)}, and by {max(apart):.4f} at most, in {len(rows)} pairs."
    )


def _means(group: list[Row]) -> list[float]:
    fields = (
        "ours", "forest", "ours_next", "forest_next", "ours_train_seconds", "ours_predict_seconds",
        "forest_seconds", "calibration_error", "error_auroc",
    )  # fmt: skip
    values = [[getattr(row, field) for row in group] for field in fields]
    return [float(np.nanmean([v for v in own if v is not None] or [np.nan])) for own in values]


def _line(name: str, budget: int, means: list[float]) -> str:
    scores = [f"{value:.3f}" if np.isfinite(value) else "-" for value in means[:4]]
    seconds = [f"{value:.1f}" for value in means[4:7]]
    trust = [f"{value:.3f}" for value in means[7:]]
    return f"| {name} | {budget} | {' | '.join((*scores, *seconds, *trust))} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--budgets", default="500", help="labelled pixels in all, comma-separated")
    parser.add_argument("--seeds", default="0", help="of strokes and training, comma-separated")
    parser.add_argument("--images", type=int, default=2, help="first so many images of each set")
    parser.add_argument("--sets", default="", help="names of sets, comma-separated; all by default")
    parser.add_argument("--json", type=Path, help="file to write all rows to")
    arguments = parser.parse_args()
    if not open_data.DATA.is_dir():
        raise DsparseError(
            f"The open data sets are not at {open_data.DATA}; say where they are with DSPARSE_DATA."
        )
    names = arguments.sets.split(",") if arguments.sets else open_data.set_names()
    budgets, seeds = ([int(v) for v in text.split(",")] for text in (arguments.budgets, arguments.seeds))
    rows = []
    for row in compare(names, arguments.images, budgets, seeds):
        rows.append(row)
        print(
            f"{row.set} {row.image}: ours {row.ours:.3f}, forest {row.forest:.3f}",
            file=sys.stderr,
            flush=True,
        )
    print(table(rows))
    print(f"\ntorch {torch.__version__}, {torch.get_num_threads()} threads, {os.cpu_count()} cores")
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(row) for row in rows], indent=1))


if __name__ == "__main__":
    main()
