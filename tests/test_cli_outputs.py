"""Results get names that can be told beforehand, and never the name of something else."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tests.classifiers import classifier_for

from napari_dsparse.batch.inputs import told_apart
from napari_dsparse.batch.outputs import Outputs, check_room, check_writable, plan_outputs
from napari_dsparse.cli.arguments import FORMATS
from napari_dsparse.errors import ExportError
from napari_dsparse.files.export import SUFFIXES
from napari_dsparse.files.model import save_classifier
from napari_dsparse.files.parts import Parts


def plan(
    images: list[str], output: str, chosen: str | None = None, *, extras: bool = False
) -> list[list[str]]:
    planned = plan_outputs(
        [Path(name) for name in images], output, chosen, probabilities=extras, uncertainty=extras
    )
    return [[path.as_posix() for path in outputs.paths] for outputs in planned]


def test_every_format_that_can_be_written_can_be_asked_for() -> None:
    assert tuple(SUFFIXES) == FORMATS


def test_one_image_goes_into_the_file_that_is_named() -> None:
    assert plan(["cells.tif"], "out/labels.ome.tif") == [["out/labels.ome.tif"]]


def test_images_go_into_a_folder_under_their_own_names() -> None:
    assert plan(["a/one.ome.tiff", "b/two.png"], "out") == [
        ["out/one_segmentation.ome.tif"],
        ["out/two_segmentation.ome.tif"],
    ]


@pytest.mark.parametrize(
    ("chosen", "suffix"),
    [
        ("ome-tiff", ".ome.tif"),
        ("ome-zarr", ".ome.zarr"),
        ("png", ".png"),
        ("geojson", ".geojson"),
        ("imagej-roi", ".roi.zip"),
        ("coco", ".coco.json"),
    ],
)
def test_the_format_decides_the_suffix_in_a_folder(chosen: str, suffix: str) -> None:
    assert plan(["one.tif"], "out", chosen) == [[f"out/one_segmentation{suffix}"]]


def test_maps_stand_beside_the_labels_in_their_format() -> None:
    assert plan(["one.tif"], "labels.png", extras=True) == [
        ["labels.png", "labels_probabilities.ome.tif", "labels_uncertainty.ome.tif"]
    ]
    assert plan(["one.tif"], "labels.roi.zip", extras=True) == [
        ["labels.roi.zip", "labels_probabilities.ome.tif", "labels_uncertainty.ome.tif"]
    ]
    assert plan(["one.tif"], "labels.zarr", extras=True) == [
        ["labels.zarr", "labels_probabilities.ome.zarr", "labels_uncertainty.ome.zarr"]
    ]
    assert plan(["one.tif"], "out", "ome-zarr", extras=True)[0][1] == "out/one_probabilities.ome.zarr"


def test_a_dot_in_an_image_name_stays() -> None:
    assert plan(["day.1.npy"], "out") == [["out/day.1_segmentation.ome.tif"]]


@pytest.mark.parametrize("name", ["run.2", "2024.05.01", "run v1.2", "results.final", "a.tif/", "x.jpg/"])
def test_a_folder_may_have_a_dot_in_its_name(name: str) -> None:
    assert plan(["one.tif"], name) == [[f"{name.rstrip('/')}/one_segmentation.ome.tif"]]


def test_a_folder_that_exists_may_be_called_as_a_file(tmp_path: Path) -> None:
    folder = tmp_path / "run.png"
    folder.mkdir()
    assert plan(["one.tif"], str(folder)) == [[(folder / "one_segmentation.ome.tif").as_posix()]]
    store = tmp_path / "labels.zarr"
    store.mkdir()
    assert plan(["one.tif"], str(store)) == [[store.as_posix()]]


@pytest.mark.parametrize(
    ("images", "output", "chosen", "sentence"),
    [
        (["a.tif"], "out.jpg", None, "'.jpg', which we do not write"),
        (["a.tif", "b.tif"], "out.tif", None, "2 images cannot go into the one file"),
        (["a.tif"], "out.tif", "png", "is ome-tiff by its name, not png"),
        (["x/a.tif", "y/a.tif"], "out", None, "Two results would both be called"),
    ],
)
def test_names_that_cannot_work_are_refused(
    images: list[str], output: str, chosen: str | None, sentence: str
) -> None:
    with pytest.raises(ExportError, match=sentence):
        plan(images, output, chosen)


def test_images_of_one_name_are_told_apart_by_as_many_folders_as_it_takes() -> None:
    def names(*paths: str) -> list[str]:
        return [path.name for path in told_apart([Path(path) for path in paths])]

    assert names("p/A/1/0", "p/B/1/0", "p/B/1/1") == ["A_1_0", "B_1_0", "1"]
    assert names("x/a.tif", "y/a.tif", "z/b.tif") == ["x_a.tif", "y_a.tif", "b.tif"]
    assert names("/a.tif", "/x/a.tif") == ["a.tif", "x_a.tif"]
    assert names("/x/a.tif", "/x/a.tif") == ["a.tif", "a.tif"]  # the same: refused as outputs are planned
    assert names(".") == names("") == [Path.cwd().name]
    assert names("..", "/") == [Path.cwd().parent.name, "image"]


def test_images_that_differ_in_their_suffix_alone_are_told_apart_by_it() -> None:
    def results(*paths: str) -> list[str]:
        return [Path(path).name for (path,) in plan([str(p) for p in told_apart([*map(Path, paths)])], "out")]

    assert results("a.tif", "a.npy", "b.png") == [
        *("a_tif_segmentation.ome.tif", "a_npy_segmentation.ome.tif", "b_segmentation.ome.tif"),
    ]
    assert results("a", "x/a.ome.zarr", "a.TIF") == [
        *("a_segmentation.ome.tif", "a_ome_zarr_segmentation.ome.tif", "a_TIF_segmentation.ome.tif"),
    ]
    assert results("x/a.tif", "y/a.tif", "a.npy")[2] == "a_segmentation.ome.tif"


def test_two_images_of_one_result_are_both_named() -> None:
    with pytest.raises(ExportError, match=r"a_segmentation\.ome\.tif, of x/a\.tif and y/a\.npy; rename"):
        plan(["x/a.tif", "b.tif", "y/a.npy"], "out")
    with pytest.raises(ExportError, match="is given twice; give it once"):
        plan(["x/a.tif", "x/a.tif"], "out")


def test_nothing_is_overwritten_unasked(tmp_path: Path) -> None:
    taken = tmp_path / "taken.png"
    taken.touch()
    with pytest.raises(ExportError, match="--overwrite"):
        check_writable([taken], [], overwrite=False)
    check_writable([taken], [], overwrite=True)


def test_an_input_is_never_overwritten_even_if_asked(tmp_path: Path) -> None:
    image = tmp_path / "image.tif"
    image.touch()
    (tmp_path / "sub").mkdir()
    with pytest.raises(ExportError, match="one of the inputs"):
        check_writable([tmp_path / "sub" / ".." / "image.tif"], [image], overwrite=True)
    store = tmp_path / "plate.ome.zarr"
    (store / "A" / "1").mkdir(parents=True)
    with pytest.raises(ExportError, match=r"holds .*one of the inputs"):
        check_writable([store], [store / "A" / "1"], overwrite=True)


def test_a_missing_folder_is_said_before_the_work(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="does not exist"):
        check_writable([tmp_path / "no" / "model.safetensors"], [], overwrite=False)


def test_a_name_that_the_system_refuses_is_said_before_the_work(tmp_path: Path) -> None:
    check_writable([tmp_path / "a" / "b" / ("x" * 240 + ".png")], [], overwrite=False, make_parents=True)
    for refused in (tmp_path / ("x" * 300 + ".png"), tmp_path / ("x" * 300) / "a.png"):
        with pytest.raises(ExportError, match="name too long") as caught:
            check_writable([refused], [], overwrite=False, make_parents=True)
        assert ".partial" not in str(caught.value)
    (tmp_path / "file").touch()
    with pytest.raises(ExportError, match="Not a directory"):
        check_writable([tmp_path / "file" / "a.png"], [], overwrite=False, make_parents=True)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_results_that_do_not_fit_are_refused_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=int(3e6)))
    labels = tmp_path / "new" / "l.tif"
    check_room(Outputs(labels, None, None), (1700, 1700), 5)
    check_room(Outputs(labels, labels, labels), (300, 300), 5)
    for outputs, shape in (
        (Outputs(labels, None, None), (1750, 1750)),  # what is computed lies there uncompressed
        (Outputs(labels, labels, None), (350, 350)),
    ):
        with pytest.raises(ExportError, match="free space or choose another folder"):
            check_room(outputs, shape, 5)
    left = Parts(labels_there := tmp_path / "l.tif", {}, {"labels": ((1750, 1750), "u1")}, resume=True)
    left.put(0, (slice(0, 1750), slice(0, 1750)), {"labels": np.ones((1750, 1750), np.uint8)})
    check_room(Outputs(labels_there), (1750, 1750), 5)  # it goes on in what a former run has written
    left.close(keep=True)


def test_a_disk_that_fills_up_is_said_with_what_to_do(tmp_path: Path) -> None:
    parts = Parts(tmp_path / "l.tif", {}, {"labels": ((64, 64), "u1")}, resume=False)
    parts.arrays["labels"]._file = open("/dev/full", "r+b", buffering=0)  # noqa: SIM115, closed by the parts
    with pytest.raises(ExportError, match=r"no space left beside .*l\.tif.* free space or choose"):
        parts.put(0, (slice(0, 64), slice(0, 64)), {"labels": np.ones((64, 64), np.uint8)})
    parts.close(keep=False)


def test_a_failed_prediction_leaves_no_empty_folder(run: Any, tmp_path: Path) -> None:
    save_classifier(classifier_for(network="context", depth="neighbours"), tmp_path / "m.safetensors")
    good, bad = tmp_path / "good.npy", tmp_path / "bad.npy"
    np.save(good, np.zeros((5, 40, 50), np.uint8))
    np.save(bad, np.zeros((40, 50), np.uint8))  # no stack, which is found out as it is segmented

    def predict(output: str, *images: Path) -> int:
        code: int = run(
            "predict", "-m", tmp_path / "m.safetensors", "-o", f"{tmp_path / output}/", *images
        ).code
        return code

    assert predict("new/deep", bad) == 1
    assert not (tmp_path / "new").exists()
    (tmp_path / "mine").mkdir()
    assert predict("mine/deep", bad) == 1
    assert [*tmp_path.glob("mine/*")] == [], "a folder that was there stays"
    assert predict("both", bad, good) == 1
    assert [path.name for path in (tmp_path / "both").iterdir() if not path.name.startswith(".")] == [
        "good_segmentation.ome.tif"
    ]
