"""From a result on an image's pixels to a job for the files room: scale, units and axes included."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy.typing as npt

from napari_dsparse.gui.image_frame import ImageFrame
from napari_dsparse.gui.messages import ExportJob
from napari_dsparse.network.trained import ClassInfo

#: The formats that the window offers; the first is the default.
EXPORT_FILTERS = "OME-TIFF (*.ome.tif *.ome.tiff *.tif *.tiff);;PNG, indexed colours (*.png)"
DEFAULT_SUFFIX = ".ome.tif"
MODEL_FILTER = "Model (*.safetensors)"
MODEL_SUFFIX = ".safetensors"


def export_job(
    path: Path, labels: npt.NDArray[Any], classes: Sequence[ClassInfo], frame: ImageFrame, overwrite: bool
) -> ExportJob:
    """What the predictor's thread needs to write `labels`."""
    axes = frame.spatial_axes
    placement = frame.placement
    return ExportJob(
        path=path,
        labels=labels,
        classes=tuple(classes),
        scale=tuple(float(placement["scale"][axis]) for axis in axes),
        units=tuple(str(placement["units"][axis]) for axis in axes),
        axes=axis_letters([str(placement["axis_labels"][axis]) for axis in axes]),
        overwrite=overwrite,
    )


def axis_letters(labels: Sequence[str]) -> str | None:
    """Axis labels as the letters files use ("time", "y" and "x" are TYX); None where they do not say."""
    letters = "".join(label[:1] for label in labels).upper()
    said = letters.endswith("YX") and set(letters[:-2]) <= set("TZ") and len(set(letters)) == len(letters)
    return letters if said else None
