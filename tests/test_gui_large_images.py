"""Results of images too large for a plain layer: pyramids of chunks that follow the same loop."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from napari.layers import Image

from gui_session import Desk, two_textures
from napari_dsparse.files.chunked import ChunkedArray, ChunkStore
from napari_dsparse.gui.layers import result_pixels, strokes_layer
from napari_dsparse.gui.layers.result_pixels import put
from napari_dsparse.live import events as ev
from napari_dsparse.live import messages as msg
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
    at.dock.controller.results.show_tile(_sketch(Tile((), (0, 96), (0, 128)), np.ones((1, 1), np.uint8), 128))
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
        msg.Envelope(1, 1, 1), (), True, False, tile, labels, None, None, 0.0, 0.0, 0.0, cell, kept
    )


@pytest.mark.parametrize("large", [False, True])
def test_a_sketch_leaves_exact_tiles_as_they_are(
    large: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from napari.layers import Labels

    from napari_dsparse.gui.layers.image_frame import channel_choices, frame_of

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
