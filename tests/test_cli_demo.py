"""The demo does the whole job and says how close it came; the doctor says what is missing and why."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_dsparse import load_model, samples
from napari_dsparse.classifier import default_classes
from napari_dsparse.cli import demo, display, doctor, main
from napari_dsparse.cli.overlay import draw_overlay
from napari_dsparse.cli.report import Report
from napari_dsparse.errors import DsparseError


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Output of the demo on the sample with a pixel size, after very little learning."""
    folder = tmp_path_factory.mktemp("demo") / "new" / "folder"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demo, "train_classifier", briefly)
        assert main(["demo", "--headless", "--sample", "phase", "--output", str(folder)]) == 0
    return folder


def briefly(*arguments: object, **options: object) -> object:
    from napari_dsparse.training import train_classifier

    return train_classifier(*arguments, steps=3, **options)  # type: ignore[arg-type]


def test_demo_writes_model_labels_overlay_and_summary(folder: Path) -> None:
    sample = samples.load("phase")
    labels = tifffile.imread(folder / "phase_segmentation.ome.tif")
    assert labels.shape == sample.truth.shape
    assert set(np.unique(labels)) <= {1, 2}
    np.testing.assert_array_equal(
        load_model(folder / "phase_model.safetensors").predict(sample.image), labels
    )
    with Image.open(folder / "phase_overlay.png") as overlay:
        assert overlay.size == sample.truth.shape[::-1]
    assert len(list(folder.iterdir())) == 4


def test_summary_says_what_was_done_and_how_well(folder: Path) -> None:
    summary = json.loads((folder / "phase_summary.json").read_text(encoding="utf-8"))
    assert summary["sample"] == "phase"
    assert 0 < summary["mean_iou"] < 1
    assert set(summary["class_iou"]) == {"background", "cell"}
    assert summary["strokes"] == 5
    assert summary["steps"] == 3
    assert summary["seconds"] > summary["train_seconds"] > 0
    assert "torch" in summary["versions"]
    assert "MIT" in summary["attribution"]
    assert {Path(name).parent for name in summary["outputs"]} == {folder}


def test_pixel_size_of_the_sample_is_in_the_labels(folder: Path) -> None:
    with tifffile.TiffFile(folder / "phase_segmentation.ome.tif") as file:
        assert file.ome_metadata is not None
        pixels = tifffile.xml2dict(file.ome_metadata)["OME"]["Image"]["Pixels"]
    assert pixels["PhysicalSizeX"] == pytest.approx(0.8667)


def test_demo_refuses_to_overwrite_before_it_learns(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def never(*arguments: object, **options: object) -> object:
        raise AssertionError

    monkeypatch.setattr(demo, "train_classifier", never)
    assert main(["demo", "--headless", "--sample", "phase", "--output", str(folder)]) == 1
    assert "--overwrite" in capsys.readouterr().err


@pytest.mark.slow
def test_demo_segments_the_nuclei_from_a_few_strokes(tmp_path: Path) -> None:
    assert main(["demo", "--headless", "--output", str(tmp_path)]) == 0
    summary = json.loads((tmp_path / "nuclei_summary.json").read_text(encoding="utf-8"))
    assert summary["mean_iou"] > 0.85


def test_overlay_shows_image_classes_and_strokes() -> None:
    image = np.tile(np.arange(8.0), (6, 1))
    labels = np.ones((6, 8), np.uint8)
    labels[:, 4:] = 2
    strokes = np.zeros_like(labels)
    strokes[0, 0], strokes[0, 7] = 1, 2
    classes = default_classes(2)
    picture = draw_overlay(image, labels, strokes, classes)
    one, two = (tuple(bytes.fromhex(info.color[1:])) for info in classes)
    assert picture.shape == (6, 8, 3)
    assert tuple(picture[0, 0]) == one
    assert tuple(picture[0, 7]) == two
    assert tuple(picture[3, 4]) == two  # the border belongs to class 2
    assert tuple(picture[3, 3]) != one
    assert picture[3, 1].sum() < picture[3, 3].sum()  # the image shows through


def test_overlay_of_a_flat_image_is_no_division_by_zero() -> None:
    flat = np.full((4, 4), 7, np.uint16)
    picture = draw_overlay(flat, np.ones((4, 4), np.uint8), np.zeros((4, 4), np.uint8), default_classes(2))
    assert np.isfinite(picture).all()


def test_doctor_tells_what_is_here(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert "cpu" in facts["devices"]
    assert facts["packages"]["numpy"] == np.__version__
    assert facts["largest_disagreement"] < 1e-9
    assert facts["plugin"] is True
    assert facts["window"] is True or facts["window_reason"]
    for name in {"cuda", "mps"} - {device.partition(":")[0] for device in facts["devices"]}:
        assert facts["missing_devices"][name]


def test_doctor_tells_in_what_form_each_layer_predicts(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert main(["doctor", "--plan"]) == 0
    told = capsys.readouterr().out
    assert "Conv2d 3 x 3, 4 x 4 apart, 32 -> 64, relu along: " in told
    assert "in bfloat16" in told
    assert "nothing was measured" in told
    monkeypatch.setenv("DSPARSE_PLAN", "auto")
    monkeypatch.setenv("DSPARSE_KERNEL_CACHE", str(tmp_path))
    assert main(["doctor", "--plan", "--json"]) == 0
    told = capsys.readouterr().out
    assert str(tmp_path) in told
    plan = json.loads(told.splitlines()[-1])["plan"]["float32"]
    far = next(layer for layer in plan if "4 x 4 apart" in layer["layer"])
    assert {"taps", "fragments", "products"} <= set(far["seconds"])


def test_doctor_fails_where_the_executions_disagree(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "largest_disagreement", lambda: float("nan"))
    with pytest.raises(DsparseError, match="differ by nan"):
        doctor._executions(Report("doctor"))


def test_missing_extra_is_said_with_the_command_that_brings_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(doctor, "_version", lambda name: None)
    doctor._versions(Report("doctor"))
    assert 'not installed: zarr (pip install "napari-dsparse[zarr]")' in capsys.readouterr().out


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems always have a screen")
def test_no_window_without_a_screen_and_the_reason_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"):
        monkeypatch.delenv(name, raising=False)
    assert "no screen" in (display.why_no_window() or "")


def test_offscreen_qt_is_no_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setenv("QT_QPA_PLATFORM", "offscreen")
    assert not display.has_screen()


def test_a_broken_qt_is_told_not_crashed_into(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(display, "_PROBE", "raise ImportError('libEGL.so.1: cannot open shared object file')")
    probe = display.probe_qt()
    assert not probe.works
    assert "libEGL.so.1" in probe.words
