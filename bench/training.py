"""Training time by paint, and a step on active sites against the whole image and against patches.

    python -m bench.training [--quick] [--threads N] [--json FILE]

The default network is fitted in closed form; `bench.paint` measures that by amount of paint. A step
is forward, cross-entropy at all labelled pixels, and backward to all weights; ours runs on the sites that the
labelled pixels depend on. The whole image is plain PyTorch: F.conv2d and F.max_pool2d with dilation, the loss
at labelled pixels; it is measured on a strip of rows and scaled by the multiply-adds of the full size, which
flatters it (no full-size map has to be kept). Patches are the same strided network on patches of the labelled
pixels, a sample of them at its best batch size, cut out beforehand. Isolated clicks are pixels whose patches
do not meet: they share nothing, so patches are the reference. All sides take turns; figures are
medians.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from bench import paint, work
from bench.networks import bench_network, compact_network, plain_forward
from bench.report import Report, program, say, table, times, verdict
from bench.scenes import CLASSES, PAINTED, clicks, noise, strokes
from bench.timing import Times, take_turns
from napari_dsparse.images import ImageSource, Normalisation
from napari_dsparse.network import DenseNetwork
from napari_dsparse.training.batch import Batch, cells_of, join_pieces, make_piece

NETWORKS: dict[str, Callable[[int], DenseNetwork]] = {"bench": bench_network, "compact": compact_network}

#: Targets: against the whole image by its edge, against patches on strokes and on clicks.
WHOLE_TARGETS = {1024: 60.0, 2048: 240.0, 4096: 900.0}
PATCH_TARGET, CLICK_TARGET = 20.0, 1.0
#: Slowest over fastest image size that still counts as flat.
FLAT = 1.25

CPU = torch.device("cpu")


@dataclass(frozen=True, slots=True)
class Plan:
    """Sizes and repetitions of the measurements."""

    sizes: tuple[int, ...]
    strip_rows: int
    strip_columns: int
    patch_sample: int
    patch_batches: tuple[int, ...]
    strokes: int
    turns: int
    seconds: float
    painted: int  # pixels per side of the image under all kinds of paint


PLAN = Plan((1024, 2048, 4096), 256, 1024, 256, (32, 128), 12, 5, 40.0, 1024)
QUICK = Plan((200, 300), 16, 120, 8, (4,), 3, 1, 0.0, 300)


@dataclass(frozen=True, slots=True)
class TrainingRow:
    """One network on strokes: steps of all sides."""

    network: str
    labelled: int
    sites: dict[int, Times]  # by image size
    whole: dict[int, Times]
    patches: Times
    patch_batch: int
    clicks: int
    clicks_on_sites: Times
    clicks_on_patches: Times
    multiply_adds: dict[str, float]  # of a forward pass: on sites, on patches, on whole images by edge
    spent: dict[str, float]  # shares of a step on sites by kind of work


def measure(quick: bool = False) -> Report:
    """All kinds of paint, then a step of both networks."""
    plan = QUICK if quick else PLAN
    learned = paint.measure(plan.painted)
    rows = [compare(name, plan) for name in NETWORKS]
    text = f"{paint.text(learned, plan.painted)}\n\n{_text(rows, plan)}"
    numbers = {"paint": [asdict(own) for own in learned], "rows": [asdict(row) for row in rows]}
    return Report("Training", text, numbers)


def compare(name: str, plan: Plan) -> TrainingRow:
    """All sides of one network."""
    say(f"training step: {name}")
    network = NETWORKS[name](CLASSES)
    sides: dict[object, Callable[[], object]] = {}
    labelled = 0
    for size in plan.sizes:
        labels = strokes((size, size), plan.strokes, within=min(PAINTED, *plan.sizes))
        labelled = int(np.count_nonzero(labels))
        batch = batch_of(network, noise(size, size), labels)
        sides["sites", size] = step_on_batch(network, batch)
    strip, scale = whole_image_step(network, plan)
    sides["strip"] = strip
    yx, targets = _positions(network, labels)
    image = torch.from_numpy(noise(*labels.shape))
    for batch_size in plan.patch_batches:
        sides["patches", batch_size] = step_on_patches(
            network, image, yx[: plan.patch_sample], targets[: plan.patch_sample], batch_size
        )
    clicked = clicks((plan.sizes[0],) * 2)
    click_yx, click_targets = _positions(network, clicked)
    side_image = torch.from_numpy(noise(*clicked.shape))
    sides["clicks on sites"] = step_on_batch(network, batch_of(network, noise(*clicked.shape), clicked))
    for batch_size in plan.patch_batches:
        sides["clicks on patches", batch_size] = step_on_patches(
            network, side_image, click_yx, click_targets, batch_size
        )
    for side in (s for name_, s in sides.items() if name_ != "strip"):
        side()  # the first turn also pays for memory allocation
    found = take_turns(sides, plan.turns, plan.seconds)
    best, sampled = _best(found, "patches", plan)
    return TrainingRow(
        network=name,
        labelled=labelled,
        sites={size: found["sites", size] for size in plan.sizes},
        whole={size: found["strip"] * scale(size) for size in plan.sizes},
        patches=sampled * (labelled / min(plan.patch_sample, labelled)),
        patch_batch=best,
        clicks=len(click_yx),
        clicks_on_sites=found["clicks on sites"],
        clicks_on_patches=_best(found, "clicks on patches", plan)[1],
        multiply_adds={
            "sites": work.on_sites(network, batch.closure),
            "patches": work.on_a_patch(network) * labelled,
            **{str(size): work.on_map(network, size, size) for size in plan.sizes},
        },
        spent=work.shares(sides["sites", plan.sizes[-1]]),
    )


def _best(found: dict[object, Times], side: str, plan: Plan) -> tuple[int, Times]:
    return min(((size, found[side, size]) for size in plan.patch_batches), key=lambda own: own[1].wall)


# -- the sides ----------------------------------------------------------------------------------------------


def batch_of(network: DenseNetwork, image: NDArray[np.float32], labels: NDArray[np.uint8]) -> Batch:
    """All labelled pixels in one batch, cut as the trainer cuts them."""
    source = ImageSource(image)
    normalisation, yx = Normalisation.measure([source]), np.argwhere(labels)
    cells = cells_of(yx, network.geometry.patch)
    pieces = [make_piece(source, normalisation, network.geometry, (), yx[own]) for own in cells]
    pixels, piece, closure = join_pieces(pieces, CPU)
    y, column = yx[np.concatenate(cells)].T
    targets = torch.from_numpy(labels[y, column].astype(np.int64) - 1)
    weights = torch.full((len(targets),), 1 / len(targets))
    return Batch(pixels, piece, len(pieces), closure, targets, weights)


def step_on_batch(network: DenseNetwork, batch: Batch) -> Callable[[], None]:
    """Loss and gradients through active sites."""

    def step() -> None:
        network.zero_grad(set_to_none=True)
        F.cross_entropy(network.on_sites(batch.pixels, batch.closure), batch.targets).backward()

    return step


def step_on_patches(
    network: DenseNetwork, image: Tensor, yx: Tensor, targets: Tensor, batch: int
) -> Callable[[], None]:
    """Loss and gradients of the strided network on patches of the labelled pixels, batch after batch."""
    rows, columns = network.patch
    patches = image.unfold(0, rows, 1).unfold(1, columns, 1)[yx[:, 0], yx[:, 1]][:, None].contiguous()

    def step() -> None:
        network.zero_grad(set_to_none=True)
        for some, wanted in zip(patches.split(batch), targets.split(batch), strict=True):
            scores = network.network(some).flatten(1)
            F.cross_entropy(scores, wanted, reduction="sum").div(len(targets)).backward()

    return step


def whole_image_step(network: DenseNetwork, plan: Plan) -> tuple[Callable[[], None], Callable[[int], float]]:
    """The masked step on a strip, and what its time is multiplied by for a square image of some edge."""
    halo_rows, halo_columns = (side - 1 for side in network.patch)
    rows, columns = plan.strip_rows + halo_rows, max(plan.strip_columns, halo_columns + 8)
    x = torch.from_numpy(noise(rows, columns))[None, None]
    paint = strokes((plan.strip_rows, columns - halo_columns), plan.strokes, within=plan.strip_rows)
    y, column = np.nonzero(paint)
    targets = torch.from_numpy(paint[y, column].astype(np.int64) - 1)

    def step() -> None:
        network.zero_grad(set_to_none=True)
        scores = plain_forward(network, x)[0][:, torch.from_numpy(y), torch.from_numpy(column)]
        F.cross_entropy(scores.t(), targets).backward()

    return step, lambda size: work.on_map(network, size, size) / work.on_map(network, rows, columns)


def _positions(network: DenseNetwork, labels: NDArray[np.uint8]) -> tuple[Tensor, Tensor]:
    """Corners of the labelled pixels' patches that lie within the image, and classes; in mixed order."""
    half_rows, half_columns = (side // 2 for side in network.patch)
    yx = np.argwhere(labels) - (half_rows, half_columns)
    inside = ((yx >= 0) & (yx <= np.array(labels.shape) - network.patch)).all(1)
    order = np.random.default_rng(0).permutation(np.flatnonzero(inside))
    targets = labels[labels > 0][order].astype(np.int64) - 1
    return torch.from_numpy(yx[order]), torch.from_numpy(targets)


# -- the tables ---------------------------------------------------------------------------------------------


def _text(rows: list[TrainingRow], plan: Plan) -> str:
    steps = []
    for row in rows:
        for size in plan.sizes:
            ours, whole = row.sites[size], row.whole[size]
            steps.append([
                row.network, f"{size} x {size}", f"{row.labelled:,}", f"{ours.wall:.3f}",
                f"{whole.wall:,.1f}", times(whole.wall / ours.wall),
                _target(whole.wall / ours.wall, WHOLE_TARGETS.get(size)),
                times(whole.processor / ours.processor),
                f"{row.patches.wall:.2f}", times(row.patches.wall / ours.wall),
                verdict(row.patches.wall / ours.wall, least=PATCH_TARGET),
                times(row.patches.processor / ours.processor),
            ])  # fmt: skip
    others = []
    for row in rows:
        walls = [t.wall for t in row.sites.values()]
        flat = max(walls) / min(walls)
        clicked = row.clicks_on_patches.wall / row.clicks_on_sites.wall
        others.append([
            row.network, f"{flat:.2f}", verdict(flat, most=FLAT), row.clicks,
            f"{row.clicks_on_sites.wall * 1e3:.1f}", f"{row.clicks_on_patches.wall * 1e3:.1f}",
            times(clicked), verdict(clicked, least=CLICK_TARGET),
        ])  # fmt: skip
    batches = ", ".join(f"{row.patch_batch} for {row.network}" for row in rows)
    return "\n\n".join((
        "A training step on strokes, forward and backward:",
        table(
            ["network", "image", "labelled pixels", "sites (s)", "whole image (s)", "faster", "target",
             "by processor time", "patches (s)", "faster", "target", "by processor time"],
            steps,
        ),
        f"Whole image: measured on {plan.strip_rows} output rows of {plan.strip_columns} pixels, scaled by "
        f"multiply-adds. Patches: {plan.patch_sample} measured, scaled by their number; best "
        f"batch of {', '.join(map(str, plan.patch_batches))}: {batches}.",
        table(
            ["network", "slowest over fastest size", "target", "isolated clicks", "sites (ms)",
             "patches (ms)", "faster", "target"],
            others,
        ),
        "Isolated clicks run as patches, cut out by way of the closure.",
        _causes(rows, plan),
    ))  # fmt: skip


def _causes(rows: list[TrainingRow], plan: Plan) -> str:
    """Explanation of the times: work done, its rate, and the rest of a step."""
    edge = str(plan.sizes[0])
    lines = []
    for row in rows:
        done, ours = row.multiply_adds, row.sites[plan.sizes[-1]].wall
        # Forward, gradient to the weights and to the map each take as many.
        rates = [
            6e-9 * done[side] / seconds
            for side, seconds in (
                ("sites", ours), ("patches", row.patches.wall), (edge, row.whole[plan.sizes[0]].wall),
            )
        ]  # fmt: skip
        lines.append([
            row.network, f"{done['sites'] / 1e9:.2f}", times(done["patches"] / done["sites"]),
            times(done[edge] / done["sites"]), *(f"{rate:.0f}" for rate in rates),
            *(f"{share:.0%}" for share in row.spent.values()),
        ])  # fmt: skip
    kinds = [*work.KINDS, work.REST]
    return (
        table(
            ["network", "multiply-adds on sites (G)", "on patches", f"on {edge} x {edge}", "sites (GFLOP/s)",
             "patches (GFLOP/s)", "whole image (GFLOP/s)", *kinds],
            lines,
        )
        + "\n\nBasis of the times: multiply-adds of one forward pass, and those of the other sides relative "
        "to it; the rate of a step, counting three times that; and shares of its time on sites by "
        "PyTorch's profiler."
    )  # fmt: skip


def _target(value: float, least: float | None) -> str:
    return "-" if least is None else verdict(value, least=least)


if __name__ == "__main__":
    program(__doc__, measure)
