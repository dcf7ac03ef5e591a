"""Files are data: nothing in them is executed, and nothing goes to the network unasked."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "napari_dsparse"
MODULES = sorted(PACKAGE.rglob("*.py"))

#: Modules that read objects with code in them, or talk to the network.
FORBIDDEN_MODULES = {
    *("pickle", "cloudpickle", "dill", "marshal", "shelve", "joblib", "jsonpickle"),
    *("urllib", "http", "requests", "socket", "ftplib", "smtplib", "aiohttp", "webbrowser"),
}
#: Functions that run what they are given, and readers that need to be told not to.
FORBIDDEN_CALLS = {
    "eval",
    "exec",
    "compile",
    "__import__",
    "os.system",
    "torch.load",
    "yaml.load",
    "np.memmap",
}

#: The main job without a window, watched by Python's audit hooks.
MAIN_JOB = """
import sys
from pathlib import Path

import numpy as np

seen = []

def watch(event, arguments):
    if event in ("pickle.find_class", "socket.connect", "socket.getaddrinfo", "urllib.Request", "os.system"):
        seen.append((event, str(arguments)[:200]))

import napari_dsparse as nd
from napari_dsparse.cli import main

sys.addaudithook(watch)
folder = Path(sys.argv[1])
image = np.random.default_rng(0).normal(0, 1, (90, 120)).astype(np.float32)
image[:, 60:] += 6
strokes = np.zeros((90, 120), np.uint8)
strokes[5:20, 5:10], strokes[5:20, 100:105] = 1, 2
np.save(folder / "image.npy", image)
np.save(folder / "strokes.npy", strokes)
inputs = ["-i", str(folder / "image.npy"), "-l", str(folder / "strokes.npy")]
model = str(folder / "model.safetensors")
assert main(["train", *inputs, "-o", model, "--steps", "2"]) == 0
for name in sys.argv[2:]:
    line = ["predict", "-m", model, "-o", str(folder / name), str(folder / "image.npy"), "--uncertainty"]
    assert main([*line, "--overwrite"]) == 0
    if not name.endswith("png"):
        assert main(["predict", "-m", model, "-o", str(folder / "again.png"), str(folder / name)]) == 0
        (folder / "again.png").unlink()
nd.measure(nd.load_model(model).objects(image), image)
print(seen)
"""


def called(node: ast.Call) -> str:
    """Name of what is called, with its module where that is written; methods by "." alone."""
    function = node.func
    if isinstance(function, ast.Name):
        return function.id
    if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name):
        return f"{function.value.id}.{function.attr}"
    return "."


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_module_runs_what_it_reads(module: Path) -> None:
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = {alias.name.split(".")[0] for alias in node.names}
            assert not names & FORBIDDEN_MODULES, f"line {node.lineno}"
        elif isinstance(node, ast.ImportFrom):
            assert (node.module or "").split(".")[0] not in FORBIDDEN_MODULES, f"line {node.lineno}"
        elif isinstance(node, ast.Call):
            assert called(node) not in FORBIDDEN_CALLS, f"line {node.lineno}: {called(node)}"
            given = {word.arg: word.value for word in node.keywords}
            if called(node) == "np.load":
                allowed = given.get("allow_pickle")
                assert isinstance(allowed, ast.Constant), f"line {node.lineno}"
                assert allowed.value is False, f"line {node.lineno}"
            assert "shell" not in given, f"line {node.lineno}"


def test_the_main_job_unpickles_nothing_and_connects_to_nothing(tmp_path: Path) -> None:
    names = ["l.ome.tif", "l.png", *(["l.ome.zarr"] if find_spec("zarr") else [])]
    ran = subprocess.run(
        [sys.executable, "-c", MAIN_JOB, str(tmp_path), *names],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    assert ran.stdout.splitlines()[-1] == "[]"
