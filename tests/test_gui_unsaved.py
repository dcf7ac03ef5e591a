"""Strokes in no project: kept aside by themselves, offered by the next window, said at the end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from napari.layers import Image
from qtpy.QtGui import QCloseEvent
from qtpy.QtWidgets import QApplication, QFileDialog, QMainWindow, QMessageBox

import napari_dsparse as nd
from gui_session import Desk, reopen, two_textures
from napari_dsparse.gui import missing_images, project_desk, unsaved_desk
from napari_dsparse.gui.widgets.unsaved_dialog import AtTheEnd, ProjectAtHand, sentences_at_the_end


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Save 0.2 s after a change."""
    monkeypatch.setattr(project_desk, "AUTOSAVE_SECONDS", 0.2)


def kept(user_data: Path) -> list[tuple[str, int]]:
    """Names of images whose strokes are kept aside, and the pixels painted on them."""
    found = []
    for folder in sorted((user_data / "unsaved").glob("*.dsparse")):
        try:
            project = nd.Project.open(folder, read_only=True)
            painted = [each for each in project.images if each.strokes is not None]
            found += [(each.name, int(np.count_nonzero(project.strokes(each)))) for each in painted]
        except (nd.DsparseError, OSError):  # written or removed just now
            return []
    return sorted(found)


def offered(at: Desk) -> bool:
    return not at.find("unsaved_notice").isHidden()


def paint_on(at: Desk, name: str) -> np.ndarray:
    at.click("new_labels_button")
    strokes = at.layer(f"{name} strokes")
    at.paint_two_classes(strokes)
    return np.asarray(strokes.data)


def test_strokes_of_a_closed_window_come_back_and_never_on_another_image(
    desk: Callable[..., Desk], user_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = desk(Image(two_textures(), name="cells", scale=(0.5, 0.5)))
    assert not offered(at)
    painted = paint_on(at, "cells").copy()
    at.wait(lambda: kept(user_data) == [("cells.ome.tif", np.count_nonzero(painted))])
    assert not offered(at)  # its own are not offered
    at.dock.shutdown()

    second = desk(Image(two_textures(seed=1), name="cells"))
    second.wait(lambda: offered(second))
    sentence = second.find("unsaved_label").text()
    assert sentence.startswith("Strokes of ")
    assert sentence.endswith(" on cells were not saved.")
    second.click("unsaved_open_button")
    second.wait(lambda: second.has_layer("cells [1] strokes"))
    second.dock.projects.wait_and_tell()
    assert not offered(second)
    np.testing.assert_array_equal(second.layer("cells [1]").data, two_textures())
    np.testing.assert_array_equal(second.layer("cells [1] strokes").data, painted)
    assert tuple(second.layer("cells [1] strokes").scale) == (0.5, 0.5)
    second.dock.shutdown()

    third = desk(Image(two_textures(), name="reloaded"))  # the same pixels: no copy need be opened
    third.wait(lambda: offered(third))
    third.click("unsaved_open_button")
    third.wait(lambda: third.has_layer("reloaded strokes"))
    np.testing.assert_array_equal(third.layer("reloaded strokes").data, painted)
    third.paint(third.layer("reloaded strokes"), 2, (50, 100), (60, 100))
    third.wait(lambda: sum(n for _, n in kept(user_data)) > np.count_nonzero(painted))

    folder = user_data.parent / "study.dsparse"
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *a, **k: (str(folder), ""))
    third.click("project_save_button")
    third.wait(lambda: third.find("project_label").text() == "All saved: study.dsparse")
    third.wait(lambda: not list((user_data / "unsaved").iterdir()))  # they are in a project now


def test_discard_asks_and_later_keeps(
    desk: Callable[..., Desk], user_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = desk(Image(two_textures(), name="cells"))
    paint_on(at, "cells")
    at.dock.shutdown()
    second = desk()
    second.wait(lambda: offered(second))
    second.click("unsaved_later_button")
    assert not offered(second)
    second.dock.shutdown()
    third = desk()
    third.wait(lambda: offered(third))
    answers = [QMessageBox.StandardButton.No, QMessageBox.StandardButton.Yes]
    monkeypatch.setattr(QMessageBox, "question", lambda *a, **k: answers.pop(0))
    third.click("unsaved_discard_button")
    third.dock.projects.wait_and_tell()
    assert kept(user_data)
    third.click("unsaved_discard_button")
    third.wait(lambda: not offered(third))
    assert not kept(user_data)


def test_images_beside_the_list_and_taken_out_of_it_are_kept(
    desk: Callable[..., Desk], user_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "ab":
        tifffile.imwrite(tmp_path / f"{name}.tif", two_textures(seed=ord(name)))
    at = desk(Image(two_textures(), name="cells"))
    paint_on(at, "cells")
    at.add_files([tmp_path / "a.tif", tmp_path / "b.tif"])
    at.dock.study.pick(0)
    at.paint_two_classes(at.layer("a.tif strokes"))
    at.wait(lambda: [name for name, _ in kept(user_data)] == ["a.tif", "cells.ome.tif"])
    at.paint(at.layer("cells strokes"), 2, (50, 100), (60, 100))  # behind
    before = dict(kept(user_data))
    at.wait(lambda: dict(kept(user_data)).get("cells.ome.tif", 0) > before["cells.ome.tif"])
    folder = tmp_path / "study.dsparse"
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *a, **k: (str(folder), ""))
    at.click("project_save_button")
    at.wait(lambda: [name for name, _ in kept(user_data)] == ["cells.ome.tif"])
    asked: list[str] = []
    answers = [QMessageBox.StandardButton.No, QMessageBox.StandardButton.Yes]
    monkeypatch.setattr(QMessageBox, "question", lambda *a, **k: (asked.append(a[2]), answers.pop(0))[1])
    at.find("images_list").setCurrentRow(0)
    at.click("remove_image_button")
    assert asked[0].startswith("a.tif has strokes. Take it out of the project study.dsparse?")
    assert at.find("images_list").count() == 2
    at.click("remove_image_button")
    at.wait(lambda: [name for name, _ in kept(user_data)] == ["a.tif", "cells.ome.tif"])
    at.find("images_list").setCurrentRow(0)
    at.click("remove_image_button")  # nothing is painted on this one
    assert len(asked) == 2
    at.viewer.layers.remove("a.tif strokes")
    at.dock.projects.wait()
    assert len(kept(user_data)) == 2


def test_closing_the_window_says_that_strokes_are_in_no_project(
    desk: Callable[..., Desk], user_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unsaved_desk, "STAYS_AFTER_MILLISECONDS", 0)
    at = desk(Image(two_textures(), name="cells"), show=True)
    window = next(each for each in QApplication.topLevelWidgets() if isinstance(each, QMainWindow))
    answers = [AtTheEnd.STAY, AtTheEnd.SAVE, AtTheEnd.KEEP, AtTheEnd.DISCARD, AtTheEnd.DISCARD]
    asked: list[tuple[object, ...]] = []

    def answer(parent: object, *what: object) -> AtTheEnd:
        asked.append(what)
        return answers.pop(0)

    def close() -> bool:
        """True if the window would close."""
        event = QCloseEvent()
        return not at.dock.eventFilter(window, event)

    monkeypatch.setattr(unsaved_desk, "ask_at_the_end", answer)
    assert close()
    assert not asked  # nothing is unsaved
    paint_on(at, "cells")
    assert not close()
    assert asked == [(["cells"], None, None, None)]
    assert len(kept(user_data)) == 1
    folder = tmp_path / "study.dsparse"
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *a, **k: (str(folder), ""))
    monkeypatch.setattr(QMessageBox, "question", lambda *a, **k: QMessageBox.StandardButton.Yes)
    assert close()
    with nd.Project.open(folder, read_only=True) as project:
        assert project.find("cells.ome.tif").path.parent == folder / "images"
    assert close()  # it is saved
    assert len(asked) == 2
    at.viewer.add_image(two_textures(seed=1), name="others")
    at.find("image_combo").setCurrentIndex(at.find("image_combo").findText("others"))
    paint_on(at, "others")
    assert close()
    at.dock.unsaved.on_hidden()
    at.dock.projects.wait()
    assert [name for name, _ in kept(user_data)] == ["others.ome.tif"]
    assert close()
    at.dock.unsaved._staying.timeout.emit()  # it stays open all the same: napari has asked, too
    at.dock.unsaved.on_hidden()
    at.dock.projects.wait()
    assert [name for name, _ in kept(user_data)] == ["others.ome.tif"]
    assert close()
    at.dock.unsaved.on_hidden()
    at.dock.projects.wait()
    assert not kept(user_data)
    assert not answers
    answers.append(AtTheEnd.SAVE)
    at.paint(at.layer("others strokes"), 2, (50, 100), (60, 100))
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *a, **k: pytest.fail("the project is at hand"))
    assert close()
    assert asked[-1] == (["others"], None, None, ProjectAtHand("study.dsparse", fits=True))
    with nd.Project.open(folder, read_only=True) as project:
        assert [each.name for each in project.images] == ["cells.ome.tif", "others.ome.tif"]
    assert close()


def test_the_question_at_the_end_says_whose_strokes_and_why() -> None:
    kept = "Strokes that are kept for the next start are offered then."
    assert sentences_at_the_end(["a"], None, None, None) == ("The strokes on a are in no project.", kept)
    full = "The disk is full; make room."
    text, more = sentences_at_the_end(["a", "b"], full, None, None)
    assert text == "The strokes on a, b could not be saved."
    assert more == f"{full} {kept}"
    assert sentences_at_the_end(["a"], full, full, None)[1] == (
        f"{full} The strokes cannot be kept for the next start either. {full}"
    )
    project = ProjectAtHand("p.dsparse", fits=True, classes="The project's classes are 1 soma.")
    assert sentences_at_the_end(["a"], None, None, project) == (
        "The strokes on a are not in the project p.dsparse.",
        f"Adding them puts the image into the project, too. The project's classes are 1 soma. {kept}",
    )
    assert "differ in channels" in sentences_at_the_end(["a"], None, None, ProjectAtHand("p", fits=False))[1]


def test_a_list_that_is_replaced_and_images_that_are_not_found_keep_their_strokes(
    desk: Callable[..., Desk], user_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "ab":
        tifffile.imwrite(tmp_path / f"{name}.tif", two_textures(seed=ord(name)))
    nd.Project.create(tmp_path / "other.dsparse").close()
    at = desk()
    at.add_files([tmp_path / "a.tif", tmp_path / "b.tif"])
    for row, name in enumerate("ab"):
        at.dock.study.pick(row)
        at.paint_two_classes(at.layer(f"{name}.tif strokes"))
    for layer in list(at.viewer.layers):
        at.viewer.layers.remove(layer)
    at.dock.projects.open(tmp_path / "other.dsparse")
    at.wait(lambda: at.dock.projects.folder is not None)
    at.dock.projects.wait_and_tell()
    assert [name for name, _ in kept(user_data)] == ["a.tif", "b.tif"]

    (tmp_path / "a.tif").unlink()
    monkeypatch.setattr(missing_images, "ask_where", lambda *a, **k: None)
    at.wait(lambda: offered(at))
    at.click("unsaved_open_button")
    at.wait(lambda: at.has_layer("b.tif strokes"))
    monkeypatch.setattr(unsaved_desk, "ask_at_the_end", lambda *a: AtTheEnd.DISCARD)
    assert at.dock.unsaved.may_close()
    at.dock.unsaved.on_hidden()
    at.dock.projects.wait()
    assert [name for name, _ in kept(user_data)] == ["a.tif"]


@pytest.mark.parametrize("saved", [False, True])
def test_a_dock_that_is_opened_again_goes_on_with_list_strokes_and_project(
    desk: Callable[..., Desk], user_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, saved: bool
) -> None:
    for name in "abc":
        tifffile.imwrite(tmp_path / f"{name}.tif", two_textures(seed=ord(name)))
    at = desk(Image(two_textures(), name="cells"))
    paint_on(at, "cells")  # beside the list
    at.add_files([tmp_path / f"{name}.tif" for name in "abc"])
    for row, name in enumerate("ab"):
        at.dock.study.pick(row)
        at.paint_two_classes(at.layer(f"{name}.tif strokes"))
    folder = tmp_path / "study.dsparse"
    if saved:
        monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *a, **k: (str(folder), ""))
        at.click("project_save_button")
        at.wait(lambda: at.find("project_label").text() == "All saved: study.dsparse")
    layers = [each.name for each in at.viewer.layers if not each.name.endswith("segmentation")]
    at.wait(lambda: "strokes" in at.find("images_list").item(1).text())
    counted = at.find("images_list").item(0).text()

    second = reopen(at)
    assert second.dock is not at.dock
    rows = [second.find("images_list").item(row).text() for row in range(3)]
    assert rows == [counted, counted.replace("a.tif", "b.tif"), "○ c.tif"]
    assert second.session.image == "b.tif"
    assert second.session.strokes == "b.tif strokes"
    second.dock.projects.wait_and_tell()
    assert not offered(second)
    second.paint(second.layer("a.tif strokes"), 2, (50, 100), (60, 100))  # behind
    second.dock.study.pick(2)
    second.paint(second.layer("c.tif strokes"), 2, (50, 100), (60, 100))
    now = [each.name for each in second.viewer.layers if not each.name.endswith("segmentation")]
    assert sorted(now) == sorted([*layers, "c.tif", "c.tif strokes"])

    painted = {n: int(np.count_nonzero(second.layer(f"{n}.tif strokes").data)) for n in "abc"}
    listed = [(f"{name}.tif", number) for name, number in painted.items()]
    beside = [("cells.ome.tif", int(np.count_nonzero(second.layer("cells strokes").data)))]
    if saved:
        second.wait(lambda: second.find("project_label").text() == "All saved: study.dsparse")
        with nd.Project.open(folder, read_only=True) as project:
            found = [(e.name, int(np.count_nonzero(project.strokes(e)))) for e in project.images]
        assert found == listed
    second.wait(lambda: kept(user_data) == (beside if saved else listed + beside))
    assert second.dock.unsaved._names == ([] if saved else ["a.tif", "b.tif", "c.tif"]) + ["cells"]
