"""The forms in napari's menus: filled in, started with their button, and held against the Python API."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from napari.layers import Image, Labels
from napari.utils.notifications import notification_manager
from qtpy.QtWidgets import QFileDialog, QLabel, QMessageBox, QProgressBar
from superqt.utils import WorkerBase

import napari_dsparse as nd
from gui_session import PATIENCE, two_textures
from napari_dsparse.classifier.classes import ClassInfo
from napari_dsparse.errors import DsparseError, ExportError, ImageError
from napari_dsparse.files.export import export_labels
from napari_dsparse.gui.contributions import layer_functions
from napari_dsparse.gui.layers.class_look import classes_of, show_classes
from napari_dsparse.images.reading import read_image
from napari_dsparse.prediction.objects import find_objects
from napari_dsparse.samples import load

PLACE = {"scale": (0.5, 0.5), "translate": (7.0, 3.0), "units": ("um", "um"), "axis_labels": ("y", "x")}


class Form:
    """One form in a napari window."""

    def __init__(self, viewer: Any, fields: Any, qtbot: Any) -> None:
        self.viewer, self.fields, self.qtbot = viewer, fields, qtbot

    @property
    def status(self) -> str:
        return str(self.fields.native.findChild(QLabel, "status_label").text())

    @property
    def running(self) -> bool:
        return self.fields.call_button.text == "Stop"

    def press(self) -> None:
        assert self.fields.call_button.enabled
        self.fields.call_button.native.click()

    def run(self) -> str:
        """Press the button and wait for the end; the sentence below the button."""
        self.press()
        self.qtbot.waitUntil(lambda: not self.running, timeout=PATIENCE)
        return self.status

    def layer(self, name: str) -> Any:
        return next(getattr(one, "__wrapped__", one) for one in self.viewer.layers if one.name == name)


@pytest.fixture
def open_form(make_napari_viewer_proxy: Any, qtbot: Any) -> Iterator[Callable[..., Form]]:
    def open_one(name: str, *layers: Image | Labels, into: Form | None = None) -> Form:
        viewer = make_napari_viewer_proxy() if into is None else into.viewer
        for layer in layers:
            viewer.add_layer(layer)
        _, fields = viewer.window.add_plugin_dock_widget("napari-dsparse", name)
        return Form(viewer, fields, qtbot)

    notification_manager.records.clear()
    yield open_one
    notification_manager.records.clear()


@pytest.fixture(scope="module")
def sample() -> Any:
    return load("nuclei")


@pytest.fixture(scope="module")
def model(sample: Any) -> nd.Model:
    return nd.train(sample.image, sample.strokes, classes=sample.classes)


@pytest.fixture(scope="module")
def model_file(model: nd.Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return model.save(tmp_path_factory.mktemp("models") / "nuclei.safetensors")


def nuclei_layer(sample: Any) -> Image:
    return Image(sample.image, name="nuclei", **PLACE)


def strokes_layer(sample: Any) -> Labels:
    layer = Labels(sample.strokes.copy(), name="strokes", **PLACE)
    show_classes(layer, sample.classes)
    return layer


def same_place(layer: Any, like: Any) -> None:
    for name in ("scale", "translate", "rotate", "shear"):
        np.testing.assert_allclose(getattr(layer, name), getattr(like, name))
    assert layer.units == like.units
    assert layer.axis_labels == like.axis_labels


# -- train ----------------------------------------------------------------------------------------------


def test_training_saves_the_model_that_the_python_api_makes(
    open_form: Callable[..., Form], sample: Any, model: nd.Model, tmp_path: Path
) -> None:
    form = open_form("Train a model", nuclei_layer(sample), strokes_layer(sample))
    form.fields.model_file.value = tmp_path / "mine"
    assert form.run() == "Model saved as mine.safetensors."
    saved = nd.load_model(tmp_path / "mine.safetensors")
    assert saved.classes == model.classes
    np.testing.assert_array_equal(saved.predict(sample.image), model.predict(sample.image))


def test_an_existing_model_is_left_as_it_is(
    open_form: Callable[..., Form], sample: Any, tmp_path: Path
) -> None:
    form = open_form("Train a model", nuclei_layer(sample), strokes_layer(sample))
    (tmp_path / "mine.safetensors").write_bytes(b"precious")
    form.fields.model_file.value = tmp_path / "mine.safetensors"
    assert "exists already and is left as it is" in form.run()
    assert (tmp_path / "mine.safetensors").read_bytes() == b"precious"
    (told,) = [record.message for record in notification_manager.records]
    assert told == form.status


def test_strokes_beyond_the_named_classes_are_learned_too(sample: Any, tmp_path: Path) -> None:
    painted = sample.strokes.copy()
    painted[painted == 2] = 4
    layer = Labels(painted, name="strokes")
    file = layer_functions.train_on_layers(nuclei_layer(sample), layer, tmp_path / "four.safetensors")
    assert file is not None
    assert len(nd.load_model(file).classes) == 4


def test_strokes_of_another_shape_are_refused(sample: Any, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="choose a labels layer of the image's shape"):
        layer_functions.train_on_layers(
            nuclei_layer(sample), Labels(np.ones((4, 4), int), name="small"), tmp_path / "no.safetensors"
        )


def test_a_model_of_neighbouring_planes_takes_stacks_alone(tmp_path: Path) -> None:
    stack = np.stack([two_textures(seed=seed) for seed in range(3)])
    strokes = np.zeros_like(stack)
    strokes[1, 20:40, 10:20], strokes[1, 20:40, 100:110] = 1, 2
    layer, painted = Image(stack, name="stack", axis_labels=("z", "y", "x")), Labels(strokes)
    file = layer_functions.train_on_layers(layer, painted, tmp_path / "depth.safetensors", neighbours=True)
    assert file is not None
    expected = nd.train(stack, strokes, depth="neighbours").predict(stack)
    ((labels, *_),) = layer_functions.segment_layer(layer, file)
    np.testing.assert_array_equal(labels, expected)
    plane, film = Image(stack[0], name="plane"), Image(stack, name="film", axis_labels=("t", "y", "x"))
    with pytest.raises(ImageError, match="single plane"):
        layer_functions.train_on_layers(plane, Labels(strokes[1]), tmp_path / "no.tensors", neighbours=True)
    for image, words in ((plane, "single plane"), (film, "follow one another in time")):
        with pytest.raises(ImageError, match=words):
            layer_functions.segment_layer(image, file)


def test_a_form_without_a_file_says_so(open_form: Callable[..., Form], sample: Any) -> None:
    form = open_form("Train a model", nuclei_layer(sample), strokes_layer(sample))
    assert form.run() == "No file is named for the model; choose one."


# -- segment --------------------------------------------------------------------------------------------


def test_segmenting_adds_every_result_on_the_images_pixels(
    open_form: Callable[..., Form], sample: Any, model: nd.Model, model_file: Path
) -> None:
    form = open_form("Segment an image", nuclei_layer(sample))
    fields = form.fields
    fields.model_file.value = model_file
    fields.probabilities.value = fields.uncertainty.value = fields.objects.value = True
    fields.min_size.value = 25
    assert form.run().startswith("Added nuclei uncertainty, nuclei probability background")
    maps = model.predict_maps(sample.image)
    image = form.layer("nuclei")
    expected = {
        "segmentation": maps.labels,
        "uncertainty": maps.uncertainty,
        "objects": model.objects(sample.image, min_size=25),
        **{
            f"probability {info.name}": values
            for info, values in zip(model.classes, maps.probabilities, strict=True)
        },
    }
    for words, values in expected.items():
        layer = form.layer(f"nuclei {words}")
        np.testing.assert_array_equal(layer.data, values)
        same_place(layer, image)
    segmentation = form.layer("nuclei segmentation")
    assert list(segmentation.features["class"][1:]) == [info.name for info in model.classes]


def test_a_layer_that_bears_the_results_name_is_not_touched(
    open_form: Callable[..., Form], sample: Any, model_file: Path
) -> None:
    mine = Labels(np.zeros(sample.image.shape, np.uint8), name="nuclei segmentation")
    form = open_form("Segment an image", nuclei_layer(sample), mine)
    form.fields.model_file.value = model_file
    assert form.run() == "Added nuclei segmentation [1]."
    assert not mine.data.any()


def test_a_stack_with_channels_in_front_keeps_its_sliders(tmp_path: Path) -> None:
    planes = np.stack([two_textures(seed=seed) for seed in range(3)])
    image = np.stack([planes, 255 - planes], axis=1)  # (T, C, Y, X)
    strokes = np.zeros((3, 1, *planes.shape[1:]), np.uint8)
    strokes[0, 0, 20:40, 10:20], strokes[0, 0, 20:40, 100:110] = 1, 2
    layer = Image(image, name="stack", axis_labels=("t", "c", "y", "x"), scale=(2, 1, 0.5, 0.5))
    file = layer_functions.train_on_layers(layer, Labels(strokes), tmp_path / "stack.safetensors")
    assert file is not None
    ((labels, attributes, kind),) = layer_functions.segment_layer(layer, file)
    assert kind == "labels"
    assert labels.shape == strokes.shape
    np.testing.assert_allclose(attributes["scale"], (2, 2, 0.5, 0.5))
    expected = nd.load_model(file).predict(image, channel_axis=1)
    np.testing.assert_array_equal(labels[:, 0], expected)


def test_an_image_of_other_channels_is_refused_in_one_sentence(
    open_form: Callable[..., Form], sample: Any, model_file: Path
) -> None:
    form = open_form("Segment an image", Image(np.dstack([sample.image] * 3), rgb=True, name="colour"))
    form.fields.model_file.value = model_file
    assert "colour" in form.run()
    assert "1 channel" in form.status
    assert len(form.viewer.layers) == 1
    assert [record.message for record in notification_manager.records] == [form.status]


def test_something_must_be_asked_for(sample: Any, model_file: Path) -> None:
    with pytest.raises(DsparseError, match="No result is chosen"):
        layer_functions.segment_layer(nuclei_layer(sample), model_file, segmentation=False)


def test_a_second_press_stops_and_nothing_is_added(
    open_form: Callable[..., Form], sample: Any, model_file: Path
) -> None:
    large = Image(np.tile(sample.image, (6, 6)), name="large")
    form = open_form("Segment an image", large)
    form.fields.model_file.value = model_file
    form.press()
    bar = form.fields.native.findChild(QProgressBar, "progress_bar")
    form.qtbot.waitUntil(lambda: bar.value() > 0, timeout=PATIENCE)
    assert form.running
    assert bar.isVisibleTo(form.fields.native)
    assert form.run() == "Stopped; nothing was added or saved."
    assert [layer.name for layer in form.viewer.layers] == ["large"]
    assert not bar.isVisibleTo(form.fields.native)


def test_closing_a_form_ends_its_work(open_form: Callable[..., Form], sample: Any, model_file: Path) -> None:
    ended = threading.Event()
    form = open_form("Segment an image", Image(np.tile(sample.image, (6, 6)), name="large"))
    form.fields.model_file.value = model_file
    form.press()
    bar = form.fields.native.findChild(QProgressBar, "progress_bar")
    form.qtbot.waitUntil(lambda: bar.value() > 0, timeout=PATIENCE)
    form.fields.native.destroyed.connect(ended.set)
    form.viewer.window.remove_dock_widget(form.fields.native)
    form.fields.native.deleteLater()
    form.qtbot.waitUntil(ended.is_set, timeout=PATIENCE)
    form.qtbot.waitUntil(lambda: not WorkerBase._worker_set, timeout=PATIENCE)
    assert [layer.name for layer in form.viewer.layers] == ["large"]


def test_how_objects_are_found_is_asked_only_where_they_are_wanted(open_form: Callable[..., Form]) -> None:
    fields = open_form("Segment an image").fields
    assert not fields.min_size.enabled
    fields.objects.value = True
    assert fields.min_size.enabled
    assert fields.separate.enabled


# -- objects --------------------------------------------------------------------------------------------


def test_objects_of_a_labels_layer(open_form: Callable[..., Form], sample: Any) -> None:
    form = open_form("Find objects", Labels(sample.truth, name="truth", **PLACE))
    form.fields.min_size.value = 30
    said = form.run()
    found = find_objects(sample.truth, min_size=30)
    layer = form.layer("truth objects")
    np.testing.assert_array_equal(layer.data, found)
    assert layer.data.dtype == np.uint32
    same_place(layer, form.layer("truth"))
    assert said == f"{found.max()} objects in truth objects."


def test_a_mask_has_objects_once_its_background_is_zero(open_form: Callable[..., Form], sample: Any) -> None:
    mask = (sample.truth == 2).astype(np.uint8)
    form = open_form("Find objects", Labels(mask, name="mask"))
    form.fields.separate.value = False
    assert form.run().startswith("No objects: mask holds nothing but 0 and the background (1)")
    form.fields.background.value = 0
    form.run()
    expected = find_objects(sample.truth, separate=False)
    np.testing.assert_array_equal(form.layer("mask objects").data, expected)
    form.fields.separate.value, form.fields.splitting.value = True, 0.6
    form.fields.max_hole.value, form.fields.border_objects.value = 30, False
    form.run()
    expected = find_objects(sample.truth, splitting=0.6, max_hole=30, border_objects=False)
    np.testing.assert_array_equal(form.layer("mask objects [1]").data, expected)


# -- measure --------------------------------------------------------------------------------------------


def test_measurements_go_to_the_layer_and_to_a_file(
    open_form: Callable[..., Form], sample: Any, tmp_path: Path
) -> None:
    segmentation = Labels(sample.truth, name="truth", **PLACE)
    show_classes(segmentation, sample.classes)
    numbers = find_objects(sample.truth)
    objects = Labels(numbers, name="objects", **PLACE)
    form = open_form("Measure objects", nuclei_layer(sample), segmentation, objects)
    fields = form.fields
    fields.objects.value = objects
    fields.image.value = form.layer("nuclei")
    fields.classes.value = segmentation
    fields.table_file.value = tmp_path / "table"
    assert form.run().startswith(f"{numbers.max()} objects measured and saved as table.csv")
    expected = nd.measure(numbers, sample.image, classes=sample.truth, scale=(0.5, 0.5))
    written = pd.read_csv(tmp_path / "table.csv")
    pd.testing.assert_frame_equal(written[list(expected.columns)], expected, check_dtype=False)
    assert set(written["class name"]) == {sample.classes[1].name}
    assert set(written["unit"]) == {"micrometer"}
    np.testing.assert_allclose(objects.features["area"], expected["area"])
    where = tuple(np.argwhere(numbers == 5)[0] * 0.5 + PLACE["translate"])
    assert "area" in objects.get_status(where, world=True)["value"]


def test_an_existing_table_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("mine")
    with pytest.raises(ExportError, match="exists already"):
        layer_functions.measure_layer(Labels(np.ones((4, 4), int)), table_file=tmp_path / "table.csv")
    assert (tmp_path / "table.csv").read_text() == "mine"


# -- export ---------------------------------------------------------------------------------------------


def test_exported_labels_keep_scale_and_units(
    open_form: Callable[..., Form], sample: Any, tmp_path: Path
) -> None:
    form = open_form("Export labels", strokes_layer(sample))
    form.fields.file.value = tmp_path / "strokes"
    assert form.run() == "Saved as strokes.ome.tif."
    written = read_image(tmp_path / "strokes.ome.tif")
    np.testing.assert_array_equal(np.asarray(written.data), sample.strokes)
    assert written.scale == pytest.approx((0.5, 0.5))
    assert written.units == ("micrometer", "micrometer")
    assert "exists already" in form.run()


def test_thousands_of_objects_are_exported_without_a_class_for_each(tmp_path: Path) -> None:
    numbers = np.arange(70_000, dtype=np.uint32).reshape(200, 350)
    file = layer_functions.export_layer(Labels(numbers), tmp_path / "objects.tif")
    np.testing.assert_array_equal(np.asarray(read_image(file).data), numbers)
    assert file.stat().st_size < 2 * numbers.nbytes


def test_objects_are_exported_by_number_and_named_classes_by_region(tmp_path: Path) -> None:
    layer = Labels(np.array([[2, 0, 2], [1, 1, 1]]))
    file = layer_functions.export_layer(layer, tmp_path / "objects.geojson")
    found = [each["properties"] for each in json.loads(file.read_text())["features"]]
    assert [each["name"] for each in found] == ["object 1", "object 2"]
    show_classes(layer, (ClassInfo("background", "#0072b2"), ClassInfo("nucleus", "#e69f00")))
    file = layer_functions.export_layer(layer, tmp_path / "classes.geojson")
    found = [each["properties"]["classification"] for each in json.loads(file.read_text())["features"]]
    assert [each["name"] for each in found] == ["nucleus", "nucleus", "background"]


# -- the forms themselves -------------------------------------------------------------------------------


def test_a_form_waits_for_layers_and_begins_with_the_selected_one(
    open_form: Callable[..., Form], sample: Any
) -> None:
    form = open_form("Find objects")
    assert not form.fields.call_button.enabled
    assert form.status == "Open or make a layer for 'Labels' first."
    form.viewer.add_layer(Labels(sample.truth, name="truth"))
    assert form.fields.call_button.enabled
    assert form.status == ""
    form.viewer.layers.clear()
    assert not form.fields.call_button.enabled
    other = open_form(
        "Export labels", Labels(sample.truth, name="a"), Labels(sample.truth, name="b"), into=form
    )
    assert other.fields.layer.value.name == "b"


def test_every_field_explains_itself(open_form: Callable[..., Form]) -> None:
    form = None
    for name in ("Train a model", "Segment an image", "Find objects", "Measure objects", "Export labels"):
        form = open_form(name, into=form)
        fields = [field for field in form.fields if field.name != "call_button"]
        assert all(field.tooltip for field in fields)


def test_a_new_file_gets_its_suffix_and_no_existing_one_is_chosen(
    open_form: Callable[..., Form], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "old.csv").write_text("mine")
    answers = iter([str(tmp_path / "old"), str(tmp_path / "new")])
    told: list[str] = []
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *given: (next(answers), given[3]))
    monkeypatch.setattr(QMessageBox, "information", lambda parent, title, text: told.append(text))
    fields = open_form("Measure objects").fields
    fields.table_file.choose_btn.native.click()
    assert told == ["old.csv exists already and is not replaced. Choose another name."]
    assert fields.table_file.value == tmp_path / "new.csv"


def test_exported_labels_open_in_the_form(open_form: Callable[..., Form], tmp_path: Path) -> None:
    classes = (ClassInfo("a", "#112233"), ClassInfo("b", "#445566"))
    path = export_labels(tmp_path / "any name.png", np.eye(9, dtype=np.uint8) + 1, classes=classes)
    form = open_form("Open exported labels")
    form.fields.file.value = path
    assert form.run() == "Opened as any name."
    assert classes_of(form.layer("any name")) == classes
    form.fields.file.value = tmp_path / "nothing.tif"
    assert "There is no file" in form.run()
