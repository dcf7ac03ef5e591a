"""Settings in napari's preferences: each has an effect on an open dock; commands in the menus act on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from napari.layers import Image
from npe2 import PluginManifest

import napari_dsparse
from gui_session import Desk, two_textures
from napari_dsparse.gui.contributions import commands
from napari_dsparse.gui.settings import GROUP, PLUGIN, Settings, read_settings

MANIFEST = Path(napari_dsparse.__file__).with_name("napari.yaml")


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The settings as napari keeps them, in a folder of this test alone."""
    settings = pytest.importorskip("napari.settings")
    if not hasattr(settings, "get_plugin_settings"):
        pytest.skip("this napari keeps no settings of plugins")
    settings._clear_plugin_settings_cache()
    monkeypatch.setattr(settings, "_CFG_PATH", str(tmp_path / "settings.yaml"))
    yield lambda: getattr(settings.get_plugin_settings(PLUGIN), GROUP)
    settings._clear_plugin_settings_cache()


def test_the_manifest_has_the_settings_with_their_defaults() -> None:
    properties = PluginManifest.from_file(MANIFEST).contributions.configurations[GROUP].properties
    assert {name: each.default for name, each in properties.items()} == asdict(Settings())


def test_every_setting_acts_on_an_open_dock_and_on_the_next(kept: Any, desk: Callable[..., Desk]) -> None:
    group = kept()
    group.overlay_opacity = 65
    group.live = False
    assert read_settings() == Settings(overlay_opacity=65, live=False)
    at = desk(Image(two_textures(), name="textures"))
    assert at.find("overlay_opacity").value() == 65
    assert at.dock.controller.overlay.opacity == 0.65
    assert not at.session.live

    group.live = True
    assert at.session.live
    group.hide_background = True
    assert at.find("hide_background_check").isChecked()
    assert at.dock.controller.overlay.background_hidden
    group.device = "cpu"
    assert at.session.device == "cpu"
    group.autosave_seconds = 2
    assert at.dock.projects._timer.interval() == 2000
    group.view_memory_mb = 8
    at.click("new_labels_button")
    at.paint_two_classes(at.layer("textures strokes"))
    at.wait(lambda: at.has_layer("textures segmentation"))
    predictor = at.dock.controller._workers._predictor
    assert predictor._memory.most_bytes == 8 << 20
    group.view_memory_mb = 9
    assert predictor._memory.most_bytes == 9 << 20
    group.overlay_opacity = 20
    assert at.layer("textures segmentation").opacity == 0.2
    group.device = "mps"
    if at.find("device_combo").findText("mps") < 0:
        assert at.session.device == "auto"
        assert "'mps'" in at.status


def test_commands_press_the_buttons_of_the_dock_and_open_it(
    make_napari_viewer_proxy: Any, qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from napari._app_model import get_app_model

    viewer = make_napari_viewer_proxy()
    viewer.add_layer(Image(two_textures(), name="textures"))
    said: list[str] = []
    monkeypatch.setattr(commands, "show_info", said.append)
    run = get_app_model().commands.execute_command
    run("napari-dsparse.learn").result()
    dock = commands.open_dock(viewer)
    assert len(viewer.window.dock_widgets) == 1
    assert said == [f"Train has to wait: {dock.panel.status_label.text()}"]
    dock.panel.new_labels_button.click()
    run("napari-dsparse.add_class").result()
    assert len(dock.controller.state.classes) == 3
    pressed: list[str] = []
    for name, button in (
        ("segment_whole", dock.panel.predict_button),
        ("next_spot", dock.panel.next_spot_button),
        ("export_segmentation", dock.panel.export_button),
        ("segment_many", dock.panel.batch_button),
        ("open_project", dock.panel.project_open_button),
        ("save_project", dock.panel.project_save_button),
    ):
        button.clicked.disconnect()
        button.setEnabled(True)
        button.clicked.connect(lambda checked=False, name=name: pressed.append(name))
        run(f"napari-dsparse.{name}").result()
    assert pressed[:4] == ["segment_whole", "next_spot", "export_segmentation", "segment_many"]
    assert pressed[4:] == ["open_project", "save_project"]
    run("napari-dsparse.save_project_as").result()
    assert dock.controller.state.problem == "There is nothing to save yet; add images to the list."
    run("napari-dsparse.new_project").result()
    dock.projects.wait_and_tell()
    assert dock.panel.status_label.text().startswith("A new list")
