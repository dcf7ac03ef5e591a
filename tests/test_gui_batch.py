"""Many images segmented from the window: the files that the command line writes, and a word on each."""

from __future__ import annotations

import csv
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tifffile
from napari.layers import Image
from qtpy.QtWidgets import QApplication, QFileDialog
from tests.classifiers import classifier_for

from gui_session import Desk, two_textures, working_threads
from napari_dsparse.batch.outputs import Outputs
from napari_dsparse.batch.segmenter import Choices, Segmenter
from napari_dsparse.files.model import save_classifier
from napari_dsparse.gui import batch_desk
from napari_dsparse.gui.batch_images import items_of_files, items_of_list, wanted_images
from napari_dsparse.gui.study_image import StudyImage
from napari_dsparse.gui.widgets import dialogs
from napari_dsparse.gui.widgets.batch_dialog import Existing
from napari_dsparse.gui.widgets.batch_table import Stage
from napari_dsparse.gui.widgets.distinct_names import distinct_names
from napari_dsparse.images.reading import Expected, read_image
from napari_dsparse.prediction import Predictor
from napari_dsparse.prediction.object_options import ObjectOptions

NAMES = ("a", "b", "c")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three small images, one that is broken, and a model."""
    images = tmp_path / "images"
    images.mkdir()
    for seed, name in enumerate(NAMES):
        pixels = np.random.default_rng(seed).normal(10, 3, (40, 50)).clip(0, 255).astype(np.uint8)
        tifffile.imwrite(images / f"{name}.tif", pixels)
    (images / "broken.tif").write_bytes(b"II*\0 and nothing behind")
    save_classifier(classifier_for(), tmp_path / "model.safetensors")
    return tmp_path


class Batch:
    """The dialog, opened by its button, and what a user does in it."""

    def __init__(self, at: Desk, folder: Path) -> None:
        self.at, self.folder = at, folder
        at.click("batch_button")
        self.desk = at.dock.batch
        self.dialog = self.desk.dialog

    def choose(self, output: str, *more: str, format: str = "ome-tiff") -> None:
        """The images, a saved model, labels and `more`."""
        self.add(self.folder / "images")
        self.desk._model_file = self.folder / "model.safetensors"
        self.dialog.batch_model_combo.setCurrentIndex(1)
        for name in more:
            self.at.find(f"batch_{name}_check").setChecked(True)
        combo = self.dialog.batch_format_combo
        combo.setCurrentIndex(combo.findData(format))
        self.dialog.batch_output_edit.setText(str(self.folder / output))

    def add(self, path: Path) -> None:
        """Drop a file or a folder, and wait until it has been looked at."""
        self.desk.add_files([path])
        self.at.dock.projects.wait_and_tell()

    def segment(self) -> dict[str, Stage]:
        """Press Segment and wait for the end."""
        self.at.click("batch_start_button")
        self.wait()
        return self.stages

    def wait(self) -> None:
        self.at.wait(lambda: not self.desk._run.running)

    @property
    def stages(self) -> dict[str, Stage]:
        return {row.name: row.stage for row in self.dialog.batch_table.rows}

    @property
    def status(self) -> str:
        return str(self.dialog.batch_status_label.text())


def files_of(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, hidden ones too, with its bytes."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_the_files_are_those_of_the_command_line_and_the_summary_names_what_failed(
    desk: Callable[..., Desk], folder: Path, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = Batch(desk(), folder)
    assert not batch.dialog.batch_start_button.isEnabled()
    assert batch.status.startswith("Add the images")
    more = ("probabilities", "uncertainty", "objects", "measurements")
    batch.choose("window", *more)
    batch.at.find("min_size_spin").setValue(12)
    batch.at.find("splitting_slider").setValue(60)
    stages = batch.segment()
    assert stages == {**{f"{name}.tif": Stage.DONE for name in NAMES}, "broken.tif": Stage.FAILED}
    assert batch.status.startswith("Done: 3 segmented, 1 failed")
    outcome = batch.status
    chosen = [check for check in batch.dialog.checks if check.isChecked()]
    for check in chosen:
        check.setChecked(False)
    assert batch.status == "Choose what to write."
    for check in chosen:
        check.setChecked(True)
    assert batch.status == outcome
    images = [folder / "images" / f"{name}.tif" for name in NAMES]
    options = [*(f"--{name}" for name in more), "--min-size", "12", "--splitting", "0.6"]
    options += ["--table", str(folder / "all-cli.csv")]
    ran = run("predict", "-m", folder / "model.safetensors", "-o", folder / "cli", *options, *images)
    assert ran.code == 0
    assert files_of(folder / "window") == files_of(folder / "cli")
    assert len(files_of(folder / "window")) == 15

    saved = folder / "summary.csv"
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *a, **k: (str(saved), ""))
    monkeypatch.setattr(dialogs, "_FOLDERS", dialogs._Folders())
    batch.at.click("batch_save_button")
    table = list(csv.DictReader(saved.open(encoding="utf-8")))
    broken = next(line for line in table if line["image"].endswith("broken.tif"))
    assert broken["result"] == "failed"
    assert "broken.tif" in broken["files or reason"]
    assert str(folder / "window" / "a_segmentation.ome.tif") in table[0]["files or reason"]
    batch.at.click("batch_copy_button")
    assert "broken.tif\tfailed\t" in QApplication.clipboard().text()
    joined = folder / "all.csv"
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *a, **k: (str(joined), ""))
    batch.at.click("batch_measured_button")
    batch.at.wait(lambda: "saved to all.csv" in batch.status)
    assert joined.read_bytes() == (folder / "all-cli.csv").read_bytes()
    assert {line["image"] for line in csv.DictReader(joined.open())} == {f"{name}.tif" for name in NAMES}


def test_what_exists_is_asked_about_once_and_kept_or_replaced(
    desk: Callable[..., Desk], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = Batch(desk(), folder)
    batch.choose("out", format="png")
    (folder / "images" / "broken.tif").unlink()
    batch.desk._remove()
    batch.add(folder / "images")
    (folder / "out").mkdir()
    mine = folder / "out" / "b_segmentation.png"
    mine.write_bytes(b"mine")
    asked: list[tuple[int, int]] = []
    answers: dict[str, Existing | None] = {"next": None}

    def ask(parent: Any, count: int, images: int) -> Existing | None:
        asked.append((count, images))
        return answers["next"]

    monkeypatch.setattr(batch_desk, "ask_existing", ask)
    batch.segment()
    assert [*files_of(folder / "out")] == ["b_segmentation.png"]  # the user did not go on
    answers["next"] = Existing.SKIP
    stages = batch.segment()
    assert stages == {"a.tif": Stage.DONE, "b.tif": Stage.SKIPPED, "c.tif": Stage.DONE}
    assert mine.read_bytes() == b"mine"
    answers["next"] = Existing.OVERWRITE
    batch.segment()
    assert set(batch.stages.values()) == {Stage.DONE}
    assert mine.read_bytes()[:4] == b"\x89PNG"
    assert asked == [(1, 3), (1, 3), (3, 3)]


def test_the_table_of_all_objects_has_those_of_skipped_images(
    desk: Callable[..., Desk], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "images" / "broken.tif").unlink()
    batch = Batch(desk(), folder)
    batch.choose("out", "measurements")
    batch.segment()
    for left in (folder / "out").glob("b_*"):
        left.unlink()
    monkeypatch.setattr(batch_desk, "ask_existing", lambda *given: Existing.SKIP)
    assert list(batch.segment().values()) == [Stage.SKIPPED, Stage.DONE, Stage.SKIPPED]
    joined = folder / "all.csv"
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *a, **k: (str(joined), ""))
    batch.at.click("batch_measured_button")
    batch.at.wait(lambda: "saved to all.csv, those of 2 skipped images as" in batch.status)
    assert [*dict.fromkeys(line["image"] for line in csv.DictReader(joined.open()))] == [
        "a.tif",
        "b.tif",
        "c.tif",
    ]


def test_cancelling_leaves_whole_files_alone(
    desk: Callable[..., Desk], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tile = Predictor.tile

    def waiting(predictor: Predictor, source: Any, one: Any, stopped: Callable[[], bool]) -> Any:
        while source.name == "b.tif" and not stopped():
            time.sleep(0.005)
        return tile(predictor, source, one, stopped)

    monkeypatch.setattr(Predictor, "tile", waiting)
    batch = Batch(desk(), folder)
    batch.choose("out")
    batch.at.click("batch_start_button")
    batch.at.wait(lambda: batch.stages["b.tif"] is Stage.RUNNING)
    assert batch.at.find("batch_button").text() == "Segmenting 2 of 4…"
    batch.at.click("batch_cancel_button")
    batch.wait()
    assert batch.stages["a.tif"] is Stage.DONE
    assert batch.stages["b.tif"] is Stage.CANCELLED
    assert batch.stages["c.tif"] is Stage.WAITING
    assert batch.status.startswith("Cancelled: 1 segmented, 1 cancelled, 2 not begun")
    assert [*files_of(folder / "out")] == ["a_segmentation.ome.tif"]
    monkeypatch.setattr(batch_desk, "ask_existing", lambda *given: Existing.SKIP)
    batch.at.click("batch_start_button")  # and the end of the window ends it
    batch.at.wait(lambda: batch.desk._run.running)
    assert "batch" in working_threads()
    batch.dialog.show()
    batch.at.dock.shutdown()
    assert not batch.dialog.isVisible()
    assert not working_threads()


def test_the_images_of_the_list_are_segmented_by_the_model_of_the_window(
    desk: Callable[..., Desk], folder: Path
) -> None:
    scale, units = (0.5, 0.25), ("micrometer", "micrometer")
    image = Image(two_textures(), name="two/textures.v2", scale=scale, units=units)
    at = desk(image)
    at.click("new_labels_button")
    at.paint_two_classes(at.layer("two/textures.v2 strokes"))
    at.wait(lambda: at.session.has_model)
    at.dock.study.add_layers([at.layer("two/textures.v2")])
    at.add_files([folder / "images" / "a.tif"])
    at.find("live_check").setChecked(False)
    batch = Batch(at, folder)
    assert [*batch.stages] == ["two/textures.v2", "a.tif"]
    at.find("batch_measurements_check").setChecked(True)
    at.find("batch_labels_check").setChecked(False)
    batch.dialog.batch_output_edit.setText(str(folder / "out"))
    assert set(batch.segment().values()) == {Stage.DONE}, [row.text for row in batch.dialog.batch_table.rows]
    assert [*files_of(folder / "out")] == ["a_measurements.csv", "two-textures.v2_measurements.csv"]
    (line, *_) = csv.DictReader((folder / "out" / "two-textures.v2_measurements.csv").open())
    assert line["unit"] == "micrometer"
    assert float(line["area"]) == pytest.approx(96 * 64 * 0.125, rel=0.1)


def test_exposure_is_mentioned_of_images_that_the_model_has_not_seen(
    desk: Callable[..., Desk], tmp_path: Path
) -> None:
    bright = two_textures()
    for name, pixels in (("bright", bright), ("faint", bright // 8), ("new", bright // 8)):
        tifffile.imwrite(tmp_path / f"{name}.tif", pixels)
    at = desk()
    at.add_files([tmp_path / "bright.tif", tmp_path / "faint.tif"])
    for row, name in enumerate(("bright", "faint")):
        at.dock.study.pick(row)
        at.paint_two_classes(at.layer(f"{name}.tif strokes"))
    at.wait(lambda: at.session.model is not None and len(at.session.model.keys) == 2)
    at.find("live_check").setChecked(False)
    batch = Batch(at, tmp_path)
    batch.add(tmp_path / "new.tif")
    batch.dialog.batch_output_edit.setText(str(tmp_path / "out"))
    assert set(batch.segment().values()) == {Stage.DONE}
    said = [any("Grey values" in line for line in batch.desk._ended[row].remarks) for row in range(3)]
    assert said == [False, False, True]


def test_planes_in_time_are_not_connected_though_those_in_depth_are(folder: Path) -> None:
    said: list[str] = []
    listener = SimpleNamespace(say=said.append)
    choices = Choices(finding=ObjectOptions(volume=True), planes_apart=True)
    segmenter = Segmenter(classifier_for(), Predictor, choices, listener)
    pixels = np.random.default_rng(0).normal(10, 3, (3, 40, 50)).clip(0, 255).astype(np.uint8)
    connected = {}
    for axes in ("ZYX", "TYX", "YX"):
        path = folder / f"{axes}.ome.tif"
        tifffile.imwrite(path, pixels[-1] if axes == "YX" else pixels, metadata={"axes": axes})
        (wanted,) = wanted_images(items_of_files([path])[0])
        outputs = Outputs(folder / "out.ome.tif", objects=folder / f"{axes}_objects.ome.tif")
        connected[axes] = segmenter.open(wanted, outputs).finding.volume
    assert connected == {"ZYX": True, "TYX": False, "YX": False}
    assert [line for line in said if "objects" in line] == [
        "Planes of TYX.ome.tif follow one another in time: objects are of each by itself."
    ]


def test_two_images_of_one_file_have_results_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "two.tif"
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(np.zeros((30, 40), np.uint8))
        tiff.write(np.ones((20, 50), np.uint8))
    entries = []
    for series in (0, 1):
        file = read_image(path, series=series)
        entries.append(StudyImage(series, f"two.tif, image {series}", file.source(), file=file, path=path))
    wanted = wanted_images(items_of_list(entries, ()))
    assert [each.name.name for each in wanted] == ["two_image_0.tif", "two_image_1.tif"]
    assert [each.open(Expected(1)).source.shape for each in wanted] == [(30, 40), (20, 50)]


def test_images_of_one_name_are_told_apart_by_their_folders(
    desk: Callable[..., Desk], tmp_path: Path
) -> None:
    places = [tmp_path / day / "im.tif" for day in ("one", "two", "three")]
    for place in places:
        place.parent.mkdir()
        tifffile.imwrite(place, two_textures())
    at = desk()
    at.add_files(places)
    listed = at.find("images_list")
    names = [str(Path(place.parent.name) / "im.tif") for place in places]
    assert [listed.item(row).text() for row in range(3)] == [f"○ {name}" for name in names]
    batch = Batch(at, tmp_path)
    assert [row.name for row in batch.dialog.batch_table.rows] == names
    assert batch.dialog.isSizeGripEnabled() is False, "it would lie over a corner of Close"


def test_as_many_folders_are_shown_as_tell_files_apart() -> None:
    paths = [
        Path(each).absolute() for each in ("/a/x/im.tif", "/b/x/im.tif", "/b/y/im.tif", "/b/y/other.tif")
    ]
    shown = distinct_names([(path.name, path) for path in paths])
    assert [Path(each).as_posix() for each in shown] == ["a/x/im.tif", "b/x/im.tif", "y/im.tif", "other.tif"]
    assert distinct_names([("im.tif", None), ("im.tif", paths[0])]) == ["im.tif", str(Path("x/im.tif"))]
    assert distinct_names([("im.tif", paths[0]), ("im.tif", paths[0])])  # nothing tells them apart
