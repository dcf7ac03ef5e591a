"""Regions of interest as ImageJ and Fiji keep them: a ZIP file for the ROI Manager."""

from __future__ import annotations

import zipfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_dsparse.errors import ExportError
from napari_dsparse.files.ome_xml import printable
from napari_dsparse.files.outlines import Polygon, outlines
from napari_dsparse.files.regions import LabelledImage, Plane, Region

if TYPE_CHECKING:
    from roifile import ImagejRoi

#: Rows and columns at most: ImageJ keeps places in 16 bits and reads those above 60,535 as negative.
_LARGEST = 60_000

#: Characters of a class's name at most: with a number and ".roi" behind it, that of a file.
_LONGEST_NAME = 60

#: Of members of the ZIP file, so that equal labels make equal bytes.
_DATE = (1980, 1, 1, 0, 0, 0)

_MOVE_TO, _LINE_TO, _CLOSE = 0.0, 1.0, 4.0


def write_label_rois(path: Path, image: LabelledImage) -> None:
    """Write one ROI per region: a traced outline, or a composite where it has holes or several parts.

    ROIs are called by class and number, drawn in the colour of their class and, in stacks, placed on their
    slice: by ImageJ's position along the one axis of a stack, by slice and frame of a hyperstack.

    Parameters
    ----------
    path : Path
    image : LabelledImage

    Raises
    ------
    ExportError
        If the planes are larger than ImageJ's outlines reach.
    """
    check_label_rois(image.labels.shape)
    taken: Counter[str] = Counter()
    with zipfile.ZipFile(path, "x", zipfile.ZIP_DEFLATED) as archive:
        for plane in image.planes():
            for number, polygons in outlines(plane.numbers):
                region = plane.regions[number - 1]
                name = _member_name(region)
                taken[name] += 1
                roi = _roi(polygons)
                roi.name = name if taken[name] == 1 else f"{name} ({taken[name]})"
                if region.info is not None:
                    roi.stroke_color = bytes((255, *region.info.rgb))
                _place(roi, plane)
                member = zipfile.ZipInfo(f"{roi.name}.roi", _DATE)
                archive.writestr(member, roi.tobytes(), zipfile.ZIP_DEFLATED)


def check_label_rois(shape: Sequence[int]) -> None:
    """Refuse planes that ImageJ's outlines cannot span.

    Raises
    ------
    ExportError
        If there are more rows or columns than that.
    """
    if max(shape[-2:]) > _LARGEST:
        raise ExportError(
            f"Labels of shape {tuple(shape)} are larger than the {_LARGEST} pixels that ImageJ's ROIs span; "
            "choose GeoJSON, OME-TIFF or OME-Zarr."
        )


def _member_name(region: Region) -> str:
    """The region's name as a file's: short, without separators, in characters of 16 bits, as ImageJ has."""
    name = "".join("_" if c in '/\\:*?"<>|' or ord(c) > 0xFFFF else c for c in printable(region.name))
    what, _, number = name.lstrip(". ").rpartition(" ")
    return f"{what[:_LONGEST_NAME]} {number}".lstrip() or "_"


def _roi(polygons: list[Polygon]) -> ImagejRoi:
    from roifile import ROI_TYPE, ImagejRoi

    if len(polygons) == 1 and len(polygons[0]) == 1:
        # Whole numbers are corners of pixels in traced outlines, which hold the pixels within them.
        roi = ImagejRoi.frompoints(polygons[0][0])
        roi.roitype = ROI_TYPE.TRACED
        roi.right, roi.bottom = (int(n) for n in polygons[0][0].max(axis=0))
        return roi
    corners = np.concatenate([polygon[0] for polygon in polygons])
    roi = ImagejRoi(roitype=ROI_TYPE.RECT)
    roi.left, roi.top = (int(n) for n in corners.min(axis=0))
    roi.right, roi.bottom = (int(n) for n in corners.max(axis=0))
    segments: list[NDArray[np.float64]] = []
    for ring in (ring for polygon in polygons for ring in polygon):
        steps = np.column_stack([np.full(len(ring), _LINE_TO), ring])
        steps[0, 0] = _MOVE_TO
        segments += [steps.ravel(), np.array([_CLOSE])]
    roi.multi_coordinates = np.concatenate(segments).astype(np.float32)
    roi.shape_roi_size = len(roi.multi_coordinates)
    return roi


def _place(roi: ImagejRoi, plane: Plane) -> None:
    if len(plane.index) == 1:
        (roi.position,) = (index + 1 for index in plane.index.values())
    elif plane.index:
        roi.c_position, roi.z_position, roi.t_position = 1, plane.index["Z"] + 1, plane.index["T"] + 1
