"""Sizes, places, shapes and intensities of objects, as a table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from napari_dsparse.errors import DsparseError, LabelsError
from napari_dsparse.images import ImageSource, resolve_image
from napari_dsparse.prediction.objects import check_whole_numbers

if TYPE_CHECKING:
    import pandas as pd

#: What scikit-image measures of every object; the perimeter only where pixels are square.
_SHAPE = (
    "area",
    "centroid",
    "perimeter",
    "equivalent_diameter_area",
    "axis_major_length",
    "axis_minor_length",
    "eccentricity",
    "orientation",
)
_INTENSITY = ("intensity_mean", "intensity_min", "intensity_max")


def measure(
    objects: Any,
    image: Any = None,
    *,
    classes: Any = None,
    scale: Sequence[float] | None = None,
    channel_axis: int | Literal["auto"] | None = "auto",
) -> pd.DataFrame:
    """Measure objects, plane by plane, with scikit-image's `regionprops_table`.

    Parameters
    ----------
    objects : integer array, shape (..., Y, X)
        0, or the object's number, as `Model.objects` gives it; numpy, dask or zarr. A number found on several
        planes, such as that of a tracked cell, gets a row for each.
    image : array, optional
        Image of the same shape, channels apart; adds intensities.
    classes : integer array, shape (..., Y, X), optional
        Class of every pixel, as `Model.predict` gives it; adds the column ``class``: objects carry numbers of
        their own and do not know their class.
    scale : sequence of float, optional
        Pixel size along each axis of `objects`, or along rows and columns alone; without it lengths are in
        pixels. Its sign, with which napari turns a view over, does not count.
    channel_axis : int, None or "auto"
        Axis of `image` that holds the channels.

    Returns
    -------
    pandas.DataFrame
        One row per object and plane:

        - ``label``: the object's number; ``class``: of most of its pixels (with `classes`);
        - ``plane-0``, ...: index of its plane along each leading axis (stacks only);
        - ``area``, in the scale's unit squared; ``centroid-0`` (row) and ``centroid-1`` (column),
          ``perimeter``, ``equivalent_diameter_area``, ``axis_major_length``, ``axis_minor_length``, in the
          scale's unit. The perimeter is NaN where pixels are not square;
        - ``eccentricity``, 0 (circle) to 1; ``orientation`` of the long axis against the rows' axis, in
          radians from -pi/2 to pi/2;
        - ``intensity_mean``, ``intensity_min``, ``intensity_max`` (with `image`), followed by ``-0``, ``-1``,
          ... where the image has a channel axis.

    Raises
    ------
    LabelsError
        If `objects` or `classes` are not whole numbers with rows and columns, or their shapes differ.
    ImageError
        If the image does not have the objects' shape.
    DsparseError
        If `scale` has the wrong number of entries, or one that is 0 or not finite.
    """
    import pandas as pd

    check_whole_numbers(objects, "Objects")
    shape = tuple(int(n) for n in objects.shape)
    if classes is not None:
        check_whole_numbers(classes, "Classes")
        if tuple(classes.shape) != shape:
            raise LabelsError(
                f"Objects have shape {shape} and classes {tuple(classes.shape)}; give both of one image."
            )
    spacing = _spacing(scale, len(shape))
    source = None if image is None else resolve_image(image, labels_shape=shape, channel_axis=channel_axis)
    tables: list[pd.DataFrame] = []
    for plane in product(*(range(n) for n in shape[:-2])):
        numbers = np.asarray(objects[plane])
        if tables and not numbers.any():
            continue
        known = None if classes is None else np.asarray(classes[plane])
        tables.append(pd.DataFrame(_columns(numbers, plane, _pixels(source, plane), known, spacing)))
    return pd.concat([table for table in tables if len(table)] or tables[:1], ignore_index=True)


def _spacing(scale: Sequence[float] | None, axes: int) -> tuple[float, float]:
    """Height and width of a pixel."""
    if scale is None:
        return 1.0, 1.0
    try:
        steps = tuple(abs(float(step)) for step in scale)
    except (TypeError, ValueError):
        raise DsparseError(f"scale is {scale!r}; give a number for each axis.") from None
    if len(steps) not in (2, axes):
        raise DsparseError(
            f"Objects of {axes} axes came with a scale of {len(steps)} entries {steps}; give one per axis, "
            "or the pixel's height and width."
        )
    for step in steps[-2:]:
        if not (math.isfinite(step) and step > 0):
            raise DsparseError(f"A pixel size of {step} is not possible; give finite numbers other than 0.")
    return steps[-2], steps[-1]


def _pixels(source: ImageSource | None, plane: tuple[int, ...]) -> NDArray[np.float64] | None:
    """A plane's pixels as scikit-image takes them: (Y, X), or (Y, X, C) where there is a channel axis."""
    if source is None:
        return None
    pixels = source.read(plane, (0, source.shape[-2]), (0, source.shape[-1])).astype(np.float64)
    return pixels[0] if source.channel_axis is None else np.moveaxis(pixels, 0, -1)


def _columns(
    numbers: NDArray[Any],
    plane: tuple[int, ...],
    pixels: NDArray[np.float64] | None,
    classes: NDArray[Any] | None,
    spacing: tuple[float, float],
) -> dict[str, Any]:
    """The table of one plane, by column."""
    from skimage.measure import regionprops_table

    if numbers.min(initial=0) < 0:
        raise LabelsError(
            f"Objects hold the number {numbers.min()}; they are numbered from 1, with 0 between."
        )
    known, consecutive = np.unique(numbers, return_inverse=True)
    consecutive = consecutive.reshape(numbers.shape) + (0 if known[0] == 0 else 1)
    known = known[known > 0]
    square = spacing[0] == spacing[1]
    measured = regionprops_table(
        consecutive,
        pixels,
        properties=[
            *(name for name in _SHAPE if square or name != "perimeter"),
            *(_INTENSITY if pixels is not None else ()),
        ],
        spacing=spacing,
    )
    columns: dict[str, Any] = {"label": known.astype(np.int64)}
    if classes is not None:
        columns["class"] = _commonest(consecutive, classes, len(known))
    columns |= {f"plane-{axis}": np.full(len(known), index) for axis, index in enumerate(plane)}
    for name, values in measured.items():
        columns[name] = values
        if name == "centroid-1" and not square:
            columns["perimeter"] = np.full(len(known), np.nan)
    return columns


def _commonest(consecutive: NDArray[Any], classes: NDArray[Any], count: int) -> NDArray[np.int64]:
    """The class that most pixels of each object 1..`count` have; the lower number wins a tie."""
    inside = consecutive > 0
    pairs = np.stack([consecutive[inside], classes[inside].astype(np.int64)])
    (owners, values), votes = np.unique(pairs, axis=1, return_counts=True)
    order = np.lexsort((-values, votes))  # the winner of each object comes last and is written last
    winners = np.zeros(count + 1, np.int64)
    winners[owners[order]] = values[order]
    return winners[1:]
