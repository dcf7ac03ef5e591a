"""The JSON description of a project: written from its value and read back, every field checked."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from napari_dsparse.classifier.classes import MOST_CLASSES, ClassInfo
from napari_dsparse.classifier.spec import DEPTHS
from napari_dsparse.errors import ProjectError
from napari_dsparse.files.description import read_class
from napari_dsparse.files.fields import Document, Fields
from napari_dsparse.images.identity import Fingerprint
from napari_dsparse.images.normalisation import NORMALISATIONS

#: Version of the description. A reader takes its own and older versions and refuses newer ones.
SCHEMA_VERSION = 3
# The least version that can say everything is written: the second has images that are in no file, the third
# those that are combined of several.
_WITHOUT_FILE, _ALL_IN_FILES = 2, 1

#: Folder of the strokes within the project.
STROKES = "strokes"

# Names of the files, which tell their content: nothing else is opened or removed by what a description says.
STROKES_NAME = re.compile(rf"{STROKES}/[0-9a-f]{{32}}\.ome\.tif")
MODEL_NAME = re.compile(r"model-[0-9a-f]{32}\.safetensors")

# Limits of a description, checked before anything is built from it.
_MOST_AXES = 32
_LARGEST = 2**53

_DIGEST = re.compile(r"[0-9a-f]{32}")
_DTYPE = re.compile(r"[a-z]+[0-9]*")
_LETTERS = re.compile(rf"[A-Z?]{{2,{_MOST_AXES}}}")
_PATH = re.compile(r"[^\0]+")
_FILE_NAME = re.compile(r"(?!\.\.?$)[^\0/\\]+")


@dataclass(frozen=True, slots=True)
class ProjectImage:
    """An image of a project, known by where it was and by what it shows.

    Parameters
    ----------
    number : int
        Which image of the project, from 1; it stays when others are removed.
    name : str
        Name of its file.
    path : str or None
        Its file relative to the project's folder, with slashes; None where there is no such path (another
        drive).
    absolute_path : str or None
        Its file as this computer named it when the project was saved; None where it is in no file.
    channel_axis : int or None
        Index of the axis that holds the channels.
    letters : str
        Letters of all its axes as its file names them, "?" for those it does not.
    fingerprint : Fingerprint
        By which it is known again.
    strokes : str or None
        File of its strokes within the project; None where nothing is painted.
    channels : tuple of ProjectImage
        Images of one channel that it is combined of, in their order, numbered from 1; then it has no path
        of its own. Empty for any other image.
    """

    number: int
    name: str
    path: str | None
    absolute_path: str | None
    channel_axis: int | None
    letters: str
    fingerprint: Fingerprint
    strokes: str | None = None
    channels: tuple[ProjectImage, ...] = ()

    @property
    def has_file(self) -> bool:
        """False for pixels that were only ever open in napari."""
        return bool(self.places)

    @property
    def places(self) -> tuple[tuple[str, int], ...]:
        """Absolute path and series of its file, or of each of those that it is combined of."""
        own = () if self.absolute_path is None else ((self.absolute_path, self.fingerprint.series),)
        return own + tuple(place for channel in self.channels for place in channel.places)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of its labels, (..., Y, X): the image's without the channels."""
        return tuple(n for axis, n in enumerate(self.fingerprint.shape) if axis != self.channel_axis)


@dataclass(frozen=True, slots=True)
class ProjectDescription:
    """A project as it is on disk, as one immutable value.

    Parameters
    ----------
    name : str
    classes : tuple of ClassInfo
        Class number i + 1 is entry i.
    images : tuple of ProjectImage
        No two have the same number.
    model : str or None
        File of the trained model within the project.
    depth : str
        One of `DEPTHS`: what the model is trained with.
    normalise : str
        One of `NORMALISATIONS`: the same.
    """

    name: str
    classes: tuple[ClassInfo, ...] = ()
    images: tuple[ProjectImage, ...] = ()
    model: str | None = None
    depth: str = "off"
    normalise: str = "together"

    @property
    def files(self) -> frozenset[str]:
        """Files within the project that belong to it, beside the description."""
        named = (self.model, *(image.strokes for image in self.images))
        return frozenset(name for name in named if name is not None)

    def entry(self, image: ProjectImage | str) -> ProjectImage:
        """The image of that number, or with a file of that name or path.

        Raises
        ------
        ProjectError
            If there is none, or several.
        """
        if isinstance(image, ProjectImage):
            shown, fitting = image.name, [each for each in self.images if each.number == image.number]
        else:
            shown = image
            fitting = [each for each in self.images if image in (each.name, each.path, each.absolute_path)]
        if len(fitting) == 1:
            return fitting[0]
        if fitting:
            raise ProjectError(f"The project has {len(fitting)} images {shown!r}; give an entry of `images`.")
        names = ", ".join(repr(each.name) for each in self.images[:8]) or "none"
        raise ProjectError(f"The project has no image {shown!r}; its images are: {names}.")

    def with_image(self, image: ProjectImage) -> ProjectDescription:
        """The same with another entry for the image of that number."""
        images = tuple(image if old.number == image.number else old for old in self.images)
        return replace(self, images=images)


def describe_project(project: ProjectDescription) -> bytes:
    """A project as JSON in UTF-8."""
    description = {
        "schema_version": _least_version(project.images),
        "name": project.name,
        "classes": [asdict(info) for info in project.classes],
        "images": [_image_fields(image) for image in project.images],
        "model": project.model,
    }
    if project.depth != "off":  # unknown to the first versions, which leave it out
        description["depth"] = project.depth
    if project.normalise != "together":
        description["normalise"] = project.normalise
    try:
        text = json.dumps(description, indent=1, ensure_ascii=False, allow_nan=False)
        return f"{text}\n".encode()
    except UnicodeEncodeError:  # file names may hold bytes that are no text
        return f"{json.dumps(description, indent=1, allow_nan=False)}\n".encode()


def _least_version(images: Sequence[ProjectImage]) -> int:
    if any(image.channels for image in images):
        return SCHEMA_VERSION
    return _ALL_IN_FILES if all(image.has_file for image in images) else _WITHOUT_FILE


def _image_fields(image: ProjectImage) -> dict[str, Any]:
    fields = asdict(image)
    channels = [_image_fields(channel) for channel in image.channels]
    del fields["channels"]
    return {**fields, "channels": channels} if channels else fields


def read_project_description(text: str, file: str) -> ProjectDescription:
    """The project described in the text of `file`.

    Raises
    ------
    ProjectError
        If the text is not a description, a field of it is missing or wrong, or a newer version wrote it.
    """
    title = f"Project file {file!r}"
    fields = Fields.parse(text, Document(title, error=ProjectError, remedy="restore it from a copy"))
    version = fields.whole("schema_version", 1, _LARGEST)
    if version > SCHEMA_VERSION:
        raise ProjectError(
            f"{title} has schema version {version} and this napari-dsparse reads up to {SCHEMA_VERSION}; "
            "update napari-dsparse."
        )
    classes, images = fields.each("classes"), tuple(map(_read_image, fields.each("images")))
    if len(classes) > MOST_CLASSES:
        fields.refuse("classes", f"a list of at most {MOST_CLASSES} classes")
    if len({image.number for image in images}) < len(images):
        fields.refuse("images", "a list of images with a number of its own each")
    return ProjectDescription(
        fields.text("name").encode(errors="replace").decode(),
        tuple(map(read_class, classes)),
        images,
        fields.matching_or_none("model", MODEL_NAME, "the name of a model in the project"),
        _read_choice(fields, "depth", DEPTHS),
        _read_choice(fields, "normalise", NORMALISATIONS),
    )


def _read_choice(fields: Fields, key: str, allowed: Sequence[str]) -> str:
    """One of some words; the first where the field is not there."""
    choice = fields.text_if_given(key) or allowed[0]
    if choice not in allowed:
        fields.refuse(key, " or ".join(allowed))
    return choice


def _read_image(fields: Fields, *, within: bool = False) -> ProjectImage:
    """An image, or, `within` it, one that it is combined of."""
    if within and fields.each_if_given("channels"):
        fields.refuse("channels", "those of images that are not channels themselves")
    inner = fields.inner("fingerprint")
    fingerprint = Fingerprint(
        shape=inner.wholes("shape", 1, _LARGEST),
        dtype=inner.matching("dtype", _DTYPE, "the name of a type such as 'uint8'"),
        series=inner.whole("series", 0, _LARGEST),
        file_size=inner.whole_or_none("file_size", 0, _LARGEST),
        sample=inner.matching("sample", _DIGEST, "32 hexadecimal digits"),
    )
    axes = len(fingerprint.shape)
    channel_axis = fields.whole_or_none("channel_axis", 0, max(axes - 1, 0))
    if not 2 <= axes - (channel_axis is not None) <= _MOST_AXES:
        inner.refuse("shape", "as long as an image has axes, with rows and columns beside its channels")
    letters = fields.matching("letters", _LETTERS, "letters of axes such as 'YX'")
    if len(letters) != axes:
        fields.refuse("letters", f"one for each of {axes} axes")
    channels = tuple(_read_image(each, within=True) for each in fields.each_if_given("channels"))
    if channels and (channel_axis != 0 or not all(map(_is_channel, channels))):
        fields.refuse("channels", "images of one channel in files, which are the first axis")
    if channels and {(len(channels), *each.shape) for each in channels} != {fingerprint.shape}:
        fields.refuse("channels", "images of one shape, one for each channel")
    return ProjectImage(
        number=fields.whole("number", 1, _LARGEST),
        name=fields.matching("name", _FILE_NAME, "the name of a file without a folder"),
        path=fields.matching_or_none("path", _PATH, "the path of a file"),
        absolute_path=fields.matching_or_none("absolute_path", _PATH, "the path of a file"),
        channel_axis=channel_axis,
        letters=letters,
        fingerprint=fingerprint,
        strokes=fields.matching_or_none("strokes", STROKES_NAME, "the name of strokes in the project"),
        channels=channels,
    )


def _is_channel(image: ProjectImage) -> bool:
    return image.channel_axis is None and image.absolute_path is not None and image.strokes is None
