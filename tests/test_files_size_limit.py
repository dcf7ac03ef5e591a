"""A limit on the size of files (`ulimit -f`) is said as the reason, and nothing half is left."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="limits of POSIX")

REASON = "limit on the size of files"

BEGIN = """
import resource, sys
import numpy as np
import napari_dsparse as nd
from napari_dsparse.errors import DsparseError
from napari_dsparse.files.export import export_labels
from pathlib import Path

name, most = Path(sys.argv[1]), int(sys.argv[2])
random = np.random.default_rng(0)
image = random.normal(0, 1, (300, 300)).astype(np.float32)
image[:, 150:] += 6
strokes = np.zeros((300, 300), np.uint8)
strokes[5:20, 5:10], strokes[5:20, 250:255] = 1, 2
model = nd.train(image, strokes)
"""

LIMITED = """
resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
try:
    if name.suffix == ".safetensors":
        model.save(name)
    else:
        export_labels(name, random.integers(0, 3, (300, 300)).astype(np.uint8), classes=model.classes)
except DsparseError as error:
    print(error)
"""

PREDICTED = """
model.save(name.with_name("m.safetensors"))
np.save(name.with_name("image.npy"), image)
resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
from napari_dsparse.cli import main
folder = str(name.parent)
words = ["predict", "-m", f"{folder}/m.safetensors", "-o", str(name), "--probabilities"]
sys.exit(main([*words, f"{folder}/image.npy"]))
"""


def run(script: str, name: Path, most: int) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-c", BEGIN + script, str(name), str(most)]
    return subprocess.run(words, capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.parametrize("most", [0, 3000])
@pytest.mark.parametrize("name", ["l.ome.tif", "l.ome.zarr", "l.png", "l.geojson", "m.safetensors"])
def test_an_export_beyond_the_limit_is_one_sentence(tmp_path: Path, name: str, most: int) -> None:
    ran = run(LIMITED, tmp_path / name, most)
    assert ran.returncode == 0, ran.stderr
    assert len(ran.stdout.splitlines()) == 1
    assert REASON in ran.stdout
    assert name in ran.stdout
    assert list(tmp_path.iterdir()) == []


BEGUN_BEFORE = """
from napari_dsparse.files.parts import Parts
arrays = {"labels": ((4, 1000), "u1")}
with_parts = Parts(name, {"image": "a"}, arrays, resume=True)
with_parts.put(0, (slice(0, 2), slice(0, 1000)), {"labels": np.ones((2, 1000), np.uint8)})
with_parts.close(keep=True)
resource.setrlimit(resource.RLIMIT_FSIZE, (most, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
try:
    Parts(name, {"image": "a"}, arrays, resume=True)
except DsparseError as error:
    print(error)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
again = Parts(name, {"image": "a"}, arrays, resume=True)
print(again.missing([(slice(0, 2), slice(0, 1000)), (slice(2, 4), slice(0, 1000))]))
again.close(keep=False)
"""


def test_parts_of_a_former_run_outlast_the_limit(tmp_path: Path) -> None:
    ran = run(BEGUN_BEFORE, tmp_path / "l.ome.tif", 0)
    assert ran.returncode == 0, ran.stderr
    said, missing = ran.stdout.splitlines()
    assert REASON in said
    assert missing == "[1]"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("most", [0, 3000, 100_000, 400_000])
def test_a_prediction_beyond_the_limit_is_one_sentence(tmp_path: Path, most: int) -> None:
    ran = run(PREDICTED, tmp_path / "l.ome.tif", most)
    said = ran.stderr.strip().splitlines()[-1]
    assert ran.returncode == 1, ran.stderr
    assert REASON in said
    assert "l.ome.tif" in said
    assert "Traceback" not in ran.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["image.npy", "m.safetensors"]
