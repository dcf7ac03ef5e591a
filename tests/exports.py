"""Labels and sizes that the tests of exports write, and a look at the OME-XML they get."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from napari_dsparse.classifier.classes import ClassInfo

CLASSES = (ClassInfo('back & "ground"', "#102030"), ClassInfo("Zellkern µ 核", "#e69f00"))
OME = "{http://www.openmicroscopy.org/Schemas/OME/2016-06}"
STACKS = {"YX": (40, 50), "ZYX": (3, 40, 50), "TYX": (2, 40, 50), "TZYX": (2, 3, 40, 50)}
SIZES = {"T": (2.5, "second"), "Z": (1.5, "micrometer"), "Y": (0.25, "micrometer"), "X": (0.2, "micrometer")}


def random_labels(shape: tuple[int, ...], dtype: Any = np.uint8, highest: int = 2) -> np.ndarray:
    return np.random.default_rng(0).integers(0, highest, shape, endpoint=True).astype(dtype)


def sizes(axes: str) -> dict[str, Any]:
    scale, units = zip(*(SIZES[letter] for letter in axes), strict=True)
    return {"axes": axes, "scale": scale, "units": units}


def ome_of(path: Path, element: str = "Pixels") -> ET.Element:
    with tifffile.TiffFile(path) as tiff:
        found = ET.fromstring(tiff.ome_metadata).find(f".//{OME}{element}")
    assert found is not None
    return found
