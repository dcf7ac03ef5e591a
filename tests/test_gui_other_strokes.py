"""Another layer of strokes for an image of the list: what was painted before is never dropped unasked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile

import napari_dsparse as nd
from gui_session import Desk, two_textures
from napari_dsparse.gui import numbered_layers, other_strokes, project_desk, unsaved_desk
from napari_dsparse.gui.widgets.class_dialogs import Numbered
from napari_dsparse.gui.widgets.strokes_question import OtherLayer
from napari_dsparse.gui.widgets.unsaved_dialog import AtTheEnd, ProjectAtHand, sentences_at_the_end
from test_gui_projects import painted, pick, save, saved

CLASSES = ["background", "object", "class 3"]


def names(classes: object) -> list[str]:
    return [info.name for info in classes]  # type: ignore[attr-defined]


def choose(at: Desk, name: str) -> None:
    """Choose a layer for strokes, and see that the dock names the one that is learned from."""
    at.find("labels_combo").setCurrentText(name)
    assert at.session.strokes == at.find("labels_combo").currentText()
    assert names(at.session.classes) == CLASSES


def test_another_layer_takes_no_strokes_of_an_image_in_the_list_unasked(
    desk: Callable[..., Desk], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(project_desk, "AUTOSAVE_SECONDS", 0.2)
    at, folder = desk(), tmp_path / "study.dsparse"
    tifffile.imwrite(tmp_path / "a.tif", two_textures())
    at.add_files([tmp_path / "a.tif"])
    pick(at, 0)
    at.find("live_check").setChecked(False)
    at.click("add_class_button")
    strokes = at.layer("a.tif strokes")
    at.paint_two_classes(strokes)
    at.paint(strokes, 3, (8, 60), (8, 70))
    at.wait(lambda: at.strokes_of(3) == 1)
    save(at, folder, monkeypatch)
    earlier, pixels = strokes.data.copy(), np.count_nonzero(strokes.data)
    asked: list[tuple[str, int, str]] = []
    answers = [OtherLayer.CANCEL, OtherLayer.CANCEL, OtherLayer.REPLACE, OtherLayer.ADD]

    def ask(parent: object, image: str, pixels: int, layer: str) -> OtherLayer:
        asked.append((image, pixels, layer))
        return answers.pop(0)

    monkeypatch.setattr(other_strokes, "ask_about_earlier_strokes", ask)
    monkeypatch.setattr(numbered_layers, "ask_about_instances", lambda *a, **k: Numbered.ONE_CLASS)
    empty = at.viewer.add_labels(np.zeros((96, 128), int), name="Labels")
    cells = np.zeros((96, 128), int)
    cells[50:60, :120] = np.arange(100, 220)
    at.viewer.add_labels(cells, name="cells")
    assert not asked, "layers are not chosen by themselves"

    choose(at, "Labels")
    assert asked == [("a.tif", pixels, "Labels")]
    assert at.session.strokes == "a.tif strokes"
    choose(at, "cells")
    assert asked[1][2] == "cells strokes"
    assert at.session.strokes == "a.tif strokes"
    assert not at.has_layer("cells strokes"), "cancelled, nothing is left of it"
    saved(at, folder)
    assert painted(folder, "a.tif") == pixels

    choose(at, "Labels")
    beside = at.dock.unsaved.others.images
    assert at.session.strokes == "Labels"
    assert [each.name for each in beside] == ["a.tif"]
    np.testing.assert_array_equal(beside[0].labels, earlier)
    assert names(at.dock.unsaved.classes) == CLASSES
    at.wait(lambda: painted(folder, "a.tif") == 0)
    ends: list[ProjectAtHand] = []

    def end(
        parent: object, images: list[str], saved: object, kept: object, at_hand: ProjectAtHand
    ) -> AtTheEnd:
        assert images == ["a.tif"]
        ends.append(at_hand)
        return AtTheEnd.STAY

    monkeypatch.setattr(unsaved_desk, "ask_at_the_end", end)
    assert not at.dock.unsaved.may_close()
    text, more = sentences_at_the_end(["a.tif"], None, None, ends[0])
    assert text == "The earlier strokes on a.tif are not in the project study.dsparse."
    assert more.startswith("They were replaced by those that the image now has in it.")

    choose(at, "a.tif strokes")  # and back: nothing would be lost, so nothing is asked
    assert len(asked) == 3
    assert at.session.strokes == "a.tif strokes"
    assert not at.dock.unsaved.others.images
    empty.data[40:44, 40:44] = 2
    choose(at, "Labels")
    both = np.where(empty.data == 2, 2, earlier)
    assert at.session.strokes == "Labels"
    np.testing.assert_array_equal(empty.data, both)
    assert not answers
    at.dock.shutdown()
    with nd.Project.open(folder) as project:
        assert names(project.classes) == CLASSES
        np.testing.assert_array_equal(project.strokes("a.tif"), both)
