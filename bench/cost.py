"""Cost of a whole image on a cluster: what one piece takes, and what that makes of any size and any workers.

    python -m bench.cost [--quick] [--threads N] [--json FILE] [--plots FOLDER]

One piece is read, sent to a worker process of this machine, computed there with one thread, sent back and
kept; each of these is timed by itself, and computing once more with all surroundings known, which tells what
a block of local scores takes and what a tile. How many blocks, tiles, pieces and bytes an image takes on so
many workers is counted by sharing it out as the program does, both ways: workers that see the image's file
read it themselves, and are sent its pixels otherwise. The client does the rest, one piece after another, and
workers compute meanwhile: so an image takes as long as the busiest of them, and then its writing. That
prediction is compared with whole runs of sizes that fit, where all share this machine's cores, and carried on
to sizes and numbers of workers that do not. Network and disk are this machine's own.
"""

from __future__ import annotations

import pickle
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench import work
from bench.memory import default_classifier, write_image
from bench.report import Curves, Report, program, say, table
from bench.shares import Counts, count, pixels_sent, warm_up
from napari_dsparse.classifier import NetworkSpec, TrainedClassifier
from napari_dsparse.files.export import export_labels
from napari_dsparse.files.parts import Parts
from napari_dsparse.images.reading import read_image
from napari_dsparse.images.reference import refer_to
from napari_dsparse.machine.cores import available_cores
from napari_dsparse.network import densify
from napari_dsparse.prediction import plan_tiles, predict_image
from napari_dsparse.prediction.blocks import BlockGrid
from napari_dsparse.prediction.cluster import Cluster, local_workers
from napari_dsparse.prediction.cluster_predictor import ClusterPredictor
from napari_dsparse.prediction.pieces import Piece, Setting, do_job, make_job

#: Numbers of workers that are told, and drawn.
WORKERS, _DRAWN = (1, 10, 100), (1, 2, 5, 10, 20, 50, 100)

#: Ways of pixels to workers, and whether they go through the client.
WAYS = {"read by workers": False, "sent": True}

#: Empty tasks by which the scheduler's overhead is measured.
_TASKS = 200


@dataclass(frozen=True, slots=True)
class Plan:
    """Pixels per side of the piece that is timed, of whole runs and their workers, and of those told."""

    piece: int
    sizes: tuple[int, ...]
    workers: tuple[int, ...]
    told: tuple[int, ...]


PLAN = Plan(1300, (2048, 4096), (1, 2), (10_000, 30_000, 100_000))
QUICK = Plan(300, (300,), (1,), (1000,))


@dataclass(frozen=True, slots=True)
class Rates:
    """Seconds of the parts of a whole run.

    Parameters
    ----------
    block, tile : float
        Seconds of one worker thread per block of local scores, and per tile beside its blocks.
    read : float
        Seconds of whoever reads, per megapixel.
    send, keep, write : float
        Seconds of the client per megapixel: sent with its results coming back, kept as a part of the result,
        and written in the end.
    task : float
        Seconds of scheduler and client per piece, whatever it holds.
    operations : float
        Floating-point operations per block, by the layers.
    refer, result : float
        Seconds of the client for what travels where workers read: model and reference, per piece, and
        results, per megapixel.
    referred : int
        Bytes of a piece without pixels.
    """

    block: float
    tile: float
    read: float
    send: float
    keep: float
    write: float
    task: float
    operations: float
    refer: float = 0.0
    result: float = 0.0
    referred: int = 0


def client_seconds(rates: Rates, counts: Counts, *, shipped: bool = True) -> float:
    """Seconds that the client is busy while others compute, with pixels `shipped` or read by workers."""
    moved = (
        (rates.read + rates.send) * counts.sent
        if shipped
        else rates.refer * counts.pieces + rates.result * counts.megapixels
    )
    return rates.task * counts.pieces + moved + rates.keep * counts.megapixels


def worker_seconds(rates: Rates, counts: Counts, *, shipped: bool = True) -> float:
    """Seconds that the busiest worker computes, and reads where pixels are not `shipped`."""
    read = 0.0 if shipped else rates.read * counts.sent * counts.busiest_tiles / counts.tiles
    return rates.block * counts.busiest_blocks + rates.tile * counts.busiest_tiles + read


def seconds(rates: Rates, counts: Counts, cores: int | None = None, *, shipped: bool = True) -> float:
    """Predicted seconds of an image; of `cores` that client and workers share, if it is not a cluster."""
    client, worker = (part(rates, counts, shipped=shipped) for part in (client_seconds, worker_seconds))
    shared = 0.0
    if cores is not None:
        read = 0.0 if shipped else rates.read * counts.sent
        shared = (rates.block * counts.blocks + rates.tile * counts.tiles + read + client) / cores
    return max(client, worker, shared) + rates.write * counts.megapixels


def bound(rates: Rates, counts: Counts, *, shipped: bool = True) -> str:
    """The busier side."""
    client, worker = (part(rates, counts, shipped=shipped) for part in (client_seconds, worker_seconds))
    return "workers" if worker >= client else "client"


def measure(quick: bool = False) -> Report:
    """Rates of one piece, the prediction against whole runs, and what it says of larger images."""
    plan = QUICK if quick else PLAN
    torch.manual_seed(0)
    classifier = default_classifier()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rates = _rates(classifier, folder, plan.piece)
        runs = [
            (size, workers, way, took)
            for size in plan.sizes
            for workers in plan.workers
            for way, took in _whole_runs(classifier, folder, size, workers)
        ]
    spec = classifier.spec
    numbers = {
        "rates": asdict(rates),
        "runs": [
            {
                "size": size,
                "workers": workers,
                "pixels": way,
                "seconds": took,
                "predicted": seconds(rates, count(spec, size, workers), available_cores(), shipped=WAYS[way]),
            }
            for size, workers, way, took in runs
        ],
    }
    largest = plan.told[-1]
    curves = Curves(
        "cost",
        f"Predicted time of {largest:,} x {largest:,} pixels",
        "worker threads",
        "hours",
        {
            f"pixels {way}": [
                (n, seconds(rates, count(spec, largest, n), shipped=shipped) / 3600) for n in _DRAWN
            ]
            for way, shipped in WAYS.items()
        },
    )
    return Report("Cost on a cluster", _text(rates, runs, spec, plan), numbers, (curves,))


def _rates(classifier: TrainedClassifier, folder: Path, size: int) -> Rates:
    say(f"cost: one piece of {size} x {size}")
    source = read_image(write_image(_made(folder / "piece"), size)).source()
    tiles = plan_tiles(source.shape, classifier.spec)
    grid = BlockGrid.over(tiles, classifier.spec.block_halo)
    piece = Piece(tiles)
    setting = Setting.of(classifier, "cpu", "float32")
    read, job = _timed(lambda: make_job(setting, source, piece, grid, image="piece", maps=()))
    referred = replace(job, pixels=refer_to(source))
    with _workers(1) as cluster:
        (worker,) = cluster.threads()
        cluster.submit(do_job, replace(job, image="other"), worker).result()  # sets the model up
        compute = float(cluster.submit(_seconds_of_job, job, worker).result())
        known = float(cluster.submit(_seconds_of_job, job, worker).result())
        found = cluster.submit(do_job, job, worker).result()
        returned = sum(int(one.labels.nbytes) for one in found)
        send, refer, both = (
            min(
                _timed(lambda given=given: cluster.submit(_echo, given, worker).result())[0] for _ in range(5)
            )
            for given in ((job, returned), (referred, 0), (referred, returned))
        )
        started = time.perf_counter()
        waiting = [cluster.submit(_nothing, number, worker) for number in range(_TASKS)]
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
    network = densify(classifier.spec.build().eval())
    blocks, sent = len(piece.blocks(grid)), pixels_sent(piece, grid, classifier.spec) / 1e6
    edges = (n + network.patch[0] - 1 for n in source.shape)
    return Rates(
        block=max(0.0, compute - known) / blocks,
        tile=known / len(tiles),
        read=read / sent,
        send=max(0.0, send - task) / sent,
        keep=kept / piece.pixels * 1e6,
        write=written / piece.pixels * 1e6,
        task=task,
        operations=2 * work.on_map(network, *edges) / blocks,
        refer=max(0.0, refer - task),
        result=max(0.0, both - refer) / piece.pixels * 1e6,
        referred=len(pickle.dumps(referred)),
    )


def _whole_runs(
    classifier: TrainedClassifier, folder: Path, size: int, workers: int
) -> Iterator[tuple[str, float]]:
    """Seconds of an image on so many workers, in each of `WAYS`."""
    source = read_image(write_image(_made(folder / f"{size}-{workers}"), size)).source()
    with _workers(workers) as cluster:
        predictor = ClusterPredictor(classifier, cluster)
        small = read_image(write_image(_made(folder / f"small-{size}-{workers}"), 300)).source()
        warm_up(cluster, classifier, small)
        for way, shipped in WAYS.items():
            say(f"cost: {size} x {size} on {workers} workers, pixels {way}")
            output = folder / f"{size}-{workers}-{shipped}.ome.tif"
            started = time.perf_counter()
            labels = predict_image(predictor, replace(source, origin=None) if shipped else source).labels
            export_labels(output, labels, classes=classifier.classes)
            yield way, time.perf_counter() - started


def _made(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    return folder


@contextmanager
def _workers(count: int) -> Iterator[Cluster]:
    """So many processes of one thread, and the connection to them."""
    with local_workers(count) as address, Cluster(address) as cluster:
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


def _text(rates: Rates, runs: Sequence[tuple[int, int, str, float]], spec: NetworkSpec, plan: Plan) -> str:
    parts = [
        [
            "a worker thread, per block of local scores",
            f"{1e3 * rates.block:.0f}",
            f"{rates.operations / 1e9:.1f} GFLOP",
        ],
        ["a worker thread, per tile beside its blocks", f"{1e3 * rates.tile:.0f}", ""],
        ["client or worker, reading, per megapixel", f"{1e3 * rates.read:.1f}", ""],
        ["client, sending pixels and taking results, per megapixel sent", f"{1e3 * rates.send:.1f}", ""],
        ["client and scheduler, per piece", f"{1e3 * rates.task:.1f}", ""],
        [
            "client, sending a model and a reference, per piece",
            f"{1e3 * rates.refer:.1f}",
            f"{rates.referred / 1e6:.2f} MB",
        ],
        ["client, taking results of what workers read, per megapixel", f"{1e3 * rates.result:.1f}", ""],
        ["client, keeping parts, per megapixel", f"{1e3 * rates.keep:.1f}", ""],
        ["client, writing in the end, per megapixel", f"{1e3 * rates.write:.1f}", ""],
    ]
    cores = available_cores()
    checked = []
    for size, workers, way, took in runs:
        predicted = seconds(rates, count(spec, size, workers), cores, shipped=WAYS[way])
        checked.append([
            f"{size:,} x {size:,}", workers, way,
            f"{took:.1f}", f"{predicted:.1f}", f"{took / predicted:.2f}",
        ])  # fmt: skip
    told, counted = [], []
    for size in plan.told:
        found = [count(spec, size, number) for number in WORKERS]
        told += [
            [
                f"{size:,} x {size:,}",
                way,
                *(_foretold(rates, one, shipped) for one in found),
            ]
            for way, shipped in WAYS.items()
        ]
        counted += [
            [
                f"{size:,} x {size:,}",
                workers,
                f"{one.pieces:,}",
                f"{one.sent / one.megapixels:.2f}",
                f"{one.sent / one.pieces + rates.referred / 1e6:.2f}",
                f"{rates.referred / 1e6:.2f}",
                f"{one.megapixels / one.pieces:.2f}",
                f"{one.blocks / found[0].blocks:.2f}",
                f"{found[0].blocks / workers / one.busiest_blocks:.2f}",
                f"{one.blocks * rates.operations / 1e15:.2f}",
                f"{one.pieces * rates.task:.1f}",
            ]
            for workers, one in zip(WORKERS, found, strict=True)
        ]
    return "\n\n".join([
        f"The default network, {spec.classes} classes, one channel of one byte, labels alone:",
        table(["work of", "ms", ""], parts),
        f"The prediction against whole runs, client and worker processes of one thread on {cores} cores:",
        table(["image", "workers", "pixels", "seconds", "predicted", "ratio"], checked),
        "Predictions for workers on machines of their own, and which side is busier:",
        table(["image", "pixels", *(f"{n} workers" for n in WORKERS)], told),
        "Counted for these: pixels read per pixel of the image, megabytes through the client per piece (with "
        "pixels, without, and back), blocks over those of one worker, throughput per worker by the blocks of "
        "the busiest, and seconds of the scheduler in all:",
        table(
            ["image", "workers", "pieces", "read", "MB, sent", "MB, read by workers", "MB, back", "blocks",
             "per worker", "PFLOP", "scheduler (s)"],
            counted,
        ),
    ])  # fmt: skip


def _foretold(rates: Rates, counts: Counts, shipped: bool) -> str:
    took = _duration(seconds(rates, counts, shipped=shipped))
    return f"{took} ({bound(rates, counts, shipped=shipped)})"


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
