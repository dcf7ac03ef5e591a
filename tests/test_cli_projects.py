"""`train --project` and `predict --project`: the same job, with images and strokes kept in a folder."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from safetensors import safe_open

import napari_dsparse as nd

SHAPE = (40, 48)
BASE = np.broadcast_to(100 * (np.arange(48) // 24), SHAPE)
STROKES = np.zeros(SHAPE, np.uint8)
STROKES[5:8, 3:15], STROKES[20:23, 30:42] = 1, 2


def make_image(seed: int) -> np.ndarray:
    return (BASE + np.random.default_rng(seed).integers(0, 30, SHAPE)).astype(np.uint8)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Two images with strokes and one without, of which two have one name."""
    for number, name in enumerate(("day1/a.tif", "day2/a.tif", "b.tif")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        tifffile.imwrite(
            tmp_path / name, make_image(number), resolution=(4e4, 2e4), resolutionunit="CENTIMETER"
        )
        tifffile.imwrite(tmp_path / f"labels{number}.tif", STROKES)
    with nd.Project.create(tmp_path / "cells.dsparse", classes=["slide", "cell"]) as project:
        project.add(tmp_path / "day1" / "a.tif", STROKES)
        project.add(tmp_path / "day2" / "a.tif", STROKES)
        project.add(tmp_path / "b.tif")
        project.save()
    return project.folder


def content(path: Path) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Description and weights of a model file, without what differs between two runs of the same."""
    with safe_open(str(path), framework="np") as opened:
        description: dict[str, Any] = json.loads(opened.metadata()["napari-dsparse"])
        weights = {name: opened.get_tensor(name).tobytes() for name in opened.keys()}  # noqa: SIM118
    del description["checksum"], description["training"]["seconds"], description["training"]["created"]
    return description, weights


def test_a_project_learns_what_train_learns_from_its_files(run: Any, project: Path) -> None:
    folder = project.parent
    options = ("--steps", 2, "--seed", 3, "--json")
    ran = run("train", "--project", project, "--output", folder / "p.safetensors", *options)
    assert ran.code == 0, ran.err
    assert ran.facts["project"] == str(project)
    assert ran.facts["images"] == ["a.tif", "a.tif"]
    assert ran.facts["classes"] == ["slide", "cell"]
    assert ran.facts["outputs"] == [str(project), str(folder / "p.safetensors")]
    plain = run(
        "train", "--image", folder / "day1/a.tif", folder / "day2/a.tif",
        "--labels", folder / "labels0.tif", folder / "labels1.tif",
        "--output", folder / "m.safetensors", "--classes", "slide", "cell", *options,
    )  # fmt: skip
    assert plain.code == 0, plain.err
    assert content(folder / "p.safetensors") == content(folder / "m.safetensors")
    (kept,) = project.glob("model-*.safetensors")
    assert kept.read_bytes() == (folder / "p.safetensors").read_bytes()
    assert not (project / "lock.json").exists()


def test_a_project_segments_its_own_images(run: Any, project: Path) -> None:
    run("train", "--project", project)
    ran = run("predict", "--project", project, "--uncertainty", "--json")
    assert ran.code == 0, ran.err
    results = project.parent / "cells_segmentation"
    assert sorted(path.name for path in results.glob("*segmentation*")) == [
        "b_segmentation.ome.tif",
        "day1_a_segmentation.ome.tif",
        "day2_a_segmentation.ome.tif",
    ]
    assert ran.facts["project"] == str(project)
    assert [one["image"] for one in ran.facts["images"]] == [
        str(project.parent / name) for name in ("day1/a.tif", "day2/a.tif", "b.tif")
    ]
    assert ran.facts["images"][0]["scale"] == [0.5, 0.25]
    model = nd.Project.open(project, read_only=True).model
    assert model is not None
    for number, name in enumerate(("day1_a", "day2_a", "b")):
        found = tifffile.imread(results / f"{name}_segmentation.ome.tif")
        np.testing.assert_array_equal(found, model.predict(make_image(number)))
    again = run("predict", "--project", project)
    assert again.code == 1
    assert "exists" in again.err
    assert run("predict", "--project", project, "--overwrite", "--format", "png", "-o", results).code == 0


def test_other_images_are_segmented_by_the_model_of_a_project(run: Any, project: Path) -> None:
    run("train", "--project", project)
    np.save(project.parent / "new.npy", make_image(9))
    out = project.parent / "new.png"
    with nd.Project.open(project):  # a window may have it open
        ran = run("predict", "--project", project, "--output", out, project.parent / "new.npy")
    assert ran.code == 0, ran.err
    assert out.exists()


def test_images_that_were_moved_are_found_and_those_that_were_not_are_reported(
    run: Any, project: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    far = tmp_path_factory.mktemp("far")
    run("train", "--project", project)
    (project.parent / "b.tif").rename(far / "b.tif")
    (project.parent / "day1").rename(project.parent / "day0")
    ran = run("predict", "--project", project, "--json")
    assert ran.code == 1
    assert "day1_a" in ran.out
    assert "1 of 3 images could not be segmented (b.tif)" in ran.err
    assert "--image-folder DIR" in ran.err
    assert [one["ok"] for one in ran.facts["images"]] == [True, True, False]
    assert "was moved and found at" in ran.facts["images"][0]["remarks"][0]
    ran = run("predict", "--project", project, "--image-folder", far, "--overwrite", "--json")
    assert ran.code == 0, ran.err
    ran = run("train", "--project", project, "--json")
    assert ran.code == 0, ran.err
    assert ran.facts["remarks"] == [f"a.tif was moved and found at {project.parent / 'day0' / 'a.tif'}."]
    assert nd.Project.open(project, read_only=True).images[0].path == "../day0/a.tif"


def test_a_project_that_is_open_elsewhere_is_not_trained(run: Any, project: Path) -> None:
    before = (project / "project.json").read_bytes()
    code = "import sys, napari_dsparse as nd; p = nd.Project.open(sys.argv[1]); print(1, flush=True); input()"
    other = subprocess.Popen(
        [sys.executable, "-c", code, str(project)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert other.stdout is not None
    assert other.stdout.readline() == b"1\n"
    ran = run("train", "--project", project, "--json")
    other.kill()
    other.communicate()
    assert ran.code == 1
    assert f"(process {other.pid})" in ran.facts["error"]
    assert len(ran.err.strip().splitlines()) == 1
    assert (project / "project.json").read_bytes() == before
    assert run("train", "--project", project).code == 0


def test_a_model_that_the_project_can_no_longer_keep_is_kept_elsewhere(
    run: Any, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from napari_dsparse.cli import train as cli_train

    learn, elsewhere = cli_train.train_classifier, project.parent / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(elsewhere))

    def learn_and_lose_the_project(*arguments: Any, **options: Any) -> Any:
        classifier = learn(*arguments, **options)
        project.rename(project.with_name("renamed.dsparse"))
        return classifier

    monkeypatch.setattr(cli_train, "train_classifier", learn_and_lose_the_project)
    ran = run("train", "--project", project)
    assert ran.code == 1
    (kept,) = elsewhere.rglob("*.safetensors")
    assert f"What was learned is kept in {kept}." in ran.err


#: Command lines with an exit code and a word of what is said; {p} is a project, {f} its folder.
WRONG: list[tuple[str, int, str]] = [
    ("train", 2, "--image/-i, --labels/-l, --output/-o, or --project"),
    ("train -i a.tif", 2, "--labels/-l, --output/-o;"),
    ("train -p {p} -i a.tif", 2, "drop --image or --project"),
    ("train -p {p} -l a.tif", 2, "drop --labels"),
    ("train -p {p} --classes a b", 2, "drop --classes"),
    ("train -p {p} --series 0", 2, "drop --series"),
    ("train -p {p} --channel-axis none", 2, "drop --channel-axis"),
    (
        "train -i {f}/b.tif -l {f}/labels0.tif -o {f}/x.safetensors --image-folder .",
        2,
        "--image-folder finds",
    ),
    ("train -p {p} -o {f}/x.tif", 1, ".safetensors"),
    ("train -p {p} -o {f}/none/x.safetensors", 1, "does not exist"),
    ("train -p {p} --image-folder {f}/none", 1, "no folder"),
    ("train -p {p} --device tpu", 1, "auto, "),
    ("train -p {p} --network x", 1, "context, compact"),
    ("train -p {f}/none.dsparse", 1, "does not exist"),
    ("train -p {f}/b.tif", 1, "is a file"),
    ("train -p {f}", 1, "is no project"),
    ("predict", 2, "--model/-m or --project, --output/-o, IMAGE"),
    ("predict -m x -o o", 2, "IMAGE"),
    ("predict -m x -p {p}", 2, "--model and --project both name a model"),
    ("predict -m x -o o {f}/b.tif --image-folder .", 2, "--image-folder finds"),
    ("predict -p {p} {f}/b.tif", 2, "add --output"),
    ("predict -p {p} {f}/b.tif -o o --image-folder .", 2, "--image-folder is for images of the project"),
    ("predict -p {p} --series 1", 2, "drop --series"),
    ("predict -p {p} --channel-axis 0", 2, "drop --channel-axis"),
    ("predict -p {p}", 1, "has no model yet; run train --project"),
    ("predict -p {p} -o {f}/one.png", 1, "3 images cannot go into the one file"),
    ("predict -p {f}/none.dsparse", 1, "does not exist"),
]


@pytest.mark.parametrize("number", range(len(WRONG)))
def test_wrong_command_lines_are_one_sentence(
    run: Any, project: Path, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    line, code, told = WRONG[number]
    monkeypatch.chdir(project.parent)
    before = sorted(project.parent.rglob("*"))
    ran = run(*(part.format(p=project, f=project.parent) for part in line.split()))
    assert ran.code == code
    assert told in ran.err
    assert len(ran.err.strip().splitlines()) == 1
    assert sorted(project.parent.rglob("*")) == before


def test_a_project_without_images_or_strokes_says_so(run: Any, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", make_image(0))
    with nd.Project.create(tmp_path / "empty.dsparse") as project:
        assert "has no images" in run("predict", "-p", project.folder).err
    assert "has no strokes" in run("train", "-p", tmp_path / "empty.dsparse").err
    with nd.Project.open(tmp_path / "empty.dsparse") as project:
        project.add(tmp_path / "a.npy", (STROKES == 1).astype(np.uint8))
        project.save()
    assert "at least two" in run("train", "-p", tmp_path / "empty.dsparse").err


def test_an_image_of_several_files_is_learned_and_segmented(run: Any, tmp_path: Path) -> None:
    both = [make_image(0), make_image(1)]
    for name, pixels in zip(("DAPI", "GFP"), both, strict=True):
        tifffile.imwrite(tmp_path / f"{name}.tif", pixels, resolution=(4e4, 2e4), resolutionunit="CENTIMETER")
    with nd.Project.create(tmp_path / "cells.dsparse") as project:
        project.add([tmp_path / "GFP.tif", tmp_path / "DAPI.tif"], STROKES)
        project.save()
    ran = run("train", "--project", project.folder, "--steps", 2, "--seed", 3)
    assert ran.code == 0, ran.err
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "GFP.tif").rename(tmp_path / "elsewhere" / "GFP.tif")
    ran = run("predict", "--project", project.folder, "--output", tmp_path / "out")
    assert ran.code == 0, ran.err
    assert "GFP.tif was moved and found at" in ran.out
    (written,) = (tmp_path / "out").iterdir()
    assert written.name == "GFP + DAPI_segmentation.ome.tif"
    expected = nd.train(np.stack(both[::-1]), STROKES, channel_axis=0, steps=2, seed=3)
    np.testing.assert_array_equal(
        tifffile.imread(written), expected.predict(np.stack(both[::-1]), channel_axis=0)
    )
    with tifffile.TiffFile(written) as tiff:
        assert 'PhysicalSizeX="0.25"' in tiff.ome_metadata
