"""PNG, JPEG and BMP: brightness and colours, or the numbers of classes in them."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt
from PIL import Image

from napari_dsparse.images.file_content import FileContent
from napari_dsparse.images.units import find_unit, size_from_resolution

#: Steps by which Pillow spreads grey values of two and of four bits over eight.
_STEPS = {"L;2": 85, "L;4": 17}


def read_picture(file: Path) -> FileContent:
    """Intensities of a PNG, JPEG or BMP: grey, or red, green, blue, in as many bits as the file has.

    Raises
    ------
    OSError, ValueError, SyntaxError, RuntimeError, PIL.Image.DecompressionBombError
        If it is none, or damaged.
    """
    with _open(file) as picture:
        if _stored_as(picture).endswith(";16B") and picture.mode.startswith("RGB"):
            # Pillow would leave the upper eight bits of each colour.
            pixels = imagecodecs.png_decode(file.read_bytes())
            grey = _stored_as(picture).startswith("L")
            letters, samples = ("YX", 0) if grey else ("YXS", slice(3))
            return FileContent(np.ascontiguousarray(pixels[..., samples]), letters, _sizes(picture))
        if picture.mode in ("1", "L", "I", "F") or picture.mode.startswith("I;16"):
            return _plane(picture)
        if picture.mode in ("LA", "La"):
            return _plane(picture, picture.getchannel(0))
        return FileContent(np.asarray(picture.convert("RGB")), "YXS", _sizes(picture))


def read_indices(file: Path) -> FileContent:
    """Labels of a PNG or BMP: the stored numbers, not the colours or the brightness they stand for.

    Raises
    ------
    OSError, ValueError, SyntaxError, PIL.Image.DecompressionBombError
        If it is none, or damaged.
    """
    with _open(file) as picture:
        letters = "YX" if len(picture.getbands()) == 1 else "YXS"
        step, lossy = _STEPS.get(_stored_as(picture)), picture.format == "JPEG"
        pixels = np.asarray(picture)
        return FileContent(pixels if step is None else pixels // step, letters, {}, lossy=lossy)


def _open(file: Path) -> Image.Image:
    with warnings.catch_warnings():
        # Pillow warns of large pictures, common in microscopy. What it takes for an attack it still refuses.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        return Image.open(file, formats=("PNG", "JPEG", "BMP"))


def _stored_as(picture: Image.Image) -> str:
    """Pillow's name for the way in which the pixels of a picture that was just opened are stored."""
    tiles: list[Any] = getattr(picture, "tile", [])
    return tiles[0][3] if tiles and isinstance(tiles[0][3], str) else ""


def _plane(picture: Image.Image, channel: Image.Image | None = None) -> FileContent:
    pixels: npt.NDArray[Any] = np.asarray(channel or picture)
    if picture.mode == "I" and picture.format == "PNG":
        pixels = pixels.astype(np.uint16)  # older Pillow widens 16-bit grey to 32 bits
    return FileContent(pixels, "YX", _sizes(picture))


def _sizes(picture: Image.Image) -> dict[str, tuple[float, str]]:
    """Pixel size by the resolution that a picture states, where that is not a document's."""
    inch = find_unit("inch")
    resolution = picture.info.get("dpi")
    if inch is None or resolution is None:
        return {}
    sizes = {letter: size_from_resolution(float(n), inch) for letter, n in zip("XY", resolution, strict=True)}
    return {letter: size for letter, size in sizes.items() if size is not None}
