"""Run every benchmark and update bench/RESULTS.md and its plots.

    python -m bench [--quick] [--threads N] [--only NAME,...] [--output FOLDER]

With --only, the page keeps its sections of the other programs. With --quick the programs run at tiny sizes,
only as a test, which needs another --output: it is no result. `quality`, `depth`, `sessions`, `objects` and
`study` need the open data (`DSPARSE_DATA`), and `study` a screen; they are skipped, with a message, without.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from bench import (
    cost,
    depth,
    kernels,
    latency,
    memory,
    objects,
    paper,
    prediction,
    quality,
    scale,
    sessions,
    study,
    training,
    workers,
)
from bench.report import Report, draw, machine, machine_lines, say

#: In the order of the page.
PROGRAMS: dict[str, Callable[[bool], Report]] = {
    "paper": paper.measure,
    "prediction": prediction.measure_report,
    "training": training.measure,
    "latency": latency.measure,
    "memory": memory.measure,
    "scale": scale.measure,
    "cost": cost.measure,
    "workers": workers.measure,
    "quality": quality.measure,
    "depth": depth.measure,
    "sessions": sessions.measure,
    "objects": objects.measure,
    "study": study.measure,
    "kernels": kernels.measure_report,
}


def main(words: Sequence[str] | None = None) -> None:
    """Run the programs and write the page."""
    options = argparse.ArgumentParser(prog="python -m bench", description=(__doc__ or "").splitlines()[0])
    options.add_argument("--quick", action="store_true", help="tiny sizes: a look, not a measurement")
    options.add_argument("--threads", type=int, help="torch threads (default: torch's own)")
    options.add_argument("--only", default=",".join(PROGRAMS), help="names, comma-separated")
    options.add_argument("--output", type=Path, help="folder for RESULTS.md and plots/ (default: bench/)")
    chosen = options.parse_args(words)
    names = chosen.only.split(",")
    if unknown := set(names) - set(PROGRAMS):
        options.error(f"{', '.join(sorted(unknown))} is not a program; choose from {', '.join(PROGRAMS)}.")
    if chosen.quick and chosen.output is None:
        options.error("a quick look is no result; say with --output where to write it.")
    if chosen.threads:
        torch.set_num_threads(chosen.threads)
    folder = chosen.output or Path(__file__).parent
    facts = machine()
    page = folder / "RESULTS.md"
    sections = {} if options.get_default("only") == chosen.only else kept_sections(page)
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
        started = time.perf_counter()
        say(f"-- {name}")
        report = PROGRAMS[name](chosen.quick)
        minutes = (time.perf_counter() - started) / 60
        draw(report.plots, folder / "plots")
        sections[report.title] = section(name, report, f"{minutes:.1f} minutes; load before {load:.1f}")
        page.write_text(  # after every program: some take long, and the user may interrupt
            f"# Benchmark results\n\nWritten by `python -m bench`; every table comes from one run of its "
            f"program, both sides in turn.\n\n{machine_lines(facts)}\n\n" + "\n".join(sections.values()),
            encoding="utf-8",
        )
    say(f"wrote {page}")


def kept_sections(page: Path) -> dict[str, str]:
    """Sections of an existing page by heading; empty where there is no page yet."""
    if not page.exists():
        return {}
    _, *parts = page.read_text(encoding="utf-8").split("\n## ")
    return {part.split("\n", 1)[0]: f"## {part.rstrip()}\n" for part in parts}


def section(name: str, report: Report, how: str) -> str:
    """A program's part of the page."""
    plots = "".join(f"\n![{curves.title}](plots/{curves.name}.svg)\n" for curves in report.plots)
    return f"## {report.title}\n\n`python -m bench.{name}` ({how})\n\n{report.text}\n{plots}"


if __name__ == "__main__":
    main()
