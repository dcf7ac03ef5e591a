"""Cost of a whole image on a cluster: what one piece takes, and what that makes of any size and any workers.

    python -m bench.cost [--quick] [--threads N] [--json FILE] [--plots FOLDER]

One piece is read, sent to a worker process of this machine, computed there with one thread, sent back and
kept; each of these is timed by itself. The client does all but the computing, one piece after another, and
workers compute meanwhile: so an image takes as long as the busier of the two, and then its writing. That
prediction is compared with whole runs of sizes that fit, and carried on to sizes and numbers of workers that
do not. Network and disk are this machine's own; a slower network makes sending slower, which has a row.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench import work
from bench.memory import default_classifier, write_image
from bench.report import Curves, Report, program, say, table
from napari_dsparse.classifier import TrainedClassifier
from napari_dsparse.files.export import export_labels
from napari_dsparse.files.parts import Parts
from napari_dsparse.images.reading import read_image
from napari_dsparse.network import densify
from napari_dsparse.prediction import plan_tiles, predict_image
from napari_dsparse.prediction.blocks import BlockGrid
from napari_dsparse.prediction.cluster import Cluster
from napari_dsparse.prediction.cluster_predictor import ClusterPredictor
from napari_dsparse.prediction.pieces import Setting, do_job, make_job, plan_pieces

#: Sizes that are told beyond those that are measured, in pixels per side, and numbers of workers.
TOLD, WORKERS = (10_000, 30_000, 100_000), (1, 10, 100)

#: Empty tasks by which the scheduler's overhead is measured.
_TASKS = 200


@dataclass(frozen=True, slots=True)
class Plan:
    """Pixels per side of the piece that is timed and of whole runs, and workers of these."""

    piece: int
    sizes: tuple[int, ...]
    workers: tuple[int, ...]


PLAN = Plan(2048, (2048, 4096), (1, 2))
QUICK = Plan(300, (300,), (1,))


@dataclass(frozen=True, slots=True)
class Rates:
    """Seconds that one piece takes, and its size.

    Parameters
    ----------
    pixels : int
        Of the piece.
    read, send, compute, keep, write : float
        Seconds: reading it, sending it and its results (both ways), computing it on one worker thread,
        keeping its results, and writing them in the end.
    task : float
        Seconds of scheduler and client per task, whatever it holds.
    sent, returned : int
        Bytes of the job and of its results.
    operations : float
        Floating-point operations, by the layers.
    """

    pixels: int
    read: float
    send: float
    compute: float
    keep: float
    write: float
    task: float
    sent: int
    returned: int
    operations: float

    @property
    def client(self) -> float:
        """Seconds that the client is busy with a piece while others compute."""
        return self.read + self.send + self.keep + self.task


def seconds(rates: Rates, size: int, workers: int) -> float:
    """Predicted seconds of an image of `size` pixels per side on so many worker threads.

    Workers take whole pieces: the last round of them may leave some without work.
    """
    pieces = size**2 / rates.pixels
    busiest = max(pieces / workers, 1.0 if pieces >= 1 else pieces)
    if pieces > workers:
        busiest = math.ceil(pieces / workers - 1e-9)
    return max(busiest * rates.compute, pieces * rates.client) + pieces * rates.write


def bound(rates: Rates, size: int, workers: int) -> str:
    """The busier side."""
    pieces = size**2 / rates.pixels
    return "workers" if pieces / workers * rates.compute >= pieces * rates.client else "client"


def most_workers(rates: Rates) -> float:
    """Worker threads beyond which the client is what an image waits for."""
    return rates.compute / rates.client


def measure(quick: bool = False) -> Report:
    """Rates of one piece, the prediction against whole runs, and what it says of larger images."""
    plan = QUICK if quick else PLAN
    torch.manual_seed(0)
    classifier = default_classifier()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rates = _rates(classifier, folder, plan.piece)
        runs = [
            (size, workers, _whole_run(classifier, folder, size, workers))
            for size in plan.sizes
            for workers in plan.workers
        ]
    numbers = {
        "rates": asdict(rates),
        "runs": [
            {"size": size, "workers": workers, "seconds": took, "predicted": seconds(rates, size, workers)}
            for size, workers, took in runs
        ],
    }
    curves = Curves(
        "cost",
        "Predicted time of 100,000 x 100,000 pixels",
        "worker threads",
        "hours",
        {"predicted": [(n, seconds(rates, 100_000, n) / 3600) for n in (1, 2, 5, 10, 20, 50, 100)]},
    )
    return Report("Cost on a cluster", _text(rates, runs), numbers, (curves,))


def _rates(classifier: TrainedClassifier, folder: Path, size: int) -> Rates:
    say(f"cost: one piece of {size} x {size}")
    source = read_image(write_image(_made(folder / "piece"), size)).source()
    tiles = plan_tiles(source.shape, classifier.spec)
    grid = BlockGrid.over(tiles, classifier.spec.block_halo)
    piece = plan_pieces(tiles)[0]
    setting = Setting.of(classifier, "cpu", "float32")
    read, job = _timed(lambda: make_job(setting, source, piece, grid, classifier.spec.local_patch))
    with _workers(1) as cluster:
        cluster.submit(do_job, job).result()  # sets the model up
        found = cluster.submit(do_job, job).result()
        returned = sum(int(one.labels.nbytes + one.painted.nbytes) for one in found)
        compute = float(cluster.submit(_seconds_of_job, job).result())
        send = min(_timed(lambda: cluster.submit(_echo, (job, returned)).result())[0] for _ in range(3))
        started = time.perf_counter()
        waiting = [cluster.submit(_nothing, number) for number in range(_TASKS)]
        for future in waiting:
            future.result()
        task = (time.perf_counter() - started) / _TASKS
    labels = np.zeros(source.shape, found[0].labels.dtype)

    def keep() -> None:
        parts = Parts(folder / "kept.zarr", {}, {"labels": (labels.shape, labels.dtype)}, resume=False)
        for number, (tile, one) in enumerate(zip(piece.tiles, found, strict=True)):
            parts.put(number, tile.slices, {"labels": one.labels})
            labels[tile.slices] = one.labels
        parts.close(keep=False)

    kept, _ = _timed(keep)
    written, _ = _timed(lambda: export_labels(folder / "labels.ome.tif", labels, classes=classifier.classes))
    weights = sum(tensor.numel() * tensor.element_size() for tensor in classifier.weights.values())
    network = densify(classifier.spec.build().eval())
    return Rates(
        pixels=piece.pixels,
        read=read,
        send=max(0.0, send - task),
        compute=compute,
        keep=kept,
        write=written,
        task=task,
        sent=int(job.pixels.nbytes) + weights,
        returned=returned,
        operations=2 * work.on_map(network, *(n + network.patch[0] - 1 for n in source.shape)),
    )


def _whole_run(classifier: TrainedClassifier, folder: Path, size: int, workers: int) -> float:
    say(f"cost: {size} x {size} on {workers} workers")
    source = read_image(write_image(_made(folder / f"{size}-{workers}"), size)).source()
    with _workers(workers) as cluster:
        predictor = ClusterPredictor(classifier, cluster)
        small = read_image(write_image(_made(folder / f"small-{size}-{workers}"), 300)).source()
        for _ in range(2 * workers):  # sets the model up, on each of them most likely
            predict_image(predictor, small)
        started = time.perf_counter()
        labels = predict_image(predictor, source).labels
        output = folder / f"{size}-{workers}.ome.tif"
        export_labels(output, labels, classes=classifier.classes)
        return time.perf_counter() - started


def _made(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    return folder


@contextmanager
def _workers(count: int) -> Iterator[Cluster]:
    """So many processes of one thread, and the connection to them."""
    from distributed import LocalCluster

    with (
        LocalCluster(
            n_workers=count,
            threads_per_worker=1,
            dashboard_address="127.0.0.1:0",
            memory_limit=None,
            silence_logs=50,
        ) as local,
        Cluster(local.scheduler_address) as cluster,
    ):
        yield cluster


def _timed(call: Callable[[], Any]) -> tuple[float, Any]:
    started = time.perf_counter()
    found = call()
    return time.perf_counter() - started, found


def _seconds_of_job(job: Any) -> float:
    """Seconds that a worker computes a job."""
    started = time.perf_counter()
    do_job(job)
    return time.perf_counter() - started


def _echo(given: tuple[Any, int]) -> Any:
    """So many bytes, once a job has arrived."""
    return np.ones(given[1], np.uint8)


def _nothing(number: int) -> int:
    return number


def _text(rates: Rates, runs: Sequence[tuple[int, int, float]]) -> str:
    parts = [
        ["reading, in the client", f"{rates.read:.3f}", f"{rates.sent / 1e6:.1f} MB sent"],
        ["sending there and back", f"{rates.send:.3f}", f"{rates.returned / 1e6:.1f} MB returned"],
        ["scheduler, per task", f"{rates.task:.4f}", ""],
        ["computing, one worker thread", f"{rates.compute:.2f}", f"{rates.operations / 1e9:.1f} GFLOP"],
        ["keeping parts, in the client", f"{rates.keep:.3f}", ""],
        ["writing in the end, in the client", f"{rates.write:.3f}", ""],
    ]
    checked = [
        [
            f"{size:,} x {size:,}",
            workers,
            f"{took:.1f}",
            f"{seconds(rates, size, workers):.1f}",
            f"{took / seconds(rates, size, workers):.2f}",
        ]
        for size, workers, took in runs
    ]
    told = [
        [
            f"{size:,} x {size:,}",
            *(f"{_duration(seconds(rates, size, n))} ({bound(rates, size, n)})" for n in WORKERS),
        ]
        for size in TOLD
    ]
    return "\n\n".join([
        f"One piece of {rates.pixels / 1e6:.2f} megapixels, the default network:",
        table(["what", "seconds", ""], parts),
        "The prediction against whole runs on this machine (worker processes of one thread):",
        table(["image", "workers", "seconds", "predicted", "ratio"], checked),
        "What it says of larger images, and which side is busier:",
        table(["image", *(f"{n} workers" for n in WORKERS)], told),
        f"Beyond {most_workers(rates):.0f} worker threads an image waits for the client, which reads, sends "
        "and keeps every piece.",
    ])  # fmt: skip


def _duration(value: float) -> str:
    return (
        f"{value:.0f} s"
        if value < 120
        else f"{value / 60:.0f} min"
        if value < 7200
        else f"{value / 3600:.1f} h"
    )


if __name__ == "__main__":
    program(__doc__, measure)
