"""Reliability of the figures shown: accuracy estimated against true accuracy, and calibration.

    python -m bench.trust [--quick] [--sets NAME,...|none] [--budgets 200,500,1500] [--rounds 12] [--seeds 0]
                          [--scenes 0] [--json FILE]

On the first image of every 2-D set of the open data (no more than 384 x 384 of it): simulated strokes of a
pixel budget, drawn by the data's own `scribble.py`; and a session, one stroke of every class to begin with,
then one on the largest error, round by round. Each time the accuracy that a user is shown, by class, against
the truth on all pixels without paint; beside it "plain", the intersection over union on left-out paint. With
`--scenes`, sessions on that many synthetic scenes as well, from which the width of the range was set.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray
from pretraining.draws import Stream, generator
from pretraining.scenes import wide_scene
from scipy.stats import rankdata

from bench import open_data
from bench.report import Report, program, say, several, table
from bench.users import Canvas, anywhere, worst_error
from napari_dsparse.classifier import default_classes
from napari_dsparse.images import resolve_image
from napari_dsparse.prediction import Predictor, predict_image
from napari_dsparse.samples.scores import class_iou
from napari_dsparse.training import Trainer, TrainingProgress, find_strokes

#: Bins of confidence, equally wide.
BINS = 15
#: Rows and columns of an image that are painted and segmented.
EDGE = 384
BUDGETS, ROUNDS = (200, 500, 1500), 12
TITLE = "Accuracy shown against accuracy that is"
SCENES = "synthetic scenes"


@dataclass(frozen=True, slots=True)
class Figure:
    """Accuracy shown to the user for a class after some strokes, and the true one.

    Parameters
    ----------
    set : str
    painted : str
        Budget of pixels, or "session".
    strokes, label : int
    truth : float
        Intersection over union on all pixels without paint.
    shown, low, high : float or None
        Middle and range; None where nothing is shown.
    plain : float or None
        On left-out paint.
    """

    set: str
    painted: str
    strokes: int
    label: int
    truth: float
    shown: float | None
    low: float | None
    high: float | None
    plain: float | None


class Judged:
    """The dock's trainer and predictor on an image whose truth is known."""

    def __init__(self, name: str, sample: open_data.Sample) -> None:
        self._name = name
        image, self.truth = sample
        self._source = resolve_image(image, labels_shape=self.truth.shape)
        self._trainer = Trainer([self._source], default_classes(int(self.truth.max())))

    def figures(
        self, labels: NDArray[np.uint8], painted: str
    ) -> tuple[list[Figure], NDArray[np.unsignedinteger]]:
        """Of every class of the truth, and the segmentation."""
        self._trainer.update(find_strokes(labels))
        progress = self._trainer.judge()
        found = predict_image(Predictor(self._trainer.snapshot()), self._source).labels
        true, plain = class_iou(found, self.truth, labels), _plain(progress)
        figures = []
        for label, truth in true.items():
            low, high = progress.held_out_range.get(label, (None, None))
            shown = progress.held_out_iou.get(label), low, high, plain.get(label)
            figures.append(Figure(self._name, painted, progress.strokes, label, truth, *shown))
        return figures, found

    def session(self, seed: int, rounds: int) -> Iterator[Figure]:
        """Of every class after each stroke of a user who corrects the largest error, or paints anywhere."""
        canvas = Canvas(self.truth, seed)
        canvas.begin()
        for number in range(rounds):
            figures, found = self.figures(canvas.labels, "session")
            yield from figures
            choose = worst_error if number % 4 < 3 else anywhere
            canvas.stroke(*choose(canvas, found, lambda: None))


def _plain(progress: TrainingProgress) -> dict[int, float]:
    if not progress.held_out_confusion:
        return {}
    confusion = np.array(progress.held_out_confusion)
    union = confusion.sum(0) + confusion.sum(1) - confusion.diagonal()
    return {int(i) + 1: float(confusion[i, i] / union[i]) for i in np.flatnonzero(confusion.sum(1))}


def measure(
    quick: bool = False,
    sets: Sequence[str] = (),
    budgets: Sequence[int] = BUDGETS,
    rounds: int = ROUNDS,
    seeds: Sequence[int] = (0,),
    scenes: int = 0,
) -> Report:
    """All sets and scenes; without the data, a message."""
    if not open_data.DATA.is_dir() and not scenes:
        return Report(TITLE, open_data.ABSENT, {})
    names = [] if list(sets) == ["none"] else list(sets or open_data.set_names())[: 1 if quick else None]
    edge, budgets, rounds = (96, [200], 2) if quick else (EDGE, list(budgets), rounds)
    figures: list[Figure] = []
    for name, _, sample in open_data.samples(names, 1, edge):
        judged = Judged(name, sample)
        scribble = open_data.load_program("scribble")
        for seed in seeds:
            for budget in budgets:
                labels = scribble.scribbles(sample[1], seed=seed, n_pixels=budget)
                figures += judged.figures(labels, str(budget))[0]
            figures += judged.session(seed, rounds)
        say(f"trust: {name}")
    for number in range(scenes):
        for seed in seeds:
            figures += Judged(SCENES, _scene(number, edge)).session(seed, rounds)
        say(f"trust: scene {number}")
    return report_of(figures)


def _scene(number: int, edge: int) -> open_data.Sample:
    image, labels = wide_scene(generator(Stream.WIDE_SCENES, 2, number))
    channels_last = np.ascontiguousarray(np.moveaxis(image, 0, -1)[:edge, :edge])
    seen = channels_last[..., 0] if image.shape[0] == 1 else channels_last
    return seen, (labels[:edge, :edge] + 1).astype(np.uint8)


def report_of(figures: Sequence[Figure]) -> Report:
    """A row per set, and per way of painting over all sets."""
    groups: dict[str, list[Figure]] = {}
    for figure in figures:
        groups.setdefault(figure.set, []).append(figure)
    for figure in figures:
        if figure.set != SCENES:
            groups.setdefault(f"**all sets, {figure.painted}**", []).append(figure)
    header = [
        "", "shown", "truth", "middle", "distance", "truth in range", "width of range",
        "plain: distance", "worst: middle", "plain",
    ]  # fmt: skip
    rows = [row_of(name, own) for name, own in groups.items()]
    return Report(TITLE, table(header, rows), {"figures": [asdict(figure) for figure in figures]})


def row_of(name: str, figures: Sequence[Figure]) -> list[str]:
    """Means over all figures that are shown; distances are absolute."""
    known = [f for f in figures if f.shown is not None]
    if not known:
        return [name, f"0 of {len(figures)}", *["-"] * 8]
    truth, shown, low, high, plain = np.array(
        [[f.truth, f.shown, f.low, f.high, f.plain] for f in known], float
    ).T
    off, plain_off = np.abs(shown - truth), np.abs(plain - truth)
    inside = (low <= truth) & (truth <= high)
    means = [truth.mean(), shown.mean(), off.mean(), inside.mean(), (high - low).mean(), plain_off.mean()]
    worst = [off.max(), plain_off.max()]
    return [name, f"{len(known)} of {len(figures)}", *(f"{value:.2f}" for value in means + worst)]


def calibration_error(confidence: NDArray[np.float32], right: NDArray[np.bool_]) -> float:
    """Expected calibration error (Guo et al., ICML 2017): mean gap between confidence and accuracy, 0..1.

    Parameters
    ----------
    confidence : ndarray, shape (S,)
        Probability of the class that was chosen.
    right : ndarray of bool, shape (S,)
        True if it is the true one.
    """
    place = np.minimum((confidence * BINS).astype(int), BINS - 1)
    gaps = np.bincount(place, confidence.astype(float) - right, BINS)
    return float(np.abs(gaps).sum() / len(right))


def error_auroc(uncertainty: NDArray[np.float32], wrong: NDArray[np.bool_]) -> float:
    """Chance that a wrong pixel is more uncertain than a right one, ties counted half; nan without both."""
    errors = int(wrong.sum())
    if not 0 < errors < len(wrong):
        return float("nan")
    ranks = rankdata(uncertainty)
    return float((ranks[wrong].sum() - errors * (errors + 1) / 2) / (errors * (len(wrong) - errors)))


if __name__ == "__main__":
    program(
        __doc__,
        measure,
        own={
            "sets": (several(str), "names of sets, comma-separated; all by default, or none"),
            "budgets": (several(int), "labelled pixels in all, comma-separated"),
            "rounds": (int, f"strokes of a session after the first of every class, and one; {ROUNDS}"),
            "seeds": (several(int), "of the strokes, comma-separated; 0 by default"),
            "scenes": (int, "synthetic scenes; none by default"),
        },
    )
