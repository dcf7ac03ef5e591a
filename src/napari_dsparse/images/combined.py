"""Images of several files as the channels of one image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from napari_dsparse.errors import ImageError
from napari_dsparse.images.channel_stack import ChannelStack
from napari_dsparse.images.reading import ImageFile, read_image
from napari_dsparse.images.source import ImageSource, resolve_image

#: File names joined in the name of a combination, at most; and characters of it.
_MOST_NAMES, _LONGEST = 4, 120


def combined_name(paths: Sequence[Path]) -> str:
    """A name for an image whose channels are in these files, made of theirs, with the suffix of the last."""
    return combined_stem(paths) + paths[-1].suffix


def combined_stem(paths: Sequence[Path]) -> str:
    """The same without a suffix."""
    stems = [path.name.split(".")[0] or path.name for path in paths]
    joined = " + ".join(stems)
    if len(stems) > _MOST_NAMES or len(joined) > _LONGEST:
        joined = f"{stems[0][:_LONGEST]} and {len(stems) - 1} more"
    return joined


def read_single_channel(path: Path, series: int | None = None) -> ImageFile:
    """An image of which no axis holds channels.

    Raises
    ------
    ImageError
        If the file cannot be read, or says that the image has channels.
    """
    file = read_image(path, series=series)
    if file.channel_axis is not None:
        raise ImageError(
            f"Image {str(path)!r} has channels of its own (its shape is {tuple(file.data.shape)}); combine "
            "images with one channel."
        )
    resolve_image(file.data, channel_axis=None, name=path.name)
    return file


def combine_files(files: Sequence[ImageFile]) -> ImageFile:
    """One image of several; a new first axis holds them as channels, in that order. Nothing is read yet.

    Parameters
    ----------
    files : sequence of ImageFile
        Two or more, of one shape, without channels.

    Returns
    -------
    ImageFile
        With the pixel sizes of the first, and its path; the others are in `files`, and all, with their
        series, in `channel_files`.

    Raises
    ------
    ImageError
        If they are fewer, or differ in shape.
    """
    if len(files) < 2:
        raise ImageError(f"An image is combined of at least two files; got {len(files)}.")
    first, *others = files
    shape = tuple(int(n) for n in first.data.shape)
    for each in others:
        if tuple(each.data.shape) != shape:
            raise ImageError(
                f"Image {str(each.path)!r} has shape {tuple(each.data.shape)} and {str(first.path)!r} has "
                f"{shape}; combine images of one shape."
            )
    beside = [path for each in files for path in (each.path, *each.files)][1:]
    return replace(
        first,
        data=ChannelStack([each.data for each in files]),
        channel_axis=0,
        letters=f"C{first.letters.replace('C', '?')}",
        series=0,
        remarks=tuple(dict.fromkeys(remark for each in files for remark in each.remarks)),
        choices=(),
        files=tuple(dict.fromkeys(beside)),
        channel_files=tuple((each.path, each.series) for each in files),
        origin=None,
    )


def combined_source(file: ImageFile) -> ImageSource:
    """A combination as the engine reads it, by its own name."""
    return replace(file.source(), name=combined_name([path for path, _ in file.channel_files]))
