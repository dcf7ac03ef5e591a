"""Names and colours of classes, read back from the label images that this program writes."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tifffile
from PIL import Image

from napari_dsparse.classifier.classes import MOST_CLASSES, ClassInfo, default_class
from napari_dsparse.errors import DsparseError
from napari_dsparse.files.indexed_png import CLASSES_KEY
from napari_dsparse.files.ome_tiff import COLORS_NAMESPACE, NAMES_NAMESPACE
from napari_dsparse.files.ome_xml import printable
from napari_dsparse.files.ome_zarr import CREATOR, CREATOR_KEY, OBJECTS, SEGMENTATION
from napari_dsparse.images.reading import DAMAGE
from napari_dsparse.images.tiff_file import quiet_tifffile

#: Characters a description may have that is looked at; one of 1000 classes has some 200,000.
_LONGEST = 2**22


def read_label_classes(path: Path) -> tuple[ClassInfo, ...] | None:
    """The classes that an exported label image names; None if it is not one of ours.

    A class whose name or colour is damaged has its default one. Objects have no classes.

    Parameters
    ----------
    path : Path
        A TIFF, a PNG, or the folder of a Zarr store.
    """
    try:
        if path.is_dir():
            return _classes_of_store(path)
        return _classes_of_png(path) if path.suffix.lower() == ".png" else _classes_of_tiff(path)
    except (*DAMAGE, AttributeError):
        return None


def _classes_of_tiff(path: Path) -> tuple[ClassInfo, ...] | None:
    with quiet_tifffile(), tifffile.TiffFile(path) as tiff:
        description = tiff.pages.first.description
    if NAMES_NAMESPACE not in description or len(description) > _LONGEST:
        return None
    try:
        root = ET.fromstring(description.encode())
    except ET.ParseError:
        return None
    return _classes(dict(_entries(root, NAMES_NAMESPACE)), dict(_entries(root, COLORS_NAMESPACE)))


def _classes_of_png(path: Path) -> tuple[ClassInfo, ...] | None:
    with Image.open(path, formats=("PNG",)) as picture:
        text, palette = picture.info.get(CLASSES_KEY), picture.getpalette()
    if not isinstance(text, str) or palette is None:
        return None
    listed = json.loads(text)["classes"][:255]
    names = {number: printable(name) for number, name in enumerate(listed, start=1)}
    colors = {number: "#" + bytes(palette[3 * number : 3 * number + 3]).hex() for number in names}
    return _classes(names, colors)


def _classes_of_store(path: Path) -> tuple[ClassInfo, ...] | None:
    root = _attributes(path)
    ome = root.get("ome", {})
    if root.get(CREATOR_KEY) == CREATOR:
        (name,) = _attributes(path / "labels")["ome"]["labels"]
        if name == OBJECTS:
            return ()
        if name != SEGMENTATION:  # which would choose another folder
            return None
        label = _attributes(path / "labels" / name)["ome"]["image-label"]
    elif "image-label" in ome and ome["multiscales"][0]["name"] == SEGMENTATION:
        label = ome["image-label"]  # our stores of before had it at the root
    else:
        return None
    entries = {int(entry["label-value"]): entry for entry in label.get("properties", ())}
    names = {number: printable(entry["name"]) for number, entry in entries.items() if "name" in entry}
    colors = {
        int(entry["label-value"]): "#" + bytes(entry["rgba"][:3]).hex() for entry in label.get("colors", ())
    }
    return _classes({number: name for number, name in names.items() if 1 <= number <= MOST_CLASSES}, colors)


def _attributes(group: Path) -> dict[str, Any]:
    """Attributes of a group of Zarr format 3, which ours are."""
    with (group / "zarr.json").open("rb") as opened:
        found = json.loads(opened.read(_LONGEST))["attributes"]
    return found if isinstance(found, dict) else {}


def _classes(names: dict[int, str], colors: dict[int, str]) -> tuple[ClassInfo, ...]:
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
