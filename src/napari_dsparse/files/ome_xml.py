"""The OME-XML of one image: what makes a TIFF an OME-TIFF (schema 2016-06)."""

from __future__ import annotations

import uuid
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from napari_dsparse.classifier.classes import ClassInfo
from napari_dsparse.files.axes import Axis
from napari_dsparse.files.pixels import Pixels

_SCHEMA = "http://www.openmicroscopy.org/Schemas/OME/2016-06"
_INSTANCE = "http://www.w3.org/2001/XMLSchema-instance"

#: OME's names of our pixel types, where they differ from numpy's.
_TYPES = {"float32": "float"}

#: One UUID for equal pixels, so that the same job writes the same bytes everywhere.
_UUID_SPACE = uuid.UUID("6f0c7f2e-6a1b-5f0e-9d5e-1412452600d5")


@dataclass(frozen=True, slots=True)
class Wording:
    """Text metadata of an image.

    Parameters
    ----------
    name : str
        Of the image.
    channels : sequence of ClassInfo
        Name and colour of each channel, one where there is no channel axis.
    description : str
        For people.
    annotations : mapping of str to mapping
        For programs: pairs of key and value, by namespace.
    """

    name: str
    channels: Sequence[ClassInfo]
    description: str = ""
    annotations: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


def ome_xml(pixels: Pixels, axes: Sequence[Axis], wording: Wording) -> bytes:
    """The description of an image whose planes follow one another in a TIFF, as UTF-8.

    Parameters
    ----------
    pixels : Pixels
    axes : sequence of Axis
        One per axis of `pixels`, ending in Y, X.
    wording : Wording
    """
    letters = "".join(axis.letter for axis in axes)
    sizes = dict(zip(letters, pixels.shape, strict=True))
    planes = "".join(letter for letter in reversed(letters) if letter not in "YX")
    order = "XY" + planes + "".join(letter for letter in "ZCT" if letter not in planes)
    root = ET.Element(
        "OME",
        {
            "xmlns": _SCHEMA,
            "xmlns:xsi": _INSTANCE,
            "xsi:schemaLocation": f"{_SCHEMA} {_SCHEMA}/ome.xsd",
            "UUID": f"urn:uuid:{uuid.uuid5(_UUID_SPACE, pixels.digest())}",
            "Creator": "napari-dsparse",
        },
    )
    image = ET.SubElement(root, "Image", ID="Image:0", Name=printable(wording.name))
    if wording.description:
        ET.SubElement(image, "Description").text = printable(wording.description)
    described = ET.SubElement(
        image,
        "Pixels",
        {
            "ID": "Pixels:0",
            "DimensionOrder": order,
            "Type": _TYPES.get(pixels.dtype.name, pixels.dtype.name),
            **{f"Size{letter}": str(sizes.get(letter, 1)) for letter in "XYZCT"},
            **physical_sizes(axes),
        },
    )
    for number, info in enumerate(wording.channels):
        ET.SubElement(
            described,
            "Channel",
            ID=f"Channel:0:{number}",
            SamplesPerPixel="1",
            Name=printable(info.name),
            Color=_signed_rgba(info),
        )
    ET.SubElement(described, "TiffData", IFD="0", PlaneCount=str(int(np.prod(pixels.shape[:-2]))))
    _annotate(root, image, wording.annotations)
    xml: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return xml


def _annotate(root: ET.Element, image: ET.Element, annotations: Mapping[str, Mapping[str, str]]) -> None:
    if not annotations:
        return
    structured = ET.SubElement(root, "StructuredAnnotations")
    for number, (namespace, entries) in enumerate(annotations.items()):
        ET.SubElement(image, "AnnotationRef", ID=f"Annotation:{number}")
        annotation = ET.SubElement(
            structured, "MapAnnotation", ID=f"Annotation:{number}", Namespace=namespace
        )
        value = ET.SubElement(annotation, "Value")
        for key, text in entries.items():
            ET.SubElement(value, "M", K=key).text = printable(text)


def physical_sizes(axes: Sequence[Axis]) -> dict[str, str]:
    """OME's attributes of pixel size.

    A scale without a unit is written in pixels, which keeps the ratio of axes, and left out where it is 1.
    """
    sizes: dict[str, str] = {}
    for axis in axes:
        if axis.letter == "T" and axis.unit is not None:
            sizes |= {"TimeIncrement": repr(axis.scale), "TimeIncrementUnit": axis.unit.symbol}
        elif axis.letter in "ZYX" and (axis.unit is not None or axis.scale != 1.0):
            symbol = "pixel" if axis.unit is None else axis.unit.symbol
            sizes |= {
                f"PhysicalSize{axis.letter}": repr(axis.scale),
                f"PhysicalSize{axis.letter}Unit": symbol,
            }
    return sizes


def _signed_rgba(info: ClassInfo) -> str:
    """The colour as OME counts colours: opaque RGBA as a signed 32-bit number."""
    return str(int.from_bytes((*info.rgb, 255), "big", signed=True))


def printable(text: str) -> str:
    """The text with a blank for each control character: neither XML nor other programs' names take them."""
    return "".join(character if character.isprintable() else " " for character in text)
