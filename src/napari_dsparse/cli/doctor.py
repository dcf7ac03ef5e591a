"""``napari-dsparse doctor``: capabilities of this machine, and reasons for what it cannot do."""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import platform
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from napari_dsparse.classifier import DEFAULT_NETWORK, NetworkSpec
from napari_dsparse.cli.display import probe_qt, why_no_window
from napari_dsparse.cli.report import Report
from napari_dsparse.errors import DsparseError
from napari_dsparse.machine.cache import cache_folder
from napari_dsparse.machine.cores import available_cores
from napari_dsparse.machine.devices import PRECISIONS, available_devices, pick_device
from napari_dsparse.network import calibration, densify
from napari_dsparse.network.plan import plan_layers
from napari_dsparse.ops import dispatch

#: Distributions whose versions matter, by the extra of ours that brings them ("" = always there).
PACKAGES: Mapping[str, Sequence[str]] = {
    "": ("numpy", "torch", "scikit-image", "tifffile", "safetensors"),
    "all": ("napari", "PyQt6", "superqt", "pyqtgraph", "magicgui"),
    "zarr": ("zarr",),
    "cluster": ("dask", "distributed"),
}


def run(arguments: argparse.Namespace, report: Report) -> None:
    """Examine the machine and print a report."""
    _versions(report)
    _processors(report)
    _devices(report)
    _executions(report)
    if arguments.plan:
        _plan(report)
    _kernels(report)
    _window(report)


def _versions(report: Report) -> None:
    ours = importlib.metadata.version("napari-dsparse")
    report.say(f"napari-dsparse {ours}, Python {platform.python_version()}, {platform.platform()}")
    found: dict[str, str | None] = {}
    for extra, names in PACKAGES.items():
        versions = {name: _version(name) for name in names}
        found |= versions
        present = ", ".join(f"{name} {v}" for name, v in versions.items() if v)
        missing = [name for name, v in versions.items() if not v]
        title = f"Extra `{extra}`" if extra else "Packages"
        absent = (
            f"{'; ' if present else ''}not installed: {', '.join(missing)} "
            f'(pip install "napari-dsparse[{extra}]")'
            if missing
            else ""
        )
        report.say(f"{title}: {present}{absent}")
    report.add(version=ours, python=platform.python_version(), platform=platform.platform(), packages=found)


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _processors(report: Report) -> None:
    cores = available_cores()
    threads = torch.get_num_threads()
    best = torch.backends.cpu.get_cpu_capability()
    report.say(f"CPU: {cores} cores for this process, {threads} torch threads, vector instructions {best}")
    report.add(cpu={"cores": cores, "threads": threads, "capability": best})


def _devices(report: Report) -> None:
    here = available_devices()
    chosen = str(pick_device())
    missing = {name: reason for name, reason in _why_no_device().items() if name not in here}
    report.say(f"Devices: {', '.join(here)}; `auto` takes {chosen}")
    for name, reason in missing.items():
        report.say(f"  no {name}: {reason}")
    report.add(devices=list(here), device=chosen, missing_devices=missing)


def _why_no_device() -> dict[str, str]:
    """Reasons for the devices that torch does not offer here."""
    reasons = {}
    if not torch.cuda.is_available():
        if torch.version.cuda is None and torch.version.hip is None:
            reasons["cuda"] = f"this build of torch, {torch.__version__}, is for the CPU only"
        else:
            reasons["cuda"] = (
                f"torch {torch.__version__} is built for CUDA {torch.version.cuda}, "
                "but finds no usable NVIDIA driver or GPU"
            )
    if not torch.backends.mps.is_available():
        if platform.system() != "Darwin":
            reasons["mps"] = "it is for Apple computers"
        elif not torch.backends.mps.is_built():
            reasons["mps"] = f"this build of torch, {torch.__version__}, lacks it"
        else:
            reasons["mps"] = "this Mac has no Metal GPU that torch can use"
    return reasons


def _executions(report: Report) -> None:
    """The code that runs each job, after a trial that the candidates agree on this machine."""
    serves: dict[str, Any] = {
        "training": "active sites: gather and GEMM at the pixels that the strokes depend on",
        "prediction": "on a CPU rows streamed through all layers (see --plan), elsewhere layer by layer",
    }
    for job, execution in serves.items():
        report.say(f"{job.capitalize()}: {execution}")
    worst = largest_disagreement()
    report.say(f"Self-check: dense, active-site and patch-by-patch scores agree within {worst:.1e}")
    report.add(executions=serves, largest_disagreement=worst)
    if not worst < 1e-9:
        raise DsparseError(
            f"The executions of one network differ by {worst:.1e} on this machine, where 1e-9 is allowed; "
            "reinstall torch."
        )


def _plan(report: Report) -> None:
    """The form of every layer of the default network on a CPU by precision, and the basis of the choice."""
    geometry = densify(NetworkSpec(DEFAULT_NETWORK, 1, 2).empty().eval()).geometry
    plans: dict[str, list[dict[str, Any]]] = {}
    for precision, dtype in PRECISIONS.items():
        report.say(f"Plan of network `{DEFAULT_NETWORK}` on a CPU in {precision}:")
        plans[precision] = []
        for layer in plan_layers(geometry.steps, dtype, calibration.measured).layers:
            seconds = calibration.seconds_of(layer.step, layer.activation, dtype) or {}
            times = ", ".join(f"{form} {1e3 * own:.2f} ms" for form, own in seconds.items())
            report.say(f"  {layer}" + (f" ({times})" if times else ""))
            plans[precision].append({"layer": str(layer), "form": layer.form, "seconds": dict(seconds)})
    report.say(
        f"  Times were measured here once; a form other than the rule's must be clearly faster. {_kept()}"
    )
    report.say("Training: painted pixels as active sites; isolated clicks, which share nothing, as patches")
    report.add(plan=plans)


def _kept() -> str:
    if os.environ.get(calibration.VARIABLE) == "rule":
        return f"{calibration.VARIABLE} is set to rule, so nothing was measured."
    folder = cache_folder()
    return (
        f"Kept in {folder}."
        if folder
        else "There is no home folder to keep them in, so the rule's forms serve."
    )


def _kernels(report: Report) -> None:
    """The implementation of each operator on the device that `auto` selects, and the reason."""
    services = dispatch.services(pick_device())
    ours = [service for service in services if service.kernel is not None]
    report.say(f"Kernels: {len(ours)} of {len(services)} operators run in this package's CUDA kernels")
    for service in ours:
        report.say(f"  {service.operator}: {service.kernel}")
        for exception in service.exceptions:
            report.say(f"    {exception}")
    for reason in sorted({service.reason for service in services if service.reason}):
        report.say(f"  plain PyTorch: {reason}")
    folder = cache_folder()
    kept = (
        f"compiled CUDA kernels, and what was measured of them and of the CPU, in {folder}"
        if folder
        else "none; there is no home folder"
    )
    report.say(f"Caches: {kept}")
    report.add(
        kernels={service.operator: service.kernel or service.reason for service in services},
        kernel_exceptions={service.operator: list(service.exceptions) for service in ours},
        caches=[str(folder)] if folder else [],
    )


def largest_disagreement() -> float:
    """Largest difference in float64 between three ways to the same scores, on a small random network."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = nn.Sequential(
            nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 2, 2)
        ).double()  # patch 6
        image = torch.randn(1, 12, 12, dtype=torch.float64)
    exact = densify(network)
    sites = torch.tensor([(y, x) for y in range(7) for x in range(7)])
    with torch.inference_mode():
        dense = exact(image[None])[0].flatten(1).T
        at_sites = exact.at(image, sites)
        patches = torch.stack(
            [network(image[None, :, y : y + 6, x : x + 6]).flatten() for y, x in sites.tolist()]
        )
    return max(float((dense - patches).abs().max()), float((at_sites - patches).abs().max()))


def _window(report: Report) -> None:
    qt = probe_qt()
    reason = why_no_window(qt)
    entry_points = importlib.metadata.entry_points(group="napari.manifest")
    registered = "napari-dsparse" in entry_points.names
    report.say("Window: napari can open here" if reason is None else f"Window: not available. {reason}")
    report.say(f"Qt: {qt.words}" if qt.works else f"Qt: does not start. {qt.words}")
    report.say(
        f"Plugin: {'registered with napari' if registered else 'not registered; reinstall the package'}"
    )
    report.add(
        window=reason is None, window_reason=reason, qt=qt.words if qt.works else None, plugin=registered
    )
