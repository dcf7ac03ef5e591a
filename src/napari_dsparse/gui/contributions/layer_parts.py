"""Parts of the functions of layers: reading layers, naming files, and layers to give back."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from napari.layers import Labels
from napari.types import LayerDataTuple
from numpy.typing import NDArray

from napari_dsparse.classifier.classes import ClassInfo
from napari_dsparse.errors import ExportError
from napari_dsparse.files.atomic import check_target
from napari_dsparse.gui.layers.class_look import CLASS_COLUMN, classes_of, more_classes
from napari_dsparse.gui.layers.image_frame import ImageFrame, data_of
from napari_dsparse.gui.layers.marks import METADATA_KEY
from napari_dsparse.images.painted import SparseLabels, largest_label

#: The role of layers made here: the dock takes them neither for images nor for strokes, nor for its own.
ROLE = "result"


def snapshot(layer: Labels) -> Any:
    """The layer's labels as they are now; what is not in memory is read later."""
    data = data_of(layer)
    return data.copy() if isinstance(data, np.ndarray | SparseLabels) else data


def painted_classes(strokes: Labels, labels: Any) -> Sequence[ClassInfo]:
    """Every class that is named or painted."""
    known = classes_of(strokes)
    return more_classes(strokes, known, max(len(known), largest_label(labels)))


def class_names(layer: Labels) -> list[str]:
    """Names of classes 1, 2, ...; none where the layer does not name them."""
    return [info.name for info in classes_of(layer)] if CLASS_COLUMN in layer.features else []


def named(path: Path, what: str) -> Path:
    """`path`, refused where the field was left empty."""
    if not Path(path).name:
        raise ExportError(f"No file is named for {what}; choose one.")
    return Path(path)


def new_file(path: Path, what: str, suffix: str) -> Path:
    """`path` with a suffix; refused before any work is done if there is such a file, or no such folder."""
    chosen = named(path, what)
    file = chosen if chosen.suffix else chosen.with_name(chosen.name + suffix)
    if os.path.lexists(file):
        raise ExportError(f"{str(file)!r} exists already and is left as it is; choose another name.")
    check_target(file)
    return file


def labels_layer(frame: ImageFrame, labels: NDArray[Any], words: str, look: dict[str, Any]) -> LayerDataTuple:
    attributes = {"name": f"{frame.source.name} {words}", **ours(), **frame.placement, **look}
    return LayerDataTuple((labels.reshape(frame.layer_shape), attributes, "labels"))


def map_layer(
    frame: ImageFrame, values: NDArray[np.float32], words: str, look: Mapping[str, Any]
) -> LayerDataTuple:
    attributes = {"name": f"{frame.source.name} {words}", **look, **ours(), **frame.placement}
    return LayerDataTuple((values.reshape(frame.layer_shape), attributes, "image"))


def ours() -> dict[str, Any]:
    return {"metadata": {METADATA_KEY: {"role": ROLE}}}
