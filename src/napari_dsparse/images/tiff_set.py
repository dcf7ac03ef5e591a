"""TIFFs that belong together: which file holds which plane, by the description in one of them or beside them.

OME-XML names a file for each plane, and identifies files by UUIDs. Both go wrong in practice: files are
renamed and copied, identifiers are left out or the same everywhere, names come with the folders of another
computer. So the description is brought to one form before tifffile follows it: a plane is in this very file,
or in one of its folder that is called so. A name never leads to another folder.
"""

from __future__ import annotations

import math
import struct
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from napari_dsparse.checks import is_pipe
from napari_dsparse.errors import ImageError
from napari_dsparse.images.tiff_sizes import parse_ome

#: Bytes of a companion file at most: descriptions of a hundred thousand planes have some ten million.
_MOST_TEXT = 1 << 28

_UNREADABLE = "cannot be read, or lacks planes; copy it anew"

#: What tifffile raises where files of a set are not as it expects them.
_FAULTS = (OSError, ValueError, KeyError, IndexError, TypeError, struct.error, ZeroDivisionError)


@dataclass(frozen=True, slots=True)
class Description:
    """OME-XML of a file, by names of files that are beside it.

    Parameters
    ----------
    text : str, optional
        As tifffile is to follow it; None where it may follow the stored one.
    followed : bool
        False where it does not describe this file, which is then read as it is.
    planes : tuple of dict of int to str
        For each image, the name of the file that holds a plane, "" for this very file.
    remarks : tuple of str
    files : tuple of Path
        Another file that it was read from.
    """

    text: str | None = None
    followed: bool = True
    planes: tuple[dict[int, str], ...] = ()
    remarks: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()


@contextmanager
def open_tiff(path: Path) -> Iterator[tuple[tifffile.TiffFile, Description]]:
    """A TIFF whose series are those of the file that is named, with what describes it.

    Raises
    ------
    tifffile.TiffFileError, ValueError, OSError
        If it is not a TIFF, or damaged.
    """
    with tifffile.TiffFile(path) as tiff:
        described = describe(path, tiff.ome_metadata)
        options: dict[str, Any] = {}
        if not described.followed:
            options["is_ome"] = False
        elif described.text is not None:
            options["omexml"] = described.text
        if _spreads(tiff, described):
            options |= {"is_mmstack": False, "is_ndtiff": False}
        alone = tiff.is_ome and not options and not described.planes
        if alone and not _is_followed(tiff):
            remark = f"The description of {path.name} is wrong: its axes and pixel size are unknown."
            described, options = Description(followed=False, remarks=(remark,)), {"is_ome": False}
        if not options:
            yield tiff, described
            return
    with tifffile.TiffFile(path, **options) as tiff:
        yield tiff, described


def _is_followed(tiff: tifffile.TiffFile) -> bool:
    """True if tifffile finds images by a description; it is wrong otherwise, whatever the pixels are."""
    try:
        return bool(tiff.series)
    except _FAULTS:
        return False


def _spreads(tiff: tifffile.TiffFile, described: Description) -> bool:
    """True of a file of Micro-Manager's that tifffile would put together with all others of its folder."""
    if not (tiff.is_mmstack or tiff.is_ndtiff):
        return False
    if described.planes:  # it tells one position from another
        return True
    try:
        return any(one.is_multifile for one in tiff.series)
    except _FAULTS:  # of another file, or of an index that is not there
        return True


def describe(path: Path, text: str | None) -> Description:
    """The description of a TIFF whose own one is `text`, a companion's where that refers to it."""
    if text is None:
        return Description()
    root = parse_ome(text)
    if root is None:
        return Description(
            remarks=(
                f"The description of {path.name} is no well-formed XML: its axes and pixel size are unknown.",
            )
        )
    uuid, mended, files = root.get("UUID"), root, tuple[Path, ...]()
    only = next((element for element in root if element.tag.endswith("BinaryOnly")), None)
    if only is not None:
        companion = path.parent / _name_of(only.get("MetadataFile"))
        found = _read_companion(companion, path)
        if found is None:
            name = only.get("MetadataFile")
            return Description(
                remarks=(
                    f"The description of {path.name} is in another file ({name}), which is not beside it or "
                    "does not describe it: its axes and pixel size are unknown.",
                )
            )
        mended, files = found, (companion,)
    named = [element for element in mended.iter() if element.tag.endswith("UUID")]
    if not named:
        well_formed = only is None and _is_well_formed(text)
        return Description(None if well_formed else ET.tostring(mended, "unicode"), files=files)
    own = _own_name(path, uuid, named)
    if own is None:
        return Description(
            followed=False,
            remarks=(f"{path.name} describes other files, not itself: its axes and pixel size are unknown.",),
        )
    planes = tuple(_settle(path, pixels, own) for pixels in _pixels_of(mended))
    mended.set("UUID", "urn:this-file")
    return Description(ET.tostring(mended, "unicode"), planes=planes, files=files)


def _own_name(path: Path, uuid: str | None, named: Sequence[ET.Element]) -> str | None:
    """The name that a description has for this very file; None if it does not mention it."""
    names = {_name_of(element.get("FileName")) for element in named}
    identified = {_name_of(element.get("FileName")) for element in named if uuid and element.text == uuid}
    if len(identified) == 1:
        return identified.pop()
    own = next((name for name in names if name.lower() == path.name.lower()), None)
    if own is None and len(names) == 1 and uuid is None:
        return names.pop()  # renamed since
    return own


def _settle(path: Path, pixels: ET.Element, own: str) -> dict[int, str]:
    """Have the planes of an image name files beside this one, or none where they are in it."""
    planes: dict[int, str] = {}
    for data in [element for element in pixels if element.tag.endswith("TiffData")]:
        holder = ""
        for element in [element for element in data if element.tag.endswith("UUID")]:
            name = _name_of(element.get("FileName"))
            if name == own:
                data.remove(element)
                continue
            holder = name
            element.text = f"urn:file:{name}"
            element.set("FileName", name)
            counted = any(key in data.attrib for key in ("PlaneCount", "NumPlanes", "IFD"))
            if not counted and not (path.parent / name).is_file():
                data.set("PlaneCount", "1")  # or tifffile gives up all images
        planes |= dict.fromkeys(_numbers(pixels, data), holder)
    return planes


def _numbers(pixels: ET.Element, data: ET.Element) -> range:
    """Numbers of the planes that one element of a description is about."""
    order = list(reversed(pixels.get("DimensionOrder", "XYZCT")))[:-2]
    try:
        first = [int(data.get(f"First{letter}", 0)) for letter in order]
        sizes = [int(pixels.get(f"Size{letter}", 1)) for letter in order]
        start, every = int(np.ravel_multi_index(first, sizes)), math.prod(sizes)
        count = int(data.get("PlaneCount", data.get("NumPlanes", 1 if "IFD" in data.attrib else every)))
    except ValueError:
        return range(0)
    return range(start, min(start + count, every))


def series_of(tiff: tifffile.TiffFile, path: Path, described: Description) -> list[Any]:
    """All series of a TIFF.

    Raises
    ------
    ImageError
        With the name of a file of its set that is no TIFF.
    tifffile.TiffFileError, ValueError, OSError
        If it is damaged itself.
    """
    names = {name for planes in described.planes for name in planes.values() if name}
    for name in sorted(names):
        if is_pipe(path.parent / name):
            raise _of_set(path, name, _UNREADABLE)
    try:
        return list(tiff.series)
    except _FAULTS:
        for name in sorted(names):
            if (path.parent / name).is_file() and not _is_tiff(path.parent / name):
                raise _of_set(path, name, _UNREADABLE) from None
        raise


def _is_tiff(path: Path) -> bool:
    try:
        with tifffile.TiffFile(path) as tiff:
            return bool(tiff.pages.first.is_final or tiff.pages.first.compression)
    except _FAULTS:
        return False


def check_set(path: Path, series: Any, described: Description) -> Iterator[str]:
    """Refuse a series of which a file is missing, cannot be read or is another kind of image; say what was
    never written.

    Raises
    ------
    ImageError
        With the name of that file.
    """
    if series.dataoffset is not None and not series.is_multifile:
        return
    absent = [number for number, page in enumerate(series.pages) if page is None or not any(page.dataoffsets)]
    for name in _missing(path, series, described, absent):
        if (path.parent / name).exists():
            raise _of_set(path, name, _UNREADABLE)
        raise _of_set(path, name, f"is missing; put it into {str(path.parent)!r} beside the others")
    if series.is_multifile:
        _check_alike(path, series)
    if absent:
        yield (
            f"{path.name} lacks {len(absent)} of {len(series.pages)} planes, never written: "
            "they are read as 0."
        )


def _missing(path: Path, series: Any, described: Description, absent: Sequence[int]) -> list[str]:
    """Names of the other files that absent planes should be in."""
    there = {
        number: "" if Path(page.parent.filehandle.path).name == path.name else page.parent.filehandle.name
        for number, page in enumerate(series.pages)
        if page is not None
    }
    for planes in described.planes:
        if all(planes.get(number) == name for number, name in there.items()):
            return sorted({planes[number] for number in absent if planes.get(number)})
    return []


def _check_alike(path: Path, series: Any) -> None:
    """Refuse a file whose planes have another size or type, or end too early."""
    first, ends = series.keyframe, dict[Path, int]()
    for page in series.pages:
        if page is None:
            continue
        file = Path(page.parent.filehandle.path)
        if page.keyframe.shape != first.shape or page.keyframe.dtype != first.dtype:
            raise _of_set(
                path,
                file.name,
                f"holds planes of shape {page.keyframe.shape} and type {page.keyframe.dtype}, not "
                f"{first.shape} and {first.dtype}; save the set again from the program that made it",
            )
        ends[file] = max(
            ends.get(file, 0), *(a + n for a, n in zip(page.dataoffsets, page.databytecounts, strict=False))
        )
    for file, end in ends.items():
        if file.stat().st_size < end:
            raise _of_set(path, file.name, "cannot be read to its end; copy it anew")


def _of_set(path: Path, name: str, fault: str) -> ImageError:
    return ImageError(f"Image {path.name!r} is spread over several files, of which {name!r} {fault}.")


def _read_companion(companion: Path, path: Path) -> ET.Element | None:
    """The description in a companion file or in the first file of a set; None if it does not name `path`."""
    if not companion.is_file() or companion.resolve() == path.resolve():
        return None
    try:
        with companion.open("rb") as file:
            begin = file.read(4)
            if begin[:2] in (b"II", b"MM"):
                with tifffile.TiffFile(companion) as tiff:
                    text = tiff.ome_metadata or ""
            elif companion.stat().st_size <= _MOST_TEXT:
                text = (begin + file.read()).decode("utf-8-sig")
                text = text[max(text.find("?>") + 2, 0) if text.startswith("<?xml") else 0 :]
            else:
                return None
    except _FAULTS:
        return None
    root = parse_ome(text)
    if root is None:
        return None
    names = (_name_of(element.get("FileName")) for element in root.iter() if element.tag.endswith("UUID"))
    return root if path.name in names else None


def _pixels_of(root: ET.Element) -> Iterator[ET.Element]:
    return (element for element in root.iter() if element.tag.endswith("Pixels"))


def _name_of(stated: str | None) -> str:
    """The last part of a name, by the separators of any system."""
    return (stated or "").replace("\\", "/").rpartition("/")[2]


def _is_well_formed(text: str) -> bool:
    try:
        ET.fromstring(text)
    except ET.ParseError:
        return False
    return True
