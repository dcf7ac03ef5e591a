"""The open data sets that quality is measured on, and the programs beside them."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

DATA = Path(os.environ.get("DSPARSE_DATA", Path(__file__).parents[2] / "shared" / "data"))
#: Message of a program without the data.
ABSENT = "Not measured: the open data sets are not here; see `DSPARSE_DATA`."

#: An image (Y, X) or (Y, X, C), and its classes (Y, X), 0 where unknown.
Sample = tuple[NDArray[Any], NDArray[np.uint8]]


def set_names() -> list[str]:
    """All sets of the open data."""
    return sorted(path.parent.name for path in DATA.glob("*/meta.json"))


def load_program(name: str) -> ModuleType:
    """A program from the folder of the data, as a module."""
    sys.path.insert(0, str(DATA))
    spec = importlib.util.spec_from_file_location(name, DATA / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def samples(names: Sequence[str], images: int, edge: int | None = None) -> Iterator[tuple[str, int, Sample]]:
    """The first `images` 2-D images of every set, with the set's name and their number.

    With `edge`, at most that many rows and columns from the middle.
    """
    load = load_program("rf_baseline").load
    for name in names:
        for number in range(images):
            loaded = load(str(DATA / name), number)
            if loaded is not None and loaded[1].ndim == 2:
                image, truth = loaded
                window = _middle(truth.shape, edge)
                yield name, number, (image[window], truth[window])


def _middle(shape: tuple[int, int], edge: int | None) -> tuple[slice, slice]:
    rows, columns = (
        slice(None) if edge is None or extent <= edge else slice((extent - edge) // 2, (extent + edge) // 2)
        for extent in shape
    )
    return rows, columns
