"""napari finds the plugin: widget, samples, File > Save, menu."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from napari._app_model import get_app_model
from napari.layers import Labels
from npe2 import PluginManifest
from npe2.cli import app
from PIL import Image as Picture
from typer.testing import CliRunner

import napari_dsparse
from gui_session import Desk
from napari_dsparse.classifier.classes import ClassInfo
from napari_dsparse.gui.layers.class_look import show_classes
from napari_dsparse.images.reading import read_image
from napari_dsparse.samples import SAMPLES, load

MANIFEST = Path(napari_dsparse.__file__).with_name("napari.yaml")
CLASSES = (ClassInfo("background", "#0072b2"), ClassInfo("nucleus", "#e69f00"))


def test_npe2_finds_the_manifest_valid() -> None:
    result = CliRunner().invoke(app, ["validate", str(MANIFEST)])
    assert result.exit_code == 0, result.output


def test_every_command_of_the_manifest_exists() -> None:
    manifest = PluginManifest.from_file(MANIFEST)
    for command in manifest.contributions.commands or ():
        assert command.python_name is not None
        module, name = str(command.python_name).split(":")
        assert callable(getattr(__import__(module, fromlist=[name]), name))


def test_dock_and_forms_are_in_the_menus_where_they_belong() -> None:
    contributions = PluginManifest.from_file(MANIFEST).contributions
    names = {command.id: command.title for command in contributions.commands or ()}
    names |= {widget.command: widget.display_name for widget in contributions.widgets or ()}
    names |= {submenu.id: f"{submenu.label} >" for submenu in contributions.submenus or ()}
    menus = {
        menu: [names[getattr(item, "command", None) or item.submenu] for item in items]
        for menu, items in (contributions.menus or {}).items()
    }
    assert menus == {
        "napari/layers/segment": [
            "Sparse-label segmentation",
            "Train a model",
            "Segment an image",
            "Find objects",
            "In the dock >",
        ],
        "napari-dsparse/dock": [
            "Learn from the strokes",
            "Segment the whole image",
            "Go to the next spot",
            "Add a class",
            "Export the segmentation…",
            "Segment many images…",
            "Open a project…",
            "New project",
            "Save the project",
            "Save the project as…",
        ],
        "napari/layers/measure": ["Measure objects"],
        "napari/file/io_utilities": ["Export labels", "Open exported labels"],
    }


def test_napari_shows_every_item_in_its_menu(make_napari_viewer_proxy: object) -> None:
    viewer = make_napari_viewer_proxy()  # type: ignore[operator]
    assert viewer is not None
    registered = get_app_model().menus
    for menu, items in (PluginManifest.from_file(MANIFEST).contributions.menus or {}).items():
        shown = {entry.command.id for entry in registered.get_menu(menu) if hasattr(entry, "command")}
        assert {item.command for item in items if hasattr(item, "command")} <= shown


@pytest.mark.parametrize("name", SAMPLES)
def test_every_sample_opens_with_strokes_that_are_ready(name: str, make_napari_viewer_proxy: object) -> None:
    viewer = make_napari_viewer_proxy()  # type: ignore[operator]
    viewer.open_sample("napari-dsparse", name)
    image, strokes = viewer.layers[name], viewer.layers[f"{name} strokes"]
    sample = load(name)
    np.testing.assert_array_equal(image.data, sample.image)
    np.testing.assert_array_equal(strokes.data, sample.strokes)
    np.testing.assert_allclose(image.scale, sample.scale)
    np.testing.assert_allclose(strokes.scale, sample.scale)
    assert "licence" in image.metadata["attribution"].lower()
    assert list(strokes.features["class"][1:]) == [info.name for info in sample.classes]


def test_file_save_writes_labels_with_scale_units_and_class_names(
    desk: Callable[..., Desk], tmp_path: Path
) -> None:
    layer = Labels(
        np.tile(np.array([0, 1, 2], np.uint8), (6, 5)), name="mine", scale=(0.5, 0.25), units=("um", "um")
    )
    show_classes(layer, CLASSES)
    at = desk(layer)
    target = tmp_path / "mine.ome.tif"
    at.viewer.layers.save(str(target), plugin="napari-dsparse")
    written = read_image(target)
    np.testing.assert_array_equal(np.asarray(written.data), layer.data)
    assert written.data.dtype == np.uint8
    assert written.scale == pytest.approx((0.5, 0.25))
    assert written.units == ("micrometer", "micrometer")
    description = tifffile.TiffFile(target).ome_metadata or ""
    assert "nucleus" in description


def test_file_save_writes_png_in_the_classes_colours(desk: Callable[..., Desk], tmp_path: Path) -> None:
    layer = Labels(np.tile(np.array([0, 1, 2], np.uint8), (6, 5)), name="mine")
    show_classes(layer, CLASSES)
    at = desk(layer)
    at.viewer.layers.save(str(tmp_path / "mine.png"), plugin="napari-dsparse")
    with Picture.open(tmp_path / "mine.png") as picture:
        assert picture.mode == "P"
        np.testing.assert_array_equal(np.asarray(picture), layer.data)
        assert picture.convert("RGB").getpixel((2, 0)) == (0xE6, 0x9F, 0x00)
