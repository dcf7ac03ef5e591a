"""`napari-dsparse train` and `predict`: the same job as the window, in files."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tifffile
from PIL import Image

from napari_dsparse import load_model, samples
from napari_dsparse.batch import results as batch_results
from napari_dsparse.cli import INTERRUPTED, TERMINATED, main
from napari_dsparse.cli import train as cli_train
from napari_dsparse.images.reading import read_image
from napari_dsparse.prediction import Predictor
from napari_dsparse.prediction import cluster as cluster_module
from napari_dsparse.prediction import tiles as tiles_module
from napari_dsparse.prediction.cluster_predictor import ClusterPredictor

#: A corner of a bundled image with strokes of both classes: small, since many commands run on it.
CORNER = (slice(160, 256), slice(120, 232))
IMAGE = samples.load("tissue").image[CORNER]
STROKES = samples.load("tissue").strokes[CORNER]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image with a pixel size, its strokes, and a model that learned from them a little."""
    folder = tmp_path_factory.mktemp("images")
    tifffile.imwrite(
        folder / "image.ome.tif",
        IMAGE,
        photometric="rgb",
        metadata={
            "axes": "YXS",
            "PhysicalSizeX": 0.25,
            "PhysicalSizeXUnit": "µm",
            "PhysicalSizeY": 0.5,
            "PhysicalSizeYUnit": "µm",
        },
    )
    Image.fromarray(IMAGE[::-1].copy()).save(folder / "other.png")
    Image.fromarray(STROKES).save(folder / "strokes.png")
    assert main(train_arguments(folder, folder / "model.safetensors", "--steps", "5")) == 0
    return folder


def train_arguments(folder: Path, output: Path, *more: str) -> list[str]:
    inputs = ["--image", str(folder / "image.ome.tif"), "--labels", str(folder / "strokes.png")]
    return ["train", *inputs, "--output", str(output), *more]


def test_training_twice_with_one_seed_gives_the_same_weights(folder: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        assert (
            main(train_arguments(folder, tmp_path / f"{name}.safetensors", "--steps", "3", "--seed", "7"))
            == 0
        )
    one, two = (load_model(tmp_path / f"{name}.safetensors").classifier for name in ("one", "two"))
    assert one.weights.keys() == two.weights.keys()
    assert all(bool((one.weights[key] == two.weights[key]).all()) for key in one.weights)


def test_equal_names_of_classes_are_refused_before_anything_is_read(run: Any, tmp_path: Path) -> None:
    arguments = train_arguments(tmp_path, tmp_path / "m.safetensors", "--classes", "a", "a")
    ran = run(*arguments)
    assert ran.code == 1
    assert "Classes 1 and 2 are both called 'a'; give each a name of its own." in ran.err


def test_train_says_what_it_learned_from(run: Any, folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "m.safetensors"
    names = ["--classes", "slide", "nucleus"]
    ran = run(*train_arguments(folder, output, "--steps", "2", "--json", *names))
    assert ran.code == 0
    assert ran.facts["ok"] is True
    assert ran.facts["outputs"] == [str(output)]
    assert ran.facts["steps"] == 2
    assert ran.facts["pixels"] == int((STROKES > 0).sum())
    assert ran.facts["classes"] == ["slide", "nucleus"]
    assert [info.name for info in load_model(output).classes] == ["slide", "nucleus"]


def test_images_with_channels_on_different_axes_are_learned_from_together(
    run: Any, folder: Path, tmp_path: Path
) -> None:
    first = tmp_path / "first.tif"
    tifffile.imwrite(first, np.moveaxis(IMAGE, -1, 0), imagej=True, metadata={"axes": "CYX"})
    strokes = folder / "strokes.png"
    inputs = ["--image", first, folder / "image.ome.tif", "--labels", strokes, strokes]
    ran = run("train", *inputs, "--output", tmp_path / "m.safetensors", "--json")
    assert ran.code == 0, ran.err
    assert ran.facts["channels"] == IMAGE.shape[-1]


def test_the_file_trained_on_is_read_the_same_at_prediction(run: Any, folder: Path, tmp_path: Path) -> None:
    image, model = tmp_path / "stack.ome.tif", tmp_path / "m.safetensors"
    planes = np.moveaxis(IMAGE, -1, 0)  # channels that the file calls slices
    tifffile.imwrite(image, planes, ome=True, photometric="minisblack", metadata={"axes": "ZYX"})
    assert run("train", "-i", image, "-l", folder / "strokes.png", "-o", model).code == 0
    ran = run("predict", "-m", model, "-o", tmp_path / "l.tif", image)
    assert ran.code == 0, ran.err
    np.testing.assert_array_equal(
        tifffile.imread(tmp_path / "l.tif"), load_model(model).predict(planes, channel_axis=0)
    )


def test_what_a_file_holds_besides_is_said_and_can_be_chosen(run: Any, folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "cells.tif"
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(IMAGE[::4, ::4], photometric="rgb", metadata=None)
        tiff.write(IMAGE, photometric="rgb", metadata=None)
    arguments = ("predict", "-m", folder / "model.safetensors", "-o", tmp_path / "l.tif", path, "--json")
    ran = run(*arguments)
    assert "holds 2 images" in ran.out
    (facts,) = ran.facts["images"]
    assert (facts["series"], facts["shape"]) == (1, list(IMAGE.shape[:2]))
    assert "holds 2 images" in facts["remarks"][0]
    ran = run(*arguments, "--overwrite", "--series", "0")
    (facts,) = ran.facts["images"]
    assert (facts["series"], facts["remarks"], facts["shape"]) == (0, [], list(IMAGE[::4, ::4].shape[:2]))
    ran = run(*arguments, "--overwrite", "--series", "2")
    assert ran.code == 1
    assert "series 0 to 1" in ran.err


def test_labels_equal_those_of_the_python_api(run: Any, folder: Path, tmp_path: Path) -> None:
    ran = run(
        "predict",
        "--model",
        folder / "model.safetensors",
        "--output",
        tmp_path / "l.tif",
        folder / "other.png",
    )
    assert ran.code == 0
    expected = load_model(folder / "model.safetensors").predict(IMAGE[::-1])
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "l.tif"), expected)


def test_pixel_size_and_units_go_through(run: Any, folder: Path, tmp_path: Path) -> None:
    ran = run(
        "predict", "--model", folder / "model.safetensors", "--output", tmp_path, "--json",
        "--probabilities", "--uncertainty", folder / "image.ome.tif",
    )  # fmt: skip
    assert ran.code == 0
    assert ran.facts["images"][0]["scale"] == [0.5, 0.25]
    assert ran.facts["images"][0]["units"] == ["micrometer", "micrometer"]
    names = [Path(name).name for name in ran.facts["outputs"]]
    assert names == [f"image_{what}.ome.tif" for what in ("segmentation", "probabilities", "uncertainty")]
    for name in names:
        with tifffile.TiffFile(tmp_path / name) as file:
            assert file.ome_metadata is not None
            pixels = tifffile.xml2dict(file.ome_metadata)["OME"]["Image"]["Pixels"]
        assert (pixels["PhysicalSizeY"], pixels["PhysicalSizeX"]) == (0.5, 0.25)
        assert pixels.get("PhysicalSizeXUnit", "µm") == "µm"


def test_probabilities_agree_with_labels_and_uncertainty(run: Any, folder: Path, tmp_path: Path) -> None:
    run(
        "predict", "--model", folder / "model.safetensors", "--output", tmp_path / "l.ome.tif",
        "--probabilities", "--uncertainty", folder / "image.ome.tif",
    )  # fmt: skip
    labels = tifffile.imread(tmp_path / "l.ome.tif")
    probabilities = tifffile.imread(tmp_path / "l_probabilities.ome.tif")
    uncertainty = tifffile.imread(tmp_path / "l_uncertainty.ome.tif")
    assert probabilities.shape == (2, *labels.shape)
    np.testing.assert_allclose(probabilities.sum(0), 1, atol=1e-5)
    np.testing.assert_array_equal(probabilities.argmax(0) + 1, labels)
    np.testing.assert_allclose(uncertainty, 1 - abs(probabilities[0] - probabilities[1]), atol=1e-6)


def test_objects_and_their_measurements_are_those_of_the_python_api(
    run: Any, folder: Path, tmp_path: Path
) -> None:
    model, image = load_model(folder / "model.safetensors"), folder / "image.ome.tif"
    wanted = ("--objects", "--measurements", image)
    expected = model.objects(IMAGE)
    assert expected.any()
    for output in ("l.ome.tif", "l.geojson", "l.png"):
        (tmp_path / output).mkdir()
        out = tmp_path / output / output
        ran = run("predict", "-m", folder / "model.safetensors", "-o", out, *wanted)
        assert ran.code == 0, ran.err
        table = pd.read_csv(out.with_name("l_measurements.csv"))
        assert list(table["label"]) == list(range(1, expected.max() + 1))
        pixels = np.bincount(expected.ravel())[1:]
        np.testing.assert_allclose(table["area"], pixels * 0.5 * 0.25)
        assert set(table["class name"]) == {model.classes[1].name}
        assert set(table["unit"]) == {"micrometer"}
        assert set(table["image"]) == {"image.ome.tif"}
    for output in ("l.ome.tif", "l.png"):
        objects = tifffile.imread(tmp_path / output / "l_objects.ome.tif")
        np.testing.assert_array_equal(objects, expected)
    regions, objects = (
        json.loads((tmp_path / "l.geojson" / name).read_text())["features"]
        for name in ("l.geojson", "l_objects.geojson")
    )
    assert {each["properties"]["classification"]["name"] for each in regions} == {
        info.name for info in model.classes
    }
    names = [each["properties"]["name"] for each in objects]
    assert names == [f"{model.classes[1].name} {number}" for number in table["label"]]


def test_options_of_objects_are_those_of_the_python_api(run: Any, folder: Path, tmp_path: Path) -> None:
    model, image = load_model(folder / "model.safetensors"), folder / "image.ome.tif"
    command = ("predict", "-m", folder / "model.safetensors", "-o", tmp_path / "out", image)
    name = model.classes[0].name
    options = ("--object-class", name, "--min-size", 9, "--max-hole", 5, "--splitting", 0.7)
    ran = run(*command, "--objects", *options, "--no-border-objects")
    assert ran.code == 0, ran.err
    expected = model.objects(IMAGE, classes=[1], min_size=9, max_hole=5, splitting=0.7, border_objects=False)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "out" / "image_objects.ome.tif"), expected)
    for wrong, sentence in (
        (("--objects", "--object-class", "nobody"), "The model has no class 'nobody'; its classes are"),
        (("--objects", "--volume"), "is a single plane, which has none before"),
        (("--table", "all.txt"), "end its name in .csv"),
        (("--min-size", 3), "--min-size is about objects; add --objects, --measurements or --table"),
        (("--objects", "--splitting", 2), "'2' is not a number from 0 to 1"),
    ):
        ran = run(*command, "--overwrite", *wrong)
        assert ran.code != 0
        assert sentence in ran.err


def test_coco_names_the_image_and_refuses_a_stack_before_it_is_segmented(
    run: Any, folder: Path, tmp_path: Path
) -> None:
    arguments = ("predict", "-m", folder / "model.safetensors", "-o", tmp_path / "out", "--format", "coco")
    assert run(*arguments, folder / "other.png", "--uncertainty").code == 0
    written = json.loads((tmp_path / "out" / "other_segmentation.coco.json").read_text())
    assert written["images"][0]["file_name"] == "other.png"
    assert (tmp_path / "out" / "other_uncertainty.ome.tif").exists()
    tifffile.imwrite(tmp_path / "stack.tif", np.stack([IMAGE] * 2), photometric="rgb")
    ran = run(*arguments, tmp_path / "stack.tif")
    assert (ran.code, "COCO holds one plane" in ran.err, "%" in ran.err) == (1, True, False)


def test_several_images_go_into_one_folder(run: Any, folder: Path, tmp_path: Path) -> None:
    ran = run(
        "predict", "--model", folder / "model.safetensors", "--output", tmp_path / "new" / "results",
        "--format", "png", folder / "image.ome.tif", folder / "other.png",
    )  # fmt: skip
    assert ran.code == 0
    written = sorted(path.name for path in (tmp_path / "new" / "results").iterdir())
    assert written == ["image_segmentation.png", "other_segmentation.png"]


def test_a_bad_image_among_many_is_reported_and_the_others_are_segmented(
    run: Any, folder: Path, tmp_path: Path
) -> None:
    broken, grey, missing = tmp_path / "broken.tif", tmp_path / "grey.png", tmp_path / "missing.tif"
    broken.write_bytes(b"no TIFF")
    Image.fromarray(IMAGE[..., 0]).save(grey)
    images = [broken, folder / "other.png", grey, missing, folder / "image.ome.tif"]
    ran = run("predict", "-m", folder / "model.safetensors", "-o", tmp_path / "out", *images, "--json")
    assert ran.code == 1
    said = ran.err.strip().splitlines()
    assert len(said) == 4
    assert said[-1].endswith(
        "3 of 5 images could not be segmented (broken.tif, grey.png, missing.tif), for the reasons given "
        "above; the others are done."
    )
    assert [(Path(one["image"]).name, one["ok"]) for one in ran.facts["images"]] == [
        ("broken.tif", False),
        ("other.png", True),
        ("grey.png", False),
        ("missing.tif", False),
        ("image.ome.tif", True),
    ]
    assert "1 channel" in ran.facts["images"][2]["error"]
    shown = [path for path in (tmp_path / "out").iterdir() if path.name != ".resume-finished"]  # for --resume
    assert sorted(ran.facts["outputs"]) == sorted(map(str, shown))
    assert len(ran.facts["outputs"]) == 2


def test_an_image_among_many_whose_results_have_too_long_names_is_reported(
    run: Any, folder: Path, tmp_path: Path
) -> None:
    long = tmp_path / ("x" * 240 + ".png")
    shutil.copy(folder / "other.png", long)
    ran = run(
        "predict", "-m", folder / "model.safetensors", "-o", tmp_path / "out", long, folder / "other.png"
    )
    assert ran.code == 1
    assert "is longer than" in ran.err.splitlines()[0]
    assert (tmp_path / "out" / "other_segmentation.ome.tif").exists()


@pytest.mark.parametrize(
    ("output", "told"),
    [("l.png", "PNG holds one plane"), ("l.zarr", "time first"), ("x" * 260 + ".tif", "name too long")],
)
def test_what_cannot_be_written_is_said_before_anything_is_computed(
    run: Any,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    output: str,
    told: str,
) -> None:
    pytest.importorskip("zarr")
    stack = tmp_path / "stack.ome.tif"
    tifffile.imwrite(
        stack, np.stack([[IMAGE] * 2] * 2), ome=True, photometric="rgb", metadata={"axes": "ZTYXS"}
    )
    monkeypatch.setattr(Predictor, "tile", lambda *_: pytest.fail("it computed"))
    ran = run("predict", "-m", folder / "model.safetensors", "-o", tmp_path / output, stack)
    assert ran.code == 1
    assert told in ran.err
    assert [path.name for path in tmp_path.iterdir()] == ["stack.ome.tif"]


def test_maps_are_written_in_the_format_that_is_asked_for(run: Any, folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("zarr")
    maps = ("--probabilities", "--uncertainty")
    image = folder / "other.png"
    assert (
        run("predict", "-m", folder / "model.safetensors", "-o", tmp_path / "l.ome.zarr", image, *maps).code
        == 0
    )
    names = ["l.ome.zarr", "l_probabilities.ome.zarr", "l_uncertainty.ome.zarr"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    probabilities = read_image(tmp_path / "l_probabilities.ome.zarr")
    assert probabilities.channel_axis == 0
    np.testing.assert_array_equal(
        probabilities.data[...], load_model(folder / "model.safetensors").predict_proba(IMAGE[::-1])
    )


def stopping_after(tiles: int, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Let prediction be interrupted after so many tiles; a list of those computed."""
    seen: list[Any] = []
    tile = Predictor.tile

    def counting(self: Predictor, *arguments: Any) -> Any:
        if len(seen) == tiles:
            raise KeyboardInterrupt
        seen.append(arguments[1])
        return tile(self, *arguments)

    monkeypatch.setattr(Predictor, "tile", counting)
    monkeypatch.setattr(tiles_module, "TILE_OVER_HALO", 0.5)  # several tiles in a small image
    return seen


@pytest.mark.parametrize("suffix", [".ome.tif", ".ome.zarr", ".png", ".roi.zip"])
def test_an_interrupted_prediction_goes_on_and_ends_with_the_same_bytes(
    run: Any, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    pytest.importorskip("zarr")
    image = tmp_path / "large.png"
    Image.fromarray(np.tile(IMAGE, (2, 2, 1))).save(image)
    monkeypatch.setattr(batch_results, "_WORTH_KEEPING", 0)

    def command(out: str, *more: str) -> Any:
        (tmp_path / out).mkdir(exist_ok=True)
        maps = ("--probabilities", "--uncertainty")
        output = tmp_path / out / f"l{suffix}"
        return run("predict", "-m", folder / "model.safetensors", "-o", output, image, *maps, *more)

    def content(out: str) -> dict[str, bytes]:
        files = [path for path in (tmp_path / out).rglob("*") if path.is_file()]
        return {str(path.relative_to(tmp_path / out)): path.read_bytes() for path in files}

    with monkeypatch.context() as patched:
        every = stopping_after(-1, patched)
        assert command("whole").code == 0
    with monkeypatch.context() as patched:
        stopping_after(2, patched)
        ran = command("parts")
        assert ran.code == INTERRUPTED
        assert "--resume goes on from it" in ran.err
        (left,) = (tmp_path / "parts").iterdir()
    with monkeypatch.context() as patched:
        rest = stopping_after(-1, patched)
        assert command("parts", "--resume").code == 0
    assert len(every) > 3
    assert rest == every[2:]
    assert not left.exists()
    assert content("parts") == content("whole")


def test_without_resume_a_former_run_does_not_count_and_that_is_said(
    run: Any, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ("predict", "-m", folder / "model.safetensors", "-o", tmp_path / "l.tif")
    monkeypatch.setattr(batch_results, "_WORTH_KEEPING", 0)
    with monkeypatch.context() as patched:
        stopping_after(1, patched)
        assert run(*arguments, folder / "image.ome.tif").code == INTERRUPTED
    ran = run(*arguments, folder / "other.png", "--resume")
    assert "is computed anew, since image, model, options or versions differ" in ran.out
    np.testing.assert_array_equal(
        tifffile.imread(tmp_path / "l.tif"), load_model(folder / "model.safetensors").predict(IMAGE[::-1])
    )
    assert [path.name for path in tmp_path.iterdir()] == ["l.tif"]


def test_an_interrupt_that_costs_little_leaves_nothing(
    run: Any, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopping_after(1, monkeypatch)
    image = folder / "other.png"
    ran = run("predict", "-m", folder / "model.safetensors", "-o", tmp_path / "l.tif", image)
    assert ran.code == INTERRUPTED
    assert "no unfinished file was left behind" in ran.err
    assert not list(tmp_path.iterdir())


def test_another_exposure_is_mentioned_and_taken_out_when_asked(
    run: Any, folder: Path, tmp_path: Path
) -> None:
    darker = IMAGE.astype(np.float32) / 4 + 100  # no bit is lost
    tifffile.imwrite(tmp_path / "darker.tif", darker, photometric="rgb")
    predict = ["predict", "--model", folder / "model.safetensors", "--output"]
    plain = run(*predict, tmp_path / "plain.ome.tif", folder / "image.ome.tif")
    told = run(*predict, tmp_path / "told.ome.tif", tmp_path / "darker.tif")
    assert "Grey values" not in plain.out + plain.err
    assert "4.0 times less widely than where the model learned" in told.out + told.err
    asked = run(
        *predict, tmp_path / "asked.ome.tif", tmp_path / "darker.tif", "--normalise", "image", "--json"
    )
    assert asked.code == 0
    assert "Grey values" not in asked.out + asked.err
    wanted, found, misled = (
        tifffile.imread(tmp_path / f"{name}.ome.tif") for name in ("plain", "asked", "told")
    )
    assert (found == wanted).all()
    assert (misled != wanted).any()
    model = load_model(folder / "model.safetensors").normalised_to(darker)
    assert (model.predict(darker) == wanted).all()


def test_an_image_without_a_finite_pixel_is_segmented_all_the_same(
    run: Any, folder: Path, tmp_path: Path
) -> None:
    tifffile.imwrite(tmp_path / "blank.tif", np.full((40, 50, 3), np.nan, np.float32), photometric="rgb")
    output = tmp_path / "blank.ome.tif"
    ran = run("predict", "--model", folder / "model.safetensors", "--output", output, tmp_path / "blank.tif")
    assert ran.code == 0, ran.err
    assert (tifffile.imread(output) > 0).all()


@pytest.mark.parametrize("how", ["model", "image", "learned"])
def test_a_cluster_writes_the_same_bytes(run: Any, folder: Path, tmp_path: Path, how: str) -> None:
    distributed = pytest.importorskip("distributed", reason="dask.distributed is not installed")
    model, image, png = folder / "model.safetensors", folder / "image.ome.tif", ("--format", "png")
    if how == "learned":  # each image by its own: the model says so
        how, model = "model", tmp_path / "own.safetensors"
        assert main(train_arguments(folder, model, "--normalise", "image")) == 0
    run("predict", "--model", model, "--output", tmp_path / "here/", image, "--normalise", how, *png)
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, protocol="tcp://", dashboard_address=None
    ) as cluster:
        ran = run(
            "predict", "--model", model, "--output", tmp_path / "there", "--normalise", how, *png,
            "--scheduler", cluster.scheduler_address, "--wait", "20", image, folder / "other.png",
        )  # fmt: skip
    assert ran.code == 0, ran.err
    (here,) = (tmp_path / "here").iterdir()
    assert (tmp_path / "there" / here.name).read_bytes() == here.read_bytes()
    assert len(list((tmp_path / "there").iterdir())) == 2


def test_what_was_computed_before_a_scheduler_ended_is_not_computed_again(
    run: Any, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    distributed = pytest.importorskip("distributed", reason="dask.distributed is not installed")
    monkeypatch.setattr(tiles_module, "TILE_OVER_HALO", 0)
    monkeypatch.setattr(tiles_module, "TILE_INPUT", 219 - 1 + 40)
    monkeypatch.setattr(batch_results, "_WORTH_KEEPING", 0.0)
    monkeypatch.setattr(cluster_module, "PATIENCE", 1.0)
    stream, came, ending = ClusterPredictor.stream, [], []

    def noted(*arguments: Any) -> Iterator[Any]:
        for found in stream(*arguments):
            came.append(found.tile)
            yield found
            if ending:
                ending.pop().close()

    monkeypatch.setattr(ClusterPredictor, "stream", noted)
    predict = "predict", "-m", folder / "model.safetensors", "-o", tmp_path / "l.png", folder / "other.png"
    assert run(*predict[:4], tmp_path / "here.png", predict[-1]).code == 0
    how: dict[str, Any] = {"processes": False, "protocol": "tcp://", "dashboard_address": None}
    with distributed.LocalCluster(n_workers=1, threads_per_worker=1, silence_logs=50, **how) as local:
        ending.append(local)
        ran = run(*predict, "--scheduler", local.scheduler_address, "--wait", "20")
    assert ran.code == 1
    assert "has ended, or cannot be reached any more" in ran.err
    assert "the same command with --resume goes on from it" in ran.err
    before = set(came)
    came.clear()
    with distributed.LocalCluster(n_workers=1, threads_per_worker=1, silence_logs=50, **how) as local:
        ran = run(*predict, "--scheduler", local.scheduler_address, "--wait", "20", "--resume")
    assert ran.code == 0, ran.err
    assert before
    assert came
    assert before.isdisjoint(came)
    assert (tmp_path / "l.png").read_bytes() == (tmp_path / "here.png").read_bytes()


def test_what_is_no_scheduler_is_refused_before_anything_is_read(
    run: Any, folder: Path, tmp_path: Path
) -> None:
    pytest.importorskip("distributed", reason="dask.distributed is not installed")
    image, model = folder / "image.ome.tif", folder / "model.safetensors"
    ran = run("predict", "-m", model, "-o", tmp_path / "l.png", image, "--scheduler", folder / "other.png")
    assert ran.code == 1
    assert "other.png' was not written by a dask scheduler" in ran.err
    assert len(ran.err.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_nothing_is_overwritten_unasked(run: Any, folder: Path, tmp_path: Path) -> None:
    taken = tmp_path / "labels.png"
    taken.write_bytes(b"mine")
    arguments = ("predict", "--model", folder / "model.safetensors", "--output", taken, folder / "other.png")
    ran = run(*arguments)
    assert ran.code == 1
    assert "exists" in ran.err
    assert "--overwrite" in ran.err
    assert taken.read_bytes() == b"mine"
    assert run(*arguments, "--overwrite").code == 0
    assert taken.read_bytes() != b"mine"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (
            ["predict", "--model", "none.safetensors", "--output", "o.tif", "{folder}/other.png"],
            "none.safetensors",
        ),
        (
            ["predict", "--model", "{folder}/other.png", "--output", "o.tif", "{folder}/other.png"],
            "other.png",
        ),
        (["predict", "--model", "{folder}/model.safetensors", "--output", "o.tif", "none.png"], "none.png"),
        (
            ["predict", "--model", "{folder}/model.safetensors", "--output", "o.tif", "{folder}/strokes.png"],
            "channel",
        ),
        (
            [
                "train",
                "--image",
                "{folder}/other.png",
                "--labels",
                "{folder}/other.png",
                "-o",
                "m.safetensors",
            ],
            "other.png",
        ),
        (
            [
                "train",
                "-i",
                "{folder}/other.png",
                "-l",
                "{folder}/strokes.png",
                "a.png",
                "-o",
                "m.safetensors",
            ],
            "1 images and 2 label files",
        ),
        (
            ["train", "-i", "{folder}/other.png", "-l", "{folder}/strokes.png", "-o", "model.pkl"],
            ".safetensors",
        ),
        (
            [
                "train",
                "-i",
                "{folder}/other.png",
                "-l",
                "{folder}/strokes.png",
                "-o",
                "m.safetensors",
                "--device",
                "tpu",
            ],
            "tpu",
        ),
        (
            [
                "train",
                "-i",
                "{folder}/other.png",
                "-l",
                "{folder}/strokes.png",
                "-o",
                "m.safetensors",
                "--network",
                "x",
            ],
            "'x'",
        ),
        (["demo", "--headless", "--sample", "cells"], "nuclei, tissue, phase"),
    ],
)
def test_failure_is_one_clear_line_and_leaves_nothing(
    run: Any,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    told: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    ran = run(*(argument.format(folder=folder) for argument in arguments), "--json")
    assert ran.code == 1
    assert told in ran.err
    assert len(ran.err.strip().splitlines()) == 1
    assert ran.facts["ok"] is False
    assert told in ran.facts["error"]
    assert not list(tmp_path.iterdir())


def test_wrong_arguments_are_one_line_too(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["train", "--image", "a.png", "--labels", "b.png", "--output", "m.safetensors", "--steps", "0"])
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert "'0' is not a whole number of at least 1" in said
    assert len(said.strip().splitlines()) == 1


def test_developers_can_have_the_traceback(folder: Path, tmp_path: Path) -> None:
    arguments = train_arguments(folder, tmp_path / "m.safetensors", "--network", "x", "--traceback")
    with pytest.raises(ValueError, match="'x'"):
        main(arguments)


def test_a_model_that_can_no_longer_be_written_is_kept_elsewhere(
    run: Any, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output, elsewhere = tmp_path / "out" / "m.safetensors", tmp_path / "elsewhere"
    output.parent.mkdir()
    elsewhere.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(elsewhere))
    learn = cli_train.train_classifier

    def learn_and_lose_the_folder(*arguments: Any, **options: Any) -> Any:
        classifier = learn(*arguments, **options)
        output.parent.rmdir()
        return classifier

    monkeypatch.setattr(cli_train, "train_classifier", learn_and_lose_the_folder)
    ran = run(*train_arguments(folder, output))
    assert ran.code == 1
    (kept,) = elsewhere.rglob("*.safetensors")
    assert f"What was learned is kept in {kept}." in ran.err
    assert load_model(kept).predict(IMAGE).shape == IMAGE.shape[:2]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows takes no such names")
def test_names_in_files_never_steer_the_terminal(run: Any, folder: Path, tmp_path: Path) -> None:
    image = tmp_path / "\x1b[31mred\x07.png"
    Image.fromarray(IMAGE).save(image)
    ran = run("predict", "-m", folder / "model.safetensors", "-o", tmp_path / "out", image, "--json")
    assert ran.code == 0
    assert "\\x1b[31mred\\x07" in ran.out
    assert "\x1b" not in ran.out + ran.err
    assert ran.facts["images"][0]["image"] == str(image)


#: With what learning would load first, on a busy machine just when the signal comes. A Ctrl-C within strings
#: that scipy executes on import ends CPython by that signal, however it was caught; shells call both 130.
PROGRAM = """
import sys
import scipy.sparse.csgraph
from napari_dsparse.__main__ import run

sys.exit(run())
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has other signals")
@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, INTERRUPTED), (signal.SIGTERM, TERMINATED)])
def test_interrupted_training_ends_clean(
    folder: Path, tmp_path: Path, sent: signal.Signals, code: int
) -> None:
    steps = ("--steps", "1000000", "--seconds", "60")  # without steps it may be over before the signal comes
    arguments = train_arguments(folder, tmp_path / "m.safetensors", *steps, "--json")
    # A shell's background jobs ignore Ctrl-C and hand that down; a user's terminal does not.
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline().startswith("Learning from")
    time.sleep(0.5)
    process.send_signal(sent)
    out, err = process.communicate(timeout=200)
    assert process.returncode == code
    assert len(err.strip().splitlines()) == 1
    assert json.loads(out.splitlines()[-1])["ok"] is False
    assert not list(tmp_path.iterdir())
