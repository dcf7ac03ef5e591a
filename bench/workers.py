"""Two worker processes of one thread against one process of two threads, in alternating runs.

    python -m bench.workers [--quick] [--sizes 2048,4096] [--pairs N] [--json FILE] [--plots FOLDER]

The default network segments a uint8 image from disk into an array. Every run is a process of its own, warmed
up on a small image before the clock starts; workers are started before, too, and read the image themselves.
Blocks of local scores are counted where they are computed, and bytes (of the model, too) where they are sent,
beside those that would be sent to workers that do not see the file. Where other work shares the machine,
threads of one process wait for each other, and which waiting is chosen decides their time: so the one process
is run as OpenMP waits by itself (it spins) and with OMP_WAIT_POLICY=passive (it sleeps).
"""

from __future__ import annotations

import json
import math
import os
import pickle
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.memory import default_classifier, write_image
from bench.report import Curves, Report, program, say, several, table, verdict
from bench.shares import count, warm_up
from napari_dsparse.images.reading import read_image
from napari_dsparse.images.reference import ImageReference
from napari_dsparse.prediction import Predictor, TilePredictor, predict_image
from napari_dsparse.prediction.cluster import Cluster, local_workers
from napari_dsparse.prediction.cluster_predictor import ClusterPredictor

#: Throughput of two workers that is wanted, over that of one process with two threads.
TARGET = 0.9

#: Threads, and workers of one thread.
_TWO = 2

#: The sides that are compared, and what OpenMP is told there.
_SIDES = {"workers": {}, "threads": {}, "threads, passive": {"OMP_WAIT_POLICY": "passive"}}

_computed = 0


@dataclass(frozen=True, slots=True)
class Run:
    """One image on one side.

    Parameters
    ----------
    size : int
        Pixels per side.
    side : str
        One of `_SIDES`.
    seconds, processor : float
        By the clock, and of all processes and threads together.
    blocks, sent, shipped, returned : int
        Blocks of local scores, bytes to workers, bytes if pixels went with them, and bytes back.
    load : float
        Of the machine, before.
    """

    size: int
    side: str
    seconds: float
    processor: float
    blocks: int
    sent: int
    shipped: int
    returned: int
    load: float


def measure(quick: bool = False, sizes: list[int] | None = None, pairs: int = 3) -> Report:
    """Alternating runs of all sides on images of `sizes` pixels per side."""
    sizes, pairs = ([300], 1) if quick else (sizes or [2048, 4096], pairs)
    runs = []
    for size in sizes:
        with tempfile.TemporaryDirectory() as folder:
            image = write_image(Path(folder), size)
            for number in range(pairs):
                for side in list(_SIDES)[:: 1 if number % 2 == 0 else -1]:
                    say(f"workers: {size} x {size}, {side}")
                    runs.append(Run(size=size, side=side, load=os.getloadavg()[0], **_alone(image, side)))
    series = {side: [(size, size**2 / 1e6 / _median(runs, size, side)) for size in sizes] for side in _SIDES}
    curves = Curves(
        "workers", "Two workers and two threads", "pixels per side", "megapixels per second", series
    )
    return Report(
        "Two workers",
        _text(runs, sizes),
        {"runs": [asdict(run) for run in runs]},
        (curves,) * (len(sizes) > 1),
    )


def _alone(image: Path, side: str) -> dict[str, Any]:
    """Results of `segment` in a process of its own."""
    code = (
        "import json, sys; from bench.workers import segment; "
        "print(json.dumps(segment(sys.argv[1], sys.argv[2])))"
    )
    threads = "1" if side == "workers" else str(_TWO)
    done = subprocess.run(
        [sys.executable, "-c", f"if __name__ == '__main__': {code}", str(image), side],
        env={**os.environ, "OMP_NUM_THREADS": threads, **_SIDES[side]},
        cwd=Path(__file__).parents[1],
        stdout=subprocess.PIPE,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def segment(image: str, side: str) -> dict[str, Any]:
    """Segment an image file on one side, in this process, and return facts on that."""
    torch.manual_seed(0)
    classifier = default_classifier()
    source = read_image(Path(image)).source()
    with tempfile.TemporaryDirectory() as folder:
        small = read_image(write_image(Path(folder), 300)).source()
        if side != "workers":
            predictor = Predictor(classifier, "cpu")
            predict_image(predictor, small)
            count_blocks()
            return {
                **_timed(predictor, source, time.process_time),
                "blocks": blocks_counted(),
                "sent": 0,
                "shipped": 0,
                "returned": 0,
            }
        with _cluster() as (cluster, on_workers):
            there = ClusterPredictor(classifier, cluster, "cpu")
            warm_up(cluster, classifier, small)
            on_workers(count_blocks)
            sent, shipped, returned = _followed(cluster)
            found = _timed(
                there, source, lambda: time.process_time() + sum(on_workers(time.process_time).values())
            )
            return {
                **found,
                "blocks": sum(on_workers(blocks_counted).values()),
                "sent": sum(sent),
                "shipped": sum(shipped),
                "returned": sum(returned),
            }


def _timed(predictor: TilePredictor, source: Any, processor: Callable[[], float]) -> dict[str, Any]:
    before, started = processor(), time.perf_counter()
    predict_image(predictor, source)
    return {"seconds": time.perf_counter() - started, "processor": processor() - before}


def _followed(cluster: Cluster) -> tuple[list[int], list[int], list[int]]:
    """Lists of the bytes of each piece from now on: as it is sent, with its pixels, and of its results."""
    sent: list[int] = []
    shipped: list[int] = []
    returned: list[int] = []
    submit = cluster.submit

    def counted(function: Callable[..., Any], job: Any, worker: str) -> Any:
        sent.append(len(pickle.dumps(job)))
        pixels = math.prod(stop - start for start, stop in (job.window.rows, job.window.columns))
        shipped.append(sent[-1] + pixels * isinstance(job.pixels, ImageReference))  # one channel of one byte
        returned.append(
            sum((tile.rows[1] - tile.rows[0]) * (tile.columns[1] - tile.columns[0]) for tile in job.tiles)
            * (1 + 4 * len(job.maps))
        )
        return submit(function, job, worker)

    cluster.submit = counted  # type: ignore[method-assign]
    return sent, shipped, returned


def count_blocks() -> None:
    """Count the blocks of local scores that this process computes from now on."""
    features = Predictor._features

    def counting(predictor: Predictor, *arguments: Any) -> Any:
        global _computed
        _computed += 1
        return features(predictor, *arguments)

    Predictor._features = counting  # type: ignore[method-assign]


def blocks_counted() -> int:
    """Blocks that were computed since `count_blocks`."""
    return _computed


@contextmanager
def _cluster() -> Iterator[tuple[Cluster, Callable[..., Any]]]:
    """Two worker processes of one thread, and a function that calls another on each of them."""
    from distributed import Client

    with (
        local_workers(_TWO) as address,
        Client(address, set_as_default=False) as client,
        Cluster(address, wait=300) as cluster,
    ):
        client.wait_for_workers(_TWO, timeout=300)
        yield cluster, client.run


def _median(runs: list[Run], size: int, side: str, what: str = "seconds") -> float:
    return statistics.median(getattr(run, what) for run in runs if (run.size, run.side) == (size, side))


def _text(runs: list[Run], sizes: list[int]) -> str:
    rows, counts = [], []
    spec = default_classifier().spec
    for size in sizes:
        for side in _SIDES:
            mine = [run for run in runs if (run.size, run.side) == (size, side)]
            ratio = _median(runs, size, side) / _median(runs, size, "workers")
            judged = verdict(ratio, least=TARGET) if side != "workers" else "-"
            work = _median(runs, size, side, "processor") / _median(runs, size, "workers", "processor")
            rows.append([
                f"{size:,} x {size:,}", side, ", ".join(f"{run.seconds:.0f}" for run in mine),
                ", ".join(f"{run.load:.1f}" for run in mine), f"{ratio:.2f}", judged,
                ", ".join(f"{run.processor:.0f}" for run in mine), f"{work:.2f}",
            ])  # fmt: skip
        alone = [run.blocks for run in runs if (run.size, run.side) == (size, "threads")]
        mine = [run for run in runs if (run.size, run.side) == (size, "workers")]
        foreseen = count(spec, size, 1).blocks / _TWO / count(spec, size, _TWO).busiest_blocks
        counts.append([
            f"{size:,} x {size:,}", statistics.median(alone),
            statistics.median(run.blocks for run in mine),
            f"{foreseen:.2f}",
            f"{np.median([run.sent for run in mine]) / size**2:.2f}",
            f"{np.median([run.shipped for run in mine]) / size**2:.2f}",
            f"{np.median([run.returned for run in mine]) / size**2:.2f}",
        ])  # fmt: skip
    return "\n\n".join([
        "The default network; throughput of two workers is the median time of a side over theirs. Where "
        "other work shares the machine, seconds of the processor say more, spinning aside:",
        table(
            ["image", "side", "seconds", "load before", "throughput of workers", "target",
             "processor (s)", "the same of these"],
            rows,
        ),
        "Counted: blocks of local scores, the ratio that they allow, and bytes per pixel:",
        table(
            ["image", "blocks, one process", "two workers", "ratio by blocks", "sent", "with pixels",
             "returned"],
            counts,
        ),
    ])  # fmt: skip


if __name__ == "__main__":
    program(
        __doc__,
        measure,
        own={"sizes": (several(int), "pixels per side"), "pairs": (int, "runs of each side")},
    )
