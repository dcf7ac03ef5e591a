"""Whole-image prediction against plain PyTorch: the same network, the same map, both sides in one run.

    python -m bench.prediction [--quick] [--device auto] [--threads N] [--networks NAME,...] [--json FILE]

The plain side is what a user would write today: F.conv2d and F.max_pool2d with dilation, layer by layer.
Both sides take turns; wall times are medians, and the processor's own time stands beside them, since on a
busy machine only that measures the program. Rates count the useful multiply-adds of the output's pixels;
their share is of a large matrix product by PyTorch in the same number type, timed in between. Then, for
labels in bfloat16, the share of pixels of the bundled samples that keep their class.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from bench.kernels import describe
from bench.networks import bench_network, default_network, plain_cnn_1, plain_forward
from bench.report import Report, say, table, verdict
from bench.timing import gemm_rate
from bench.work import KINDS, REST, shares
from napari_dsparse import train
from napari_dsparse.machine.devices import PRECISIONS, pick_device
from napari_dsparse.network import DenseNetwork
from napari_dsparse.samples import SAMPLES, load

NETWORKS: dict[str, Callable[[], DenseNetwork]] = {
    "default": lambda: default_network(4),
    "bench": lambda: bench_network(4),
    "plain cnn 1": plain_cnn_1,
}

#: Most turns of both sides, and seconds after which no new one begins.
TURNS, SECONDS = 3, 8.0


@dataclass(frozen=True, slots=True)
class PredictionRow:
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
    spent: dict[str, float]  # shares of our time by kind of work; of the smallest maps only

    @property
    def rate(self) -> float:
        """Our useful FLOP/s."""
        return self.flops / self.ours


def compare(
    name: str, size: int, precision: str, device: torch.device, *, look_inside: bool
) -> PredictionRow:
    """Time both sides on one random map, and if wanted the kinds of work on ours."""
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
    return PredictionRow(
        name, size, precision, len(times), flops, gemm,
        wall, plain_wall, processor, plain_processor, difference,
        shares(lambda: network(x)) if look_inside else {},
    )  # fmt: skip


def _timed(call: Callable[[], Tensor], device: torch.device) -> tuple[Tensor, float, float]:
    """Result of `call`, its wall time, and its time summed over all processors."""
    wall, processor = time.perf_counter(), time.process_time()
    result = call()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return result, time.perf_counter() - wall, time.process_time() - processor


def label_agreement() -> Iterator[tuple[str, float]]:
    """Share of a sample's pixels with the same class in bfloat16 as in float32."""
    for name in SAMPLES:
        sample = load(name)
        model = train(sample.image, sample.strokes, seed=0, device="cpu")
        exact, rough = (model.predict(sample.image, device="cpu", precision=p) for p in PRECISIONS)
        yield name, float((exact == rough).mean())


HEADER = (
    "network", "map", "precision", "turns", "ours (s)", "plain (s)", "faster", "target", "by processor time",
    "GFLOP/s", "of GEMM", "target", "largest difference",
)  # fmt: skip

#: Targets of whole maps of `TARGET_SIZE` pixels per side: times plain PyTorch's speed by precision, for
#: `bench`, and the share of the matrix product's rate in float32.
TARGET_SIZE, RATIO_TARGETS, RATE_TARGET = 2048, {"float32": 3.0, "bfloat16": 4.0}, 0.85
RATE_NETWORKS = "bench", "default"


def cells(row: PredictionRow) -> tuple[str, ...]:
    """A row of the table."""
    ratio, share = row.plain / row.ours, row.rate / row.gemm
    judged = row.size == TARGET_SIZE and row.network == "bench"
    rate_judged = row.size == TARGET_SIZE and row.network in RATE_NETWORKS and row.precision == "float32"
    return (
        row.network, f"{row.size} x {row.size}", row.precision, str(row.turns), f"{row.ours:.2f}",
        f"{row.plain:.2f}", f"{ratio:.1f} x",
        verdict(ratio, least=RATIO_TARGETS[row.precision]) if judged else "-",
        f"{row.plain_processor / row.ours_processor:.1f} x", f"{row.rate / 1e9:.0f}", f"{share:.0%}",
        verdict(share, least=RATE_TARGET) if rate_judged else "-",
        f"{row.largest_difference:.1e}",
    )  # fmt: skip


def compare_all(
    sizes: Sequence[int], networks: Sequence[str], device: torch.device
) -> Iterator[PredictionRow]:
    """Rows, one at a time."""
    with torch.inference_mode():
        for size in sizes:
            for precision in PRECISIONS:
                for name in networks:
                    yield compare(name, size, precision, device, look_inside=size == min(sizes))


def measure_report(quick: bool = False) -> Report:
    """Everything at its default settings."""
    say("whole maps")
    rows = list(compare_all((240,) if quick else (1024, 2048), tuple(NETWORKS), pick_device("cpu")))
    agreement = dict(label_agreement())
    text = "\n\n".join((table(HEADER, map(cells, rows)), shares_table(rows), agreement_table(agreement)))
    return Report("Whole images", text, {"rows": [asdict(row) for row in rows], "agreement": agreement})


def shares_table(rows: Sequence[PredictionRow]) -> str:
    """Breakdown of our time by kind of work, for the rows that have one."""
    known = [row for row in rows if row.spent]
    kinds = [kind for kind in (*KINDS, REST) if any(row.spent[kind] >= 0.005 for row in known)]
    lines = [
        (
            row.network,
            f"{row.size} x {row.size}",
            row.precision,
            *(f"{row.spent[kind]:.0%}" for kind in kinds),
        )
        for row in known
    ]
    header = ("network", "map", "precision", *kinds)
    return f"What ours spends its time on, by PyTorch's profiler:\n\n{table(header, lines)}"


def agreement_table(agreement: Mapping[str, float]) -> str:
    """Shares of pixels whose class bfloat16 keeps, by sample."""
    shares = [(name, f"{share:.3%}") for name, share in agreement.items()]
    return table(("sample", "same class in bfloat16 as in float32"), shares)


def main(words: list[str] | None = None) -> None:
    """Print the table."""
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--quick", action="store_true", help="small maps: a look, not a measurement")
    options.add_argument("--device", default="auto")
    options.add_argument("--threads", type=int, help="torch threads (default: torch's own)")
    options.add_argument("--networks", default=",".join(NETWORKS), help="names, comma-separated")
    options.add_argument("--sizes", help="pixels per side, comma-separated (default 1024,2048)")
    options.add_argument("--json", type=Path, help="file to write all rows to")
    chosen = options.parse_args(words)
    if chosen.threads:
        torch.set_num_threads(chosen.threads)
    device = pick_device(chosen.device)
    sizes = [int(s) for s in (chosen.sizes or ("256" if chosen.quick else "1024,2048")).split(",")]
    machine = describe(device) | {"cores": str(os.cpu_count())}
    for name, value in machine.items():
        print(f"{name:>10}: {value}")
    print("\n" + table(HEADER, ()), flush=True)
    rows = []
    for row in compare_all(sizes, chosen.networks.split(","), device):
        rows.append(row)
        print(f"| {' | '.join(cells(row))} |", flush=True)
    print(f"\n{shares_table(rows)}")
    agreement = dict(label_agreement())
    print(f"\n{agreement_table(agreement)}")
    if chosen.json:
        report = {"machine": machine, "rows": [asdict(row) for row in rows], "agreement": agreement}
        chosen.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
