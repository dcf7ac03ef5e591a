"""Small real images with ready strokes: for the demo, the tutorial and the tests."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.resources import as_file, files
from importlib.resources.abc import Traversable
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from napari_dsparse.classifier.classes import ClassInfo
from napari_dsparse.errors import DsparseError

#: Names that `load` takes; the README beside this file describes each.
SAMPLES: tuple[str, ...] = ("nuclei", "tissue", "phase")


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """An image with first strokes as a user would paint them, and the truth to score against.

    Parameters
    ----------
    name : str
    image : ndarray, shape (Y, X) or (Y, X, 3)
        Pixel values as the source gives them, uint8 or uint16.
    strokes : ndarray of uint8, shape (Y, X)
        0 = not painted, 1..K = classes.
    truth : ndarray of uint8, shape (Y, X)
        The manual annotation, 1..K; for scores only.
    classes : tuple of ClassInfo
        Class number i + 1 is entry i.
    scale : tuple of float
        Pixel size, by row and column.
    units : tuple of str
        Unit of each scale; ``"pixel"`` where the source does not say.
    attribution : str
        Source, authors and licence, one a line.
    """

    name: str
    image: npt.NDArray[Any]
    strokes: npt.NDArray[np.uint8]
    truth: npt.NDArray[np.uint8]
    classes: tuple[ClassInfo, ...]
    scale: tuple[float, ...]
    units: tuple[str, ...]
    attribution: str


def load(name: str) -> Sample:
    """Read the sample called `name`.

    Raises
    ------
    DsparseError
        If there is no sample of that name.
    """
    if name not in SAMPLES:
        raise DsparseError(f"There is no sample {name!r}; choose one of {', '.join(SAMPLES)}.")
    folder = files(__name__) / name
    about = json.loads((folder / "sample.json").read_text(encoding="utf-8"))
    return Sample(
        name=name,
        image=_read_pixels(folder / "image.png"),
        strokes=_read_pixels(folder / "strokes.png"),
        truth=_read_pixels(folder / "truth.png"),
        classes=tuple(ClassInfo(entry["name"], entry["color"]) for entry in about["classes"]),
        scale=tuple(float(step) for step in about["scale"]),
        units=tuple(about["units"]),
        attribution="\n".join(f"{key}: {value}" for key, value in about["attribution"].items()),
    )


def _read_pixels(file: Traversable) -> npt.NDArray[Any]:
    """The stored values: an indexed PNG gives its indices, not its colours."""
    with as_file(file) as path, Image.open(path) as picture:
        return np.array(picture)
