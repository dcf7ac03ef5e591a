"""Arrays of one shape as the channels of one image, none of them copied."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt


class ChannelStack:
    """Arrays stacked along a new first axis, read by need.

    Parameters
    ----------
    arrays : sequence of numpy, dask or zarr arrays, of one shape
        Anything with `shape`, `dtype` and numpy's basic slicing.

    Raises
    ------
    ValueError
        If there is none, or they differ in shape.
    """

    def __init__(self, arrays: Sequence[Any]) -> None:
        shapes = {tuple(int(n) for n in array.shape) for array in arrays}
        if len(shapes) != 1:
            raise ValueError(f"channels of one image have one shape; got {sorted(shapes)}")
        self._arrays = list(arrays)
        self.shape: tuple[int, ...] = (len(self._arrays), *shapes.pop())
        self.dtype: np.dtype[Any] = np.result_type(*(np.dtype(array.dtype) for array in self._arrays))

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of values."""
        return int(np.prod(self.shape))

    @property
    def nbytes(self) -> int:
        """Bytes of all values in this type."""
        return self.size * self.dtype.itemsize

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> npt.NDArray[Any]:
        """Values as numpy's basic indexing gives them, a new array; only what is asked for is read."""
        parts = index if isinstance(index, tuple) else (index,)
        if any(part is Ellipsis for part in parts):
            place = next(n for n, part in enumerate(parts) if part is Ellipsis)
            missing = self.ndim - (len(parts) - 1)
            parts = (*parts[:place], *(slice(None) for _ in range(missing)), *parts[place + 1 :])
        first, rest = (parts[0], tuple(parts[1:])) if parts else (slice(None), ())
        picked = np.arange(len(self._arrays))[first]
        if picked.ndim == 0:
            return np.array(self._arrays[int(picked)][rest], dtype=self.dtype, subok=True)
        if not len(picked):
            return np.empty((0, *np.asarray(self._arrays[0][rest]).shape), self.dtype)
        read = [np.asanyarray(self._arrays[int(n)][rest]) for n in picked]
        masked = any(isinstance(part, np.ma.MaskedArray) for part in read)
        stacked = np.ma.stack(read) if masked else np.stack(read)
        values: npt.NDArray[Any] = stacked.astype(self.dtype, copy=False)
        return values

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> npt.NDArray[Any]:
        """All values; `copy=False` cannot be had."""
        if copy is False:
            raise ValueError("channels that lie apart cannot be one array without a copy")
        return self[...].astype(self.dtype if dtype is None else dtype, copy=False)
