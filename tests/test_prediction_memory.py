"""Features of what is on screen are computed once, and change nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from classifiers import classifier_for
from napari_dsparse.classifier import default_classes
from napari_dsparse.classifier.warm_start import warm_start
from napari_dsparse.images import ImageSource, Normalisation
from napari_dsparse.prediction import Predictor, tiles_of_view
from napari_dsparse.prediction.tiles import Tile
from napari_dsparse.prediction.view_memory import ViewMemory, warm_start_classifier
from napari_dsparse.training import Trainer, find_strokes
from whole_images import predict_labels

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
    """The trainer's first snapshot: the warm start, and some last layer."""
    classifier = classifier_for(channels, seed=seed, priors=(0.5, 0.0, 0.5))
    return replace(classifier, weights={**classifier.weights, **warm_start(classifier.spec).weights})


def remembering(classifier, memory: ViewMemory, source: ImageSource, tiles) -> Predictor:
    """A predictor of these tiles, and a memory that has turned to them."""
    predictor = Predictor(classifier, "cpu", n_symmetries=1, memory=memory)
    predictor.begin(source, tiles)
    memory.retain(classifier, source, predictor.blocks_of(tiles))
    return predictor


def shallow_bytes(memory: ViewMemory, block: Tile) -> int:
    """Size of the features of a block before they are made deep."""
    known = memory.find(block)
    return known.values.nbytes - known.extra


@pytest.mark.parametrize("channels", [1, 2])
def test_remembered_tiles_are_predicted_as_all_others(channels):
    image = np.random.default_rng(1).normal(10, 3, (channels, *SHAPE)).astype(np.float32)
    source, memory = ImageSource(image, 0), ViewMemory()
    tiles = tiles_of_view(SHAPE, (), (40, 300), (10, 520))
    for seed in (0, 1):  # the second reads what the first has left behind
        classifier = fitted(seed, channels)
        plain = Predictor(classifier, "cpu", n_symmetries=1)
        quick = remembering(classifier, memory, source, tiles)
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
        found.append(labels_of(remembering(fitted(seed), memory, source, tiles), source, tiles))
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
    ahead = remembering(warm_start_classifier(source), memory, source, tiles)
    assert all(ahead.prepare(source, block) for block in ahead.unknown(tiles))
    reads = pixels.reads
    assert all(ahead.prepare(source, block) for block in ahead.unknown(tiles))
    assert pixels.reads == reads
    classifier = trainer.snapshot()
    assert memory.is_valid_for(classifier)
    reads = pixels.reads
    quick = labels_of(remembering(classifier, memory, source, tiles), source, tiles)
    assert pixels.reads == reads
    assert_array_equal(quick, labels_of(Predictor(classifier, "cpu"), source, tiles))
    trainer.train_more()
    trainer.step()
    assert not memory.is_valid_for(trainer.snapshot())


def test_overlapping_tiles_are_remembered_once():
    pixels, memory = Pixels(), ViewMemory()
    source = ImageSource(pixels)
    left, right = Tile((), (0, 300), (0, 300)), Tile((), (0, 300), (220, 520))
    predictor = remembering(fitted(0), memory, source, (left, right))
    blocks = [predictor.blocks_of([tile]) for tile in (left, right)]
    assert blocks[0] & blocks[1], "their surroundings overlap"
    list(predictor.stream(source, (left, right)))
    assert pixels.reads == len(blocks[0] | blocks[1])
    kept = sum(memory.find(block).values.nbytes for block in blocks[0] | blocks[1])
    halo = 2 * predictor.classifier.spec.block_halo
    features = memory.find(next(iter(blocks[0]))).values.shape[1] * torch.float32.itemsize
    assert kept == (300 + halo) * (520 + halo) * features


def test_a_preview_equals_the_final_image_pixel_for_pixel():
    source = ImageSource(Pixels().values)
    strokes = np.zeros(SHAPE, np.uint8)
    strokes[100, 100:120], strokes[200, 300:320] = 1, 2
    trainer = Trainer([source], default_classes(2), device="cpu", hold_out=False)
    trainer.update(find_strokes(strokes))
    classifier, final = trainer.snapshot(), predict_labels(trainer.snapshot(), source, device="cpu")
    for rows, columns in (((0, 300), (0, 520)), ((40, 211), (17, 500))):
        tiles = tiles_of_view(SHAPE, (), rows, columns)
        preview = labels_of(remembering(classifier, ViewMemory(), source, tiles), source, tiles)
        seen = np.s_[slice(*rows), slice(*columns)]
        assert_array_equal(preview[seen], final[seen])


def test_another_image_view_or_normalisation_is_not_mixed_up():
    source, other = (
        ImageSource(np.random.default_rng(i).normal(10, 3, SHAPE).astype(np.float32)) for i in (0, 1)
    )
    tiles = tiles_of_view(SHAPE, (), (0, 300), (0, 520))
    classifier, memory = fitted(0), ViewMemory()
    exposed = replace(classifier, normalisation=Normalisation((9.0,), (2.0,)))

    planned = remembering(classifier, memory, source, tiles)
    blocks, fewer = planned.blocks_of(tiles), planned.blocks_of(tiles[1:])

    def remembered_after(*turn) -> set[Tile]:
        labels_of(remembering(classifier, memory, source, tiles), source, tiles)
        memory.retain(*turn)
        return {block for block in blocks if memory.find(block) is not None}

    assert fewer < blocks
    assert remembered_after(classifier, source, blocks) == blocks
    assert remembered_after(classifier, source, fewer) == fewer
    assert not remembered_after(classifier, other, blocks)
    assert not remembered_after(exposed, source, blocks)


def test_only_features_of_the_warm_start_are_remembered():
    memory = ViewMemory()
    assert memory.is_valid_for(fitted(0))
    stepped = fitted(0)
    name = next(iter(warm_start(stepped.spec).weights))
    stepped = replace(stepped, weights={**stepped.weights, name: stepped.weights[name] * (1 + 1e-6)})
    assert not memory.is_valid_for(stepped)


def test_memory_has_an_end():
    source = ImageSource(np.random.default_rng(0).normal(10, 3, SHAPE).astype(np.float32))
    tiles = tiles_of_view(SHAPE, (), (0, 300), (0, 520))
    one, all_of_it = Predictor(fitted(0), "cpu", n_symmetries=1), ViewMemory()
    planned = remembering(fitted(0), all_of_it, source, tiles)
    assert all(planned.prepare(source, block) for block in planned.unknown(tiles))
    first = planned.blocks_of(tiles[:1])
    assert first < planned.blocks_of(tiles)
    room = ViewMemory(most_bytes=sum(shallow_bytes(all_of_it, block) for block in first))
    small = remembering(fitted(0), room, source, tiles)
    assert all(small.prepare(source, block) for block in small.unknown(tiles[:1]))
    assert not any(small.prepare(source, block) for block in small.unknown(tiles))
    assert [small.remembers(tile) for tile in tiles] == [True] + [False] * (len(tiles) - 1)
    assert_array_equal(labels_of(small, source, tiles), labels_of(one, source, tiles))
    room.clear()
    assert not any(small.remembers(tile) for tile in tiles)


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_as_many_parts_as_fit_are_kept_up_to_the_last_layer(share):
    source = ImageSource(np.random.default_rng(0).normal(10, 3, SHAPE).astype(np.float32))
    tiles = tiles_of_view(SHAPE, (), (0, 300), (0, 520))
    everything = ViewMemory()
    planned = remembering(fitted(0), everything, source, tiles)
    assert all(planned.prepare(source, block) for block in planned.unknown(tiles))
    blocks = planned.blocks_of(tiles)
    assert all(everything.find(block).deep for block in blocks)
    least = sum(shallow_bytes(everything, block) for block in blocks)
    most = sum(everything.find(block).values.nbytes for block in blocks)
    memory = ViewMemory(most_bytes=round(least + share * (most - least)))
    wanted = [each.painted for each in Predictor(fitted(1), "cpu", 1).stream(source, tiles)]
    for _ in range(2):  # the second reads what the first has left behind
        predictor = remembering(fitted(1), memory, source, tiles)
        found = [each.painted for each in predictor.stream(source, tiles)]
        assert all(map(np.array_equal, found, wanted))
    deep = [memory.find(block).deep for block in blocks]
    assert all(predictor.remembers(tile) for tile in tiles)
    assert any(deep) == (share > 0)
    assert all(deep) == (share == 1)


def test_a_larger_view_takes_the_room_of_the_last_layer():
    source = ImageSource(np.random.default_rng(0).normal(10, 3, SHAPE).astype(np.float32))
    part, whole = ((Tile((), (0, 300), (0, stop)),) for stop in (260, 520))
    everything = ViewMemory()
    planned = remembering(fitted(0), everything, source, whole)
    assert all(planned.prepare(source, block) for block in planned.unknown(whole))
    memory = ViewMemory(sum(shallow_bytes(everything, block) for block in planned.blocks_of(whole)))
    small = remembering(fitted(0), memory, source, part)
    assert all(small.prepare(source, block) for block in small.unknown(part))
    assert any(memory.find(block).deep for block in small.blocks_of(part))
    large = remembering(fitted(0), memory, source, whole)
    assert all(large.prepare(source, block) for block in large.unknown(whole))
    assert not any(memory.find(block).deep for block in large.blocks_of(whole))
