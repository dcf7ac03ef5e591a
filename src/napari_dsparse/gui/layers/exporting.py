"""Results on an image's pixels prepared for a file: scale, units and axes included."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy.typing as npt

from napari_dsparse.gui.layers.image_frame import ImageFrame
from napari_dsparse.live.events import LabelsRead

#: The formats that the window offers; the first is the default.
EXPORT_FILTERS = "OME-TIFF (*.ome.tif *.ome.tiff *.tif *.tiff);;PNG, indexed colours (*.png)"
DEFAULT_SUFFIX = ".ome.tif"
MODEL_FILTER = "Model (*.safetensors)"
MODEL_SUFFIX = ".safetensors"


def labels_to_export(
    path: Path, overwrite: bool, labels: npt.NDArray[Any] | None, frame: ImageFrame
) -> LabelsRead:
    """A copy of `labels`, as the engine shapes them, and where they lie; None stays None."""
    axes, placement = frame.spatial_axes, frame.placement
    return LabelsRead(
        path=path,
        overwrite=overwrite,
        labels=None if labels is None else labels.copy(),
        scale=tuple(float(placement["scale"][axis]) for axis in axes),
        units=tuple(str(placement["units"][axis]) for axis in axes),
        axes=axis_letters([str(placement["axis_labels"][axis]) for axis in axes]),
    )


def axis_letters(labels: Sequence[str]) -> str | None:
    """Axis labels as the letters files use ("time", "y" and "x" are TYX); None where they do not say."""
    letters = "".join(label[:1] for label in labels).upper()
    said = letters.endswith("YX") and set(letters[:-2]) <= set("TZ") and len(set(letters)) == len(letters)
    return letters if said else None
