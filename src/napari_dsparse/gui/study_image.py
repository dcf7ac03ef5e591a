"""An image of the dock's list, as a value that the list keeps up to date."""

from __future__ import annotations

import weakref
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from napari_dsparse.classifier.class_edits import DoneEdit
from napari_dsparse.gui.layers.image_view import ImageView
from napari_dsparse.gui.layers.marks import mark_of, new_mark
from napari_dsparse.gui.layers.paint_history import Atom
from napari_dsparse.images.reading import ImageFile
from napari_dsparse.images.source import ImageSource

if TYPE_CHECKING:
    from napari.layers import Image, Labels

#: File and series of each channel of an image; None for the usual series.
ChannelFiles: TypeAlias = tuple[tuple[Path, int | None], ...]


@dataclass(frozen=True, slots=True, eq=False)
class FollowedEdit:
    """An edit of the table of classes that was made on the image in front, and followed by one behind.

    Parameters
    ----------
    front, own : DoneEdit
        The edit as it was made there, and here.
    atoms : dict
        Changes in the undo history of the strokes, after the edit and before it, by `id` of the former.
    """

    front: DoneEdit
    own: DoneEdit
    atoms: dict[int, tuple[Atom, Atom]] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class StudyImage:
    """An image of the list.

    Parameters
    ----------
    number : int
        Of its layer or, before it has one, of the layer it will get; see `Controller.number_of`.
    name : str
    source : ImageSource
    file : ImageFile or None
        Where it was read from; None for a layer that was open already.
    path : Path or None
        Its file, where that is known.
    channel_files : tuple of (Path, int or None)
        File and series of each image that it is combined of, where all are known.
    layer : weakref to Image, or None
    labels : array of int, shape of the source, or None
        Strokes as they were when it was in front last; None where nothing is painted.
    strokes, pixels : int
        Paint on it.
    strokes_layer : weakref to Labels, or None
        Where the strokes were painted last; it may have been removed since.
    steps : list of FollowedEdit
        Edits of the table of classes, for taking them back.
    segmented : bool
        Its segmentation layer holds the newest model's labels at every pixel.
    view : ImageView or None
        The part of it that was on screen when it was in front last.
    mark : str
        That of its layer, which its results bear.
    """

    number: int
    name: str
    source: ImageSource
    file: ImageFile | None = None
    path: Path | None = None
    channel_files: ChannelFiles = ()
    layer: weakref.ref[Image] | None = None
    labels: Any = None
    strokes: int = 0
    pixels: int = 0
    segmented: bool = False
    strokes_layer: weakref.ref[Labels] | None = None
    steps: list[FollowedEdit] = field(default_factory=list)
    view: ImageView | None = None
    mark: str = field(default_factory=new_mark)

    def hold(self, layer: Image) -> None:
        """Stand for an image that is open as `layer`."""
        self.layer, self.mark = weakref.ref(layer), mark_of(layer)

    @property
    def place(self) -> Path | None:
        """Its file or, if it is combined of several, that of its first channel, where it is known."""
        return next((path for path, _ in self.channel_files), None) if self.path is None else self.path

    @property
    def key(self) -> tuple[int, int | None]:
        """Key of the image in the live loop."""
        return self.number, self.source.channel_axis
