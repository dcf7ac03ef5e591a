"""Names and colours of classes, read back from the label images that this program writes."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import tifffile

from napari_dsparse.classifier.classes import MOST_CLASSES, ClassInfo, default_class
from napari_dsparse.errors import DsparseError
from napari_dsparse.files.ome_tiff import COLORS_NAMESPACE, NAMES_NAMESPACE
from napari_dsparse.images.reading import DAMAGE
from napari_dsparse.images.tiff_file import quiet_tifffile

#: Characters a description may have that is looked at; one of 1000 classes has some 200,000.
_LONGEST = 2**22


def read_label_classes(path: Path) -> tuple[ClassInfo, ...]:
    """The classes that a label OME-TIFF of ours names; none if it is not one of ours.

    A class whose name or colour is damaged has its default one.
    """
    try:
        with quiet_tifffile(), tifffile.TiffFile(path) as tiff:
            description = tiff.pages.first.description
    except DAMAGE:
        return ()
    if NAMES_NAMESPACE not in description or len(description) > _LONGEST:
        return ()
    try:
        root = ET.fromstring(description.encode())
    except ET.ParseError:
        return ()
    names, colors = dict(_entries(root, NAMES_NAMESPACE)), dict(_entries(root, COLORS_NAMESPACE))
    return tuple(_class(number, names, colors) for number in range(1, max(names, default=0) + 1))


def _entries(root: ET.Element, namespace: str) -> Iterator[tuple[int, str]]:
    """Text by class number in the annotation of that namespace."""
    for annotation in root.iter():
        if annotation.get("Namespace") != namespace:
            continue
        for entry in annotation.iter():
            key = entry.get("K", "")
            if key.isascii() and key.isdigit() and len(key) < 5 and 1 <= int(key) <= MOST_CLASSES:
                yield int(key), entry.text or ""


def _class(number: int, names: dict[int, str], colors: dict[int, str]) -> ClassInfo:
    usual = default_class(number)
    try:
        return ClassInfo(names.get(number) or usual.name, colors.get(number, usual.color))
    except DsparseError:
        return ClassInfo(names.get(number) or usual.name, usual.color)
