"""Whole-image prediction against plain PyTorch: the same network, the same map, both sides in one run.

    python -m bench.prediction [--quick] [--device auto] [--threads N] [--networks NAME,...] [--json FILE]

The plain side is what a user would write today: F.conv2d and F.max_pool2d with dilation, layer by layer.
Both sides take turns; wall times are medians, and the processor's own time stands beside them, since on a
busy machine only that is the program's. Rates count the useful multiply-adds of the output's pixels; their
share is of a large matrix product by PyTorch in the same number type, timed in between. Then, for labels in
bfloat16, how many pixels of the bundled samples keep their class.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from bench.kernels import describe
from bench.networks import bench_network, default_network, plain_cnn_1, plain_forward
from bench.timing import gemm_rate
from napari_dsparse import train
from napari_dsparse.network import DenseNetwork
from napari_dsparse.ops.devices import PRECISIONS, pick_device
from napari_dsparse.samples import SAMPLES, load

NETWORKS: dict[str, Callable[[], DenseNetwork]] = {
    "default": lambda: default_network(4),
    "bench": lambda: bench_network(4),
    "plain cnn 1": plain_cnn_1,
}

#: Turns of both sides: at most so many, and no new one after so many seconds.
TURNS, SECONDS = 3, 8.0


@dataclass(frozen=True, slots=True)
class Row:
    """Both sides of one comparison; wall and processor seconds, and FLOP/s of a matrix product."""

    network: str
    size: int
    precision: str
    turns: int
    flops: float
    gemm: float
    ours: float
    plain: float
    ours_processor: float
    plain_processor: float
    largest_difference: float

    @property
    def rate(self) -> float:
        """Our useful FLOP/s."""
        return self.flops / self.ours


def compare(name: str, size: int, precision: str, device: torch.device) -> Row:
    """Time both sides on one random map."""
    dtype = PRECISIONS[precision]
    network = NETWORKS[name]().to(device, dtype)
    channels = next(m.in_channels for m in network.modules() if isinstance(m, nn.Conv2d))
    x = torch.randn(1, channels, size, size, device=device).to(dtype)
    small = x[:, :, : network.patch[0] + 64, : network.patch[1] + 64]
    network(small), plain_forward(network, small)
    times: list[tuple[float, ...]] = []
    end = time.perf_counter() + SECONDS
    while not times or (len(times) < TURNS and time.perf_counter() < end):
        product = gemm_rate(device, dtype)
        ours, *our_times = _timed(lambda: network(x), device)
        plain, *plain_times = _timed(lambda: plain_forward(network, x), device)
        times.append((product, *our_times, *plain_times))
    difference = float((ours.float() - plain.float()).abs().max())
    gemm, wall, processor, plain_wall, plain_processor = map(statistics.median, zip(*times, strict=True))
    weights = [s.module.weight for s in network.geometry.steps if isinstance(s.module, nn.Conv2d)]
    flops = 2.0 * sum(w.numel() for w in weights) * ours.shape[2] * ours.shape[3]
    return Row(
        name, size, precision, len(times), flops, gemm,
        wall, plain_wall, processor, plain_processor, difference,
    )  # fmt: skip


def _timed(call: Callable[[], Tensor], device: torch.device) -> tuple[Tensor, float, float]:
    """What `call` gives, its wall time, and the time of all processors on it."""
    wall, processor = time.perf_counter(), time.process_time()
    result = call()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return result, time.perf_counter() - wall, time.process_time() - processor


def label_agreement(steps: int) -> Iterator[tuple[str, float]]:
    """Share of a sample's pixels with the same class in bfloat16 as in float32, after a short training."""
    for name in SAMPLES:
        sample = load(name)
        model = train(sample.image, sample.strokes, steps=steps, seed=0, device="cpu")
        exact, rough = (model.predict(sample.image, device="cpu", precision=p) for p in PRECISIONS)
        yield name, float((exact == rough).mean())


HEADER = """
| network | map | precision | turns | ours (s) | plain (s) | faster | by processor time | GFLOP/s | of GEMM | largest difference |
|---|---|---|---|---|---|---|---|---|---|---|"""  # noqa: E501


def line(row: Row) -> str:
    """A row of the table."""
    of_processors = row.plain_processor / row.ours_processor
    return (
        f"| {row.network} | {row.size} x {row.size} | {row.precision} | {row.turns} | {row.ours:.2f} "
        f"| {row.plain:.2f} | {row.plain / row.ours:.1f} x | {of_processors:.1f} x "
        f"| {row.rate / 1e9:.0f} | {row.rate / row.gemm:.0%} | {row.largest_difference:.1e} |"
    )


def main(words: list[str] | None = None) -> None:
    """Print the table."""
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--quick", action="store_true", help="small maps: a look, not a measurement")
    options.add_argument("--device", default="auto")
    options.add_argument("--threads", type=int, help="torch threads (default: torch's own)")
    options.add_argument("--networks", default=",".join(NETWORKS), help="names, comma-separated")
    options.add_argument("--sizes", help="pixels a side, comma-separated (default 1024,2048)")
    options.add_argument("--json", type=Path, help="file to write all rows to")
    chosen = options.parse_args(words)
    if chosen.threads:
        torch.set_num_threads(chosen.threads)
    device = pick_device(chosen.device)
    sizes = [int(s) for s in (chosen.sizes or ("256" if chosen.quick else "1024,2048")).split(",")]
    machine = describe(device) | {"cores": str(os.cpu_count())}
    for name, value in machine.items():
        print(f"{name:>10}: {value}")
    print(HEADER, flush=True)
    rows = []
    with torch.inference_mode():
        for size in sizes:
            for precision in PRECISIONS:
                for name in chosen.networks.split(","):
                    rows.append(compare(name, size, precision, device))
                    print(line(rows[-1]), flush=True)
    agreement = dict(label_agreement(10 if chosen.quick else 100))
    print("\nPixels with the same class in bfloat16 as in float32:")
    for name, share in agreement.items():
        print(f"  {name}: {share:.3%}")
    if chosen.json:
        report = {"machine": machine, "rows": [asdict(row) for row in rows], "agreement": agreement}
        chosen.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
