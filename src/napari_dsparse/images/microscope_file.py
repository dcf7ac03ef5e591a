"""Files of microscopes' own programs, read by the readers of bioio: Zeiss's CZI, Nikon's ND2, Leica's LIF.

The reader of each format is asked for by its name: bioio's own choice among all that are installed may fall
on one that starts Java, or fetches it.
"""

from __future__ import annotations

import importlib
import logging
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from itertools import product
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_dsparse.errors import ImageError
from napari_dsparse.images.boxes import Box, box_of, overlap
from napari_dsparse.images.file_content import UNNAMED, FileContent, choose_series, several
from napari_dsparse.machine.memory import MOST_SEGMENTS

#: Reader of each suffix: the module of its class, and the axes of one part that is read in one piece, where
#: that can be said. CZI calls samples A; without it bioio-czi 3.0 repeats the first sample of a pixel.
_READERS: dict[str, tuple[str, dict[str, Any]]] = {
    ".czi": ("bioio_czi", {"chunk_dims": ["Y", "X", "S", "A"]}),
    ".nd2": ("bioio_nd2", {}),
    ".lif": ("bioio_lif", {"chunk_dims": ["Y", "X", "S"]}),
}

#: Suffixes of the files read here.
MICROSCOPE_SUFFIXES = tuple(_READERS)

#: The readers' letters that mean the same here; others, such as views and phases, stay unnamed.
_NAMED_LETTERS = "TCZYXS"

#: The letter of tiles that overlap or lie side by side, and are put together.
_MOSAIC = "M"

#: Scenes up to which the mosaic of each is put together to know its size.
_MOST_PUT_TOGETHER = 32


def read_microscope(path: Path, series: int | None = None) -> FileContent:
    """One scene of a CZI, ND2 or LIF, read from the file part by part (a plane, or a tile of a mosaic).

    Parameters
    ----------
    path : Path
    series : int, optional
        Which of its scenes, from 0; the largest otherwise.

    Raises
    ------
    ImageError
        If the reader is not installed, or there is no such scene.
    OSError, ValueError, KeyError, IndexError, TypeError, RuntimeError
        If the file is damaged.
    """
    module, options = _READERS[path.suffix.lower()]
    readers, faults = _import(module, path), importlib.import_module("bioio_base.exceptions")
    with _quiet():
        try:
            reader = readers.Reader(path, **options)
            scenes = [str(scene) for scene in reader.scenes]
            shapes = [_shape_of(reader, number, len(scenes)) for number in range(len(scenes))]
            number, remarks = choose_series(path, shapes, series)
            reader.set_scene(number)
            return _content(reader, path, number, remarks, shapes)
        except (faults.UnsupportedFileFormatError, faults.UnexpectedShapeError) as error:
            raise ValueError(getattr(error, "msg_extra", None) or str(error)) from error


def _content(
    reader: Any, path: Path, number: int, remarks: tuple[str, ...], shapes: list[tuple[int, ...]]
) -> FileContent:
    labelled = _arrays_of(reader)
    names = [str(name) for name in labelled.dims]
    kept = [axis for axis, name in enumerate(names) if name in "YX" or labelled.shape[axis] > 1]
    array = labelled.data[tuple(slice(None) if axis in kept else 0 for axis in range(len(names)))]
    letters = "".join(names[axis] if names[axis] in _NAMED_LETTERS else UNNAMED for axis in kept)
    if path.suffix.lower() == ".czi" and letters.endswith("S"):
        array = array[..., ::-1]  # Zeiss stores blue, green, red
    channels = [str(name) for name in reader.channel_names or ()]
    if "C" in letters and len(channels) == array.shape[letters.index("C")]:
        remarks += (f"Channels of {path.name}, in order: {', '.join(channels)}.",)
    return FileContent(
        ChunkArray(array, path.name),
        letters,
        _sizes(reader),
        number,
        remarks,
        choices=several(shapes),
    )


def _arrays_of(reader: Any) -> Any:
    """The lazy array of the scene with names of its axes; tiles of a mosaic put together."""
    if _MOSAIC not in reader.dims.order:
        return reader.xarray_dask_data
    try:
        return reader.mosaic_xarray_dask_data
    except NotImplementedError:
        return reader.xarray_dask_data


def _shape_of(reader: Any, number: int, scenes: int) -> tuple[int, ...]:
    """Shape of a scene without axes of one; with many scenes of tiles, that of a tile tells enough."""
    reader.set_scene(number)
    shape = _arrays_of(reader).shape if scenes <= _MOST_PUT_TOGETHER else reader.shape
    return tuple(int(n) for n in shape if n > 1)


def _sizes(reader: Any) -> dict[str, tuple[float, str]]:
    """Pixel size in micrometres and the time between frames, as far as they are known."""
    found = reader.physical_pixel_sizes
    sizes = {letter: (getattr(found, letter, None), "micrometer") for letter in "ZYX"}
    interval = reader.time_interval
    if isinstance(interval, timedelta):
        sizes["T"] = (interval.total_seconds(), "second")
    return {
        letter: (float(size), unit)
        for letter, (size, unit) in sizes.items()
        if size is not None and np.isfinite(size) and size > 0
    }


def _import(module: str, path: Path) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ImportError as missing:
        raise ImageError(
            f"File {str(path)!r} needs the package {module.replace('_', '-')} to be read, which is not "
            "installed; install it with: pip install 'napari-dsparse[bioio]'."
        ) from missing


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the readers' logs off the terminal: what matters of them is said in errors."""
    logger = logging.getLogger("bioio_base")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)


class ChunkArray:
    """A dask array that is sliced with numpy's basic indices, its last chunks kept: a window costs those it
    touches, and the next one beside it hardly any.

    Several threads may read it, one after another.

    Parameters
    ----------
    array : dask array
    name : str
        Name of the file in messages.

    Raises
    ------
    OSError
        On reading, if the file is gone or damaged.
    """

    def __init__(self, array: Any, name: str) -> None:
        self._array, self._name = array, name
        self._starts = [np.concatenate(([0], np.cumsum(sizes))) for sizes in array.chunks]
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[int, ...], npt.NDArray[Any]] = OrderedDict()
        self._kept_bytes = 0
        self._most = MOST_SEGMENTS
        self.shape: tuple[int, ...] = tuple(int(n) for n in array.shape)
        self.dtype: np.dtype[Any] = np.dtype(array.dtype)
        self.ndim = len(self.shape)

    def keep_at_most(self, size: int) -> None:
        """Keep at most `size` bytes of chunks; those of the last window always."""
        self._most = size

    @property
    def part_bytes(self) -> int:
        """Bytes of a chunk, which is read in one piece."""
        return int(np.prod(self._array.chunksize, dtype=np.int64)) * self.dtype.itemsize

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> npt.NDArray[Any]:
        box, picks = box_of(index, self.shape)
        out = np.zeros([stop - start for start, stop in box], self.dtype)
        if out.size:
            with self._lock:
                self._fill(box, out)
        picked: npt.NDArray[Any] = out[picks]
        return picked

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> npt.NDArray[Any]:
        pixels = self[...]
        return pixels if dtype is None else pixels.astype(dtype, copy=False)

    def _fill(self, box: Box, out: npt.NDArray[Any]) -> None:
        spans = [
            range(
                int(np.searchsorted(starts, start, "right")) - 1, int(np.searchsorted(starts, stop, "left"))
            )
            for (start, stop), starts in zip(box, self._starts, strict=True)
        ]
        used = 0
        for cell in product(*spans):
            chunk = self._chunk(cell)
            used += chunk.nbytes
            edges = [int(starts[i]) for i, starts in zip(cell, self._starts, strict=True)]
            there, here = overlap(box, edges, chunk.shape)
            out[there] = chunk[here]
        while self._kept_bytes > max(self._most, used):
            self._kept_bytes -= self._kept.popitem(last=False)[1].nbytes

    def _chunk(self, cell: tuple[int, ...]) -> npt.NDArray[Any]:
        if cell in self._kept:
            self._kept.move_to_end(cell)
            return self._kept[cell]
        try:
            with _quiet():
                chunk = np.asarray(self._array.blocks[cell].compute(scheduler="synchronous"))
        except (ValueError, KeyError, IndexError, TypeError, AttributeError, RuntimeError) as damage:
            reason = " ".join(str(damage).split()) or type(damage).__name__
            raise OSError(f"a part of {self._name} cannot be read: {reason}") from damage
        self._kept[cell] = chunk
        self._kept_bytes += chunk.nbytes
        return chunk
