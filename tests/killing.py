"""Command lines killed at random moments, over and over: no name ever holds half a result.

`python -m tests.killing --kills 300` runs hundreds of kills on every job, and says what it found.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import numpy as np
import tifffile

#: Command lines by name: "{out}" is where results go, "{in}" has image, strokes and model.
JOBS = {
    "ome-tiff": "predict -m {in}/model.safetensors -o {out}/labels.ome.tif {in}/image.tif --probabilities",
    "ome-zarr": "predict -m {in}/model.safetensors -o {out}/labels.ome.zarr {in}/image.tif --uncertainty",
    "png": "predict -m {in}/model.safetensors -o {out}/labels.png {in}/image.tif",
    "train": "train -i {in}/image.tif -l {in}/strokes.tif -o {out}/model.safetensors --steps 2",
}


def prepare(folder: Path, edge: int) -> None:
    """An image, strokes and a model."""
    from napari_dsparse.cli import main

    rng = np.random.default_rng(0)
    image = rng.normal(100, 10, (edge, edge))
    image[:, edge // 2 :] += 60
    strokes = np.zeros((edge, edge), np.uint8)
    strokes[10:20, 10:14], strokes[10:20, -14:-10] = 1, 2
    tifffile.imwrite(folder / "image.tif", image.astype(np.uint8))
    tifffile.imwrite(folder / "strokes.tif", strokes)
    inputs = ["-i", str(folder / "image.tif"), "-l", str(folder / "strokes.tif")]
    assert main(["train", *inputs, "-o", str(folder / "model.safetensors")]) == 0


def content(folder: Path) -> dict[str, bytes]:
    """Every file below a folder that is not hidden; of models, what does not tell the time."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and not name.startswith("."):
            found[name] = path.read_bytes() if path.suffix != ".safetensors" else _weights(path)
    return found


def _weights(path: Path) -> bytes:
    from napari_dsparse.files.model import read_classifier

    return b"".join(weight.numpy().tobytes() for weight in read_classifier(path).weights.values())


def start(line: str) -> int:
    """Run a command line in a child process; its number."""
    child = os.fork()
    if child:
        return child
    from napari_dsparse.cli import main

    code = 70
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as said:
            code = main(line.split())
        if code:
            os.write(2, said.getvalue().encode())
    finally:
        os._exit(code)


def finish(line: str) -> float:
    """Run a command line to its end; the seconds it took."""
    started = time.monotonic()
    _, status = os.waitpid(start(line), 0)
    assert status == 0, f"{line}: {status}"
    return time.monotonic() - started


def kill_over_and_over(job: str, folder: Path, kills: int, seed: int) -> dict[str, object]:
    """Kill a job at random moments, each time going on from the last; then let it end.

    Raises
    ------
    AssertionError
        If a name held anything but the whole result, or something is left at the end.
    """
    draw = random.Random(seed)
    whole, out = folder / f"{job}-whole", folder / f"{job}-killed"
    whole.mkdir()
    out.mkdir()
    line = JOBS[job].replace("{in}", str(folder)).replace("{out}", "OUT")
    resume = " --resume" if line.startswith("predict") else ""
    seconds = finish(line.replace("OUT", str(whole)))
    expected = content(whole)
    killed = done = 0
    for _ in range(kills):
        child = start(line.replace("OUT", str(out)) + " --overwrite" + resume * draw.choice((0, 1, 1, 1)))
        time.sleep(draw.uniform(0, 1.2 * seconds))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        killed += os.WIFSIGNALED(status)
        found = content(out)
        tops = {name.split("/")[0] for name in found}
        for name in tops:
            mine = {key: value for key, value in found.items() if key.split("/")[0] == name}
            assert mine == {k: v for k, v in expected.items() if k.split("/")[0] == name}, name
        done += len(tops) > 0
    finish(line.replace("OUT", str(out)) + " --overwrite" + resume)
    assert content(out) == expected
    left = [path.name for path in out.iterdir() if path.name.startswith(".")]
    assert not left, left
    return {"job": job, "killed": killed, "with results already": done, "seconds of a whole run": seconds}


def run() -> None:
    """Prepare and kill, as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100, help="of every job")
    parser.add_argument("--job", choices=JOBS, action="append", help="default: all")
    parser.add_argument("--edge", type=int, default=400, help="rows and columns of the image")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("folder", type=Path, help="an empty folder to work in")
    given = parser.parse_args()
    child = os.fork()  # the model is made apart: a process that has computed cannot be forked safely
    if not child:
        code = 1
        try:
            prepare(given.folder, given.edge)
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    import napari_dsparse.cli.predict
    import napari_dsparse.cli.train  # noqa: F401, loaded once for all children

    found = [kill_over_and_over(job, given.folder, given.kills, given.seed) for job in given.job or JOBS]
    json.dump(found, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    run()
