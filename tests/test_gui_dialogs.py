"""Dialogs for files start where the user works, and a format that is picked decides the suffix."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from qtpy.QtWidgets import QFileDialog, QWidget

from napari_dsparse.files.export import SUFFIXES
from napari_dsparse.gui.layers.exporting import export_filters
from napari_dsparse.gui.widgets import dialogs


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The dialog's next answer, and the place it was opened at."""
    known: dict[str, Any] = {}

    def ask(parent: Any, title: str, start: str, filters: str, *more: Any) -> tuple[str, str]:
        known["start"] = Path(start)
        return str(known["path"]), known.get("filter", filters.split(";;")[0])

    monkeypatch.setattr(QFileDialog, "getSaveFileName", ask)
    monkeypatch.setattr(dialogs, "_FOLDERS", dialogs._Folders())
    return known


def save(parent: QWidget, folder: Path | None = None) -> tuple[Path, bool] | None:
    return dialogs.ask_save_path(parent, "Export", "a b.ome.tif", export_filters(), folder)


def test_a_dialog_starts_beside_the_image_and_then_where_it_was_last(
    qtbot: Any, tmp_path: Path, answers: dict[str, Any]
) -> None:
    parent = QWidget()
    qtbot.addWidget(parent)
    beside, other = tmp_path / "images", tmp_path / "results"
    beside.mkdir()
    other.mkdir()
    answers["path"] = other / "x.png"
    save(parent)
    dialogs._FOLDERS.last = None
    assert answers["start"] == Path.cwd() / "a b.ome.tif"
    save(parent, beside)
    assert answers["start"] == beside / "a b.ome.tif"
    save(parent, beside)
    assert answers["start"] == other / "a b.ome.tif"
    save(parent, tmp_path)
    assert answers["start"] == tmp_path / "a b.ome.tif", "images of another folder are exported beside them"
    other.rmdir()
    save(parent, beside)
    assert answers["start"] == beside / "a b.ome.tif"


@pytest.mark.parametrize(
    ("typed", "picked", "name"),
    [
        ("a b.ome.tif", "*.geojson", "a b.geojson"),
        ("a b", "*.geojson", "a b.geojson"),
        ("a b.png", "*.geojson", "a b.png"),
        ("a b.png", "*.ome.tif ", "a b.png"),
        ("a b.zip", "*.roi.zip", "a b.zip"),
        ("a b.ome.tif", "*.roi.zip", "a b.roi.zip"),
        ("a b", "*.coco.json", "a b.coco.json"),
    ],
)
def test_the_format_that_is_picked_takes_the_place_of_the_one_suggested(
    qtbot: Any, tmp_path: Path, answers: dict[str, Any], typed: str, picked: str, name: str
) -> None:
    parent = QWidget()
    qtbot.addWidget(parent)
    answers["path"] = tmp_path / typed
    (answers["filter"],) = (each for each in export_filters().split(";;") if picked in each)
    assert save(parent) == (tmp_path / name, False)


def test_every_format_can_be_picked() -> None:
    pytest.importorskip("zarr")
    filters = export_filters().split(";;")
    assert len(filters) == len(SUFFIXES)
    for (first, *_), shown in zip(SUFFIXES.values(), filters, strict=True):
        assert f"(*{first}" in shown


def test_projects_and_folders_are_looked_for_where_the_last_one_was(
    qtbot: Any, tmp_path: Path, answers: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    parent = QWidget()
    qtbot.addWidget(parent)
    started: list[Path] = []
    chosen = tmp_path / "b" / "study.dsparse"

    def ask(parent: Any, title: str, start: str) -> str:
        started.append(Path(start))
        return str(chosen)

    monkeypatch.setattr(QFileDialog, "getExistingDirectory", ask)
    for folder in (tmp_path / "a", chosen):
        folder.mkdir(parents=True)
    answers["path"] = tmp_path / "a" / "new.dsparse"
    assert dialogs.ask_project_path(parent, ".dsparse") == answers["path"]
    dialogs.ask_folder(parent, "Open project")
    dialogs.ask_folder(parent, "Open project")
    chosen = tmp_path / "2026.11.30"
    chosen.mkdir()
    for _ in range(2):
        dialogs.ask_folder(parent, "Add the images of a folder")
    assert started == [tmp_path / "a", tmp_path / "b", tmp_path / "b", chosen]
    assert dialogs._FOLDERS.start(tmp_path) == tmp_path, "files are saved beside the image still"
