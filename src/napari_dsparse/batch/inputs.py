"""Files that a user names, as the engine reads them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeAlias, TypeVar

from napari_dsparse.batch.outputs import stem_of
from napari_dsparse.images import ImageSource, resolve_image
from napari_dsparse.images.reading import Expected, ImageFile, read_image

T = TypeVar("T")

#: Folders whose names may stand before that of an image, to tell it from others.
_MOST_FOLDERS = 4

#: As a user gives it; "auto" takes it from the file or, where that does not say, from what is expected.
ChannelAxis: TypeAlias = int | Literal["auto"] | None


@dataclass(frozen=True, slots=True, eq=False)
class InputImage:
    """An image to compute on, with the physical size of its pixels.

    Parameters
    ----------
    path : Path
    source : ImageSource
    scale : tuple of float
        One per axis of `source.shape`; 1.0 where the file does not say.
    units : tuple of str
        Unit of each scale, ``"pixel"`` where the file does not say.
    axes : str, optional
        Letter of each, such as "ZYX"; None where it is not known.
    series : int
        Which of the file's images this is, from 0.
    remarks : tuple of str
        What the user should know of how the file was read, a sentence each.
    in_file : bool
        False for an image that is in memory: `path` is just its name.
    files : tuple of Path
        Other files that it is read from, beside `path`.
    """

    path: Path
    source: ImageSource
    scale: tuple[float, ...]
    units: tuple[str, ...]
    axes: str | None = None
    series: int = 0
    remarks: tuple[str, ...] = ()
    in_file: bool = True
    files: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class WantedImage:
    """An image to segment, before it is opened.

    Parameters
    ----------
    path : Path
        Its file, as far as that is known.
    name : Path
        From which the names of its results are made.
    open : callable
        Opens it, given what the model expects; it raises ImageError where it cannot.
    in_file : bool
        As of `InputImage`.
    learned_from : bool
        True if the model learned from strokes on it: its grey values are among those that it knows.
    """

    path: Path
    name: Path
    open: Callable[[Expected], InputImage]
    in_file: bool = True
    learned_from: bool = False


def read_input(
    path: Path,
    channel_axis: ChannelAxis,
    *,
    labels_shape: Sequence[int] | None = None,
    expected: Expected | None = None,
    series: int | None = None,
) -> InputImage:
    """Open the image at `path`.

    Parameters
    ----------
    path : Path
    channel_axis : int, None or "auto"
    labels_shape : sequence of int, optional
        Shape of the labels that belong to the image.
    expected : Expected, optional
        What the model was trained on.
    series : int, optional
        Which image of a file with several; the largest otherwise.

    Raises
    ------
    ImageError
        If the image cannot be read or is not as expected.
    """
    if channel_axis == "auto":
        file = read_image(path, labels_shape=labels_shape, expected=expected, series=series)
        source = file.source()
    else:
        file = read_image(path, series=series)
        source = resolve_image(
            file.data,
            labels_shape=labels_shape,
            channels=None if expected is None else expected.channels,
            channel_axis=channel_axis,
            name=path.name,
        )
        source = replace(source, letters=file.letters, origin=file.origin)
    return input_of(file, source)


def input_of(file: ImageFile, source: ImageSource) -> InputImage:
    """An image that was read from a file, with its channels where `source` has them."""
    same = source.channel_axis == file.channel_axis
    return InputImage(
        file.path,
        source,
        file.scale if same else _by_axis(file, file.scale, 1.0, source.channel_axis),
        file.units if same else _by_axis(file, file.units, "pixel", source.channel_axis),
        file.axes if same else None,
        file.series,
        file.remarks,
        files=file.files,
    )


def told_apart(paths: Sequence[Path]) -> list[Path]:
    """`paths`, from which results are to be named: those of one name get those of their folders before it, as
    many as it takes. Fields of a plate's wells, "A/1/0" and "B/1/0", become "A_1_0" and "B_1_0". Those that
    differ in their suffixes alone get these: results of "a.tif" and "a.npy" are of "a_tif" and "a_npy"."""
    # "." and ".." are called as the folders that they are; the root has no name at all.
    full = [path.absolute() if path.name not in ("", "..") else path.resolve() for path in paths]
    names = [path.name or "image" for path in full]
    for folders in range(1, _MOST_FOLDERS + 1):
        count = Counter(dict(zip(full, names, strict=True)).values())
        if max(count.values(), default=1) == 1:
            break
        for number, path in enumerate(full):
            if count[names[number]] > 1:
                before = [parent.name for parent in path.parents[:folders] if parent.name]
                names[number] = "_".join((*reversed(before), path.name))
    stems = [stem_of(Path(name)) for name in names]
    of_stem = Counter(dict(zip(full, stems, strict=True)).values())
    for number, stem in enumerate(stems):
        suffix = names[number].removeprefix(stem)
        if of_stem[stem] > 1:
            names[number] = f"{stem}{suffix.replace('.', '_')}{suffix}"
    return [path.parent / name for path, name in zip(paths, names, strict=True)]


def _by_axis(file: ImageFile, values: tuple[T, ...], unknown: T, channel_axis: int | None) -> tuple[T, ...]:
    """`values` of the file's axes, where channels are on another axis than the file says."""
    every = list(values)
    if file.channel_axis is not None:
        every.insert(file.channel_axis, unknown)
    return tuple(value for axis, value in enumerate(every) if axis != channel_axis)
