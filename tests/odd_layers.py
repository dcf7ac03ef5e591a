"""Odd layers of napari and names of classes, as a table: what is added or typed, and what the dock says then.

"right": it learns from two strokes, or takes what was typed. "New": it asks for strokes and is not tried
further. Anything else is a word of the one clear sentence in the dock. What napari refuses is not here.
"""

from __future__ import annotations

from typing import Any

import numpy as np

NAN, INF = float("nan"), float("inf")

#: 48 x 64 pixels of two kinds, left and right, and strokes on both.
IMAGE = np.random.default_rng(0).normal(60, 4, (48, 64)).astype(np.float32)
IMAGE[:, 32:] += 60
STROKES = np.zeros((48, 64), np.int64)
STROKES[5:15, 5:15], STROKES[5:15, 45:55] = 1, 2

BYTES, WIDE = IMAGE.astype(np.uint8), IMAGE.astype(np.float64)


def unknown_chunks() -> Any:
    """A dask array that does not know how many rows it has."""
    import dask.array

    return dask.array.from_array(IMAGE, chunks=24)[dask.array.from_array(IMAGE[:, 0] > 0)]


def lazy(data: Any) -> Any:
    """The same as a dask array."""
    import dask.array

    return dask.array.from_array(data, chunks=24)


#: Images: what, data or a function that makes it, options of the layer, what comes of it.
IMAGES: list[tuple[str, Any, dict[str, Any], str]] = [
    ("truths", IMAGE > 90, {}, "right"),
    ("half precision", IMAGE.astype(np.float16), {}, "New"),
    ("negative", -IMAGE, {}, "New"),
    ("numbers far from zero", (IMAGE * 10).astype(np.int64) + 2**40, {}, "does not tell apart"),
    ("beyond float32", WIDE * 1e300, {}, "does not tell apart"),
    ("below float32", WIDE * 1e-300, {}, "does not tell apart"),
    ("no finite pixel", IMAGE * NAN, {}, "no finite pixel"),
    ("some not a number", np.where(IMAGE > 130, NAN, IMAGE), {}, "right"),
    ("constant", IMAGE * 0, {}, "New"),
    ("one pixel", IMAGE[:1, :1], {}, "New"),
    ("colours beyond 1", np.stack([IMAGE] * 3, -1), {"rgb": True}, "New"),
    ("colours with transparency", np.stack([BYTES] * 4, -1), {"rgb": True}, "New"),
    ("five axes", np.stack([IMAGE] * 24).reshape(2, 3, 4, 48, 64), {}, "New"),
    ("masked", np.ma.masked_less(IMAGE, 50), {}, "right"),
    ("dask of unknown chunks", unknown_chunks, {}, "of known size"),
    ("dask", lambda: lazy(IMAGE), {}, "New"),
    ("a pyramid", lambda: [IMAGE, IMAGE[::2, ::2]], {"multiscale": True}, "right"),
    ("a name that steers terminals", IMAGE, {"name": "a\x1b[31m<b>&\0"}, "New"),
    ("a name of 240 letters", IMAGE, {"name": "x" * 240}, "New"),
    ("pixels of extreme sizes", IMAGE, {"scale": (1e-12, 1e12)}, "New"),
    ("rotated", IMAGE, {"rotate": 30}, "New"),
]

#: Labels layers that are chosen as strokes; "objects" are asked about first, "one more" class is asked for.
LABELS: list[tuple[str, Any, dict[str, Any], str]] = [
    ("of another shape", STROKES[:5], {}, "has shape (5, 64)"),
    ("of more axes", np.stack([STROKES] * 3), {}, "has shape (3, 48, 64)"),
    ("of another scale", STROKES, {"scale": (2, 2)}, "right"),
    ("rotated", STROKES, {"rotate": 45}, "right"),
    ("negative", STROKES - 1, {}, "hold -1"),
    ("beyond 32 bits", STROKES * 2**40, {}, "objects"),
    ("beyond 255", STROKES * 150, {}, "objects"),
    ("beyond 1000", STROKES * 1500, {}, "objects"),
    ("unsigned", STROKES.astype(np.uint64), {}, "right"),
    ("truths", STROKES > 0, {}, "one more"),
    ("empty", STROKES * 0, {}, "one more"),
    ("numbered objects", np.arange(48 * 64).reshape(48, 64) // 40, {}, "objects"),
    ("a pyramid", lambda: [STROKES, STROKES[::2, ::2]], {"multiscale": True}, "is a pyramid"),
    ("dask", lambda: lazy(STROKES), {}, "right"),
    ("read-only", np.broadcast_to(np.repeat([1, 2], 32), (48, 64)), {}, "right"),
]

#: Texts that are put for the name of a class, and the name that it has then; None leaves it as it was.
NAMES: list[tuple[str, str | None]] = [
    ("x" * 240, "x" * 240),
    ("a\0b", "ab"),
    ("\x1b[31mred", "[31mred"),
    ("", None),
    ("   ", None),
    ("\n\t\x07", None),
    ("background", None),  # another class has it
    ("<b>bold</b>", "<b>bold</b>"),
    ("a\nb", "ab"),
    ("核 µm", "核 µm"),
    ("\u202eliot", "liot"),
    ("\ud800", None),
    ("'; drop", "'; drop"),
]
