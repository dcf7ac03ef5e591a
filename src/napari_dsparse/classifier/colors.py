"""Colours of classes: distinct ones for as many classes as there may be."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

#: Okabe and Ito's colour-blind safe palette, ordered so that the first two stand apart on grey images.
DEFAULT_COLORS: tuple[str, ...] = (
    "#0072b2",
    "#e69f00",
    "#009e73",
    "#cc79a7",
    "#56b4e9",
    "#d55e00",
    "#f0e442",
    "#999999",
)

#: Values of red, green and blue that further colours are chosen from: every 17th of 0..255.
_LEVELS = 16
#: Lightness and least chroma of further colours in OKLab: they show on black, on white and on grey images.
_DARKEST, _LIGHTEST, _DULLEST = 0.42, 0.9, 0.08


def default_color(number: int) -> str:
    """The default colour, ``#rrggbb``, of class `number` (1, 2, ...).

    The palette comes first; each colour beyond it is the one farthest from all before it in OKLab, where
    distances are about as large as they look. The colours repeat once there are no more, after far more than
    a thousand.
    """
    if number <= len(DEFAULT_COLORS):
        return DEFAULT_COLORS[number - 1]
    further = _further_colors()
    return further[(number - len(DEFAULT_COLORS) - 1) % len(further)]


def oklab(rgb: NDArray[np.integer]) -> NDArray[np.float64]:
    """Lightness and two colour axes, (..., 3), of sRGB values 0..255, (..., 3).

    Source: https://bottosson.github.io/posts/oklab/
    """
    share = np.asarray(rgb) / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    cones = linear @ np.array(
        [
            [0.4122214708, 0.2119034982, 0.0883024619],
            [0.5363325363, 0.6806995451, 0.2817188376],
            [0.0514459929, 0.1073969566, 0.6299787005],
        ]
    )
    lab: NDArray[np.float64] = np.cbrt(cones) @ np.array(
        [
            [0.2104542553, 1.9779984951, 0.0259040371],
            [0.7936177850, -2.4285922050, 0.7827717662],
            [-0.0040720468, 0.4505937099, -0.8086757660],
        ]
    )
    return lab


@lru_cache(maxsize=1)
def _further_colors() -> tuple[str, ...]:
    """All candidates, each as far as possible from the palette and from those before it."""
    levels = np.arange(_LEVELS) * (255 // (_LEVELS - 1))
    rgb = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), -1).reshape(-1, 3)
    lab = oklab(rgb)
    fits = (lab[:, 0] >= _DARKEST) & (lab[:, 0] <= _LIGHTEST) & (np.hypot(*lab[:, 1:].T) >= _DULLEST)
    rgb, lab = rgb[fits], lab[fits]
    palette = oklab(np.array([list(bytes.fromhex(color[1:])) for color in DEFAULT_COLORS]))
    distance = np.linalg.norm(lab[:, None] - palette, axis=-1).min(1)
    colors = []
    for _ in range(len(rgb)):
        # Rounded, so that near ties fall the same way on every machine.
        farthest = int(np.argmax(np.round(distance, 9)))
        colors.append("#" + bytes(rgb[farthest].tolist()).hex())
        distance = np.minimum(distance, np.linalg.norm(lab - lab[farthest], axis=-1))
        distance[farthest] = -1
    return tuple(colors)
