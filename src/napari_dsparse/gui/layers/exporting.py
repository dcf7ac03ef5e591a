"""Results on an image's pixels prepared for a file: scale, units and axes included."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy.typing as npt

from napari_dsparse.batch.inputs import InputImage
from napari_dsparse.gui.layers.image_frame import ImageFrame
from napari_dsparse.live.events import LabelsRead

_TIFF_FILTER = "OME-TIFF (*.ome.tif *.ome.tiff *.tif *.tiff)"
#: Labels that can be read back; a Zarr store is a folder, named by a file in it.
LABELS_FILTER = "Exported labels (*.tif *.tiff *.png zarr.json)"
_ZARR_FILTER = "OME-Zarr (*.ome.zarr *.zarr)"
_OTHER_FILTERS = (
    "PNG, indexed colours (*.png)",
    "GeoJSON for QuPath (*.geojson)",
    "ImageJ ROIs (*.roi.zip *.zip)",
    "COCO (*.coco.json *.json)",
)
DEFAULT_SUFFIX = ".ome.tif"
MODEL_FILTER = "Model (*.safetensors)"
MODEL_SUFFIX = ".safetensors"


def export_filters() -> str:
    """The formats that can be written here, as Qt's name filters; the first is the default."""
    zarr = [_ZARR_FILTER] if find_spec("zarr") is not None else []
    return ";;".join([_TIFF_FILTER, *zarr, *_OTHER_FILTERS])


def map_filters() -> str:
    """The formats of probabilities and uncertainty that can be written here, as Qt's name filters."""
    return ";;".join([_TIFF_FILTER, *([_ZARR_FILTER] if find_spec("zarr") is not None else [])])


def labels_to_export(
    path: Path, overwrite: bool, labels: npt.NDArray[Any] | None, frame: ImageFrame
) -> LabelsRead:
    """A copy of `labels`, as the engine shapes them, and where they lie; None stays None."""
    image = image_of(frame)
    return LabelsRead(
        path=path,
        overwrite=overwrite,
        labels=None if labels is None else labels.copy(),
        scale=image.scale,
        units=image.units,
        image_name=frame.source.name,
        axes=image.axes,
    )


def image_of(frame: ImageFrame) -> InputImage:
    """An open image as batches take it: its pixels, and their size as its layer says."""
    axes, placement = frame.spatial_axes, frame.placement
    return InputImage(
        path=Path(file_name(frame.source.name)),
        source=frame.source,
        scale=tuple(float(placement["scale"][axis]) for axis in axes),
        units=tuple(str(placement["units"][axis]) for axis in axes),
        axes=axis_letters([str(placement["axis_labels"][axis]) for axis in axes]),
        in_file=False,
    )


def file_name(layer_name: str) -> str:
    """A layer's name without the characters that lead to other folders."""
    return layer_name.replace("/", "-").replace("\\", "-").strip() or "image"


def axis_letters(labels: Sequence[str]) -> str | None:
    """Axis labels as the letters files use ("time", "y" and "x" are TYX); None where they do not say."""
    letters = "".join(label[:1] for label in labels).upper()
    said = letters.endswith("YX") and set(letters[:-2]) <= set("TZ") and len(set(letters)) == len(letters)
    return letters if said else None
