"""Images for a batch: files, folders, and the images of the dock's list."""

from __future__ import annotations

import re
from collections.abc import Collection, Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from napari_dsparse.batch.inputs import InputImage, WantedImage, input_of, read_input, told_apart
from napari_dsparse.batch.outputs import stem_of
from napari_dsparse.gui.layers.exporting import file_name, image_of
from napari_dsparse.gui.layers.image_frame import ChannelChoice, frame_of
from napari_dsparse.gui.study_files import images_in
from napari_dsparse.gui.study_image import StudyImage
from napari_dsparse.images.plates import Plate, name_within, read_plate
from napari_dsparse.images.reading import Expected

#: Names of results, which are no images to segment where they lie in a folder with them.
_RESULT = re.compile(r"_(segmentation|probabilities|uncertainty|objects)(\.ome)?\.(tiff?|png|zarr)$", re.I)


@dataclass(frozen=True, slots=True, eq=False)
class BatchItem:
    """An image of the table.

    Parameters
    ----------
    name : str
    path : Path or None
        Its file; None of an image that is in memory alone.
    entry : StudyImage or None
        The image of the list that it is.
    """

    name: str
    path: Path | None
    entry: StudyImage | None = None

    @property
    def place(self) -> str:
        """For the user: where it is."""
        return str(self.file or "an open layer")

    @property
    def file(self) -> Path | None:
        """Its file, or that of its first channel, where it is known."""
        return self.path if self.path is not None or self.entry is None else self.entry.place


def items_of_files(paths: Iterable[Path]) -> tuple[list[BatchItem], int, list[Plate]]:
    """Files, and the images in folders; the number of results left out; and plates, not looked into.

    Results of ours that lie in a folder with the images are no images to segment.

    Raises
    ------
    ImageError
        If a folder cannot be listed.
    """
    found: dict[Path, BatchItem] = {}
    results, plates = 0, list[Plate]()
    for path in paths:
        plate = read_plate(path)
        if plate is not None and plate.wells:
            plates.append(plate)
            continue
        inside = images_in(path)
        images = [path] if inside is None else [each for each in inside if not _RESULT.search(each.name)]
        results += 0 if inside is None else len(inside) - len(images)
        found |= {each: item_of(each) for each in map(Path.absolute, images)}
    return list(found.values()), results, plates


def item_of(path: Path) -> BatchItem:
    """An image file as it is in the table."""
    return BatchItem(name_within(path), path)


def items_of_list(images: Sequence[StudyImage], present: Sequence[BatchItem]) -> list[BatchItem]:
    """The images of the list that are not there yet."""
    known = {item.path for item in present} - {None}
    entries = [item.entry for item in present]
    return [
        BatchItem(each.name, None if each.path is None else each.path.absolute(), each)
        for each in images
        if not any(each is entry for entry in entries)
        and (each.path is None or each.path.absolute() not in known)
    ]


def wanted_images(items: Sequence[BatchItem]) -> list[WantedImage]:
    """The images as batches take them: files are opened as `predict` opens them, when it is their turn.

    Raises
    ------
    ImageError
        If the layer of an open image cannot be read as the list has it.
    """
    wanted = [_wanted(item) for item in items]
    names = told_apart([each.name for each in wanted])
    return [replace(each, name=name) for each, name in zip(wanted, names, strict=True)]


def mark_learned(
    wanted: Sequence[WantedImage],
    items: Sequence[BatchItem],
    images: Sequence[StudyImage],
    keys: Collection[Hashable],
) -> list[WantedImage]:
    """`wanted`, made of `items`, with those marked that the model learned from: of `images`, these keys."""
    learned = [each for each in images if each.key in keys]
    paths = {each.path.absolute() for each in learned if each.path is not None}
    known = [any(item.entry is each for each in learned) or item.path in paths for item in items]
    return [replace(each, learned_from=known[number]) for number, each in enumerate(wanted)]


def _wanted(item: BatchItem) -> WantedImage:
    entry, path = item.entry, item.path
    if path is not None and entry is None:
        return WantedImage(path, path, partial(_read, path))
    if path is not None and entry is not None and entry.file is not None:
        read = partial(_read_as_listed, path, entry.source.channel_axis, entry.file.series)
        only = item.name == name_within(path)  # (or it is one of several in the file)
        series = "" if only else f"_image_{entry.file.series}"
        return WantedImage(path, path.with_name(f"{stem_of(path)}{series}.tif") if series else path, read)
    assert entry is not None
    return wanted_open_image(_open_image(entry), item.name if path is None else path.stem)


def wanted_open_image(image: InputImage, name: str) -> WantedImage:
    """An open image as batches take it; `name` is what its results are named by."""
    # The suffix is none of the layer's name, of which everything behind a dot would be taken for one.
    return WantedImage(image.path, Path(f"{file_name(name)}.tif"), lambda expected: image, in_file=False)


def _open_image(entry: StudyImage) -> InputImage:
    layer = None if entry.layer is None else entry.layer()
    if layer is not None:
        return image_of(frame_of(layer, ChannelChoice(entry.source.channel_axis, "known")))
    if entry.file is not None:
        return input_of(entry.file, entry.source)
    axes = len(entry.source.shape)
    return InputImage(Path(entry.name), entry.source, (1.0,) * axes, ("pixel",) * axes, in_file=False)


def _read(path: Path, expected: Expected) -> InputImage:
    return read_input(path, "auto", expected=expected)


def _read_as_listed(path: Path, channel_axis: int | None, series: int, expected: Expected) -> InputImage:
    return read_input(path, channel_axis, expected=expected, series=series)
