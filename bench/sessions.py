"""Simulated sessions: a user paints stroke after stroke, and looks at what came of it.

    python -m bench.sessions [--quick] [--sets NAME,...] [--rounds 20] [--seeds 0] [--json FILE]

On the first image of every 2-D set of the open data (no more than 384 x 384 of it). One stroke of every
class to begin with; then, round by round, one more, and the mean IoU over all pixels without paint. Three
users: one corrects the largest error, of ours and of the forest (the `rf_baseline.py` of the data, filters
computed once); one paints where "next spot" points; one paints anywhere, every class as often.

Ours is the window's own schedule and worker threads (`bench.window`): each round runs from the paint to a
judged model and to the whole image segmented with it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from bench import open_data
from bench.report import Curves, Report, program, say, several, table, verdict
from bench.users import Canvas, Choice, anywhere, pointed_at, worst_error
from bench.window import HeadlessWindow
from napari_dsparse.images import resolve_image
from napari_dsparse.live import actions as act
from napari_dsparse.live import events as ev
from napari_dsparse.live import messages as msg
from napari_dsparse.prediction.tiles import FieldOfView
from napari_dsparse.samples.scores import mean_iou

#: Rows and columns of an image that are painted and segmented.
EDGE = 384
ROUNDS = 20
#: "Next spot" is to save this share of the strokes.
SAVED = 0.25


@dataclass(frozen=True, slots=True)
class Round:
    """State of a session after a round.

    Parameters
    ----------
    user : str
    set : str
    seed, strokes, pixels : int
    iou : float
        Mean over classes, pixels without paint.
    seconds : float
        Computed so far in this session: learning and segmenting, all rounds.
    """

    user: str
    set: str
    seed: int
    strokes: int
    pixels: int
    iou: float
    seconds: float


class Method(Protocol):
    """A way to segment an image from strokes, stroke after stroke."""

    def learn(self, labels: NDArray[np.uint8]) -> NDArray[np.integer]:
        """Class of every pixel, (Y, X), from the strokes so far."""

    def next_spot(self) -> tuple[int, ...] | None:
        """Most uncertain place away from the paint, (row, column); None where there is none."""

    def close(self) -> None:
        """Release threads and memory."""


class Ours:
    """The window's own schedule and threads, the image on screen as a whole.

    After each stroke the user waits until training rests, presses *Segment whole image*, and waits for that.
    """

    def __init__(self, image: NDArray[Any], truth: NDArray[np.uint8]) -> None:
        source = resolve_image(image, labels_shape=truth.shape)
        rows, columns = source.shape
        self._found = np.zeros(truth.shape, np.uint8)
        self._spot: tuple[int, ...] | None = None
        view = FieldOfView((), (0, rows), (0, columns))
        self._window = HeadlessWindow(source, view, int(truth.max()), self._show)

    def learn(self, labels: NDArray[np.uint8]) -> NDArray[np.integer]:
        """Class of every pixel, (Y, X), from the strokes so far."""
        asked = self._window.state.jobs
        self._window.paint(labels)
        self._window.run_until(
            lambda event: isinstance(event, msg.TrainingEnded) and event.envelope.job > asked
        )
        self._window.handle(ev.WholePressed())
        while not self._window.state.complete:
            self._window.run_until(lambda event: isinstance(event, msg.PredictionEnded))
        return self._found.copy()

    def next_spot(self) -> tuple[int, ...] | None:
        """Place that **Next spot** goes to."""
        self._spot = None
        self._window.handle(ev.NextSpotPressed())
        self._window.run_until(lambda event: isinstance(event, msg.SpotFound))
        return self._spot

    def close(self) -> None:
        """End the threads."""
        self._window.close()

    def _show(self, effect: act.Effect) -> None:
        if isinstance(effect, act.ShowTile):
            self._found[effect.tile.tile.slices] = effect.tile.labels
        elif isinstance(effect, act.GoTo):
            self._spot = effect.position


class Forest:
    """The forest of the data's `rf_baseline.py`: filters once, then a fit per stroke."""

    def __init__(self, image: NDArray[Any], truth: NDArray[np.uint8]) -> None:
        self._features = open_data.load_program("rf_baseline").feats(image)

    def learn(self, labels: NDArray[np.uint8]) -> NDArray[np.integer]:
        """Class of every pixel, (Y, X), from the strokes so far."""
        from sklearn.ensemble import RandomForestClassifier

        model = RandomForestClassifier(100, n_jobs=2, random_state=0)
        model.fit(self._features[labels > 0], labels[labels > 0])
        found: NDArray[np.integer] = model.predict(self._features.reshape(-1, self._features.shape[-1]))
        return found.reshape(labels.shape)

    def next_spot(self) -> tuple[int, ...] | None:
        """None: it does not point."""
        return None

    def close(self) -> None:
        """Nothing to release."""


#: Method and choice of the next place, by user.
CORRECTED, POINTED, ANYWHERE = "ours, errors corrected", "ours, next spot", "ours, anywhere"
USERS: dict[str, tuple[Callable[[NDArray[Any], NDArray[np.uint8]], Method], Choice]] = {
    CORRECTED: (Ours, worst_error),
    "forest, errors corrected": (Forest, worst_error),
    POINTED: (Ours, pointed_at),
    ANYWHERE: (Ours, anywhere),
}


def session(user: str, name: str, sample: open_data.Sample, seed: int, rounds: int) -> Iterator[Round]:
    """All rounds of a user on an image."""
    image, truth = sample
    make, choose = USERS[user]
    canvas = Canvas(truth, seed)
    canvas.begin()
    started = time.perf_counter()
    method = make(image, truth)
    seconds = time.perf_counter() - started
    try:
        for number in range(rounds):
            started = time.perf_counter()
            found = method.learn(canvas.labels)
            seconds += time.perf_counter() - started
            iou = mean_iou(found, truth, canvas.labels)
            yield Round(user, name, seed, canvas.strokes, int((canvas.labels > 0).sum()), iou, seconds)
            if number + 1 < rounds:
                canvas.stroke(*choose(canvas, found, method.next_spot))
    finally:
        method.close()


def strokes_to_reach(goal: float, curve: Sequence[float]) -> int | None:
    """Rounds until a curve first reaches a goal; None if never."""
    return next((number for number, iou in enumerate(curve) if iou >= goal), None)


def measure(
    quick: bool = False, sets: Sequence[str] = (), rounds: int = ROUNDS, seeds: Sequence[int] = (0,)
) -> Report:
    """All users on all sets; without the data, a word of that."""
    title = "Simulated sessions"
    if not open_data.DATA.is_dir():
        return Report(title, open_data.ABSENT, {})
    wanted = list(sets or open_data.set_names())[: 1 if quick else None]
    rows: list[Round] = []
    for name, _, sample in open_data.samples(wanted, 1, 96 if quick else EDGE):
        for seed in seeds:
            for user in USERS:
                own = list(session(user, name, sample, seed, 3 if quick else rounds))
                first, last = own[0], own[-1]
                say(f"sessions: {name}, {user}: {first.iou:.3f} to {last.iou:.3f}, {last.seconds:.0f} s")
                rows += own
    return report_of(title, rows)


def report_of(title: str, rows: list[Round]) -> Report:
    curves = {user: _mean_curve(rows, user) for user in USERS}
    length = len(curves[CORRECTED])
    shown = [n for n in (0, 1, 4, 9, 14, 19) if n < length]
    text = table(
        ["mean IoU after", *(f"{n} more strokes" for n in shown), "seconds"],
        [
            [user, *(f"{curve[n][1]:.3f}" for n in shown), f"{curve[-1][0]:.0f}"]
            for user, curve in curves.items()
        ],
    )
    pointed, random = ([iou for _, iou in curves[user]] for user in (POINTED, ANYWHERE))
    text = "\n\n".join((text, _savings(pointed, random), _steadiness(rows)))
    by_strokes = {user: [(n, iou) for n, (_, iou) in enumerate(curve)] for user, curve in curves.items()}
    plots = tuple(
        Curves(f"sessions_{axis}", f"Sessions: mean IoU by {axis}", label, "mean IoU", series, False)
        for axis, label, series in (
            ("strokes", "strokes after the first of every class", by_strokes),
            ("seconds", "seconds of learning and segmenting", curves),
        )
    )
    return Report(title, text, {"rounds": [asdict(row) for row in rows]}, plots)


def _mean_curve(rows: list[Round], user: str) -> list[tuple[float, float]]:
    """(seconds, IoU) after each round, means over sets and seeds."""
    sessions: dict[tuple[str, int], list[Round]] = {}
    for row in rows:
        if row.user == user:
            sessions.setdefault((row.set, row.seed), []).append(row)
    values = np.array([[(row.seconds, row.iou) for row in own] for own in sessions.values()])
    return [(float(seconds), float(iou)) for seconds, iou in values.mean(0)]


def _savings(pointed: list[float], random: list[float]) -> str:
    """Strokes that "next spot" saves on the way to the best IoU of painting anywhere."""
    goal = max(random)
    needed, plain = strokes_to_reach(goal, pointed), strokes_to_reach(goal, random)
    if needed is None:
        return f'"Next spot" does not reach the {goal:.3f} that painting anywhere reaches.'
    saved = 1 - needed / max(1, plain or 0)
    return (
        f'"Next spot" reaches the {goal:.3f} of painting anywhere after {needed} strokes instead of {plain}: '
        f"{saved:.0%} fewer, {verdict(saved, least=SAVED)}."
    )


def _steadiness(rows: list[Round]) -> str:
    """The worst that one more stroke did."""
    pairs = [
        (behind.iou - before.iou, behind)
        for before, behind in pairwise(rows)
        if before.user == behind.user and before.user.startswith("ours") and before.strokes < behind.strokes
    ]
    worst, where = min(pairs, key=lambda pair: pair[0])
    share = float(np.mean([change < -0.1 for change, _ in pairs]))
    return (
        f"One more stroke changed ours by {worst:+.3f} at worst ({where.set}, {where.user}, stroke "
        f"{where.strokes}); {share:.1%} of {len(pairs)} strokes lowered the mean IoU by more than 0.1."
    )


if __name__ == "__main__":
    program(
        __doc__,
        measure,
        own={
            "sets": (several(str), "names of sets, comma-separated; all by default"),
            "rounds": (int, f"strokes after the first of every class, and one; {ROUNDS} by default"),
            "seeds": (several(int), "of the strokes, comma-separated; 0 by default"),
        },
    )
