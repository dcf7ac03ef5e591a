"""Strokes on planes too large for a plain layer: painted, learned from, kept and undone as on a plain one."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from napari.layers import Image, Labels

from gui_session import Desk, two_textures
from napari_dsparse import Project, train
from napari_dsparse.classifier.classes import default_classes
from napari_dsparse.files import chunked
from napari_dsparse.files.chunked import is_large, nothing_painted
from napari_dsparse.files.project_strokes import open_strokes, write_strokes
from napari_dsparse.gui.contributions.writer import write_labels
from napari_dsparse.gui.layers import large_strokes
from napari_dsparse.gui.layers.class_look import class_colormap
from napari_dsparse.gui.layers.colormap_warmup import warm_up_colormaps
from napari_dsparse.gui.layers.large_strokes import LargeStrokes, StrokesPyramid
from napari_dsparse.gui.layers.paint_history import paint_of, paint_places, paint_step
from napari_dsparse.images import ImageSource, painted
from napari_dsparse.images.painted import blocks, equal_paint
from napari_dsparse.live.state import Training
from napari_dsparse.training.strokes import find_strokes


def _pair(shape: tuple[int, ...]) -> tuple[LargeStrokes, Labels]:
    """A sparse layer and a plain one."""
    pyramid = StrokesPyramid(nothing_painted(shape))
    layers = LargeStrokes(pyramid), Labels(np.zeros(shape, np.uint8))
    for layer in layers:
        layer.mode = "paint"
    return layers


@pytest.mark.parametrize("shape", [(700, 1101), (3, 600, 700)])
def test_every_tool_paints_as_on_a_plain_layer(
    shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(large_strokes, "COARSEST", 100)
    sparse, plain = layers = _pair(shape)
    plane = (1,) * (len(shape) - 2)
    assert sparse.editable
    assert sparse.as_layer_data_tuple()[2] == "labels"

    def edit(layer: Labels, step: int) -> None:
        layer.brush_size = 25
        corner = [(*plane, y, x) for y, x in ((300, 300), (300, 420), (420, 420), (420, 300))]
        match step:
            case 0:
                with layer.block_history():
                    layer._draw(1, (*plane, 40, 30), (*plane, 90, 560))
                    layer._draw(1, (*plane, 90, 560), (*plane, 5, 500))
            case 1:
                layer.paint_polygon(corner, 2)
            case 2:
                layer.fill((*plane, 350, 350), 3)
            case 3:
                layer.preserve_labels = True
                layer.paint((*plane, 420, 420), 4)
                layer.preserve_labels = False
            case 4:
                layer.brush_size = 11
                layer._draw(0, (*plane, 60, 200), (*plane, 80, 400))
            case 5:
                layer.contiguous = False
                layer.fill((*plane, 350, 350), 5)
            case 6:
                layer.data_setitem(tuple(np.array([0, n - 1]) for n in shape), np.array([7, 8], np.uint8))

    def check() -> None:
        wanted = plain.data
        np.testing.assert_array_equal(np.asarray(sparse.data), wanted)
        for level in sparse.data[1:]:
            odd = [(0, 0)] * len(plane) + [(0, n % 2) for n in wanted.shape[-2:]]
            even = np.pad(wanted, odd)
            halved = np.maximum(even[..., ::2, :], even[..., 1::2, :])
            wanted = np.maximum(halved[..., ::2], halved[..., 1::2])
            np.testing.assert_array_equal(np.asarray(level), wanted)

    for step in range(7):
        for layer in layers:
            edit(layer, step)
        check()
        found, wanted = find_strokes(sparse.data.snapshot()), find_strokes(plain.data)
        assert [each.key for each in found] == [each.key for each in wanted]
    for action in (*("undo",) * 7, *("redo",) * 4, "undo"):
        for layer in layers:
            getattr(layer, action)()
        check()


def test_a_stroke_takes_the_memory_of_its_surroundings_alone() -> None:
    assert is_large((16384, 16384))
    assert is_large((64, 2048, 2048))
    assert not is_large((5000, 5000))
    layer = LargeStrokes(StrokesPyramid(nothing_painted((100_000, 100_000))))
    layer.mode = "paint"
    tracemalloc.start()
    try:
        kept = [layer.data.snapshot()]
        for number in range(4):
            layer._draw(1, (50_000, 50_000 + 900 * number), (50_050, 50_400 + 900 * number))
            kept.append(layer.data.snapshot())
        assert tracemalloc.get_traced_memory()[1] < 50e6
    finally:
        tracemalloc.stop()
    assert [len(find_strokes(each)) for each in kept] == [0, 1, 2, 3, 4], "a copy is not painted on any more"
    assert layer.data.snapshot() is kept[-1], "where nothing was painted, it is the same"


def test_what_reaches_too_far_is_refused_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(large_strokes, "show_warning", said.append)
    layer = LargeStrokes(StrokesPyramid(nothing_painted((100_000, 100_000))))
    layer.fill((50_000, 50_000), 1)
    layer.paint_polygon([(0, 0), (0, 90_000), (90_000, 0)], 1)
    layer.brush_size = 20_000
    layer.paint((50_000, 50_000), 1)
    layer.contiguous = False
    layer.fill((50_000, 50_000), 1)
    assert not layer.data.snapshot()._chunks
    assert len(said) == 4
    wide = "reaches over more than 4,096 x 4,096 pixels"
    assert said[0] == f"What the bucket fills here {wide}; close its outline, or use the brush."


def test_steps_of_edits_are_those_of_a_plain_layer() -> None:
    layers = _pair((600, 1101))
    marks = []
    for layer in layers:
        layer.paint((300, 510), 1)
        paint_places(layer, np.array([5, 600 * 1101 - 1]), np.array([2, 3], np.uint8))
        after = paint_of(layer).copy()
        after[300:301, 505:515] = np.zeros((1, 10), np.uint8)
        marks += [paint_step(layer, after), paint_step(layer, after)]
    assert None not in marks
    for _ in range(5):
        np.testing.assert_array_equal(np.asarray(layers[0].data), layers[1].data)
        for layer in layers:
            layer.undo()


def test_a_window_learns_keeps_and_renumbers_sparse_strokes_as_plain_ones(
    desk: Callable[..., Desk], user_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunked, "LARGE_PLANE", 1)
    image = two_textures()
    at = desk(Image(image, name="textures"))
    at.click("new_labels_button")
    layer = at.layer("textures strokes")
    assert type(layer) is LargeStrokes
    assert at.find("labels_combo").layer is layer
    at.paint_two_classes(layer)
    plain = Labels(np.zeros((96, 128), np.uint8))
    at.paint_two_classes(plain)
    at.wait(lambda: at.session.training is Training.STEADY and at.session.has_model)
    assert at.session.counts == ((2, int((plain.data == 1).sum())), (2, int((plain.data == 2).sum())))
    model = train(image, plain.data, classes=at.session.classes, steps=0)
    learned = at.session.model.classifier.weights
    for name, weights in model.classifier.weights.items():
        assert weights.equal(learned[name]), name

    at.click("add_class_button")
    at.paint(layer, 3, (50, 60), (55, 70))
    at.paint(plain, 3, (50, 60), (55, 70))
    at.wait(lambda: len(at.session.counts) == 3 and at.strokes_of(3) == 1)
    at.dock.class_actions.merge_class(1, 3)
    np.testing.assert_array_equal(np.asarray(layer.data), np.array([0, 2, 1, 2], np.uint8)[plain.data])
    at.click("undo_class_button")
    np.testing.assert_array_equal(np.asarray(layer.data), plain.data)

    at.dock.unsaved.save_now()
    at.dock.projects.wait_and_tell()
    kept = next(user_data.glob("unsaved/*.dsparse"))
    stored = next((kept / "strokes").iterdir())
    monkeypatch.setattr(chunked, "LARGE_PLANE", 10**9)
    with Project.create(tmp_path / "plain.dsparse") as project:
        name = project.add(ImageSource(image, None, "textures"), plain.data).strokes
        assert (project.folder / str(name)).read_bytes() == stored.read_bytes()
    write_labels(str(tmp_path / "strokes.tif"), *layer.as_layer_data_tuple()[:2])
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "strokes.tif"), plain.data)


def test_what_is_stored_of_large_strokes_is_what_is_painted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = np.zeros((2, 3000, 5000), np.uint8)
    plain[0, 900:1500, 4990:] = 1
    plain[1, 2999, 0] = 7
    sparse = nothing_painted(plain.shape)
    for corner, values in blocks(plain):
        sparse[corner[0], corner[1] : corner[1] + len(values)] = values
    (tmp_path / "plain").mkdir()
    (tmp_path / "sparse").mkdir()
    names = {
        kind: write_strokes(tmp_path / kind, labels, plain.shape, "image")
        for kind, labels in (("plain", plain), ("sparse", sparse))
    }
    assert names["plain"] == names["sparse"]
    name, largest = names["plain"]
    assert largest == 7
    assert (tmp_path / "plain" / name).read_bytes() == (tmp_path / "sparse" / name).read_bytes()
    stored = open_strokes(tmp_path / "plain", name, plain.shape)
    np.testing.assert_array_equal(stored.load(), plain)
    loaded = stored.load_painted()
    assert equal_paint(loaded, sparse)
    assert len(loaded._chunks) == 3
    monkeypatch.setattr(painted, "_SCAN_PIXELS", 5000 * 128)
    found = [find_strokes(each) for each in (plain, sparse, stored)]
    assert len({tuple(stroke.key for stroke in each) for each in found}) == 1

    huge = nothing_painted((100_000, 100_000))
    huge[40_000:40_010, 99_000:99_050] = 3
    name, _ = write_strokes(tmp_path, huge, huge.shape, "image")
    assert (tmp_path / name).stat().st_size < 2e6
    assert equal_paint(open_strokes(tmp_path, name, huge.shape).load_painted(), huge)


def test_colours_of_labels_are_compiled_before_they_are_needed() -> None:
    warm_up_colormaps().join()
    started = time.thread_time()
    class_colormap(default_classes(3)).map(np.arange(4, dtype=np.uint8))
    assert time.thread_time() - started < 0.5, "numba alone takes seconds"
