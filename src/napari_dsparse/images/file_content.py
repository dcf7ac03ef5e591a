"""An array in a file, and the file's metadata about it, whichever format it has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from napari_dsparse.errors import ImageError
from napari_dsparse.images.units import PIXEL

#: Images of one file: the number of each, and its shape.
Choices: TypeAlias = tuple[tuple[int, tuple[int, ...]], ...]

#: The letter of an axis that the file does not name.
UNNAMED = "?"


@dataclass(frozen=True, slots=True, eq=False)
class FileContent:
    """An array and what its file says about its axes.

    Parameters
    ----------
    data : array
        Numpy, or an array that is read from the file window by window.
    letters : str
        One letter per axis of `data`: T, C, Z, Y, X, S (colour samples), or "?".
    sizes : dict of str to (float, str)
        Scale and unit of the axes whose letters are keys; the others are not known.
    series : int
        Which of the file's images this is, from 0.
    remarks : tuple of str
        What a user should know of how the file was read, a sentence each.
    lossy : bool
        True if the file's compression alters values.
    choices : tuple of (int, tuple of int)
        Number and shape of each image in this very file, where there are several.
    files : tuple of Path
        Other files that belong to it: with further planes, or a description.
    """

    data: Any
    letters: str
    sizes: dict[str, tuple[float, str]]
    series: int = 0
    remarks: tuple[str, ...] = ()
    lossy: bool = False
    choices: Choices = ()
    files: tuple[Path, ...] = ()

    def size(self, letter: str) -> tuple[float, str]:
        """Scale and unit of an axis: 1 pixel where they are not known."""
        return self.sizes.get(letter, (1.0, PIXEL))


def choose_series(
    path: Path, shapes: Sequence[Sequence[int]], wanted: int | None, own: Sequence[int] | None = None
) -> tuple[int, tuple[str, ...]]:
    """Choose which of a file's images to read; with the remarks that makes.

    Parameters
    ----------
    path : Path
    shapes : sequence of sequences of int
        Shape of each image.
    wanted : int, optional
        The one that was asked for; otherwise the largest of `own` is taken and said.
    own : sequence of int, optional
        Images with pixels in this very file, where it belongs to a set of files; all by default.

    Raises
    ------
    ImageError
        If there is no such image.
    """
    if wanted is not None:
        if not 0 <= wanted < len(shapes):
            allowed = "only series 0" if len(shapes) == 1 else f"series 0 to {len(shapes) - 1}"
            raise ImageError(f"File {str(path)!r} has {allowed}; series {wanted} is not among them.")
        return wanted, ()
    among = list(own) if own else list(range(len(shapes)))
    best = max(among, key=lambda i: (_pixels(shapes[i]), -i))
    if len(shapes) == 1:
        return best, ()
    listed = ", ".join(f"{i}: {_size(shape)}" for i, shape in enumerate(shapes[:8]))
    more = ", ..." if len(shapes) > 8 else ""
    why = "the largest" if len(among) > 1 or not own else "the one stored in this file"
    return best, (
        f"{path.name} holds {len(shapes)} images ({listed}{more}); "
        f"series {best} is read, {why}: choose another by its number.",
    )


def several(shapes: Sequence[Sequence[int]], own: Sequence[int] | None = None) -> Choices:
    """The images that can be chosen in a file, `own` of all by default; none where there is no choice."""
    numbers = own if own else range(len(shapes))
    return tuple((n, tuple(map(int, shapes[n]))) for n in numbers) if len(numbers) > 1 else ()


def _pixels(shape: Sequence[int]) -> int:
    count = 1
    for n in shape:
        count *= int(n)
    return count


def _size(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))
