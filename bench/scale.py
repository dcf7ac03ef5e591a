"""Images of any size through the command line: peak memory, exactness across seams, and kills.

    python -m bench.scale [--quick] [--threads N] [--json FILE] [--plots FOLDER]

Images are Zarr arrays on disk, of noise in a texture; results are OME-Zarr and tiled OME-TIFF. A network of
the default's patch with few channels stands for it, or the largest image would take hours of computing:
tiles, reading and writing are the same. Every run is a process of its own. Its labels are compared with those
of the network applied to crops across seams in one piece, pixels near a tie left out. Kills are `kill -9` at
random moments of a run, each gone on from with `--resume`; what comes out is compared byte by byte with a run
that was left alone.
"""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.memory import (
    FEW_CHANNELS,
    TARGET,
    few_channels_classifier,
    most_resident,
    run_in_process,
    write_image,
)
from bench.report import Curves, Report, program, say, table, verdict
from napari_dsparse.classifier import TrainedClassifier
from napari_dsparse.cli import main
from napari_dsparse.files.model import save_classifier
from napari_dsparse.images.reading import read_image
from napari_dsparse.prediction import Predictor, Tile, plan_tiles

#: Pixels around a seam that are compared, in every direction.
_AROUND = 150

#: Pixels whose two likeliest classes are closer than this may differ by rounding.
_TIE = 1e-4


@dataclass(frozen=True, slots=True)
class Plan:
    """Pixels per side of the images; of the one that is killed, and how often."""

    sizes: tuple[int, ...]
    killed: int
    kills: int


PLAN = Plan((1024, 4096, 16384), 4096, 20)
QUICK = Plan((300,), 300, 1)


@dataclass(frozen=True, slots=True)
class Run:
    """One image segmented: peak resident bytes, seconds, and crops of which all pixels were equal."""

    size: int
    format: str
    resident: int
    seconds: float
    crops: int
    equal: int


def measure(quick: bool = False) -> Report:
    """All sizes and formats, then the kills."""
    plan = QUICK if quick else PLAN
    formats = (".ome.zarr", ".ome.tif")
    runs = [_run(size, suffix) for size in plan.sizes for suffix in formats]
    kills = {suffix: _kill(plan.killed, suffix, plan.kills) for suffix in formats}
    numbers = {"runs": [asdict(run) for run in runs], "kills": kills}
    return Report("Scale", _text(runs, kills), numbers, tuple(_curves(runs)) if len(plan.sizes) > 1 else ())


def _run(size: int, suffix: str) -> Run:
    say(f"scale: {size} x {size} to {suffix}")
    with tempfile.TemporaryDirectory() as folder:
        image = write_image(Path(folder), size)
        output = Path(folder) / f"labels{suffix}"
        found = run_in_process("bench.scale", "segment", image=str(image), output=str(output))
        crops = list(_compared(image, output))
    return Run(size, suffix, found["resident"], found["seconds"], len(crops), sum(crops))


def segment(image: str, output: str, resume: bool = False) -> dict[str, Any]:
    """Segment an image through the command line; in a process of its own."""
    model = Path(output).parent / "model.safetensors"
    if not model.exists():
        torch.manual_seed(0)
        save_classifier(_balanced(few_channels_classifier(), image), model)
    else:
        few_channels_classifier()
    started = time.perf_counter()
    line = ["predict", "-m", str(model), "-o", output, image, *["--resume"] * resume]
    if main(line):
        raise SystemExit(f"{line} failed")
    return {"resident": most_resident(), "seconds": time.perf_counter() - started}


def _balanced(classifier: TrainedClassifier, image: str) -> TrainedClassifier:
    """The classifier with a last bias by which every class is the likeliest somewhere."""
    network = classifier.spec.build().eval()
    network.load_state_dict(dict(classifier.weights))
    edge = min(600, *read_image(image).data.shape)
    pixels = read_image(image).source().read((), (0, edge), (0, edge))
    with torch.inference_mode():
        scores = network(torch.from_numpy(classifier.normalisation.apply(pixels))[None])
    (name,) = (n for n in classifier.weights if n.startswith("head.") and n.endswith("bias"))
    bias = classifier.weights[name].clone()
    bias[: classifier.spec.classes] -= scores.mean((0, 2, 3))
    return replace(classifier, weights={**classifier.weights, name: bias})


def _compared(image: Path, output: Path) -> Iterator[bool]:
    """True for each crop of which all pixels are those of the network applied in one piece."""
    found = run_in_process("bench.scale", "compare", image=str(image), output=str(output))
    yield from found["equal"]


def compare(image: str, output: str) -> dict[str, Any]:
    """Crops across the seams of tiles, predicted in one piece; in a process of its own."""
    few_channels_classifier()
    from napari_dsparse.files.model import read_classifier

    classifier = read_classifier(Path(output).parent / "model.safetensors")
    source, labels = read_image(image).source(), read_image(output).data
    tiles = plan_tiles(source.shape, classifier.spec)
    corners = [(tile.rows[0], tile.columns[0]) for tile in tiles]
    chosen = corners[:: max(1, len(corners) // 8)] + corners[-1:]
    predictor, equal = Predictor(classifier, "cpu"), []
    height, width = source.shape
    for row, column in chosen:
        tile = Tile(
            (),
            (max(0, row - _AROUND), min(height, row + _AROUND)),
            (max(0, column - _AROUND), min(width, column + _AROUND)),
        )
        whole = predictor.block(source.read((), *tile.window(classifier.spec.patch)), tile)
        same = labels[tile.slices] == whole.labels
        several = len(np.unique(whole.labels)) > 1
        equal.append(several and bool((same | (whole.uncertainty > 1 - _TIE)).all()))
    return {"equal": equal}


def _kill(size: int, suffix: str, kills: int) -> dict[str, Any]:
    """Kill a run at random moments, going on each time; whether equal bytes come out."""
    say(f"scale: {kills} kills of {size} x {size} to {suffix}")
    draw = random.Random(0)
    with tempfile.TemporaryDirectory() as folder:
        image = write_image(Path(folder), size)
        whole, killed = Path(folder) / "whole", Path(folder) / "killed"
        for out in (whole, killed):
            out.mkdir()
        seconds = run_in_process("bench.scale", "segment", image=str(image), output=str(whole / f"l{suffix}"))
        (killed / "model.safetensors").write_bytes((whole / "model.safetensors").read_bytes())
        output = killed / f"l{suffix}"
        done = 0
        for _ in range(kills):
            if _killed_after(draw.uniform(0, 3 + seconds["seconds"] / 4), image, output):
                done += 1
            if output.exists():  # it was quicker than we
                _remove(output)
        found = run_in_process("bench.scale", "segment", image=str(image), output=str(output), resume=True)
        equal = _content(whole) == _content(killed)
    return {
        "size": size,
        "kills": done,
        "equal": equal,
        "alone": seconds["seconds"],
        "the rest": found["seconds"],
    }


def _killed_after(seconds: float, image: Path, output: Path) -> bool:
    code = (
        "import json, sys; from bench.scale import segment; "
        "segment(image=sys.argv[1], output=sys.argv[2], resume=True)"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(image), str(output)],
        stdout=subprocess.DEVNULL,
        cwd=Path(__file__).parents[1],
    )
    time.sleep(2 + seconds)  # it takes two seconds to begin
    child.send_signal(signal.SIGKILL)
    return child.wait() != 0


def _remove(output: Path) -> None:
    import shutil

    if output.is_dir():
        shutil.rmtree(output)
    else:
        output.unlink()


def _content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _text(runs: list[Run], kills: dict[str, Any]) -> str:
    rows = [
        [
            f"{run.size:,} x {run.size:,}",
            run.format,
            f"{run.seconds:.1f}",
            f"{run.size**2 / 1e6 / run.seconds:.2f}",
            f"{run.resident / 1e6:,.0f}",
            verdict(run.resident / 1e9, most=TARGET / 1e9, unit=" GB"),
            f"{run.equal} of {run.crops}",
        ]
        for run in runs
    ]
    killed = [
        [
            f"{one['size']:,} x {one['size']:,}",
            suffix,
            one["kills"],
            "equal bytes" if one["equal"] else "OTHER BYTES",
            f"{one['alone']:.1f}",
            f"{one['the rest']:.1f}",
        ]
        for suffix, one in kills.items()
    ]
    store = "Zarr" if find_spec("zarr") is not None else ".npy"
    return "\n\n".join([
        f"From {store} through `napari-dsparse predict`, network with {FEW_CHANNELS}, one process each:",
        table(
            ["image", "to", "seconds", "MP/s", "peak (MB)", "target", "crops equal in one piece"], rows
        ),
        "Killed (`kill -9`) at random moments, gone on from with `--resume`:",
        table(["image", "to", "kills", "result", "left alone (s)", "the last run (s)"], killed),
    ])  # fmt: skip


def _curves(runs: list[Run]) -> Iterator[Curves]:
    formats = dict.fromkeys(run.format for run in runs)
    yield Curves(
        "scale-memory",
        "Peak memory of the command line",
        "pixels per side",
        "MB",
        {name: [(run.size, run.resident / 1e6) for run in runs if run.format == name] for name in formats},
    )


if __name__ == "__main__":
    program(__doc__, measure)
