"""The counted cost of a network equals what its layers do."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from napari_dsparse.network.geometry import trace
from napari_dsparse.network.work import map_work
from napari_dsparse.ops.reference import avg_pool2d


def pooled(pool: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 3, 1), pool, nn.Conv2d(3, 2, 1)).eval()


@pytest.mark.parametrize("kernel", [(2, 2), (3, 5), (16, 25), (193, 97)], ids=str)
def test_an_average_pool_on_a_map_costs_the_additions_that_it_makes(kernel, monkeypatch):
    made = []
    add = torch.add
    monkeypatch.setattr(torch, "add", lambda *args, **named: made.append(1) or add(*args, **named))
    avg_pool2d(torch.zeros(1, 1, *kernel), kernel, (1, 1), 1)
    rows, columns = 7, 11
    first = 3 * (rows + kernel[0] - 1) * (columns + kernel[1] - 1)
    pool, last = 3 * len(made) * rows * columns, 6 * rows * columns
    assert map_work(trace(pooled(nn.AvgPool2d(kernel, 1))), rows, columns) == first + pool + last


def test_the_work_of_an_average_pool_grows_with_the_logarithm_of_its_window():
    def per_pixel(taps):
        one, more = (map_work(trace(pooled(nn.AvgPool2d((taps, 1), 1))), 1, n) for n in (1, 2))
        return more - one - 3 * taps - 6  # without the convolutions

    assert [per_pixel(taps) for taps in (2, 16, 256, 1024)] == [3, 12, 24, 30]
