"""Sizes, places, shapes and intensities of objects, as a table."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import product
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from napari_dsparse import checks
from napari_dsparse.errors import DsparseError, LabelsError
from napari_dsparse.images import ImageSource, resolve_image
from napari_dsparse.prediction.objects import block_axes, check_whole_numbers

if TYPE_CHECKING:
    import pandas as pd

#: What scikit-image measures of every object; the perimeter is ours where pixels are not square.
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
#: The same in 3-D; scikit-image calls a volume an area too.
_SHAPE_3D = ("area", "centroid", "equivalent_diameter_area", "axis_major_length")
_NAMES = {"equivalent_diameter_area": "equivalent_diameter"}
_NAMES_3D = _NAMES | {"area": "volume"}
#: Pixels whose sides differ by less, relatively, are square: pixel sizes are rounded in files.
_SQUARE = 1e-6
#: Pixels that a diagonal goes along their short side at most.
_LONGEST_STEP = 32
_INTENSITY = ("intensity_mean", "intensity_min", "intensity_max")


def measure(
    objects: Any,
    image: Any = None,
    *,
    classes: Any = None,
    scale: Sequence[float] | None = None,
    channel_axis: int | Literal["auto"] | None = "auto",
    volume: bool = False,
    stop: Callable[[], bool] | None = None,
) -> pd.DataFrame:
    """Measure objects, plane by plane or in 3-D, with scikit-image's `regionprops_table`.

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
        Pixel size along each axis of `objects`, or along rows and columns (with `volume`: planes, rows and
        columns) alone; without it lengths are in pixels. Its sign, with which napari turns a view over, does
        not count.
    channel_axis : int, None or "auto"
        Axis of `image` that holds the channels.
    volume : bool
        True measures objects over the last axis in front of rows and columns, as `Model.objects` finds them
        with ``volume=True``: a row for each, not for each of its planes.
    stop : callable, optional
        Asked between planes or volumes; once it says yes, the table ends with those that are measured.

    Returns
    -------
    pandas.DataFrame
        One row per object and plane:

        - ``label``: the object's number; ``class``: of most of its pixels (with `classes`);
        - ``plane-0``, ...: index of its plane along each leading axis (stacks only);
        - ``area``, in the scale's unit squared; ``centroid-0`` (row) and ``centroid-1`` (column),
          ``perimeter``, ``equivalent_diameter``, ``axis_major_length``, ``axis_minor_length``, in the scale's
          unit. The perimeter is scikit-image's `perimeter` where pixels are square, and otherwise that of
          `crofton_perimeters`: on discs they differ by some 3 %;
        - with `volume` instead: ``volume``, in the scale's unit cubed, ``centroid-0`` (plane) to
          ``centroid-2`` (column), ``equivalent_diameter`` and ``axis_major_length``;
        - ``eccentricity``, 0 (circle) to 1; ``orientation`` of the long axis against the rows' axis, in
          radians from -pi/2 to pi/2;
        - ``intensity_mean``, ``intensity_min``, ``intensity_max`` (with `image`), followed by ``-0``, ``-1``,
          ... where the image has a channel axis.

    Raises
    ------
    LabelsError
        If `objects` or `classes` are not whole numbers with rows and columns (with `volume`: planes too), or
        their shapes differ.
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
    axes = block_axes(shape, checks.truth("volume", volume))
    spacing = _spacing(scale, len(shape), axes)
    source = None if image is None else resolve_image(image, labels_shape=shape, channel_axis=channel_axis)
    tables: list[pd.DataFrame] = []
    for place in product(*(range(n) for n in shape[:-axes])):
        if tables and stop is not None and stop():
            break
        numbers = np.asarray(objects[place])
        if tables and not numbers.any():
            continue
        known = None if classes is None else np.asarray(classes[place])
        tables.append(pd.DataFrame(_columns(numbers, place, _pixels(source, place), known, spacing)))
    return pd.concat([table for table in tables if len(table)] or tables[:1], ignore_index=True)


def _spacing(scale: Sequence[float] | None, axes: int, measured: int) -> tuple[float, ...]:
    """Size of a pixel along each of the `measured` last axes."""
    if scale is None:
        return (1.0,) * measured
    try:
        steps = tuple(abs(float(step)) for step in scale)
    except (TypeError, ValueError):
        raise DsparseError(f"scale is {scale!r}; give a number for each axis.") from None
    if len(steps) not in (measured, axes):
        alone = "the pixel's height and width" if measured == 2 else "the voxel's depth, height and width"
        raise DsparseError(
            f"Objects of {axes} axes came with a scale of {len(steps)} entries {steps}; give one per axis, "
            f"or {alone}."
        )
    for step in steps[-measured:]:
        if not (math.isfinite(step) and step > 0):
            raise DsparseError(f"A pixel size of {step} is not possible; give finite numbers other than 0.")
    return steps[-measured:]


def _pixels(source: ImageSource | None, place: tuple[int, ...]) -> NDArray[np.float64] | None:
    """Pixels of a plane or volume as scikit-image takes them, with the channels, if there are any, last."""
    if source is None:
        return None
    rows, columns = (0, source.shape[-2]), (0, source.shape[-1])
    inner = source.shape[len(place) : -2]
    planes = [source.read((*place, *each), rows, columns) for each in product(*map(range, inner))]
    pixels = np.stack(planes, axis=1).astype(np.float64).reshape(-1, *inner, rows[1], columns[1])
    return pixels[0] if source.channel_axis is None else np.moveaxis(pixels, 0, -1)


def _columns(
    numbers: NDArray[Any],
    place: tuple[int, ...],
    pixels: NDArray[np.float64] | None,
    classes: NDArray[Any] | None,
    spacing: tuple[float, ...],
) -> dict[str, Any]:
    """The table of one plane or volume, by column."""
    from skimage.measure import regionprops_table

    if numbers.min(initial=0) < 0:
        raise LabelsError(
            f"Objects hold the number {numbers.min()}; they are numbered from 1, with 0 between."
        )
    known, consecutive = np.unique(numbers, return_inverse=True)
    consecutive = consecutive.reshape(numbers.shape) + (0 if known[0] == 0 else 1)
    known = known[known > 0]
    solid = len(spacing) == 3
    square = not solid and math.isclose(*spacing, rel_tol=_SQUARE)
    measured = regionprops_table(
        consecutive,
        pixels,
        properties=[
            *(name for name in (_SHAPE_3D if solid else _SHAPE) if square or name != "perimeter"),
            *(_INTENSITY if pixels is not None else ()),
        ],
        spacing=spacing[:1] * 2 if square else spacing,
    )
    columns: dict[str, Any] = {"label": known.astype(np.int64)}
    if classes is not None:
        columns["class"] = _commonest(consecutive, classes, len(known))
    columns |= {f"plane-{axis}": np.full(len(known), index) for axis, index in enumerate(place)}
    for name, values in measured.items():
        columns[(_NAMES_3D if solid else _NAMES).get(name, name)] = values
        if name == "centroid-1" and not square and not solid:
            columns["perimeter"] = crofton_perimeters(consecutive, len(known), spacing)
    return columns


def crofton_perimeters(
    numbers: NDArray[np.integer], count: int, spacing: tuple[float, ...]
) -> NDArray[np.float64]:
    """Perimeters of the objects of a plane whose pixels may be of any height and width.

    The Cauchy-Crofton formula, as in scikit-image's `perimeter_crofton` with four directions, which takes
    square pixels alone and gives the same for them: half the integral, over all straight lines, of how often
    a line crosses the outline. Lines run along rows, along columns, and in the two directions between pixels
    that are nearest to diagonals in physical units; each stands for the angles up to half way to the next.

    Parameters
    ----------
    numbers : integer array, shape (Y, X)
        0, or the number of the object, 1..`count`.
    count : int
    spacing : (float, float)
        Height and width of a pixel.

    Returns
    -------
    ndarray of float64, shape (count,)
        In the unit of `spacing`.
    """
    height, width = spacing
    down, right = (min(max(1, round(ratio)), _LONGEST_STEP) for ratio in (width / height, height / width))
    diagonal = math.atan2(down * height, right * width)
    shares = {
        (0, 1): diagonal,
        (1, 0): math.pi / 2 - diagonal,
        (down, right): math.pi / 4,
        (down, -right): math.pi / 4,
    }
    padded = np.pad(numbers, ((down, down), (right, right)))
    perimeters = np.zeros(count + 1)
    for (rows, columns), angle in shares.items():
        lines_apart = height * width / math.hypot(rows * height, columns * width)
        one = padded[: padded.shape[0] - rows, max(0, -columns) : padded.shape[1] - max(0, columns)]
        other = padded[rows:, max(0, columns) : padded.shape[1] - max(0, -columns)]
        crossed = one != other
        for side in (one, other):
            crossings = np.bincount(side[crossed], minlength=count + 1)
            perimeters += angle / 2 * lines_apart * crossings
    return perimeters[1:]


def _commonest(consecutive: NDArray[Any], classes: NDArray[Any], count: int) -> NDArray[np.int64]:
    """The class that most pixels of each object 1..`count` have; the lower number wins a tie."""
    inside = consecutive > 0
    values = classes[inside].astype(np.int64)
    base = int(values.max(initial=0)) + 1
    pairs, votes = np.unique(consecutive[inside] * base + values, return_counts=True)
    owners, values = np.divmod(pairs, base)
    order = np.lexsort((-values, votes))  # the winner of each object comes last and is written last
    winners = np.zeros(count + 1, np.int64)
    winners[owners[order]] = values[order]
    return winners[1:]
