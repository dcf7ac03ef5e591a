"""Memory that a job may take, and its division among all that keeps pixels or scores: one value, handed down.

Nothing here changes a result: where less is kept, more is read or computed again.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import psutil

from napari_dsparse.errors import DsparseError

#: Bytes of the units that a size may be given in.
_UNITS = {
    "": 1, "B": 1,
    "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12,
    "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40,
}  # fmt: skip

#: Share of the free memory that is taken where nothing is said.
_FREE_SHARE = 0.5

#: Share of what is spare that tiles under way at the same time may take, beyond the first one.
_LANES_SHARE = 0.5

#: Share of what can be kept that goes to local scores; the rest goes to decoded parts of the image's file.
_SCORES_SHARE = 2 / 3

#: Bytes of local scores, per symmetry that is averaged, and of decoded parts of a file, beyond which more
#: saves nothing.
MOST_SCORES, MOST_SEGMENTS = 256 << 20, 128 << 20

#: Bytes at work on a tile, however large the image is: maps of the layers, on top per channel of the image,
#: and per class, whose local scores are gathered.
_AT_WORK, _PER_CHANNEL, _PER_CLASS = 80 << 20, 64 << 20, 30 << 20

#: Bytes at work on writing: a window of 4096 x 4096 labels and its compressed parts.
_WRITING = 96 << 20

#: Widest bands of tiles, and the narrowest, in pixels.
MOST_BAND, _LEAST_BAND = 4096, 512

#: Rows of local scores that tiles of a band share with those below: two rows of blocks and a halo.
_SHARED_ROWS = 1280


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """Bytes that may be kept for later, beside what is at work anyway.

    Parameters
    ----------
    scores : int
        Bytes of local scores, of all symmetries together.
    segments : int
        Bytes of decoded strips and tiles of a TIFF.
    band : int
        Columns of a band of tiles, so wide that its local scores can be kept from row to row.
    lanes : int
        Tiles under way at a time.
    """

    scores: int
    segments: int
    band: int
    lanes: int


@dataclass(frozen=True, slots=True)
class MemoryNeeds:
    """Facts of a job that decide its memory.

    Parameters
    ----------
    channels, classes, symmetries : int
        Of the model.
    plane : int
        Bytes that this very image takes whole: its pixels where its format is read in one piece, and labels
        where theirs is written so.
    neighbours : bool
        True if the model looks at neighbouring planes: five local scores per class instead of four, and those
        of a tile in three planes.
    """

    channels: int
    classes: int
    symmetries: int
    plane: int = 0
    neighbours: bool = False

    @property
    def computing(self) -> int:
        """Bytes at work on a tile."""
        per_class = _PER_CLASS * 3 // 2 if self.neighbours else _PER_CLASS
        return _AT_WORK + self.channels * _PER_CHANNEL + self.classes * per_class

    @property
    def at_work(self) -> int:
        """Bytes that are needed in any case, beside the program itself."""
        return self.computing + _WRITING + self.plane

    @property
    def scores_per_column(self) -> int:
        """Bytes of local scores that a band shares from row to row, per column of its width."""
        return self.symmetries * self.classes * (5 if self.neighbours else 4) * 4 * _SHARED_ROWS


def plan_memory(
    limit: int | None, resident: int, needs: MemoryNeeds, jobs: int = 1, cores: int = 1
) -> MemoryPlan:
    """Divide the memory of a process.

    Parameters
    ----------
    limit : int, optional
        Most bytes resident, the program included; by default half of what is free, beside what is resident.
    resident : int
        Bytes that the program takes itself, without an image: `resident_memory`.
    needs : MemoryNeeds
        Of each job.
    jobs : int
        Images at a time, which share what is free; the plan is that of one.
    cores : int
        Of the processor, which the jobs share: no more tiles than these are under way at a time.

    Raises
    ------
    DsparseError
        If the limit is less than is needed in any case.
    """
    least = resident + jobs * needs.at_work
    if limit is None:
        limit = max(least, resident + int(_FREE_SHARE * free_memory()))
    if limit < least:
        fewer = " or fewer --jobs" if jobs > 1 else ""
        raise DsparseError(
            f"a limit of {limit / 1e9:.3g}GB is less than it needs with this model, {_rounded_up(least)}; "
            f"give --memory that or more{fewer}."
        )
    spare = (limit - least) // jobs
    lanes = _lanes(int(_LANES_SHARE * spare), needs, cores // jobs)
    spare -= (lanes - 1) * needs.computing
    scores = min(int(spare * _SCORES_SHARE), MOST_SCORES * needs.symmetries)
    segments = min(spare - scores, MOST_SEGMENTS)
    band = max(_LEAST_BAND, min(MOST_BAND, scores // needs.scores_per_column))
    return MemoryPlan(scores, segments, band, lanes)


def most_lanes(needs: MemoryNeeds, cores: int) -> int:
    """Tiles that may be under way at a time where no limit is set: they take half of what is free at most."""
    return _lanes(int(_FREE_SHARE * free_memory()), needs, cores)


def _lanes(spare: int, needs: MemoryNeeds, cores: int) -> int:
    return max(1, min(cores, 1 + spare // needs.computing))


def parse_size(text: str) -> int:
    """Bytes of a size such as 800MB, 2GB or 1.5GiB.

    Raises
    ------
    ValueError
        If it is no such size.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", text)
    unit = _UNITS.get(match[2].upper()) if match else None
    size = 0 if match is None or unit is None else int(float(match[1]) * unit)
    if size < 1:
        raise ValueError(f"{text!r} is no size; give a number and a unit, such as 800MB, 2GB or 1.5GiB")
    return size


def resident_memory() -> int:
    """Bytes of this process that are in memory."""
    return int(psutil.Process().memory_info().rss)


def free_memory() -> int:
    """Bytes that this process could still take: of the machine, or of its control group."""
    free = int(psutil.virtual_memory().available)
    most, used = _group_memory("memory.max"), _group_memory("memory.current")
    return free if most is None or used is None else max(0, min(free, most - used))


def total_memory() -> int:
    """Bytes of memory of the machine, or of this process's control group where that has fewer."""
    total, most = int(psutil.virtual_memory().total), _group_memory("memory.max")
    return total if most is None else min(total, most)


def _group_memory(name: str) -> int | None:
    """A number of bytes of the control group; None where there is none, or no limit."""
    try:
        return int(Path("/sys/fs/cgroup", name).read_text())
    except (OSError, ValueError):
        return None


def _rounded_up(size: int) -> str:
    """A size in GB that is not less."""
    return f"{-(-size // 10**7) / 100:.2f}GB"
