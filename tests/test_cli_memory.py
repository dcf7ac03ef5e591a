"""`predict --memory`: the same bytes under any limit, and never more than the limit."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from bench.memory import _few_channels, write_image
from tests.classifiers import classifier_for

from napari_dsparse.batch import segmenter
from napari_dsparse.classifier import DEFAULT_NETWORK
from napari_dsparse.classifier import spec as specs
from napari_dsparse.cli import main
from napari_dsparse.files.model import save_classifier
from napari_dsparse.machine.memory import MemoryNeeds
from napari_dsparse.prediction import Predictor

pytestmark = pytest.mark.alone

ROOT = Path(__file__).parents[1]

#: Prints the peak of resident bytes, and ends with the command's code.
MEASURED = """
import sys
import torch
from bench.memory import few_channels_classifier, most_resident
from bench.scale import _balanced
from napari_dsparse.cli import main
from napari_dsparse.files.model import save_classifier

torch.set_num_threads(1)
image, model, output, limit = sys.argv[1:]
save_classifier(_balanced(few_channels_classifier(), image), model)
code = main(["predict", "-m", model, "-o", output, image, "--memory", limit])
print(most_resident())
raise SystemExit(code)
"""


RESIDENT = 300 << 20


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An image of four tiles in compressed parts, and a model of the default network's patch."""
    monkeypatch.setattr(specs, "_trunk", _few_channels)
    monkeypatch.setattr(specs, "FEATURES", 4)
    monkeypatch.setattr(segmenter, "resident_memory", lambda: RESIDENT)
    pixels = np.random.default_rng(0).normal(10, 3, (670, 700)).clip(0, 255).astype(np.uint8)
    tifffile.imwrite(tmp_path / "image.tif", pixels, tile=(64, 64), compression="zlib")
    save_classifier(classifier_for(network=DEFAULT_NETWORK), tmp_path / "model.safetensors")
    return tmp_path


def predicted(folder: Path, name: str, limit: int) -> int:
    line = ["predict", "-m", str(folder / "model.safetensors"), "-o", str(folder / name), "--overwrite"]
    return main([*line, str(folder / "image.tif"), "--memory", str(limit)])


def content(path: Path) -> dict[str, bytes]:
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    return {file.relative_to(path).as_posix(): file.read_bytes() for file in files if file.is_file()}


@pytest.mark.parametrize("suffix", [".ome.tif", ".ome.zarr", ".png"])
def test_any_limit_gives_the_same_bytes(folder: Path, suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if suffix == ".ome.zarr":
        pytest.importorskip("zarr")
    computed = []
    features = Predictor._features

    def counting(self: Predictor, source, form, block):
        computed.append(block)
        return features(self, source, form, block)

    monkeypatch.setattr(Predictor, "_features", counting)
    plane = 2 * 64 * 64 + (2 * 670 * 700 if suffix == ".png" else 0)
    least = RESIDENT + MemoryNeeds(1, 3, 1, plane).at_work
    found, blocks = [], []
    for limit in (least, least + (6 << 20), 4 << 30):
        assert predicted(folder, f"labels{suffix}", limit) == 0
        found.append(content(folder / f"labels{suffix}"))
        blocks.append(len(computed))
        computed.clear()
    assert found[0] == found[1] == found[2]
    if suffix == ".ome.tif":
        assert len(np.unique(tifffile.imread(folder / "labels.ome.tif"))) > 1
    assert blocks[0] > blocks[2], "less is kept under a lower limit"


def test_a_limit_that_is_too_low_is_refused_with_the_one_that_works(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert predicted(folder, "labels.png", 400 << 20) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "a limit of 0.419GB is less than it needs with this model, 0.6" in said
    assert not (folder / "labels.png").exists()


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (["--memory", "lots"], "'lots' is no size; give a number and a unit, such as 800MB, 2GB or 1.5GiB"),
        (["--memory", "2GB", "--scheduler", "local"], "drop one of them"),
    ],
)
def test_limits_that_mean_nothing_are_refused(
    more: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["predict", "-m", "m.safetensors", "-o", "out", "image.tif", *more])
    assert sentence in capsys.readouterr().err


@pytest.mark.skipif(sys.platform == "win32", reason="peaks are read otherwise there")
def test_peak_memory_stays_within_the_limit(tmp_path: Path) -> None:
    image = write_image(tmp_path, 1300)
    given = [str(image), str(tmp_path / "m.safetensors"), str(tmp_path / "labels.ome.tif"), "720MB"]
    ran = subprocess.run(
        [sys.executable, "-c", MEASURED, *given], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    assert int(ran.stdout.splitlines()[-1]) <= 720 * 10**6
