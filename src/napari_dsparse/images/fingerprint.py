"""Identity of an image by its content, however large it is."""

from __future__ import annotations

import hashlib
import math

import numpy as np

from napari_dsparse.images.source import ImageSource
from napari_dsparse.images.windows import spread_windows

#: Windows that are looked at, and their edge in pixels.
_WINDOWS, _EDGE = 64, 64


def fingerprint(source: ImageSource, count: int = _WINDOWS) -> str:
    """A hash of an image's shape, dtype, channels and an even sample of its pixels, in hexadecimal.

    Equal for equal images. Of images up to `count` windows of 64 x 64 pixels every pixel counts; two larger
    ones that differ between the windows alone have the same.

    Raises
    ------
    ImageError
        If the file behind the image cannot be read.
    """
    described = f"{source.shape} {source.channels} {np.dtype(source.data.dtype).newbyteorder('=')}"
    digest = hashlib.blake2b(described.encode(), digest_size=16)
    rows, columns = source.shape[-2:]
    if math.prod(source.shape) <= count * _EDGE**2:
        windows = [(plane, (0, rows), (0, columns)) for plane in source.planes()]
    else:
        windows = list(spread_windows(source.shape, _EDGE, count))
    for window in windows:
        digest.update(source.read(*window, np.float64).tobytes())
    return digest.hexdigest()
