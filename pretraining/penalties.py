"""Learn how strongly detail and context are held back, on wide synthetic scenes, and print what it is worth.

    python -m pretraining.penalties [--scenes 120] [--held 60] [--steps 160] [--cache FOLDER] [--json FILE]
                                    [--threads N]

Half of the scenes are of regions, half of the other kinds of specimen. Prints mean IoU on the held ones, by
amount of paint, of detail alone and of detail with context under one common penalty, then under the learned
schedule, and the schedule itself.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import fields
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from napari_dsparse.classifier import NetworkSpec
from napari_dsparse.classifier.warm_start import warm_start
from napari_dsparse.errors import DsparseError
from pretraining.context import NETWORK, WINDOWS, WideFeatures
from pretraining.schedule import Classifier, Schedule, held_scores, learn_schedule, logits
from pretraining.wide_fits import AMOUNTS, Fit, PaintedScene, make_fit, painted_scene

#: Seeds of scenes to learn from and of held ones.
LEARNED, HELD = 0, 1

#: Fits that a step of learning looks at, and its learning rate.
BATCH, RATE = 40, 0.1

#: Multiples of the common penalty of the network that ships, for comparison.
MULTIPLES = (1.0, 0.1, 0.03)

#: Stands for a penalty under which a group tells nothing.
NEVER = 1e9


def main(argv: Sequence[str] | None = None) -> None:
    """Run the program."""
    arguments = _parser().parse_args(argv)
    torch.set_num_threads(arguments.threads)
    try:
        learned, held = (
            list(_fits(seed, count, arguments.cache))
            for seed, count in ((LEARNED, arguments.scenes), (HELD, arguments.held))
        )
    except DsparseError as error:
        raise SystemExit(f"pretraining.penalties: {error}") from error
    print(f"{arguments.scenes} scenes, {arguments.held} held, torch {torch.__version__}", flush=True)
    _print_row("mean IoU at about", [str(pixels or "2 strokes") for pixels in AMOUNTS] * 2)
    rows = {"detail alone": common_penalty(1.0, context=False)}
    rows |= {f"with context, x {multiple}": common_penalty(multiple) for multiple in MULTIPLES}
    for name, classifier in rows.items():
        _report(name, classifier, held)
    found = {}
    for name, contrasts in (("by evidence", False), ("by evidence and contrast", True)):
        schedule = Schedule(contrasts=contrasts)
        losses = learn_schedule(schedule, learned, arguments.steps, BATCH, RATE)
        _report(name, schedule, held)
        found[name] = {key: own.tolist() for key, own in schedule.named_parameters()} | {"losses": losses}
        for key, own in schedule.named_parameters():
            print(f"    {key} {own.detach().numpy().round(3)}")
        for evidence in (3, 10, 30, 100):
            middle = torch.full((1 + len(WINDOWS),), 10.0)
            row = [f"{own:.3f}" for own in schedule.penalties(evidence, middle).tolist()]
            _print_row(f"    penalties at {evidence}", row)
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1))


def common_penalty(multiple: float, context: bool = True) -> Classifier:
    """The head of the network that ships, its penalty times `multiple`, the same for detail and context."""
    warm = warm_start(NetworkSpec(NETWORK, 1, 2))

    def classify(fit: Fit) -> Tensor:
        used = torch.tensor([1.0] + [float(context)] * len(WINDOWS))
        unit = (fit.variances * used).sum() / used.sum()
        held = warm.penalties(fit.evidence, (1.0,))[0]
        penalties = torch.where(used > 0, held * multiple, NEVER) * unit
        return logits(fit, penalties, torch.tensor(warm.scale))

    return classify


def _fits(seed: int, count: int, cache: Path | None) -> Iterator[Fit]:
    features = WideFeatures()
    for number in range(count):
        scene = cached_scene(features, seed, number, cache)
        yield from (make_fit(scene, amount) for amount in range(len(AMOUNTS)))


def cached_scene(features: WideFeatures, seed: int, number: int, cache: Path | None) -> PaintedScene:
    """From the cache, if it is there; else drawn, looked at and kept."""
    if cache is None:
        return painted_scene(features, seed, number)
    file = cache / f"{seed}_{number}.pt"
    if file.exists():
        return PaintedScene(**torch.load(file, weights_only=True))
    scene = painted_scene(features, seed, number)
    cache.mkdir(parents=True, exist_ok=True)
    written = file.with_suffix(".part")
    torch.save({own.name: getattr(scene, own.name) for own in fields(scene)}, written)
    written.replace(file)  # whole or not at all
    return scene


def _report(name: str, classifier: Classifier, held: Sequence[Fit]) -> None:
    scores = held_scores(classifier, held)
    cells = [
        f"{scores[regions, amount][0]:.3f}" if (regions, amount) in scores else "-"
        for regions in (False, True)
        for amount in range(len(AMOUNTS))
    ]
    _print_row(name, [*cells, f"  loss {np.mean([loss for _, loss in scores.values()]):.3f}"])


def _print_row(name: str, cells: Sequence[str]) -> None:
    print(f"{name:24s}" + "".join(f"{cell:>10s}" for cell in cells), flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m pretraining.penalties", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--scenes", type=int, default=120, help="to learn from, beside the held ones")
    parser.add_argument("--held", type=int, default=60)
    parser.add_argument("--steps", type=int, default=160)
    parser.add_argument("--cache", type=Path, help="folder that features are kept in from run to run")
    parser.add_argument("--json", type=Path, help="file to write the schedule to")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    return parser


if __name__ == "__main__":
    main()
