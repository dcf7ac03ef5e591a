"""Times of calls as medians: by events on a GPU, by the clock elsewhere."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

#: Bytes written before each timed call, so that its input is not in a GPU's cache; and repetitions, so that
#: Python has enqueued the whole call before its first event.
FLUSH_BYTES, FLUSHES = 256 << 20, 5


def median_seconds(call: Callable[[], Any], device: torch.device, seconds: float = 0.5) -> float:
    """Median time of `call`, over at least 3 calls and about `seconds`, after two that do not count."""
    call()
    call()
    if device.type != "cuda":
        times: list[float] = []
        end = time.perf_counter() + seconds
        while len(times) < 3 or (time.perf_counter() < end and len(times) < 200):
            start = time.perf_counter()
            call()
            times.append(time.perf_counter() - start)
        return statistics.median(times)
    flush = torch.empty(FLUSH_BYTES, dtype=torch.uint8, device=device)
    times = []
    end = time.perf_counter() + seconds
    while len(times) < 10 or (time.perf_counter() < end and len(times) < 200):
        for _ in range(FLUSHES):
            flush.zero_()
        start_event, end_event = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start_event.record()
        call()
        end_event.record()
        end_event.synchronize()
        times.append(start_event.elapsed_time(end_event) / 1e3)
    return statistics.median(times)


def copy_bandwidth(device: torch.device) -> float:
    """Bytes/s of a large copy, read and written: the limit of a memory-bound kernel."""
    size = (1 << 30) if device.type == "cuda" else (64 << 20)
    source = torch.zeros(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return 2 * size / median_seconds(lambda: target.copy_(source), device)


def gemm_rate(device: torch.device, dtype: torch.dtype, tf32: bool = False) -> float:
    """FLOP/s of a large square product by PyTorch's own library."""
    side = 8192 if device.type == "cuda" else 1024
    a = torch.randn(side, side, device=device, dtype=dtype)
    b = torch.randn(side, side, device=device, dtype=dtype)
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = tf32
    try:
        return 2 * side**3 / median_seconds(lambda: a @ b, device)
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before


@dataclass(frozen=True, slots=True)
class Times:
    """Median times of a call: wall time, and the time of all processors on it."""

    wall: float
    processor: float

    def __mul__(self, factor: float) -> Times:
        return Times(self.wall * factor, self.processor * factor)


def take_turns(
    sides: Mapping[Any, Callable[[], Any]], turns: int = 3, seconds: float = math.inf
) -> dict[Any, Times]:
    """Times of several calls on the CPU, one after the other in every turn; no new turn after `seconds`.

    On a busy machine slow phases then affect all of them, and processor time is more reliable than wall time.
    """
    taken: dict[Any, list[tuple[float, float]]] = {name: [] for name in sides}
    end = time.perf_counter() + seconds
    for turn in range(turns):
        if turn and time.perf_counter() > end:
            break
        for name, call in sides.items():
            wall, processor = time.perf_counter(), time.process_time()
            call()
            taken[name].append((time.perf_counter() - wall, time.process_time() - processor))
    return {
        name: Times(*map(statistics.median, zip(*own, strict=True)))  # wall, then processor
        for name, own in taken.items()
    }
