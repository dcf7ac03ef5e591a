"""Files that an image is read from while it is used, and the state in which they were opened."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_dsparse.errors import ImageError
from napari_dsparse.images.file_content import FileContent
from napari_dsparse.images.zarr_file import STORE_MARKS

if TYPE_CHECKING:
    from napari_dsparse.images.source import ImageSource


@dataclass(frozen=True, slots=True)
class Origin:
    """An image's place in files from which it is read window by window.

    Parameters
    ----------
    path : Path
        Absolute; of a Zarr store, its folder.
    series : int
        Which of the file's images it is, from 0.
    files : tuple of Path
        All files of a set; of a Zarr store those that describe it, not its chunks.
    state : str
        Of these files when they were opened; see `state_of`.
    """

    path: Path
    series: int
    files: tuple[Path, ...]
    state: str

    @property
    def current_state(self) -> str | None:
        """State of the files now; None where one is gone or out of reach."""
        try:
            return state_of(self.files)
        except OSError:
            return None


def origin_of(path: Path, content: FileContent) -> Origin | None:
    """The origin of what was just read from a file; None where that is in memory, whole."""
    if isinstance(content.data, np.ndarray) and not isinstance(content.data, np.memmap):
        return None
    path = path.absolute()
    marks = [path / mark for mark in STORE_MARKS if (path / mark).exists()]
    files = (*(marks or [path]), *(each.absolute() for each in content.files))
    try:
        return Origin(path, content.series, files, state_of(files))
    except OSError:
        return None


def state_of(files: Iterable[Path]) -> str:
    """A digest of the sizes and times of files, equal on all machines that share them.

    Raises
    ------
    OSError
        If one is not in reach.
    """
    digest = hashlib.blake2b(digest_size=16)
    for file in files:
        found = file.stat()
        digest.update(f"{found.st_size} {found.st_mtime_ns};".encode())
    return digest.hexdigest()


@contextmanager
def unchanged(source: ImageSource, state: str | None = None) -> Iterator[None]:
    """Refuse what is read in the block of files that were written to; of those that are gone, nothing is new.

    Parameters
    ----------
    source : ImageSource
    state : str, optional
        The state that they have to be in, before the block too; by default the one at its beginning.

    Raises
    ------
    ImageError
        If they are in another one, before the block or after it.
    """
    origin = source.origin
    if origin is not None:
        before = origin.current_state
        state = before if state is None else state
        _check(source.name, before, state)
    yield
    if origin is not None:
        _check(source.name, origin.current_state, state)


def _check(name: str, state: str | None, known: str | None) -> None:
    if None not in (state, known) and state != known:
        raise ImageError(
            f"Image {name!r} was written to while it was read, so that parts of it may be old and others "
            "new; run this again when it is complete."
        )
