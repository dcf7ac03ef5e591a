"""Projects in the window: saved, kept up to date by themselves, and opened again."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from napari.layers import Image
from qtpy.QtWidgets import QApplication, QFileDialog, QMessageBox

import napari_dsparse as nd
from gui_session import Desk, reopen, two_textures
from napari_dsparse import project as project_module
from napari_dsparse.gui import added_files, lock_question, missing_images, project_desk, unsaved_desk
from napari_dsparse.gui.file_worker import FileWorker
from napari_dsparse.gui.study_files import read_file
from napari_dsparse.gui.widgets.missing_dialog import MissingDialog, MissingRow, WhereItIs
from napari_dsparse.images import ImageSource
from napari_dsparse.live.project_keeper import ProjectKeeper
from napari_dsparse.live.state import Training


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Two images of one kind, in files."""
    paths = [tmp_path / f"{name}.tif" for name in ("a", "b")]
    for seed, path in enumerate(paths):
        tifffile.imwrite(path, two_textures(seed=seed))
    return paths


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Save 0.2 s after a change."""
    monkeypatch.setattr(project_desk, "AUTOSAVE_SECONDS", 0.2)


def pick(at: Desk, row: int) -> None:
    shown = at.find("images_list")
    shown.itemClicked.emit(shown.item(row))


def begin(at: Desk, files: list[Path]) -> np.ndarray:
    """List the images, paint on the first, and let it be learned; returns the strokes."""
    at.add_files(files)
    pick(at, 0)
    strokes = at.layer("a.tif strokes")
    at.paint_two_classes(strokes)
    at.wait(lambda: at.session.training is Training.STEADY)
    return np.asarray(strokes.data)


def save(at: Desk, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *a, **k: (str(folder), ""))
    at.click("project_save_button")
    saved(at, folder)


def saved(at: Desk, folder: Path) -> None:
    at.wait(lambda: at.find("project_label").text() == f"All saved: {folder.name}")


def painted(folder: Path, name: str) -> int:
    """Painted pixels of an image in a project that is written meanwhile; -1 if it just was."""
    try:
        return int(np.count_nonzero(nd.Project.open(folder, read_only=True).strokes(name)))
    except (nd.DsparseError, OSError):
        return -1


def test_a_project_is_kept_up_to_date_by_itself(
    desk: Callable[..., Desk], files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at, folder = desk(), tmp_path / "study.dsparse"
    strokes = begin(at, files)
    assert at.find("project_label").text() == "In no project yet"
    save(at, folder, monkeypatch)
    with nd.Project.open(folder, read_only=True) as project:
        assert [image.name for image in project.images] == ["a.tif", "b.tif"]
        np.testing.assert_array_equal(project.strokes("a.tif"), strokes)
        assert project.model is not None
    pick(at, 1)
    at.paint(at.layer("b.tif strokes"), 1, (60, 20), (70, 40))
    at.wait(lambda: painted(folder, "b.tif") > 0)
    with pytest.raises(nd.DsparseError, match=r"study\.dsparse.* is open"):
        nd.Project.open(folder)
    at.dock.shutdown()
    with nd.Project.open(folder) as project:  # closed with the window
        assert project.predict("b.tif").shape == (96, 128)


def test_opening_brings_back_images_strokes_and_classes(
    desk: Callable[..., Desk], files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "study.dsparse"
    strokes = np.zeros((96, 128), np.uint8)
    strokes[20:24, 20:30], strokes[20:24, 90:100] = 1, 2
    with nd.Project.create(folder, classes=["stroma", "tumour"]) as project:
        project.add(files[0])
        project.add(files[1], strokes)
        project.save()
    at = desk()
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *a, **k: str(folder))
    at.click("project_open_button")
    at.wait(
        lambda: at.has_layer("b.tif segmentation")
    )  # the painted image comes to the front, and is learned
    np.testing.assert_array_equal(at.layer("b.tif strokes").data, strokes)
    assert [info.name for info in at.session.classes] == ["stroma", "tumour"]
    shown = at.find("images_list")
    assert [shown.item(n).text() for n in range(2)] == ["○ a.tif", "○ b.tif: 2 strokes, 80 px"]
    pick(at, 0)
    at.paint(at.layer("a.tif strokes"), 2, (50, 100), (60, 100))
    at.wait(lambda: painted(folder, "a.tif") > 0)
    np.testing.assert_array_equal(nd.Project.open(folder, read_only=True).strokes("b.tif"), strokes)


def test_paint_of_the_last_moment_is_saved_when_the_dock_closes(
    desk: Callable[..., Desk], files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at, folder = desk(), tmp_path / "study.dsparse"
    begin(at, files)
    save(at, folder, monkeypatch)
    monkeypatch.setattr(at.dock.projects._timer, "start", lambda: None)
    strokes = at.layer("a.tif strokes")
    at.paint(strokes, 2, (50, 100), (60, 100))
    at.dock.shutdown()
    np.testing.assert_array_equal(nd.Project.open(folder, read_only=True).strokes("a.tif"), strokes.data)


def test_images_that_were_moved_renamed_or_changed_are_asked_for_and_stay_in_the_project(
    desk: Callable[..., Desk], files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, elsewhere = tmp_path / "here" / "study.dsparse", tmp_path / "there"
    folder.parent.mkdir()
    elsewhere.mkdir()
    for name in "cd":
        files.append(tmp_path / f"{name}.tif")
        tifffile.imwrite(files[-1], two_textures(seed=ord(name)))
    strokes = np.zeros((96, 128), np.uint8)
    strokes[20:24, 20:30], strokes[20:24, 90:100] = 1, 2
    with nd.Project.create(folder) as project:
        for file in files:
            project.add(file, strokes)
        project.save()
    shutil.move(files[1], elsewhere / "b.tif")
    shutil.move(files[2], elsewhere / "renamed.tif")
    tifffile.imwrite(files[3], two_textures(seed=9))
    asked: list[tuple[list[tuple[str, str]], str]] = []
    answers: list[WhereItIs | None] = [None]

    def answer(
        rows: Sequence[MissingRow], explanation: str, problem: str, parent: object, *, folder: Path
    ) -> WhereItIs | None:
        assert folder == tmp_path / "here", "the search starts where the project is"
        asked.append(([(row.name, row.problem) for row in rows], problem))
        return answers.pop(0)

    monkeypatch.setattr(missing_images, "ask_where", answer)
    monkeypatch.setattr(QMessageBox, "question", lambda *a, **k: pytest.fail("nothing could be lost"))
    at = desk()
    at.dock.projects.open(folder)
    said = "3 images ('b.tif', 'c.tif', 'd.tif') were not found, or changed: they stay in the project"
    at.wait(lambda: at.status.startswith(said))
    assert asked == [([("b.tif", "not found"), ("c.tif", "not found"), ("d.tif", "changed")], "")]
    at.paint(at.layer("a.tif strokes"), 2, (50, 100), (60, 100))
    at.wait(lambda: painted(folder, "a.tif") > np.count_nonzero(strokes))
    assert painted(folder, "b.tif") == np.count_nonzero(strokes)

    renamed = WhereItIs(elsewhere / "renamed.tif", 0)
    answers[:] = [WhereItIs(elsewhere, None), WhereItIs(files[0], 0), renamed, None]
    menu = at.find("project_recent_button").menu()
    next(action for action in menu.actions() if action.text() == "study.dsparse").trigger()
    at.wait(lambda: len(at.dock.study.study.images) == 3)
    assert not answers
    assert [[name for name, _ in rows] for rows, _ in asked[2:]] == [["c.tif", "d.tif"]] * 2 + [["d.tif"]]
    assert asked[2][1].startswith("2 images ('c.tif', 'd.tif') are not beneath ")
    assert "is not the image 'c.tif' that the project's strokes are on" in asked[3][1]
    assert at.status.startswith("Image 'd.tif' was not found, or changed: it stays in the project")
    names = ["a.tif", "b.tif", "renamed.tif", "d.tif"]
    at.wait(lambda: [e.name for e in nd.Project.open(folder, read_only=True).images] == names)
    assert [layer.name for layer in at.viewer.layers if isinstance(layer, Image)] == ["a.tif"]

    answers.append(None)
    shown = at.find("images_list")
    shown.itemClicked.emit(shown.item(3))  # asks once more, and stays picked
    at.wait(lambda: not answers and not at.dock.projects.busy)
    assert shown.currentRow() == 3
    said: list[str] = []
    replies = [QMessageBox.StandardButton.No, QMessageBox.StandardButton.Yes]
    monkeypatch.setattr(QMessageBox, "question", lambda *a, **k: (said.append(a[2]), replies.pop(0))[1])
    at.click("remove_image_button")
    assert said[0].startswith("d.tif has changed. Take it out of the project study.dsparse? Its strokes are")
    assert shown.count() == 4
    at.click("remove_image_button")
    assert shown.count() == 3
    at.wait(lambda: [e.name for e in nd.Project.open(folder, read_only=True).images] == names[:3])
    at.dock.shutdown()


def test_a_renamed_channel_of_a_combined_image_is_asked_for_by_its_own_file(
    files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, elsewhere = tmp_path / "here" / "study.dsparse", tmp_path / "there"
    for each in (folder.parent, elsewhere):
        each.mkdir()
    with nd.Project.create(folder) as project:
        project.add(files)
        project.save()
    renamed = files[1].rename(elsewhere / "GFP.tif")
    files[0].rename(elsewhere / "a.tif")
    asked: list[tuple[str, str]] = []
    answers = [WhereItIs(renamed, 0), WhereItIs(elsewhere / "a.tif", 0), WhereItIs(renamed, 0)]

    def answer(
        rows: Sequence[MissingRow], explanation: str, problem: str, parent: object, **more: object
    ) -> WhereItIs:
        asked.append((rows[0].name, problem))
        return answers.pop(0)

    monkeypatch.setattr(missing_images, "ask_where", answer)
    keeper, places = ProjectKeeper(), missing_images.Places()
    opened = keeper.read(folder)
    parent: Any = None
    while (more := missing_images.ask_places(opened, places, parent, saved=True)) is not None:
        places = more
        opened = keeper.read(folder, places.folders, (), places.files)
    keeper.close()
    name = "a.tif, channel 1 of a + b.tif"
    assert [row for row, _ in asked] == [name, name, name.replace("a.tif, channel 1", "b.tif, channel 2")]
    assert "is not the image 'a.tif' that the project's strokes are on" in asked[1][1]
    assert asked[2][1] == "", "the first channel was found"
    pixels = np.stack([two_textures(seed=seed) for seed in range(2)])
    np.testing.assert_array_equal(opened.images[0].source.data[...], pixels)


def test_the_question_for_images_takes_a_folder_for_all_or_the_file_of_one(
    qtbot: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [MissingRow("a.tif", "not found", "not at /x"), MissingRow("b.zarr", "changed", "", store=True)]
    dialog = MissingDialog(rows, "2 images are gone.", "", None)
    qtbot.addWidget(dialog)
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *a, **k: ("", ""))
    dialog.file_button.click()
    assert dialog.answer is None  # it stays open
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *a, **k: (str(tmp_path / "n.tif"), ""))
    dialog.file_button.click()
    assert dialog.answer == WhereItIs(tmp_path / "n.tif", 0)
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *a, **k: str(tmp_path))
    dialog.list.setCurrentRow(1)
    dialog.file_button.click()
    assert dialog.answer == WhereItIs(tmp_path, 1)
    dialog.folder_button.click()
    assert dialog.answer == WhereItIs(tmp_path, None)


def test_a_list_in_no_project_is_not_replaced_unasked(
    desk: Callable[..., Desk], files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "other.dsparse"
    nd.Project.create(folder).close()
    at = desk()
    begin(at, files)
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *a, **k: str(folder))
    monkeypatch.setattr(QMessageBox, "question", lambda *a, **k: QMessageBox.StandardButton.No)
    at.click("project_open_button")
    assert at.find("images_list").count() == 2
    monkeypatch.setattr(QMessageBox, "question", lambda *a, **k: QMessageBox.StandardButton.Yes)
    at.click("project_open_button")
    at.wait(lambda: at.find("images_list").count() == 0)


def test_what_cannot_be_saved_or_opened_is_said(
    desk: Callable[..., Desk], files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = desk(Image(two_textures(), name="textures"))
    at.dock.study.add_layers([at.layer("textures")])
    folder = tmp_path / "study.dsparse"
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *a, **k: (str(folder), ""))
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *a, **k: str(tmp_path))
    at.click("project_open_button")
    at.wait(lambda: "is no project" in at.status)
    with nd.Project.create(folder):
        monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *a, **k: str(folder))
        at.click("project_open_button")
        at.wait(lambda: "is open" in at.status)
    assert at.find("images_list").count() == 1


def named_project(folder: Path, image: Path, labels: np.ndarray | None = None) -> Path:
    with nd.Project.create(folder, classes=["stroma", "tumour", "glass"]) as project:
        project.add(image, labels)
        project.save()
    return folder


def test_opening_changes_nothing_in_the_project(
    desk: Callable[..., Desk], files: list[Path], tmp_path: Path
) -> None:
    folder = named_project(tmp_path / "study.dsparse", files[0])
    before = (folder / "project.json").read_bytes()
    mask = np.zeros((96, 128), np.uint8)
    mask[40:44, 40:60] = 1
    at = desk()
    at.viewer.add_labels(mask, name="mask")
    at.dock.projects.open(folder)
    at.wait(lambda: at.session.strokes == "a.tif strokes")
    assert not at.layer("a.tif strokes").data.any()
    assert [info.name for info in at.session.classes] == ["stroma", "tumour", "glass"]
    at.qtbot.wait(600)
    assert (folder / "project.json").read_bytes() == before


def test_no_other_layer_becomes_the_strokes_of_an_image_in_the_list(
    desk: Callable[..., Desk], files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at, folder = desk(), tmp_path / "study.dsparse"
    strokes = begin(at, files).copy()
    save(at, folder, monkeypatch)
    mask = np.zeros((96, 128), np.uint8)
    mask[40:44, 40:60] = 1
    at.viewer.add_labels(mask, name="mask")
    at.viewer.layers.remove("a.tif strokes")
    assert at.session.strokes is None
    pick(at, 1)
    assert at.session.strokes == "b.tif strokes"
    pick(at, 0)
    np.testing.assert_array_equal(at.layer("a.tif strokes").data, strokes)
    at.viewer.layers.remove("a.tif strokes")
    at.click("new_labels_button")  # nothing that was painted is lost
    np.testing.assert_array_equal(at.layer("a.tif strokes").data, strokes)
    at.dock.shutdown()
    with nd.Project.open(folder) as project:
        np.testing.assert_array_equal(project.strokes("a.tif"), strokes)
        assert not project.strokes("b.tif").any()


def test_paint_on_an_image_behind_is_saved(
    desk: Callable[..., Desk], files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at, folder = desk(), tmp_path / "study.dsparse"
    begin(at, files)
    pick(at, 1)
    save(at, folder, monkeypatch)
    before = painted(folder, "a.tif")
    at.paint(at.layer("a.tif strokes"), 2, (50, 100), (60, 100))
    at.wait(lambda: painted(folder, "a.tif") > before)
    pick(at, 0)
    assert at.viewer.layers.selection.active.name == "a.tif strokes"  # not the one of the image before
    assert at.viewer.layers[-1].name == "a.tif strokes"


def test_classes_edited_before_the_image_in_front_is_taken_out_are_saved_right(
    desk: Callable[..., Desk], files: list[Path], tmp_path: Path
) -> None:
    strokes = np.zeros((96, 128), np.uint8)
    strokes[20:24, 20:30], strokes[20:24, 90:100], strokes[60:64, 90:100] = 1, 2, 3
    folder = named_project(tmp_path / "study.dsparse", files[0], strokes)
    at = desk()
    at.dock.projects.open(folder)
    at.wait(lambda: at.strokes_of(3) == 1)
    at.add_files(files[1:])
    pick(at, 1)
    at.dock.class_actions.merge_class(1, 2)
    at.find("images_list").setCurrentRow(1)
    at.click("remove_image_button")
    at.dock.shutdown()
    with nd.Project.open(folder) as project:
        assert [info.name for info in project.classes] == ["tumour", "glass"]
        np.testing.assert_array_equal(project.strokes("a.tif"), np.array([0, 1, 1, 2], np.uint8)[strokes])


def test_saving_that_fails_is_said_until_it_works(
    desk: Callable[..., Desk], files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at, folder = desk(), tmp_path / "study.dsparse"
    begin(at, files)
    save(at, folder, monkeypatch)

    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(nd.Project, "set_strokes", full)
        at.paint(at.layer("a.tif strokes"), 2, (50, 100), (60, 100))
        at.wait(lambda: at.find("project_label").text() == "NOT all saved: study.dsparse")
        assert "No space left" in at.find("project_label").toolTip()
    saved(at, folder)
    assert painted(folder, "a.tif") == np.count_nonzero(at.layer("a.tif strokes").data)


def test_layers_opened_at_once_bring_each_image_in_no_file_back_once(
    desk: Callable[..., Desk], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(QMessageBox, "question", lambda *a, **k: QMessageBox.StandardButton.Yes)
    folder, strokes = tmp_path / "study.dsparse", np.ones((96, 128), np.uint8)
    with nd.Project.create(folder) as project:
        for seed in range(2):
            project.add(ImageSource(two_textures(seed=seed), None, f"cells {seed}"), strokes)
        project.save()
    at = desk()
    at.dock.projects.open(folder)
    at.wait(lambda: at.dock.projects.folder is not None)
    for seed in range(2):
        at.viewer.add_layer(Image(two_textures(seed=seed), name=f"layer {seed}"))
    at.wait(lambda: len(at.dock.study.study.images) == 2)
    for _ in range(3):  # every answer has come
        at.dock.projects.wait_and_tell()
    assert [each.name for each in at.dock.study.study.images] == ["layer 0", "layer 1"]
    at.find("images_list").setCurrentRow(0)
    at.click("remove_image_button")
    saved(at, folder)
    at.wait(lambda: painted(folder, "cells 1") == strokes.size)
    with nd.Project.open(folder, read_only=True) as project:
        assert [each.name for each in project.images] == ["cells 1"]


def test_files_that_are_being_read_are_listed_in_the_project_they_were_added_to(
    desk: Callable[..., Desk], files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at, go_on = desk(Image(two_textures(), name="beside")), threading.Event()
    folders = [tmp_path / f"{name}.dsparse" for name in ("first", "second")]

    def slowly(path: Path, series: int | None) -> object:
        go_on.wait(60)
        return read_file(path, series)

    def show(folder: Path) -> None:
        nd.Project.create(folder).close()
        at.dock.projects.open(folder)
        at.wait(lambda: at.dock.projects.folder == folder)

    monkeypatch.setattr(added_files, "read_file", slowly)
    show(folders[0])
    at.dock.study.add_files(files)
    show(folders[1])
    at.wait(lambda: at.status.startswith("a.tif and 1 more had not been read when another list was opened"))
    go_on.set()
    at.dock.study.wait()
    assert not at.dock.study.study.images

    go_on.clear()
    at.dock.study.add_files(files[1:])
    monkeypatch.setattr(unsaved_desk, "_READ_SECONDS", 0.0)
    threading.Timer(0.2, go_on.set).start()
    assert at.dock.unsaved.may_close()  # once it has been read
    with nd.Project.open(folders[1], read_only=True) as project:
        assert [each.name for each in project.images] == ["b.tif"]


def test_a_lock_of_another_computer_is_taken_over_only_when_the_user_says_so(
    desk: Callable[..., Desk], files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, asked, answers = tmp_path / "study.dsparse", list[str](), [False, True]
    project = nd.Project.create(folder)
    project.add(files[0])
    project.save()
    lock = json.loads((folder / "lock.json").read_text())
    (folder / "lock.json").write_text(json.dumps({**lock, "owner": "0abc-7-8", "computer": "former"}))
    at = desk()

    def answer(parent: object, title: str, question: str) -> bool:
        asked.append(question)
        return answers.pop(0)

    monkeypatch.setattr(lock_question, "confirm", answer)
    at.dock.projects.open(folder)
    at.wait(lambda: len(asked) == 1)
    assert "on the computer 'former'" in at.status
    assert f"remove the file {str(folder / 'lock.json')!r}" in at.status
    assert at.dock.projects.folder is None
    at.dock.projects.open(folder)
    at.wait(lambda: at.dock.projects.folder == folder)
    assert len(asked) == 2
    assert [each.name for each in at.dock.study.study.images] == ["a.tif"]


def test_a_mistake_of_the_program_is_said(qtbot: Any) -> None:
    worker, said = FileWorker("test", QApplication.instance()), list[str]()
    worker.run(partial(next, iter(())), failed=said.append)
    worker.run(partial(int, "five"), failed=said.append)
    worker.wait_and_tell()
    worker.close()
    assert "unexpectedly (StopIteration)" in said[0]
    assert said[1].startswith("invalid literal")


def test_paint_while_another_project_is_opened_belongs_to_the_one_before(
    desk: Callable[..., Desk], files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at, folder = desk(), tmp_path / "study.dsparse"
    other = named_project(tmp_path / "other.dsparse", files[1])
    begin(at, files[:1])
    save(at, folder, monkeypatch)
    strokes = at.layer("a.tif strokes")
    at.dock.projects.open(other)
    at.paint(strokes, 2, (50, 100), (60, 100))
    at.wait(lambda: at.session.strokes == "b.tif strokes")
    at.dock.projects.wait()
    assert painted(folder, "a.tif") == np.count_nonzero(strokes.data)
    with nd.Project.open(folder):  # it has been let go
        pass


def choose(at: Desk, action: str) -> None:
    """Choose from the menu of projects."""
    menu = at.find("project_recent_button").menu()
    next(each for each in menu.actions() if each.objectName() == action).trigger()


def test_a_new_project_saves_the_one_before_and_begins_an_empty_list(
    desk: Callable[..., Desk],
    files: list[Path],
    tmp_path: Path,
    user_data: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    at, folder = desk(Image(two_textures(seed=5), name="mine")), tmp_path / "study.dsparse"
    begin(at, files)
    at.dock.study.add_layers([at.layer("mine")])
    pick(at, 2)
    at.paint_two_classes(at.layer("mine strokes"))
    pick(at, 0)
    monkeypatch.setattr(QMessageBox, "question", lambda *a, **k: QMessageBox.StandardButton.No)
    save(at, folder, monkeypatch)  # without a copy of the pixels in no file
    strokes = at.layer("a.tif strokes")
    at.paint(strokes, 2, (50, 100), (60, 100))
    before = np.array(strokes.data)
    choose(at, "project_new_action")
    assert at.dock.projects.folder == folder  # the answer was no
    monkeypatch.setattr(QMessageBox, "question", lambda *a, **k: QMessageBox.StandardButton.Yes)
    choose(at, "project_new_action")
    at.wait(lambda: at.dock.projects.folder is None)
    assert at.find("images_list").count() == 0
    assert at.find("project_label").text() == "In no project yet"
    assert [each.name for each in at.viewer.layers if "segm" not in each.name] == ["mine", "mine strokes"]
    at.dock.projects.wait_and_tell()
    with nd.Project.open(folder) as project:  # closed
        np.testing.assert_array_equal(project.strokes("a.tif"), before)
        assert project.strokes("mine").any()
    assert at.session.strokes == "mine strokes"
    assert not at.dock.unsaved._names  # those on screen are in the project
    at.paint(at.layer("mine strokes"), 2, (50, 100), (60, 100))
    at.wait(lambda: at.dock.unsaved._names == ["mine"])


def test_a_new_list_has_a_table_of_its_own_and_no_model(
    desk: Callable[..., Desk], files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    at = desk()
    begin(at, files)
    at.click("add_class_button")
    assert at.session.has_model
    monkeypatch.setattr(QMessageBox, "question", lambda *a, **k: QMessageBox.StandardButton.Yes)
    choose(at, "project_new_action")
    at.wait(lambda: not at.viewer.layers)
    at.dock.projects.wait_and_tell()
    assert [each.name for each in at.session.classes] == ["background", "object"]
    assert not at.session.has_model
    assert at.status.startswith("A new list: add images")


def test_opening_another_project_closes_the_layers_of_the_one_before(
    desk: Callable[..., Desk], files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at, folder = desk(Image(two_textures(seed=5), name="mine")), tmp_path / "study.dsparse"
    namesake = tmp_path / "other" / "a.tif"
    namesake.parent.mkdir()
    tifffile.imwrite(namesake, two_textures(seed=7))
    other = named_project(tmp_path / "other.dsparse", namesake)
    begin(at, files)
    save(at, folder, monkeypatch)
    told: list[str] = []
    for name in ("begin_batch", "removed", "end_batch"):
        getattr(at.viewer.layers.events, name).connect(lambda event: told.append(event.type))
    at.dock.projects.open(other)
    at.wait(lambda: at.dock.projects.folder == other)
    assert told[:2] == ["begin_batch", "removed"]  # drawn anew once
    assert "removed" not in told[told.index("end_batch") :]
    assert [each.name for each in at.viewer.layers] == ["mine", "a.tif", "a.tif strokes"]
    assert not np.any(at.layer("a.tif strokes").data)
    at.dock.projects.open(folder)
    at.wait(lambda: at.dock.projects.folder == folder)
    assert np.count_nonzero(at.layer("a.tif strokes").data) == painted(folder, "a.tif") > 0
    strokes = at.layer("a.tif strokes")
    at.dock.projects.open(folder)  # what it shows already stays, and can be undone
    at.wait(lambda: not at.dock.projects.busy)
    assert at.layer("a.tif strokes") is strokes


def trained_project(folder: Path, files: list[Path]) -> tuple[nd.Model, str]:
    """A project whose model was trained elsewhere, with gradient steps; the model, and its file's name."""
    strokes = np.zeros((96, 128), np.uint8)
    strokes[20:24, 20:30], strokes[20:24, 90:100] = 1, 2
    with nd.Project.create(folder) as project:
        for file in files:
            project.add(file, strokes)
        model = project.train(steps=3)
        project.save()
    return model, model_file(folder)


def model_file(folder: Path) -> str:
    return str(json.loads((folder / "project.json").read_text())["model"])


@pytest.mark.parametrize("live", [True, False])
def test_the_model_of_a_project_stays_until_something_is_painted(
    desk: Callable[..., Desk], files: list[Path], tmp_path: Path, live: bool
) -> None:
    folder = tmp_path / "study.dsparse"
    model, file = trained_project(folder, files)
    at = desk()
    at.find("live_check").setChecked(live)
    at.dock.projects.open(folder)
    at.wait(lambda: at.dock.projects.folder is not None)
    at.wait(lambda: bool(at.session.counts) and at.session.counts[0][1] > 0)
    for row in (1, 0):
        pick(at, row)
        at.wait(lambda: bool(at.session.counts) and at.session.counts[0][1] > 0)
    assert at.session.model is not None
    assert at.session.applied
    for name, weight in model.classifier.weights.items():
        np.testing.assert_array_equal(at.session.model.classifier.weights[name], weight)
    at.click("predict_button")
    at.wait(lambda: at.session.complete)
    segmentation = np.asarray(at.layer("a.tif segmentation").data)
    np.testing.assert_array_equal(segmentation, model.predict(tifffile.imread(files[0])))
    at.dock.projects.finish()
    assert model_file(folder) == file
    if live:
        at.paint(at.layer("a.tif strokes"), 2, (50, 100), (60, 100))
        at.wait(lambda: at.session.training is Training.STEADY)
        at.dock.projects.finish()
        assert model_file(folder) != file


def test_a_dock_that_is_opened_anew_keeps_the_model_of_its_project(
    desk: Callable[..., Desk], files: list[Path], tmp_path: Path
) -> None:
    folder = tmp_path / "study.dsparse"
    _, file = trained_project(folder, files)
    at = desk()
    at.dock.projects.open(folder)
    at.wait(lambda: at.dock.projects.folder is not None)
    again = reopen(at)
    again.wait(lambda: again.dock.projects.folder is not None and again.session.model is not None)
    again.wait(lambda: not again.dock.projects.busy and not again.session.learning)
    again.dock.projects.finish()
    assert model_file(folder) == file


def test_a_model_that_cannot_be_read_is_said_and_learned_anew(
    desk: Callable[..., Desk], files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "study.dsparse"
    _, file = trained_project(folder, files)
    (folder / file).write_bytes(b"damaged")
    read: list[Path] = []
    real = project_module.read_classifier
    monkeypatch.setattr(project_module, "read_classifier", lambda path: (read.append(path), real(path))[1])
    at = desk()
    at.dock.projects.open(folder)
    at.wait(lambda: at.dock.projects.folder is not None)
    assert at.status.startswith("The model of study.dsparse cannot be used: ")
    at.wait(lambda: at.session.training is Training.STEADY)
    assert len(read) == 1


def test_images_that_are_missing_have_a_row_that_asks_for_them(
    desk: Callable[..., Desk], files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "study.dsparse"
    files.append(tmp_path / "0.tif")
    tifffile.imwrite(files[2], two_textures(seed=4))
    with nd.Project.create(folder) as project:
        for file in (files[0], files[2], files[1]):
            project.add(file)
        project.add(ImageSource(two_textures(seed=8), None, "cells"))
        project.save()
    found = files[1].rename(tmp_path / "elsewhere.tif")
    files[2].unlink()
    answers: list[WhereItIs | None] = [None, WhereItIs(found, 0), None]
    asked: list[list[str]] = []

    def answer(rows: Sequence[MissingRow], *more: object, **others: object) -> WhereItIs | None:
        asked.append([row.name for row in rows])
        return answers.pop(0)

    monkeypatch.setattr(missing_images, "ask_where", answer)
    at = desk()
    at.dock.projects.open(folder)
    at.wait(lambda: at.dock.projects.folder is not None)
    rows = at.find("images_list")
    assert [rows.item(row).text()[2:] for row in range(rows.count())] == [
        "a.tif",
        "0.tif: not found",
        "b.tif: not found",
        "cells: not open",
    ]
    pick(at, 3)
    assert at.status == "Image 'cells' is in no file; open it in napari, and its strokes come back."
    pick(at, 2)
    at.wait(lambda: len(at.dock.study.study.images) == 2)
    assert asked == [["0.tif", "b.tif"], ["b.tif", "0.tif"], ["0.tif"]]  # the one that was clicked first
    at.viewer.add_layer(Image(two_textures(seed=8), name="cells, open"))
    at.wait(lambda: len(at.dock.study.study.images) == 3)
    assert rows.count() == 4


def test_saving_as_goes_on_in_a_copy_with_images_that_were_not_found(
    desk: Callable[..., Desk], files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, copy = tmp_path / "study.dsparse", tmp_path / "deeper" / "copy.dsparse"
    copy.parent.mkdir()
    strokes = np.zeros((96, 128), np.uint8)
    strokes[20:24, 20:30], strokes[20:24, 90:100] = 1, 2
    with nd.Project.create(folder) as project:
        for file in files:
            project.add(file, strokes)
        project.save()
    files[1].unlink()
    monkeypatch.setattr(missing_images, "ask_where", lambda *a, **k: None)
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *a, **k: (str(copy), ""))
    at = desk()
    at.dock.projects.open(folder)
    at.wait(lambda: at.has_layer("a.tif strokes"))
    at.paint(at.layer("a.tif strokes"), 2, (50, 100), (60, 100))
    choose(at, "project_save_as_action")
    saved(at, copy)
    now = painted(copy, "a.tif")
    assert now == painted(folder, "a.tif") > np.count_nonzero(strokes)
    at.paint(at.layer("a.tif strokes"), 1, (70, 20), (80, 20))
    at.wait(lambda: painted(copy, "a.tif") > now)
    at.dock.shutdown()
    assert painted(folder, "a.tif") == now  # it stays
    with nd.Project.open(copy) as project:
        assert project.name == "copy"
        assert project.images[0].path == "../../a.tif"
        np.testing.assert_array_equal(project.strokes("b.tif"), strokes)
        assert project.find("a.tif").path == files[0]


def test_recent_projects_of_one_name_are_told_apart(
    desk: Callable[..., Desk], files: list[Path], tmp_path: Path
) -> None:
    at = desk()
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        folder = named_project(tmp_path / name / "cells.dsparse", files[0])
        at.dock.projects.open(folder)
        at.wait(lambda folder=folder: at.dock.projects.folder == folder and not at.dock.projects.busy)
    at.dock.projects.wait_and_tell()
    menu = at.find("project_recent_button").menu()
    names = [str(Path("one", "cells.dsparse")), str(Path("two", "cells.dsparse"))]
    at.wait(lambda: {each.text() for each in menu.actions() if each.data()} >= set(names))
    at.dock.shutdown()
