"""From the last stroke to refreshed labels of what is on screen, and how long the program takes to start.

    python -m bench.latency [--quick] [--threads N] [--json FILE]

The window's own two threads (`bench.loop`), without the window: strokes on a synthetic image of cells, each
painted as soon as the one before is on screen, so that training is never at rest. A stroke's time ends when
every pixel of the view has been predicted by a classifier that knows the stroke. The window waits a moment
for the brush to come to rest, which is counted here, and draws, which is not. Features of a view on screen
are remembered from one stroke to the next; strokes in views that were not on screen before are timed too.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.report import Report, program, say, table, verdict
from bench.scenes import clicks, strokes
from napari_dsparse import train

ROOT = Path(__file__).parents[1]
#: Seconds.
MEDIAN_TARGET, P95_TARGET, IMPORT_TARGET, COMMAND_TARGET = 1.0, 1.5, 0.3, 3.0
#: Of training and of segmenting 512 x 512 pixels.
WHOLE_TARGETS = (15.0, 5.0)

#: Prints the seconds that our imports take once torch is there.
IMPORT = """
import time, torch
start = time.perf_counter()
import napari_dsparse
plain = time.perf_counter()
from napari_dsparse import densify, load_model, train
print(plain - start, time.perf_counter() - start)
"""


@dataclass(frozen=True, slots=True)
class Plan:
    """Pixels a side of the image and of the view, strokes, and how often programs are started."""

    size: int
    view: int
    strokes: int
    starts: int


PLAN = Plan(2048, 1024, 20, 5)
QUICK = Plan(128, 96, 2, 1)


def measure(quick: bool = False) -> Report:
    """The loop, then the starts."""
    plan = QUICK if quick else PLAN
    say(f"latency: {plan.strokes} strokes on {plan.size} x {plan.size}")
    loop = _loop(plan)
    say("latency: imports and commands")
    imports = [tuple(map(float, _python("-c", IMPORT).split())) for _ in range(plan.starts)]
    plain, names = (statistics.median(own) for own in zip(*imports, strict=True))
    command = _command(plan)
    say("latency: training and whole images")
    whole = _whole(plan)
    views = [stroke["view"] + loop["debounce"] for stroke in loop["strokes"]]
    median, late = statistics.median(views), float(np.percentile(views, 95))
    parts = {
        what: statistics.median(stroke[what] for stroke in loop["strokes"])
        for what in ("classifier", "first_tile", "sketch", "agreed")
    }
    elsewhere = {
        what: statistics.median(stroke[what] + loop["debounce"] for stroke in loop["elsewhere"])
        for what in ("sketch", "agreed", "view")
    }
    text = "\n\n".join((
        table(
            ["what", "seconds", "target"],
            [
                [f"last stroke to refreshed {plan.view} x {plan.view} view, median of {len(views)}",
                 f"{median:.2f}", verdict(median, most=MEDIAN_TARGET)],
                ["the same, 95th percentile", f"{late:.2f}", verdict(late, most=P95_TARGET)],
                ["of it: waiting for the brush to rest", f"{loop['debounce']:.2f}", "-"],
                ["of it: until a classifier knows the stroke", f"{parts['classifier']:.2f}", "-"],
                ["of it: until the first tile is new", f"{parts['first_tile']:.2f}", "-"],
                ["of it: until all of the view is new", f"{parts['sketch']:.2f}", "-"],
                ["of it: until 99 % of pixels have their final class", f"{parts['agreed']:.2f}", "-"],
                *(
                    [f"in a view that was not on screen before, {words}", f"{elsewhere[what]:.2f}", "-"]
                    for what, words in (
                        ("sketch", "until all of it is new, as a sketch"),
                        ("agreed", "until 99 % of pixels have their final class"),
                        ("view", "until every pixel is exact"),
                    )
                ),
                ["until training is over and all symmetries are averaged, once", f"{loop['calm']:.1f}", "-"],
                ["import napari_dsparse, torch being there", f"{plain:.3f}",
                 verdict(plain, most=IMPORT_TARGET)],
                ["and train, load_model, densify", f"{names:.3f}", verdict(names, most=IMPORT_TARGET)],
                ["napari-dsparse predict, a small image", f"{command:.2f}",
                 verdict(command, most=COMMAND_TARGET)],
                *(
                    [f"{what} {plan.view // 2} x {plan.view // 2}, {channels} channels" , f"{seconds:.1f}",
                     verdict(seconds, most=most)]
                    for channels, times in whole.items()
                    for what, seconds, most in zip(("train on", "segment"), times, WHOLE_TARGETS, strict=True)
                ),
            ],
        ),
        f"Image {plan.size} x {plan.size}. Imports and commands: medians of {plan.starts} fresh processes. "
        f"Training on {plan.strokes} strokes at default settings, once, and segmenting with all symmetries.",
    ))  # fmt: skip
    numbers = {"loop": loop, "import": imports, "command": command, "whole": whole}
    return Report("Latency", text, numbers)


def _loop(plan: Plan) -> dict[str, Any]:
    words = ("-m", "bench.loop", str(plan.size), str(plan.view), str(plan.strokes))
    limit = {"OMP_NUM_THREADS": str(torch.get_num_threads())}
    found: dict[str, Any] = json.loads(_python(*words, environment=limit).splitlines()[-1])
    return found


def _command(plan: Plan) -> float:
    """Median wall time of the command on a 64 x 64 image: all that is not the image's own work."""
    from PIL import Image

    pixels = np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)
    labels = clicks((64, 64), apart=20)
    with tempfile.TemporaryDirectory() as folder:
        model, image = Path(folder) / "model.safetensors", Path(folder) / "image.png"
        train(pixels, labels, steps=0, device="cpu").save(model)
        Image.fromarray(pixels).save(image)
        seconds = []
        for number in range(plan.starts):
            started = time.perf_counter()
            output = str(Path(folder) / f"labels-{number}.tif")
            _python("-m", "napari_dsparse", "predict", "--model", str(model), "--output", output, str(image))
            seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


def _whole(plan: Plan) -> dict[int, tuple[float, float]]:
    """Seconds to train on an image a quarter of the view large, and to segment it, by number of channels."""
    edge = plan.view // 2
    labels = strokes((edge, edge), plan.strokes, length=30, within=edge)
    found = {}
    for channels in (1, 3):
        image = np.random.default_rng(0).standard_normal((channels, edge, edge)).astype(np.float32)
        started = time.perf_counter()
        model = train(image, labels, channel_axis=0, device="cpu")
        trained = time.perf_counter()
        model.predict(image, channel_axis=0, device="cpu")
        found[channels] = (trained - started, time.perf_counter() - trained)
    return found


def _python(*words: str, environment: dict[str, str] | None = None) -> str:
    """What a fresh Python prints."""
    return subprocess.run(
        [sys.executable, *words],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        cwd=ROOT,
        env={**os.environ, **(environment or {})},
    ).stdout


if __name__ == "__main__":
    program(__doc__, measure)
