"""Learn a warm start on synthetic scenes, and write it as the package reads it.

    python -m pretraining [--network compact] [--steps 12000] [--scenes 5000] [--seed 0] [--start FILE]
                          [--output FILE] [--json FILE] [--threads N]

Prints loss and accuracy on held scenes every 100 steps; the output is written anew each time, so a run can be
ended early, and taken up again with ``--start``.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch

from napari_dsparse.classifier import NETWORKS
from napari_dsparse.errors import DsparseError, ExportError
from pretraining import warm_file
from pretraining.draws import Stream
from pretraining.learn import CONTINUED_RATE, MetaLearner, Recipe
from pretraining.scenes import scene_set

#: Default network.
NETWORK = "compact"

#: Scenes that accuracy is measured on: the same ones in every run.
HELD_SCENES = 80


def main(argv: Sequence[str] | None = None) -> None:
    """Run the program."""
    arguments = _parser().parse_args(argv)
    try:
        _learn(arguments)
    except DsparseError as error:
        raise SystemExit(f"pretraining: {error}") from error


def _learn(arguments: argparse.Namespace) -> None:
    output = arguments.output or Path(f"{arguments.network}.safetensors")
    if not output.absolute().parent.is_dir():  # fails now and not after the first hundred steps
        raise ExportError(f"The folder {str(output.parent)!r} does not exist; create it or choose another.")
    torch.set_num_threads(arguments.threads)
    learner = MetaLearner(arguments.network, arguments.seed, arguments.start)
    recipe = Recipe(arguments.steps)
    if arguments.start is not None:
        recipe = Recipe(arguments.steps, peak_rate=CONTINUED_RATE)
    held = scene_set(Stream.HELD_SCENES, 0, HELD_SCENES, arguments.threads)
    scenes = scene_set(Stream.SCENES, arguments.seed, arguments.scenes, arguments.threads)
    print(f"{len(scenes)} scenes, {torch.get_num_threads()} threads, torch {torch.__version__}", flush=True)
    reports = []
    for report in learner.learn(scenes, held, recipe):
        warm_file.write(output, learner.trunk, learner.head)
        reports.append(asdict(report))
        print(
            f"{report.step} loss {report.loss:.3f} held IoU {report.held_iou:.4f} ridge {report.ridge:.3f} "
            f"scale {report.scale:.2f} small-sample penalty {report.small_sample_penalty:.2f} "
            f"{report.seconds:.0f} s",
            flush=True,
        )
    if arguments.json:
        run = {"network": arguments.network, "scenes": len(scenes), "seed": arguments.seed}
        arguments.json.write_text(json.dumps({**run, "recipe": asdict(recipe), "reports": reports}, indent=1))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m pretraining", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--network", choices=sorted(NETWORKS), default=NETWORK)
    parser.add_argument("--steps", type=_positive, default=Recipe().steps)
    parser.add_argument("--scenes", type=_positive, default=5000, help="to learn from, beside the held ones")
    parser.add_argument("--seed", type=_natural, default=0, help="of scenes, episodes and first weights")
    parser.add_argument("--start", type=Path, help="file of a warm start to go on from")
    parser.add_argument("--output", type=Path, help="replaced if it exists; NETWORK.safetensors by default")
    parser.add_argument("--json", type=Path, help="file to write all reports to")
    parser.add_argument(
        "--threads", type=_positive, default=os.cpu_count() or 1, help="and drawing processes"
    )
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"got {number}; give a number from 1")
    return number


def _natural(text: str) -> int:
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError(f"got {number}; give a number from 0")
    return number


if __name__ == "__main__":
    main()
