"""Targets: of whole programs on a processor, and of the kernels on a GPU (`bench.kernels`)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from bench.measurements import KernelRow
from bench.report import verdict

#: Pixels per side of the maps in targets of whole networks.
SIZE = 2048


@dataclass(frozen=True, slots=True)
class Bound:
    """A bound on a number that a program prints: at least, or at most.

    Parameters
    ----------
    least, most : float, optional
        One of them.
    unit : str
        After the number, with its space.
    """

    least: float | None = None
    most: float | None = None
    unit: str = ""

    def verdict(self, value: float) -> str:
        """Return "met" or "missed", with the target."""
        return verdict(value, least=self.least, most=self.most, unit=self.unit)


# -- on two quiet cores of a processor, float32 -------------------------------------------------------------

#: Times the speed of scanning patch by patch, 1024 x 1024, forward and backward each.
PLAIN_CNN_1_SCANNING, DEFAULT_SCANNING = Bound(least=2000), Bound(least=10_000)
#: 10,000 painted pixels of an RGB image of 1024 x 1024: until there is a model, and until it is judged.
FIRST_MODEL, TRAINED = Bound(most=3, unit=" s"), Bound(most=10, unit=" s")
#: Ratio of times: training on more paint than that.
FLAT_IN_PAINT = Bound(most=1.25)
#: Resident for training beyond what was before.
FIT_MEMORY = Bound(most=500, unit=" MB")
#: From a stroke to every pixel of a view of 1024 x 1024, by channels.
VIEW = {1: Bound(most=0.5, unit=" s"), 3: Bound(most=1, unit=" s")}
#: Segmenting a whole image of 1024 x 1024 with the default averaging, by channels.
WHOLE_RATE = {1: Bound(least=1, unit=" MP/s"), 3: Bound(least=0.4, unit=" MP/s")}


# -- of the kernels on a GPU --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Target:
    """One target.

    Parameters
    ----------
    what : str
    least : float
        A ratio of times, or a share.
    reached : callable
        Values that rows show, one per relevant row; None where the time could not be measured.
    at_size : bool
        Set for maps of `SIZE` pixels per side.
    """

    what: str
    least: float
    reached: Callable[[Sequence[KernelRow]], list[float | None]]
    at_size: bool = False


def _faster(start: str, end: str, than: str) -> Callable[[Sequence[KernelRow]], list[float | None]]:
    def reached(rows: Sequence[KernelRow]) -> list[float | None]:
        times = [
            (row.seconds, row.others[than])
            for row in rows
            if row.name.startswith(start) and row.name.endswith(end)
        ]
        return [None if theirs is None else theirs / ours for ours, theirs in times]

    return reached


def _pool_shares(rows: Sequence[KernelRow]) -> list[float | None]:
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


def verdicts(rows: Sequence[KernelRow], *, on_gpu: bool, size: int) -> Iterable[tuple[str, str]]:
    """Each target in words, and "met", "missed" or "not measurable", with the worst number or the reason."""
    for target in TARGETS:
        what = f"{target.what}: at least {target.least:g}"
        if not on_gpu:
            yield what, "not measurable (no CUDA device)"
        elif target.at_size and size != SIZE:
            yield what, f"not measurable (maps of {size}, not {SIZE}, pixels per side)"
        else:
            reached = target.reached(rows)
            known = [number for number in reached if number is not None]
            if not known or len(known) < len(reached):
                yield what, "not measurable (the other side failed)"
            else:
                worst = min(known)
                yield what, f"{'met' if worst >= target.least else 'missed'} ({worst:.2f})"
