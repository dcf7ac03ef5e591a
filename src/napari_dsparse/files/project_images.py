"""Images of a project on disk, found again where they were moved to."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from napari_dsparse.errors import ImageError
from napari_dsparse.files.project_description import ProjectImage
from napari_dsparse.files.project_entries import describe_image, placed, reason_of
from napari_dsparse.images import ImageSource
from napari_dsparse.images.combined import combine_files
from napari_dsparse.images.identity import describe_difference
from napari_dsparse.images.plates import name_within
from napari_dsparse.images.reading import DAMAGE, ImageFile, read_image
from napari_dsparse.images.zarr_file import is_store

#: Files and folders beside a project that are looked at, unasked, for one that was moved.
_MOST_ENTRIES = 100_000

_ADVICE = "say where it is with --image-folder DIR or, in Python, project.locate(image, path)"


class MisplacedImageError(ImageError):
    """No file holds an image of a project, where it was or where it was searched.

    Parameters
    ----------
    reason : str
        Without the full stop, and without advice that is of use to programs only.
    changed : bool
        True if there is a file of that name, with other pixels, or one that cannot be read.
    channel : int or None
        Index of the channel that is not found, of an image that is combined of several.
    """

    def __init__(self, reason: str, *, changed: bool, channel: int | None = None) -> None:
        super().__init__(f"{reason}; {_ADVICE}.")
        self.reason, self.changed, self.channel = reason, changed, channel


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
    return FoundImage(placed(image, path, folder), path, source, file)


def _combine(image: ProjectImage, folder: Path, search: Sequence[Path]) -> FoundImage:
    """The image that is combined of several, each of which is found by itself, or beside another."""
    beside = tuple(Path(str(channel.absolute_path)).parent for channel in image.channels)
    found = []
    for number, channel in enumerate(image.channels):
        with _of_channel(number):
            found.append(find_image(channel, folder, search, beside))
    file = combine_files([replace(each.file, data=each.source.data) for each in found])
    source = ImageSource(file.data, image.channel_axis, image.name, image.letters)
    return FoundImage(replace(image, channels=tuple(each.image for each in found)), file.path, source, file)


def locate_image(image: ProjectImage, path: Path, folder: Path, channel: int | None = None) -> ProjectImage:
    """The entry of an image that is in this file now or, of a combined one, whose `channel` is.

    Raises
    ------
    ImageError
        As `open_image`, or `place_channel`.
    """
    if channel is None:
        return open_image(image, path, folder).image
    return place_channel(image, channel, path, folder)


def place_channel(image: ProjectImage, channel: int, path: Path, folder: Path) -> ProjectImage:
    """The entry of an image that is combined of several, one channel of it in another file.

    Parameters
    ----------
    image : ProjectImage
    channel : int
        Its index.
    path, folder : Path

    Raises
    ------
    ImageError
        If there is no such channel, or the file cannot be read or holds another image.
    """
    if not 0 <= channel < len(image.channels):
        raise ImageError(
            f"Image {image.name!r} has no channel {channel} in a file of its own; it is combined of "
            f"{len(image.channels)} files, counted from 0."
        )
    channels = list(image.channels)
    with _of_channel(channel):
        channels[channel] = open_image(channels[channel], path, folder).image
    return replace(image, channels=tuple(channels))


@contextmanager
def _of_channel(number: int) -> Iterator[None]:
    """Errors of a file say which channel it is."""
    try:
        yield
    except MisplacedImageError as error:
        raise MisplacedImageError(error.reason, changed=error.changed, channel=number) from error
    except ImageError as error:
        raise MisplacedImageError(str(error).rstrip("."), changed=True, channel=number) from error


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


def find_image(
    image: ProjectImage, folder: Path, search: Sequence[Path] = (), beside: Sequence[Path] = ()
) -> FoundImage:
    """The image of a project where it was recorded, or where it was moved to.

    Parameters
    ----------
    image : ProjectImage
    folder : Path
        Of the project: paths are relative to it.
    search : sequence of Path
        Folders beneath which files of the same name are looked at; after them the one the project is in.
    beside : sequence of Path
        Folders that may hold a file of the same name.

    Raises
    ------
    ImageError
        If no file holds the image; it says so of the first of that name, or that there is none.
    """
    if not image.has_file:
        raise ImageError(
            f"Image {image.name!r} of the project is in no file, and known by its pixels alone; save them to "
            "a file, and say which one by opening the project in napari or, in Python, with "
            "project.locate(image, path)."
        )
    if image.channels:
        return _combine(image, folder, search)
    refusal: ImageError | None = None
    for path in _candidates(image, folder, search, beside):
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
        return f"its pixels cannot be read ({reason_of(damage)})"


def _candidates(
    image: ProjectImage, folder: Path, search: Sequence[Path], beside: Sequence[Path]
) -> Iterator[Path]:
    """Existing files that may be the image, the likeliest first, each once."""
    seen: set[str] = set()
    for path in _places(image, folder, search, beside):
        key = os.path.realpath(path)
        if key not in seen and path.exists():
            seen.add(key)
            yield path


def _places(
    image: ProjectImage, folder: Path, search: Sequence[Path], beside: Sequence[Path]
) -> Iterator[Path]:
    if image.path is not None:
        yield Path(os.path.normpath(folder / image.path))
    if image.absolute_path is not None:
        yield Path(image.absolute_path)
    within = name_within(Path(image.path or image.absolute_path or image.name))
    name = within if PurePosixPath(within).name == image.name else image.name
    yield from (each / name for each in beside)
    for each in search:
        yield from _namesakes(name, each, None)
    yield from _namesakes(name, folder.absolute().parent, _MOST_ENTRIES)


def _namesakes(within: str, folder: Path, most: int | None) -> Iterator[Path]:
    """Files, or Zarr stores, of that name beneath a folder; those in stores and projects are left out.

    Of an image in a store, such as "plate.zarr/B/3/0", it is the store that is looked for.
    """
    looked_at, name = 0, within.split("/")[0]
    for here, folders, files in os.walk(folder):
        folders.sort()
        if name in folders or name in files:
            yield Path(here, within)
        folders[:] = [each for each in folders if not _is_closed(Path(here, each))]
        looked_at += len(folders) + len(files)
        if most is not None and looked_at > most:
            return


def _is_closed(folder: Path) -> bool:
    return folder.suffix == ".dsparse" or is_store(folder)
