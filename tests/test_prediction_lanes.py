"""Tiles computed side by side are those computed one after the other; lanes end with whoever asked."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from classifiers import classifier_for
from napari_dsparse.errors import ImageError
from napari_dsparse.images import ImageSource
from napari_dsparse.machine.lanes import in_lanes
from napari_dsparse.machine.memory import MemoryNeeds, plan_memory
from napari_dsparse.prediction import Predictor
from napari_dsparse.prediction.tiles import Tile, even_parts, plan_tiles


@pytest.fixture
def four_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


class Pixels:
    """An array that says whether it was read by two threads at once."""

    def __init__(self, values: np.ndarray) -> None:
        self.values, self.shape, self.dtype = values, values.shape, values.dtype
        self.reads = 0
        self._lock = threading.Lock()

    def __getitem__(self, index: object) -> np.ndarray:
        assert self._lock.acquire(blocking=False), "read by two threads at once"
        try:
            self.reads += 1
            time.sleep(0.002)
            return self.values[index]
        finally:
            self._lock.release()


@pytest.mark.parametrize("shape", [(700, 640), (2, 260, 300)])
def test_lanes_give_the_same_tiles_in_order_and_read_each_block_once(
    shape: tuple[int, ...], four_threads: None
) -> None:
    classifier = classifier_for(1, 3)
    pixels = Pixels(np.random.default_rng(0).normal(100, 20, shape).astype(np.float32))
    source = ImageSource(pixels)
    cuts = [even_parts(0, length, 200) for length in shape[-2:]]
    planes = [(z,) for z in range(shape[0])] if len(shape) == 3 else [()]
    tiles = [Tile(plane, rows, columns) for plane in planes for rows in cuts[0] for columns in cuts[1]]
    found, reads = [], []
    for lanes in (1, 4):
        predictor = Predictor(classifier, "cpu")
        predictor.most_lanes = lanes
        found.append(list(predictor.stream(source, tiles)))
        reads.append(pixels.reads)
    assert [each.tile for each in found[1]] == tiles
    for one, four in zip(*found, strict=True):
        np.testing.assert_array_equal(one.painted, four.painted)
        np.testing.assert_array_equal(one.labels, four.labels)
    assert reads[1] == 2 * reads[0]


def test_an_image_that_cannot_be_read_ends_all_lanes(four_threads: None) -> None:
    class Broken(Pixels):
        def __getitem__(self, index: object) -> np.ndarray:
            if self.reads == 3:
                raise OSError("gone")
            return super().__getitem__(index)

    source = ImageSource(Broken(np.zeros((700, 700), np.uint8)))
    predictor = Predictor(classifier_for(1, 2), "cpu")
    predictor.most_lanes = 4
    with pytest.raises(ImageError, match="gone"):
        list(predictor.stream(source, plan_tiles(source.shape, predictor.classifier.spec)))
    assert not any(thread.name.startswith("lane") for thread in threading.enumerate())


def test_who_looks_no_further_ends_the_lanes_amid_their_tiles(four_threads: None) -> None:
    pixels = Pixels(np.random.default_rng(0).normal(100, 20, (1400, 1400)).astype(np.float32))
    source = ImageSource(pixels)
    classifier = classifier_for(1, 2)
    tiles = plan_tiles(source.shape, classifier.spec)
    everything, some = Predictor(classifier, "cpu"), Predictor(classifier, "cpu")
    everything.most_lanes = some.most_lanes = 2
    assert len(list(everything.stream(source, tiles))) == len(tiles)
    reads = pixels.reads
    stream = some.stream(source, tiles)
    assert next(stream).tile == tiles[0]
    stream.close()
    assert pixels.reads - reads < reads / 2
    assert not any(thread.name.startswith("lane") for thread in threading.enumerate())
    assert list(Predictor(classifier, "cpu").stream(source, tiles, stop=lambda: True)) == []


def test_as_many_lanes_are_busy_as_the_share_says() -> None:
    busy, most, share = [0], [0], [1]
    lock = threading.Lock()

    def work(number: int) -> int:
        with lock:
            busy[0] += 1
            most[0] = max(most[0], busy[0])
        time.sleep(0.01)
        with lock:
            busy[0] -= 1
        return -number

    assert list(in_lanes(work, range(6), 3, lambda: share[0])) == [0, -1, -2, -3, -4, -5]
    assert most == [1]
    share[0] = 2
    assert list(in_lanes(work, range(6), 3, lambda: share[0])) == [0, -1, -2, -3, -4, -5]
    assert most == [2]
    assert list(in_lanes(work, range(9), 3)) == [-n for n in range(9)]
    assert most == [3]
    assert list(in_lanes(threading.current_thread, [], 1)) == []


def test_lanes_take_no_more_memory_than_the_limit_leaves() -> None:
    needs = MemoryNeeds(channels=1, classes=2, symmetries=1)
    assert plan_memory(needs.at_work, 0, needs, cores=8).lanes == 1
    assert plan_memory(needs.at_work + 2 * needs.computing, 0, needs, cores=8).lanes == 2
    plan = plan_memory(needs.at_work + 20 * needs.computing, 0, needs, cores=8)
    assert plan.lanes == 8
    assert plan.scores + plan.segments + 7 * needs.computing <= 20 * needs.computing
    assert plan_memory(2 * needs.at_work + 20 * needs.computing, 0, needs, jobs=2, cores=8).lanes == 4
