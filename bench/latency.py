"""From the last stroke to refreshed labels of what is on screen, and how long the program takes to start.

    python -m bench.latency [--quick] [--threads N] [--json FILE]

The window's own schedule and threads (`bench.loop`), without the window: strokes on a synthetic image of
cells, grey and RGB, each painted as soon as the one before is on screen and judged. A stroke's time ends
when every pixel of the view has been predicted by a classifier that knows the stroke. The window waits a
moment for the brush to come to rest, which is counted here, and draws, which is not. The first strokes find
nothing remembered of the image; from then on the features of the view on screen are. Strokes in views that
were not on screen before are timed too: the window computes a view's features while nothing else is to do,
here painting begins at once. Of a large image that is on screen as a whole it is timed when a sketch of all
of it is there (`bench.overview`).
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.report import Report, program, say, table, verdict
from bench.scenes import clicks, strokes
from bench.targets import VIEW, WHOLE_RATE
from napari_dsparse import train

ROOT = Path(__file__).parents[1]
#: Seconds.
IMPORT_TARGET, COMMAND_TARGET, OVERVIEW_TARGET = 0.3, 3.0, 2.0
#: Strokes on an image that is on screen as a whole, after the first ones.
OVERVIEW_STROKES = 3
#: Channels of the images.
CHANNELS = {1: "grey", 3: "RGB"}

#: Prints the seconds that our imports take once torch is there.
IMPORT = """
import time, torch
start = time.perf_counter()
import napari_dsparse
plain = time.perf_counter()
from napari_dsparse import densify, load_model, train
print(plain - start, time.perf_counter() - start)
"""


#: Of a whole image.
REPEATS = 3
PARTS = {
    "sketch": "until all of it is new, as a sketch",
    "agreed": "until 99 % of pixels have their final class",
    "view": "until every pixel is exact",
}


@dataclass(frozen=True, slots=True)
class Plan:
    """Pixels per side of the image and of the view, strokes, and how often programs are started.

    `overview` are pixels per side of the image that is on screen as a whole; 0 leaves it out.
    """

    size: int
    view: int
    strokes: int
    starts: int
    overview: int


PLAN = Plan(2048, 1024, 20, 5, 8192)
QUICK = Plan(128, 96, 2, 1, 0)


def measure(quick: bool = False) -> Report:
    """The loop, then the starts."""
    plan = QUICK if quick else PLAN
    loops = {}
    for channels, words in CHANNELS.items():
        say(f"latency: {plan.strokes} strokes on {plan.size} x {plan.size}, {words}")
        loops[channels] = _loop(plan, channels)
    overview = _overview(plan) if plan.overview else None
    say("latency: imports and commands")
    imports = [tuple(map(float, _python("-c", IMPORT).split())) for _ in range(plan.starts)]
    plain, names = (statistics.median(own) for own in zip(*imports, strict=True))
    command = _command(plan)
    say("latency: training and whole images")
    whole = {channels: _whole(plan, channels) for channels in CHANNELS}
    pixels = f"{plan.view} x {plan.view}"
    text = "\n\n".join((
        _strokes_table(loops, plan),
        *([] if overview is None else [_overview_table(overview, plan)]),
        table(
            ["what", "found", "target"],
            [
                *(
                    line
                    for channels, (trained, rate) in whole.items()
                    for line in (
                        [f"train on {pixels}, {CHANNELS[channels]}", f"{trained:.1f} s", "-"],
                        [f"segment {pixels}, {CHANNELS[channels]}", f"{rate:.2f} MP/s",
                         WHOLE_RATE[channels].verdict(rate)],
                    )
                ),
                ["import napari_dsparse, torch being there", f"{plain:.3f} s",
                 verdict(plain, most=IMPORT_TARGET)],
                ["and train, load_model, densify", f"{names:.3f} s", verdict(names, most=IMPORT_TARGET)],
                ["napari-dsparse predict, a small image", f"{command:.2f} s",
                 verdict(command, most=COMMAND_TARGET)],
            ],
        ),
        f"Image {plan.size} x {plan.size}. Imports and commands: medians of {plan.starts} fresh processes. "
        f"Training on {plan.strokes} strokes and segmenting, both at default settings: training once, "
        f"segmenting the median of {REPEATS}.",
    ))  # fmt: skip
    numbers = {"loops": loops, "overview": overview, "import": imports, "command": command, "whole": whole}
    return Report("Latency", text, numbers)


def _strokes_table(loops: Mapping[int, dict[str, Any]], plan: Plan) -> str:
    """Strokes with features remembered, the first ones, and those in new views, by channels."""
    lines: list[list[str]] = []
    for channels, loop in loops.items():
        name, rest = CHANNELS[channels], loop["debounce"]
        views = [stroke["view"] + rest for stroke in loop["strokes"]]
        median, late = statistics.median(views), float(np.percentile(views, 95))
        parts = {
            what: statistics.median(stroke[what] for stroke in loop["strokes"])
            for what in ("classifier", "first_tile", "sketch", "agreed", "judged")
        }
        elsewhere = {
            what: statistics.median(stroke[what] + rest for stroke in loop["elsewhere"])
            for what in ("sketch", "agreed", "view")
        }
        lines += [
            [f"last stroke to exact {plan.view} x {plan.view} view, remembered, median of {len(views)}",
             name, f"{median:.2f}", VIEW[channels].verdict(median)],
            ["the same, 95th percentile", name, f"{late:.2f}", "-"],
            ["of it: waiting for the brush to rest", name, f"{rest:.2f}", "-"],
            ["of it: until a classifier knows the stroke", name, f"{parts['classifier']:.2f}", "-"],
            ["of it: until the first tile is new", name, f"{parts['first_tile']:.2f}", "-"],
            ["of it: until all of the view is new", name, f"{parts['sketch']:.2f}", "-"],
            ["of it: until 99 % of pixels have their final class", name, f"{parts['agreed']:.2f}", "-"],
            ["last stroke to a judged model", name, f"{parts['judged'] + rest:.2f}", "-"],
            *(
                [f"first strokes on an image, nothing remembered, {words}", name,
                 f"{loop['first'][what] + rest:.2f}", "-"]
                for what, words in PARTS.items()
            ),
            *(
                [f"in a view that was not on screen before, {words}", name, f"{elsewhere[what]:.2f}", "-"]
                for what, words in PARTS.items()
            ),
        ]  # fmt: skip
    return table(["what", "image", "seconds", "target"], lines)


def _overview_table(found: Mapping[str, Any], plan: Plan) -> str:
    """From a classifier that knows a stroke to sketches of all of a large image, by size of their cells."""
    lines = []
    later = found["strokes"]
    for words, rounds in (
        ("first strokes, little computed ahead", [found["first"]]),
        (f"next strokes, median of {len(later)}", later),
    ):
        cells = sorted({int(cell) for one in rounds for cell in one["sketches"]}, reverse=True)
        for number, cell in enumerate(cells):
            after = statistics.median(
                one["sketches"][str(cell)] - one["classifier"]
                for one in rounds
                if str(cell) in one["sketches"]
            )
            target = verdict(after, most=OVERVIEW_TARGET, unit=" s") if number == 0 else "-"
            lines.append([f"{words}, cells of {cell} pixels", f"{after:.2f}", target])
    title = f"new model to a sketch of all of {plan.overview} x {plan.overview}, grey"
    return table([title, "seconds", "target"], lines)


def _overview(plan: Plan) -> dict[str, Any]:
    say(f"latency: {OVERVIEW_STROKES} strokes on {plan.overview} x {plan.overview}, all on screen")
    words = ("-m", "bench.overview", str(plan.overview), str(OVERVIEW_STROKES))
    limit = {"OMP_NUM_THREADS": str(torch.get_num_threads())}
    found: dict[str, Any] = json.loads(_python(*words, environment=limit).splitlines()[-1])
    return found


def _loop(plan: Plan, channels: int) -> dict[str, Any]:
    words = ("-m", "bench.loop", *map(str, (plan.size, plan.view, plan.strokes, channels)))
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


def _whole(plan: Plan, channels: int) -> tuple[float, float]:
    """Seconds to train on an image as large as the view, and the megapixels per second that it segments."""
    edge = plan.view
    labels = strokes((edge, edge), plan.strokes, length=30, within=edge)
    image = np.random.default_rng(0).standard_normal((channels, edge, edge)).astype(np.float32)
    started = time.perf_counter()
    model = train(image, labels, channel_axis=0, device="cpu")
    trained = time.perf_counter() - started
    seconds = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        model.predict(image, channel_axis=0, device="cpu")
        seconds.append(time.perf_counter() - started)
    return trained, edge**2 / 1e6 / statistics.median(seconds)


def _python(*words: str, environment: dict[str, str] | None = None) -> str:
    """Output of a fresh Python."""
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
