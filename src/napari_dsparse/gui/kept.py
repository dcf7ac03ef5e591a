"""Images of the window's list as they are handed to the thread that saves them, and back."""

from __future__ import annotations

import weakref
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from napari_dsparse.gui.layers.image_frame import data_of
from napari_dsparse.gui.layers.layer_choice import images_of
from napari_dsparse.gui.layers.paint_history import paint_of
from napari_dsparse.gui.layers.viewer import in_viewer
from napari_dsparse.gui.study import Study
from napari_dsparse.gui.study_image import StudyImage
from napari_dsparse.images.combined import combined_stem
from napari_dsparse.images.painted import is_painted
from napari_dsparse.images.plates import name_within
from napari_dsparse.images.source import ImageSource
from napari_dsparse.live.kept_images import KeptImage, OpenedImage, OpenPixels, are_same_strokes

if TYPE_CHECKING:
    from napari.layers import Image, Labels

    from napari_dsparse.gui.dock import SegmentationDock


def kept_image(entry: StudyImage) -> KeptImage:
    """An image as it is now; strokes are taken by reference, since nothing writes to them."""
    image = KeptImage(
        entry.number,
        entry.name,
        entry.path,
        None if entry.file is None else entry.file.series,
        entry.source,
        entry.labels,
        from_file=entry.file is not None,
        channel_files=entry.channel_files,
    )
    layer = None if entry.layer is None else entry.layer()
    if layer is None:
        return image
    axes = [axis for axis in range(layer.ndim) if layer.rgb or axis != entry.source.channel_axis]
    return replace(
        image,
        scale=tuple(float(layer.scale[axis]) for axis in axes),
        units=tuple(str(layer.units[axis]) for axis in axes),
    )


def kept_images(study: Study, copied: Collection[int]) -> list[KeptImage]:
    """All images of the list as they are now; pixels in no file are kept of those numbered `copied`."""
    return [replace(kept_image(each), copied=each.number in copied) for each in study.images]


def open_layers(dock: SegmentationDock) -> list[Image]:
    """Image layers that strokes which are opened may go on: those without, or with these very ones."""
    return images_of(dock.viewer)


def pixels_of(dock: SegmentationDock, layers: Sequence[Image]) -> list[OpenPixels]:
    """The pixels of layers, with what is painted on them."""
    return [OpenPixels(data_of(layer), _painted_on(dock, layer)) for layer in layers]


def _painted_on(dock: SegmentationDock, layer: Image) -> Any:
    strokes = _strokes_on(dock, layer)
    painted = None if strokes is None else paint_of(strokes)
    return painted if is_painted(painted) else None


def _strokes_on(dock: SegmentationDock, layer: Image) -> Labels | None:
    strokes = dock.strokes_remembered(layer)
    return strokes if strokes is not None and in_viewer(dock.viewer, strokes) else None


def _name_of(opened: OpenedImage) -> str:
    """Name of an image in the list; of a file with several, which one it is; of several files, theirs."""
    file = opened.file
    if file is not None and file.channel_files:
        return combined_stem([path for path, _ in file.channel_files])
    path = opened.path
    name = name_within(path) if path is not None and path.name == opened.name else opened.name
    return name if file is None or not file.choices else f"{name}, image {file.series}"


def _study_image(dock: SegmentationDock, opened: OpenedImage, layers: Sequence[Image]) -> StudyImage | None:
    """An image that was opened, on its layer if there is one; None if it was on one that is gone."""
    number = dock.controller.number_of(None)
    layer = None if opened.layer is None else layers[opened.layer]
    strokes = None
    if layer is not None:
        painted = _painted_on(dock, layer)  # perhaps meanwhile
        if are_same_strokes(painted, opened.labels):
            strokes = _strokes_on(dock, layer)
        if not in_viewer(dock.viewer, layer) or (painted is not None and strokes is None):
            layer = None
    if layer is None and opened.file is None:
        return None
    image = StudyImage(
        number,
        _name_of(opened),
        opened.source,
        file=opened.file,
        path=opened.path,
        channel_files=() if opened.file is None else opened.file.channel_files,
        labels=opened.labels,
        strokes=opened.strokes,
        pixels=opened.pixels,
    )
    if layer is not None:
        dock.controller.give_number(layer, number)
        image.hold(layer)
        image.name = layer.name
        image.strokes_layer = None if strokes is None else weakref.ref(strokes)
        image.source = ImageSource(data_of(layer), opened.source.channel_axis, layer.name)
    return image


def study_images(
    dock: SegmentationDock, opened: Sequence[OpenedImage], layers: Sequence[Image]
) -> tuple[list[StudyImage], Mapping[int, int], Mapping[int, Any]]:
    """Images for the list, with their numbers in the project, and their strokes, by those in the list.

    An image is put on its layer if there is one, and left out if it was on one that is gone.
    """
    found = [(_study_image(dock, each, layers), each.entry) for each in opened]
    images = [image for image, _ in found if image is not None]
    entries = {image.number: entry for image, entry in found if image is not None}
    return images, entries, {image.number: image.labels for image in images}
