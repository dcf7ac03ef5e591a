"""Print what two opinions and self-training are worth on held wide scenes.

    python -m pretraining.opinions [--held 60] [--cache FOLDER] [--threads N]

Mean IoU by amount of paint, of scenes that detail tells apart and of scenes of regions, for several values of
`trust` and `doubt` of the warm start that ships (see `WarmStart.opinions`), which average detail with
surroundings and detail alone; then for several weights of unpainted pixels, the very ones asked for (see
`Head.fit`). The fit is the package's own.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_dsparse.classifier import DEFAULT_NETWORK, NetworkSpec
from napari_dsparse.classifier.warm_start import Opinion, WarmStart, warm_start
from napari_dsparse.errors import DsparseError
from napari_dsparse.samples.scores import mean_iou
from napari_dsparse.training import find_strokes
from napari_dsparse.training.choice import choose_pixels
from napari_dsparse.training.head import Head, Rows, Unpainted, self_training_weight
from napari_dsparse.training.opinions import form_opinions
from pretraining.context import WideFeatures
from pretraining.learn import log_priors
from pretraining.penalties import HELD, cached_scene
from pretraining.wide_fits import AMOUNTS, PaintedScene

#: Values of trust and doubt that are looked at.
TRUST, DOUBT = (5.0, 10.0, 20.0), (0.0, 2.0)
#: Factors on the weight of unpainted pixels.
WEIGHTS = (0.0, 0.5, 1.0, 2.0, 4.0)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the program."""
    arguments = _parser().parse_args(argv)
    torch.set_num_threads(arguments.threads)
    features, scores = WideFeatures(), dict[tuple[bool, int], list[dict[str, float]]]()
    try:
        for number in range(arguments.held):
            scene = cached_scene(features, HELD, number, arguments.cache)
            for amount in range(len(AMOUNTS)):
                scores.setdefault((scene.regions, amount), []).append(scores_of(scene, amount))
    except DsparseError as error:
        raise SystemExit(f"pretraining.opinions: {error}") from error
    keys = sorted(scores)
    print(f"{'mean IoU at about':26s}" + "".join(f"{AMOUNTS[a] or '2 strokes':>10}" for _, a in keys))
    for name in next(iter(scores.values()))[0]:
        cells = [f"{np.mean([own[name] for own in scores[key]]):10.3f}" for key in keys]
        print(f"{name:26s}" + "".join(cells), flush=True)


def scores_of(scene: PaintedScene, amount: int) -> dict[str, float]:
    """Mean IoU at the pixels asked for, by what the last layer is fitted to."""
    painted = (scene.strokes < scene.amounts[amount]).numpy()
    places, classes = scene.places.numpy()[painted], scene.classes.numpy()[painted]
    labels = np.zeros(places.max(0) + 1, np.uint8)
    labels[tuple(places.T)] = classes + 1
    strokes = find_strokes(labels)
    chosen = choose_pixels(strokes)
    at = np.zeros(labels.shape, np.int64)
    at[tuple(places.T)] = np.flatnonzero(painted)
    present = np.unique(chosen.labels)
    groups = scene.features[torch.from_numpy(at[tuple(chosen.yx.T)])].unbind(1)
    targets = torch.from_numpy(np.searchsorted(present, chosen.labels))
    rows = Rows(groups, targets, torch.from_numpy(chosen.weights))
    head, asked, warm = Head(rows), scene.asked.flatten(1), warm_start(NetworkSpec(DEFAULT_NETWORK, 1, 2))

    def score(opinions: Sequence[Opinion], unpainted: Unpainted | None = None) -> float:
        weight, bias = head.fit(opinions, unpainted)
        found = present[_decide((asked.double() @ weight.t() + bias) * warm.scale)]
        truth = scene.answers.numpy() + 1
        return mean_iou(found, truth, np.zeros_like(truth))

    def formed(own: WarmStart) -> tuple[Opinion, ...]:
        return form_opinions(own, strokes, chosen, rows, head, 0)

    every, alone = formed(replace(warm, doubt=0.0))
    found = {
        "detail alone": score([replace(alone, share=1.0)]),
        "with surroundings": score([replace(every, share=1.0)]),
    }
    for trust, doubt in _settings():
        own = formed(replace(warm, trust=trust, doubt=doubt))
        found[f"both, trust {trust:.0f}, doubt {doubt:.0f}"] = score(own)
    for weight in WEIGHTS:
        every = Unpainted(asked, warm.scale, weight * self_training_weight(chosen.evidence))
        found[f"self-trained, weight x {weight:.1f}"] = score(formed(warm), every)
    return found


def _settings() -> Iterator[tuple[float, float]]:
    return ((trust, doubt) for doubt in DOUBT for trust in TRUST)


def _decide(logits: Tensor) -> NDArray[np.int64]:
    found: NDArray[np.int64] = (logits + log_priors(logits)).argmax(1).numpy()
    return found


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m pretraining.opinions", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--held", type=int, default=60)
    parser.add_argument("--cache", type=Path, help="folder that features are kept in from run to run")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    return parser


if __name__ == "__main__":
    main()
