"""The paper's own comparison: a network over a whole image against scanning every pixel patch by patch.

    python -m bench.paper [--quick] [--threads N] [--json FILE] [--plots FOLDER]

Plain CNN 1 of arXiv:1412.4526, patch 133, gives 32 values at each of N x N pixels; the default network, patch
219, gives 4. Forward is without gradients, as in prediction; backward is the gradient of all outputs to all
weights. Scanning is the strided network on the patch of every pixel: some patches are measured at the best
of a few batch sizes, and scaled by the number of pixels. That is the paper's baseline; training needs less,
where only labelled pixels count, so a second table compares a training step on strokes with patches of the
labelled pixels alone. Both sides take turns; figures are medians.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from bench import work
from bench.networks import default_network, plain_cnn_1
from bench.report import Curves, Report, program, say, table, times
from bench.scenes import CLASSES, strokes
from bench.targets import DEFAULT_SCANNING, PLAIN_CNN_1_SCANNING, Bound
from bench.timing import Times, take_turns
from napari_dsparse.network import DenseNetwork
from napari_dsparse.sites import dependency_closure

#: Networks, and how many times as fast as scanning each must be at `TARGET_SIZE` pixels per side, forward and
#: backward.
NETWORKS: dict[str, tuple[Callable[[], DenseNetwork], Bound]] = {
    "Plain CNN 1": (plain_cnn_1, PLAIN_CNN_1_SCANNING),
    "default": (lambda: default_network(CLASSES), DEFAULT_SCANNING),
}
TARGET_SIZE = 1024


@dataclass(frozen=True, slots=True)
class Plan:
    """Sizes and repetitions of the measurements."""

    sizes: dict[str, tuple[int, ...]]
    batches: tuple[int, ...]
    patches: dict[str, int]
    strokes: int
    turns: int
    seconds: float


PLAN = Plan(
    {"Plain CNN 1": (256, 512, 1024), "default": (512, 1024)}, (1, 8, 32),
    {"Plain CNN 1": 32, "default": 32}, 12, 3, 60.0,
)  # fmt: skip
QUICK = Plan({"Plain CNN 1": (16, 24), "default": (16,)}, (2,), {"Plain CNN 1": 2, "default": 2}, 1, 1, 0.0)


@dataclass(frozen=True, slots=True)
class PaperRow:
    """Whole image and scanning of one network at one size, forward and backward."""

    network: str
    size: int
    forward: Times
    backward: Times
    scan_forward: Times
    scan_backward: Times

    @property
    def ratios(self) -> tuple[float, float]:
        """Speed-ups: forward, backward."""
        return self.scan_forward.wall / self.forward.wall, self.scan_backward.wall / self.backward.wall


def measure(quick: bool = False) -> Report:
    """Every network and size, and the step on strokes."""
    plan = QUICK if quick else PLAN
    networks = {name: make() for name, (make, _) in NETWORKS.items()}
    rows = [_compare(name, networks[name], size, plan) for name in NETWORKS for size in plan.sizes[name]]
    labelled, sites, patches = _on_strokes(networks["Plain CNN 1"], plan)
    fair = table(
        ["labelled pixels", "on sites (s)", "patches of them (s)", "faster", "by processor time"],
        [[f"{labelled:,}", f"{sites.wall:.2f}", f"{patches.wall:.1f}", times(patches.wall / sites.wall),
          times(patches.processor / sites.processor)]],
    )  # fmt: skip
    sampled = ", ".join(f"{count} of {name}" for name, count in plan.patches.items())
    text = "\n\n".join((
        _table(rows),
        f"Scanning: not run to its end. Patches are measured ({sampled}) and scaled to all pixels, "
        f"at the best of batches of {', '.join(map(str, plan.batches))}.",
        *(_causes(name, network) for name, network in networks.items()),
        "A training step of Plain CNN 1 on strokes, forward and backward, which needs neither the whole "
        "image nor a scan:",
        fair,
    ))  # fmt: skip
    numbers = {"rows": [asdict(row) for row in rows], "strokes": [labelled, asdict(sites), asdict(patches)]}
    return Report("Whole images against scanning", text, numbers, (_curves(rows),))


def _compare(name: str, network: DenseNetwork, size: int, plan: Plan) -> PaperRow:
    say(f"{name}: {size} x {size}")
    rows, columns = network.patch
    channels = work.image_channels(network)
    x = torch.randn(1, channels, size + rows - 1, size + columns - 1)
    whole = Pass(network, x)
    sides: dict[object, Callable[[], object]] = {"forward": whole.predict, "keep": whole.forward}
    sides["backward"] = whole.backward
    repeats = {batch: max(1, plan.patches[name] // batch) for batch in plan.batches}
    for batch in plan.batches:
        scan = Pass(network.network, torch.randn(batch, channels, rows, columns), repeats[batch])
        sides["scan", batch] = scan.predict
        sides["scan keep", batch] = scan.forward
        sides["scan backward", batch] = scan.backward
    found = take_turns(sides, plan.turns, plan.seconds)

    def best(side: str) -> Times:
        a_pixel = (found[side, batch] * (1 / (batch * repeats[batch])) for batch in plan.batches)
        return min(a_pixel, key=lambda own: own.wall) * size**2

    return PaperRow(name, size, found["forward"], found["backward"], best("scan"), best("scan backward"))


class Pass:
    """Forward and backward of a network on one input, apart, so that each can be timed.

    Parameters
    ----------
    network : callable
        (N, C, H, W) -> scores.
    x : Tensor
    repeats : int
        Passes per call.
    """

    def __init__(self, network: torch.nn.Module, x: Tensor, repeats: int = 1) -> None:
        self._network, self._x, self._repeats = network, x, repeats
        self._given: list[Tensor] = []

    def predict(self) -> None:
        """Without gradients."""
        with torch.inference_mode():
            for _ in range(self._repeats):
                self._network(self._x)

    def forward(self) -> None:
        """With everything that the backward pass needs."""
        self._given = [self._network(self._x) for _ in range(self._repeats)]

    def backward(self) -> None:
        """Gradients to all weights, of what `forward` gave."""
        self._network.zero_grad(set_to_none=True)
        for scores in self._given:
            scores.backward(torch.ones_like(scores))
        self._given = []


def _on_strokes(network: DenseNetwork, plan: Plan) -> tuple[int, Times, Times]:
    """Labelled pixels, a step on active sites, and the same on their patches."""
    say("Plain CNN 1: strokes")
    rows, columns = network.patch
    edge = max(plan.sizes["Plain CNN 1"])
    paint = strokes((edge, edge), plan.strokes, within=edge)
    places, targets = np.flatnonzero(paint), torch.from_numpy(paint[paint > 0].astype(np.int64) - 1)
    width = edge + columns - 1
    x = torch.randn(3, edge + rows - 1, width)
    sites = places // edge * width + places % edge
    closure = dependency_closure(network.geometry.windows, sites, width)
    pixels = x.reshape(3, -1).index_select(1, closure.pixels).t().contiguous()
    batch = plan.batches[-1]
    patches = torch.stack([
        x[:, y : y + rows, c : c + columns] for y, c in zip(*np.divmod(places[:batch], edge), strict=True)
    ])  # fmt: skip

    def on_sites() -> None:
        network.zero_grad(set_to_none=True)
        F.cross_entropy(network.on_sites(pixels, closure), targets).backward()

    def on_patches() -> None:
        network.zero_grad(set_to_none=True)
        F.cross_entropy(network.network(patches).flatten(1), targets[:batch]).backward()

    on_sites()
    on_patches()
    found = take_turns({"sites": on_sites, "patches": on_patches}, plan.turns, plan.seconds)
    return len(places), found["sites"], found["patches"] * (len(places) / batch)


def _table(rows: list[PaperRow]) -> str:
    lines = []
    for row in rows:
        for what, ours, scan, ratio in zip(
            ("forward", "backward"),
            (row.forward, row.backward),
            (row.scan_forward, row.scan_backward),
            row.ratios,
            strict=True,
        ):
            bound = NETWORKS[row.network][1]
            lines.append([
                row.network, f"{row.size} x {row.size}", what, f"{ours.wall:.2f}", f"{scan.wall:,.0f}",
                times(ratio), bound.verdict(ratio) if row.size == TARGET_SIZE else "-",
                times(scan.processor / ours.processor),
            ])  # fmt: skip
    header = [
        "network", "pixels", "pass", "whole image (s)", "scanning (s)", "faster", "target",
        "by processor time",
    ]  # fmt: skip
    return table(header, lines)


def _causes(name: str, network: DenseNetwork) -> str:
    """Ratio of multiply-adds, scanning over the whole-image pass, as a sentence."""
    rows, columns = (TARGET_SIZE + side - 1 for side in network.patch)
    forward, backward = (
        work.on_a_patch(network, backward=back)
        * TARGET_SIZE**2
        / work.on_map(network, rows, columns, backward=back)
        for back in (False, True)
    )
    return (
        f"{name}: scanning {TARGET_SIZE} x {TARGET_SIZE} takes {forward:,.0f} times the multiply-adds of the "
        f"whole-image pass, backward {backward:,.0f} times: the speed-up if both compute "
        "at the same rate."
    )


def _curves(rows: list[PaperRow]) -> Curves:
    return Curves(
        "paper",
        "Whole image against patch by patch",
        "pixels per side",
        "times as fast",
        {
            f"{name}, {what}": [(row.size, row.ratios[number]) for row in rows if row.network == name]
            for name in NETWORKS
            for number, what in enumerate(("forward", "backward"))
        },
    )


if __name__ == "__main__":
    program(__doc__, measure)
