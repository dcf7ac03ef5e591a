"""Output of every benchmark program: tables, curves and numbers, with the machine named."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch

from bench.timing import gemm_rate


@dataclass(frozen=True, slots=True)
class Curves:
    """A plot: points (x, y) by the name of their curve.

    Parameters
    ----------
    name : str
        Of the file, without suffix.
    logarithmic : bool
        True if both axes are; then a point is marked at every x.
    """

    name: str
    title: str
    x_label: str
    y_label: str
    series: Mapping[str, Sequence[tuple[float, float]]]
    logarithmic: bool = True


@dataclass(frozen=True, slots=True)
class Report:
    """Result of one program.

    Parameters
    ----------
    title : str
    text : str
        Markdown.
    numbers : mapping
        The same and more, for JSON.
    plots : tuple of Curves
    """

    title: str
    text: str
    numbers: Mapping[str, Any]
    plots: tuple[Curves, ...] = ()


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def verdict(value: float, *, least: float | None = None, most: float | None = None, unit: str = "") -> str:
    """Return "met" or "missed", with the target."""
    if least is not None:
        return f"{'met' if value >= least else 'missed'} (>= {least:g}{unit})"
    assert most is not None
    return f"{'met' if value <= most else 'missed'} (<= {most:g}{unit})"


def times(ratio: float) -> str:
    """A ratio, with its significant digits."""
    return f"{ratio:,.0f} x" if ratio >= 100 else f"{ratio:.3g} x"


def say(text: str) -> None:
    """Print what is being measured."""
    print(text, file=sys.stderr, flush=True)


def machine() -> dict[str, str]:
    """Hardware and versions that the numbers belong to; measures the rate of a matrix product."""
    cpu = torch.device("cpu")
    facts = {
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "threads": str(torch.get_num_threads()),
        "matrix product": f"{gemm_rate(cpu, torch.float32) / 1e9:.0f} GFLOP/s in float32",
        "versions": f"python {platform.python_version()}, torch {torch.__version__}, numpy {np.__version__}",
    }
    if hasattr(os, "getloadavg"):
        load = os.getloadavg()[0]
        busy = load > (os.cpu_count() or 1) / 4
        state = "busy: only ratios mean something" if busy else "quiet"
        facts["load before"] = f"{load:.1f} ({state})"
    return facts


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def machine_lines(facts: Mapping[str, str]) -> str:
    """The machine as a Markdown list."""
    return "\n".join(f"- {name}: {value}" for name, value in facts.items())


def several(kind: Callable[[str], Any]) -> Callable[[str], list[Any]]:
    """Type of an option that takes a list: values of a type, comma-separated."""
    return lambda text: [kind(part) for part in text.split(",") if part]


def program(
    doc: str | None,
    measure: Callable[..., Report],
    words: Sequence[str] | None = None,
    own: Mapping[str, tuple[Callable[[str], Any], str]] = MappingProxyType({}),
) -> Report:
    """The command line common to the programs: measure, print, and write the requested files.

    `own` are further options, by the name of the parameter of `measure`: their type and what they mean.
    """
    options = argparse.ArgumentParser(description=(doc or "").splitlines()[0])
    for name, (kind, meaning) in own.items():
        options.add_argument(f"--{name}", type=kind, help=meaning, default=argparse.SUPPRESS)
    options.add_argument("--quick", action="store_true", help="tiny sizes: a look, not a measurement")
    options.add_argument("--threads", type=int, help="torch threads (default: torch's own)")
    options.add_argument("--json", type=Path, help="file to write all numbers to")
    options.add_argument("--plots", type=Path, help="folder to draw the curves into, as SVG")
    chosen = options.parse_args(words)
    if chosen.threads:
        torch.set_num_threads(chosen.threads)
    facts = machine()
    print(machine_lines(facts), flush=True)
    report = measure(chosen.quick, **{name: value for name, value in vars(chosen).items() if name in own})
    print(f"\n{report.text}", flush=True)
    if chosen.json:
        found = {"machine": facts, **report.numbers, "plots": [asdict(curves) for curves in report.plots]}
        chosen.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    if chosen.plots:
        draw(report.plots, chosen.plots)
    return report


def can_draw() -> bool:
    """True if matplotlib is installed."""
    return find_spec("matplotlib") is not None


def draw(plots: Iterable[Curves], folder: Path) -> None:
    """Draw curves as SVG files that change only where their points do; says so where it cannot."""
    if not can_draw():
        say("Plots need matplotlib: pip install 'napari-dsparse[dev]'.")
        return
    import matplotlib
    from matplotlib.figure import Figure  # without pyplot: neither a window nor global state

    folder.mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context({"svg.hashsalt": "bench", "font.size": 9}):
        for curves in plots:
            figure = Figure(figsize=(6, 4), layout="constrained")
            axes = figure.add_subplot(
                title=curves.title,
                xlabel=curves.x_label,
                ylabel=curves.y_label,
            )
            for name, points in curves.series.items():
                axes.plot(*zip(*points, strict=True), marker="o", label=name)
            if curves.logarithmic:
                axes.set(xscale="log", yscale="log")
                axes.set_xticks(sorted({x for points in curves.series.values() for x, _ in points}))
                axes.xaxis.set_major_formatter("{x:g}")
                axes.minorticks_off()
            axes.grid(alpha=0.3)
            axes.legend()
            figure.savefig(folder / f"{curves.name}.svg", metadata={"Date": None})
