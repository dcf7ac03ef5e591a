"""Peak resident memory: of prediction against the image's size, of training against the paint.

    python -m bench.memory [--quick] [--threads N] [--json FILE] [--plots FOLDER]

Every figure comes from a separate process: the peak resident memory, and before it, the memory that
Python and torch hold without any work. Prediction reads a Zarr file on disk (without zarr: a memory-mapped
.npy file), whole: as a script has it, the labels in memory, one byte per pixel; and as a stream of tiles
written to disk. The default network would take many minutes over the largest image, so that is predicted by
a network of the same patch with few channels, and not streamed: its tiles are the same, its maps smaller,
and the default network is shown at the sizes that it can do in the time. Training is that of the dock: the
fit and its judging; `bench.training` measures its growth with paint.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from bench.report import Curves, Report, program, say, table, verdict
from bench.scenes import CLASSES, strokes
from bench.targets import FIT_MEMORY
from napari_dsparse.classifier import (
    DEFAULT_NETWORK,
    NetworkSpec,
    TrainedClassifier,
    TrainingRecord,
    default_classes,
)
from napari_dsparse.classifier import spec as specs
from napari_dsparse.images import Normalisation, resolve_image
from napari_dsparse.model import Model
from napari_dsparse.prediction import Predictor, plan_tiles
from napari_dsparse.training.strokes import find_strokes
from napari_dsparse.training.trainer import Trainer

#: The network of the largest images.
FEW_CHANNELS = "few channels"

#: Bytes resident, Python and torch included, whatever the image.
TARGET = 2e9
#: Largest over smallest size that still counts as flat: of the stream, and of training on the same paint.
FLAT = 1.25


@dataclass(frozen=True, slots=True)
class Plan:
    """Networks, pixels per side, and the largest to be streamed; strokes, and pixels per side to train on."""

    predicted: tuple[tuple[str, int], ...]
    streamed: int
    trained: tuple[tuple[int, int], ...]


PLAN = Plan(
    (
        ("default", 1024), ("default", 2048),
        (FEW_CHANNELS, 1024), (FEW_CHANNELS, 4096), (FEW_CHANNELS, 16384),
    ),
    4096,
    ((6, 1024), (12, 1024), (24, 1024), (48, 1024), (12, 4096)),
)  # fmt: skip
QUICK = Plan(((FEW_CHANNELS, 300),), 0, ((2, 300),))


@dataclass(frozen=True, slots=True)
class Use:
    """Resources of one process: bytes resident before and at peak, and seconds of work."""

    before: int
    most: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Prediction:
    """One image, as a script predicts it and as a stream."""

    network: str
    size: int
    whole: Use
    stream: Use | None

    @property
    def beside_labels(self) -> int:
        """Peak resident bytes, less the labels that the script requested."""
        return self.whole.most - self.size**2


@dataclass(frozen=True, slots=True)
class Training:
    """One training: pixels per side, labelled pixels."""

    size: int
    labelled: int
    use: Use


def measure(quick: bool = False) -> Report:
    """All processes, one after the other."""
    plan = QUICK if quick else PLAN
    predicted = [_predict(network, size, size <= plan.streamed) for network, size in plan.predicted]
    trained = [_train(count, size) for count, size in plan.trained]
    numbers = {"predicted": [asdict(row) for row in predicted], "trained": [asdict(row) for row in trained]}
    plots = tuple(curves for curves in _curves(predicted, trained) if len(predicted) > 1)
    return Report("Memory", _text(predicted, trained), numbers, plots)


def _predict(network: str, size: int, streamed: bool) -> Prediction:
    say(f"memory: {network} network on {size} x {size}")
    with tempfile.TemporaryDirectory() as folder:
        path = write_image(Path(folder), size)
        uses = [
            Use(**run_in_process("bench.memory", "predict", network=network, path=str(path), stream=stream))
            for stream in (False, True)[: 1 + streamed]
        ]
    return Prediction(network, size, uses[0], uses[1] if streamed else None)


def _train(count: int, size: int) -> Training:
    say(f"memory: training on {count} strokes, {size} x {size}")
    with tempfile.TemporaryDirectory() as folder:
        path = write_image(Path(folder), size)
        found = run_in_process("bench.memory", "train", path=str(path), count=count)
    return Training(size, found.pop("labelled"), Use(**found))


def write_image(folder: Path, size: int) -> Path:
    """A uint8 image on disk, a band of rows at a time."""
    texture = np.random.default_rng(0).integers(0, 256, (512, 512), np.uint8)
    band = np.tile(texture, (1, size // 512 + 1))[:, :size]
    out: Any
    if find_spec("zarr") is not None:
        import zarr

        path = folder / "image.zarr"
        out = zarr.create_array(path, shape=(size, size), chunks=(min(512, size),) * 2, dtype="uint8")
    else:
        path = folder / "image.npy"
        out = np.lib.format.open_memmap(path, "w+", np.uint8, (size, size))
    for top in range(0, size, 512):
        out[top : top + 512] = band[: min(512, size - top)]
    return path


# -- in separate processes ------------------------------------------------------------------------------


def run_in_process(module: str, work: str, **arguments: Any) -> dict[str, Any]:
    """Result of a module's function, called in a fresh Python with the same number of torch threads."""
    code = (
        "import importlib, json, sys, torch; arguments = json.loads(sys.argv[3]); "
        "torch.set_num_threads(arguments.pop('threads')); "
        "print(json.dumps(getattr(importlib.import_module(sys.argv[1]), sys.argv[2])(**arguments)))"
    )
    given = json.dumps({**arguments, "threads": torch.get_num_threads()})
    ended = subprocess.run(
        [sys.executable, "-c", code, module, work, given],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        cwd=Path(__file__).parents[1],
    )
    found: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return found


def predict(network: str, path: str, stream: bool) -> dict[str, Any]:
    """Predict an image on disk, into memory or as a stream to disk."""
    image = _open(path)
    classifier = _classifier(network)
    before, started = most_resident(), time.perf_counter()
    if stream:
        with open(f"{path}.labels", "wb") as out:
            source = resolve_image(image, channels=1)
            tiles = plan_tiles(source.shape, classifier.spec)
            for done in Predictor(classifier, "cpu").stream(source, tiles):
                for row, labels in zip(range(*done.tile.rows), done.labels, strict=True):
                    out.seek(row * image.shape[1] + done.tile.columns[0])
                    out.write(labels.tobytes())
    else:
        Model(classifier).predict(image, device="cpu")
    return asdict(Use(before, most_resident(), time.perf_counter() - started))


def train(path: str, count: int) -> dict[str, Any]:
    """The fit to strokes, judged."""
    image = _open(path)
    source = resolve_image(image, channels=1)
    paint = find_strokes(strokes(image.shape, count, within=min(1024, *image.shape)))
    before, started = most_resident(), time.perf_counter()
    trainer = Trainer([source], default_classes(CLASSES), device="cpu")
    trainer.update(paint)
    trainer.judge()
    trainer.snapshot()
    use = Use(before, most_resident(), time.perf_counter() - started)
    return {**asdict(use), "labelled": trainer.record().pixels}


def _open(path: str) -> Any:
    if path.endswith(".zarr"):
        import zarr

        return zarr.open_array(path, mode="r")
    return np.load(path, mmap_mode="r")


def few_channels_classifier() -> TrainedClassifier:
    """A classifier of the network with few channels, which from now on is the default one in this process."""
    return _classifier(FEW_CHANNELS)


def default_classifier() -> TrainedClassifier:
    """A classifier of the default network, with random weights."""
    return _classifier(DEFAULT_NETWORK)


def _classifier(network: str) -> TrainedClassifier:
    """A classifier with random weights, without the average over symmetries."""
    if network == FEW_CHANNELS:  # in this process alone
        specs._trunk, specs.FEATURES = _few_channels, 4
    spec = NetworkSpec(DEFAULT_NETWORK, 1, CLASSES)
    return TrainedClassifier(
        spec=spec,
        weights=spec.build().state_dict(),
        classes=default_classes(CLASSES),
        priors=(1 / CLASSES,) * CLASSES,
        normalisation=Normalisation((128.0,), (64.0,)),
        channel_axis=None,
        n_symmetries=1,
        record=TrainingRecord(0, 0, 0.0, 0, 0, (None,) * CLASSES, 0, (), ""),
    )


def _few_channels(channels: int) -> nn.Sequential:
    """The default network's trunk, window for window, with 2 and 4 channels instead of 16 to 128."""
    return nn.Sequential(
        nn.Conv2d(channels, 2, 3), nn.ReLU(), nn.Conv2d(2, 2, 3), nn.ReLU(), nn.MaxPool2d(3, 2),
        nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.ReLU(), nn.MaxPool2d(3, 2),
        nn.Conv2d(4, 4, 3), nn.ReLU(),
    )  # fmt: skip


def most_resident() -> int:
    """Peak resident bytes of this process.

    On Linux from the process's own memory map: what `getrusage` gives there may be the parent's.
    """
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


# -- the tables ---------------------------------------------------------------------------------------------


def _text(predicted: list[Prediction], trained: list[Training]) -> str:
    predictions = [
        [
            row.network,
            f"{row.size} x {row.size}",
            _megabytes(row.whole.before),
            _megabytes(row.whole.most),
            verdict(row.whole.most / 1e9, most=TARGET / 1e9, unit=" GB"),
            _megabytes(row.beside_labels),
            f"{row.whole.seconds:.1f}",
            _megabytes(row.stream.most) if row.stream else "-",
            f"{row.stream.seconds:.1f}" if row.stream else "-",
        ]
        for row in predicted
    ]
    trainings = [
        [
            f"{row.size} x {row.size}",
            f"{row.labelled:,}",
            _megabytes(row.use.most),
            _megabytes(row.use.most - row.use.before),
            FIT_MEMORY.verdict((row.use.most - row.use.before) / 1e6),
            f"{row.use.seconds:.1f}",
        ]
        for row in trained
    ]
    sentences = []
    cheap = [row.beside_labels for row in predicted if row.network == FEW_CHANNELS]
    if len(cheap) > 1:
        ratio = max(cheap) / min(cheap)
        sentences.append(
            f"Without the labels, the largest figure over all sizes is {ratio:.2f} times the smallest: "
            f"{verdict(ratio, most=FLAT)}."
        )
    same = [row for row in trained if row.labelled == trained[-1].labelled]
    if len(same) > 1:
        ratio = same[-1].use.most / same[0].use.most
        sentences.append(
            f"Training on the same paint takes {ratio:.2f} times as much on {same[-1].size} x "
            f"{same[-1].size} pixels as on {same[0].size} x {same[0].size}: {verdict(ratio, most=FLAT)}."
        )
    store = "Zarr" if find_spec("zarr") is not None else ".npy (zarr is not installed)"
    return "\n\n".join([
        f"Prediction of a {store} file on disk, peak resident megabytes, one symmetry:",
        table(
            ["network", "image", "before (MB)", "most (MB)", "target", "beside the labels (MB)",
             "time (s)", "labels to disk: most (MB)", "time (s)"],
            predictions,
        ),
        "Training of the default network on a grey image:",
        table(
            ["image", "labelled pixels", "most (MB)", "of it for training (MB)", "target", "time (s)"],
            trainings,
        ),
        *sentences,
    ])  # fmt: skip


def _megabytes(count: float) -> str:
    return f"{count / 1e6:,.0f}"


def _curves(predicted: list[Prediction], trained: list[Training]) -> tuple[Curves, ...]:
    networks = dict.fromkeys(row.network for row in predicted)
    series = {
        network: [(row.size, row.whole.most / 1e6) for row in predicted if row.network == network]
        for network in networks
    } | {
        f"{network}, labels to disk": [
            (row.size, row.stream.most / 1e6) for row in predicted if row.network == network and row.stream
        ]
        for network in networks
    }
    first = trained[0].size
    learned = [(row.labelled, (row.use.most - row.use.before) / 1e6) for row in trained if row.size == first]
    others = [(row.labelled, (row.use.most - row.use.before) / 1e6) for row in trained if row.size != first]
    by_size = {f"{first} x {first}": sorted(learned)}
    if others:
        by_size[f"{trained[-1].size} x {trained[-1].size}"] = others
    return (
        Curves("memory-prediction", "Prediction from disk", "pixels per side", "most resident (MB)", series),
        Curves("memory-training", "Training", "labelled pixels", "resident for training (MB)", by_size),
    )


if __name__ == "__main__":
    program(__doc__, measure)
