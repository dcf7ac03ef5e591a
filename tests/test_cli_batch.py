"""A batch that was interrupted goes on behind the images that it has finished, after checking them."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr
from tests.classifiers import classifier_for
from tests.command_line import Ran

from napari_dsparse.batch.inputs import read_input
from napari_dsparse.batch.joined_table import join_tables
from napari_dsparse.batch.segmenter import file_state
from napari_dsparse.cli import INTERRUPTED, main
from napari_dsparse.errors import ExportError
from napari_dsparse.files import atomic
from napari_dsparse.files.atomic import complete_or_absent
from napari_dsparse.files.finished import Finished
from napari_dsparse.files.model import save_classifier
from napari_dsparse.prediction import Predictor

NAMES = ("a", "b", "c")

#: Facts that no two runs share.
TIMED = {"labels", "seconds", "megapixels_per_second"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three small images and a model."""
    for seed, name in enumerate(NAMES):
        pixels = np.random.default_rng(seed).normal(10, 3, (40, 50)).clip(0, 255).astype(np.uint8)
        tifffile.imwrite(tmp_path / f"{name}.tif", pixels)
    save_classifier(classifier_for(), tmp_path / "model.safetensors")
    return tmp_path


class Batch:
    """Runs the batch, and knows which images were computed."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
        self.folder, self.capsys = folder, capsys
        self.computed: list[str] = []
        self.stops_at = ""
        tile = Predictor.tile

        def counting(predictor: Predictor, source: Any, *more: Any) -> Any:
            if source.name == self.stops_at:
                raise KeyboardInterrupt
            self.computed.append(source.name[0])
            return tile(predictor, source, *more)

        monkeypatch.setattr(Predictor, "tile", counting)

    def run(self, *more: str, output: str = "out", stops_at: str = "") -> Ran:
        self.computed.clear()
        self.stops_at = stops_at
        images = [str(self.folder / f"{name}.tif") for name in NAMES]
        given = ["-m", str(self.folder / "model.safetensors"), "-o", str(self.folder / output) + "/"]
        self.capsys.readouterr()
        code = main(["predict", *given, *images, "--json", *more])
        return Ran(code, *self.capsys.readouterr())

    def labels(self, name: str, output: str = "out") -> Path:
        return self.folder / output / f"{name}_segmentation.ome.tif"


@pytest.fixture
def batch(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> Batch:
    return Batch(folder, monkeypatch, capsys)


def test_finished_images_are_not_computed_again_and_all_are_reported(batch: Batch) -> None:
    whole = batch.run(output="whole")
    ran = batch.run(stops_at="c.tif")
    assert ran.code == INTERRUPTED
    assert "--resume goes on from it" in ran.err
    ran = batch.run("--resume")
    assert (ran.code, batch.computed) == (0, ["c"])
    found = ran.facts["images"]
    assert [image.pop("resumed", False) for image in found] == [True, True, False]
    assert [Path(path).name[0] for path in ran.facts["outputs"]] == list(NAMES)
    for mine, its in zip(found, whole.facts["images"], strict=True):
        for other in ("seconds", "megapixels_per_second", "labels"):
            del mine[other], its[other]
        assert mine == its
    for name in NAMES:
        assert batch.labels(name).read_bytes() == batch.labels(name, "whole").read_bytes()
    assert len(list((batch.folder / "out").iterdir())) == len(NAMES), "no journal is left"


def test_a_finished_result_that_was_changed_is_not_believed(batch: Batch) -> None:
    batch.run(stops_at="c.tif")
    good = batch.labels("a").read_bytes()
    batch.labels("a").write_bytes(b"changed")
    ran = batch.run("--resume")
    assert ran.code == 1
    assert "exists; choose another name or pass --overwrite" in ran.err
    assert batch.labels("a").read_bytes() == b"changed"
    ran = batch.run("--resume", "--overwrite")
    assert (ran.code, batch.computed) == (0, ["a", "c"])
    assert batch.labels("a").read_bytes() == good


def test_results_of_another_image_or_model_are_computed_again_if_that_is_allowed(batch: Batch) -> None:
    batch.run(stops_at="c.tif")
    tifffile.imwrite(batch.folder / "b.tif", np.full((40, 50), 9, np.uint8))
    ran = batch.run("--resume")
    assert ran.code == 1
    assert "exists, of another image, model, options or versions" in ran.err
    assert [image["ok"] for image in ran.facts["images"]] == [True, False, True]

    batch.run("--overwrite", stops_at="c.tif")
    save_classifier(classifier_for(seed=1), batch.folder / "model.safetensors", overwrite=True)
    ran = batch.run("--resume", "--overwrite")
    assert (ran.code, batch.computed) == (0, list(NAMES))


def test_without_resume_and_without_a_journal_results_are_refused(batch: Batch) -> None:
    batch.run(stops_at="c.tif")
    assert "exists; choose another name" in batch.run().err
    journal = batch.folder / "out" / ".resume-finished" / "journal"
    lines = journal.read_text().splitlines()
    assert [next(iter(json.loads(line)["digests"]))[0] for line in lines] == ["a", "b"]
    journal.write_text("[]\nnonsense\n{}\n" + lines[0] + "\n" + lines[1][:40])  # cut off
    ran = batch.run("--resume")
    assert ran.code == 1
    assert "b_segmentation.ome.tif exists" in ran.err


def test_a_bad_image_does_not_cost_the_good_ones_their_place_in_the_journal(batch: Batch) -> None:
    bad = batch.folder / "b.tif"
    good = bad.read_bytes()
    bad.write_bytes(b"no image")
    assert batch.run().code == 1
    bad.write_bytes(good)
    ran = batch.run("--resume")
    assert (ran.code, batch.computed) == (0, ["b"])
    assert len(list((batch.folder / "out").iterdir())) == len(NAMES), "no journal is left"


@pytest.mark.parametrize("placed", [True, False])
def test_a_batch_killed_as_a_file_gets_its_name_goes_on_without_overwriting(
    batch: Batch, monkeypatch: pytest.MonkeyPatch, placed: bool
) -> None:
    whole = ("--uncertainty",)
    batch.run(*whole, output="whole")
    place, stops = atomic._place_file, ["b_segmentation.ome.tif", "b_uncertainty.ome.tif"]

    def placing(partial: Path, final: Path, overwrite: bool) -> None:
        if placed:
            place(partial, final, overwrite)
        if stops and final.name == stops[0]:
            del stops[0]
            raise KeyboardInterrupt
        if not placed:
            place(partial, final, overwrite)

    monkeypatch.setattr(atomic, "_place_file", placing)
    assert batch.run(*whole).code == INTERRUPTED
    assert batch.run(*whole, "--resume").code == INTERRUPTED
    ran = batch.run(*whole, "--resume")
    assert (ran.code, batch.computed) == (0, ["c"] if placed else ["b", "c"])
    assert content(batch.folder / "out") == content(batch.folder / "whole")


def test_several_images_at_a_time_make_the_same_files_and_the_same_report(batch: Batch) -> None:
    (batch.folder / "b.tif").write_bytes(b"no image")
    one, three = batch.run("--uncertainty", output="one"), batch.run("--uncertainty", "--jobs", "3")
    assert (one.code, three.code) == (1, 1)
    assert sorted(batch.computed) == ["a", "c"]
    assert [image["ok"] for image in three.facts["images"]] == [True, False, True]
    for mine, its in zip(three.facts["images"], one.facts["images"], strict=True):
        assert {name: mine[name] for name in mine.keys() - TIMED} == {
            name: its[name] for name in its.keys() - TIMED
        }
    lines = [line.replace("/out/", "/one/") for line in three.out.splitlines()[:-1]]
    assert lines == one.out.splitlines()[:-1]
    assert three.err.count("napari-dsparse predict:") == one.err.count("napari-dsparse predict:") == 2
    found, wanted = content(batch.folder / "out"), content(batch.folder / "one")
    for files in (found, wanted):
        files.pop(".resume-finished/journal")
    assert found == wanted


def test_an_interrupt_of_several_at_a_time_keeps_what_is_whole(batch: Batch) -> None:
    whole = batch.run(output="whole")
    ran = batch.run("--jobs", "2", stops_at="b.tif")
    assert ran.code == INTERRUPTED
    assert not [path for path in (batch.folder / "out").iterdir() if path.name.startswith(".partial")]
    ran = batch.run("--jobs", "2", "--resume")
    assert ran.code == 0
    assert "b" in batch.computed
    assert [Path(path).name[0] for path in ran.facts["outputs"]] == list(NAMES)
    assert whole.code == 0
    assert content(batch.folder / "out") == content(batch.folder / "whole")


@pytest.mark.parametrize("count", [signal.SIGINT, signal.SIGTERM])
def test_signals_end_several_at_a_time(folder: Path, count: signal.Signals) -> None:
    large = folder / "large.npy"
    # Of zeros, which take no room on the disk; it takes much longer than the small ones on any machine.
    np.lib.format.open_memmap(large, "w+", np.uint8, (16_000, 16_000)).flush()
    images = [str(folder / "a.tif"), str(large), str(folder / "b.tif")]
    line = [
        sys.executable,
        "-m",
        "napari_dsparse",
        "predict",
        "-m",
        str(folder / "model.safetensors"),
        *images,
    ]
    child = subprocess.Popen(
        [*line, "-o", f"{folder / 'out'}/", "--jobs", "2"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    small = folder / "out" / "b_segmentation.ome.tif"
    until = time.monotonic() + 120
    while not small.exists() and child.poll() is None and time.monotonic() < until:
        time.sleep(0.05)
    child.send_signal(count)
    out, err = child.communicate(timeout=120)
    assert child.returncode == 128 + count
    assert b"--resume goes on from it" in err
    assert b"Traceback" not in err
    assert b"b_segmentation.ome.tif" in out
    assert not (folder / "out" / "large_segmentation.ome.tif").exists()


def content(folder: Path) -> dict[str, bytes]:
    """All files below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_store_rewritten_in_one_place_is_another_image(tmp_path: Path) -> None:
    store = zarr.create_array(tmp_path / "a.zarr", shape=(512, 512), chunks=(128, 128), dtype="u1")
    store[:] = 7
    before = file_state(read_input(tmp_path / "a.zarr", "auto"))
    assert file_state(read_input(tmp_path / "a.zarr", "auto")) == before
    store[200:204, 300:304] = 9
    assert file_state(read_input(tmp_path / "a.zarr", "auto")) != before


def test_one_table_holds_the_objects_of_all_images_and_replaces_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    batch = Batch(folder, monkeypatch, capsys)
    table = folder / "all.csv"
    assert batch.run("--table", str(table)).code == 0
    single = [(folder / "out" / f"{name}_measurements.csv").read_text().splitlines() for name in NAMES]
    assert table.read_text().splitlines() == [single[0][0], *(line for each in single for line in each[1:])]
    again = batch.run("--table", str(table), output="other")
    assert again.code == 1
    assert "all.csv exists" in again.err
    assert not batch.computed
    clash = batch.run("--table", str(folder / "other" / "a_measurements.csv"), output="other")
    assert "give --table another name" in clash.err
    spelled = batch.run(
        "--table", str(folder / "other" / ".." / "other" / "a_measurements.csv"), output="other"
    )
    assert "give --table another name" in spelled.err


def test_a_table_that_lacked_an_image_is_made_anew_by_resume(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    batch, table, good = (
        Batch(folder, monkeypatch, capsys),
        folder / "all.csv",
        (folder / "b.tif").read_bytes(),
    )
    (folder / "b.tif").write_bytes(b"no image")
    assert batch.run("--table", str(table)).code == 1
    before = table.read_text()
    (folder / "b.tif").write_bytes(good)
    assert batch.run("--table", str(table), "--resume").code == 0
    assert set(batch.computed) == {"b"}
    assert "b.tif" in table.read_text()
    assert "b.tif" not in before


def test_a_batch_interrupted_twice_in_one_image_goes_on(tmp_path: Path) -> None:
    key, labels, maps = {"model": "m"}, tmp_path / "a.tif", tmp_path / "a_maps.tif"
    for written in ((labels, maps), (labels,)):
        with Finished(tmp_path, resume=True).writing(key, {}):
            for path in written:
                with complete_or_absent(path, overwrite=True) as partial:
                    partial.write_text(path.name)
    assert Finished(tmp_path, resume=True).owns([labels, maps])
    other = Finished(tmp_path, resume=True).writing({"model": "other"}, {})
    with other, complete_or_absent(labels, overwrite=True) as partial:
        partial.write_text("by another model")
    assert not Finished(tmp_path, resume=True).owns([labels, maps])


def test_tables_of_images_with_other_channels_are_joined_column_by_column(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("image,label,mean 1,unit\na.tif,1,0.10,pixel\n")
    (tmp_path / "b.csv").write_text("image,label,mean 1,mean 2,unit\nNA,1,7,2.50,pixel\n")
    (tmp_path / "none.csv").write_text("image,label,mean 1,unit\n")
    names = [tmp_path / f"{name}.csv" for name in ("a", "none", "b")]
    assert join_tables(names, tmp_path / "all.csv") == 2
    assert (tmp_path / "all.csv").read_text().splitlines() == [
        "image,label,mean 1,mean 2,unit",
        "a.tif,1,0.10,,pixel",
        "NA,1,7,2.50,pixel",
    ]
    with pytest.raises(ExportError, match="cannot be read"):
        join_tables([tmp_path / "absent.csv"], tmp_path / "more.csv")
