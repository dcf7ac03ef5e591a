"""TIFF as microscopes, Fiji and OME write it: which of its images, axes, and the size of a pixel."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from napari_dsparse.images.file_content import UNNAMED, FileContent, choose_series, several
from napari_dsparse.images.lossy import is_lossy
from napari_dsparse.images.tiff_array import TiffArray
from napari_dsparse.images.tiff_set import check_set, open_tiff, series_of
from napari_dsparse.images.tiff_sizes import find_sizes

#: tifffile's letters that mean the same here; it has more, for positions, lifetimes, angles and axes unnamed.
_NAMED_LETTERS = "TCZYXS"

#: Series of TIFFs without a description of their axes: there tifffile's letters are guesses by shape.
_GUESSED_KINDS = ("shaped", "uniform", "generic")

#: TIFF's codes for a last sample that is transparency: associated and unassociated alpha.
_ALPHA = (1, 2)

#: TIFF's code for grey values of which 0 is white.
_MIN_IS_WHITE = 0


def read_tiff(path: Path, series: int | None = None, *, as_stored: bool = False) -> FileContent:
    """One series of a TIFF, at full resolution, read from the file window by window.

    Parameters
    ----------
    path : Path
        Of a set of files that belong together, the one whose pixels are meant.
    series : int, optional
        Which of its images, from 0; the largest with pixels in this very file otherwise.
    as_stored : bool
        True for numbers of classes, not brightness: the values of a min-is-white file are left as they are,
        and it is looked up whether the compression alters them.

    Raises
    ------
    ImageError
        If there is no such series, or a file of the set is missing.
    tifffile.TiffFileError, ValueError, OSError, zlib.error
        If it is not a TIFF, damaged, or compressed in a way that is not installed.
    """
    with quiet_tifffile(), open_tiff(path) as (tiff, described):
        every = series_of(tiff, path, described)
        if not every:
            raise ValueError("it holds no image")
        own = [i for i, one in enumerate(every) if _is_in(one, path)]
        number, remarks = choose_series(path, [one.shape for one in every], series, own)
        chosen = every[number]
        page = chosen.keyframe
        remarks += described.remarks + tuple(check_set(path, chosen, described))
        letters = _letters_of(chosen)
        white = page.photometric == _MIN_IS_WHITE and chosen.dtype.kind in "bu" and not as_stored
        alpha = "S" in chosen.axes and any(code in _ALPHA for code in page.extrasamples)
        data: Any
        if TiffArray.fits(chosen):
            data = TiffArray(chosen, drop_last_sample=alpha, invert=white)
        else:
            data = chosen.asarray()
            if white:
                most = 2 ** int(page.bitspersample) - 1
                data = ~data if data.dtype.kind == "b" else data.dtype.type(most) - data
            if alpha:
                data = data.take(range(data.shape[chosen.axes.index("S")] - 1), chosen.axes.index("S"))
        if white:
            remarks += (f"{path.name} stores white as 0 (min-is-white); its values are turned round.",)
        return FileContent(
            data,
            letters,
            find_sizes(tiff, page, number, tuple(chosen.shape)),
            number,
            remarks,
            lossy=as_stored and is_lossy(page),
            choices=several([one.shape for one in every], own),
            files=_files_of(chosen, described.files, path),
        )


def _letters_of(series: Any) -> str:
    """Letters of a series' axes as far as the file states them."""
    letters = "".join(letter if letter in _NAMED_LETTERS else UNNAMED for letter in series.axes)
    if series.kind not in _GUESSED_KINDS or _has_named_axes(series):
        return letters
    # Only samples of one pixel are a fact of the format; which of the other axes are rows is a guess.
    return "".join("S" if letter == "S" else UNNAMED for letter in letters)


def _has_named_axes(series: Any) -> bool:
    """True if whoever wrote a tifffile file named its axes."""
    if series.kind != "shaped":
        return False
    return any("axes" in entry for entry in series.parent.shaped_metadata or ())


def _files_of(series: Any, others: tuple[Path, ...], path: Path) -> tuple[Path, ...]:
    """The files beside `path` that a series is read from, by name."""
    found = set(others)
    if series.is_multifile:
        found |= {Path(page.parent.filehandle.path) for page in series.pages if page is not None}
    return tuple(sorted(one for one in found if one.resolve() != path.resolve()))


def _is_in(series: Any, path: Path) -> bool:
    """True if a series has pixels in this very file, and not only in others of its set."""
    name = path.resolve()
    pages: Sequence[Any] = series.pages if series.is_multifile else [series.keyframe]
    return any(page is not None and Path(page.parent.filehandle.path).resolve() == name for page in pages)


class _Silence(logging.Filter):
    """Keeps records of the threads that ask for it from a log."""

    def __init__(self) -> None:
        super().__init__()
        self.depth = threading.local()

    def filter(self, record: logging.LogRecord) -> bool:
        return not getattr(self.depth, "value", 0)


_SILENCE = _Silence()
logging.getLogger("tifffile").addFilter(_SILENCE)


@contextmanager
def quiet_tifffile() -> Iterator[None]:
    """Keep tifffile's log of this thread off the terminal: what matters is said in remarks and errors."""
    depth = _SILENCE.depth
    depth.value = getattr(depth, "value", 0) + 1
    try:
        yield
    finally:
        depth.value -= 1
