"""References to images in files, for other processes that see the same files: they stand for the pixels."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from napari_dsparse.errors import ImageError, sentence_of
from napari_dsparse.images.fingerprint import fingerprint
from napari_dsparse.images.microscope_file import ChunkArray
from napari_dsparse.images.reading import DAMAGE, read_image
from napari_dsparse.images.source import ImageSource
from napari_dsparse.images.tiff_array import TiffArray
from napari_dsparse.machine.memory import MOST_SEGMENTS

#: Windows of an image that have to agree, beside the state of its files.
_WINDOWS = 8

#: Images whose descriptions are kept.
_OPEN = 4


@dataclass(frozen=True, slots=True)
class ImageReference:
    """All that it takes to open an image elsewhere, and to see that it is the same.

    Parameters
    ----------
    path : str
        Absolute.
    series : int
        Which of the file's images it is, from 0.
    channel_axis : int or None
    letters : str or None
        As of `ImageSource`.
    state : str
        Of the files, as of `Origin`.
    sample : str
        Digest of shape, type and some of the pixels, as `fingerprint` takes it.
    """

    path: str
    series: int
    channel_axis: int | None
    letters: str | None
    state: str
    sample: str


def refer_to(source: ImageSource) -> ImageReference | None:
    """A reference to an image; None if it is in memory, or its files are not as they were opened."""
    origin = source.origin
    if origin is None or origin.current_state != origin.state:
        return None
    try:
        sample = fingerprint(source, _WINDOWS)
    except ImageError:  # whoever reads all of it will say so
        return None
    return ImageReference(
        str(origin.path), origin.series, source.channel_axis, source.letters, origin.state, sample
    )


class OpenedImages:
    """Images that are referred to, the last few known. Several threads may use them.

    Files are open while they are read alone: whoever else uses the disk may move and remove them, and what a
    network's disk says of a file is new when it is opened.
    """

    def __init__(self) -> None:
        self._open: OrderedDict[ImageReference, ImageSource] = OrderedDict()
        self._lock = threading.Lock()

    @contextmanager
    def reading(self, reference: ImageReference) -> Iterator[ImageSource]:
        """The image to read in the block.

        Raises
        ------
        ImageError
            If it is not here, is another one, or cannot be read in the block; or if, at its end, files have
            changed. The message is the reason alone.
        """
        try:
            source = self._opened(reference)
            yield source
            if isinstance(source.data, TiffArray):
                source.data.close()
            _check(source, reference)
        except (ImportError, *DAMAGE) as error:  # our own are among them
            with self._lock:
                self._open.pop(reference, None)
            raise ImageError(sentence_of(error).partition(";")[0]) from error

    def _opened(self, reference: ImageReference) -> ImageSource:
        with self._lock:
            source = self._open.get(reference)
            if source is None:
                source = self._open[reference] = _open(reference)
                if len(self._open) > _OPEN:
                    self._open.popitem(last=False)
            self._open.move_to_end(reference)
        _check(source, reference)
        return source


def _open(reference: ImageReference) -> ImageSource:
    path = Path(reference.path)
    if not path.exists():
        raise ImageError("no such file")
    file = read_image(path, series=reference.series)
    if isinstance(file.data, TiffArray | ChunkArray):
        file.data.keep_at_most(MOST_SEGMENTS // _OPEN)
    source = ImageSource(file.data, reference.channel_axis, path.name, file.letters, origin=file.origin)
    if refer_to(source) != reference:
        raise ImageError("another file of that name")
    return source


def _check(source: ImageSource, reference: ImageReference) -> None:
    if source.origin is None or source.origin.current_state != reference.state:
        raise ImageError("it has changed")
