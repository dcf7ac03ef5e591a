"""`nd.Project`: what was painted where is kept, found again, learned from, and never lands elsewhere."""

from __future__ import annotations

import gc
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import safe_open

import napari_dsparse as nd
from napari_dsparse.classifier.classes import ClassInfo, default_classes
from napari_dsparse.errors import ExportError, ImageError, LabelsError, ProjectError
from napari_dsparse.files.project_images import MisplacedImageError

#: A project, with its images, as the first version wrote it.
FIRST_VERSION = Path(__file__).parent / "data" / "project-1"

SHAPE = (40, 48)
BASE = np.broadcast_to(60 * (np.arange(48) // 16), SHAPE)


def make_image(seed: int) -> np.ndarray:
    """Three kinds of pixels, from left to right."""
    return (BASE + np.random.default_rng(seed).integers(0, 30, SHAPE)).astype(np.uint8)


def make_strokes(row: int) -> np.ndarray:
    labels = np.zeros(SHAPE, np.uint8)
    for number in (1, 2, 3):
        labels[row : row + 3, 16 * number - 13 : 16 * number - 3] = number
    return labels


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A grey image, a colour image of the same place, and a stack."""
    (tmp_path / "day1").mkdir()
    (tmp_path / "day2").mkdir()
    tifffile.imwrite(tmp_path / "day1" / "cells.tif", make_image(0))
    tifffile.imwrite(tmp_path / "day2" / "cells.tif", make_image(1))
    np.save(tmp_path / "other.npy", make_image(2))
    return tmp_path


@pytest.fixture
def saved(folder: Path) -> Path:
    """A project of two images with strokes, and one without."""
    with nd.Project.create(folder / "cells.dsparse", classes=["slide", "cell", "nucleus"]) as project:
        project.add(folder / "day1" / "cells.tif", make_strokes(5))
        project.add(folder / "other.npy", make_strokes(20))
        project.add(folder / "day2" / "cells.tif")
        project.save()
    return project.folder


def weights(model: nd.Model) -> dict[str, bytes]:
    return {name: tensor.numpy().tobytes() for name, tensor in model.classifier.weights.items()}


def described(path: Path) -> dict[str, Any]:
    """The description in a model file, without what differs between two runs of the same."""
    with safe_open(str(path), framework="pt") as opened:
        description: dict[str, Any] = json.loads(opened.metadata()["napari-dsparse"])
    del description["checksum"], description["training"]["seconds"], description["training"]["created"]
    return description


def test_a_project_comes_back_as_it_was_saved(saved: Path) -> None:
    with nd.Project.open(saved) as project:
        assert project.name == "cells"
        assert [info.name for info in project.classes] == ["slide", "cell", "nucleus"]
        assert [image.name for image in project.images] == ["cells.tif", "other.npy", "cells.tif"]
        assert [image.path for image in project.images] == [
            "../day1/cells.tif",
            "../other.npy",
            "../day2/cells.tif",
        ]
        first, second, third = project.images
        np.testing.assert_array_equal(project.strokes(first), make_strokes(5))
        np.testing.assert_array_equal(project.strokes("other.npy"), make_strokes(20))
        np.testing.assert_array_equal(project.strokes("../day2/cells.tif"), np.zeros(SHAPE))
        np.testing.assert_array_equal(project.find(second).source.data, make_image(2))
        assert project.model is None
        assert third.strokes is None
        assert "3 images, classes: slide, cell, nucleus" in repr(project)


def test_what_is_not_saved_is_lost_and_leaves_nothing(saved: Path) -> None:
    before = {path: path.read_bytes() for path in saved.rglob("*") if path.is_file()}
    with nd.Project.open(saved) as project:
        project.set_strokes("other.npy", make_strokes(9))
        project.classes = ["a", "b", "c", "d"]
        project.remove(project.images[0])
        project.train(network="compact")
        assert len(project.images) == 2
    assert {path: path.read_bytes() for path in saved.rglob("*") if path.is_file()} == before


def test_training_a_project_is_training_on_its_images_and_labels(saved: Path, tmp_path: Path) -> None:
    images, labels = [make_image(0), make_image(2)], [make_strokes(5), make_strokes(20)]
    plain = nd.train(images, labels, classes=["slide", "cell", "nucleus"], steps=3, seed=5)
    with nd.Project.open(saved) as project:
        model = project.train(steps=3, seed=5)
        project.save()
        np.testing.assert_array_equal(project.predict("other.npy"), plain.predict(make_image(2)))
    assert weights(model) == weights(plain)
    found = described(model.save(tmp_path / "project.safetensors"))
    expected = described(plain.save(tmp_path / "plain.safetensors"))
    assert found.pop("axes") == "??"  # as the first image's file named them
    assert expected.pop("axes") is None
    assert found == expected
    with nd.Project.open(saved) as project:
        assert project.model is not None
        assert weights(project.model) == weights(plain)
        assert (project.predict("other.npy") == BASE // 60 + 1).mean() > 0.9


def test_relative_paths_go_on_meaning_what_they_meant(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    with nd.Project.create("p.dsparse") as project:
        project.add("day1/cells.tif", make_strokes(5))
        monkeypatch.chdir(folder / "day2")
        project.save()
        np.testing.assert_array_equal(project.find("cells.tif").source.data[...], make_image(0))
    with nd.Project.open("../p.dsparse", image_folders="..") as project:
        monkeypatch.chdir(folder)
        assert project.images[0].path == "../day1/cells.tif"
        np.testing.assert_array_equal(project.strokes("cells.tif"), make_strokes(5))


def test_what_is_painted_extends_the_classes(folder: Path) -> None:
    with nd.Project.create(folder / "p.dsparse") as project:
        assert project.classes == ()
        image = project.add(folder / "other.npy", make_strokes(5))
        assert project.classes == default_classes(3)
        project.classes = [ClassInfo("slide", "#ffffff")]
        project.set_strokes(image, make_strokes(5))
        assert project.classes == (ClassInfo("slide", "#ffffff"), *default_classes(3)[1:])


def test_strokes_that_are_wiped_are_gone(saved: Path) -> None:
    with nd.Project.open(saved) as project:
        for image in project.images:
            project.set_strokes(image, np.zeros(SHAPE, np.uint8))
        project.save()
        with pytest.raises(LabelsError, match="has no strokes"):
            project.train()
    assert not list((saved / "strokes").iterdir())


def test_channels_are_on_the_axis_that_was_chosen(folder: Path) -> None:
    stack = np.stack([make_image(seed) for seed in range(3)])
    np.save(folder / "a.npy", stack)
    np.save(folder / "b.npy", stack + 1)
    with nd.Project.create(folder / "p.dsparse") as project:
        by_labels = project.add(folder / "a.npy", make_strokes(5))
        by_hand = project.add(folder / "b.npy", channel_axis=-3)
        project.save()
    with nd.Project.open(folder / "p.dsparse") as project:
        for image in (by_labels, by_hand):
            assert image.channel_axis == 0
            assert image.shape == SHAPE
            assert project.find(image).source.channels == 3
        assert project.train(network="compact").classifier.channel_axis == -3


def test_one_of_several_images_of_a_file_is_kept(folder: Path) -> None:
    with tifffile.TiffWriter(folder / "two.tif") as tiff:
        tiff.write(make_image(3)[:, :40], metadata=None)
        tiff.write(make_image(4), metadata=None)
    with nd.Project.create(folder / "p.dsparse") as project:
        small, large = project.add(folder / "two.tif", series=0), project.add(folder / "two.tif")
        assert (small.fingerprint.series, large.fingerprint.series) == (0, 1)
        np.testing.assert_array_equal(project.find(small).source.data[...], make_image(3)[:, :40])
        with pytest.raises(ProjectError, match="in the project already"):
            project.add(folder / "two.tif", series=1)


def move_project(saved: Path) -> Path:
    (saved.parent / "elsewhere").mkdir()
    return saved.rename(saved.parent / "elsewhere" / "moved.dsparse")


def move_all(saved: Path) -> Path:
    new = saved.parent.with_name(f"{saved.parent.name} moved")
    saved.parent.rename(new)
    return new / saved.name


def move_images(saved: Path) -> Path:
    (saved.parent / "archive" / "2026").mkdir(parents=True)
    for name in ("day1", "day2", "other.npy"):
        (saved.parent / name).rename(saved.parent / "archive" / "2026" / name)
    return saved


@pytest.mark.parametrize("move", [move_project, move_all, move_images])
def test_what_was_moved_is_found_and_then_known(saved: Path, move: Callable[[Path], Path]) -> None:
    there = move(saved)
    with nd.Project.open(there) as project:
        expected = [make_image(0), make_image(2), make_image(1)]
        for image, pixels in zip(project.images, expected, strict=True):
            np.testing.assert_array_equal(project.find(image).source.data[...], pixels)
        project.save()
    for image in nd.Project.open(there, read_only=True).images:
        assert (there / str(image.path)).exists()
        assert Path(image.absolute_path).exists()


def test_images_are_searched_in_folders_that_are_named(
    saved: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    far = tmp_path_factory.mktemp("far")
    shutil.move(saved.parent / "other.npy", far / "other.npy")
    np.save(saved.parent / "day1" / "other.npy", make_image(9))  # of the same name and size
    with nd.Project.open(saved) as project:
        with pytest.raises(
            ImageError, match=r"its pixels have other values; say where it is with --image-folder DIR"
        ):
            project.find("other.npy")
        with pytest.raises(ImageError, match=r"is not the image 'other\.npy'"):
            project.train()
        (saved.parent / "day1" / "other.npy").unlink()
        with pytest.raises(ImageError, match=r"neither at .* nor beneath .*--image-folder DIR") as told:
            project.find("other.npy")
        assert "\n" not in str(told.value)
    for folders in ([far], far, str(far), (saved / "strokes", far)):
        with nd.Project.open(saved, image_folders=folders) as project:
            assert project.find("other.npy").path == far / "other.npy"
    with pytest.raises(ProjectError, match="no folder"):
        nd.Project.open(saved, image_folders=[far / "none"])


def test_an_image_is_located_by_hand_and_another_is_refused(saved: Path) -> None:
    renamed = (saved.parent / "other.npy").rename(saved.parent / "renamed.npy")
    with nd.Project.open(saved) as project:
        other = project.images[1]
        with pytest.raises(ImageError, match="neither at"):
            project.find(other)
        with pytest.raises(ImageError, match=r"its (shape|size in bytes) is|its pixels"):
            project.locate(other, saved.parent / "day1" / "cells.tif")
        with pytest.raises(ImageError, match="no file"):
            project.locate(other, saved.parent / "none.npy")
        assert project.locate(other, renamed).name == "renamed.npy"
        project.save()
    with nd.Project.open(saved) as project:
        np.testing.assert_array_equal(project.find("renamed.npy").source.data, make_image(2))
        np.testing.assert_array_equal(project.strokes("renamed.npy"), make_strokes(20))


@pytest.mark.parametrize(
    "pixels",
    [make_image(7), make_image(0)[:, :40], make_image(0).astype(np.uint16), make_image(0)[..., None]],
)
def test_strokes_never_land_on_another_image(saved: Path, pixels: np.ndarray) -> None:
    tifffile.imwrite(saved.parent / "day1" / "cells.tif", pixels)
    with nd.Project.open(saved) as project:
        with pytest.raises(
            ImageError, match=r"is not the image 'cells\.tif' that the project's strokes are on"
        ):
            project.train()
        np.testing.assert_array_equal(project.strokes(project.images[0]), make_strokes(5))


def test_a_damaged_image_is_said_to_be_one(saved: Path) -> None:
    (saved.parent / "day1" / "cells.tif").write_bytes(b"no TIFF")
    with nd.Project.open(saved) as project, pytest.raises(ImageError, match=r"day1.*cannot be read"):
        project.find(project.images[0])


def test_an_image_with_a_damaged_part_is_not_added(folder: Path) -> None:
    path = folder / "large.tif"
    tifffile.imwrite(path, np.tile(make_image(0), (10, 10)), tile=(64, 64), compression="zlib")
    with tifffile.TiffFile(path) as tiff:
        place = tiff.pages[0].dataoffsets[9]
    content = bytearray(path.read_bytes())
    content[place : place + 20] = b"x" * 20
    path.write_bytes(content)
    with nd.Project.create(folder / "p.dsparse") as project:
        with pytest.raises(ImageError, match=r"large\.tif.*could not be read") as told:
            project.add(path)
        assert "\n" not in str(told.value)
        assert not project.images


@pytest.mark.skipif(os.name != "posix", reason="links need rights on Windows")
def test_no_file_of_another_project_is_removed_or_written(saved: Path) -> None:
    other = shutil.copytree(saved, saved.with_name("other.dsparse"))
    shutil.rmtree(saved / "strokes")
    (saved / "strokes").symlink_to(other / "strokes")
    before = sorted((other / "strokes").iterdir())
    with nd.Project.open(saved) as project:
        with pytest.raises(ProjectError, match="a link out of the project"):
            project.set_strokes("other.npy", make_strokes(9))
        project.remove("other.npy")
        project.save()
    assert sorted((other / "strokes").iterdir()) == before


def test_one_program_at_a_time_but_any_number_of_readers(saved: Path) -> None:
    project = nd.Project.open(saved)
    with pytest.raises(ProjectError, match="in this program already"):
        nd.Project.open(saved)
    reader = nd.Project.open(saved, read_only=True)
    np.testing.assert_array_equal(reader.strokes("other.npy"), make_strokes(20))
    for change in (reader.save, reader.train, lambda: reader.remove("other.npy")):
        with pytest.raises(ProjectError, match="read only"):
            change()
    project.close()
    project.close()
    with pytest.raises(ProjectError, match="no longer open"):
        project.save()
    again = nd.Project.open(saved)
    del again
    gc.collect()
    nd.Project.open(saved).close()
    assert {path.name for path in saved.iterdir()} == {"project.json", "strokes"}


def test_a_folder_that_is_no_project_gets_no_lock(folder: Path) -> None:
    with pytest.raises(ProjectError, match="is no project"):
        nd.Project.open(folder / "day1")
    assert [path.name for path in (folder / "day1").iterdir()] == ["cells.tif"]


def test_a_damaged_model_is_one_sentence(saved: Path) -> None:
    with nd.Project.open(saved) as project:
        project.train(network="compact")
        project.save()
    (model,) = saved.glob("model-*.safetensors")
    content = model.read_bytes()
    with nd.Project.open(saved) as project:
        for damaged in (content[:-5], b"no model", None):
            model.unlink() if damaged is None else model.write_bytes(damaged)
            with pytest.raises(nd.DsparseError, match=model.name) as told:
                project.predict("other.npy")
            assert "\n" not in str(told.value)
        project.train(network="compact")  # mends it
        project.save()
        assert project.model is not None


#: Calls of a project of `saved`, with a word of the sentence that refuses them.
REFUSED: list[tuple[Callable[[nd.Project, Path], Any], str]] = [
    (lambda p, f: nd.Project.create(f / "x"), r"NAME\.dsparse"),
    (lambda p, f: nd.Project.create(f / "none" / "x.dsparse"), "does not exist"),
    (lambda p, f: nd.Project.create(p.folder), "already exists"),
    (lambda p, f: nd.Project.create(f / "x.dsparse", classes="ab"), "a list of their names"),
    (lambda p, f: nd.Project.create(f / "x.dsparse", classes=[3]), "name of class 1"),
    (lambda p, f: nd.Project.create(3), "folder is 3"),
    (lambda p, f: nd.Project.open(f / "none.dsparse"), "does not exist"),
    (lambda p, f: nd.Project.open(f / "other.npy"), "is a file"),
    (lambda p, f: nd.Project.open(p.folder, read_only=3), "True or False"),
    (lambda p, f: nd.Project.open(p.folder, image_folders=3), "image_folders is 3"),
    (lambda p, f: p.add(f / "none.tif"), "no file"),
    (lambda p, f: p.add(f / "other.npy"), "in the project already"),
    (lambda p, f: p.add(f / "day2" / ".." / "other.npy"), "in the project already"),
    (lambda p, f: p.add(3), "image is 3"),
    (lambda p, f: p.add(f / "new.npy", np.ones((3, 4), int)), "labels have shape"),
    (lambda p, f: p.add(f / "new.npy", np.ones(SHAPE)), "float64"),
    (lambda p, f: p.add(f / "new.npy", [[1]]), "an array of integers"),
    (lambda p, f: p.add(f / "new.npy", series=-1), "whole number"),
    (lambda p, f: p.add(f / "new.npy", series=1), "series 1 is not in it"),
    (lambda p, f: p.add(f / "new.npy", channel_axis=5), "not one of them"),
    (lambda p, f: p.strokes("cells.tif"), "2 images 'cells.tif'"),
    (lambda p, f: p.strokes("none.tif"), "its images are: 'cells.tif', 'other.npy'"),
    (lambda p, f: p.strokes(3), "image is 3"),
    (lambda p, f: p.set_strokes("other.npy", None), "an array of integers"),
    (lambda p, f: p.set_strokes("other.npy", np.ones((48, 40), int)), "belong to this image"),
    (lambda p, f: p.set_strokes("other.npy", np.full(SHAPE, 1001)), "1000 at most"),
    (lambda p, f: p.predict("other.npy"), "has no model yet"),
    (lambda p, f: p.train(seed=-1), "seed is -1"),
    (lambda p, f: p.train(network="x"), "context, compact"),
    (lambda p, f: setattr(p, "classes", []), "a list of their names"),
]


@pytest.mark.parametrize("number", range(len(REFUSED)))
def test_wrong_calls_are_one_sentence_and_change_nothing(saved: Path, number: int) -> None:
    call, told = REFUSED[number]
    np.save(saved.parent / "new.npy", make_image(8))
    with nd.Project.open(saved) as project:
        before = project.images, project.classes
        with pytest.raises(nd.DsparseError, match=told) as caught:
            call(project, saved.parent)
        assert (project.images, project.classes) == before
        project.save()
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500
    assert len(list((saved / "strokes").iterdir())) == 2
    assert not list(saved.parent.glob("x*"))


def test_numbers_of_images_are_not_given_twice(saved: Path) -> None:
    with nd.Project.open(saved) as project:
        last = project.images[-1]
        project.remove(last)
        again = project.add(saved.parent / "day2" / "cells.tif")
        assert again.number != last.number
        with pytest.raises(ProjectError, match="no image"):
            project.strokes(last)


def test_a_full_disk_leaves_the_old_state(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (saved / "project.json").read_bytes()

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with nd.Project.open(saved) as project:
        project.classes = ["a", "b", "c"]
        monkeypatch.setattr(Path, "write_bytes", full)
        with pytest.raises(ExportError, match="No space left"):
            project.save()
        monkeypatch.undo()
        assert (saved / "project.json").read_bytes() == before
        project.save()
    assert [info.name for info in nd.Project.open(saved, read_only=True).classes] == ["a", "b", "c"]


def test_classes_have_names_of_their_own_but_for_older_files(saved: Path, tmp_path: Path) -> None:
    with pytest.raises(LabelsError, match="Classes 1 and 3 are both called 'a'; give each a name of its own"):
        nd.Project.create(tmp_path / "new.dsparse", classes=["a", "b", "a"])
    with pytest.raises(LabelsError, match="both called"):
        nd.Project.create(
            tmp_path / "new.dsparse", classes=[ClassInfo("a", "#000000"), ClassInfo("a", "#ffffff")]
        )
    assert not (tmp_path / "new.dsparse").exists()
    described = saved / "project.json"
    name = nd.Project.open(saved, read_only=True).classes[0].name
    with nd.Project.open(saved) as project:
        project.classes = [name, "twin", "c"]
        project.save()
    described.write_text(described.read_text().replace('"twin"', f'"{name}"'))
    with nd.Project.open(saved) as project:
        assert [info.name for info in project.classes] == [name, name, "c"]
        with pytest.raises(LabelsError, match="both called"):
            project.classes = [name, name, "c"]
        project.classes = (*project.classes[:2], ClassInfo("d", "#123456"))  # as a window keeps them
        model = project.train().save(saved.parent / "m.safetensors")
    assert [info.name for info in nd.load_model(model).classes] == [name, name, "d"]


def test_a_class_that_is_painted_first_gets_a_name_and_colour_that_are_free(saved: Path) -> None:
    with nd.Project.open(saved) as project:
        project.classes = [ClassInfo("class 3", "#009e73"), ClassInfo("b", "#0072b2")]
        project.set_strokes(project.images[0], make_strokes(3))
        names = [info.name for info in project.classes]
        assert len(set(names)) == len({info.color for info in project.classes}) == len(names) == 3


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.lists(st.tuples(st.sampled_from("spcoa"), st.integers(0, 2), st.integers(1, 30)), max_size=12)
)
def test_whatever_is_done_the_last_saved_state_comes_back(
    saved: Path, steps: list[tuple[str, int, int]]
) -> None:
    def state(project: nd.Project) -> Any:
        strokes = [project.strokes(image).tolist() for image in project.images]
        return strokes, project.classes, [image.name for image in project.images]

    project = nd.Project.open(saved)
    known = state(project)
    for step, which, value in steps:
        if step == "s":
            project.save()
            known = state(project)
        elif step == "p" and which < len(project.images):
            project.set_strokes(project.images[which], make_strokes(value))
        elif step == "c":
            project.classes = [f"class {value}", "b", "c"]
        elif step == "a" and which < len(project.images) > 1:
            project.remove(project.images[which])
        elif step == "o":
            project.close()
            project = nd.Project.open(saved)
            assert state(project) == known
    project.close()
    reader = nd.Project.open(saved, read_only=True)
    assert state(reader) == known
    used = {image.strokes for image in reader.images} - {None}
    assert {f"strokes/{path.name}" for path in (saved / "strokes").iterdir()} == used


def test_a_project_of_the_first_version_opens(tmp_path: Path) -> None:
    folder = shutil.copytree(FIRST_VERSION, tmp_path / "project-1")
    with nd.Project.open(folder / "cells.dsparse") as project:
        assert project.name == "cells"
        assert project.classes == (
            ClassInfo("slide", "#0072b2"),
            ClassInfo("Zellkern µ", "#d55e00"),
            ClassInfo("class 3", "#009e73"),
        )
        plane, stack = project.images
        assert (plane.name, plane.shape) == ("plane.tif", (40, 48))
        assert (stack.name, stack.shape, stack.letters) == ("stack.ome.tif", (2, 40, 48), "ZYX")
        painted = project.strokes(plane)
        assert [int((painted == number).sum()) for number in (1, 2, 3)] == [28, 16, 32]
        assert project.strokes(stack)[1, 25, 40] == 3
        assert (project.predict(stack) == BASE // 60 + 1).mean() > 0.9
        retrained = project.train(network="compact")
        assert retrained.classes == project.classes
        project.save()


@pytest.fixture
def combined(folder: Path) -> Path:
    """A project of an image whose channels are in two files."""
    with nd.Project.create(folder / "both.dsparse", classes=["a", "b", "c"]) as project:
        project.add([folder / "other.npy", folder / "day1" / "cells.tif"], make_strokes(5))
        project.save()
    return project.folder


def test_files_of_one_channel_each_are_one_image(combined: Path, folder: Path) -> None:
    both = np.stack([make_image(2), make_image(0)])
    with nd.Project.open(combined) as project:
        (image,) = project.images
        assert (image.name, image.path, image.shape) == ("other + cells.tif", None, SHAPE)
        assert [channel.path for channel in image.channels] == ["../other.npy", "../day1/cells.tif"]
        np.testing.assert_array_equal(project.find(image).source.data[...], both)
        model = project.train(steps=2, seed=3)
        expected = nd.train(both, make_strokes(5), classes=["a", "b", "c"], channel_axis=0, steps=2, seed=3)
        assert weights(model) == weights(expected)
        np.testing.assert_array_equal(project.predict(image), expected.predict(both, channel_axis=0))
        with pytest.raises(ProjectError, match="in the project already"):
            project.add([folder / "other.npy", folder / "day1" / "cells.tif"])
        other = project.add([folder / "day1" / "cells.tif", folder / "other.npy"])  # in another order
        project.save()
        assert other.fingerprint.sample != image.fingerprint.sample
    with nd.Project.open(combined) as project:
        assert len(project.images) == 2


def test_channels_that_were_moved_are_found_and_others_refused(combined: Path, folder: Path) -> None:
    (folder / "far").mkdir()
    (folder / "other.npy").rename(folder / "far" / "other.npy")
    with nd.Project.open(combined) as project:
        found = project.find(project.images[0])  # beneath the folder of the project
        assert [channel.path for channel in found.image.channels] == ["../far/other.npy", "../day1/cells.tif"]
        project.save()
    np.save(folder / "far" / "other.npy", make_image(7))
    with nd.Project.open(combined) as project:
        with pytest.raises(ImageError, match=r"'other\.npy' that the project's strokes are on: its pixels"):
            project.find(project.images[0])
        (folder / "else").mkdir()
        np.save(folder / "else" / "other.npy", make_image(2))
        moved = project.locate("other + cells.tif", folder / "else")
        assert moved.channels[0].path == "../else/other.npy"
        np.testing.assert_array_equal(project.find(moved).source.data[0], make_image(2))


def test_a_channel_that_was_renamed_is_placed_by_hand(
    combined: Path, folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    far = tmp_path_factory.mktemp("far")
    for old, new in (("other.npy", "DAPI.npy"), ("day1/cells.tif", "cells.tif")):
        shutil.move(folder / old, far / new)
    with nd.Project.open(combined) as project:
        (image,) = project.images
        with pytest.raises(
            MisplacedImageError, match=r"'other\.npy' of the project is neither at"
        ) as failure:
            project.find(image)
        assert failure.value.channel == 0
        with pytest.raises(ImageError, match=r"is not the image 'other\.npy'"):
            project.locate(image, far / "cells.tif", channel=0)
        with pytest.raises(ImageError, match="no channel 2 in a file of its own"):
            project.locate(image, far / "cells.tif", channel=2)
        placed = project.locate(image, far / "DAPI.npy", channel=0)
        assert placed.channels[0].name == "DAPI.npy"
        both = np.stack([make_image(2), make_image(0)])
        np.testing.assert_array_equal(project.find(placed).source.data[...], both)  # the other lies beside it


def test_files_that_are_no_channels_of_one_image_are_refused(folder: Path) -> None:
    np.save(folder / "wide.npy", make_image(0)[:, :40])
    tifffile.imwrite(folder / "colour.tif", np.zeros((*SHAPE, 3), np.uint8), photometric="rgb")
    with nd.Project.create(folder / "none.dsparse") as project:
        for names, options, words in (
            (["other.npy", "wide.npy"], {}, r"wide\.npy' has shape \(40, 40\).* combine images of one shape"),
            (["other.npy", "colour.tif"], {}, r"colour\.tif' has channels of its own"),
            (["other.npy", "day1/cells.tif"], {"channel_axis": 2}, "leave it out"),
            (["other.npy", "day1/cells.tif"], {"series": [0, 0, 0]}, "give one number, or 2"),
            ([], {}, "at least two files; got 0"),
        ):
            with pytest.raises(nd.DsparseError, match=words):
                project.add([folder / name for name in names], **options)
        assert project.images == ()
