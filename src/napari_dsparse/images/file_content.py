"""An array in a file, and the file's metadata about it, whichever format it has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from napari_dsparse.images.units import PIXEL

#: The letter of an axis that the file does not name.
UNNAMED = "?"


@dataclass(frozen=True, slots=True, eq=False)
class FileContent:
    """An array and what its file says about its axes.

    Parameters
    ----------
    data : array
        Numpy, memory-mapped or zarr.
    letters : str
        One letter per axis of `data`: T, C, Z, Y, X, S (colour samples), or "?".
    sizes : dict of str to (float, str)
        Scale and unit of the axes whose letters are keys; the others are not known.
    """

    data: Any
    letters: str
    sizes: dict[str, tuple[float, str]]

    def size(self, letter: str) -> tuple[float, str]:
        """Scale and unit of an axis: 1 pixel where they are not known."""
        return self.sizes.get(letter, (1.0, PIXEL))
