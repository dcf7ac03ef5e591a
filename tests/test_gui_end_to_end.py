"""The main job through the real napari: open, paint, watch it learn, segment, export."""

from __future__ import annotations

import gc
import importlib.util
import json
import threading
import weakref
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from napari.layers import Image, Labels
from qtpy.QtWidgets import QFileDialog, QMessageBox

from gui_session import PATIENCE, Desk, two_textures, working_threads
from napari_dsparse.files.model import read_classifier
from napari_dsparse.gui.layers.result_layers import ResultLayers
from napari_dsparse.images.reading import read_image
from napari_dsparse.live import file_thread, predictor_thread
from napari_dsparse.live.messages import TileDone
from napari_dsparse.live.state import Training
from napari_dsparse.prediction import Predictor
from napari_dsparse.prediction.view_memory import ViewMemory
from napari_dsparse.samples import load

PLACE: dict[str, Any] = {
    "scale": (0.25, 0.5),
    "translate": (3.0, -7.0),
    "rotate": 20.0,
    "shear": (0.2,),
    "affine": np.array([[1.0, 0.1, 4.0], [0.0, 1.0, 5.0], [0.0, 0.0, 1.0]]),
    "units": ("micrometer", "micrometer"),
    "axis_labels": ("y", "x"),
}


def save_as(monkeypatch: pytest.MonkeyPatch, path: Path, replace: bool | None = None) -> None:
    """The next save dialog is answered with `path`, the question about replacing it with `replace`."""
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *a, **k: (str(path), ""))

    def answer(*args: Any, **kwargs: Any) -> QMessageBox.StandardButton:
        assert replace is not None, "nobody should have asked about replacing a file"
        return QMessageBox.StandardButton.Yes if replace else QMessageBox.StandardButton.No

    monkeypatch.setattr(QMessageBox, "question", answer)


def train_on_textures(at: Desk) -> Labels:
    """New strokes layer, two classes painted by hand; a model that has learned them and is at rest."""
    at.click("new_labels_button")
    strokes = at.layer("textures strokes")
    at.paint_two_classes(strokes)
    at.wait(lambda: at.has_layer("textures segmentation"))
    at.wait(lambda: at.session.training is Training.STEADY)
    return strokes


def test_painting_two_classes_segments_the_image(desk: Callable[..., Desk]) -> None:
    image = two_textures()
    at = desk(Image(image, name="textures", **PLACE))
    at.click("new_labels_button")
    strokes = at.layer("textures strokes")
    at.paint_two_classes(strokes)
    painted = strokes.data.copy()
    at.wait(lambda: at.session.training is Training.STEADY)
    at.click("predict_button")
    at.wait(lambda: at.session.complete)
    result = at.layer("textures segmentation")
    assert isinstance(result, Labels)
    assert result.data.dtype == np.uint8
    halves = np.repeat([[1, 2]], 64, axis=1).repeat(96, axis=0)
    assert (result.data == halves).mean() > 0.9
    np.testing.assert_array_equal(strokes.data, painted)


def test_new_paint_is_sketched_once_and_made_exact(
    desk: Callable[..., Desk], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predictor_thread, "ViewMemory", lambda _bytes: ViewMemory(0))
    at = desk(Image(two_textures(), name="textures"))
    shown: list[bool] = []
    sketched: list[bool] = []
    show_tile = ResultLayers.show_tile

    def note(self: ResultLayers, done: TileDone, **options: bool) -> None:
        shown.append(done.exact)
        show_tile(self, done, **options)

    monkeypatch.setattr(ResultLayers, "show_tile", note)
    at.dock.controller.changed.connect(lambda session: sketched.append(session.sketched))
    train_on_textures(at)
    at.wait(lambda: shown[-1] and not at.session.sketched)
    at.qtbot.wait(500)
    assert shown == [False, True], "the exact preview is final: it is not computed again at rest"
    assert any(sketched)
    assert "Coarse preview" not in at.status


def test_what_was_computed_ahead_is_shown_without_a_sketch(
    desk: Callable[..., Desk], monkeypatch: pytest.MonkeyPatch
) -> None:
    at = desk(Image(two_textures(), name="textures"))
    prepared: list[bool] = []
    exact: list[bool] = []
    prepare, show_tile = Predictor.prepare, ResultLayers.show_tile

    def note_ahead(self: Predictor, *args: Any, **more: Any) -> bool:
        prepared.append(prepare(self, *args, **more))
        return prepared[-1]

    def note_shown(self: ResultLayers, done: TileDone, **options: bool) -> None:
        exact.append(done.exact)
        show_tile(self, done, **options)

    monkeypatch.setattr(Predictor, "prepare", note_ahead)
    monkeypatch.setattr(ResultLayers, "show_tile", note_shown)
    at.click("new_labels_button")
    at.wait(lambda: any(prepared))
    at.paint_two_classes(at.layer("textures strokes"))
    at.wait(lambda: at.session.training is Training.STEADY)
    at.wait(lambda: bool(exact))
    assert all(exact)


def test_result_layers_lie_where_the_image_lies(desk: Callable[..., Desk]) -> None:
    at = desk(Image(two_textures(), name="textures", **PLACE))
    at.find("uncertainty_check").setChecked(True)
    at.find("probabilities_check").setChecked(True)
    train_on_textures(at)
    names = ["textures strokes", "textures segmentation", "textures uncertainty"]
    names += ["textures probability background", "textures probability object"]
    at.wait(lambda: all(at.has_layer(name) for name in names))
    image = at.layer("textures")
    for layer in map(at.layer, names):
        for attribute in ("scale", "translate", "rotate", "shear"):
            np.testing.assert_allclose(
                getattr(layer, attribute), getattr(image, attribute), err_msg=layer.name
            )
        np.testing.assert_allclose(layer.affine.affine_matrix, image.affine.affine_matrix)
        np.testing.assert_allclose(layer.data_to_world((10, 20)), image.data_to_world((10, 20)))
        assert layer.units == image.units
        assert layer.axis_labels == image.axis_labels
    total = sum(at.layer(name).data for name in names[3:])
    np.testing.assert_allclose(total, 1, atol=1e-5)


def test_open_data_from_strokes_to_a_file(
    desk: Callable[..., Desk], open_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = open_data / "fluo_nuclei_dsb"
    names = json.loads((folder / "meta.json").read_text())["classes"]
    pixels = tifffile.imread(folder / "image_00.tif") if (folder / "image_00.tif").exists() else None
    if pixels is None:
        pixels = np.asarray(read_image(folder / "image_00.png").data)
    truth = np.asarray(read_image(folder / "label_00.png").data)
    scribbles = _load(open_data / "scribble.py").scribbles(truth, seed=0, n_pixels=500)

    scale, units = (0.65, 0.65), ("micrometer", "micrometer")
    at = desk(Image(pixels, name="nuclei", rgb=pixels.ndim == 3, scale=scale, units=units))
    at.click("new_labels_button")
    strokes = at.layer("nuclei strokes")
    for number in sorted(int(key) for key in names):
        where = np.nonzero(scribbles == number)
        strokes.data_setitem(where, number)
    at.wait(lambda: at.session.training is Training.STEADY, timeout=2 * PATIENCE)

    at.click("predict_button")
    at.wait(lambda: at.session.complete)
    result = at.layer("nuclei segmentation").data
    unpainted = scribbles == 0
    for number in sorted(int(key) for key in names):
        found, true = (result == number)[unpainted], (truth == number)[unpainted]
        assert (found & true).sum() / (found | true).sum() > 0.5

    target = tmp_path / "nuclei.ome.tif"
    save_as(monkeypatch, target)
    at.click("export_button")
    at.wait(lambda: "saved as" in at.status)
    np.testing.assert_array_equal(tifffile.imread(target), result)
    written = read_image(target)
    assert written.data.dtype == np.uint8
    assert written.scale == pytest.approx(scale)
    assert written.units == units
    description = tifffile.TiffFile(target).ome_metadata or ""
    for info in at.session.classes:
        assert info.name in description


def _load(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_export_segments_what_is_missing_first(
    desk: Callable[..., Desk], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = desk(Image(two_textures(), name="textures"))
    train_on_textures(at)
    assert not at.session.complete
    save_as(monkeypatch, tmp_path / "out.png")
    at.click("export_button")
    at.wait(lambda: "saved as" in at.status)
    assert at.session.complete
    assert (tmp_path / "out.png").exists()


@pytest.mark.parametrize("replace", [True, False])
def test_nothing_is_overwritten_without_asking(
    replace: bool, desk: Callable[..., Desk], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = desk(Image(two_textures(), name="textures"))
    train_on_textures(at)
    target = tmp_path / "mine.ome.tif"
    target.write_bytes(b"precious")
    save_as(monkeypatch, target, replace=replace)
    at.click("export_button")
    if replace:
        at.wait(lambda: "saved as" in at.status)
        assert tifffile.imread(target).shape == (96, 128)
    else:
        at.qtbot.wait(200)
        assert target.read_bytes() == b"precious"


def test_a_failed_export_is_one_sentence_and_leaves_no_file(
    desk: Callable[..., Desk], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = desk(Image(two_textures(), name="textures"))
    train_on_textures(at)
    save_as(monkeypatch, tmp_path / "absent folder" / "out.ome.tif")
    at.click("export_button")
    at.wait(lambda: at.session.problem is not None)
    assert at.status == at.session.problem
    assert "Traceback" not in at.status
    assert "\n" not in at.status
    assert not list(tmp_path.iterdir())
    assert at.find("export_button").isEnabled()


def test_a_saved_model_segments_another_image(
    desk: Callable[..., Desk], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = desk(Image(two_textures(), name="textures"))
    train_on_textures(at)
    path = tmp_path / "textures.safetensors"
    save_as(monkeypatch, path)
    at.click("save_model_button")
    at.wait(lambda: "saved as" in at.status)
    at.viewer.layers.clear()
    at.viewer.add_layer(Image(two_textures(seed=1), name="others"))
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *a, **k: (str(path), ""))
    at.click("load_model_button")
    at.wait(lambda: at.session.has_model and not at.session.writing)
    at.click("predict_button")
    at.wait(lambda: at.session.complete)
    assert set(np.unique(at.layer("others segmentation").data)) == {1, 2}


def test_a_loaded_model_matches_the_exposure_of_a_darker_image(
    desk: Callable[..., Desk], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = desk(Image(two_textures(), name="textures"))
    train_on_textures(at)
    at.click("predict_button")
    at.wait(lambda: at.session.complete)
    bright = at.layer("textures segmentation").data.copy()
    path = tmp_path / "textures.safetensors"
    save_as(monkeypatch, path)
    at.click("save_model_button")
    at.wait(lambda: "saved as" in at.status)
    at.viewer.layers.clear()
    at.viewer.add_layer(Image(two_textures() * np.float32(0.1), name="darker"))
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *a, **k: (str(path), ""))
    at.click("load_model_button")
    at.wait(lambda: "10.0 times less widely than where" in at.status)
    assert "tick 'match exposure'" in at.status
    at.find("exposure_check").setChecked(True)
    assert "widely" not in at.status
    at.click("predict_button")
    at.wait(lambda: at.session.complete)
    np.testing.assert_array_equal(at.layer("darker segmentation").data, bright)


def test_a_file_that_is_no_model_is_refused_in_a_sentence(
    desk: Callable[..., Desk], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = desk(Image(two_textures(), name="textures"))
    path = tmp_path / "novel.safetensors"
    path.write_text("It was a dark and stormy night.")
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *a, **k: (str(path), ""))
    at.click("load_model_button")
    at.wait(lambda: at.session.problem is not None)
    assert "novel.safetensors" in at.status
    assert not at.session.has_model


def test_a_users_layer_of_the_results_name_is_left_alone(desk: Callable[..., Desk]) -> None:
    image = Image(two_textures(), name="textures")
    mine = Labels(np.full((96, 128), 7, np.uint8), name="textures segmentation")
    at = desk(image, mine)
    at.click("new_labels_button")
    at.paint_two_classes(at.layer("textures strokes"))
    at.wait(lambda: at.has_layer("textures segmentation [1]"))
    assert (mine.data == 7).all()


def test_a_segmentation_that_was_removed_comes_back_whole(
    desk: Callable[..., Desk], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = desk(Image(two_textures(), name="textures"))
    train_on_textures(at)
    at.click("predict_button")
    at.wait(lambda: at.session.complete)
    at.viewer.layers.remove("textures segmentation")
    assert not at.session.complete
    at.click("predict_button")
    at.wait(lambda: at.session.complete)
    assert (at.layer("textures segmentation").data > 0).all()
    at.viewer.layers.remove("textures segmentation")
    save_as(monkeypatch, tmp_path / "out.ome.tif")
    at.click("export_button")
    at.wait(lambda: "saved as" in at.status)
    assert (np.asarray(read_image(tmp_path / "out.ome.tif").data) > 0).all()


def test_painting_while_a_file_is_written_does_not_reach_the_file(
    desk: Callable[..., Desk], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = desk(Image(two_textures(), name="textures"))
    train_on_textures(at)
    at.click("predict_button")
    at.wait(lambda: at.session.complete)
    result = at.layer("textures segmentation")
    meant = result.data.copy()
    write, may_write = file_thread.export_labels, threading.Event()

    def slow(*args: Any, **kwargs: Any) -> Path:
        assert may_write.wait(30)
        return write(*args, **kwargs)

    monkeypatch.setattr(file_thread, "export_labels", slow)
    save_as(monkeypatch, tmp_path / "out.ome.tif")
    at.click("export_button")
    result.data[:] = 0
    may_write.set()
    at.wait(lambda: "saved as" in at.status)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "out.ome.tif"), meant)


def test_two_classes_of_one_name_have_a_probability_each(desk: Callable[..., Desk]) -> None:
    at = desk(Image(two_textures(), name="textures"))
    at.find("probabilities_check").setChecked(True)
    train_on_textures(at)
    at.wait(lambda: at.has_layer("textures probability object"))
    one, other = (at.layer(f"textures probability {name}") for name in ("background", "object"))
    # (the table refuses that; older projects and models have it)
    at.dock.controller.set_classes(tuple(replace(info, name="cell") for info in at.session.classes))
    assert one.name == "textures probability cell"
    assert other.name == "textures probability cell [1]"
    first, second = at.session.classes
    at.dock.controller.set_classes((replace(first, color="#0a50c8"), second))
    assert (one.blending, one.contrast_limits) == ("translucent", [0, 1])
    blue = (10 / 255, 80 / 255, 200 / 255)
    np.testing.assert_allclose(one.colormap.map([0, 1]), [(*blue, 0), (*blue, 1)], atol=1e-6)
    np.testing.assert_allclose(other.colormap.map([1])[0, :3], np.divide(second.rgb, 255), atol=1e-6)
    at.paint(at.layer("textures strokes"), 1, (50.0, 20.0), (60.0, 30.0))
    at.wait(lambda: at.session.progress is not None and at.session.progress.strokes == 5)
    at.wait(lambda: at.session.training is Training.STEADY)
    at.click("predict_button")
    at.wait(lambda: at.session.complete)
    np.testing.assert_allclose(one.data + other.data, 1, atol=1e-5)
    assert len([layer for layer in at.viewer.layers if "probability" in layer.name]) == 2


def test_a_third_class_and_two_again(desk: Callable[..., Desk]) -> None:
    at = desk(Image(two_textures(), name="textures"))
    at.find("probabilities_check").setChecked(True)
    strokes = train_on_textures(at)
    at.click("add_class_button")
    at.paint(strokes, 3, (10.0, 60.0), (80.0, 66.0))
    at.wait(lambda: at.has_layer("textures probability class 3"))
    at.wait(lambda: at.session.training is Training.STEADY)
    color = at.layer("textures segmentation").get_color(3)
    np.testing.assert_allclose(color, strokes.get_color(3))
    strokes.undo()
    at.wait(lambda: at.session.counts[2][1] == 0)
    at.wait(lambda: at.session.training is Training.STEADY)
    assert at.session.problem is None


def test_threads_and_memory_of_an_emptied_viewer_go(desk: Callable[..., Desk]) -> None:
    at = desk()
    threads: list[weakref.ref[Any]] = []
    for seed in range(3):
        at.viewer.add_layer(Image(two_textures(seed=seed), name="textures"))
        train_on_textures(at)
        workers = at.dock.controller._workers
        threads += [weakref.ref(thread) for thread in (workers._trainer, workers._predictor)]
        at.viewer.layers.clear()
        at.wait(lambda: not working_threads())
    at.viewer.add_layer(Image(two_textures(), name="textures"))
    train_on_textures(at)
    gc.collect()
    assert len(at.dock.controller._workers._ending) <= 2
    assert sum(thread() is not None for thread in threads) <= 2, "ended threads are let go of"
    at.viewer.layers.clear()


def test_new_results_leave_the_brush_in_the_users_hand(desk: Callable[..., Desk]) -> None:
    at = desk(Image(two_textures(), name="textures"))
    strokes = train_on_textures(at)
    assert getattr(at.viewer.layers.selection.active, "__wrapped__", None) is strokes
    assert strokes.mode == "paint"
    order = [layer.name for layer in at.viewer.layers]
    assert order == ["textures", "textures segmentation", "textures strokes"]


def test_the_sample_learns_as_soon_as_the_dock_opens(desk: Callable[..., Desk]) -> None:
    at = desk()
    at.viewer.open_sample("napari-dsparse", "tissue")
    sample = load("tissue")
    at.wait(lambda: at.has_layer("tissue segmentation"))
    np.testing.assert_array_equal(at.layer("tissue strokes").data, sample.strokes)
    assert [info.name for info in at.session.classes] == [info.name for info in sample.classes]
    assert at.session.counts[0][1] == (sample.strokes == 1).sum()


def test_undo_takes_paint_out_of_the_training(desk: Callable[..., Desk]) -> None:
    at = desk(Image(two_textures(), name="textures"))
    at.find("live_check").setChecked(False)
    at.click("new_labels_button")
    strokes = at.layer("textures strokes")
    at.paint_two_classes(strokes)
    at.wait(lambda: at.strokes_of(2) == 2)
    strokes.undo()
    at.wait(lambda: at.strokes_of(2) == 1)
    strokes.redo()
    at.wait(lambda: at.strokes_of(2) == 2)


@pytest.mark.usefixtures("long_round")
def test_stop_ends_training_and_keeps_the_model(desk: Callable[..., Desk]) -> None:
    at = desk(Image(two_textures(), name="textures"))
    at.click("new_labels_button")
    at.begin_round(at.layer("textures strokes"))
    at.click("stop_button")
    at.qtbot.wait(500)
    steps = at.session.progress.step if at.session.progress else 0
    at.qtbot.wait(500)
    assert (at.session.progress.step if at.session.progress else 0) == steps > 0
    assert "Stopped" in at.status
    assert at.find("save_model_button").isEnabled()
    assert at.find("predict_button").isEnabled()


def test_train_pressed_again_takes_a_round_of_steps(desk: Callable[..., Desk]) -> None:
    at = desk(Image(two_textures(), name="textures"))
    at.find("live_check").setChecked(False)
    at.click("new_labels_button")
    at.paint_two_classes(at.layer("textures strokes"))
    at.wait(lambda: at.find("train_button").isEnabled())
    at.click("train_button")
    assert at.status == "Learning from 4 strokes…"
    at.wait(lambda: at.session.training is Training.STEADY)
    assert at.session.progress is not None
    assert at.session.progress.step == 0
    assert at.status.startswith("Learned from 4 strokes in ")
    assert not at.find("pause_button").isEnabled()
    at.click("train_button")
    at.wait(lambda: at.session.stepping)
    assert at.status.startswith("Refining: gradient step ")
    assert at.find("pause_button").isEnabled()
    at.wait(lambda: at.session.training is Training.STEADY)
    assert at.status.startswith("Learned from 4 strokes, then took 30 gradient steps.")


def test_live_painting_takes_no_steps(desk: Callable[..., Desk]) -> None:
    at = desk(Image(two_textures(), name="textures"))
    steps: list[int] = []
    at.dock.controller.changed.connect(
        lambda session: steps.append(session.progress.step if session.progress else 0)
    )
    strokes = train_on_textures(at)
    at.paint(strokes, 1, (50.0, 20.0), (60.0, 30.0))
    at.wait(lambda: at.session.progress is not None and at.session.progress.strokes == 5)
    at.wait(lambda: at.session.training is Training.STEADY)
    assert not any(steps)
    assert at.session.judged is not None
    assert at.session.judged.strokes == 5


def test_a_saved_model_tells_what_held_out_strokes_said(
    desk: Callable[..., Desk], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = desk(Image(two_textures((384, 512)), name="textures"))
    strokes = train_on_textures(at)
    for number, column in ((1, 100.0), (2, 400.0)):  # a third place each
        at.paint(strokes, number, (190.0, column), (195.0, column + 20))
        at.wait(lambda number=number: at.strokes_of(number) == 3)
    at.wait(lambda: at.session.training is Training.STEADY)
    save_as(monkeypatch, tmp_path / "textures.safetensors")
    at.click("save_model_button")
    at.wait(lambda: "saved as" in at.status)
    record = read_classifier(tmp_path / "textures.safetensors").record
    assert at.session.judged is not None
    assert at.session.judged.held_out_iou
    assert record.held_out_iou == tuple(at.session.judged.held_out_iou.values())
    assert record.held_out_strokes == 6
    assert set(at.session.judged.held_out_range) == {1, 2}


def test_the_whole_image_asked_for_while_learning_is_segmented_by_the_finished_model(
    desk: Callable[..., Desk],
) -> None:
    at = desk(Image(np.tile(two_textures(), (2, 2)), name="textures"))
    at.click("new_labels_button")
    at.begin_round(at.layer("textures strokes"))
    assert at.session.stepping
    at.click("predict_button")
    assert "The whole image is next" in at.status
    at.wait(lambda: at.session.complete)
    assert at.session.training is Training.STEADY
    assert at.session.model is not None
    assert at.session.model.classifier.record.steps == 30
    assert (at.layer("textures segmentation").data > 0).all()


@pytest.mark.usefixtures("long_round")
def test_the_whole_image_asked_for_after_stop_is_segmented_by_the_last_model(
    desk: Callable[..., Desk],
) -> None:
    at = desk(Image(np.tile(two_textures(), (2, 2)), name="textures"))
    at.click("new_labels_button")
    at.begin_round(at.layer("textures strokes"))
    at.click("stop_button")
    at.click("predict_button")  # the current step is still being taken
    at.wait(lambda: at.session.complete)
    at.qtbot.wait(300)
    assert at.session.complete, "no newer model came after it"
    assert (at.layer("textures segmentation").data > 0).all()


@pytest.mark.usefixtures("long_round")
def test_pause_holds_the_steps_and_goes_on(desk: Callable[..., Desk]) -> None:
    at = desk(Image(two_textures(), name="textures"))
    at.click("new_labels_button")
    at.begin_round(at.layer("textures strokes"))
    at.click("pause_button")
    at.qtbot.wait(400)
    held = at.session.progress
    assert held is not None
    at.qtbot.wait(400)
    assert at.session.progress is held
    assert "Paused" in at.status
    at.click("pause_button")
    at.wait(lambda: at.session.progress is not held)


@pytest.mark.usefixtures("long_round")
def test_new_paint_ends_a_round_that_is_held(desk: Callable[..., Desk]) -> None:
    at = desk(Image(two_textures(), name="textures"))
    at.click("new_labels_button")
    strokes = at.layer("textures strokes")
    at.begin_round(strokes)
    at.click("pause_button")
    at.paint(strokes, 1, (50.0, 20.0), (60.0, 30.0))
    at.wait(lambda: at.session.training is Training.STEADY)
    assert at.session.progress is not None
    assert (at.session.progress.step, at.session.progress.strokes) == (0, 5)
    assert not at.find("pause_button").isChecked()


@pytest.mark.usefixtures("long_round")
def test_a_pause_lets_the_whole_image_begin_that_waits_for_training(desk: Callable[..., Desk]) -> None:
    at = desk(Image(np.tile(two_textures(), (2, 2)), name="textures"))
    at.click("new_labels_button")
    at.begin_round(at.layer("textures strokes"))
    at.click("predict_button")
    at.click("pause_button")
    at.wait(lambda: at.session.complete)
    assert at.session.training is Training.PAUSED
    assert (at.layer("textures segmentation").data > 0).all()


def test_without_live_nothing_is_learned_until_asked(desk: Callable[..., Desk]) -> None:
    at = desk(Image(two_textures(), name="textures"))
    at.find("live_check").setChecked(False)
    at.click("new_labels_button")
    at.paint_two_classes(at.layer("textures strokes"))
    at.wait(lambda: at.find("train_button").isEnabled())
    at.qtbot.wait(500)
    assert not at.session.has_model
    at.click("train_button")
    at.wait(lambda: at.has_layer("textures segmentation"))


def test_cancel_leaves_what_is_done_and_frees_the_button(desk: Callable[..., Desk]) -> None:
    at = desk(Image(np.tile(two_textures(), (12, 12)), name="textures"))
    at.click("new_labels_button")
    strokes = at.layer("textures strokes")
    strokes.data_setitem((np.r_[10:30], np.r_[10:30]), 1)
    strokes.data_setitem((np.r_[10:30], np.r_[80:100]), 2)
    at.wait(lambda: at.session.training is Training.STEADY)
    at.click("predict_button")
    at.wait(lambda: at.session.whole is not None and at.session.whole.fraction > 0)
    assert "%" in at.find("progress_bar").format()
    assert "Mpx/s" in at.find("progress_bar").format()
    at.find("cancel_button").click()
    at.wait(lambda: at.find("predict_button").isEnabled(), timeout=1000)
    assert at.session.whole is None
    assert not at.session.complete
    at.qtbot.wait(300)  # for tiles that were on their way
    left = at.layer("textures segmentation").data.copy()
    assert left.any()
    at.qtbot.wait(700)
    np.testing.assert_array_equal(at.layer("textures segmentation").data, left)
    assert not at.session.complete


def test_closing_the_window_in_the_middle_ends_the_threads(desk: Callable[..., Desk]) -> None:
    at = desk(Image(two_textures(), name="textures"))
    at.click("new_labels_button")
    at.paint_two_classes(at.layer("textures strokes"))
    at.wait(lambda: at.session.progress is not None)
    assert "trainer" in working_threads()
    at.dock.shutdown()
    assert not working_threads()
    assert threading.current_thread() is threading.main_thread()


def test_taking_the_dock_away_ends_the_threads(desk: Callable[..., Desk]) -> None:
    at = desk(Image(two_textures(), name="textures"))
    at.click("new_labels_button")
    at.paint_two_classes(at.layer("textures strokes"))
    at.wait(lambda: at.session.progress is not None)
    at.viewer.window.remove_dock_widget(at.dock)
    assert not working_threads()
