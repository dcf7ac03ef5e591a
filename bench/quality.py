"""Mean IoU against the random forest that users have today, from the same strokes.

    python -m bench.quality [--quick] [--budgets 500] [--seeds 0] [--images 1] [--sets NAME,...] [--json FILE]

For every 2-D set of the open data (`DSPARSE_DATA`, or ../shared/data beside the repository): simulated
strokes of a pixel budget, drawn by the data's own `scribble.py`; ours with default settings against the
data's `rf_baseline.py` (scikit-image multiscale filters + random forest, 100 trees), retrained in the same
run. Measured on all pixels of known class that carry no stroke: mean over classes of intersection over
union, on the painted image ("same") and on the next image of the set ("next"): as trained, and as the program
suggests, normalised by the image's own grey values where it says that these differ ("exposure as suggested";
elsewhere the two are one). On the painted image also the expected calibration error of our probabilities, and
how well uncertainty ranks errors (AUROC; 0.5 is chance), and how far two seeds of training lie apart.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from bench import open_data
from bench.report import Curves, Report, program, say, several, verdict
from bench.trust import calibration_error, error_auroc
from napari_dsparse import Model, train
from napari_dsparse.images import resolve_image
from napari_dsparse.images.exposure import is_notable
from napari_dsparse.prediction.exposure import range_ratio

TITLE = "Quality of segmentation"
#: Added to a seed of training for the second of two runs, which must differ by less than `STEADY`.
OTHER_SEED, STEADY = 1000, 0.02


@dataclass(frozen=True, slots=True)
class QualityRow:
    """One comparison: mean IoU and seconds of both, on one image with one set of strokes."""

    set: str
    image: int
    budget: int
    seed: int
    ours: float
    forest: float
    ours_next: float | None
    ours_next_suggested: float | None
    forest_next: float | None
    ours_train_seconds: float
    ours_predict_seconds: float
    forest_seconds: float
    calibration_error: float
    error_auroc: float
    ours_other_seed: float  # as `ours`: the same strokes, another seed of training


def measure(
    quick: bool = False,
    budgets: Sequence[int] = (500,),
    seeds: Sequence[int] = (0,),
    images: int = 1,
    sets: Sequence[str] = (),
) -> Report:
    """All sets, images, budgets and seeds; without the data, a message."""
    if not open_data.DATA.is_dir():
        return Report(TITLE, open_data.ABSENT, {})
    names = list(sets or open_data.set_names())[: 1 if quick else None]
    rows = []
    for row in compare(names, images, [200] if quick else list(budgets), list(seeds)):
        say(f"quality: {row.set} {row.image}, {row.budget}: ours {row.ours:.3f}, forest {row.forest:.3f}")
        rows.append(row)
    return report_of(rows)


def report_of(rows: list[QualityRow]) -> Report:
    """The table, and the means of sets against the strokes' budget."""
    fields = {
        "ours": "ours",
        "forest": "forest",
        "ours, next image": "ours_next",
        "ours, next image, exposure as suggested": "ours_next_suggested",
        "forest, next image": "forest_next",
    }
    budgets = sorted({row.budget for row in rows})
    series = {
        name: [(budget, _mean_of_sets(rows, field, budget)) for budget in budgets]
        for name, field in fields.items()
        if all(any(r.budget == b and getattr(r, field) is not None for r in rows) for b in budgets)
    }
    plot = Curves("quality", "Quality: mean IoU by paint", "labelled pixels", "mean IoU", series, False)
    numbers = {"rows": [asdict(row) for row in rows]}
    return Report(TITLE, table(rows), numbers, (plot,) if len(budgets) > 1 else ())


def _mean_of_sets(rows: list[QualityRow], field: str, budget: int) -> float:
    by_set: dict[str, list[float]] = {}
    for row in rows:
        if row.budget == budget and getattr(row, field) is not None:
            by_set.setdefault(row.set, []).append(getattr(row, field))
    return float(np.mean([np.mean(own) for own in by_set.values()]))


def compare(names: list[str], images: int, budgets: list[int], seeds: list[int]) -> Iterator[QualityRow]:
    """Rows, one at a time."""
    forest, scribble = open_data.load_program("rf_baseline"), open_data.load_program("scribble")
    for name, number, loaded in open_data.samples(names, images):
        following = forest.load(str(open_data.DATA / name), number + 1)
        for budget in budgets:
            for seed in seeds:
                labels = scribble.scribbles(loaded[1], seed=seed, n_pixels=budget)
                yield one(forest, name, number, budget, seed, loaded, labels, following)


def one(forest, name, number, budget, seed, loaded, labels, following) -> QualityRow:  # type: ignore[no-untyped-def]
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
    nexts: list[float | None] = [None, None, None]
    if following is not None and set(np.unique(following[1])) <= set(np.unique(truth)) | {0}:
        other, other_truth = following
        suggested, as_trained = as_suggested(model, other), model.predict(other)
        matched = as_trained if suggested is model else suggested.predict(other)
        predictions = (as_trained, matched, apply(other))
        nexts = [forest.miou(found, other_truth, other_truth > 0) for found in predictions]
    return QualityRow(
        name, number, budget, seed, ours, forest.miou(found, truth, known), *nexts,
        trained - started, predicted - trained, seconds,
        calibration_error(first, right), error_auroc(1 - (first - second), ~right),
        forest.miou(other_seed, truth, known),
    )  # fmt: skip


def as_suggested(model: Model, image: NDArray[np.generic]) -> Model:
    """The model as the program says that it should be applied to an image, by the grey values of both."""
    source = resolve_image(image, channel_axis=model.classifier.channel_axis)
    notable = is_notable(range_ratio(model.classifier, source))
    return model.normalised_to(image) if notable else model


def table(rows: list[QualityRow]) -> str:
    """A Markdown table of means by set and budget, and their mean over sets."""
    lines = [
        "| set | strokes (pixels) | ours | forest | next image: ours | exposure as suggested | forest "
        "| train (s) | predict (s) | forest (s) | calibration error | AUROC of error |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    groups: dict[tuple[str, int], list[QualityRow]] = {}
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


def _means(group: list[QualityRow]) -> list[float]:
    fields = (
        "ours", "forest", "ours_next", "ours_next_suggested", "forest_next", "ours_train_seconds",
        "ours_predict_seconds", "forest_seconds", "calibration_error", "error_auroc",
    )  # fmt: skip
    values = [[getattr(row, field) for row in group] for field in fields]
    return [float(np.nanmean([v for v in own if v is not None] or [np.nan])) for own in values]


def _line(name: str, budget: int, means: list[float]) -> str:
    scores = [f"{value:.3f}" if np.isfinite(value) else "-" for value in means[:5]]
    seconds = [f"{value:.1f}" for value in means[5:8]]
    trust = [f"{value:.3f}" for value in means[8:]]
    return f"| {name} | {budget} | {' | '.join((*scores, *seconds, *trust))} |"


if __name__ == "__main__":
    program(
        __doc__,
        measure,
        own={
            "budgets": (several(int), "labelled pixels in all, comma-separated; 500 by default"),
            "seeds": (several(int), "of strokes and training, comma-separated; 0 by default"),
            "images": (int, "number of images of each set, from the first; 1 by default"),
            "sets": (several(str), "names of sets, comma-separated; all by default"),
        },
    )
