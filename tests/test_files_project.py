"""Projects on disk: what is saved comes back, nothing is ever half new, and damage is one sentence."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from napari_dsparse.classifier.classes import ClassInfo
from napari_dsparse.errors import DsparseError, ExportError, LabelsError, ProjectError
from napari_dsparse.files.atomic import place_by_content
from napari_dsparse.files.project_description import (
    ProjectDescription,
    ProjectImage,
    describe_project,
    read_project_description,
)
from napari_dsparse.files.project_folder import create_project, read_project, write_project
from napari_dsparse.files.project_strokes import open_strokes, write_strokes
from napari_dsparse.images.identity import Fingerprint

HEX = st.text("0123456789abcdef", min_size=32, max_size=32)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
#: Names of files, of bytes that are no text among them.
PATHS = st.text(st.characters(exclude_characters="\0"), min_size=1, max_size=30)
NAMES = st.text(st.characters(exclude_characters="\0/\\"), min_size=1, max_size=12).filter(
    lambda name: name not in (".", "..")
)


@st.composite
def images(draw: st.DrawFn, number: int) -> ProjectImage:
    axes = draw(st.integers(2, 5))
    axis = draw(st.none() | st.integers(0, axes - 1)) if axes > 2 else None
    shape = draw(st.lists(st.integers(1, 2**40), min_size=axes, max_size=axes))
    size = draw(st.none() | st.integers(0, 2**50))
    strokes = draw(st.none() | HEX)
    return ProjectImage(
        number=number,
        name=draw(NAMES),
        path=draw(st.none() | PATHS),
        absolute_path=draw(st.none() | PATHS),
        channel_axis=axis,
        letters=draw(st.text("TCZYXS?", min_size=axes, max_size=axes)),
        fingerprint=Fingerprint(tuple(shape), "uint16", draw(st.integers(0, 99)), size, draw(HEX)),
        strokes=None if strokes is None else f"strokes/{strokes}.ome.tif",
    )


@st.composite
def projects(draw: st.DrawFn) -> ProjectDescription:
    numbers = draw(st.lists(st.integers(1, 2**40), max_size=4, unique=True))
    model = draw(st.none() | HEX)
    return ProjectDescription(
        name=draw(TEXT),
        classes=tuple(ClassInfo(name, "#0072b2") for name in draw(st.lists(TEXT, max_size=4))),
        images=tuple(draw(images(number)) for number in numbers),
        model=None if model is None else f"model-{model}.safetensors",
    )


@settings(max_examples=150, deadline=None)
@given(project=projects())
def test_a_description_comes_back_as_it_was_written(project: ProjectDescription) -> None:
    assert read_project_description(describe_project(project).decode(), "project.json") == project


@settings(max_examples=80, deadline=None)
@given(
    labels=npst.arrays(
        st.sampled_from([np.uint8, np.int16, np.int64, np.uint32, np.bool_]),
        npst.array_shapes(min_dims=2, max_dims=4, max_side=9),
        elements={"min_value": 0, "max_value": 120},
    )
)
def test_strokes_come_back_as_they_were_written(
    tmp_path_factory: pytest.TempPathFactory, labels: np.ndarray
) -> None:
    folder = tmp_path_factory.mktemp("p")
    name, largest = write_strokes(folder, labels, labels.shape, "image")
    assert largest == labels.max()
    assert (name is None) == (not labels.any())
    if name is not None:
        stored = open_strokes(folder, name, labels.shape)
        assert stored.shape == labels.shape
        np.testing.assert_array_equal(stored.load(), labels)
        np.testing.assert_array_equal(
            stored[(*(0,) * (labels.ndim - 2), slice(0, 3))], labels[(0,) * (labels.ndim - 2)][:3]
        )
        assert write_strokes(folder, labels.copy(), labels.shape, "another")[0] == name


def test_strokes_of_a_large_image_take_little_room(tmp_path: Path) -> None:
    labels = np.zeros((9_000, 9_000), np.uint8)
    labels[4000:4010, 100:300], labels[8000:8200, 7000] = 1, 2
    name, _ = write_strokes(tmp_path, labels, labels.shape, "image")
    assert name is not None
    assert (tmp_path / name).stat().st_size < labels.nbytes / 400
    np.testing.assert_array_equal(open_strokes(tmp_path, name, labels.shape).load(), labels)


@pytest.mark.parametrize(
    ("labels", "told"),
    [
        (None, "give an array of integers"),
        ([[1, 2]], "give an array of integers"),
        (np.ones((4, 5)), "float64"),
        (np.ones((5, 4), np.uint8), r"shape \(5, 4\) .* shape \(4, 5\)"),
        (np.ones((1, 4, 5), np.uint8), "labels that belong to this image"),
        (np.full((4, 5), -1), "from -1 to -1"),
        (np.full((4, 5), 1001), "to 1000 at most"),
        (np.full((4, 5), 2**64 - 1, np.uint64), "to 1000 at most"),
    ],
)
def test_labels_that_cannot_be_strokes_are_refused(tmp_path: Path, labels: Any, told: str) -> None:
    with pytest.raises(LabelsError, match=told):
        write_strokes(tmp_path, labels, (4, 5), "image")
    assert not list(tmp_path.iterdir())


def test_masked_labels_are_not_painted(tmp_path: Path) -> None:
    labels = np.ma.masked_equal(np.array([[1, 2], [2, 1]]), 2)
    name, largest = write_strokes(tmp_path, labels, (2, 2), "image")
    assert largest == 1
    np.testing.assert_array_equal(open_strokes(tmp_path, str(name), (2, 2)).load(), [[1, 0], [0, 1]])


def make_project(folder: Path, value: int = 1) -> ProjectDescription:
    """A project of two images whose strokes, class and model all say `value`."""
    strokes = [write_strokes(folder, np.full((20, 30), value + i), (20, 30), "image")[0] for i in (0, 1)]
    known = Fingerprint((20, 30), "uint8", 0, 600, "0" * 32)
    model = place_by_content(folder, lambda path: path.write_text(str(value)), "model-", ".safetensors")
    return ProjectDescription(
        "cells",
        (ClassInfo(f"class {value}", "#0072b2"),),
        tuple(
            ProjectImage(i + 1, f"{i}.tif", f"../{i}.tif", f"/{i}.tif", None, "YX", known, strokes[i])
            for i in (0, 1)
        ),
        model,
    )


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    folder = tmp_path / "cells.dsparse"
    create_project(folder, ProjectDescription("cells"))
    write_project(folder, make_project(folder))
    return folder


def test_files_that_no_description_names_are_removed_and_others_kept(saved: Path) -> None:
    stray, foreign = saved / "strokes" / f"{'0' * 32}.ome.tif", saved / "strokes" / "notes.txt"
    model, own = saved / f"model-{'0' * 32}.safetensors", saved / "model-mine.safetensors"
    for path in (stray, foreign, model, own):
        path.write_text("x")
    before = read_project(saved)
    write_project(saved, make_project(saved, 5))
    left = {path.relative_to(saved).as_posix() for path in saved.rglob("*") if path.is_file()}
    expected = read_project(saved).files | {"project.json", "strokes/notes.txt", "model-mine.safetensors"}
    assert left == expected
    assert not left & before.files


def test_a_description_of_files_that_are_not_there_is_not_written(saved: Path) -> None:
    before = (saved / "project.json").read_bytes()
    project = make_project(saved, 7)
    (saved / sorted(project.files)[0]).unlink()
    with pytest.raises(ProjectError, match="lacks its file"):
        write_project(saved, project)
    assert (saved / "project.json").read_bytes() == before


@pytest.mark.parametrize("name", ["cells", "cells.dsparse.zip", ".dsparse"])
def test_a_project_is_called_what_it_is(tmp_path: Path, name: str) -> None:
    with pytest.raises(ProjectError, match=r"NAME\.dsparse"):
        create_project(tmp_path / name, ProjectDescription("x"))


def test_a_folder_that_exists_does_not_become_a_project(saved: Path, tmp_path: Path) -> None:
    (tmp_path / "other.dsparse").mkdir()
    (tmp_path / "other.dsparse" / "notes.txt").write_text("mine")
    for folder in (saved, tmp_path / "other.dsparse"):
        with pytest.raises(ExportError, match="already exists"):
            create_project(folder, ProjectDescription("x"))
    (tmp_path / "empty.dsparse").mkdir()
    create_project(tmp_path / "empty.dsparse", ProjectDescription("x"))


#: Saves one state after another and is killed at its n-th change of the file system, for every n; afterwards
#: the project must be one of the two, with every file it names.
KILLED = """
import os, signal, sys
from pathlib import Path
from test_files_project import check_state, make_project
from napari_dsparse.files.lock import FolderLock
from napari_dsparse.files.project_folder import write_project

STEPS = {"os.mkdir", "os.rename", "os.link", "os.remove", "os.rmdir", "os.truncate"}
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
folder, value, step, survived, states = Path(sys.argv[1]), 1, 0, False, []
while not survived:
    step += 1
    child = os.fork()
    if child == 0:
        left = step
        def count(is_step):
            global left
            left -= is_step
            if is_step and left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
        def before(event, arguments):
            count(event in STEPS or (event == "open" and arguments[2] & WRITES != 0))
        def after(frame, event, function):
            in_file = "pathlib" in frame.f_code.co_filename  # not each of the many of a TIFF
            count(event == "c_return" and in_file and function.__name__ in ("open", "write"))
        sys.addaudithook(before)
        sys.setprofile(after)
        lock = FolderLock(folder)
        write_project(folder, make_project(folder, value + 2))
        lock.release()
        os._exit(0)
    survived = os.waitpid(child, 0)[1] == 0
    lock = FolderLock(folder)
    found = check_state(folder)
    lock.release()
    assert found in (value, value + 2), (step, found, value)
    states.append(found == value)
    value = found
print(step, sum(states))
"""


def check_state(folder: Path) -> int:
    """The value that a project of `make_project` says everywhere."""
    project = read_project(folder)
    strokes = [open_strokes(folder, str(image.strokes), (20, 30)).load() for image in project.images]
    (value,) = np.unique(strokes[0])
    assert (strokes[1] == value + 1).all()
    assert (folder / str(project.model)).read_text() == str(value)
    assert [info.name for info in project.classes] == [f"class {value}"]
    return int(value)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL")
def test_killed_at_any_step_of_saving_a_project_is_old_or_new_as_a_whole(saved: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", KILLED, str(saved)],
        capture_output=True, text=True, cwd=Path(__file__).parent,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    steps, old = map(int, run.stdout.split())
    assert steps > 20
    assert 10 < old < steps  # some were killed before the new state was there, and some after
    assert {path.name.split("-")[0] for path in saved.iterdir()} == {"project.json", "strokes", "model"}
    write_project(saved, read_project(saved))
    assert len(list((saved / "strokes").iterdir())) == 2


def edit(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    """A damage: the description with one thing changed."""

    def damage(folder: Path) -> None:
        description = json.loads((folder / "project.json").read_text())
        change(description)
        (folder / "project.json").write_text(json.dumps(description))

    return damage


def edit_image(**fields: Any) -> Callable[[Path], None]:
    return edit(lambda d: d["images"][0].update(fields))


def edit_fingerprint(**fields: Any) -> Callable[[Path], None]:
    return edit(lambda d: d["images"][0]["fingerprint"].update(fields))


def write(text: str) -> Callable[[Path], None]:
    return lambda folder: (folder / "project.json").write_text(text) and None


def strokes_of(folder: Path) -> Path:
    return folder / json.loads((folder / "project.json").read_text())["images"][0]["strokes"]


def other_strokes(write: Callable[[Path], Any]) -> Callable[[Path], None]:
    """A damage: strokes that the description names properly, and that are not what they should be."""

    def damage(folder: Path) -> None:
        name = place_by_content(folder / "strokes", write, "", ".ome.tif")
        edit_image(strokes=f"strokes/{name}")(folder)

    return damage


def channels(
    channel_axis: int | None = 0, shape: Sequence[int] = (1, 20, 30), *, within: bool = False
) -> Callable[[Path], None]:
    """A damage: the first image is said to be combined of itself."""

    def change(described: dict[str, Any]) -> None:
        first = described["images"][0]
        channel = {**first, "strokes": None}
        if within:
            channel["channels"] = [{**channel}]
        sized = {**first["fingerprint"], "shape": list(shape)}
        first.update(
            channels=[channel], channel_axis=channel_axis, fingerprint=sized, letters="?" * len(shape)
        )

    return edit(change)


def link_out(folder: Path) -> None:
    path, outside = strokes_of(folder), folder.parent / "outside.ome.tif"
    path.rename(outside)
    path.symlink_to(outside)


def sparse_bomb(path: Path) -> None:
    """A small file that claims 10^12 pixels of which none was written."""
    facts: dict[str, Any] = {"shape": (10**6, 10**6), "dtype": np.uint8, "tile": (1 << 16, 1 << 16)}
    with tifffile.TiffWriter(path, bigtiff=True) as tiff:
        tiff.write(iter([b""] * 256), **facts, compression="zlib", metadata=None)


#: Damages of a project, with a word of the sentence that refuses it.
DAMAGED: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no description": (lambda folder: (folder / "project.json").unlink(), "no project"),
    "no folder": (shutil.rmtree, "does not exist"),
    "empty": (write(""), "not JSON"),
    "cut": (write('{"schema_version": 1, "na'), "not JSON"),
    "a list": (write("[]"), "an object"),
    "nested": (write("[" * 100_000), "not JSON"),
    "no text": (lambda folder: (folder / "project.json").write_bytes(b"\xff\xfe{}"), "UTF-8"),
    "a folder for a file": (
        lambda folder: ((folder / "project.json").unlink(), (folder / "project.json").mkdir()),
        "cannot be read",
    ),
    "newer": (edit(lambda d: d.update(schema_version=4)), "schema version 4 .* update napari-dsparse"),
    "no version": (edit(lambda d: d.pop("schema_version")), "schema_version"),
    "version as text": (edit(lambda d: d.update(schema_version="1")), "schema_version"),
    "version true": (edit(lambda d: d.update(schema_version=True)), "schema_version"),
    "no name": (edit(lambda d: d.pop("name")), "description.name"),
    "name of another kind": (edit(lambda d: d.update(name=3)), "description.name"),
    "images of another kind": (edit(lambda d: d.update(images={})), "description.images"),
    "an image of another kind": (edit(lambda d: d.update(images=[3])), "description.images"),
    "images of one number": (edit(lambda d: d["images"][1].update(number=1)), "number of its own"),
    "too many classes": (edit(lambda d: d.update(classes=d["classes"] * 1001)), "at most 1000"),
    "a colour in words": (edit(lambda d: d["classes"][0].update(color="red")), r"classes\[0\].color"),
    "a class without a name": (edit(lambda d: d["classes"][0].pop("name")), r"classes\[0\].name"),
    "number 0": (edit_image(number=0), r"images\[0\].number"),
    "number as text": (edit_image(number="1"), r"images\[0\].number"),
    "name with a folder": (edit_image(name="a/b.tif"), r"images\[0\].name"),
    "name of the folder above": (edit_image(name=".."), r"images\[0\].name"),
    "name with a NUL": (edit_image(name="a\0b"), r"images\[0\].name"),
    "path with a NUL": (edit_image(path="../a\0b"), r"images\[0\].path"),
    "absolute path a number": (edit_image(absolute_path=3), r"images\[0\].absolute_path"),
    "axis beyond": (edit_image(channel_axis=2), r"images\[0\].channel_axis"),
    "axis that leaves one": (edit_image(channel_axis=1), r"images\[0\].fingerprint.shape"),
    "a letter too many": (edit_image(letters="ZYX"), r"images\[0\].letters"),
    "no letters": (edit_image(letters="y x"), r"images\[0\].letters"),
    "no fingerprint": (edit_image(fingerprint=None), r"images\[0\].fingerprint"),
    "shape of one axis": (edit_fingerprint(shape=[30]), r"images\[0\].fingerprint.shape"),
    "shape of none": (edit_fingerprint(shape=[]), r"images\[0\].fingerprint.shape"),
    "shape of many": (edit_fingerprint(shape=[1] * 5000), r"images\[0\].fingerprint.shape"),
    "shape with a 0": (edit_fingerprint(shape=[0, 30]), r"images\[0\].fingerprint.shape"),
    "shape of floats": (edit_fingerprint(shape=[20.0, 30.0]), r"images\[0\].fingerprint.shape"),
    "size below 0": (edit_fingerprint(file_size=-1), r"file_size"),
    "type of another kind": (edit_fingerprint(dtype="; rm"), r"dtype"),
    "sample of another kind": (edit_fingerprint(sample="00"), r"sample"),
    "series as a float": (edit_fingerprint(series=1.5), r"series"),
    "channels of another kind": (edit_image(channels=3), r"images\[0\].channels"),
    "channels of nothing": (edit_image(channels=[{}]), r"channels\[0\].fingerprint"),
    "a channel that is no axis": (channels(channel_axis=None), "which are the first axis"),
    "a channel of another shape": (channels(shape=[1, 30, 30]), "of one shape, one for each"),
    "channels of channels": (channels(within=True), r"channels\[0\].channels"),
    "strokes elsewhere": (edit_image(strokes="/etc/passwd"), "strokes"),
    "strokes above": (edit_image(strokes=f"strokes/../../{'0' * 32}.ome.tif"), "strokes"),
    "strokes above, on Windows": (edit_image(strokes=f"strokes\\..\\{'0' * 32}.ome.tif"), "strokes"),
    "strokes with a line": (edit_image(strokes=f"strokes/{'0' * 32}.ome.tif\n"), "strokes"),
    "strokes as a number": (edit_image(strokes=3), "strokes"),
    "model elsewhere": (edit(lambda d: d.update(model="/m.safetensors")), "description.model"),
    "model above": (edit(lambda d: d.update(model="../model.safetensors")), "description.model"),
    "strokes missing": (lambda folder: strokes_of(folder).unlink(), "are missing"),
    "strokes cut": (lambda folder: os.truncate(strokes_of(folder), 300), "not what was saved"),
    "strokes of another project": (
        lambda folder: tifffile.imwrite(strokes_of(folder), np.ones((20, 30), np.uint8)),
        "not what was saved",
    ),
    "strokes linked": (link_out, "a link out of the project"),
    "strokes of another shape": (edit_fingerprint(shape=[30, 20]), r"shape \(20, 30\) .* \(30, 20\)"),
    "strokes of a huge image": (edit_fingerprint(shape=[2**40, 2**40]), r"shape \(20, 30\)"),
    "strokes that are no TIFF": (other_strokes(lambda path: path.write_bytes(b"no TIFF")), "cannot be read"),
    "strokes without an image": (
        other_strokes(lambda path: path.write_bytes(b"II*\0\x08\0\0\0\0\0\0\0\0\0")),
        "shape",
    ),
    "strokes as floats": (
        other_strokes(lambda path: tifffile.imwrite(path, np.ones((20, 30), np.float32))),
        "no labels of classes",
    ),
    "strokes in colours": (
        other_strokes(lambda path: tifffile.imwrite(path, np.ones((20, 30, 3), np.uint8), photometric="rgb")),
        "shape",
    ),
}  # fmt: skip


def load_all(folder: Path) -> None:
    for image in read_project(folder).images:
        open_strokes(folder, str(image.strokes), image.shape).load()


@pytest.mark.parametrize("case", DAMAGED)
def test_a_damaged_project_is_refused_in_one_sentence(saved: Path, case: str) -> None:
    damage, told = DAMAGED[case]
    if damage is link_out and os.name != "posix":
        pytest.skip("links need rights on Windows")
    damage(saved)
    with pytest.raises(DsparseError, match=told) as caught:
        load_all(saved)
    said = str(caught.value)
    assert isinstance(caught.value, ProjectError)
    assert "\n" not in said
    assert len(said) < 500
    assert "odel file" not in said


def test_strokes_larger_than_memory_are_refused_before_anything_is_allocated(saved: Path) -> None:
    other_strokes(sparse_bomb)(saved)
    edit_fingerprint(shape=[10**6, 10**6])(saved)
    image = read_project(saved).images[0]
    with pytest.raises(ProjectError, match="1e\\+03 GB"):
        open_strokes(saved, str(image.strokes), image.shape).load()
