"""The paper's own comparison: Plain CNN 1 over a whole image against scanning every pixel patch by patch.

    python -m bench.paper [--quick] [--threads N] [--json FILE] [--plots FOLDER]

Plain CNN 1 of arXiv:1412.4526, patch 133, gives 32 values at each of N x N pixels. Forward is without
gradients, as in prediction; backward is the gradient of all outputs to all weights. Scanning is the strided
network on the patch of every pixel: some patches are measured at the best of a few batch sizes, and scaled
by the number of pixels. That is the paper's baseline; training needs less, where only labelled pixels
count, so a second table compares a training step on strokes with patches of the labelled pixels alone. Both
sides take turns; figures are medians.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from bench import work
from bench.networks import plain_cnn_1
from bench.report import Curves, Report, program, say, table, times, verdict
from bench.scenes import strokes
from bench.timing import Times, take_turns
from napari_dsparse.network import DenseNetwork
from napari_dsparse.sites import dependency_closure

#: At `TARGET_SIZE` pixels a side, forward and backward each.
TARGET, TARGET_SIZE = 2000.0, 1024


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured."""

    sizes: tuple[int, ...]
    batches: tuple[int, ...]
    patches: int
    strokes: int
    turns: int
    seconds: float


PLAN = Plan((256, 512, 1024), (1, 8, 32), 32, 12, 3, 60.0)
QUICK = Plan((16, 24), (2,), 2, 1, 1, 0.0)


@dataclass(frozen=True, slots=True)
class Row:
    """Whole image and scanning at one size, forward and backward."""

    size: int
    forward: Times
    backward: Times
    scan_forward: Times
    scan_backward: Times

    @property
    def ratios(self) -> tuple[float, float]:
        """How many times as fast: forward, backward."""
        return self.scan_forward.wall / self.forward.wall, self.scan_backward.wall / self.backward.wall


def measure(quick: bool = False) -> Report:
    """Every size, and the step on strokes."""
    plan = QUICK if quick else PLAN
    network = plain_cnn_1()
    rows = [_compare(network, size, plan) for size in plan.sizes]
    labelled, sites, patches = _on_strokes(network, plan)
    fair = table(
        ["labelled pixels", "on sites (s)", "patches of them (s)", "faster", "by processor time"],
        [[f"{labelled:,}", f"{sites.wall:.2f}", f"{patches.wall:.1f}", times(patches.wall / sites.wall),
          times(patches.processor / sites.processor)]],
    )  # fmt: skip
    text = "\n\n".join((
        _table(rows),
        f"Scanning: {plan.patches} patches measured and scaled to all pixels, at the best of batches of "
        f"{', '.join(map(str, plan.batches))}.",
        "A training step on strokes, forward and backward, which needs neither the whole image nor a scan:",
        fair,
        _causes(network),
    ))  # fmt: skip
    numbers = {"rows": [asdict(row) for row in rows], "strokes": [labelled, asdict(sites), asdict(patches)]}
    return Report("Plain CNN 1 against scanning", text, numbers, (_curves(rows),))


def _compare(network: DenseNetwork, size: int, plan: Plan) -> Row:
    say(f"Plain CNN 1: {size} x {size}")
    rows, columns = network.patch
    x = torch.randn(1, 3, size + rows - 1, size + columns - 1)
    whole = Pass(network, x)
    sides: dict[object, Callable[[], object]] = {"forward": whole.predict, "keep": whole.forward}
    sides["backward"] = whole.backward
    for batch in plan.batches:
        scan = Pass(network.network, torch.randn(batch, 3, rows, columns), plan.patches // batch or 1)
        sides["scan", batch] = scan.predict
        sides["scan keep", batch] = scan.forward
        sides["scan backward", batch] = scan.backward
    found = take_turns(sides, plan.turns, plan.seconds)

    def best(side: str) -> Times:
        a_pixel = (
            found[side, batch] * (1 / (batch * (plan.patches // batch or 1))) for batch in plan.batches
        )
        return min(a_pixel, key=lambda own: own.wall) * size**2

    return Row(size, found["forward"], found["backward"], best("scan"), best("scan backward"))


class Pass:
    """Forward and backward of a network on one input, apart, so that each can be timed.

    Parameters
    ----------
    network : callable
        (N, 3, H, W) -> scores.
    x : Tensor
    repeats : int
        Passes in one go.
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
        """With all that the backward pass needs."""
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
    edge = max(plan.sizes)
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

    on_sites(), on_patches()
    found = take_turns({"sites": on_sites, "patches": on_patches}, plan.turns, plan.seconds)
    return len(places), found["sites"], found["patches"] * (len(places) / batch)


def _table(rows: list[Row]) -> str:
    lines = []
    for row in rows:
        for what, ours, scan, ratio in zip(
            ("forward", "backward"),
            (row.forward, row.backward),
            (row.scan_forward, row.scan_backward),
            row.ratios,
            strict=True,
        ):
            target = verdict(ratio, least=TARGET) if row.size == TARGET_SIZE else "-"
            lines.append([
                f"{row.size} x {row.size}", what, f"{ours.wall:.2f}", f"{scan.wall:,.0f}", times(ratio),
                target, times(scan.processor / ours.processor),
            ])  # fmt: skip
    header = ["pixels", "pass", "whole image (s)", "scanning (s)", "faster", "target", "by processor time"]
    return table(header, lines)


def _causes(network: DenseNetwork) -> str:
    """How much of the speed is work that is not done twice."""
    rows, columns = (TARGET_SIZE + side - 1 for side in network.patch)
    ratio = work.on_a_patch(network) * TARGET_SIZE**2 / work.on_map(network, rows, columns)
    return (
        f"Scanning {TARGET_SIZE} x {TARGET_SIZE} takes {ratio:,.0f} times the multiply-adds of the "
        "whole-image pass: as many times as fast it is where both compute at one rate."
    )


def _curves(rows: list[Row]) -> Curves:
    return Curves(
        "paper",
        "Plain CNN 1: whole image against patch by patch",
        "pixels a side",
        "times as fast",
        {
            "forward": [(row.size, row.ratios[0]) for row in rows],
            "backward": [(row.size, row.ratios[1]) for row in rows],
        },
    )


if __name__ == "__main__":
    program(__doc__, measure)
