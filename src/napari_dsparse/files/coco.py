"""COCO's JSON: a mask with its box, area and category for every region of one image."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dsparse.classifier.classes import ClassInfo
from napari_dsparse.errors import ExportError
from napari_dsparse.files.ome_xml import printable
from napari_dsparse.files.regions import LabelledImage, Plane


def write_label_coco(path: Path, image: LabelledImage) -> None:
    """Write one annotation per region, with its mask as run lengths, which are exact.

    Category ids are the numbers of classes; 0 is a category, "object", only where classes are not known.
    No region is a crowd: ``iscrowd`` marks one that stands for several things and is not counted.

    Parameters
    ----------
    path : Path
        Its stem names the image if `image` does not.
    image : LabelledImage

    Raises
    ------
    ExportError
        If there is more than one plane.
    """
    check_label_coco(image.labels.shape)
    rows, columns = image.labels.shape
    (plane,) = image.planes()
    known = dict(enumerate(image.classes, start=1))
    if image.classes:
        known |= {n: image.class_info(n) for n in {region.class_number for region in plane.regions} if n}
    if any(region.info is None for region in plane.regions):
        known[0] = ClassInfo("object", "#ffffff")
    head = {
        "images": [
            {"id": 1, "file_name": image.image_name or path.stem, "width": columns, "height": rows},
        ],
        "categories": [
            {"id": number, "name": printable(info.name), "color": list(info.rgb)}
            for number, info in sorted(known.items())
        ],
    }
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.write(json.dumps(head)[:-1] + ', "annotations": [')
        for number, annotation in enumerate(_annotations(plane), start=1):
            file.write(",\n" if number > 1 else "\n")
            file.write(json.dumps({"id": number, "image_id": 1, **annotation}))
        file.write("\n]}\n")


def check_label_coco(shape: Sequence[int]) -> None:
    """Refuse stacks: COCO knows images of one plane.

    Raises
    ------
    ExportError
        If there is more than one plane.
    """
    if len(shape) != 2:
        raise ExportError(
            f"Labels of shape {tuple(shape)} are a stack and COCO holds one plane; "
            "choose GeoJSON, ImageJ ROIs, OME-TIFF or OME-Zarr."
        )


def _annotations(plane: Plane) -> Iterator[dict[str, Any]]:
    rows, columns = plane.numbers.shape
    numbers, starts, lengths = _column_runs(plane.numbers)
    order = np.argsort(numbers, kind="stable")
    numbers, starts, lengths = numbers[order], starts[order], lengths[order]
    bounds = np.searchsorted(numbers, np.arange(1, len(plane.regions) + 2))
    for region, first, last in zip(plane.regions, bounds[:-1], bounds[1:], strict=True):
        begin, length = starts[first:last], lengths[first:last]
        end = begin + length
        gaps = begin - np.append(0, end[:-1])
        counts = np.stack([gaps, length], axis=1).ravel().tolist()
        rest = rows * columns - int(end[-1])
        left, right = int(begin[0]) // rows, (int(end[-1]) - 1) // rows
        top, bottom = _extent(begin, end, rows)
        yield {
            "category_id": region.class_number,
            "segmentation": {"size": [rows, columns], "counts": [*counts, rest] if rest else counts},
            "area": int(length.sum()),
            "bbox": [left, top, right - left + 1, bottom - top + 1],
            "iscrowd": 0,
        }


def _extent(begin: NDArray[np.int64], end: NDArray[np.int64], rows: int) -> tuple[int, int]:
    """First and last row of runs; one that goes on in the next column touches both edges."""
    if (begin // rows != (end - 1) // rows).any():
        return 0, rows - 1
    return int((begin % rows).min()), int(((end - 1) % rows).max())


def _column_runs(
    numbers: NDArray[np.integer],
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Number, start and length of each run of one region, column after column as COCO counts pixels."""
    flat = numbers.ravel(order="F")
    starts = np.append(0, np.flatnonzero(flat[1:] != flat[:-1]) + 1)
    lengths = np.diff(starts, append=len(flat))
    inside = flat[starts] > 0
    return flat[starts][inside].astype(np.int64), starts[inside], lengths[inside]
