"""What the kernels must reach on a GPU, and whether a run of `bench.kernels` shows that they do."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from bench.measurements import Row

#: Pixels a side that targets of whole networks are set for.
SIZE = 2048


@dataclass(frozen=True, slots=True)
class Target:
    """One promise.

    Parameters
    ----------
    what : str
    least : float
        A ratio of times, or a share.
    reached : callable
        What rows show: one number a row that says something about it; None where its time could not be had.
    at_size : bool
        Set for maps of `SIZE` pixels a side.
    """

    what: str
    least: float
    reached: Callable[[Sequence[Row]], list[float | None]]
    at_size: bool = False


def _faster(start: str, end: str, than: str) -> Callable[[Sequence[Row]], list[float | None]]:
    def reached(rows: Sequence[Row]) -> list[float | None]:
        times = [
            (row.seconds, row.others[than])
            for row in rows
            if row.name.startswith(start) and row.name.endswith(end)
        ]
        return [None if theirs is None else theirs / ours for ours, theirs in times]

    return reached


def _pool_shares(rows: Sequence[Row]) -> list[float | None]:
    return [row.bandwidth_share for row in rows if row.name.split()[0] in ("max-pool", "avg-pool")]


TARGETS = (
    Target(
        "max-pool backward at d = 8, times ATen's speed", 10, _faster("max-pool", "d 8, backward", "ATen")
    ),
    Target(
        "whole-image forward, times plain PyTorch's speed", 2, _faster("network", "", "plain PyTorch"), True
    ),
    Target(
        "training step at active sites, times the masked whole image's speed",
        20,
        _faster("training step", "", "masked whole image"),
        True,
    ),
    Target("pools, share of copy bandwidth", 0.7, _pool_shares),
)


def verdicts(rows: Sequence[Row], *, on_gpu: bool, size: int) -> Iterable[tuple[str, str]]:
    """Each target in words, and "met", "missed" or "not measurable", with the worst number or the reason."""
    for target in TARGETS:
        what = f"{target.what}: at least {target.least:g}"
        if not on_gpu:
            yield what, "not measurable (no CUDA device)"
        elif target.at_size and size != SIZE:
            yield what, f"not measurable (maps of {size}, not {SIZE}, pixels a side)"
        else:
            reached = target.reached(rows)
            known = [number for number in reached if number is not None]
            if not known or len(known) < len(reached):
                yield what, "not measurable (the other side failed)"
            else:
                worst = min(known)
                yield what, f"{'met' if worst >= target.least else 'missed'} ({worst:.2f})"
