"""Results of images too large for a plain layer: pyramids of chunks that follow the same loop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from napari.layers import Image, Labels

from gui_session import Desk, two_textures
from napari_dsparse.classifier import class_edits
from napari_dsparse.classifier.classes import default_classes
from napari_dsparse.files.chunk_store import ChunkStore
from napari_dsparse.files.chunked import ChunkedArray
from napari_dsparse.gui.layers import result_pixels, strokes_layer
from napari_dsparse.gui.layers.image_frame import channel_choices, frame_of
from napari_dsparse.gui.layers.result_pixels import put
from napari_dsparse.live import events as ev
from napari_dsparse.live import messages as msg
from napari_dsparse.live.envelope import Envelope
from napari_dsparse.live.state import Training
from napari_dsparse.model import Model
from napari_dsparse.prediction.tiles import Tile


def test_a_large_segmentation_is_a_pyramid_filled_as_tiles_are_done(
    desk: Callable[..., Desk], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(result_pixels, "LARGE_PLANE", 1)
    monkeypatch.setattr(result_pixels, "COARSEST", 40)
    image = two_textures()
    at = desk(Image(image, name="textures", scale=(0.5, 0.5)))
    at.click("new_labels_button")
    at.paint_two_classes(at.layer("textures strokes"))
    at.wait(lambda: at.session.training is Training.STEADY and at.session.has_model)
    at.find("uncertainty_check").setChecked(True)
    at.click("predict_button")
    at.wait(lambda: at.session.complete)
    layer = at.layer("textures segmentation")
    maps = Model(at.session.model.classifier).predict_maps(image, uncertainty=True)
    assert [level.shape for level in layer.data] == [(96, 128), (48, 64), (24, 32)]
    assert [type(level) for level in layer.data] == [ChunkedArray, ChunkedArray, np.ndarray]
    assert np.shares_memory(layer.data[2], np.asarray(layer._slice.thumbnail.raw)), "napari shows no old copy"
    for number, level in enumerate(layer.data):
        np.testing.assert_array_equal(level[...], maps.labels[:: 2**number, :: 2**number])
    uncertainty = at.layer("textures uncertainty")
    np.testing.assert_array_equal(uncertainty.data[1][...], maps.uncertainty[::2, ::2])
    assert tuple(layer.scale) == (0.5, 0.5)

    at.dock.controller.send(ev.ExportPressed(tmp_path / "labels.tif", overwrite=False))
    at.wait(lambda: (tmp_path / "labels.tif").exists() and not at.session.writing)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "labels.tif"), maps.labels)

    monkeypatch.setattr(ChunkStore, "touch", _full)
    done = _sketch(Tile((), (0, 96), (0, 128)), np.ones((1, 1), np.uint8), 128)
    done = replace(done, uncertainty=np.full((1, 1), 0.5, np.float32))
    monkeypatch.setattr(result_pixels, "LARGE_PLANE", 10**9)
    results, count = at.dock.controller.results, len(at.viewer.layers)
    results._let_go()
    results.show_tile(done)
    assert results.segmentation is layer, "a new layer would be a plain one; this one is a pyramid and stays"
    assert len(at.viewer.layers) == count
    assert all((np.asarray(level) == 1).all() for level in layer.data)
    assert all((np.asarray(level) == 0.5).all() for level in uncertainty.data)
    at.qtbot.wait(50)
    assert "No space left" in at.status
    assert "make room" in at.status


def test_strokes_that_do_not_fit_into_memory_are_refused_in_words(
    desk: Callable[..., Desk], monkeypatch: pytest.MonkeyPatch
) -> None:
    at = desk(Image(two_textures(), name="textures"))
    monkeypatch.setattr(strokes_layer, "COPIES", 10**12)
    at.click("new_labels_button")
    assert at.status.startswith("Strokes on 96 x 128 pixels take 1.23e+07 GB of memory and ")
    assert at.status.endswith("paint on a part of the image, cropped, and segment the whole with that model.")
    assert not at.has_layer("textures strokes")


def _full(self: ChunkStore, chunk: object) -> None:
    raise OSError(28, "No space left on device")


def _sketch(tile: Tile, labels: np.ndarray, cell: int, kept: tuple[Tile, ...] = ()) -> msg.TileDone:
    return msg.TileDone(
        Envelope(1, 1, 1), (), True, False, tile, labels, None, None, 0.0, 0.0, 0.0, cell, kept
    )


def test_every_level_is_written_for_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(result_pixels, "LARGE_PLANE", 1)
    monkeypatch.setattr(result_pixels, "COARSEST", 20)
    image = Image(np.zeros((50, 61), np.uint8))
    frame = frame_of(image, channel_choices(image)[0])
    store = ChunkStore(10**6, tmp_path)
    layer = Labels(result_pixels.blank(frame, image, np.uint8, store))
    whole = Tile((), (0, 50), (0, 61))
    exact = _sketch(whole, np.ones((50, 61), np.uint8), 1)
    assert put(layer, frame, exact, exact.labels)
    assert not put(layer, frame, exact, exact.labels)
    monkeypatch.setattr(result_pixels, "MOST_SKETCHED", 50 * 61 // 4 + 1)
    sketch = _sketch(whole, np.full((5, 7), 2, np.uint8), 10)
    assert put(layer, frame, sketch, sketch.labels)
    assert [np.unique(np.asarray(level)).tolist() for level in layer.data] == [[1], [2], [2]]
    assert put(layer, frame, exact, exact.labels)
    assert [np.unique(np.asarray(level)).tolist() for level in layer.data] == [[1], [1], [1]]

    monkeypatch.setattr(store, "touch", lambda chunk: _full(store, chunk))
    done = _sketch(whole, np.full((50, 61), 3, np.uint8), 1)
    with pytest.raises(OSError, match="No space"):
        put(layer, frame, done, done.labels)
    assert [np.unique(np.asarray(level)).tolist() for level in layer.data] == [[3], [3], [3]]
    classes = default_classes(4)
    result_pixels.renumber(layer, class_edits.move(classes, 3, 4))  # nothing is written: it is read so
    assert [np.unique(np.asarray(level)).tolist() for level in layer.data] == [[4], [4], [4]]


def test_a_result_of_either_kind_is_taken_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = Image(np.zeros((50, 61), np.uint8))
    frame = frame_of(image, channel_choices(image)[0])
    store = ChunkStore(10**6, tmp_path)
    layers = []
    for free in (10**9, 0):  # what is free decides on new layers only
        monkeypatch.setattr(result_pixels, "free_memory", lambda free=free: free)
        layers.append(Image(result_pixels.blank(frame, image, np.float32, store)))
    plain, pyramid = layers
    assert (plain.multiscale, pyramid.multiscale) == (False, True)
    assert all(result_pixels.fits(layer, frame, np.float32) for layer in layers)
    assert not any(result_pixels.fits(layer, frame, np.uint8) for layer in layers)
    plain.data[...] = np.arange(50 * 61).reshape(50, 61)
    wanted = plain.data.copy()
    result_pixels.add(pyramid, plain)
    for number, level in enumerate(pyramid.data):
        np.testing.assert_array_equal(np.asarray(level), wanted[:: 2**number, :: 2**number])
    result_pixels.add(plain, pyramid)
    np.testing.assert_array_equal(plain.data, 2 * wanted)


@pytest.mark.parametrize("large", [False, True])
def test_a_sketch_leaves_exact_tiles_as_they_are(
    large: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(result_pixels, "LARGE_PLANE", 1 if large else 10**9)
    monkeypatch.setattr(result_pixels, "COARSEST", 20)
    image = Image(np.zeros((50, 61), np.uint8))
    frame = frame_of(image, channel_choices(image)[0])
    store = ChunkStore(10**6, tmp_path)
    layer = Labels(result_pixels.blank(frame, image, np.uint8, store))
    exact = Tile((), (13, 31), (20, 44))
    done = _sketch(exact, np.full((18, 24), 9, np.uint8), 1)
    assert put(layer, frame, done, done.labels)
    cells = np.arange(1, 36, dtype=np.uint8).reshape(5, 7)
    done = _sketch(Tile((), (3, 50), (1, 61)), cells, 10, (exact,))
    assert put(layer, frame, done, done.labels)
    wanted = np.zeros((50, 61), np.uint8)
    wanted[3:, 1:] = cells.repeat(10, 0)[:47].repeat(10, 1)[:, :60]
    wanted[exact.slices] = 9
    levels = layer.data if large else [layer.data]
    assert len(levels) == (3 if large else 1)
    for number, level in enumerate(levels):
        np.testing.assert_array_equal(np.asarray(level), wanted[:: 2**number, :: 2**number])
