"""Entries for images that are added to a project: where they are, and how they are known again."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from napari_dsparse.errors import ImageError
from napari_dsparse.files.project_description import ProjectImage
from napari_dsparse.images import ImageSource, resolve_image
from napari_dsparse.images.combined import combine_files, combined_source, read_single_channel
from napari_dsparse.images.identity import pixel_fingerprint, take_fingerprint
from napari_dsparse.images.reading import DAMAGE, ImageFile, read_image


def describe_added(
    image: Sequence[Path] | ImageSource,
    folder: Path,
    number: int,
    series: Sequence[int | None],
    *,
    labels: Any = None,
    channel_axis: int | Literal["auto"] | None = "auto",
) -> ProjectImage:
    """An entry for pixels, or for files as of `describe_files`, by the shape of their labels."""
    if isinstance(image, ImageSource):
        return describe_pixels(image, number)
    shape = getattr(labels, "shape", None)
    return describe_files(image, folder, number, series, labels_shape=shape, channel_axis=channel_axis)


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
            f"Image {str(path)!r} cannot be read ({reason_of(damage)}); "
            "save it again from the program that made it."
        ) from damage
    entry = ProjectImage(number, path.name, None, "", axis, file.letters, fingerprint)
    return placed(entry, path, folder)


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


def placed(image: ProjectImage, path: Path, folder: Path) -> ProjectImage:
    """The entry with the paths of a file."""
    there = os.path.abspath(path)
    try:
        relative = Path(os.path.relpath(there, os.path.abspath(folder))).as_posix()
    except ValueError:  # on another drive
        relative = None
    return replace(image, name=path.name, path=relative, absolute_path=there)


def reason_of(damage: Exception) -> str:
    """The words of a library on a damaged file, in one line."""
    return " ".join(str(damage).split()) or type(damage).__name__
