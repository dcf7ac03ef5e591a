"""Strokes that are in no project: kept aside by one window, found by the next, never on another image."""

from __future__ import annotations

import json
import os
import shutil
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile

import napari_dsparse as nd
from napari_dsparse.classifier.classes import default_classes
from napari_dsparse.errors import ExportError, LabelsError
from napari_dsparse.files.lock import LOCK
from napari_dsparse.images import ImageSource
from napari_dsparse.live import unsaved
from napari_dsparse.live.kept_images import KeptImage, OpenPixels
from napari_dsparse.live.project_keeper import ProjectKeeper
from napari_dsparse.live.recent import forget_project, recent_projects, remember_project
from napari_dsparse.live.unsaved import UnsavedKeeper, discard_unsaved, find_unsaved

CLASSES = default_classes(2)


def strokes(shape: tuple[int, ...], number: int = 1) -> np.ndarray:
    labels = np.zeros(shape, np.uint8)
    labels[..., 2:5, 3:9] = number
    return labels


def pixels(shape: tuple[int, ...] = (30, 40), seed: int = 0, dtype: str = "uint8") -> np.ndarray:
    return (np.random.default_rng(seed).random(shape) * 200).astype(dtype)


def in_no_file(
    data: np.ndarray, number: int = 0, axis: int | None = None, *, copied: bool = False
) -> KeptImage:
    source = ImageSource(data, axis, "cells")
    return KeptImage(number, "cells", None, None, source, strokes(source.shape), copied=copied)


def a_dead_window(home: Path, *images: KeptImage) -> Path:
    """Strokes of a window that was killed."""
    keeper = UnsavedKeeper(home)
    keeper.save(images, CLASSES)
    (folder,) = home.glob("*.dsparse")
    lock = json.loads((folder / LOCK).read_text())
    host, _, began = lock["owner"].split("-")
    keeper.close()
    (folder / LOCK).write_text(json.dumps({**lock, "owner": f"{host}-{2**22 + os.getpid()}-{began}"}))
    return folder


def test_strokes_are_offered_once_their_window_is_gone_and_opened_by_one(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, pixels())
    source = ImageSource(tifffile.imread(path), None, "a.tif")
    image = KeptImage(0, "a.tif", path, None, source, strokes((30, 40)))
    home, first = tmp_path / "unsaved", UnsavedKeeper(tmp_path / "unsaved")
    first.save([image], CLASSES)
    assert find_unsaved(home) == ()  # another window has them
    first.close()
    (offered,) = find_unsaved(home)
    assert offered.images == ("a.tif",)
    assert offered.sentence.endswith("on a.tif were not saved.")
    a_dead_window(tmp_path / "killed", image)
    assert find_unsaved(tmp_path / "killed")[0].images == ("a.tif",)

    second, third = UnsavedKeeper(home), UnsavedKeeper(home)
    opened = second.read(offered.folder, (), ())
    np.testing.assert_array_equal(opened.images[0].labels, image.labels)
    with pytest.raises(nd.DsparseError, match="is open in this program"):
        third.read(offered.folder, (), ())
    with pytest.raises(nd.DsparseError, match="is open in this program"):
        discard_unsaved(offered.folder)
    second.switch({7: opened.images[0].entry}, {7: opened.images[0].labels})
    more = replace(image, number=7, labels=strokes((30, 40), 2))
    second.save([more], CLASSES)
    second.close()
    assert len(find_unsaved(home)) == 1  # the same strokes, gone on with
    with nd.Project.open(offered.folder) as project:
        assert project.strokes("a.tif").max() == 2
    third.read(offered.folder, (), ())
    third.switch({7: 1}, {})
    third.save([], CLASSES)  # they are in a project now
    assert not list(home.iterdir())


@pytest.mark.parametrize(
    ("shape", "axis", "dtype", "suffix"),
    [
        ((30, 40), None, "uint8", ".ome.tif"),
        ((30, 40, 3), 2, "uint8", ".ome.tif"),
        ((4, 30, 40, 2), 3, "uint16", ".ome.tif"),
        ((3, 30, 40), 0, "float32", ".ome.tif"),
        ((1, 30, 40), 0, "uint8", ".npy"),
        ((4, 30, 40), None, "int64", ".npy"),
        ((2, 30, 40), None, "bool", ".npy"),
    ],
)
def test_pixels_in_no_file_are_copied_exactly(
    tmp_path: Path, shape: tuple[int, ...], axis: int | None, dtype: str, suffix: str
) -> None:
    data = pixels(shape, dtype=dtype)
    image = in_no_file(data, axis=axis, copied=True)
    keeper = UnsavedKeeper(tmp_path)
    keeper.save([replace(image, scale=(0.5,) * len(image.labels.shape))], CLASSES)
    keeper.close()
    (found,) = find_unsaved(tmp_path)
    (opened,) = keeper.read(found.folder, (), ()).images
    assert opened.path is not None
    assert opened.path.name == f"cells{suffix}"
    channels_first = data if axis is None else np.moveaxis(data, axis, 0)
    read = opened.source
    got = np.asarray(read.data[(slice(None),) * len(read.data.shape)])
    got = got if read.channel_axis is None else np.moveaxis(got, read.channel_axis, 0)
    np.testing.assert_array_equal(got, channels_first)
    assert got.dtype == data.dtype
    assert suffix == ".npy" or opened.file.scale[-2:] == (0.5, 0.5)
    np.testing.assert_array_equal(opened.labels, image.labels)
    keeper.close()


def test_strokes_on_pixels_that_are_not_copied_come_back_on_the_same_pixels_only(tmp_path: Path) -> None:
    folder = a_dead_window(tmp_path, in_no_file(pixels()))
    keeper = UnsavedKeeper(tmp_path)
    other = keeper.read(folder, (), [OpenPixels(pixels(seed=1)), OpenPixels(pixels((31, 40)))])
    assert not other.images
    assert [(each.name, each.waits) for each in other.missing] == [("cells", True)]
    keeper.switch({}, {})
    assert keeper.find_open([OpenPixels(pixels(seed=1))]) == []
    (found,) = keeper.find_open([OpenPixels(pixels(seed=1)), OpenPixels(pixels())])
    assert found.layer == 1
    np.testing.assert_array_equal(found.labels, strokes((30, 40)))
    keeper.save([], CLASSES)  # images that were not found keep their strokes
    assert find_unsaved(tmp_path)[0].images == ("cells",)


def test_an_image_that_is_opened_is_found_once_and_taken_out_with_its_twin_only(tmp_path: Path) -> None:
    folder, keeper, image = (
        a_dead_window(tmp_path, in_no_file(pixels())),
        ProjectKeeper(),
        in_no_file(pixels()),
    )
    keeper.read(folder)
    keeper.switch({}, {})
    (found,) = keeper.find_open([OpenPixels(pixels())])
    assert keeper.find_open([OpenPixels(pixels())]) == []  # asked again before the first was taken
    keeper.take({}, {}, [found.entry])
    assert len(keeper.find_open([OpenPixels(pixels())])) == 1  # it was of no use the first time
    keeper.take({1: found.entry, 2: found.entry}, {1: found.labels, 2: found.labels})
    keeper.save(folder, [replace(image, number=1, labels=found.labels)], CLASSES, None)
    assert [each.number for each in keeper.images] == [found.entry]
    keeper.save(folder, [], CLASSES, None)
    assert keeper.images == ()
    keeper.close()


def test_two_strokes_on_one_image_are_both_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, pixels())
    source = ImageSource(tifffile.imread(path), None, "a.tif")
    images = [KeptImage(n, "a.tif", path, None, source, strokes((30, 40), n + 1)) for n in range(2)]
    folder = a_dead_window(tmp_path / "unsaved", *images)
    opened = UnsavedKeeper(tmp_path / "unsaved").read(folder, (), ())
    assert [each.labels.max() for each in opened.images] == [1, 2]


def test_the_choices_that_strokes_were_learned_with_come_back_with_them(tmp_path: Path) -> None:
    image = in_no_file(pixels())
    keeper = UnsavedKeeper(tmp_path)
    keeper.save([image], CLASSES)
    keeper.save([image], CLASSES, "off", "image")  # nothing else has changed
    keeper.close()
    (found,) = find_unsaved(tmp_path)
    opened = UnsavedKeeper(tmp_path).read(found.folder, (), [OpenPixels(image.source.data)])
    assert (opened.depth, opened.normalise) == ("off", "image")


def test_the_list_comes_back_with_images_that_nothing_is_painted_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unsaved, "_MOST_NOTED", 2)
    names = [f"{letter}.tif" for letter in "abcd"]
    images = []
    for number, name in enumerate(names):
        tifffile.imwrite(tmp_path / name, pixels(seed=number))
        source = ImageSource(pixels(seed=number), None, name)
        painted = strokes((30, 40)) if number == 1 else None
        images.append(KeptImage(number, name, tmp_path / name, None, source, painted))
    lost = KeptImage(9, "gone.tif", tmp_path / "gone.tif", None, images[0].source, None, from_file=True)
    home, keeper = tmp_path / "unsaved", UnsavedKeeper(tmp_path / "unsaved")
    results = [keeper.save([lost, *images], CLASSES) for _ in range(3)]
    assert results == [False, True, True], "strokes come first, then two others at a time"
    keeper.close()
    (offered,) = find_unsaved(home)
    assert offered.images == ("b.tif",), "those with strokes are said"
    (tmp_path / "c.tif").unlink()
    opened = UnsavedKeeper(home).read(offered.folder, (), ())
    assert sorted(each.name for each in opened.images) == ["a.tif", "b.tif", "d.tif"]
    assert opened.missing == ()


def test_unreadable_strokes_are_kept_and_said_and_empty_ones_go(tmp_path: Path) -> None:
    folder = a_dead_window(tmp_path, in_no_file(pixels()))
    nd.Project.create(tmp_path / "empty.dsparse").close()
    (folder / "project.json").write_text("{")
    (found,) = find_unsaved(tmp_path)
    assert "cannot be opened, and are kept: Project file" in found.sentence
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]
    discard_unsaved(folder)
    assert not list(tmp_path.iterdir())


def test_strokes_that_another_computer_holds_are_said_after_a_day_and_never_taken(tmp_path: Path) -> None:
    keeper = UnsavedKeeper(tmp_path)
    keeper.save([in_no_file(pixels())], CLASSES)
    (folder,) = tmp_path.iterdir()
    lock = json.loads((folder / LOCK).read_text())
    (folder / LOCK).write_text(json.dumps({**lock, "owner": "0abc-7-8", "computer": "former"}))
    a_day_ago = time.time() - 25 * 3600
    assert find_unsaved(tmp_path) == ()
    os.utime(folder / "project.json", (a_day_ago, a_day_ago))
    (found,) = find_unsaved(tmp_path)
    assert "on the computer 'former'" in found.sentence
    assert f"remove the file {str(folder / LOCK)!r}" in found.sentence
    with pytest.raises(nd.DsparseError, match="former"):
        discard_unsaved(folder)
    nd.Project.create(tmp_path / "older.dsparse").close()
    shutil.copytree(folder, tmp_path / "older.dsparse", dirs_exist_ok=True)
    (tmp_path / "older.dsparse" / LOCK).unlink()
    os.utime(tmp_path / "older.dsparse" / "project.json", (0, 0))
    assert [each.problem is None for each in find_unsaved(tmp_path)] == [True, False]
    (folder / LOCK).unlink()
    assert len([each for each in find_unsaved(tmp_path) if each.problem is None]) == 2


def test_one_folder_that_cannot_be_removed_hides_no_strokes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_dead_window(tmp_path, in_no_file(pixels()))
    nd.Project.create(tmp_path / "empty.dsparse").close()

    def refuse(folder: Path) -> None:
        raise ExportError(f"{folder} could not be removed")

    monkeypatch.setattr(unsaved, "remove_project", refuse)
    assert [each.images for each in find_unsaved(tmp_path)] == [("cells",)]


def test_an_image_that_cannot_be_kept_leaves_the_others_in_one_folder(tmp_path: Path) -> None:
    keeper = UnsavedKeeper(tmp_path)
    wrong = replace(in_no_file(pixels(seed=1), 1), labels=strokes((9, 9)))
    for _ in range(3):
        with pytest.raises(LabelsError):
            keeper.save([in_no_file(pixels()), wrong], CLASSES)
    keeper.close()
    assert [each.images for each in find_unsaved(tmp_path)] == [("cells",)]
    assert len(list(tmp_path.iterdir())) == 1


def test_a_project_that_cannot_be_read_again_goes_on_being_saved(tmp_path: Path) -> None:
    folder, keeper = tmp_path / "study.dsparse", ProjectKeeper()
    image = in_no_file(pixels())
    keeper.save(folder, [image], CLASSES, None)
    whole = (folder / "project.json").read_bytes()
    (folder / "project.json").write_text("{")
    with pytest.raises(nd.DsparseError, match="not JSON"):
        keeper.read(folder)
    more = replace(image, labels=strokes((30, 40), 2))
    with pytest.raises(nd.DsparseError, match="not JSON"):
        keeper.save(folder, [more], CLASSES, None)
    (folder / "project.json").write_bytes(whole)
    keeper.save(folder, [more], CLASSES, None)
    keeper.read(folder)
    keeper.save(folder, [image], CLASSES, None)  # painted while it is read again
    keeper.close()
    with nd.Project.open(folder) as project:
        assert len(project.images) == 1
        assert project.strokes("cells").max() == 1
        with pytest.raises(nd.DsparseError, match=r"'cells' of the project is in no file"):
            project.find("cells")
        np.save(tmp_path / "saved.npy", pixels())
        np.save(tmp_path / "other.npy", pixels(seed=1))
        with pytest.raises(nd.DsparseError, match="does not hold the pixels of image 'cells'"):
            project.locate("cells", tmp_path / "other.npy")
        assert project.locate("cells", tmp_path / "saved.npy").has_file
        assert project.find("saved.npy").path == tmp_path / "saved.npy"


def test_recent_projects_are_remembered_and_missing_ones_shown(tmp_path: Path, user_data: Path) -> None:
    folders = [tmp_path / f"{n}.dsparse" for n in range(12)]
    for folder in folders:
        nd.Project.create(folder).close()
        remember_project(folder)
    remember_project(folders[5])
    assert [each.folder for each in recent_projects()] == [folders[5], *folders[:5:-1], *folders[4:1:-1]]
    shutil.rmtree(folders[11])
    assert [each.folder for each in recent_projects() if each.missing] == [folders[11]]
    assert folders[11] not in [each.folder for each in forget_project(folders[11])]
    for broken in ("", "[", "{}", "[3, null]", "[" * 100_000):
        (user_data / "recent.json").write_text(broken)
        assert recent_projects() == ()
    assert len(remember_project(folders[0])) == 1
