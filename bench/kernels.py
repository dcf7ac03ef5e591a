"""Check and time every operator on this machine.

    python -m bench.kernels [--device auto] [--size N] [--output FILE]

First the checks: every operator against float64 on fresh random inputs, products of integers bit for
bit, the same bits at every run, a launch from a fresh thread, capture in a CUDA graph. Then medians against
what a user would write today (PyTorch's own dilated layers, plain and channels-last, deterministic and not),
and as a share of this device's own copy bandwidth and matrix-product rate; and whether that meets the targets
(`bench.targets`). Kernels are required: nothing falls back silently. Without a GPU the operators' plain
PyTorch form is checked and timed at smaller sizes, and targets that were not measured are listed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import torch

from bench import checks
from bench.measurements import measure
from bench.report import Report, say, table
from bench.targets import verdicts
from bench.timing import copy_bandwidth, gemm_rate
from napari_dsparse.machine.devices import pick_device
from napari_dsparse.ops.dispatch import services

NEEDS_A_GPU = (
    "operators against float64 in CUDA kernels",
    "bits of wide average pools against a processor's",
    "golden vectors of the matrix instructions",
    "launch from a fresh thread into a CUDA stream",
    "capture in a CUDA graph",
)


def main(words: list[str] | None = None) -> int:
    """Run everything; 1 if a check failed."""
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--device", default="auto")
    options.add_argument("--size", type=int, help="pixels per side of a map (2048 on a GPU, 96 elsewhere)")
    options.add_argument("--seconds", type=float, default=0.5, help="spent on each time (default 0.5)")
    options.add_argument("--output", type=Path, help="where to write the results as JSON")
    chosen = options.parse_args(words)
    device = pick_device(chosen.device)
    on_gpu = device.type == "cuda"
    size = chosen.size or (2048 if on_gpu else 96)
    torch.backends.cudnn.benchmark = True
    if on_gpu:
        os.environ["DSPARSE_KERNELS"] = "require"
        torch.cuda.set_device(device)  # graphs and events are the current device's

    machine = describe(device)
    for name, value in machine.items():
        print(f"{name:>10}: {value}")
    for service in services(device):
        print(f"  {service.operator:26} {service.kernel or 'plain PyTorch: ' + service.reason}")

    print("\nChecks")
    results = []
    for what, holds, detail in run_checks(device):
        results.append({"check": what, "holds": holds, "detail": detail})
        print(f"  {'ok    ' if holds else 'FAILED'} {what} {detail and f'({detail})'}")

    print(f"\nTimes: medians, maps of {size} x {size}")
    rates = device_rates(device)
    for name, rate in rates.items():
        print(f"  this device: {name:9} {rate / 1e12:8.3f} T{'B' if name == 'copy' else 'FLOP'}/s")
    rows = []
    for row in measure(device, size, rates, chosen.seconds):
        rows.append(row)
        against = ", ".join(
            f"{name} fails" if seconds is None else f"{seconds / row.seconds:.1f} x {name}"
            for name, seconds in row.others.items()
        )
        shares = (
            ""
            if row.rate_share is None
            else f"{row.bandwidth_share:4.0%} of copy {row.rate_share:4.0%} of GEMM"
        )
        print(
            f"  {row.name:42} {row.arithmetic:9} {row.seconds * 1e3:9.3f} ms  {shares:28}  {against}",
            flush=True,
        )
    print("\nTargets")
    targets = dict(verdicts(rows, on_gpu=on_gpu, size=size))
    for what, verdict in targets.items():
        print(f"  {verdict:40} {what}")
    missing = [] if on_gpu else list(NEEDS_A_GPU)
    if missing:
        print("\nNot measured, for want of a CUDA device:")
        for what in missing:
            print(f"  {what}")
    if chosen.output:
        report = {
            "machine": machine,
            "size": size,
            "checks": results,
            "rates": rates,
            "times": [asdict(row) for row in rows],
            "targets": targets,
            "not_measured": missing,
        }
        chosen.output.write_text(json.dumps(report, indent=1) + "\n")
    return 0 if all(result["holds"] for result in results) else 1


def measure_report(quick: bool = False) -> Report:
    """The operators' checks and times on the present device, as a table."""
    device = pick_device("auto")
    on_gpu = device.type == "cuda"
    size = 70 if quick else 2048 if on_gpu else 96
    say(f"operators on {device}")
    checked = list(run_checks(device))
    failed = [what for what, holds, _ in checked if not holds]
    rows = list(measure(device, size, device_rates(device), 0 if quick else 0.2))
    lines = [
        (
            row.name,
            row.arithmetic,
            f"{row.seconds * 1e3:.3f}",
            ", ".join(
                f"{name} fails" if seconds is None else f"{seconds / row.seconds:.1f} x {name}"
                for name, seconds in row.others.items()
            ),
        )
        for row in rows
    ]
    wrong = f"Failed: {', '.join(failed)}." if failed else "All hold."
    text = "\n\n".join((
        f"Maps of {size} x {size} on {describe(device)['device']}. {len(checked)} checks: {wrong}",
        table(("operator", "numbers", "ms", "against"), lines),
        table(("target", "verdict"), verdicts(rows, on_gpu=on_gpu, size=size)),
    ))  # fmt: skip
    return Report("Operators", text, {"rows": [asdict(row) for row in rows], "failed": failed})


def describe(device: torch.device) -> dict[str, str]:
    """Device and software that the numbers belong to."""
    machine = {
        "device": platform.processor() or platform.machine(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "threads": str(torch.get_num_threads()),
    }
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        machine["device"] = f"{properties.name}, compute capability {properties.major}.{properties.minor}"
        machine["cuda"] = str(torch.version.cuda)
        machine["cudnn"] = str(torch.backends.cudnn.version())
    return machine


def run_checks(device: torch.device) -> Iterator[tuple[str, bool, str]]:
    """Every check that this device allows."""
    yield from checks.operators_equal_float64(device)
    yield from checks.runs_repeat(device)
    if device.type == "cuda":
        yield from checks.wide_pools_have_the_bits_of_a_processor(device)
        yield from checks.fragments_are_in_place(device)
        yield from checks.works_from_a_fresh_thread(device)
        yield from checks.can_be_captured(device)


def device_rates(device: torch.device) -> dict[str, float]:
    """Bytes/s of a copy, and FLOP/s of products by number type; tf32 only where the device has it."""
    rates = {
        "copy": copy_bandwidth(device),
        "float32": gemm_rate(device, torch.float32),
        "bfloat16": gemm_rate(device, torch.bfloat16),
    }
    if device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0):
        rates["tf32"] = gemm_rate(device, torch.float32, tf32=True)
    return rates


if __name__ == "__main__":
    sys.exit(main())
