"""Indexed-colour PNG: pixel values are labels, and the palette shows them in the colours of their classes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from napari_dsparse.classifier.classes import ClassInfo, default_class
from napari_dsparse.errors import ExportError
from napari_dsparse.files.axes import Axis
from napari_dsparse.files.pixels import Pixels, value_range

_LARGEST_INDEX = 255

#: Pixels per metre that PNG can state.
_LEAST_PER_METRE, _MOST_PER_METRE = 1, 2**31 - 1

_INCH = 0.0254

#: Keyword of the text that holds the names of the classes, as JSON.
CLASSES_KEY = "napari-dsparse"


def write_label_png(path: Path, pixels: Pixels, axes: Sequence[Axis], classes: Sequence[ClassInfo]) -> None:
    """Write one plane of labels as a PNG with a palette, and the classes' names as text; index 0 is black.

    The pixel size, where its unit is known, goes into the file's pixels per metre, in whole numbers as PNG
    has them; of pixels smaller than 0.5 nm or larger than a metre it cannot state it.

    Parameters
    ----------
    path : Path
    pixels : Pixels, shape (Y, X)
    axes : sequence of Axis
        Of rows and columns.
    classes : sequence of ClassInfo
        Class number i + 1 is entry i; a label beyond them has its default colour.

    Raises
    ------
    ExportError
        If there is more than one plane, or a label above 255.
    """
    highest = value_range(pixels)[1]
    check_label_png(pixels.shape, highest)
    known = list(classes[:_LARGEST_INDEX])
    known += [default_class(number) for number in range(len(known) + 1, highest + 1)]

    image = Image.fromarray(pixels.read((slice(None), slice(None))).astype(np.uint8, copy=False))
    palette = bytes(3) + b"".join(bytes(info.rgb) for info in known)
    # A full palette, because Pillow packs several pixels into a byte with a short one, which not every reader
    # unpacks.
    image.putpalette(palette.ljust(3 * (_LARGEST_INDEX + 1), b"\0"))
    per_metre = [1 / max(axis.scale * axis.unit.size, 1e-300) for axis in reversed(axes) if axis.unit]
    fits = len(per_metre) == 2 and all(_LEAST_PER_METRE <= n <= _MOST_PER_METRE for n in per_metre)
    resolution = {"dpi": tuple(n * _INCH for n in per_metre)} if fits else {}
    text = PngInfo()
    text.add_itxt(CLASSES_KEY, json.dumps({"classes": [info.name for info in known]}, ensure_ascii=False))
    image.save(path, format="PNG", pnginfo=text, **resolution)


def check_label_png(shape: Sequence[int], highest: int) -> None:
    """Refuse what a PNG cannot hold.

    Raises
    ------
    ExportError
        If there is more than one plane, or a label above 255.
    """
    if len(shape) != 2:
        raise ExportError(
            f"Labels of shape {tuple(shape)} are a stack and PNG holds one plane; "
            "choose OME-TIFF or OME-Zarr."
        )
    if highest > _LARGEST_INDEX:
        raise ExportError(
            f"Labels reach up to {highest} and PNG holds up to {_LARGEST_INDEX}; choose OME-TIFF or OME-Zarr."
        )
