"""Features of what is on screen are computed once, and change nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from napari_dsparse.images import ImageSource, Normalisation
from napari_dsparse.network import default_classes
from napari_dsparse.network.warm import warm_start
from napari_dsparse.prediction import Predictor, tiles_of_view
from napari_dsparse.prediction.view_memory import ViewMemory, before_paint
from napari_dsparse.training import Trainer, find_strokes
from test_prediction import classifier_for

SHAPE = 300, 520


class Pixels:
    """Noise that counts how often it is read."""

    shape, dtype, ndim = SHAPE, np.dtype(np.float32), 2

    def __init__(self) -> None:
        self.values = np.random.default_rng(0).normal(10, 3, SHAPE).astype(np.float32)
        self.reads = 0

    def __getitem__(self, index: object) -> np.ndarray:
        self.reads += 1
        return self.values[index]


def labels_of(predictor: Predictor, source: ImageSource, tiles) -> np.ndarray:
    found = np.zeros(SHAPE, np.uint8)
    for prediction in predictor.stream(source, tiles):
        found[prediction.tile.slices] = prediction.labels
    return found


def fitted(seed: int, channels: int = 1):
    """What the trainer hands out before its first step: the warm start, and some last layer."""
    classifier = classifier_for(channels, seed=seed, shares=(0.5, 0.0, 0.5))
    return replace(classifier, weights={**classifier.weights, **warm_start(classifier.spec).weights})


@pytest.mark.parametrize("channels", [1, 2])
def test_remembered_tiles_are_predicted_as_all_others(channels):
    image = np.random.default_rng(1).normal(10, 3, (channels, *SHAPE)).astype(np.float32)
    source, memory = ImageSource(image, 0), ViewMemory()
    tiles = tiles_of_view(SHAPE, (), (40, 300), (10, 520))
    for seed in (0, 1):  # the second reads what the first has left behind
        classifier = fitted(seed, channels)
        memory.turn_to(classifier, source, tiles)
        plain = Predictor(classifier, "cpu", flips=1)
        quick = Predictor(classifier, "cpu", flips=1, memory=memory)
        assert [quick.remembers(tile) for tile in tiles] == [seed == 1] * len(tiles)
        for ours, wanted in zip(quick.stream(source, tiles), plain.stream(source, tiles), strict=True):
            assert_allclose(ours.probabilities, wanted.probabilities, atol=1e-5)
            clear = wanted.uncertainty < 1 - 1e-4
            assert_array_equal(ours.labels[clear], wanted.labels[clear])


def test_the_image_is_read_once_for_all_last_layers():
    pixels, memory = Pixels(), ViewMemory()
    source = ImageSource(pixels)
    tiles = tiles_of_view(SHAPE, (), (0, 300), (0, 520))
    found = []
    for seed in (0, 1, 2):
        memory.turn_to(fitted(seed), source, tiles)
        found.append(labels_of(Predictor(fitted(seed), "cpu", flips=1, memory=memory), source, tiles))
        if seed == 0:
            reads = pixels.reads
    assert pixels.reads == reads > 0
    assert (found[0] != found[1]).any()


def test_what_is_computed_ahead_is_what_the_next_preview_reads():
    pixels, memory = Pixels(), ViewMemory()
    source = ImageSource(pixels)
    tiles = tiles_of_view(SHAPE, (), (0, 300), (0, 520))
    strokes = np.zeros(SHAPE, np.uint8)
    strokes[100, 100:120], strokes[200, 300:320] = 1, 2
    trainer = Trainer([source], default_classes(2), device="cpu", hold_out=False)
    trainer.update(find_strokes(strokes))
    memory.turn_to(before_paint(source), source, tiles)
    ahead = Predictor(before_paint(source), "cpu", memory=memory)
    assert all(ahead.prepare(source, tile) for tile in tiles)
    reads = pixels.reads
    assert all(ahead.prepare(source, tile) for tile in tiles)
    assert pixels.reads == reads
    classifier = trainer.snapshot(quick=True)
    assert memory.serves(classifier)
    memory.turn_to(classifier, source, tiles)
    reads = pixels.reads
    quick = labels_of(Predictor(classifier, "cpu", flips=1, memory=memory), source, tiles)
    assert pixels.reads == reads
    assert_array_equal(quick, labels_of(Predictor(classifier, "cpu", flips=1), source, tiles))
    trainer.step()
    assert not memory.serves(trainer.snapshot(quick=True))


def test_another_image_view_or_normalisation_is_not_mixed_up():
    source, other = (
        ImageSource(np.random.default_rng(i).normal(10, 3, SHAPE).astype(np.float32)) for i in (0, 1)
    )
    tiles = tiles_of_view(SHAPE, (), (0, 300), (0, 520))
    classifier, memory = fitted(0), ViewMemory()
    exposed = replace(classifier, normalisation=Normalisation((9.0,), (2.0,)))

    def remembered_after(*turn) -> int:
        memory.turn_to(classifier, source, tiles)
        labels_of(Predictor(classifier, "cpu", flips=1, memory=memory), source, tiles)
        memory.turn_to(*turn)
        return sum(memory.find(tile) is not None for tile in tiles)

    assert remembered_after(classifier, source, tiles) == len(tiles)
    assert remembered_after(classifier, source, tiles[1:]) == len(tiles) - 1
    assert remembered_after(classifier, other, tiles) == 0
    assert remembered_after(exposed, source, tiles) == 0


def test_only_features_of_the_warm_start_are_remembered():
    memory = ViewMemory()
    assert memory.serves(fitted(0))
    stepped = fitted(0)
    name = next(iter(warm_start(stepped.spec).weights))
    stepped = replace(stepped, weights={**stepped.weights, name: stepped.weights[name] * (1 + 1e-6)})
    assert not memory.serves(stepped)


def test_memory_has_an_end():
    source = ImageSource(np.random.default_rng(0).normal(10, 3, SHAPE).astype(np.float32))
    tiles = tiles_of_view(SHAPE, (), (0, 300), (0, 520))
    one = Predictor(fitted(0), "cpu", flips=1)
    room = ViewMemory(most_bytes=tiles[0].pixels * 64 * torch.float32.itemsize)
    small = Predictor(fitted(0), "cpu", flips=1, memory=room)
    assert [small.prepare(source, tile) for tile in tiles] == [True] + [False] * (len(tiles) - 1)
    assert_array_equal(labels_of(small, source, tiles), labels_of(one, source, tiles))
    room.clear()
    assert not any(small.remembers(tile) for tile in tiles)
