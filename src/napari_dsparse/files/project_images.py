"""Images of a project on disk: described when they are added, and found again where they were moved to."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from napari_dsparse.errors import ImageError
from napari_dsparse.files.project_description import ProjectImage
from napari_dsparse.images import ImageSource, resolve_image
from napari_dsparse.images.combined import combine_files, combined_source, read_single_channel
from napari_dsparse.images.identity import describe_difference, pixel_fingerprint, take_fingerprint
from napari_dsparse.images.reading import DAMAGE, ImageFile, read_image
from napari_dsparse.images.zarr_file import STORE_MARKS

#: Files and folders beside a project that are looked at, unasked, for one that was moved.
_MOST_ENTRIES = 100_000

_ADVICE = "say where it is with project.locate(image, path) or --image-folder DIR"


class MisplacedImageError(ImageError):
    """No file holds an image of a project, where it was or where it was searched.

    Parameters
    ----------
    reason : str
        Without the full stop, and without advice that is of use to programs only.
    changed : bool
        True if there is a file of that name, with other pixels.
    """

    def __init__(self, reason: str, *, changed: bool) -> None:
        super().__init__(f"{reason}; {_ADVICE}.")
        self.reason, self.changed = reason, changed


@dataclass(frozen=True, slots=True, eq=False)
class FoundImage:
    """An image of a project, and the file it was found in.

    Parameters
    ----------
    image : ProjectImage
        With the paths of that file.
    path : Path
        Of an image that is combined of several, that of the first.
    source : ImageSource
        Its pixels, with the channels where they were when it was added.
    file : ImageFile
        The same as the file tells.
    """

    image: ProjectImage
    path: Path
    source: ImageSource
    file: ImageFile


def describe_files(
    paths: Sequence[Path],
    folder: Path,
    number: int,
    series: Sequence[int | None],
    *,
    labels_shape: Sequence[int] | None = None,
    channel_axis: int | Literal["auto"] | None = "auto",
) -> ProjectImage:
    """An entry for an image in a file, or combined of several; parameters as of the two functions below.

    Raises
    ------
    ImageError
        As these do, and if several files are given with an axis for the channels other than the first.
    """
    if len(paths) == 1:
        return describe_image(
            paths[0], folder, number, labels_shape=labels_shape, channel_axis=channel_axis, series=series[0]
        )
    if channel_axis not in ("auto", 0):
        raise ImageError(
            f"channel_axis is {channel_axis}, and several files are channels of a first axis; leave it out."
        )
    return describe_combination(paths, folder, number, series=series)


def describe_image(
    path: Path,
    folder: Path,
    number: int,
    *,
    labels_shape: Sequence[int] | None = None,
    channel_axis: int | Literal["auto"] | None = "auto",
    series: int | None = None,
) -> ProjectImage:
    """An entry for an image that is added to the project in `folder`.

    Parameters
    ----------
    path, folder : Path
    number : int
        Its number in the project.
    labels_shape : sequence of int, optional
        Shape of labels that belong to it: they settle which axis holds channels.
    channel_axis : int, None or "auto"
        Axis that holds the channels; by default what the labels, or else the file, say.
    series : int, optional
        Which image of a file with several; the largest by default.

    Raises
    ------
    ImageError
        If the image cannot be read or does not fit the labels.
    """
    if channel_axis == "auto":
        file = read_image(path, labels_shape=labels_shape, series=series)
        axis = file.channel_axis
    else:
        file = read_image(path, series=series)
        axis = resolve_image(
            file.data, labels_shape=labels_shape, channel_axis=channel_axis, name=path.name
        ).channel_axis
    return _entry_of(file, axis, folder, number)


def _entry_of(file: ImageFile, axis: int | None, folder: Path, number: int) -> ProjectImage:
    path = file.path
    try:
        fingerprint = take_fingerprint(file, axis)
    except ImageError:
        raise
    except DAMAGE as damage:
        raise ImageError(
            f"Image {str(path)!r} cannot be read ({_reason(damage)}); "
            "save it again from the program that made it."
        ) from damage
    entry = ProjectImage(number, path.name, None, "", axis, file.letters, fingerprint)
    return _placed(entry, path, folder)


def describe_combination(
    paths: Sequence[Path], folder: Path, number: int, *, series: Sequence[int | None]
) -> ProjectImage:
    """An entry for an image that is combined of several, one channel each.

    Parameters
    ----------
    paths : sequence of Path
        Their files, in the order of the channels.
    folder, number
        As of `describe_image`.
    series : sequence of int or None
        Which image of each file; None for the largest.

    Raises
    ------
    ImageError
        If one cannot be read or has channels of its own, or they differ in shape.
    """
    files = [read_single_channel(path, each) for path, each in zip(paths, series, strict=True)]
    file = combine_files(files)
    channels = [_entry_of(each, None, folder, place) for place, each in enumerate(files, 1)]
    source = combined_source(file)
    fingerprint = pixel_fingerprint(source)
    return ProjectImage(
        number, source.name, None, None, 0, file.letters, fingerprint, channels=tuple(channels)
    )


def describe_pixels(source: ImageSource, number: int) -> ProjectImage:
    """An entry for an image that is in no file, known by its pixels alone.

    Raises
    ------
    ImageError
        If they cannot be read.
    """
    name = re.sub(r"[\0/\\]", "-", source.name).strip(" .") or "image"
    letters = "?" * len(source.data.shape)
    return ProjectImage(number, name, None, None, source.channel_axis, letters, pixel_fingerprint(source))


def open_image(image: ProjectImage, path: Path, folder: Path) -> FoundImage:
    """The image of a project from a file that may hold it.

    An image that is combined of several is found in the folder of that file, or in the folder that is given.

    Raises
    ------
    ImageError
        If the file cannot be read or holds another image.
    """
    if image.channels:
        return _combine(image, folder, [path if path.is_dir() else path.parent])
    if not image.has_file:
        return _open_pixels(image, path, folder)
    file = read_image(path, series=image.fingerprint.series)
    difference = _difference(image, file)
    if difference is not None:
        raise MisplacedImageError(
            f"File {str(path)!r} is not the image {image.name!r} that the project's strokes are on: "
            f"{difference}",
            changed=True,
        )
    source = ImageSource(file.data, image.channel_axis, path.name, image.letters)
    return FoundImage(_placed(image, path, folder), path, source, file)


def _combine(image: ProjectImage, folder: Path, search: Sequence[Path]) -> FoundImage:
    """The image that is combined of several, each of which is found by itself."""
    found = [find_image(channel, folder, search) for channel in image.channels]
    file = combine_files([replace(each.file, data=each.source.data) for each in found])
    source = ImageSource(file.data, image.channel_axis, image.name, image.letters)
    return FoundImage(replace(image, channels=tuple(each.image for each in found)), file.path, source, file)


def _open_pixels(image: ProjectImage, path: Path, folder: Path) -> FoundImage:
    """The image of a project that was in no file so far, from one that may hold its pixels in any order."""
    file = read_image(path)
    for axis in (image.channel_axis, file.channel_axis):
        try:
            found = describe_image(path, folder, image.number, channel_axis=axis)
        except ImageError:
            continue  # channels cannot be there
        if found.shape == image.shape and found.fingerprint.sample == image.fingerprint.sample:
            source = ImageSource(file.data, axis, path.name, file.letters)
            return FoundImage(replace(found, strokes=image.strokes), path, source, file)
    raise MisplacedImageError(
        f"File {str(path)!r} does not hold the pixels of image {image.name!r} that the project's strokes are "
        "on",
        changed=True,
    )


def find_image(image: ProjectImage, folder: Path, search: Sequence[Path] = ()) -> FoundImage:
    """The image of a project where it was recorded, or where it was moved to.

    Parameters
    ----------
    image : ProjectImage
    folder : Path
        Of the project: paths are relative to it.
    search : sequence of Path
        Folders beneath which files of the same name are looked at; after them the one the project is in.

    Raises
    ------
    ImageError
        If no file holds the image; it says so of the first of that name, or that there is none.
    """
    if not image.has_file:
        raise ImageError(
            f"Image {image.name!r} of the project is in no file, and known by its pixels alone; save them to "
            "a file, and say where it is with project.locate(image, path)."
        )
    if image.channels:
        return _combine(image, folder, search)
    refusal: ImageError | None = None
    for path in _candidates(image, folder, search):
        try:
            return open_image(image, path, folder)
        except ImageError as error:
            refusal = refusal or error
    if refusal is not None:
        raise refusal
    beneath = " and ".join(repr(str(each)) for each in (*search, folder.parent))
    raise MisplacedImageError(
        f"Image {image.name!r} of the project is neither at {image.absolute_path!r} nor beneath {beneath}",
        changed=False,
    )


def _difference(image: ProjectImage, file: ImageFile) -> str | None:
    try:
        return describe_difference(file, image.channel_axis, image.fingerprint)
    except ImageError:
        raise
    except DAMAGE as damage:
        return f"its pixels cannot be read ({_reason(damage)})"


def _reason(damage: Exception) -> str:
    return " ".join(str(damage).split()) or type(damage).__name__


def _placed(image: ProjectImage, path: Path, folder: Path) -> ProjectImage:
    """The entry with the paths of a file."""
    there = os.path.abspath(path)
    try:
        relative = Path(os.path.relpath(there, os.path.abspath(folder))).as_posix()
    except ValueError:  # on another drive
        relative = None
    return replace(image, name=path.name, path=relative, absolute_path=there)


def _candidates(image: ProjectImage, folder: Path, search: Sequence[Path]) -> Iterator[Path]:
    """Existing files that may be the image, the likeliest first, each once."""
    seen: set[str] = set()
    for path in _places(image, folder, search):
        key = os.path.realpath(path)
        if key not in seen and path.exists():
            seen.add(key)
            yield path


def _places(image: ProjectImage, folder: Path, search: Sequence[Path]) -> Iterator[Path]:
    if image.path is not None:
        yield Path(os.path.normpath(folder / image.path))
    if image.absolute_path is not None:
        yield Path(image.absolute_path)
    for each in search:
        yield from _namesakes(image.name, each, None)
    yield from _namesakes(image.name, folder.absolute().parent, _MOST_ENTRIES)


def _namesakes(name: str, folder: Path, most: int | None) -> Iterator[Path]:
    """Files, or Zarr stores, of that name beneath a folder; those in stores and projects are left out."""
    looked_at = 0
    for here, folders, files in os.walk(folder):
        folders.sort()
        if name in folders or name in files:
            yield Path(here, name)
        folders[:] = [each for each in folders if not _is_closed(Path(here, each))]
        looked_at += len(folders) + len(files)
        if most is not None and looked_at > most:
            return


def _is_closed(folder: Path) -> bool:
    return folder.suffix == ".dsparse" or any((folder / mark).exists() for mark in STORE_MARKS)
